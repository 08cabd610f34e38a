//! A database of its own for each test, and short ways to load rows and to look at tables.

use landfall::columnar::arrow::array::Array;
use landfall::columnar::arrow::record_batch::RecordBatch;
use landfall::columnar::arrow::util::display::array_value_to_string;
use landfall::connectors::adbc::{Adbc, AdbcDialect, AdbcTable};
use landfall::sink::Disposition;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    DuckDb,
    Postgres,
    Sqlite,
    /// PostgreSQL, as one that nothing is known of.
    Unknown,
}

/// Where a driver is, and the options that reach a database of its own.
pub fn reach(kind: Kind, folder: &str) -> Option<Adbc> {
    let variable = match kind {
        Kind::DuckDb => "LANDFALL_TEST_ADBC_DUCKDB",
        Kind::Postgres | Kind::Unknown => "LANDFALL_TEST_ADBC_POSTGRES",
        Kind::Sqlite => "LANDFALL_TEST_ADBC_SQLITE",
    };
    let server = std::env::var("LANDFALL_TEST_POSTGRES");
    let (Ok(driver), true) = (std::env::var(variable), server.is_ok() || matches!(kind, Kind::DuckDb | Kind::Sqlite))
    else {
        eprintln!("skipped for {kind:?}: {variable} or its server is not there; see scripts/with-adbc");
        return None;
    };
    let driver = Adbc::driver(driver);
    Some(match kind {
        Kind::DuckDb => driver.entrypoint("duckdb_adbc_init").option("path", format!("{folder}/x.duckdb")),
        Kind::Sqlite => driver.option("uri", format!("{folder}/x.sqlite")),
        Kind::Postgres => driver.option("uri", server.expect("is there")),
        Kind::Unknown => driver.option("uri", server.expect("is there")).dialect(AdbcDialect::Standard),
    })
}

pub struct World {
    pub kind: Kind,
    pub database: Adbc,
    pub schema: Option<String>,
    pub folder: TempDir,
}

impl World {
    pub fn new(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let database = reach(kind, folder.path().to_str().expect("text"))?;
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let schema = (kind != Kind::Sqlite).then(|| format!("t \"{}\" {number}", std::process::id()));
        Some(Self { kind, database, schema, folder })
    }

    /// One for each driver that is there.
    pub fn all() -> impl Iterator<Item = Self> {
        [Kind::DuckDb, Kind::Sqlite, Kind::Postgres, Kind::Unknown].into_iter().filter_map(Self::new)
    }

    /// A way to the same database that shares nothing with the first.
    pub fn apart(&self) -> Adbc {
        let folder = self.folder.path().to_str().expect("text");
        let uri = |database: Adbc, key: &str| database.option(key, "");
        match self.kind {
            Kind::Sqlite => Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_SQLITE").expect("is there"))
                .option("uri", format!("file:{folder}/x.sqlite")),
            Kind::DuckDb => uri(self.database.clone(), "threads"),
            Kind::Postgres | Kind::Unknown => {
                let server = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
                let other = Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there"))
                    .option("uri", format!("{server}&application_name=apart"));
                if self.kind == Kind::Unknown { other.dialect(AdbcDialect::Standard) } else { other }
            }
        }
    }

    pub fn table_in(&self, database: &Adbc, disposition: impl Into<Disposition>) -> AdbcTable {
        let name = match &self.schema {
            Some(schema) => format!("{schema}.orders"),
            None => "orders".to_owned(),
        };
        AdbcTable::at(database, &name).expect("a name").disposition(disposition)
    }

    pub fn table(&self, disposition: impl Into<Disposition>) -> AdbcTable {
        self.table_in(&self.database, disposition)
    }

    /// The name of a table, for statements.
    pub fn name(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("\"{}\".\"{table}\"", schema.replace('"', "\"\"")),
            None => format!("\"{table}\""),
        }
    }

    /// Makes the schema of the table.
    pub async fn with_schema(&self) {
        if let Some(schema) = &self.schema {
            self.ask(&format!("CREATE SCHEMA \"{}\"", schema.replace('"', "\"\""))).await;
        }
    }

    /// A word in braces is a table beside the one that is loaded.
    pub async fn batches(&self, query: &str) -> Vec<RecordBatch> {
        let query = query.replace("{loads}", "{landfall_loads}").replace("{schema}", "{landfall_schema}");
        let parts = query.split('{').enumerate().map(|(n, part)| match part.split_once('}') {
            Some((table, rest)) if n > 0 => format!("{}{rest}", self.name(table)),
            _ => part.to_owned(),
        });
        let query = parts.collect::<String>();
        self.database.query(&query).await.unwrap_or_else(|e| panic!("{:?}: {query}: {e}", self.kind))
    }

    /// What a query gives, as text: columns with `|`, nulls as `-`.
    pub async fn ask(&self, query: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for batch in self.batches(query).await {
            for row in 0..batch.num_rows() {
                let text = |column: &Arc<dyn Array>| match column.is_null(row) {
                    true => "-".to_owned(),
                    false => array_value_to_string(column, row).expect("shows"),
                };
                rows.push(batch.columns().iter().map(text).collect::<Vec<_>>().join("|"));
            }
        }
        rows
    }

    /// The tables, in order.
    pub async fn tables(&self) -> Vec<String> {
        let query = match &self.schema {
            None => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1".to_owned(),
            Some(schema) => {
                format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' ORDER BY 1")
            }
        };
        self.ask(&query).await
    }

    /// The tables that hold rows which are not visible yet.
    pub async fn staged(&self) -> Vec<String> {
        self.tables().await.into_iter().filter(|name| name.starts_with("_lf_")).collect()
    }
}

/// A load into such a table.
pub type Load = crate::load::Load<AdbcTable>;
