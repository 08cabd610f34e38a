//! Where rows go.

use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::ParquetDataset;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::Disposition;
use landfall::store::Store;
use landfall::{Error, Result};

/// A sink of one of the kinds.
pub(crate) enum Target {
    Delta(DeltaTable),
    Parquet(ParquetDataset),
    Postgres(PostgresTable, Postgres),
}

/// What is said of a sink besides where it is.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) disposition: Disposition,
    pub(crate) partition_by: Vec<String>,
    pub(crate) lanes: Option<usize>,
}

impl Settings {
    pub(crate) fn target(&self, sink: &str) -> Result<Target> {
        let wrong = |message| Error::config("open sink", message).with("sink", sink);
        let (kind, place) = sink.split_once(':').ok_or_else(|| wrong("not `kind:place`"))?;
        Ok(match kind {
            "delta" => {
                let table =
                    DeltaTable::at(place)?.partition_by(&self.partition_by)?.disposition(self.disposition.clone());
                Target::Delta(self.lanes.iter().fold(table, |table, lanes| table.lanes(*lanes)))
            }
            "parquet" => {
                let dataset =
                    ParquetDataset::in_store(&Store::from_uri(place)?, "")?.partition_by(&self.partition_by)?;
                Target::Parquet(self.lanes.iter().fold(dataset, |dataset, lanes| dataset.lanes(*lanes)))
            }
            "postgres" => {
                let database = Postgres::from_env("WAREHOUSE_URL")?;
                Target::Postgres(PostgresTable::at(&database, place)?.disposition(self.disposition.clone()), database)
            }
            _ => return Err(wrong("unknown kind")),
        })
    }
}
