//! The table that rows go to: what columns it has, and how it gets those that are new. Changes only add, and may be repeated.

use super::database::{Parameter, Session, schema_lock};
use super::fault;
use super::fit;
use super::name::{self, TableName, literal, quoted};
use super::types::{ColumnType, TableColumn};
pub(super) use crate::columnar::{LOAD_COLUMN as LOAD, RECORD_COLUMN as RECORD, SEGMENT_COLUMN as SEGMENT};
use crate::error::{Error, Result};
use crate::sink::{Disposition, Scd2};
use deadpool_postgres::Client;
use std::collections::BTreeMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

/// What tells versions of a row apart, for a history of versions.
pub(super) const HASH: &str = "_landfall_hash";

/// What the catalogue says of a table.
#[derive(Debug)]
pub(super) struct Relation {
    /// Rows are kept in it, or in its partitions.
    pub is_table: bool,
    /// Its rows are kept in partitions.
    pub partitioned: bool,
    /// What of it does not keep its rows: it, or a partition, is unlogged or elsewhere.
    pub unkept: Option<String>,
    /// A policy hides rows from us.
    pub hidden: bool,
    /// In order.
    pub columns: Vec<TableColumn>,
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

/// What the catalogue says of `table`; `None` if there is no such relation.
pub(super) async fn relation(client: &impl Session, table: &TableName) -> Result<Option<Relation>> {
    let statement = "WITH of AS MATERIALIZED (SELECT c.oid, c.relkind::text AS kind, pg_catalog.row_security_active(c.oid) AS hidden, \
                         CASE WHEN c.relpersistence <> 'p' THEN c.relname::text WHEN c.relkind = 'p' THEN \
                             (SELECT pg_catalog.min(k.relname::text) FROM pg_catalog.pg_partition_tree(c.oid::regclass) p \
                              JOIN pg_catalog.pg_class k ON k.oid = p.relid::oid WHERE k.relkind = 'f' OR k.relpersistence <> 'p') END AS unkept \
                         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2) \
                     SELECT of.kind, of.hidden, of.unkept, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                         a.attnotnull OR y.typnotnull, a.attidentity = 'a' OR a.attgenerated <> '', \
                         a.atthasdef OR a.attidentity <> '' OR y.typdefault IS NOT NULL, coalesce(NOT l.collisdeterministic, false) OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
                             JOIN pg_catalog.pg_collation u ON u.oid = ANY (i.indcollation) AND NOT u.collisdeterministic \
                             WHERE i.indrelid = of.oid AND i.indisunique AND a.attnum = ANY (i.indkey)) \
                     FROM of LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = of.oid AND a.attnum > 0 AND NOT a.attisdropped \
                     LEFT JOIN pg_catalog.pg_type y ON y.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation ORDER BY a.attnum";
    let rows = client
        .session()
        .query_typed(statement, &[(&table.schema, Type::TEXT), (&table.table, Type::TEXT)])
        .await
        .map_err(|e| fault::statement("read columns of table", e).with("table", table))?;
    let Some(first) = rows.first() else { return Ok(None) };
    let kind: String = first.get(0);
    let column = |row: &Row| {
        // A table may have no column at all.
        let name = row.get::<_, Option<String>>(3)?;
        let given = match (row.get(6), row.get(7)) {
            (true, _) => Given::Always,
            (false, true) => Given::Absent,
            (false, false) => Given::Never,
        };
        Some(TableColumn { name, kind: row.get(4), not_null: row.get(5), given, folds: row.get(8) })
    };
    Ok(Some(Relation {
        is_table: ["r", "p"].contains(&kind.as_str()),
        partitioned: kind == "p",
        hidden: first.get(1),
        unkept: first.get(2),
        columns: rows.iter().filter_map(column).collect(),
    }))
}

/// The columns of `table`, in order; empty if there is no such table.
pub(super) async fn columns_in(client: &impl Session, table: &TableName) -> Result<Vec<TableColumn>> {
    Ok(relation(client, table).await?.map(|relation| relation.columns).unwrap_or_default())
}

/// What the table holds of a column.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub kind: ColumnType,
    pub not_null: bool,
}

