//! Databases that are reached by an ADBC driver: those of `scripts/with-adbc`.

use crate::sql::Engine;
use crate::warehouse::{Warehouse, before, new_schema, own_aside, quoted};
use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::RecordBatch;
use landfall::columnar::arrow::util::display::{ArrayFormatter, FormatOptions};
use landfall::connectors::adbc::{Adbc, AdbcDialect, AdbcTable};
use landfall::connectors::postgres::PostgresCheckpoints;
use landfall::sink::{Disposition, TableSet};
use landfall::testkit::{FaultProxy, FaultSink, Faults};
use std::marker::PhantomData;
use std::sync::Arc;
use tempfile::TempDir;

/// A database, and the driver that reaches it.
pub trait Driver: Send + Sync + 'static {
    const NAME: &'static str;

    /// The variable that has the path of the driver.
    const DRIVER: &'static str;

    const ENGINE: Engine;

    fn at(driver: Adbc, place: &str) -> Adbc;
}

pub struct DuckDb;
pub struct Sqlite;
pub struct Postgres;
/// PostgreSQL, as a database that nothing is known of.
pub struct Unknown;

impl Driver for DuckDb {
    const NAME: &'static str = "adbc duckdb";
    const DRIVER: &'static str = "LANDFALL_TEST_ADBC_DUCKDB";
    const ENGINE: Engine = Engine::DuckDb;

    fn at(driver: Adbc, folder: &str) -> Adbc {
        driver.entrypoint("duckdb_adbc_init").option("path", format!("{folder}/x.duckdb"))
    }
}

impl Driver for Sqlite {
    const NAME: &'static str = "adbc sqlite";
    const DRIVER: &'static str = "LANDFALL_TEST_ADBC_SQLITE";
    const ENGINE: Engine = Engine::Sqlite;

    fn at(driver: Adbc, folder: &str) -> Adbc {
        driver.option("uri", format!("{folder}/x.sqlite"))
    }
}

impl Driver for Postgres {
    const NAME: &'static str = "adbc postgres";
    const DRIVER: &'static str = "LANDFALL_TEST_ADBC_POSTGRES";
    const ENGINE: Engine = Engine::Postgres;

    fn at(driver: Adbc, url: &str) -> Adbc {
        driver.option("uri", url)
    }
}

impl Driver for Unknown {
    const NAME: &'static str = "adbc unknown";
    const DRIVER: &'static str = "LANDFALL_TEST_ADBC_POSTGRES";
    const ENGINE: Engine = Engine::Postgres;

    fn at(driver: Adbc, url: &str) -> Adbc {
        driver.option("uri", url).dialect(AdbcDialect::Standard)
    }
}

/// Tables of a file, or of a schema, of their own. Processes share the connection to a file: what goes wrong there is each call of the
/// sink. To a server each has connections of its own, and what goes wrong is each message.
pub struct Through<D> {
    database: Adbc,
    pub schema: Option<String>,
    _folder: Arc<TempDir>,
    faults: Faults,
    driver: PhantomData<D>,
    /// What a process with faults reaches a server through.
    _proxy: Option<FaultProxy>,
}

/// The variable that has the URL of the server.
const SERVER: &str = "LANDFALL_TEST_POSTGRES";

impl<D: Driver> Through<D> {
    /// `None` if the driver, or its server, is not there.
    pub fn new() -> Option<Self> {
        let variable = if D::ENGINE.is_server() { SERVER } else { D::DRIVER };
        let (Ok(driver), Ok(server)) = (std::env::var(D::DRIVER), std::env::var(variable)) else {
            eprintln!("skipped: {} or its server is not there; see scripts/with-adbc", D::DRIVER);
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let place = if D::ENGINE.is_server() { server } else { folder.path().display().to_string() };
        Some(Self {
            database: D::at(Adbc::driver(driver), &place),
            schema: (D::ENGINE != Engine::Sqlite).then(new_schema),
            _folder: Arc::new(folder),
            faults: Faults::none(),
            driver: PhantomData,
            _proxy: None,
        })
    }

    /// The same schema of the server, reached over another connection string.
    pub fn over(&self, url: &str) -> Self {
        let driver = Adbc::driver(std::env::var(D::DRIVER).expect("as before"));
        Self { database: D::at(driver, url), ..self.reached(&Faults::none()) }
    }

    fn reached(&self, faults: &Faults) -> Self {
        let Self { database, schema, _folder, driver, .. } = self;
        let (database, schema, _folder) = (database.clone(), schema.clone(), Arc::clone(_folder));
        Self { database, schema, _folder, faults: faults.clone(), driver: *driver, _proxy: None }
    }

    fn table(&self, table: &str) -> AdbcTable {
        let name = self.schema.as_ref().map_or_else(|| table.to_owned(), |schema| format!("{schema}.{table}"));
        AdbcTable::at(&self.database, &name).expect("a name")
    }

    fn name(&self, table: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| quoted(schema) + ".");
        schema.unwrap_or_default() + &quoted(table)
    }

