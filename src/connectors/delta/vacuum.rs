//! Files that nothing needs any more, deleted on request.

use super::actions::{Line, Txn};
use super::file;
use super::ledger;
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::pending::{self, Head};
use super::staged::Names;
use super::table::{DeltaTable, millis};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PipelineName, ShardKey, Timestamp, Vacuumed, Why};
use crate::store::{ObjectInfo, ObjectPath};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time for which `vacuum` keeps what is no longer in the table: readers and writers are under way.
const SHORTEST: Duration = Duration::from_secs(3600);

/// The newest *barrier*: a version that a vacuum has written before it deletes files that no version has named.
const BARRIER: &str = "landfall/vacuum";

/// Times that a barrier is written anew, when others commit at the same time.
const ATTEMPTS: usize = 20;

/// What of a table may be deleted.
struct Unneeded {
    held: Arc<Snapshot>,
    old: Vec<ObjectInfo>,
    /// What an enumeration has brought that is not whole.
    staged: HashSet<ObjectPath>,
}

impl DeltaTable {
    /// Deletes files of the table that are not in it, and have not been for `older_than`, at least an hour: readers of older versions
    /// need them until then. Files that an epoch has staged and not committed stay, whatever their age; so does all that does not lie
    /// where the files of this table do, or is no `.parquet`. With `dry_run` it only says what it would delete.
    ///
    /// Before it deletes files that no version has ever named it writes an empty version, the *barrier*: a compaction that has written
    /// files before, and sleeps, finds it and leaves them. Files of other writers that wait for their commit for longer than `older_than`
    /// would be lost: give them time.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Config` if `older_than` is too short, or the log does not tell any more what was removed so
    /// long ago, or the store ignores conditions, or a file of the table lies in a place that is not understood; `Unavailable` if others commit all the time.
    ///
    /// # Cancellation
    /// Dropped, it has deleted a part.
    pub async fn vacuum(&self, env: &Env, older_than: Duration, dry_run: bool) -> Result<Vacuumed> {
        if older_than < SHORTEST {
            return Err(Error::config(
                "vacuum delta",
                "files must be kept for an hour at least, for those that read them",
            ));
        }
        let cutoff = env.now().saturating_sub(older_than);
        let barred = if dry_run { None } else { Some(env) };
        if !dry_run {
            self.probe(env).await?;
        }
        // Listed first and read then: what is committed meanwhile is seen.
        let listed = self.log.store.list(&self.log.folder).await?;
        let Some(of_table) = unneeded(&self.log, &listed, cutoff, barred).await? else {
            return Ok(Vacuumed::new(dry_run));
        };
        let Unneeded { held, mut old, staged } = of_table;
        for object in listed.iter().filter(|object| object.modified < cutoff) {
            let Some(name) = below(&self.log.folder, &object.path) else { continue };
            let left_over = name.starts_with("_landfall/keys/") && !may_be_staged(object.path.file_name(), &held)
                || name.starts_with("_landfall/pending/") && pending::is_over(&self.log, &object.path, &held).await?;
            if left_over {
                old.push(object.clone());
            }
        }
        for log in ledger::tables(self)? {
            old.extend(unneeded(&log, &listed, cutoff, barred).await?.into_iter().flat_map(|of| of.old));
        }
        let mut report = Vacuumed::new(dry_run);
        let deleted: HashSet<_> = old.iter().map(|object| &object.path).collect();
        let object_of = |path: &String| file::object(&self.log.folder, path).ok();
        let current: HashSet<_> = held.files.keys().filter_map(object_of).collect();
        let removed = named_before(&self.log, &held);
        for object in listed.iter().filter(|object| !deleted.contains(&object.path)) {
            if below(&self.log.folder, &object.path).is_none_or(|name| name.starts_with('_')) {
                continue;
            }
            let why = if current.contains(&object.path) {
                Why::InUse
            } else if staged.contains(&object.path) || may_be_staged(object.path.file_name(), &held) {
                Why::Uncommitted
            } else if object.modified >= cutoff || removed.contains(&object.path) {
                Why::Recent
            } else {
                Why::Foreign
            };
            report.keep(object.size, why);
        }
        for object in &old {
            if !dry_run {
                self.log.store.delete(&object.path).await?;
            }
            if let Some(name) = below(&self.log.folder, &object.path) {
                report.delete(name, object.size, Why::Unnamed);
            }
        }
        Ok(report)
    }
}

/// The number of the newest barrier that a version knows. Files that were written for a version of an older one may be gone.
pub(super) fn barrier(held: &Snapshot) -> Option<i64> {
    held.txns.get(BARRIER).map(|txn| txn.version)
}