/// Gives `table`, of which the catalogue has just said what it is, the columns that it lacks, or makes it; gives what it holds of each of
/// `wanted`. Types that are there stay: values that they cannot hold are refused row by row.
///
/// # Errors
/// `Config` if a name or a type cannot be that of a column, or if the table is not fit for the disposition.
pub(super) async fn evolve(
    client: &mut Client,
    table: &TableName,
    relation: Option<Relation>,
    wanted: &[(String, ColumnType)],
    disposition: &Disposition,
    frozen: bool,
) -> Result<BTreeMap<String, Held>> {
    for (column, _) in wanted {
        name::check(column).map_err(|e| e.with("table", table))?;
    }
    let all = with_own(wanted, disposition);
    if let Some(relation) = &relation {
        fit::check(table, relation, &all, disposition)?;
    }
    let mut there = relation.map(|relation| relation.columns).unwrap_or_default();
    if let Some((column, kind)) = all.iter().find(|(column, _)| !there.iter().any(|c| c.name == *column)) {
        if frozen {
            let message = match there.as_slice() {
                [] => "the table is frozen, and it is not there",
                _ => "the table is frozen, and it lacks a column",
            };
            return Err(Error::config("change table", message)
                .with("table", table)
                .with("column", column)
                .with("type", kind)
                .with_hint("change the table first, or do not freeze it"));
        }
        change(client, table, &all, disposition).await.map_err(|e| e.with("table", table))?;
        there = columns_in(client, table).await?;
    }
    check_key(client, table, disposition).await?;
    let kinds: BTreeMap<_, _> = there.iter().map(|c| (c.name.as_str(), c)).collect();
    let known = wanted.iter().map(|(column, _)| {
        let (kind, not_null) = kinds.get(column.as_str()).map_or(("", false), |c| (c.kind.as_str(), c.not_null));
        let known = ColumnType::from_sql(kind).ok_or_else(|| {
            Error::config("read columns of table", "values of this type cannot be written")
                .with("table", table)
                .with("column", column)
                .with("type", kind)
                .with_hint("give the column another type, or leave it out in a stage before the sink")
        })?;
        Ok((column.clone(), Held { kind: known, not_null }))
    });
    known.collect()
}

fn with_own(wanted: &[(String, ColumnType)], disposition: &Disposition) -> Vec<(String, ColumnType)> {
    let mut all = wanted.to_vec();
    if let Disposition::Scd2(Scd2 { valid_from, valid_to, .. }) = disposition {
        all.push((valid_from.clone(), ColumnType::Timestamptz));
        all.push((valid_to.clone(), ColumnType::Timestamptz));
    }
    all
}

