//! The contract of sinks, on each database.

use crate::sql::Sql;
use crate::warehouse::{Server, Warehouse};
use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use landfall::columnar::arrow::compute::concat_batches;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::connectors::postgres::PostgresTables;
use landfall::sink::{Children, Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Tables, Upsert};
use landfall::testkit::Faults;
use landfall::testkit::conformance::Destination;
use std::ops::Range;
use std::sync::{Arc, Mutex};

struct Table<W> {
    warehouse: W,
    disposition: Disposition,
    /// What the last process with faults reaches it through. There is one at a time, and a server has so many connections.
    reached: Mutex<Option<W>>,
}

/// All rows are of one partition, so that a replacement of partitions replaces everything; each is the only child of its parent.
fn batch(numbers: Vec<u64>) -> Batch {
    let ids: Vec<_> = numbers.into_iter().map(|n| i64::try_from(n).expect("small")).collect();
    let countries = StringArray::from(vec!["c"; ids.len()]);
    let places = Int64Array::from(vec![0; ids.len()]);
    let rows = [
        ("id", Arc::new(Int64Array::from(ids)) as _),
        ("country", Arc::new(countries) as _),
        (Children::INDEX, Arc::new(places) as _),
    ];
    Batch::new(RecordBatch::try_from_iter(rows).expect("fits"))
}

#[async_trait]
impl<W: Sql> Destination for Table<W> {
    type Sink = W::Sink;

    /// All processes that are configured alike share what they have open: a file of DuckDB is open once in a process.
    fn sink(&self) -> W::Sink {
        self.warehouse.sink("orders", self.disposition.clone())
    }

    /// What a driver of ADBC does cannot be made to fail from here: to a file `scripts/processes` does it, call by call of the system; to a
    /// server `crashes` does, message by message, on threads of which a driver may block one.
    async fn reached_by(&self, faults: &Faults) -> Option<W::Sink> {
        if W::NAME != Server::NAME {
            return None;
        }
        let reached = self.warehouse.reached_by(faults).await;
        let sink = reached.sink("orders", self.disposition.clone());
        *self.reached.lock().expect("no panic") = Some(reached);
        Some(sink)
    }

    fn item(&self, numbers: Range<u64>) -> Batch {
        batch(numbers.collect())
    }

    /// A key that is null; where there is none, a character that PostgreSQL has no place for.
    fn bad_item(&self, numbers: Range<u64>) -> Option<Batch> {
        let keyless = self.disposition.key().is_empty();
        if keyless && W::NAME != Server::NAME {
            return None;
        }
        let (bad, good) = (self.item(999..1_000), self.item(numbers));
        let rows = concat_batches(bad.rows().schema_ref(), [bad.rows(), good.rows()]).expect("rows alike");
        let spoiled = |name: &str, values: &ArrayRef| -> ArrayRef {
            let is_bad = |row: usize| row == 0;
            match name {
                "id" if !keyless => {
                    let ids = values.as_primitive::<Int64Type>().iter().enumerate();
                    Arc::new(ids.map(|(row, id)| id.filter(|_| !is_bad(row))).collect::<Int64Array>())
                }
                "country" if keyless => {
                    let country = |row| if is_bad(row) { "\0" } else { "c" };
                    Arc::new(StringArray::from_iter_values((0..values.len()).map(country)))
                }
                _ => Arc::clone(values),
            }
        };
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, values)| (field.name().as_str(), spoiled(field.name(), values)));
        Some(Batch::new(RecordBatch::try_from_iter(columns).expect("fits")))
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        let rows = match &self.disposition {
            Disposition::Scd2(scd2) => self.warehouse.rows("orders", &format!("id, {}", scd2.valid_to)).await,
            _ => self.warehouse.rows("orders", "id").await,
        };
        // Of a history, the versions that hold.
        let held = rows.iter().map(|row| row.strip_suffix("|-").unwrap_or(row));
        let mut ids: Vec<_> = held.filter_map(|row| row.parse().ok()).collect();
        ids.sort_unstable();
        ids
    }
}