/// Writes a barrier, and gives the newest version, which has it.
async fn bar(log: &Log, env: &Env, mut held: Arc<Snapshot>) -> Result<Arc<Snapshot>> {
    let before = barrier(&held);
    for _ in 0..ATTEMPTS {
        let now = millis(env);
        let number = i64::try_from(held.version + 1).unwrap_or(i64::MAX);
        let info = json!({ "timestamp": now, "operation": "VACUUM START", "operationParameters": {} });
        let txn = Txn { app_id: BARRIER.to_owned(), version: number, last_updated: Some(now) };
        let lines = vec![Line { commit_info: Some(info), ..Line::default() }, txn.into()];
        match log.create(env, held.version + 1, lines).await {
            Err(e) if e.kind() != ErrorKind::Ambiguous => return Err(e),
            // What is there tells.
            _ => {}
        }
        let newest = log.newest(Some(held), Keep::All).await?;
        held = newest.ok_or_else(|| Error::corrupt("vacuum delta", "the table is gone").with("table", &log.folder))?;
        if barrier(&held) != before {
            return Ok(held);
        }
    }
    Err(Error::unavailable("vacuum delta", "others commit to the table all the time").with("table", &log.folder))
}

/// What of the files that are listed below the folder of a log may go, once those are shut out, with `barred`, that sleep and may yet
/// name one. `None` if there is no table.
async fn unneeded(
    log: &Log,
    listed: &[ObjectInfo],
    cutoff: Timestamp,
    barred: Option<&Env>,
) -> Result<Option<Unneeded>> {
    let Some(held) = log.since(cutoff).await? else { return Ok(None) };
    let found = Unneeded::of(log, listed, held, cutoff).await?;
    let named = named_before(log, &found.held);
    match barred.filter(|_| found.old.iter().any(|object| !named.contains(&object.path))) {
        Some(env) => Unneeded::of(log, listed, bar(log, env, found.held).await?, cutoff).await.map(Some),
        None => Ok(Some(found)),
    }
}

/// The files that were in a table, as far as the log tells.
fn named_before(log: &Log, held: &Snapshot) -> HashSet<ObjectPath> {
    held.removed.keys().filter_map(|path| file::object(&log.folder, path).ok()).collect()
}

impl Unneeded {
    /// The data files that are not in the table, were not since `cutoff`, and that no epoch may name.
    async fn of(log: &Log, listed: &[ObjectInfo], held: Arc<Snapshot>, cutoff: Timestamp) -> Result<Self> {
        let mut staged = HashSet::new();
        for (shard, head) in heads(&held) {
            for epoch in pending::all(log, &shard, head).await? {
                for file in &epoch.files {
                    staged.insert(log.folder.join(&file.path)?);
                }
            }
        }
        let removed = held.removed.values();
        let recent = removed.filter(|r| r.deletion_timestamp.unwrap_or(i64::MAX) >= cutoff.as_micros() / 1000);
        let mut kept = staged.clone();
        for path in held.files.keys().chain(recent.map(|removed| &removed.path)) {
            kept.insert(file::object(&log.folder, path).map_err(|e| e.with_hint("nothing was deleted"))?);
        }
        let columns: Vec<String> =
            held.metadata.partition_columns.iter().map(|name| ObjectPath::escape(name)).collect();
        let is_old = |object: &&ObjectInfo| {
            is_data(log, &columns, object)
                && object.modified < cutoff
                && !kept.contains(&object.path)
                && !may_be_staged(object.path.file_name(), &held)
        };
        let old = listed.iter().filter(is_old).cloned().collect();
        Ok(Self { held, old, staged })
    }
}

/// Whether an object lies where the data files of a table do, which is partitioned by `columns`.
fn is_data(log: &Log, columns: &[String], object: &ObjectInfo) -> bool {
    let Some(name) = below(&log.folder, &object.path) else { return false };
    let (folders, name) = name.rsplit_once('/').unwrap_or(("", name));
    let of_partition = |folder: &str| folder.split_once('=').is_some_and(|(name, _)| columns.iter().any(|c| c == name));
    let hidden = name.starts_with(['_', '.']);
    let of_table = |folder: &str| folder.is_empty() || of_partition(folder) || on(Defect::ForeignFilesAreVacuumed);
    !hidden && name.ends_with(".parquet") && folders.split('/').all(of_table)
}

fn below<'a>(folder: &ObjectPath, object: &'a ObjectPath) -> Option<&'a str> {
    let rest = object.as_str().strip_prefix(folder.as_str())?;
    if folder.as_str().is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Whether a file may be of an epoch that is not committed: of one after the mark of its shard.
fn may_be_staged(file_name: &str, held: &Snapshot) -> bool {
    let Some((shard, _, epoch)) = Names::parse(file_name) else { return false };
    let mark = mark::decode(&shard, &held.txns).ok().flatten();
    mark.is_none_or(|mark| epoch > mark.epoch) && !on(Defect::StagedIsVacuumed)
}

/// The enumerations that are under way.
fn heads(held: &Snapshot) -> Vec<(ShardKey, Head)> {
    let shards = held.txns.keys().filter_map(|id| {
        let (pipeline, shard) = id.strip_prefix("landfall/")?.strip_suffix("/pending")?.split_once('/')?;
        Some(ShardKey { pipeline: PipelineName::new(pipeline).ok()?, shard: shard.parse().ok()? })
    });
    shards.filter_map(|shard| Some((shard.clone(), Head::of(&shard, Some(held))?))).collect()
}
