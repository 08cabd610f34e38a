//! Upsert and insert-only by copy-on-write: the files that hold a row of a key that the epoch brings anew are written again
//! without it. Decided while the epoch is committed, for the version of the table that the commit follows; what was found out of a
//! file is kept for the next attempt, as files never change.

use super::actions::{Add, Line};
use super::children;
use super::commit::Change;
use super::enumerate;
use super::file;
use super::keys::{EpochKeys, Keyed, Rule};
use super::log::Snapshot;
use super::rewrite::{kept, rewrite};
use super::schema;
use super::staged::DeltaStaged;
use super::stats;
use super::table::{DeltaTable, millis};
use super::versions;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sink::CommitRequest;
use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};

/// What was found out while a commit was tried.
#[derive(Debug, Default)]
pub(super) struct Memo {
    keys: Option<EpochKeys>,
    files: HashMap<String, Verdict>,
    inserted: Option<Inserted>,
    pub(super) versions: versions::Memo,
    pub(super) children: children::Memo,
    pub(super) enumeration: enumerate::Memo,
    /// The files of an append with the columns of the table.
    pub(super) widened: Option<(SchemaRef, Vec<Add>)>,
}

/// The rows of the epoch that go into the table, as files with these columns: all but those of the keys that had lost then.
#[derive(Debug)]
struct Inserted {
    columns: SchemaRef,
    lost: HashSet<Box<[u8]>>,
    adds: Vec<Add>,
}

impl Inserted {
    fn is_of(&self, columns: &SchemaRef, lost: &HashSet<&[u8]>) -> bool {
        self.columns == *columns && self.lost.len() == lost.len() && lost.iter().all(|key| self.lost.contains(*key))
    }
}

/// What becomes of a file.
#[derive(Debug, Default)]
struct Verdict {
    /// Rows of the epoch that an equal or newer row in the file beats.
    lost: Vec<Box<[u8]>>,
    /// What takes its place, if rows of it go.
    replaced: Option<Vec<Add>>,
    /// Rows in the place of which another one comes, and rows that go.
    updated: u64,
    deleted: u64,
}

/// The change of an epoch that is merged by `rule` into the table at `held`.
pub(super) async fn merge(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    held: Option<&Snapshot>,
    rule: &Rule,
    memo: &mut Memo,
) -> Result<Change> {
    let (Some(staged), false) = (&request.staged.schema, request.staged.files.is_empty()) else {
        return Ok(Change { schema: request.staged.schema.clone(), ..Change::default() });
    };
    let columns = schema::merged(held.map(|held| held.metadata.schema_string.as_str()), staged)?;
    let keyed = Keyed::new(rule, &columns)?;
    if memo.keys.is_none() {
        memo.keys = Some(collect(table, &request.staged, &keyed).await?);
    }
    let Memo { keys: Some(keys), files, inserted, .. } = memo else { return Err(Error::bug("merge delta", "no keys")) };
    let mut change = Change { rewrites: true, schema: Some(staged.clone()), ..Change::default() };
    let mut lost: HashSet<&[u8]> = HashSet::new();
    let candidates = held.iter().flat_map(|held| held.files.values()).filter(|file| keys.may_be_in(file, &keyed));
    let candidates: Vec<&Add> = candidates.collect();
    for file in &candidates {
        if !files.contains_key(&file.path) {
            let verdict = judge(table, env, request, file, &columns, &keyed, keys).await?;
            files.insert(file.path.clone(), verdict);
        }
    }
    for file in candidates {
        let Some(verdict) = files.get(&file.path) else { continue };
        lost.extend(verdict.lost.iter().map(AsRef::as_ref));
        change.counts.updated += verdict.updated;
        change.counts.deleted += verdict.deleted;
        if let Some(replaced) = &verdict.replaced {
            change.lines.push(file.removed(true).into());
            change.lines.extend(replaced.iter().cloned().map(Line::from));
        }
    }
    if inserted.as_ref().is_none_or(|known| !known.is_of(&columns, &lost)) {
        let fits = held.map_or(Ok(true), |held| schema::fits(&held.metadata.schema_string, staged))?;
        let adds = write_winners(table, env, request, &columns, keys, &lost, fits).await?;
        let lost = lost.into_iter().map(Box::from).collect();
        *inserted = Some(Inserted { columns, lost, adds });
    }
    let adds = inserted.iter().flat_map(|inserted| &inserted.adds);
    let rows: u64 = adds.clone().filter_map(|add| stats::rows(add.stats.as_deref())).sum();
    change.counts.inserted = rows.saturating_sub(change.counts.updated);
    change.lines.extend(adds.cloned().map(Line::from));
    Ok(change)
}

/// The keys of an epoch, each with the row that wins within it.
async fn collect(table: &DeltaTable, staged: &DeltaStaged, keyed: &Keyed) -> Result<EpochKeys> {
    let mut keys = EpochKeys::default();
    for (number, file) in staged.files.iter().enumerate() {
        let mut rows = file::rows(&table.log, &file.add(0), &keyed.columns).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            keys.add(keyed, number, first, &batch)?;
            first += batch.num_rows();
        }
    }
    keys.seal();
    Ok(keys)
}

/// Reads the keys of a file, and writes it again if rows of it go.
async fn judge(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    file: &Add,
    columns: &SchemaRef,
    keyed: &Keyed,
    keys: &EpochKeys,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut stay: Vec<bool> = Vec::new();
    let mut rows = file::rows(&table.log, file, &keyed.columns).await?;
    while let Some(batch) = rows.try_next().await? {
        let (updated, deleted) = keys.meet(keyed, &batch, &mut stay, &mut verdict.lost)?;
        verdict.updated += updated;
        verdict.deleted += deleted;
    }
    if stay.iter().any(|stay| !stay) {
        let stay = BooleanArray::from(stay);
        let stay = [stay];
        let (file, stay) = (std::slice::from_ref(file), kept(&stay));
        verdict.replaced = Some(rewrite(table, env, request, file, columns, &stay, true).await?);
    }
    Ok(verdict)
}

/// The files with the rows of the epoch that go into the table.
async fn write_winners(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    columns: &SchemaRef,
    keys: &EpochKeys,
    lost: &HashSet<&[u8]>,
    fits: bool,
) -> Result<Vec<Add>> {
    let staged = &request.staged.files;
    let masks = keys.winners(&staged.iter().map(|f| f.rows).collect::<Vec<_>>(), lost);
    let now = millis(env);
    // A file of which every row wins is there already, in the right place if there are no partitions.
    let in_place = fits && table.options.partition_by.is_empty();
    let whole = |mask: &BooleanArray| in_place && mask.true_count() == mask.len();
    let mut adds = Vec::new();
    let (mut some, mut some_masks) = (Vec::new(), Vec::new());
    for (file, mask) in staged.iter().zip(masks) {
        if whole(&mask) {
            adds.push(file.add(now));
        } else if mask.true_count() > 0 {
            some.push(file.add(now));
            some_masks.push(mask);
        }
    }
    if !some.is_empty() {
        adds.extend(rewrite(table, env, request, &some, columns, &kept(&some_masks), false).await?);
    }
    Ok(adds)
}
