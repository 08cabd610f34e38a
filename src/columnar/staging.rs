//! What sinks have in common that stage the rows of an epoch in a table of the database: its name, and what they refuse before anything
//! is prepared.

use crate::error::{Error, ErrorKind, Result};
use crate::model::ShardKey;
use crate::sink::{Disposition, Mark};
use arrow::datatypes::{DataType, Field, Schema};
use std::fmt::Display;
use xxhash_rust::xxh3::xxh3_64;

/// Begins the names of what is staged for a shard: of this table, by this pipeline.
pub(crate) fn prefix(table: &impl Display, shard: &ShardKey) -> String {
    let of = format!("{table} {}", shard.pipeline);
    format!("_lf_{:016x}_{:x}_", xxh3_64(of.as_bytes()), shard.shard)
}

/// # Errors
/// `Corrupt` if the table `name`, which a checkpoint names, is none of those in which rows are staged under `prefix`: its rows would be
/// moved, and it would be dropped.
pub(crate) fn check_own(prefix: &str, name: &str) -> Result<()> {
    if name.starts_with(prefix) {
        return Ok(());
    }
    Err(Error::corrupt("commit rows", "the checkpoint names a table in which nothing is staged; nothing was committed")
        .with("staging", name.escape_debug())
        .with_hint("restore the checkpoints from a backup; and let nobody else write to where they are"))
}

/// # Errors
/// `Fenced` if the mark is that of a newer owner than `generation`.
pub(crate) fn no_newer(mark: Option<&Mark>, shard: &ShardKey, generation: u64) -> Result<()> {
    match mark.map(|mark| mark.generation).filter(|newer| *newer > generation) {
        Some(newer) => Err(Error::new(ErrorKind::Fenced, "stage rows", "a newer owner has taken over")
            .with("shard", shard)
            .with("generation", generation)
            .with("newer", newer)),
        None => Ok(()),
    }
}

/// # Errors
/// `Config` if rows of `schema` lack a column that the disposition names, or have one of the sink's `own`.
pub(crate) fn check_names<'a>(
    table: &impl Display,
    schema: &Schema,
    disposition: &Disposition,
    own: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let has = |name: &str| schema.field_with_name(name).is_ok();
    if let Some(missing) = disposition.columns().find(|name| !has(name)) {
        return Err(Error::config("stage rows", "the disposition names a column that the rows do not have")
            .with("table", table)
            .with("disposition", disposition.as_str())
            .with("column", missing)
            .with_hint("correct the name; if the records have it, declare it in the schema"));
    }
    match own.into_iter().find(|name| has(name)) {
        Some(name) => Err(Error::config("stage rows", "the rows have a column of a name that the sink needs")
            .with("column", name)
            .with_hint("rename it in a stage before the sink")),
        None => Ok(()),
    }
}

/// The columns of rows of `schema`, each of the `kind` that it would have in a new table. One that is null in every row is of the kind
/// that is `held` there, or of none yet, and not among them.
///
/// # Errors
/// `Config` if the disposition names one of no kind, if none has any, and those of `kind`.
pub(crate) fn typed<K>(
    table: &impl Display,
    schema: &Schema,
    disposition: &Disposition,
    kind: impl Fn(&Field) -> Result<K>,
    held: impl Fn(&str) -> Option<K>,
) -> Result<Vec<(String, K)>> {
    let mut typed = Vec::new();
    for field in schema.fields() {
        if *field.data_type() != DataType::Null {
            typed.push((field.name().clone(), kind(field)?));
            continue;
        }
        match held(field.name()) {
            Some(kind) => typed.push((field.name().clone(), kind)),
            None if disposition.columns().any(|column| column == field.name()) => {
                return Err(Error::config("stage rows", "a column that the disposition names has no type yet")
                    .with("table", table)
                    .with("column", field.name())
                    .with_hint("declare its type in the schema"));
            }
            None => {}
        }
    }
    if typed.is_empty() {
        return Err(Error::config("stage rows", "the rows have no column with a type").with("table", table));
    }
    Ok(typed)
}

/// Compares the columns that must not be null of two batches of an epoch: rows that lack one would have a null.
///
/// # Errors
/// `Config` if they differ.
pub(crate) fn check_required(table: &impl Display, one: &[String], other: &[String]) -> Result<()> {
    let of = |some: &[String], others: &[String]| some.iter().find(|name| !others.contains(name)).cloned();
    match of(one, other).or_else(|| of(other, one)) {
        Some(column) => Err(Error::config("stage rows", "some rows of the epoch lack a column that must not be null")
            .with("table", table)
            .with("column", column)
            .with_hint("declare the column in the schema")),
        None => Ok(()),
    }
}

/// # Errors
/// `Unavailable` if other rows were `found` in the staging table than were sent: once they are prepared, there is no way back.
pub(crate) fn check_count(staging: &impl Display, sent: u64, found: u64) -> Result<()> {
    if found == sent {
        return Ok(());
    }
    Err(Error::unavailable("stage rows", "other rows are staged than were sent; nothing is prepared")
        .with("staging", staging)
        .with("sent", sent)
        .with("found", found)
        .with_hint(
            "run again; if it comes again, see whether the database has free disk space: some lose rows without a word",
        ))
}

/// What a writer says that goes on after a write that failed halfway.
pub(crate) fn incomplete() -> Error {
    Error::bug("stage rows", "an earlier write failed, so the epoch is not complete")
}
