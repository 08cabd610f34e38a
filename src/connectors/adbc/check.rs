//! Whether a table that somebody else made can take rows at all. What the commit could not do is refused before anything is staged: a
//! prepared epoch has no way back.

use super::dialect::AdbcDialect;
use super::name::{TableName, list};
use super::session::Session;
use super::table::{Given, LOAD, Relation, TableColumn};
use super::types::ColumnType;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::Disposition;

/// What to do about a table that does not take the rows that are prepared for it.
pub(super) const CHANGED: &str = "change the table back and run again, or give the epoch up: docs/operations.md, \
     \"A destination that refuses an epoch for good\"";

/// Refuses to move rows into a table that somebody has changed since they were staged: the database would round some values without a
/// word. `there` are the columns of the table, `waiting` those of the rows, of which `moved` go into it.
///
/// # Errors
/// `Config`, saying what to change back.
pub(super) fn still_fits<'a>(
    table: &TableName,
    there: &[TableColumn],
    waiting: &[TableColumn],
    moved: impl Iterator<Item = &'a str>,
    dialect: AdbcDialect,
) -> Result<()> {
    let named = |column: &&TableColumn, name: &str| dialect.same_name(&column.name, name);
    for name in moved {
        let Some(waiting) = waiting.iter().find(|column| named(column, name)) else { continue };
        let refuse = |message: &'static str| {
            let error = Error::config("commit rows", message).with("table", table).with("column", name);
            error.with("staged_type", &waiting.sql).with_hint(CHANGED)
        };
        let Some(there) = there.iter().find(|column| named(column, name)) else {
            return Err(refuse("a column is gone since the rows were staged; nothing was committed"));
        };
        let kinds = there.kind.as_ref().zip(waiting.kind.as_ref());
        if there.sql != waiting.sql && !kinds.is_some_and(|(there, waiting)| there.holds(waiting)) {
            let message = "a column has another type since the rows were staged; nothing was committed";
            return Err(refuse(message).with("type", &there.sql));
        }
    }
    Ok(())
}

/// What is written into a table.
pub(super) struct Written<'a> {
    /// All columns that the sink writes.
    pub columns: &'a [&'a str],
    pub disposition: &'a Disposition,
    /// The id of the load, which each row gets.
    pub load: &'a str,
}

/// Refuses what would fail, or would lose rows, at the commit.
///
/// # Errors
/// `Config` or `Auth`, saying what to change.
pub(super) fn check(
    table: &TableName,
    relation: &Relation,
    dialect: AdbcDialect,
    Written { columns, disposition, load }: &Written<'_>,
) -> Result<()> {
    let refuse = |kind, message, hint| Error::new(kind, "open table", message).with("table", table).with_hint(hint);
    let config = |message: &'static str, hint: &'static str| refuse(ErrorKind::Config, message, hint);
    if relation.no_table {
        return Err(config("it is no table: a view, or one whose rows are elsewhere", "name the table itself"));
    }
    if let Some(part) = &relation.unkept {
        let hint = "ALTER TABLE … SET LOGGED, or detach the partition";
        return Err(
            config("it is unlogged or foreign in part: its rows would not stay with the mark", hint).with("part", part)
        );
    }
    if relation.hidden {
        let hint = "load as the owner of the table, or as a role with BYPASSRLS";
        return Err(refuse(ErrorKind::Auth, "row-level security hides rows of the table from this role", hint));
    }
    for column in &relation.columns {
        let refuse = |message, hint| Err(config(message, hint).with("column", &column.name));
        let is_written = columns.iter().any(|name| dialect.same_name(name, &column.name));
        match column.given {
            Given::Always if is_written => {
                let hint = "leave the column out in a stage before the sink";
                return refuse("the database makes all values of this column", hint);
            }
            Given::Never if column.not_null && !is_written => {
                let hint = "give the column a default, or the rows the column";
                return refuse("the rows lack a column that must not be null", hint);
            }
            _ => {}
        }
        if relation.folding.contains(&column.name) && disposition.key().contains(&column.name) {
            let hint = "give the column of the key, and its unique indexes, a deterministic collation";
            return refuse("texts of this key may be equal though they differ", hint);
        }
        let holds_load = match column.kind {
            Some(ColumnType::Text(most)) => most.is_none_or(|most| most >= load.chars().count()),
            _ => false,
        };
        if dialect.same_name(&column.name, LOAD) && !holds_load {
            let hint = "give the column the type that it has in a table that the sink makes";
            return refuse("a column of the sink's own has another type", hint);
        }
    }
    Ok(())
}

/// Asks a database whose catalogue does not tell everything whether it would take rows of these columns: there are none in the statement.
/// DuckDB before 2.0 does not say which columns it makes itself.
///
/// # Errors
/// What the database says.
pub(super) fn try_out(session: &mut Session, table: &TableName, columns: &[&str]) -> Result<()> {
    if matches!(session.dialect, AdbcDialect::Postgres | AdbcDialect::Sqlite) {
        return Ok(());
    }
    let (into, columns) = (table.sql(), list(columns.iter().copied()));
    let insert = format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {into} WHERE 1 = 0");
    session.execute("open table", &insert).map(drop).map_err(|e| e.with("table", table))
}
