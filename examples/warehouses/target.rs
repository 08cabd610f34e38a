//! Where rows go.

use crate::machine::{database, store};
use landfall::connectors::adbc::{Adbc, AdbcTable};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::parquet::ParquetDataset;
use landfall::connectors::postgres::{Postgres, PostgresTable, PostgresTables};
use landfall::env::Env;
use landfall::sink::Disposition;
use landfall::store::Store;
use landfall::{Error, Result};
use std::time::Duration;

/// A sink of one of the kinds.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Target {
    Delta(DeltaTable),
    Parquet(ParquetDataset),
    Postgres(PostgresTable, Postgres),
    PostgresTables(PostgresTables, Postgres),
    Adbc(AdbcTable),
    /// Tables of a set, by their names, in the order in which they commit.
    Tables([(&'static str, DeltaTable); 2]),
}

/// What is said of a sink besides where it is.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) disposition: Disposition,
    pub(crate) partition_by: Vec<String>,
    pub(crate) lanes: Option<usize>,
    /// How long a database that is away is asked again, if not as long as by default.
    pub(crate) patience: Option<Duration>,
    pub(crate) env: Env,
}

impl Settings {
    pub(crate) fn target(&self, sink: &str) -> Result<Target> {
        let wrong = |message| Error::config("open sink", message).with("sink", sink);
        let (kind, place) = sink.split_once(':').ok_or_else(|| wrong("not `kind:place`"))?;
        Ok(match kind {
            "delta" => Target::Delta(self.delta(&store(place, &self.env)?, "")?),
            // A folder, with tables `notes` and `orders` in it. Whoever goes from an order to its note finds it there.
            "tables" => {
                let store = store(place, &self.env)?;
                let table = |name| Ok::<_, Error>((name, self.delta(&store, name)?));
                Target::Tables([table("notes")?, table("orders")?])
            }
            "parquet" => {
                let dataset =
                    ParquetDataset::in_store(&store(place, &self.env)?, "")?.partition_by(&self.partition_by)?;
                Target::Parquet(self.lanes.iter().fold(dataset, |dataset, lanes| dataset.lanes(*lanes)))
            }
            "postgres" => {
                let database = database(&self.env, self.patience)?;
                Target::Postgres(PostgresTable::at(&database, place)?.disposition(self.disposition.clone()), database)
            }
            // A schema, with tables `orders` and `notes` in it.
            "postgres-tables" => {
                let database = database(&self.env, self.patience)?;
                let table = |name: &str| {
                    let table = PostgresTable::at(&database, &format!("{place}.{name}"))?;
                    Ok::<_, Error>(table.disposition(self.disposition.clone()))
                };
                let tables = PostgresTables::new().table("orders", table("orders")?).table("notes", table("notes")?);
                Target::PostgresTables(tables, database)
            }
            "adbc-postgres" => {
                let url = std::env::var("WAREHOUSE_URL").map_err(|_| wrong("WAREHOUSE_URL has no URL"))?;
                let database = Adbc::driver(driver("LANDFALL_TEST_ADBC_POSTGRES")?).option("uri", url);
                Target::Adbc(AdbcTable::at(&database, place)?.disposition(self.disposition.clone()))
            }
            // A file, and a table `orders` in it.
            "duckdb" => {
                let database = Adbc::driver(driver("LANDFALL_TEST_ADBC_DUCKDB")?).entrypoint("duckdb_adbc_init");
                let table = AdbcTable::at(&database.option("path", place), "orders")?;
                Target::Adbc(table.disposition(self.disposition.clone()))
            }
            "sqlite" => {
                let database = Adbc::driver(driver("LANDFALL_TEST_ADBC_SQLITE")?).option("uri", place);
                Target::Adbc(AdbcTable::at(&database, "orders")?.disposition(self.disposition.clone()))
            }
            _ => return Err(wrong("unknown kind")),
        })
    }

    fn delta(&self, store: &Store, path: &str) -> Result<DeltaTable> {
        let table = DeltaTable::in_store(store, path)?;
        let table = table.partition_by(&self.partition_by)?.disposition(self.disposition.clone());
        Ok(self.lanes.iter().fold(table, |table, lanes| table.lanes(*lanes)))
    }
}

fn driver(variable: &'static str) -> Result<String> {
    let unset = |_| Error::config("open sink", "run it with scripts/with-adbc").with("variable", variable);
    std::env::var(variable).map_err(unset)
}
