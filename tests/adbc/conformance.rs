//! The contract of sinks.

use crate::support::{Kind, World};
use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{Int64Array, RecordBatch, StringArray};
use landfall::connectors::adbc::AdbcTable;
use landfall::sink::{Disposition, InsertOnly, Replace, ReplacePartitions, Upsert};
use landfall::testkit::conformance::Destination;
use std::ops::Range;
use std::sync::Arc;

struct Table {
    world: World,
    disposition: Disposition,
}

#[async_trait]
impl Destination for Table {
    type Sink = AdbcTable;

    /// All processes that are configured alike share what they have open: a file of DuckDB is open once in a process.
    fn sink(&self) -> AdbcTable {
        self.world.table(self.disposition.clone())
    }

    /// All rows are of one partition, so that a replacement of partitions replaces everything.
    fn item(&self, numbers: Range<u64>) -> Batch {
        let ids: Vec<_> = numbers.map(|n| i64::try_from(n).expect("small")).collect();
        let countries = StringArray::from(vec!["c"; ids.len()]);
        let rows = [("id", Arc::new(Int64Array::from(ids)) as _), ("country", Arc::new(countries) as _)];
        Batch::new(RecordBatch::try_from_iter(rows).expect("fits"))
    }

    async fn read(&self) -> Vec<u64> {
        if !self.world.has("orders").await {
            return Vec::new();
        }
        let ids = self.world.ask("SELECT id FROM {orders} ORDER BY id").await;
        ids.iter().map(|id| id.parse().expect("a number")).collect()
    }
}

macro_rules! conformance {
    ($($name:ident: $suite:ident of $disposition:expr;)+) => {
        conformance! { @of duckdb DuckDb $($name $suite $disposition;)+ }
        conformance! { @of sqlite Sqlite $($name $suite $disposition;)+ }
        conformance! { @of postgres Postgres $($name $suite $disposition;)+ }
    };
    (@of $module:ident $kind:ident $($name:ident $suite:ident $disposition:expr;)+) => {
        mod $module {
            $(mod $name {
                use super::super::*;

                landfall::$suite!({
                    let Some(world) = World::new(Kind::$kind) else { return };
                    Table { world, disposition: $disposition.into() }
                });
            })+
        }
    };
}

conformance! {
    append: sink_conformance of Disposition::Append;
    upsert: sink_conformance of Upsert::by(["id"]);
    insert_only: sink_conformance of InsertOnly::by(["id"]);
    swept: enumeration_conformance of Upsert::by(["id"]).sweep(0.5);
    replaced: enumeration_conformance of Replace::table();
    replaced_by_key: enumeration_conformance of Replace::table().key(["id"]);
    replaced_partitions: enumeration_conformance of ReplacePartitions::by(["country"]);
}
