//! One connection: statements, queries, bulk ingest and transactions on it. Everything here blocks.

use super::database::Config;
use super::dialect::AdbcDialect;
use super::fault;
use super::name::TableName;
use crate::defects::{Defect, on};
use crate::error::{Error, ErrorKind, Result};
use adbc_core::error::Error as AdbcError;
use adbc_core::options::{InfoCode, IngestMode, OptionConnection, OptionStatement};
use adbc_core::{Connection, Database, Optionable, Statement};
use adbc_driver_manager::{ManagedConnection, ManagedDatabase};
use arrow::array::{RecordBatch, RecordBatchIterator};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A row of an answer, as text.
pub(super) type Row = Vec<Option<String>>;

/// A connection, and what is known of the database behind it.
pub(super) struct Session {
    connection: ManagedConnection,
    database: ManagedDatabase,
    pub dialect: AdbcDialect,
    /// Whether a backslash in a text begins an escape.
    escapes: bool,
    config: Arc<Config>,
    /// The connection is not fit for more, though what it was asked for is done.
    pub spent: bool,
}

impl Session {
    /// Connects, and makes sure that the database is what a sink needs.
    pub(super) fn connect(config: &Arc<Config>, database: &ManagedDatabase) -> Result<Self> {
        const OPERATION: &str = "connect to database";
        let config = Arc::clone(config);
        let failed = |e| config.failed(OPERATION, None, e);
        let connection = database.new_connection_with_opts(config.connection_options()).map_err(failed)?;
        let dialect = match config.dialect {
            Some(dialect) => dialect,
            None => AdbcDialect::of_vendor(&vendor(&connection).map_err(failed)?),
        };
        let database = database.clone();
        let mut session = Self { connection, database, dialect, escapes: false, config, spent: false };
        for statement in dialect.setup() {
            session.execute(OPERATION, statement)?;
        }
        if let Some(file) = dialect.file() {
            let found = session.value(OPERATION, file)?;
            if found.is_none_or(|file| file.is_empty()) {
                return Err(Error::config(
                    OPERATION,
                    "the database is in memory, and forgets what was committed to it",
                )
                .with("driver", &session.config.driver)
                .with_hint("name a file: the option `path` for DuckDB, `uri` for SQLite"));
            }
        }
        session.escapes = session.value(OPERATION, r"SELECT '\\'")?.is_some_and(|text| text.len() == 1);
        Ok(session)
    }

    /// Another connection to the same database.
    pub(super) fn another(&self) -> Result<Self> {
        Self::connect(&self.config, &self.database)
    }

    fn failed(&self, operation: &'static str, error: AdbcError) -> Error {
        self.config.failed(operation, Some(self.dialect), error)
    }

    /// Quotes a text.
    pub(super) fn literal(&self, text: &str) -> String {
        let text = text.replace('\'', "''");
        format!("'{}'", if self.escapes { text.replace('\\', r"\\") } else { text })
    }

    /// Runs a statement; gives the rows that it changed, where the driver says so. Some drivers say nothing if it is none.
    pub(super) fn execute(&mut self, operation: &'static str, statement: &str) -> Result<Option<i64>> {
        tracing::trace!(statement, "adbc");
        let run = |connection: &mut ManagedConnection| {
            let mut prepared = connection.new_statement()?;
            prepared.set_sql_query(statement)?;
            prepared.execute_update()
        };
        run(&mut self.connection).map_err(|e| self.failed(operation, e))
    }

    /// Runs a query.
    pub(super) fn batches(&mut self, operation: &'static str, query: &str) -> Result<Vec<RecordBatch>> {
        tracing::trace!(query, "adbc");
        let run = |connection: &mut ManagedConnection| {
            let mut statement = connection.new_statement()?;
            statement.set_sql_query(query)?;
            let batches = statement.execute()?.collect::<Result<Vec<_>, _>>()?;
            Ok(batches)
        };
        run(&mut self.connection).map_err(|e: AdbcError| self.failed(operation, e))
    }

