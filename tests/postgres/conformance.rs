//! The contracts of sinks and of checkpoint stores.

use crate::support::World;
use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{Int64Array, RecordBatch, StringArray};
use landfall::connectors::postgres::{PostgresCheckpoints, PostgresTable};
use landfall::sink::{Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Upsert};
use landfall::testkit::conformance::Destination;
use std::ops::Range;
use std::sync::Arc;

struct Table {
    world: World,
    disposition: Disposition,
}

#[async_trait]
impl Destination for Table {
    type Sink = PostgresTable;

    fn sink(&self) -> PostgresTable {
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
        if self.world.ask(&format!("SELECT to_regclass('{}')", self.world.name("orders"))).await == ["-"] {
            return Vec::new();
        }
        let current = match &self.disposition {
            Disposition::Scd2(scd2) => format!(" WHERE \"{}\" IS NULL", scd2.valid_to),
            _ => String::new(),
        };
        let ids = self.world.ask(&format!("SELECT id FROM {{orders}}{current} ORDER BY id")).await;
        ids.iter().map(|id| id.parse().expect("a number")).collect()
    }
}

macro_rules! table {
    ($disposition:expr) => {{
        let Some(world) = World::new().await else { return };
        Table { world, disposition: $disposition.into() }
    }};
}

macro_rules! conformance {
    ($($name:ident: $suite:ident of $disposition:expr;)+) => {
        $(mod $name {
            use super::*;

            landfall::$suite!(table!($disposition));
        })+
    };
}

conformance! {
    append: sink_conformance of Disposition::Append;
    upsert: sink_conformance of Upsert::by(["id"]);
    insert_only: sink_conformance of InsertOnly::by(["id"]);
    history: sink_conformance of Scd2::by(["id"]);
    swept: enumeration_conformance of Upsert::by(["id"]).sweep(0.5);
    swept_history: enumeration_conformance of Scd2::by(["id"]).sweep(0.5);
    replaced: enumeration_conformance of Replace::table();
    replaced_by_key: enumeration_conformance of Replace::table().key(["id"]);
    replaced_partitions: enumeration_conformance of ReplacePartitions::by(["country"]);
}

mod checkpoints {
    use super::*;

    landfall::checkpoint_conformance!({
        let Some(world) = World::new().await else { return };
        (Arc::new(PostgresCheckpoints::in_schema(&world.database, &world.schema).expect("a name")), world)
    });
}
