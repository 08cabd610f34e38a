//! What a database that is not known must show before anything is written to it.

use super::control::Control;
use super::dialect::AdbcDialect;
use super::name::TableName;
use super::session::Session;
use crate::error::{Error, Result};

const OPERATION: &str = "probe database";

/// Makes sure that transactions can be undone, and that of two that change one row the second sees the first. Of databases that are
/// known this is known.
///
/// # Errors
/// `Config` if the database cannot do what a sink needs.
pub(super) fn probe(session: &mut Session, control: &Control) -> Result<()> {
    if session.dialect != AdbcDialect::Standard {
        return Ok(());
    }
    let table = control.beside("_lf_probe");
    session.execute(OPERATION, &format!("DROP TABLE IF EXISTS {}", table.sql()))?;
    session.execute(OPERATION, &format!("CREATE TABLE {} (n BIGINT)", table.sql()))?;
    session.execute(OPERATION, &format!("INSERT INTO {} (n) VALUES (0)", table.sql()))?;
    undoes(session, &table)?;
    isolates(session, &table)?;
    session.execute(OPERATION, &format!("DROP TABLE {}", table.sql())).map(drop)
}

fn refuse(message: &'static str) -> Error {
    Error::config(OPERATION, message)
        .with_hint("this sink cannot be exactly-once there: land the data, and load it by other means")
}

fn held(session: &mut Session, table: &TableName) -> Result<u64> {
    session.count(OPERATION, &format!("SELECT n FROM {}", table.sql()))
}

fn undoes(session: &mut Session, table: &TableName) -> Result<()> {
    session.begin(OPERATION)?;
    session.execute(OPERATION, &format!("UPDATE {} SET n = 7", table.sql()))?;
    session.rollback(OPERATION)?;
    match held(session, table)? {
        0 => Ok(()),
        _ => Err(refuse("the database does not undo a transaction")),
    }
}

/// A second transaction has read the row when a first one changes it and is committed: whatever it does then, the change is not lost.
fn isolates(session: &mut Session, table: &TableName) -> Result<()> {
    let change = |to: u8| format!("UPDATE {} SET n = {to} WHERE n = 0", table.sql());
    let mut second = session.another()?;
    second.begin(OPERATION)?;
    held(&mut second, table)?;
    session.transaction(OPERATION, |session| session.execute(OPERATION, &change(1)).map(drop))?;
    // It may fail, or find no row to change; both are right.
    if second.execute(OPERATION, &change(2)).and_then(|_| second.commit(OPERATION)).is_err() {
        tracing::debug!("the second of two transactions failed, as it should");
    }
    drop(second);
    match held(session, table)? {
        1 => Ok(()),
        _ => Err(refuse("the database lets one transaction undo what another has committed")),
    }
}
