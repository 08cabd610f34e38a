//! Whole enumerations in the place of what was there: files wait over all epochs of one, and the epoch that makes it whole names
//! them in one version of the table, which takes the others out.

use super::actions::{Add, Line};
use super::buckets::{self, Buckets, Filling};
use super::commit::Change;
use super::file;
use super::keys::{Keyed, Rule};
use super::log::Snapshot;
use super::pending::{self, Head};
use super::rewrite::{kept, rewrite};
use super::schema;
use super::staged::{DeltaStaged, Names};
use super::stats;
use super::sweep;
use super::table::{DeltaTable, millis};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{CommitRequest, Disposition, Enumeration, EpochContext};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use std::collections::HashSet;

/// What was found out while a commit was tried.
#[derive(Debug, Default)]
pub(super) struct Memo {
    adds: Option<Vec<Add>>,
    sweep: sweep::Memo,
}

impl Memo {
    /// Deletes what was written to be read while the commit was tried.
    pub(super) async fn clean_up(&self) -> Result<()> {
        self.sweep.clean_up().await
    }
}

/// The change of an epoch of an enumeration. `visible` is what its rows change at once.
pub(super) async fn enumerate(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    visible: Option<Change>,
    memo: &mut Memo,
) -> Result<Change> {
    let Some(Enumeration { number, whole, .. }) = request.enumeration else {
        return Err(Error::bug("commit delta", "an epoch of no enumeration, for a disposition that needs whole ones"));
    };
    let shard = &request.shard;
    // What an earlier one has left never became whole.
    let head = begun(shard, number, held).unwrap_or(Head { enumeration: number, newest: None });
    let now = millis(env);
    if !whole {
        let head = pending::keep(&table.log, shard, head, &request.staged).await?;
        // The next epoch is planned by the columns of this one.
        let waiting = || Change { schema: request.staged.schema.clone(), ..Change::default() };
        let mut change = visible.unwrap_or_else(waiting);
        change.lines.extend(head.txns(shard, now).into_iter().map(Line::from));
        return Ok(change);
    }
    let epochs = pending::all(&table.log, shard, head).await?;
    let gathered = gather(&epochs)?;
    table.verify(&gathered.files).await?;
    let mut change = match (&table.disposition, held) {
        (Disposition::Upsert(_) | Disposition::Scd2(_), None) => Change::default(),
        (Disposition::Upsert(_) | Disposition::Scd2(_), Some(held)) => {
            sweep::sweep(table, env, request, held, &gathered, &mut memo.sweep).await?
        }
        _ => replace(table, env, request, held, &epochs, gathered, &mut memo.adds).await?,
    };
    change.lines.extend(Head { newest: None, ..head }.txns(shard, now).into_iter().map(Line::from));
    Ok(change)
}

/// Where an enumeration stands, if it has begun.
fn begun(shard: &ShardKey, number: u64, held: Option<&Snapshot>) -> Option<Head> {
    Head::of(shard, held).filter(|head| head.enumeration == number)
}

/// What an enumeration has given takes the place of what was there.
async fn replace(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    epochs: &[DeltaStaged],
    gathered: DeltaStaged,
    memo: &mut Option<Vec<Add>>,
) -> Result<Change> {
    if memo.is_none() {
        *memo = Some(winners(table, env, request, held, epochs, &gathered).await?);
    }
    let adds = memo.as_deref().unwrap_or_default();
    let mut change = Change { rewrites: true, schema: gathered.schema, ..Change::default() };
    let rows = |file: &Add| stats::rows(file.stats.as_deref()).unwrap_or_default();
    for file in replaced(&table.disposition, held, adds) {
        change.counts.deleted += rows(file);
        change.lines.push(file.removed(true).into());
    }
    change.counts.inserted = adds.iter().map(rows).sum();
    change.lines.extend(adds.iter().cloned().map(Line::from));
    Ok(change)
}

/// The files of the table that go.
fn replaced<'a>(
    disposition: &'a Disposition,
    held: Option<&'a Snapshot>,
    adds: &'a [Add],
) -> impl Iterator<Item = &'a Add> {
    let by = match disposition {
        Disposition::ReplacePartitions(replace) => replace.by.as_slice(),
        _ => &[],
    };
    let partition = move |file: &'a Add| -> Vec<Option<&'a str>> {
        by.iter().map(|column| file.partition_values.get(column).and_then(|value| value.as_deref())).collect()
    };
    let given: HashSet<_> = adds.iter().map(partition).collect();
    held.into_iter()
        .flat_map(|held| held.files.values())
        .filter(move |file| by.is_empty() || given.contains(&partition(file)))
}

/// All that an enumeration has staged as if it were one epoch.
fn gather(epochs: &[DeltaStaged]) -> Result<DeltaStaged> {
    let mut all = DeltaStaged::default();
    for epoch in epochs {
        all.files.extend(epoch.files.iter().cloned());
        all.schema = match (all.schema, &epoch.schema) {
            (Some(schema), Some(more)) => Some(schema::grown(&schema, &*schema::parse(more)?)?.unwrap_or(schema)),
            (one, other) => one.or_else(|| other.clone()),
        };
    }
    Ok(all)
}