    /// What a query gives, as text: columns with `|`, nulls as `-`.
    pub async fn ask(&self, query: &str) -> Vec<String> {
        let answer = self.database.query(query).await;
        texts(&answer.unwrap_or_else(|e| panic!("{}: {query}: {e}", D::NAME)))
    }

    pub async fn tables(&self) -> Vec<String> {
        let query = match &self.schema {
            Some(schema) => format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"),
            None => "SELECT name FROM sqlite_master WHERE type = 'table'".to_owned(),
        };
        self.ask(&query).await
    }

    async fn has(&self, table: &str) -> bool {
        self.tables().await.iter().any(|name| name == table)
    }
}

fn texts(answer: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    let options = FormatOptions::new().with_null("-");
    for batch in answer {
        let formats = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let formats = formats.collect::<Result<Vec<_>, _>>().expect("any type");
        let row = |row| formats.iter().map(|format| format.value(row).to_string()).collect::<Vec<_>>().join("|");
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows.sort_unstable();
    rows
}

#[async_trait]
impl<D: Driver> Warehouse for Through<D> {
    type Sink = FaultSink<AdbcTable>;
    type Set = TableSet<Batch>;

    const NAME: &'static str = D::NAME;
    const IS_SERVER: bool = D::ENGINE.is_server();

    fn sink(&self, table: &str, disposition: impl Into<Disposition>) -> Self::Sink {
        FaultSink::new(self.table(table).disposition(disposition), &self.faults)
    }

    fn frozen(&self, table: &str, disposition: impl Into<Disposition>) -> Self::Sink {
        FaultSink::new(self.table(table).disposition(disposition).frozen(), &self.faults)
    }

    fn set(&self, orders: impl Into<Disposition>, items: impl Into<Disposition>) -> TableSet<Batch> {
        TableSet::new().table("orders", self.sink("orders", orders)).table("items", self.sink("items", items))
    }

    fn offers(&self, disposition: &Disposition) -> bool {
        !matches!(disposition, Disposition::Scd2(_) | Disposition::Children(_)) && !disposition.keeps_deleted()
    }

    async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        let columns = columns.split(", ").map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        let query = format!("SELECT {columns} FROM {}", self.name(table));
        // To look for the table each time would take longer than all the rest.
        match self.database.query(&query).await {
            Ok(answer) => texts(&answer),
            // It may have been made meanwhile.
            Err(_) if self.has(table).await => self.ask(&query).await,
            Err(_) => Vec::new(),
        }
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        if !self.has(table).await {
            return Vec::new();
        }
        let rows = self.database.query(&format!("SELECT * FROM {}", self.name(table))).await.expect("readable");
        let schema = rows.first().expect("has rows").schema();
        own_aside(schema.fields().iter().map(|field| field.name().clone()))
    }

    async fn loads(&self, table: &str) -> usize {
        if !self.has("landfall_loads").await {
            return 0;
        }
        let query = format!("SELECT 1 FROM {} WHERE table_name LIKE '%{table}%'", self.name("landfall_loads"));
        self.ask(&query).await.len()
    }

    async fn lose_what_waits(&self, _table: &str) {
        let tables = self.tables().await;
        let waiting = tables.iter().find(|name| name.starts_with("_lf_")).expect("something waits");
        self.ask(&format!("DELETE FROM {} WHERE _landfall_row = 0", self.name(waiting))).await;
    }

    async fn reached_by(&self, faults: &Faults) -> Self {
        if D::ENGINE.is_server() {
            let url = std::env::var(SERVER).expect("as before");
            let (proxy, url) = before(&url, faults);
            return Self { _proxy: Some(proxy), ..self.over(&url) };
        }
        self.reached(faults)
    }

    fn checkpoints(&self) -> Option<PostgresCheckpoints> {
        None
    }

    async fn leave(&self) {
        if let Some(schema) = &self.schema {
            self.ask(&format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema))).await;
        }
    }
}
