//! The table that rows go to: what columns it has, and how it gets those that are new. Changes only add, and may be repeated.

use super::dialect::AdbcDialect;
use super::fault;
use super::name::{self, TableName, quoted};
use super::session::Session;
use super::types::{Catalogued, ColumnType};
pub(super) use crate::columnar::LOAD_COLUMN as LOAD;
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;

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
    #[serde(skip)]
    pub not_null: bool,
    #[serde(skip)]
    pub given: Given,
}

/// Whether the database gives a column a value of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Given {
    #[default]
    Never,
    /// Where a row does not say it.
    Absent,
    Always,
}

/// The columns of `table`, in order; empty if there is no such table.
pub(super) fn columns_in(session: &mut Session, table: &TableName) -> Result<Vec<TableColumn>> {
    const OPERATION: &str = "read columns of table";
    let dialect = session.dialect;
    let query = if dialect == AdbcDialect::Sqlite {
        let name = session.literal(&table.table);
        // One whole number as the key is the number of the row, and is made where it is null.
        format!(
            "SELECT name AS column_name, type AS data_type, CASE WHEN \"notnull\" THEN 'NO' END AS is_nullable, \
             dflt_value AS column_default, CASE WHEN hidden > 1 THEN 'ALWAYS' END AS is_generated, \
             CASE WHEN pk = 1 AND lower(type) = 'integer' AND (SELECT max(pk) FROM pragma_table_info({name})) = 1 \
             AND NOT (SELECT max(wr) FROM pragma_table_list({name})) THEN 'YES' END AS is_identity \
             FROM pragma_table_xinfo({name}) WHERE hidden <> 1"
        )
    } else {
        // Of what the standard knows, a database need not have everything. What is not asked for, DuckDB need not make.
        let of_a_column = match dialect {
            AdbcDialect::Standard => "*",
            _ => {
                "column_name, data_type, is_nullable, column_default, is_generated, is_identity, identity_generation, \
                 numeric_precision, numeric_scale, character_maximum_length, datetime_precision"
            }
        };
        let named = is_named(session, table);
        format!("SELECT {of_a_column} FROM information_schema.columns WHERE {named} ORDER BY ordinal_position")
    };
    let records = session.records(OPERATION, &query).map_err(|e| e.with("table", table))?;
    Ok(records.into_iter().map(|record| column(dialect, &record)).collect())
}

