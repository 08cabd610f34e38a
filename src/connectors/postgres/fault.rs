//! What an error of the server means: by its SQLSTATE (PostgreSQL manual, appendix A).

use super::fit::CHANGED;
use crate::error::{Error, ErrorKind, Status};
use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// The error of a statement that had no effect.
pub(super) fn statement(operation: &'static str, error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        // The connection broke, or never was. Within a transaction nothing has happened.
        let away = Error::unavailable(operation, "the database cannot be reached");
        let status = if is_settled(&error) { Status::Permanent } else { away.status() };
        let mut away = away.with_status(status);
        let cause = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<std::io::Error>());
        if cause.is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
            away = away.with_hint("the server takes no writes: is it a replica, or the role read-only?");
        }
        return away.with_source(error);
    };
    let state = db.code().code().to_owned();
    let (kind, hint) = meaning(&state);
    if state.starts_with("28") {
        // What a server says of credentials may repeat them. Not as the cause either, which is printed.
        return Error::new(kind, operation, "the server refuses the credentials").with("sqlstate", state).with_hint(
            "check user and password, and whether the server lets this host in: pg_hba.conf, with or without TLS",
        );
    }
    let mut mapped = Error::new(kind, operation, db.message().to_owned()).with("sqlstate", &state);
    for (key, value) in [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())] {
        if let Some(value) = value {
            mapped = mapped.with(key, value);
        }
    }
    match hint.map(str::to_owned).or_else(|| db.hint().map(str::to_owned)) {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    }
}

/// The error of a statement that moves prepared rows into the table: as [`statement`], and what to do if the table does not take them.
pub(super) fn moving(operation: &'static str, error: tokio_postgres::Error) -> Error {
    let state = error.code().map(|state| state.code().to_owned()).unwrap_or_default();
    let is_refused = ["22", "23", "42"].iter().any(|class| state.starts_with(class)) && state != "42501";
    let error = statement(operation, error);
    if is_refused { error.with_hint(CHANGED) } else { error }
}

/// The error of a statement on a table in which rows are staged: as [`statement`], but that a newer owner may have collected it.
pub(super) fn staging(operation: &'static str, error: tokio_postgres::Error) -> Error {
    if error.code() != Some(&SqlState::UNDEFINED_TABLE) {
        return statement(operation, error);
    }
    Error::unavailable(
        operation,
        "the rows that were staged are gone: another instance has taken over, or somebody dropped the table",
    )
    .with_status(Status::Permanent)
    .with_hint("run again: nothing was committed")
    .with_source(error)
}

/// Whether a connection that cannot be made will not be made the next time either: its certificate or its settings are wrong.
fn is_settled(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        let inner = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) || e.to_string() == "server does not support TLS" {
            return true;
        }
        cause = e.source();
    }
    // The client keeps the kinds of its errors to itself.
    let said = error.to_string();
    ["invalid configuration", "authentication error"].iter().any(|kind| said.starts_with(kind))
}

/// The error of a `COMMIT`, or of a statement that is a transaction of its own: it may have happened, unless the server says that it
/// did not.
pub(super) fn commit(operation: &'static str, error: tokio_postgres::Error) -> Error {
    if error.code().is_some_and(|state| rolled_back(state.code())) {
        return statement(operation, error);
    }
    Error::new(ErrorKind::Ambiguous, operation, "it is not known whether the transaction was committed")
        .with_source(error)
}

/// Whether an answer says that nothing has happened. A server that stops, or that fails, may have committed before.
fn rolled_back(state: &str) -> bool {
    let open = ["08", "57P", "58", "XX", "40003"];
    !open.iter().any(|class| state.starts_with(class))
}

/// The error of the pool.
pub(super) fn pool(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) => statement("connect to database", error),
        PoolError::Timeout(_) => Error::unavailable("connect to database", "no connection became free in time"),
        other => Error::unavailable("connect to database", "there is no connection").with_source(other),
    }
}

fn meaning(state: &str) -> (ErrorKind, Option<&'static str>) {
    match state {
        "42501" => (ErrorKind::Auth, Some("grant it, or use a role that may do it")),
        "25006" => (ErrorKind::Config, Some("the server takes no writes: is it a replica?")),
        "22021" | "22P05" => (ErrorKind::Data, Some("a text holds a character that the database cannot keep")),
        "55P03" => {
            (ErrorKind::Unavailable, Some("another session holds a lock: see `pg_locks` and `pg_stat_activity`"))
        }
        // Any failure inside the server that has no code of its own, as a file that did not fit on its disk any more. Damage has one.
        "XX000" => (ErrorKind::Unavailable, Some("the server failed inside: its log says why")),
        // Serialisation failures, deadlocks; a transaction that stood still, or went on, for too long.
        "40001" | "40P01" | "25P03" | "25P04" => (ErrorKind::Unavailable, None),
        _ => match state.get(..2).unwrap_or_default() {
            // Connections, resources, the operator, the system around.
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
    fn a_commit_that_was_refused_is_not_in_doubt() {
        for state in ["23505", "42501", "25006", "42P01", "22P02", "53100", "40001", "40P01", "57014", "55P03"] {
            assert!(rolled_back(state), "{state}");
        }
        for state in ["08006", "40003", "57P01", "57P02", "58030", "XX000"] {
            assert!(!rolled_back(state), "{state}");
        }
    }

    #[test]
    fn the_sqlstate_tells_what_to_do() {
        let cases = [
            ("57P01", ErrorKind::Unavailable),
            ("53100", ErrorKind::Unavailable),
            ("53200", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("55P03", ErrorKind::Unavailable),
            ("25P03", ErrorKind::Unavailable),
            ("28P01", ErrorKind::Auth),
            ("42501", ErrorKind::Auth),
            ("42P01", ErrorKind::Config),
            ("3D000", ErrorKind::Config),
            ("22003", ErrorKind::Data),
            ("23505", ErrorKind::Data),
            ("XX000", ErrorKind::Unavailable),
            ("XX001", ErrorKind::Corrupt),
            ("XX002", ErrorKind::Corrupt),
        ];
        for (state, kind) in cases {
            assert_eq!(meaning(state).0, kind, "{state}");
        }
    }
}
