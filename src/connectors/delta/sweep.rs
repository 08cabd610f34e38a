//! Rows of the table that a whole enumeration did not give: of an upsert they go, in a history of versions they end. The keys of the
//! enumeration are read from the files that its epochs have staged, which wait until it is whole.

use super::actions::{Add, Line};
use super::buckets::{self, Buckets, Filling, Marks};
use super::commit::Change;
use super::file;
use super::keys::Keyed;
use super::log::Snapshot;
use super::own::{LOAD, may_hold, own_rows};
use super::rewrite::{failed, kept, rewrite};
use super::staged::{DeltaStaged, Names};
use super::table::DeltaTable;
use super::{schema, stats, versions};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{CommitRequest, Disposition, EpochContext, Scd2};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{Schema, SchemaRef};
use futures::TryStreamExt;
use std::collections::HashMap;

/// What was found out while a commit was tried; files never change.
#[derive(Debug, Default)]
pub(super) struct Memo {
    keys: Option<Buckets>,
    files: HashMap<String, (u64, Option<Vec<Add>>)>,
}

impl Memo {
    pub(super) async fn clean_up(&self) -> Result<()> {
        match &self.keys {
            Some(keys) => keys.delete().await,
            None => Ok(()),
        }
    }
}

/// The change of the epoch that makes an enumeration whole, which has staged `given`.
pub(super) async fn sweep(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: &Snapshot,
    given: &DeltaStaged,
    memo: &mut Memo,
) -> Result<Change> {
    let columns = schema::parse(&held.metadata.schema_string)?;
    if !has_own(table, &columns) {
        return Ok(Change::default());
    }
    let names = || Names::rewritten(&request.shard, &request.mark, env);
    let Memo { keys, files } = memo;
    let files_now = own_files(&request.shard, held);
    let unknown: Vec<&Add> = files_now.iter().copied().filter(|file| !files.contains_key(&file.path)).collect();
    if !unknown.is_empty() {
        if keys.is_none() {
            *keys = Some(keys_of(table, env, names(), given, &columns).await?);
        }
        let Some(keys) = keys else { return Err(Error::bug("sweep delta", "no keys")) };
        let (_, gone) = unseen(table, env, names(), &request.shard, &unknown, keys, &columns).await?;
        for (file, gone) in unknown.into_iter().zip(gone.finish()) {
            let count = gone.true_count() as u64;
            let adds = match count {
                0 => None,
                _ => Some(without(table, env, request, file, &columns, gone).await?),
            };
            files.insert(file.path.clone(), (count, adds));
        }
    }
    let mut change = Change { rewrites: true, ..Change::default() };
    for file in files_now {
        let Some((count, Some(adds))) = files.get(&file.path) else { continue };
        change.lines.push(file.removed(true).into());
        change.lines.extend(adds.iter().cloned().map(Line::from));
        // Of a history only those go that have not begun yet.
        let rows = |file: &Add| stats::rows(file.stats.as_deref());
        let deleted = match table.disposition {
            Disposition::Scd2(_) => {
                rows(file).map_or(0, |before| before.saturating_sub(adds.iter().filter_map(rows).sum()))
            }
            _ => *count,
        };
        change.counts.deleted += deleted;
        change.counts.updated += count.saturating_sub(deleted);
    }
    Ok(change)
}

/// How many rows a sweep may take, and how many of them it would leave.
pub(super) async fn left(
    table: &DeltaTable,
    epoch: &EpochContext,
    held: &Snapshot,
    given: &DeltaStaged,
) -> Result<(u64, u64)> {
    let EpochContext { shard, env, .. } = epoch;
    let columns = schema::parse(&held.metadata.schema_string)?;
    if !has_own(table, &columns) {
        return Ok((0, 0));
    }
    let keys = keys_of(table, env, Names::aside(epoch), given, &columns).await?;
    let (own, gone) = unseen(table, env, Names::aside(epoch), shard, &own_files(shard, held), &keys, &columns).await?;
    keys.delete().await?;
    Ok((own, own - gone.count))
}

/// Whether the table can hold rows of this pipeline: another may have made it, and no row ever come.
fn has_own(table: &DeltaTable, columns: &Schema) -> bool {
    let ends = match &table.disposition {
        Disposition::Scd2(scd2) => Some(scd2.valid_to.as_str()),
        _ => None,
    };
    let mut named = table.disposition.key().iter().map(String::as_str).chain([LOAD]).chain(ends);
    named.all(|name| columns.field_with_name(name).is_ok())
}

/// Files of the table that may hold rows of the shard.
fn own_files<'a>(shard: &ShardKey, held: &'a Snapshot) -> Vec<&'a Add> {
    held.files.values().filter(|file| may_hold(shard, file)).collect()
}

