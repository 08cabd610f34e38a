//! What an error of a driver means. Few drivers say it by a code, so their words are read as well.

use super::dialect::AdbcDialect;
use crate::error::{Error, ErrorKind};
use adbc_core::error::{Error as AdbcError, Status};

/// Words of errors that pass by themselves: nothing has happened, and the same again may succeed.
const PASSING: &[(AdbcDialect, &str)] = &[
    // Two transactions changed the same rows, or the same table.
    (AdbcDialect::DuckDb, "TransactionContext Error"),
    (AdbcDialect::DuckDb, "Conflicting lock is held"),
    (AdbcDialect::DuckDb, "write-write conflict"),
    (AdbcDialect::DuckDb, "cannot be altered by"),
    (AdbcDialect::Sqlite, "database is locked"),
    (AdbcDialect::Sqlite, "database table is locked"),
    (AdbcDialect::Sqlite, "database schema has changed"),
];

/// Words of errors of a schema, table or column that somebody else has made or changed meanwhile. PostgreSQL tells it by the indexes
/// of its catalogue, also where it was told `IF NOT EXISTS`.
const MADE_MEANWHILE: &[&str] = &[
    "already exists",
    "duplicate column name",
    "pg_type_typname_nsp_index",
    "pg_class_relname_nsp_index",
    "pg_namespace_nspname_index",
    "tuple concurrently updated",
];

/// The error of a statement that had no effect.
pub(super) fn statement(operation: &'static str, dialect: Option<AdbcDialect>, error: AdbcError) -> Error {
    let (kind, hint) = meaning(dialect, &error);
    let sqlstate = sqlstate(&error);
    let message = error.message.split("\nquery: ").next().unwrap_or_default().trim().replace('\n', " ");
    let mut mapped = Error::new(kind, operation, message);
    if let Some(sqlstate) = sqlstate {
        mapped = mapped.with("sqlstate", sqlstate);
    }
    match hint {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    }
}

/// The error of a `COMMIT`: it may have happened, unless the database says that it has not.
pub(super) fn commit(operation: &'static str, dialect: AdbcDialect, error: AdbcError) -> Error {
    let state = sqlstate(&error).unwrap_or_default();
    let rolled_back = (state.starts_with("40") && state != "40003") || state.starts_with("23");
    // SQLite: a COMMIT that finds the database busy leaves the transaction open.
    if rolled_back || (dialect == AdbcDialect::Sqlite && error.message.contains("is locked")) {
        return statement(operation, Some(dialect), error);
    }
    let cause = statement(operation, Some(dialect), error);
    Error::new(ErrorKind::Ambiguous, operation, "it is not known whether the transaction was committed")
        .with_source(cause)
}

/// Whether a statement gave up because somebody else held what it needed.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    error.context().iter().any(|(key, value)| *key == "sqlstate" && value == "55P03")
}

fn sqlstate(error: &AdbcError) -> Option<String> {
    let bytes = error.sqlstate.map(|c| c.to_ne_bytes()[0]);
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    (text.bytes().all(|b| b.is_ascii_alphanumeric()) && text != "00000").then_some(text)
}

fn meaning(dialect: Option<AdbcDialect>, error: &AdbcError) -> (ErrorKind, Option<&'static str>) {
    let says = |words: &str| error.message.contains(words);
    let made_meanwhile = MADE_MEANWHILE.iter().any(|words| says(words));
    match sqlstate(error) {
        Some(state) if made_meanwhile && state == "23505" => return (ErrorKind::Unavailable, None),
        Some(state) => return by_sqlstate(&state),
        None => {}
    }
    // Before a connection is there it is not known what the database is; words of one are none of another's.
    if PASSING.iter().any(|(of, words)| dialect.is_none_or(|dialect| dialect == *of) && says(words)) {
        let hint = says("Conflicting lock is held").then_some(
            "another process has the file open: DuckDB lets one process write; end that one, or wait for it",
        );
        return (ErrorKind::Unavailable, hint);
    }
    if made_meanwhile {
        return (ErrorKind::Unavailable, None);
    }
    if says("No space left") || says("disk I/O error") || says("database or disk is full") {
        return (ErrorKind::Unavailable, Some("look at the disk"));
    }
    if says("not a valid DuckDB database file") || says("Could not read enough bytes") {
        return (
            ErrorKind::Corrupt,
            Some("if it was never whole, because its process was killed while it was made, delete the file"),
        );
    }
    if says("Corrupt database file") && dialect.is_none_or(|dialect| dialect == AdbcDialect::DuckDb) {
        let hint = "a process that is killed while DuckDB checkpoints may leave this; docs/adbc.md says how to load what was landed into another file";
        return (ErrorKind::Corrupt, Some(hint));
    }
    if says("read-only") || says("readonly") {
        return (ErrorKind::Config, Some("the database takes no writes"));
    }
    if says("database disk image is malformed") || says("file is not a database") || says("Serialization Error") {
        return (ErrorKind::Corrupt, None);
    }
    match error.status {
        Status::IO | Status::Timeout | Status::Cancelled => (ErrorKind::Unavailable, None),
        Status::Unauthenticated | Status::Unauthorized => (ErrorKind::Auth, None),
        Status::InvalidData | Status::Integrity => (ErrorKind::Data, None),
        _ => (ErrorKind::Config, None),
    }
}