macro_rules! conformance {
    ($module:ident of $open:expr; $($name:ident: $suite:ident of $disposition:expr;)+) => {
        mod $module {
            $(mod $name {
                use super::super::*;

                landfall::$suite!({
                    let Some(warehouse) = $open else { return };
                    Table { warehouse, disposition: $disposition.into(), reached: Mutex::default() }
                });
            })+
        }
    };
}

macro_rules! dispositions {
    ($($module:ident of $open:expr;)+) => {
        $(conformance! {
            $module of $open;
            append: sink_conformance of Disposition::Append;
            upsert: sink_conformance of Upsert::by(["id"]);
            insert_only: sink_conformance of InsertOnly::by(["id"]);
            swept: enumeration_conformance of Upsert::by(["id"]).sweep(0.5);
            replaced: enumeration_conformance of Replace::table();
            replaced_by_key: enumeration_conformance of Replace::table().key(["id"]);
            replaced_partitions: enumeration_conformance of ReplacePartitions::by(["country"]);
        })+
    };
}

dispositions! {
    postgres of Server::new().await;
}

mod through {
    use super::*;
    use crate::adbc::{DuckDb, Postgres, Sqlite, Through};

    dispositions! {
        duckdb of Through::<DuckDb>::new();
        sqlite of Through::<Sqlite>::new();
        postgres of Through::<Postgres>::new();
    }
}

/// Tables of one database as one sink: rows of an epoch go to both.
struct Pair {
    server: Server,
    dispositions: [Disposition; 2],
    reached: Mutex<Option<Server>>,
}

impl Pair {
    fn of(server: Server, orders: impl Into<Disposition>, items: impl Into<Disposition>) -> Self {
        Self { server, dispositions: [orders.into(), items.into()], reached: Mutex::default() }
    }

    fn through(&self, server: &Server) -> PostgresTables {
        let [orders, items] = self.dispositions.clone();
        server.set(orders, items)
    }
}

#[async_trait]
impl Destination for Pair {
    type Sink = PostgresTables;

    fn sink(&self) -> PostgresTables {
        self.through(&self.server)
    }

    async fn reached_by(&self, faults: &Faults) -> Option<PostgresTables> {
        let reached = self.server.reached_by(faults).await;
        let set = self.through(&reached);
        *self.reached.lock().expect("no panic") = Some(reached);
        Some(set)
    }

    fn item(&self, numbers: Range<u64>) -> Tables<Batch> {
        let (threes, others) = numbers.partition(|n| n % 3 == 0);
        Tables::new().with("orders", batch(threes)).with("items", batch(others))
    }

    /// What each of the tables refuses is checked of it alone.
    fn bad_item(&self, _numbers: Range<u64>) -> Option<Tables<Batch>> {
        None
    }

    fn stages_outside(&self) -> bool {
        true
    }

    async fn read(&self) -> Vec<u64> {
        // In one statement: it sees one moment.
        if self.server.columns("items").await.is_empty() {
            return Vec::new();
        }
        let rows = self.server.sql("SELECT id FROM {orders} UNION ALL SELECT id FROM {items}").await;
        let mut ids: Vec<u64> = rows.iter().map(|id| id.parse().expect("a number")).collect();
        ids.sort_unstable();
        ids
    }
}

mod sets {
    use super::*;

    landfall::sink_conformance!({
        let Some(server) = Server::new().await else { return };
        Pair::of(server, Disposition::Append, Disposition::Append)
    });

    mod whole {
        use super::*;

        // A third of the rows are orders: of some enumerations more than half of these go.
        landfall::enumeration_conformance!({
            let Some(server) = Server::new().await else { return };
            Pair::of(server, Upsert::by(["id"]).sweep(1.0), Replace::table())
        });
    }
}

/// What ADBC tables refuse: histories and children are PostgreSQL's own sink's alone.
mod own {
    use super::*;

    conformance! {
        postgres of Server::new().await;
        history: sink_conformance of Scd2::by(["id"]);
        swept_history: enumeration_conformance of Scd2::by(["id"]).sweep(0.5);
        children: sink_conformance of Children::of(["id"]);
    }
}
