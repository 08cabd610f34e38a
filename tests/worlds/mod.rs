//! What the suites that break pipelines have in common: where numbers go, the way there, and what is there afterwards.

mod counted;
pub mod found;

pub use counted::Epochs;
pub use found::{children, landed, number, quarantined, rows};

use crate::support::{Once, parse};
use counted::Counted;
use landfall::Result;
use landfall::columnar::{ColumnType, Columns, Decode, Dedup, Unnest, UnnestChild};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::ParquetDataset;
use landfall::model::{Page, Rows};
use landfall::pipeline::{Pipeline, PipelineBuilder};
use landfall::sink::{MemorySink, MemoryTable, TableSet};
use landfall::source::Source;
use landfall::store::Store;
use landfall::testkit::{FaultSink, Faults};

/// Where the numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A table in memory: records are numbers as text. Everywhere else they are JSON, and decoded.
    Memory,
    /// Deduplicated, into a Parquet dataset.
    Parquet,
    /// Deduplicated, into a Delta table.
    Delta,
    /// Into a Delta table that keeps one row of each record: files are written again.
    DeltaUpsert,
    /// Deduplicated, into a set of a Parquet dataset and of a Delta table of their children: even numbers have one.
    Tables,
}

impl Destination {
    /// Whether records are JSON.
    pub fn decodes(self) -> bool {
        self != Self::Memory
    }

    /// Whether the numbers themselves are in a Parquet dataset.
    pub fn is_parquet(self) -> bool {
        matches!(self, Self::Parquet | Self::Tables)
    }
}

/// The dataset of the numbers.
pub fn dataset(store: &Store) -> ParquetDataset {
    ParquetDataset::in_store(store, "numbers").expect("a name").lanes(1)
}

/// The Delta table of a destination: of the numbers themselves, or of their children.
pub fn delta(store: &Store, into: Destination) -> DeltaTable {
    let name = if into == Destination::Tables { "children" } else { "numbers" };
    DeltaTable::in_store(store, name).expect("a name").lanes(1)
}

/// The way of the numbers to their destination.
pub struct Way<'a> {
    pub into: Destination,
    pub columns: Columns,
    /// By which column repeats are told.
    pub key: &'static str,
    /// By which column an upsert tells records apart.
    pub record: &'static str,
    /// After how many commits a dataset puts its small files together.
    pub compact_every: u64,
    /// As the process reaches it.
    pub store: &'a Store,
    pub table: &'a MemoryTable<Rows<u64>>,
    pub epochs: &'a Epochs,
    /// Those of the children.
    pub children: &'a Epochs,
}

impl Way<'_> {
    /// A pipeline of which the source and everything else are said.
    pub fn end<S: Source>(self, builder: PipelineBuilder<S, Page>, faults: &Faults) -> Result<Pipeline> {
        let Self { into, columns, key, record, compact_every, store, table, epochs, children } = self;
        let columns = if into == Destination::Tables { columns.list("children", ColumnType::Int64) } else { columns };
        let decode = Decode::pages().ndjson().schema(columns);
        let (dataset, delta) = (dataset(store).compact_every(compact_every), delta(store, into));
        match into {
            Destination::Memory => {
                let sink = FaultSink::new(MemorySink::new(table), faults);
                builder
                    .stage(parse())
                    .stage(Once::by(key))
                    .sink(Counted::new(sink, epochs, |rows| rows.0.clone()))
                    .build()
            }
            Destination::Parquet => {
                builder.stage(decode).stage(Dedup::by([key])).sink(Counted::by("n", dataset, epochs)).build()
            }
            Destination::Delta => {
                builder.stage(decode).stage(Dedup::by([key])).sink(Counted::by("n", delta, epochs)).build()
            }
            Destination::DeltaUpsert => {
                builder.stage(decode).sink(Counted::by(record, delta.upsert([record]), epochs)).build()
            }
            Destination::Tables => {
                let unnest = UnnestChild::at("children").copy("n", "parent").value("n").without_markers();
                let (parents, children) = (Counted::by("n", dataset, epochs), Counted::by("n", delta, children));
                builder
                    .stage(decode)
                    .stage(Dedup::by([key]))
                    .stage(Unnest::new("numbers").child("children", unnest))
                    .sink(TableSet::new().table("numbers", parents).table("children", children))
                    .build()
            }
        }
    }
}
