//! The destination: a file of SQLite, and what an error of it means.

use landfall::{Error, ErrorKind, Result, async_trait};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A database with the tables of this crate. Clones share one connection.
///
/// Calls are short, so they are made where they stand; of a database behind a network, take the asynchronous client.
#[derive(Clone, Debug)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
    wire: Option<Arc<dyn Wire>>,
}

/// What every transaction passes on its way to the database: nothing, but in a proof, which lets it fail there.
#[async_trait]
pub trait Wire: Debug + Send + Sync + 'static {
    /// Lets `transaction` happen, as a whole; fails if it does not, or if its answer is lost.
    async fn pass(&self, operation: &'static str, transaction: InOneStep<'_>) -> Result<()>;
}

/// A transaction that happens when it is awaited.
pub type InOneStep<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// The version of the tables, as `user_version` of the file. A change of them, or of what is written into them, is a new one.
const VERSION: i64 = 1;

/// SQLite says so of a file that nobody has given a version: there are no tables yet.
const NONE: i64 = 0;

const TABLES: &str = "
    CREATE TABLE readings (station TEXT NOT NULL, time TEXT NOT NULL, celsius REAL NOT NULL);
    CREATE TABLE landfall_staged (
        batch TEXT NOT NULL, shard TEXT NOT NULL, generation INTEGER NOT NULL,
        station TEXT NOT NULL, time TEXT NOT NULL, celsius REAL NOT NULL
    );
    CREATE INDEX landfall_staged_batch ON landfall_staged (batch);
    CREATE TABLE landfall_marks (shard TEXT PRIMARY KEY, mark TEXT NOT NULL);
    CREATE TABLE landfall_records (
        chain TEXT NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (chain, number)
    );
    CREATE TABLE landfall_boundaries (chain TEXT PRIMARY KEY, number INTEGER NOT NULL);
";

impl Database {
    /// The one in `file`, which is made if it is not there.
    ///
    /// # Errors
    /// `Unavailable` if SQLite cannot open it, `Config` if its tables are of another version.
    pub fn open(file: &Path) -> Result<Self> {
        Self::over(Connection::open(file).of("open database").map_err(|e| e.with("file", file.display()))?)
    }

    /// One that ends with the last clone of it: for tests.
    ///
    /// # Errors
    /// `Unavailable` if SQLite refuses.
    pub fn in_memory() -> Result<Self> {
        Self::over(Connection::open_in_memory().of("open database")?)
    }

    fn over(connection: Connection) -> Result<Self> {
        connection.busy_timeout(Duration::from_secs(10)).of("open database")?;
        // What was committed survives a power loss: guarantee 7 of a sink, guarantee 2 of a checkpoint store.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").of("open database")?;
        let database = Self { connection: Arc::new(Mutex::new(connection)), wire: None };
        database.at_once("make tables", make_tables)?;
        Ok(database)
    }

    /// The same, each transaction by way of `wire`.
    #[must_use]
    pub fn reached_by(&self, wire: impl Wire) -> Self {
        Self { wire: Some(Arc::new(wire)), ..self.clone() }
    }

    /// The readings, each as `station,time,celsius`.
    ///
    /// # Errors
    /// `Unavailable` if SQLite refuses.
    pub async fn rows(&self) -> Result<Vec<String>> {
        self.transaction("read readings", |t| {
            t.prepare("SELECT station || ',' || time || ',' || celsius FROM readings")
                .and_then(|mut find| find.query_map([], |row| row.get(0))?.collect())
                .of("read readings")
        })
        .await
    }

    /// Does `work` as a whole or not at all: an error rolls it back.
    pub(crate) async fn transaction<T: Send>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let Some(wire) = &self.wire else { return self.at_once(operation, work) };
        let mut answer = None;
        let transaction = async {
            answer = Some(self.at_once(operation, work)?);
            Ok(())
        };
        wire.pass(operation, Box::pin(transaction)).await?;
        answer.ok_or_else(|| Error::bug(operation, "it has passed, and did not happen"))
    }

    fn at_once<T>(&self, operation: &'static str, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock for writing comes first: what is read in a transaction does not change before it writes.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).of(operation)?;
        let answer = work(&transaction)?;
        // Whether a COMMIT that fails has happened is not known. To say so is all that is needed: the mark will decide.
        transaction
            .commit()
            .map_err(|e| Error::new(ErrorKind::Ambiguous, operation, "the commit failed").with_source(e))?;
        Ok(answer)
    }
}

/// Makes the tables if there are none. Those of a version that this crate does not know may mean something else by the same names: they are
/// left alone.
fn make_tables(t: &Transaction<'_>) -> Result<()> {
    match t.query_row("PRAGMA user_version", [], |row| row.get(0)).of("read version")? {
        VERSION => Ok(()),
        NONE => {
            t.execute_batch(TABLES).of("make tables")?;
            t.pragma_update(None, "user_version", VERSION).of("make tables")
        }
        other => Err(Error::config("open database", "its tables are of a version that this crate does not know")
            .with("version", other)
            .with("known", VERSION)
            .with_hint("use the version of this crate that made them, or another file")),
    }
}

/// What SQLite answered, as landfall says it.
pub(crate) trait Answer<T> {
    fn of(self, operation: &'static str) -> Result<T>;
}

impl<T> Answer<T> for rusqlite::Result<T> {
    fn of(self, operation: &'static str) -> Result<T> {
        // Nothing has happened yet: transient, so that the caller may try again.
        self.map_err(|e| Error::unavailable(operation, "SQLite refuses").with_source(e))
    }
}
