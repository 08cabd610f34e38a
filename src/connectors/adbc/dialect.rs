//! Where databases differ in what they are told, and in what they promise.

use crate::error::{Error, Result};

/// The SQL that a database speaks.
///
/// It is told by the name that the driver gives its database. A database that is not known is taken for one that keeps the standard, and
/// is put to the test when it is first connected: what it must do, it must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdbcDialect {
    /// DuckDB.
    DuckDb,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
    /// What most databases understand (SQL:2016, with `UPDATE … FROM`).
    Standard,
}

impl AdbcDialect {
    /// By the name of the database (`ADBC_INFO_VENDOR_NAME`).
    pub(super) fn of_vendor(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name {
            _ if name.contains("duckdb") => Self::DuckDb,
            _ if name.contains("postgres") => Self::Postgres,
            _ if name.contains("sqlite") => Self::Sqlite,
            _ => Self::Standard,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
            Self::Standard => "standard",
        }
    }

    /// The statements that begin a transaction; none where it is done by the driver's own switch. A statement is the surer way: it
    /// fails if there is a transaction already, and what it means is the database's matter alone.
    pub(super) fn begin(self) -> &'static [&'static str] {
        match self {
            Self::DuckDb => &["BEGIN TRANSACTION"],
            // No isolation of its own: rows are locked, and what is read after that is what is committed. A pooler may give each
            // transaction another session, so what durability hangs on is said again.
            Self::Postgres => &["BEGIN ISOLATION LEVEL READ COMMITTED", "SET LOCAL synchronous_commit = on"],
            // The one lock for writers is taken at once: a transaction that reads first may not get it any more.
            Self::Sqlite => &["BEGIN IMMEDIATE"],
            Self::Standard => &[],
        }
    }

    /// The statement by which a transaction waits for locks for so many seconds at most, where there is one.
    pub(super) fn lock_timeout(self, seconds: u8) -> Option<String> {
        (self == Self::Postgres).then(|| format!("SET LOCAL lock_timeout = '{seconds}s'"))
    }

    /// What is set in every connection, whatever the defaults are: what is committed must survive a power loss; a policy that would hide
    /// rows is an error; text means one thing. Nobody waits for ever for a process that is gone, or that stands still: the server notices
    /// the first, and after a minute takes the transaction of the second, unless it has a limit already.
    pub(super) fn setup(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "SET synchronous_commit = on",
                "SET statement_timeout = 0",
                "SET row_security = off",
                "SET TimeZone = 'UTC'",
                "SET standard_conforming_strings = on",
                "SET DateStyle = 'ISO'",
                "SET client_min_messages = warning",
                "SET lock_timeout = '30s'",
                "SET tcp_keepalives_idle = 30",
                "SET tcp_keepalives_interval = 10",
                "SET tcp_keepalives_count = 3",
                "SET tcp_user_timeout = '60s'",
                "SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', false) \
                 WHERE pg_catalog.current_setting('idle_in_transaction_session_timeout') = '0'",
            ],
            // With a rollback journal, less than EXTRA may undo a commit after a power loss (SQLite, PRAGMA synchronous).
            Self::Sqlite => &["PRAGMA synchronous = EXTRA", "PRAGMA busy_timeout = 200"],
            Self::DuckDb | Self::Standard => &[],
        }
    }

    /// A query that gives the file of the database, or nothing if it is in memory; where that can be.
    pub(super) fn file(self) -> Option<&'static str> {
        match self {
            Self::DuckDb => Some("SELECT path FROM duckdb_databases() WHERE database_name = current_database()"),
            Self::Sqlite => Some("SELECT file FROM pragma_database_list WHERE name = 'main'"),
            Self::Postgres | Self::Standard => None,
        }
    }

    /// A query that counts the schemas named `name`, a literal.
    pub(super) fn count_schemas(self, name: &str) -> String {
        match self {
            // Its information schema shows only schemas that one owns.
            Self::Postgres => format!("SELECT count(*) FROM pg_namespace WHERE nspname = {name}"),
            Self::DuckDb => {
                format!("SELECT count(*) FROM information_schema.schemata WHERE lower(schema_name) = lower({name})")
            }
            _ => format!("SELECT count(*) FROM information_schema.schemata WHERE schema_name = {name}"),
        }
    }

    /// Where the catalogue holds tables of other databases too, the condition that keeps to this one.
    pub(super) fn this_catalog(self) -> &'static str {
        match self {
            Self::DuckDb | Self::Postgres => " AND table_catalog = current_database()",
            Self::Sqlite | Self::Standard => "",
        }
    }

    /// Whether rows of a key are found by an index that is made with the table. DuckDB joins by hash, and an index would only be kept up.
    pub(super) fn has_key_index(self) -> bool {
        matches!(self, Self::Postgres | Self::Sqlite)
    }

    /// Whether there are schemas.
    pub(super) fn has_schemas(self) -> bool {
        self != Self::Sqlite
    }

    /// Whether text may hold a zero byte.
    pub(super) fn holds_zero_bytes(self) -> bool {
        matches!(self, Self::DuckDb | Self::Sqlite)
    }

    /// Whether a floating-point number may be NaN. SQLite makes it null.
    pub(super) fn holds_nan(self) -> bool {
        self != Self::Sqlite
    }

    /// Refuses names that the database would cut.
    ///
    /// # Errors
    /// `Config`.
    pub(super) fn check_name(self, name: &str) -> Result<()> {
        super::name::check(name)?;
        // It cuts longer ones without an error, and two columns could become one.
        if self == Self::Postgres && name.len() > 63 {
            return Err(Error::config("name table or column", "PostgreSQL would cut the name after 63 bytes")
                .with("name", name));
        }
        Ok(())
    }

    /// Whether two names mean one column.
    pub(super) fn same_name(self, a: &str, b: &str) -> bool {
        match self {
            Self::Postgres | Self::Standard => a == b,
            Self::DuckDb => a.to_lowercase() == b.to_lowercase(),
            Self::Sqlite => a.eq_ignore_ascii_case(b),
        }
    }
}