/// The files that go into the table. Without a key, those that were staged.
async fn winners(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    epochs: &[DeltaStaged],
    gathered: &DeltaStaged,
) -> Result<Vec<Add>> {
    let Some(schema) = &gathered.schema else { return Ok(Vec::new()) };
    let columns = schema::merged(held.map(|held| held.metadata.schema_string.as_str()), schema)?;
    if table.disposition.key().is_empty() {
        return unkeyed(table, env, request, &columns, epochs).await;
    }
    let names = Names::rewritten(&request.shard, &request.mark, env);
    let buckets = part(table, env, names, gathered, &columns).await?;
    let masks = buckets.newest(&rows_of(gathered)).await?.finish();
    buckets.delete().await?;
    let files: Vec<Add> = gathered.files.iter().map(|file| file.add(0)).collect();
    rewrite(table, env, request, &files, &columns, &kept(&masks), false).await
}

/// The files that the epochs have staged, or, of one whose columns are narrower than those of the others or of the table, such with
/// the columns that the table has then.
async fn unkeyed(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    columns: &SchemaRef,
    epochs: &[DeltaStaged],
) -> Result<Vec<Add>> {
    let (now, then) = (millis(env), schema::text(columns)?);
    let mut adds = Vec::new();
    for DeltaStaged { files, schema, .. } in epochs {
        let files: Vec<Add> = files.iter().map(|file| file.add(now)).collect();
        match schema {
            Some(staged) if !files.is_empty() && !schema::fits(&then, staged)? => {
                let columns = schema::adapted(&then, &*schema::parse(staged)?)?;
                adds.extend(rewrite(table, env, request, &files, &columns, &|_, _, rows| Ok(rows), false).await?);
            }
            _ => adds.extend(files),
        }
    }
    Ok(adds)
}

fn rows_of(staged: &DeltaStaged) -> Vec<u64> {
    staged.files.iter().map(|file| file.rows).collect()
}

/// The keys of what is staged, in buckets.
async fn part(
    table: &DeltaTable,
    env: &Env,
    names: Names,
    staged: &DeltaStaged,
    columns: &SchemaRef,
) -> Result<Buckets> {
    // Where no row has the column it is null in all of them: what was landed last is the newest.
    let newest = table.disposition.newest().filter(|name| columns.field_with_name(name).is_ok()).map(str::to_owned);
    let rule = Rule { key: table.disposition.key().to_vec(), newest, deleted: None, first_stays: false };
    let keyed = Keyed::new(&rule, columns)?;
    let mut filling = Filling::new(table, env, names, buckets::count(rows_of(staged).iter().sum()));
    for (number, file) in staged.files.iter().enumerate() {
        let mut rows = file::rows(&table.log, &file.add(0), &keyed.columns).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            filling.add(&keyed, number, first, &batch, |_| true).await?;
            first += batch.num_rows();
        }
    }
    filling.finish().await
}

/// Refuses an enumeration that would take too many rows away, while nothing has changed yet.
pub(super) async fn guard(
    table: &DeltaTable,
    epoch: &EpochContext,
    number: u64,
    held: Option<&Snapshot>,
) -> Result<()> {
    let Some(held) = held else { return Ok(()) };
    let shard = &epoch.shard;
    let given = match begun(shard, number, Some(held)) {
        Some(head) => gather(&pending::all(&table.log, shard, head).await?)?,
        None => gather(&[])?,
    };
    let (before, after) = match &table.disposition {
        Disposition::Replace(_) => replaced_rows(table, epoch, held, &given).await?,
        Disposition::Upsert(_) | Disposition::Scd2(_) => sweep::left(table, epoch, held, &given).await?,
        _ => return Ok(()),
    };
    table.disposition.guard(before, after)
}

/// The rows of the table, and those that would be in their place.
async fn replaced_rows(
    table: &DeltaTable,
    epoch: &EpochContext,
    held: &Snapshot,
    given: &DeltaStaged,
) -> Result<(u64, u64)> {
    let rows = |stats: Option<&str>| {
        stats::rows(stats).ok_or_else(|| {
            Error::config("replace table", "it is not known how many rows the table has: files have no statistics")
                .with_hint("compact the table, or write to a table of its own")
        })
    };
    let mut before = 0;
    for file in held.files.values() {
        before += rows(file.stats.as_deref())?;
    }
    let rows = rows_of(given);
    let after = rows.iter().sum();
    let (false, Some(schema)) = (table.disposition.key().is_empty(), &given.schema) else { return Ok((before, after)) };
    if table.disposition.guard(before, after).is_err() {
        return Ok((before, after));
    }
    // Keys that come several times are rows of the table once.
    let columns = schema::merged(Some(&held.metadata.schema_string), schema)?;
    let buckets = part(table, &epoch.env, Names::aside(epoch), given, &columns).await?;
    let distinct = buckets.newest(&rows).await?.count;
    buckets.delete().await?;
    Ok((before, distinct))
}