/// A column as the catalogue tells it.
pub(super) fn column(dialect: AdbcDialect, record: &HashMap<String, String>) -> TableColumn {
    let text = |name: &str| record.get(name).map(String::as_str);
    let says = |name: &str, word: &str| text(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    let sql = text("data_type").unwrap_or_default().to_owned();
    let of = Catalogued {
        name: &sql,
        digits: text("numeric_precision").and_then(|n| n.parse().ok()),
        scale: text("numeric_scale").and_then(|n| n.parse().ok()),
        characters: text("character_maximum_length").and_then(|n| n.parse().ok()),
        second_digits: text("datetime_precision").and_then(|n| n.parse().ok()),
    };
    let kind = ColumnType::from_sql(dialect, &of);
    let is_identity = says("is_identity", "yes");
    let given = if says("is_generated", "always") || (is_identity && says("identity_generation", "always")) {
        Given::Always
    } else if is_identity || text("column_default").is_some() {
        Given::Absent
    } else {
        Given::Never
    };
    let not_null = says("is_nullable", "no") || is_identity;
    TableColumn { name: text("column_name").unwrap_or_default().to_owned(), sql, kind, not_null, given }
}

/// What a table is, besides its columns.
#[derive(Debug, Default)]
pub(super) struct Relation {
    /// Empty if there is no such table.
    pub columns: Vec<TableColumn>,
    /// It is a view, or its rows are elsewhere.
    pub no_table: bool,
    /// What of it does not keep its rows: it, or a partition, is unlogged or elsewhere.
    pub unkept: Option<String>,
    /// A policy hides rows from us.
    pub hidden: bool,
    /// Columns whose texts may be equal though they differ.
    pub folding: Vec<String>,
}

/// What the catalogue says of `table`.
pub(super) fn relation(session: &mut Session, table: &TableName) -> Result<Relation> {
    const OPERATION: &str = "read table";
    let columns = columns_in(session, table)?;
    if columns.is_empty() {
        return Ok(Relation::default());
    }
    let query = match session.dialect {
        AdbcDialect::Sqlite => {
            format!(
                "SELECT type AS table_type FROM sqlite_master WHERE name = {} COLLATE NOCASE",
                session.literal(&table.table)
            )
        }
        AdbcDialect::Postgres => postgres_relation(session, table),
        AdbcDialect::DuckDb | AdbcDialect::Standard => {
            format!("SELECT table_type FROM information_schema.tables WHERE {}", is_named(session, table))
        }
    };
    let record = session.records(OPERATION, &query).map_err(|e| e.with("table", table))?.pop().unwrap_or_default();
    let kind = record.get("table_type").map(|kind| kind.to_uppercase()).unwrap_or_default();
    Ok(Relation {
        columns,
        no_table: ["VIEW", "FOREIGN", "EXTERNAL", "TEMPORARY"].iter().any(|other| kind.contains(other)),
        unkept: record.get("unkept").cloned(),
        hidden: record.get("hidden").is_some_and(|hidden| hidden == "1"),
        folding: record.get("folding").and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default(),
    })
}

/// What only the catalogue of PostgreSQL knows.
fn postgres_relation(session: &Session, table: &TableName) -> String {
    let name = session.literal(&table.table);
    let schema = table.schema.as_ref().map_or_else(|| "current_schema()".to_owned(), |schema| session.literal(schema));
    format!(
        "SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 'TABLE' ELSE 'VIEW' END AS table_type, \
         CASE WHEN pg_catalog.row_security_active(c.oid) THEN '1' END AS hidden, \
         CASE WHEN c.relpersistence <> 'p' THEN c.relname::text WHEN c.relkind = 'p' THEN \
             (SELECT pg_catalog.min(k.relname::text) FROM pg_catalog.pg_partition_tree(c.oid::regclass) p \
              JOIN pg_catalog.pg_class k ON k.oid = p.relid::oid WHERE k.relkind = 'f' OR k.relpersistence <> 'p') END AS unkept, \
         (SELECT pg_catalog.json_agg(a.attname)::text FROM pg_catalog.pg_attribute a \
             LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (NOT l.collisdeterministic OR EXISTS \
                 (SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_collation u ON u.oid = ANY (i.indcollation) \
                  AND NOT u.collisdeterministic WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)))) AS folding \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name}"
    )
}

/// The condition that a row of the information schema is of `table`.
fn is_named(session: &Session, table: &TableName) -> String {
    let name = session.literal(&table.table);
    // It knows a table by any case of its name, and keeps the one that it was made with.
    let same = match session.dialect {
        AdbcDialect::DuckDb => format!("lower(table_name) = lower({name})"),
        _ => format!("table_name = {name}"),
    };
    format!("{same}{}", of_schema(session, table))
}

/// The condition that a row of the catalogue is of the schema of `table`.
fn of_schema(session: &Session, table: &TableName) -> String {
    let this = session.dialect.this_catalog();
    match &table.schema {
        None => format!(" AND table_schema = current_schema(){this}"),
        Some(schema) if session.dialect == AdbcDialect::DuckDb => {
            format!(" AND lower(table_schema) = lower({}){this}", session.literal(schema))
        }
        Some(schema) => format!(" AND table_schema = {}{this}", session.literal(schema)),
    }
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
        let create = format!("CREATE TABLE IF NOT EXISTS {} ({definitions})", table.sql());
        session.execute(OPERATION, &create).map_err(|e| e.with("table", table))?;
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
            session.execute(OPERATION, &index).map_err(|e| e.with("table", table))?;
        }
        return columns_in(session, table);
    }
    let missing: Vec<_> =
        wanted.iter().filter(|(column, _)| !there.iter().any(|c| dialect.same_name(&c.name, column))).collect();
    if missing.is_empty() {
        return Ok(there);
    }
    // Whoever reads the table waits behind a change that waits.
    let added = session.impatiently(OPERATION, 3, |session| {
        for column in &missing {
            // If somebody else has made it meanwhile, what is there is looked at again.
            session.execute(OPERATION, &format!("ALTER TABLE {} ADD COLUMN {}", table.sql(), definition(column)))?;
        }
        Ok(())
    });
    added.map_err(|e| e.with("table", table))?;
    columns_in(session, table)
}

/// Drops a table of staged rows; gives whether it could be had. A backup holds each table for as long as it takes.
pub(super) fn discard(session: &mut Session, table: &TableName) -> Result<bool> {
    const OPERATION: &str = "drop staged rows";
    let drop = format!("DROP TABLE IF EXISTS {}", table.sql());
    match session.impatiently(OPERATION, 2, |session| session.execute(OPERATION, &drop)) {
        Ok(_) => Ok(true),
        Err(e) if fault::is_lock_timeout(&e) => session.rollback(OPERATION).map(|()| false),
        Err(e) => Err(e.with("table", table)),
    }
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