    /// Runs a query, and gives its rows as text.
    pub(super) fn query(&mut self, operation: &'static str, query: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for batch in self.batches(operation, query)? {
            texts(&batch, &mut rows).map_err(|e| self.failed(operation, e))?;
        }
        Ok(rows)
    }

    /// Runs a query, and gives its rows by the names of the columns, in lower case. Nulls are left out.
    pub(super) fn records(&mut self, operation: &'static str, query: &str) -> Result<Vec<HashMap<String, String>>> {
        let mut records = Vec::new();
        for batch in self.batches(operation, query)? {
            let names = batch.schema().fields().iter().map(|field| field.name().to_lowercase()).collect::<Vec<_>>();
            let mut rows = Vec::new();
            texts(&batch, &mut rows).map_err(|e| self.failed(operation, e))?;
            let named =
                |row: Row| names.iter().cloned().zip(row).filter_map(|(name, value)| Some((name, value?))).collect();
            records.extend(rows.into_iter().map(named));
        }
        Ok(records)
    }

    /// The first value that a query gives.
    pub(super) fn value(&mut self, operation: &'static str, query: &str) -> Result<Option<String>> {
        Ok(self.query(operation, query)?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// What a query counts.
    pub(super) fn count(&mut self, operation: &'static str, query: &str) -> Result<u64> {
        let found = self.value(operation, query)?;
        found.and_then(|n| n.parse().ok()).ok_or_else(|| Error::bug(operation, "a query that counts gives no number"))
    }

    /// Adds rows to a table whose columns these are, in this order.
    pub(super) fn ingest(
        &mut self,
        operation: &'static str,
        table: &TableName,
        batches: Vec<RecordBatch>,
    ) -> Result<()> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else { return Ok(()) };
        let run = |connection: &mut ManagedConnection| {
            let mut statement = connection.new_statement()?;
            statement.set_option(OptionStatement::TargetTable, table.table.as_str().into())?;
            if let Some(schema) = &table.schema {
                statement.set_option(OptionStatement::TargetDbSchema, schema.as_str().into())?;
            }
            statement.set_option(OptionStatement::IngestMode, IngestMode::Append.into())?;
            statement.bind_stream(Box::new(RecordBatchIterator::new(batches.into_iter().map(Ok), schema)))?;
            statement.execute_update()
        };
        run(&mut self.connection).map(drop).map_err(|e| self.failed(operation, e).with("table", table))
    }

    /// Does `work` in one transaction. After an error the session must be dropped, and its transaction with it.
    ///
    /// # Errors
    /// `Ambiguous` if it is not known whether it was committed.
    pub(super) fn transaction<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.begin(operation)?;
        let value = work(self)?;
        self.commit(operation)?;
        Ok(value)
    }

    /// Does `work`, which may be done twice, in a transaction that waits for locks for so many seconds at most. Where no such limit can
    /// be set, without a transaction.
    pub(super) fn impatiently<T>(
        &mut self,
        operation: &'static str,
        seconds: u8,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let Some(limit) = self.dialect.lock_timeout(seconds) else { return work(self) };
        let done = self.transaction(operation, |session| {
            session.execute(operation, &limit)?;
            work(session)
        });
        done.map_err(|e| match e.kind() {
            ErrorKind::Ambiguous => Error::unavailable(operation, "the answer was lost").with_source(e),
            _ => e,
        })
    }

    pub(super) fn begin(&mut self, operation: &'static str) -> Result<()> {
        for statement in self.dialect.begin() {
            self.execute(operation, statement)?;
        }
        if !self.begins_by_switch() {
            return Ok(());
        }
        let off = self.connection.set_option(OptionConnection::AutoCommit, false.into());
        off.map_err(|e| {
            let cause = self.failed(operation, e);
            Error::config(operation, "the driver has no transactions, so nothing could be written exactly once")
                .with("driver", &self.config.driver)
                .with_source(cause)
        })
    }

    fn begins_by_switch(&self) -> bool {
        self.dialect.begin().is_empty()
    }

    pub(super) fn commit(&mut self, operation: &'static str) -> Result<()> {
        let committed = if self.begins_by_switch() {
            self.connection.commit()
        } else {
            self.connection.new_statement().and_then(|mut statement| {
                statement.set_sql_query("COMMIT")?;
                statement.execute_update().map(drop)
            })
        };
        match committed {
            Err(_) if on(Defect::LostCommitIsSuccess) => {}
            done => done.map_err(|e| self.config.commit_failed(operation, self.dialect, e))?,
        }
        if self.begins_by_switch() {
            self.spent = self.connection.set_option(OptionConnection::AutoCommit, true.into()).is_err();
        }
        Ok(())
    }

    pub(super) fn rollback(&mut self, operation: &'static str) -> Result<()> {
        if !self.begins_by_switch() {
            return self.execute(operation, "ROLLBACK").map(drop);
        }
        let undone = self.connection.rollback();
        undone.and_then(|()| self.connection.set_option(OptionConnection::AutoCommit, true.into())).map_err(|e| {
            let cause = self.failed(operation, e);
            Error::new(ErrorKind::Config, operation, "the driver cannot undo a transaction")
                .with("driver", &self.config.driver)
                .with_source(cause)
        })
    }
}

/// The name of the database, as the driver says it.
fn vendor(connection: &ManagedConnection) -> Result<String, AdbcError> {
    let mut rows = Vec::new();
    for batch in connection.get_info(Some(HashSet::from([InfoCode::VendorName])))? {
        texts(&batch?, &mut rows)?;
    }
    Ok(rows.into_iter().next().and_then(|mut row| row.pop()).flatten().unwrap_or_default())
}

/// Adds the rows of a batch to `rows`, as text.
fn texts(batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<(), AdbcError> {
    let options = FormatOptions::new();
    let columns = batch.columns().iter().map(|column| {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        Ok::<_, arrow::error::ArrowError>((column.logical_nulls(), formatter))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let text = columns.iter().map(|(nulls, formatter)| {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            (!is_null).then(|| formatter.value(row).to_string())
        });
        rows.push(text.collect());
    }
    Ok(())
}

impl Config {
    /// The error of a statement, without what is secret. Damage names the file.
    pub(super) fn failed(&self, operation: &'static str, dialect: Option<AdbcDialect>, mut error: AdbcError) -> Error {
        error.message = self.without_secrets(&error.message);
        let failed = fault::statement(operation, dialect, error);
        match self.duckdb_file().filter(|_| failed.kind() == ErrorKind::Corrupt) {
            Some(file) => failed.with("file", file.display()),
            None => failed,
        }
    }

    fn commit_failed(&self, operation: &'static str, dialect: AdbcDialect, mut error: AdbcError) -> Error {
        error.message = self.without_secrets(&error.message);
        fault::commit(operation, dialect, error)
    }
}