async fn change(
    client: &mut Client,
    table: &TableName,
    columns: &[(String, ColumnType)],
    disposition: &Disposition,
) -> Result<()> {
    let failed = |e| fault::statement("change table", e);
    let transaction = client.transaction().await.map_err(failed)?;
    let definition = |(column, kind): &(String, ColumnType)| format!("{} {kind}", quoted(column));
    let key = disposition.key();
    // A key needs values to compare; everything else may be absent.
    let not_null = match disposition {
        Disposition::Upsert(_) | Disposition::InsertOnly(_) | Disposition::Scd2(_) | Disposition::Children(_) => key,
        _ => &[],
    };
    let mut made: Vec<String> = columns.iter().map(definition).collect();
    for (definition, (column, _)) in made.iter_mut().zip(columns) {
        if not_null.contains(column) {
            definition.push_str(" NOT NULL");
        }
    }
    let mut statements = vec![
        schema_lock(&table.to_string()),
        // Whoever reads the table waits behind a change that waits.
        "SET LOCAL lock_timeout = '3s'".to_owned(),
        format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&table.schema)),
        format!("CREATE TABLE IF NOT EXISTS {} ({})", table.sql(), made.join(", ")),
    ];
    let added: Vec<String> = columns.iter().map(|c| format!("ADD COLUMN IF NOT EXISTS {}", definition(c))).collect();
    statements.push(format!("ALTER TABLE {} {}", table.sql(), added.join(", ")));
    // One statement that fails for a right that is missing must not stop those that need none.
    if transaction
        .query_typed_opt("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", &[(&table.schema, Type::TEXT)])
        .await
        .map_err(failed)?
        .is_some()
    {
        statements.remove(2);
    }
    transaction.batch_execute(&statements.join(";\n")).await.map_err(failed)?;
    if !has_unique_key(&transaction, table, disposition).await? {
        if let Some(index) = key_index(table, disposition) {
            let empty = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", table.sql());
            if transaction.query_typed_one(&empty, &[]).await.map_err(failed)?.get::<_, bool>(0) {
                transaction.batch_execute(&index).await.map_err(failed)?;
            }
        }
    }
    if let Disposition::Children(_) = disposition {
        // Rows of a parent are looked for; there may be an index already.
        let bare = "SELECT NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index WHERE indrelid = pg_catalog.to_regclass($1))";
        if transaction.query_typed_one(bare, &[(&table.sql(), Type::TEXT)]).await.map_err(failed)?.get::<_, bool>(0) {
            let columns = name::list(key.iter().map(String::as_str));
            let index = format!("CREATE INDEX ON {} ({columns})", table.sql());
            transaction.batch_execute(&index).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// The statement that makes the index by which rows of a key are found, and kept from being two.
fn key_index(table: &TableName, disposition: &Disposition) -> Option<String> {
    let columns = name::list(disposition.key().iter().map(String::as_str));
    let current = match disposition {
        Disposition::Upsert(_) | Disposition::InsertOnly(_) => String::new(),
        Disposition::Scd2(Scd2 { valid_to, .. }) => format!(" WHERE {} IS NULL", quoted(valid_to)),
        _ => return None,
    };
    Some(format!("CREATE UNIQUE INDEX ON {} ({columns}){current}", table.sql()))
}

async fn check_key(client: &Client, table: &TableName, disposition: &Disposition) -> Result<()> {
    let Some(index) = key_index(table, disposition) else { return Ok(()) };
    if has_unique_key(client, table, disposition).await? {
        return Ok(());
    }
    Err(Error::config("open table", "nothing keeps two rows with one key out of the table")
        .with("table", table)
        .with("key", disposition.key().join(", "))
        .with_hint(format!("make the index once: {index}")))
}

/// Whether a unique index is over exactly the key; for a history of versions, over those that are current.
async fn has_unique_key(client: &impl Session, table: &TableName, disposition: &Disposition) -> Result<bool> {
    if key_index(table, disposition).is_none() {
        return Ok(true);
    }
    let mut key: Vec<String> = disposition.key().to_vec();
    key.sort_unstable();
    let partial = matches!(disposition, Disposition::Scd2(_));
    let statement = "SELECT (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) k \
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k) FROM pg_catalog.pg_index i \
                     JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL \
                     AND (i.indpred IS NOT NULL) = $3";
    let of_table: [Parameter<'_>; 3] =
        [(&table.schema, Type::TEXT), (&table.table, Type::TEXT), (&partial, Type::BOOL)];
    let rows = client
        .session()
        .query_typed(statement, &of_table)
        .await
        .map_err(|e| fault::statement("read indexes of table", e).with("table", table))?;
    let mut found = rows.iter().filter_map(|row| row.get::<_, Option<Vec<String>>>(0));
    Ok(found.any(|mut columns| {
        columns.sort_unstable();
        columns == key
    }))
}

/// Drops a table of staged rows; gives whether it could be had. A process that stands still may hold it for as long as it does.
pub(super) async fn discard(client: &Client, table: &TableName) -> Result<bool> {
    // What is sent at once is one transaction.
    let drop = format!("SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS {}", table.sql());
    match client.batch_execute(&drop).await {
        Ok(()) => Ok(true),
        Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(e) => Err(fault::statement("drop staged rows", e).with("table", table)),
    }
}

/// The tables of `schema` whose names begin with `prefix`.
pub(super) async fn tables(client: &Client, schema: &str, prefix: &str) -> Result<Vec<String>> {
    let statement = format!(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relkind = 'r' AND pg_catalog.left(c.relname::text, {}) = {} ORDER BY 1",
        literal(schema),
        prefix.chars().count(),
        literal(prefix)
    );
    let rows = client.query_typed(&statement, &[]).await.map_err(|e| fault::statement("list staged tables", e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