/// The keys that an enumeration has given.
async fn keys_of(
    table: &DeltaTable,
    env: &Env,
    names: Names,
    given: &DeltaStaged,
    columns: &SchemaRef,
) -> Result<Buckets> {
    let count = buckets::count(given.files.iter().map(|file| file.rows).sum());
    let mut filling = Filling::new(table, env, names, count);
    if !given.files.is_empty() {
        let keyed = Keyed::by(table.disposition.key(), columns)?;
        for file in &given.files {
            let mut rows = file::rows(&table.log, &file.add(0), &keyed.columns).await?;
            while let Some(batch) = rows.try_next().await? {
                filling.add(&keyed, 0, 0, &batch, |_| true).await?;
            }
        }
    }
    filling.finish().await
}

/// Of the rows of the shard that are current, how many there are, and those whose key is none of `keys`.
async fn unseen(
    table: &DeltaTable,
    env: &Env,
    names: Names,
    shard: &ShardKey,
    files: &[&Add],
    keys: &Buckets,
    columns: &SchemaRef,
) -> Result<(u64, Marks)> {
    let mut gone = Marks::none(&vec![0; files.len()]);
    let keyed = Keyed::by(table.disposition.key(), columns)?;
    let ends = match &table.disposition {
        Disposition::Scd2(scd2) => Some(scd2.valid_to.as_str()),
        _ => None,
    };
    let named = table.disposition.key().iter().map(String::as_str).chain([LOAD]).chain(ends);
    let wanted = schema::pick(columns, named)?;
    let alone = if keys.count == 1 { Some(keys.keys(0).await?) } else { None };
    let mut filling = Filling::new(table, env, names, keys.count);
    let mut own = 0;
    for (number, file) in files.iter().enumerate() {
        let mut rows = file::rows(&table.log, file, &wanted).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            gone.grow(number, first + batch.num_rows());
            let current = current(shard, &batch, ends)?;
            own += current.iter().filter(|current| **current).count() as u64;
            let is_current = |row: usize| current.get(row) == Some(&true);
            match &alone {
                Some(keys) => {
                    let (rows, _) = keyed.keys_of(&batch)?;
                    let unseen =
                        rows.iter().enumerate().filter(|(row, key)| is_current(*row) && !keys.contains(key.as_ref()));
                    unseen.for_each(|(row, _)| gone.set(number, first + row));
                }
                None => filling.add(&keyed, number, first, &batch, is_current).await?,
            }
            first += batch.num_rows();
        }
    }
    if alone.is_none() {
        let rows = filling.finish().await?;
        for bucket in 0..keys.count {
            let keys = keys.keys(bucket).await?;
            rows.each(bucket, |row| {
                if !keys.contains(row.key) {
                    gone.set(row.file, row.row);
                }
            })
            .await?;
        }
        rows.delete().await?;
    }
    Ok((own, gone))
}

/// Which rows are of the shard, and current.
fn current(shard: &ShardKey, batch: &RecordBatch, ends: Option<&str>) -> Result<Vec<bool>> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Error::bug("sweep delta", "a column was not read").with("column", name))
    };
    let mut own = own_rows(shard, column(LOAD)?);
    if let Some(ends) = ends {
        let ends = column(ends)?;
        own.iter_mut().enumerate().for_each(|(row, own)| *own &= ends.is_null(row));
    }
    Ok(own)
}

/// A file of the table in which these rows are gone, or have ended.
async fn without(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    file: &Add,
    columns: &SchemaRef,
    gone: BooleanArray,
) -> Result<Vec<Add>> {
    let file = std::slice::from_ref(file);
    let Disposition::Scd2(scd2) = &table.disposition else {
        let stay = [not(&gone).map_err(failed)?];
        return rewrite(table, env, request, file, columns, &kept(&stay), true).await;
    };
    let staged_at = request.staged.staged_at.as_micros();
    let edit = |_: usize, first: usize, rows: RecordBatch| end(rows, first, &gone, scd2, staged_at);
    rewrite(table, env, request, file, columns, &edit, true).await
}

/// Rows some of which end at `at`. What begins then or later goes: it has held for no time at all; without times of its own it has, and
/// a clock has gone back.
fn end(rows: RecordBatch, first: usize, gone: &BooleanArray, scd2: &Scd2, at: i64) -> Result<RecordBatch> {
    let (from, to) = (versions::times_of(&rows, &scd2.valid_from)?, versions::times_of(&rows, &scd2.valid_to)?);
    let ends = |row: usize| first + row < gone.len() && gone.value(first + row);
    let begins = |row: usize| from.is_valid(row).then(|| from.value(row));
    let end = |row: usize| match (ends(row), begins(row)) {
        (true, Some(from)) => Some(at.max(from.saturating_add(1))),
        (true, None) => Some(at),
        (false, _) => to.is_valid(row).then(|| to.value(row)),
    };
    let stays = |row: usize| Some(scd2.since.is_none() || !ends(row) || begins(row).is_none_or(|from| from < at));
    let stays: BooleanArray = (0..rows.num_rows()).map(stays).collect();
    let ended = versions::with_times(&rows, &scd2.valid_to, (0..rows.num_rows()).map(end))?;
    filter_record_batch(&ended, &stays).map_err(failed)
}
