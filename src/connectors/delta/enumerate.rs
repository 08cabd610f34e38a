//! Whole enumerations in the place of what was there: files wait over all epochs of one, and the epoch that makes it whole names
//! them in one version of the table, which takes the others out.

use super::actions::{Add, Line};
use super::keys::{EpochKeys, Keyed, Rule};
use super::log::Snapshot;
use super::merge::collect;
use super::pending::{self, Head};
use super::rewrite::rewrite;
use super::schema;
use super::stats;
use super::table::{Change, DeltaFile, DeltaStaged, DeltaTable, millis};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{CommitRequest, Disposition, Enumeration};
use std::collections::HashSet;

/// The change of an epoch of an enumeration.
pub(super) async fn enumerate(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
) -> Result<Change> {
    let Some(Enumeration { number, whole }) = request.enumeration else {
        return Err(Error::bug("commit delta", "an epoch of no enumeration, for a disposition that needs whole ones"));
    };
    let shard = &request.shard;
    let begun = Head::of(shard, held).filter(|head| head.enumeration == number);
    // What an earlier one has left never became whole.
    let head = begun.unwrap_or(Head { enumeration: number, newest: None });
    let now = millis(env);
    if !whole {
        let head = pending::keep(&table.log, shard, head, &request.staged).await?;
        let lines = head.txns(shard, now).into_iter().map(Line::from).collect();
        return Ok(Change { lines, rewrites: false, schema: request.staged.schema.clone().filter(|_| held.is_none()) });
    }
    let gathered = gather(pending::all(&table.log, shard, head).await?)?;
    table.verify(&gathered.files).await?;
    let adds = winners(table, env, request, held, &gathered).await?;
    let mut lines: Vec<Line> = Head { newest: None, ..head }.txns(shard, now).into_iter().map(Line::from).collect();
    let replaced = replaced(&table.disposition, held, &adds);
    lines.extend(replaced.map(|file| file.removed(now, true).into()));
    lines.extend(adds.iter().cloned().map(Line::from));
    Ok(Change { lines, rewrites: true, schema: gathered.schema })
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
fn gather(epochs: Vec<DeltaStaged>) -> Result<DeltaStaged> {
    let mut all = DeltaStaged { files: Vec::new(), schema: None, partition_by: Vec::new() };
    for epoch in epochs {
        all.files.extend(epoch.files);
        all.schema = match (all.schema, epoch.schema) {
            (Some(schema), Some(more)) => Some(schema::grown(&schema, &*schema::parse(&more)?)?.unwrap_or(schema)),
            (one, other) => one.or(other),
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
    gathered: &DeltaStaged,
) -> Result<Vec<Add>> {
    let now = millis(env);
    let key = table.disposition.key();
    let (false, Some(schema)) = (key.is_empty(), &gathered.schema) else {
        return Ok(gathered.files.iter().map(|file| file.add(now)).collect());
    };
    let columns = schema::merged(held.map(|held| held.metadata.schema_string.as_str()), schema)?;
    let newest = table.disposition.newest().map(str::to_owned);
    let rule = Rule { key: key.to_vec(), newest, deleted: None, first_stays: false };
    let keyed = Keyed::new(&rule, &columns)?;
    let keys: EpochKeys = collect(table, gathered, &keyed, now).await?;
    let masks = keys.winners(&gathered.files.iter().map(|f| f.rows).collect::<Vec<_>>(), &HashSet::new());
    let files: Vec<Add> = gathered.files.iter().map(|file| file.add(now)).collect();
    rewrite(table, env, request, &files, &columns, &masks, false).await
}

/// Refuses an enumeration that would take too many rows away, while nothing has changed yet.
pub(super) async fn guard(table: &DeltaTable, shard: &ShardKey, number: u64, held: Option<&Snapshot>) -> Result<()> {
    let Disposition::Replace(replace) = &table.disposition else { return Ok(()) };
    let rows = |stats: Option<&str>| {
        stats::rows(stats).ok_or_else(|| {
            Error::config("replace table", "it is not known how many rows the table has: files have no statistics")
                .with_hint("compact the table, or write to a table of its own")
        })
    };
    let mut before = 0;
    for file in held.iter().flat_map(|held| held.files.values()) {
        before += rows(file.stats.as_deref())?;
    }
    let head = Head::of(shard, held).filter(|head| head.enumeration == number);
    let staged = match head {
        Some(head) => pending::all(&table.log, shard, head).await?,
        None => Vec::new(),
    };
    let count = |files: &[DeltaFile]| files.iter().map(|f| f.rows).sum::<u64>();
    replace.guard(before, staged.iter().map(|epoch| count(&epoch.files)).sum())
}
