//! The table that rows go to: what columns it has, and how it gets those that are new. Changes only add, and may be repeated.

use super::dialect::AdbcDialect;
use super::name::{self, TableName, quoted};
use super::session::Session;
use super::types::{Catalogued, ColumnType};
use crate::error::{Error, Result};
use serde::Serialize;

/// What the sink adds to each row.
pub(super) const LOAD: &str = "_landfall_load";
pub(super) const SEGMENT: &str = "_landfall_segment";
pub(super) const RECORD: &str = "_landfall_record";

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TableColumn {
    pub name: String,
    /// Its type, as the catalogue names it.
    #[serde(rename = "type")]
    pub sql: String,
    /// Its type, if we write it.
    #[serde(skip)]
    pub kind: Option<ColumnType>,
    /// Whether a row must say it: it may not be null, and has no value of its own.
    #[serde(skip)]
    pub required: bool,
}

/// The columns of `table`, in order; empty if there is no such table.
pub(super) fn columns_in(session: &mut Session, table: &TableName) -> Result<Vec<TableColumn>> {
    const OPERATION: &str = "read columns of table";
    let dialect = session.dialect;
    let name = session.literal(&table.table);
    let query = if dialect == AdbcDialect::Sqlite {
        format!("SELECT name, type, \"notnull\", dflt_value, NULL, NULL, NULL, NULL FROM pragma_table_info({name})")
    } else {
        format!(
            "SELECT column_name, data_type, is_nullable, column_default, numeric_precision, numeric_scale, \
             character_maximum_length, datetime_precision FROM information_schema.columns \
             WHERE table_name = {name}{} ORDER BY ordinal_position",
            of_schema(session, table)
        )
    };
    let rows = session.query(OPERATION, &query).map_err(|e| e.with("table", table))?;
    let columns = rows.into_iter().map(|row| {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        let (name, sql, nullable, default) =
            (next().unwrap_or_default(), next().unwrap_or_default(), next().unwrap_or_default(), next());
        let (digits, scale, characters, second_digits) = (next(), next(), next(), next());
        let of = Catalogued {
            name: &sql,
            digits: digits.and_then(|n| n.parse().ok()),
            scale: scale.and_then(|n| n.parse().ok()),
            characters: characters.and_then(|n| n.parse().ok()),
            second_digits: second_digits.and_then(|n| n.parse().ok()),
        };
        let kind = ColumnType::from_sql(dialect, &of);
        let required = (nullable == "1" || nullable.eq_ignore_ascii_case("no")) && default.is_none();
        TableColumn { name, sql, kind, required }
    });
    Ok(columns.collect())
}

/// The condition that a row of the catalogue is of the schema of `table`.
fn of_schema(session: &Session, table: &TableName) -> String {
    let schema = match &table.schema {
        Some(schema) => session.literal(schema),
        None => "current_schema()".to_owned(),
    };
    format!(" AND table_schema = {schema}{}", session.dialect.this_catalog())
}

/// Makes the schema of `table` if it is not there. Without the right to make it, one that is there serves as well.
pub(super) fn ensure_schema(session: &mut Session, table: &TableName) -> Result<()> {
    let Some(schema) = &table.schema else { return Ok(()) };
    let literal = session.literal(schema);
    let there = session.dialect.count_schemas(&literal);
    if session.count("create schema", &there)? == 0 {
        session.execute("create schema", &format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema)))?;
    }
    Ok(())
}

/// Gives `table` the columns of `wanted` that it lacks, or makes it; gives what it has then. Types that are there stay: values that they
/// cannot hold are refused row by row. `key`, if there is one, is never null in a table that is made.
///
/// # Errors
/// `Config` if a name cannot be that of a column.
pub(super) fn evolve(
    session: &mut Session,
    table: &TableName,
    wanted: &[(String, ColumnType)],
    key: &[String],
) -> Result<Vec<TableColumn>> {
    const OPERATION: &str = "change table";
    let dialect = session.dialect;
    for (number, (column, _)) in wanted.iter().enumerate() {
        dialect.check_name(column).map_err(|e| e.with("table", table))?;
        let before = wanted.iter().take(number);
        if let Some((other, _)) = before.into_iter().find(|(other, _)| dialect.same_name(other, column)) {
            return Err(Error::config(OPERATION, "two columns have names that are one to the database")
                .with("table", table)
                .with("column", column)
                .with("other", other)
                .with_hint("rename one in a stage before the sink"));
        }
    }
    let there = columns_in(session, table)?;
    let definition = |(column, kind): &(String, ColumnType)| format!("{} {}", quoted(column), kind.sql(dialect));
    if there.is_empty() {
        ensure_schema(session, table)?;
        let definitions = wanted.iter().map(|column| {
            let not_null = if key.contains(&column.0) { " NOT NULL" } else { "" };
            format!("{}{not_null}", definition(column))
        });
        let definitions = definitions.collect::<Vec<_>>().join(", ");
        session.execute(OPERATION, &format!("CREATE TABLE IF NOT EXISTS {} ({definitions})", table.sql()))?;
        if !key.is_empty() && dialect.has_key_index() {
            let columns = name::list(key.iter().map(String::as_str));
            let index = match (dialect, &table.schema) {
                // There the index has no name of its own that could be taken.
                (AdbcDialect::Postgres, _) => format!("CREATE INDEX ON {} ({columns})", table.sql()),
                _ => {
                    let name = quoted(&format!("_lf_key_{}", table.table));
                    format!("CREATE INDEX IF NOT EXISTS {name} ON {} ({columns})", quoted(&table.table))
                }
            };
            session.execute(OPERATION, &index)?;
        }
        return columns_in(session, table);
    }
    let missing: Vec<_> =
        wanted.iter().filter(|(column, _)| !there.iter().any(|c| dialect.same_name(&c.name, column))).collect();
    if missing.is_empty() {
        return Ok(there);
    }
    for column in missing {
        // If somebody else has made it meanwhile, what is there is looked at again.
        session.execute(OPERATION, &format!("ALTER TABLE {} ADD COLUMN {}", table.sql(), definition(column)))?;
    }
    columns_in(session, table)
}

/// The tables beside `of` whose names begin with `prefix`.
pub(super) fn tables(session: &mut Session, of: &TableName, prefix: &str) -> Result<Vec<String>> {
    let (literal, length) = (session.literal(prefix), prefix.chars().count());
    let query = if session.dialect == AdbcDialect::Sqlite {
        format!(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, {length}) = {literal} ORDER BY 1"
        )
    } else {
        format!(
            "SELECT table_name FROM information_schema.tables WHERE substr(table_name, 1, {length}) = {literal}{} ORDER BY 1",
            of_schema(session, of)
        )
    };
    let rows = session.query("list staged tables", &query)?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}
