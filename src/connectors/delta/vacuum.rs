//! Files that nothing needs any more, deleted on request.

use super::file;
use super::ledger;
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::pending::{self, Head};
use super::retention;
use super::staged::Names;
use super::table::DeltaTable;
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{PipelineName, ShardKey, Timestamp, Vacuumed, Why};
use crate::store::{ObjectInfo, ObjectPath};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time for which `vacuum` keeps what is no longer in the table: readers and writers are under way.
pub(super) const SHORTEST: Duration = Duration::from_secs(3600);

impl DeltaTable {
    /// Deletes files of the table that are not in it, and have not been for `older_than`, at least an hour: readers of older versions
    /// need them until then. Files that an epoch has staged and not committed stay, whatever their age; so does all that does not lie
    /// where the files of this table do, or is no `.parquet`. With `dry_run` it only says what it would delete.
    ///
    /// Files of other writers that wait for their commit for longer than `older_than` would be lost: give them time.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Config` if `older_than` is too short, or longer than the log remembers what was removed (a
    /// week, or the table's `delta.deletedFileRetentionDuration`, or since the table was made if no version was cleaned up); `Config` if
    /// a file of the table lies in a place that is not understood.
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
        // Listed first and read then: what is committed meanwhile is seen.
        let listed = self.log.store.list(&self.log.folder).await?;
        let Some(held) = remembering(&self.log, older_than).await? else { return Ok(Vacuumed::new(dry_run)) };
        let mut old = unneeded(&self.log, &listed, &held, cutoff)?;
        let mut staged = HashSet::new();
        for (shard, head) in heads(&held) {
            for epoch in pending::all(&self.log, &shard, head).await? {
                for file in &epoch.files {
                    staged.insert(self.log.folder.join(&file.path)?);
                }
            }
        }
        old.retain(|object| !staged.contains(&object.path) && !may_be_staged(object.path.file_name(), &held));
        let aged = |object: &&ObjectInfo| object.modified < cutoff;
        for object in listed.iter().filter(aged) {
            let Some(name) = below(&self.log.folder, &object.path) else { continue };
            let left_over = name.starts_with("_landfall/keys/")
                || name.starts_with("_landfall/pending/") && pending::is_over(&self.log, &object.path, &held).await?;
            if left_over {
                old.push(object.clone());
            }
        }
        for log in ledger::tables(self)? {
            let Some(held) = log.newest(None, Keep::All).await? else { continue };
            let within: Vec<_> =
                listed.iter().filter(|object| below(&log.folder, &object.path).is_some()).cloned().collect();
            let kept = older_than.min(retention::of_files(&held.metadata));
            old.extend(unneeded(&log, &within, &held, env.now().saturating_sub(kept))?);
        }
        let mut report = Vacuumed::new(dry_run);
        let deleted: HashSet<_> = old.iter().map(|object| &object.path).collect();
        let object_of = |path: &String| file::object(&self.log.folder, path).ok();
        let current: HashSet<_> = held.files.keys().filter_map(object_of).collect();
        let removed: HashSet<_> = held.removed.keys().filter_map(object_of).collect();
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

/// The newest version, with all files that were removed in the last time of `older_than`.
async fn remembering(log: &Log, older_than: Duration) -> Result<Option<Arc<Snapshot>>> {
    let Some(held) = log.newest(None, Keep::All).await? else { return Ok(None) };
    let remembered = retention::of_files(&held.metadata);
    if older_than <= remembered {
        return Ok(Some(held));
    }
    match log.since_the_beginning().await? {
        Some(all) if all.version >= held.version => Ok(Some(all)),
        _ => Err(Error::config("vacuum delta", "the log does not tell any more what was removed so long ago")
            .with("older_than_seconds", older_than.as_secs())
            .with("remembered_seconds", remembered.as_secs())
            .with_hint("ask for a shorter time, or set `delta.deletedFileRetentionDuration` of the table beforehand")),
    }
}

/// The data files that are not in the table, and were not since `cutoff`.
fn unneeded(log: &Log, listed: &[ObjectInfo], held: &Snapshot, cutoff: Timestamp) -> Result<Vec<ObjectInfo>> {
    let removed = held.removed.values();
    let recent = removed.filter(|r| r.deletion_timestamp.unwrap_or(i64::MAX) >= cutoff.as_micros() / 1000);
    let mut kept: HashSet<ObjectPath> = HashSet::new();
    for path in held.files.keys().chain(recent.map(|removed| &removed.path)) {
        kept.insert(file::object(&log.folder, path).map_err(|e| e.with_hint("nothing was deleted"))?);
    }
    let columns: Vec<String> = held.metadata.partition_columns.iter().map(|name| ObjectPath::escape(name)).collect();
    let is_data = |object: &&ObjectInfo| {
        let Some(name) = below(&log.folder, &object.path) else { return false };
        let (folders, name) = name.rsplit_once('/').unwrap_or(("", name));
        let of_partition =
            |folder: &str| folder.split_once('=').is_some_and(|(name, _)| columns.iter().any(|c| c == name));
        let hidden = name.starts_with(['_', '.']);
        !hidden
            && name.ends_with(".parquet")
            && folders.split('/').all(|folder| folder.is_empty() || of_partition(folder))
    };
    let old = listed.iter().filter(is_data).filter(|object| object.modified < cutoff && !kept.contains(&object.path));
    Ok(old.cloned().collect())
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