/// SQL:2016, part 2, 24.1, and the classes of PostgreSQL.
fn by_sqlstate(state: &str) -> (ErrorKind, Option<&'static str>) {
    match state {
        "42501" => (ErrorKind::Auth, Some("grant it, or use a role that may do it")),
        "25006" => (ErrorKind::Config, Some("the server takes no writes: is it a replica?")),
        "22021" | "22P05" => (ErrorKind::Data, Some("a text holds a character that the database cannot keep")),
        // Any failure inside the server that has no code of its own. Damage has one.
        "XX000" => (ErrorKind::Unavailable, Some("the server failed inside: its log says why")),
        // Serialisation failures, deadlocks, locks that were not free; a table or column that somebody else has made meanwhile.
        "40001" | "40P01" | "55P03" | "42P07" | "42701" | "42P06" => (ErrorKind::Unavailable, None),
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" => (ErrorKind::Unavailable, None),
            "28" => (ErrorKind::Auth, None),
            "22" | "23" => (ErrorKind::Data, None),
            "XX" => (ErrorKind::Corrupt, None),
            _ => (ErrorKind::Config, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_tells_what_to_do_and_the_words_where_there_is_none() {
        let of = |message: &str, status, state: &[u8; 5]| {
            let mut error = AdbcError::with_message_and_status(message, status);
            for (to, from) in error.sqlstate.iter_mut().zip(state) {
                *to = i8::from_ne_bytes([*from]) as std::os::raw::c_char;
            }
            error
        };
        let none = b"\0\0\0\0\0";
        let (duck, lite, pg) = (AdbcDialect::DuckDb, AdbcDialect::Sqlite, AdbcDialect::Postgres);
        let cases = [
            (Some(pg), of("x", Status::Internal, b"40001"), ErrorKind::Unavailable),
            (Some(pg), of("x", Status::InvalidArguments, b"42P01"), ErrorKind::Config),
            (Some(pg), of("x", Status::IO, b"28P01"), ErrorKind::Auth),
            (Some(pg), of("could not write init file", Status::Internal, b"XX000"), ErrorKind::Unavailable),
            (Some(pg), of("invalid page in block 0", Status::Internal, b"XX001"), ErrorKind::Corrupt),
            (Some(pg), of("connection refused", Status::IO, none), ErrorKind::Unavailable),
            (
                Some(duck),
                of("TransactionContext Error: Conflict on update!", Status::InvalidArguments, none),
                ErrorKind::Unavailable,
            ),
            (Some(duck), of("Catalog Error: Table x does not exist!", Status::Internal, none), ErrorKind::Config),
            (
                None,
                of("IO Error: Could not set lock on file \"x\": Conflicting lock is held in y", Status::Internal, none),
                ErrorKind::Unavailable,
            ),
            (
                None,
                of("IO Error: Corrupt database file: computed checksum 1 does not match", Status::Internal, none),
                ErrorKind::Corrupt,
            ),
            (Some(lite), of("Corrupt database file", Status::Internal, none), ErrorKind::Config),
            (Some(lite), of("failed: database is locked", Status::Internal, none), ErrorKind::Unavailable),
            (Some(pg), of("database is locked", Status::Internal, none), ErrorKind::Config),
            (
                Some(pg),
                of("violates unique constraint \"pg_class_relname_nsp_index\"", Status::AlreadyExists, b"23505"),
                ErrorKind::Unavailable,
            ),
            (
                Some(pg),
                of("violates unique constraint \"orders_pkey\"", Status::AlreadyExists, b"23505"),
                ErrorKind::Data,
            ),
        ];
        for (dialect, error, kind) in cases {
            assert_eq!(meaning(dialect, &error).0, kind, "{error}");
        }
    }
}
