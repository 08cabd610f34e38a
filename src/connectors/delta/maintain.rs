//! What keeps a table fast and small: explicit operations, each with a report. None of them touches what an epoch needs that is
//! not committed yet, and all may run beside writers.

use super::actions::{Add, Line};
use super::file;
use super::log::{Keep, Snapshot};
use super::mark;
use super::pending::{self, Head};
use super::rewrite::write;
use super::schema;
use super::stats;
use super::table::{DeltaTable, Names, millis};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Compacted, PipelineName, ShardKey, Vacuumed, Why};
use crate::store::{Created, ObjectPath};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Times that a compaction is tried, when others commit at the same time.
const ATTEMPTS: usize = 10;

/// The shortest time for which `vacuum` keeps what is no longer in the table: readers and writers are under way.
const SHORTEST: Duration = Duration::from_secs(3600);

/// For how long a checkpoint remembers files that were removed, as Delta has it: a week.
const TOMBSTONES_MILLIS: i64 = 7 * 24 * 3600 * 1000;

impl DeltaTable {
    /// Writes a checkpoint of the log, from which readers begin. Gives the version, `None` if there is no table.
    ///
    /// # Errors
    /// Those of the store; `Config` or `Corrupt` if the table cannot be read.
    ///
    /// # Cancellation
    /// Dropped, it has written a checkpoint or not; both are right.
    pub async fn checkpoint(&self, env: &Env) -> Result<Option<u64>> {
        let Some(held) = self.log.newest(None, Keep::All).await? else { return Ok(None) };
        self.log.write_checkpoint(&held, millis(env) - TOMBSTONES_MILLIS).await?;
        Ok(Some(held.version))
    }

    /// Puts small files of a partition together, in one version that changes no rows. Files of less than half of
    /// [`target_file_bytes`](Self::target_file_bytes) are small. What was read by others before stays until a [`vacuum`](Self::vacuum).
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Unavailable` if others commit all the time; `Ambiguous` if it is not known whether it was
    /// committed: trying again is safe.
    ///
    /// # Cancellation
    /// Dropped, the table is as it was, or compacted. Files that are left over go with a vacuum.
    pub async fn compact(&self, env: &Env) -> Result<Compacted> {
        let Some(mut held) = self.log.newest(None, Keep::All).await? else { return Ok(Compacted::default()) };
        let columns = schema::parse(&held.metadata.schema_string)?;
        let mut options = self.clone();
        options.options.partition_by.clone_from(&held.metadata.partition_columns);
        let mut done: Vec<(Vec<Add>, Vec<Add>)> = Vec::new();
        for group in self.small(&held) {
            let names = Names::of_compaction(env);
            let mut adds = write(&options, env, names, &group, &columns, &[], true).await?;
            adds.iter_mut().for_each(|add| add.data_change = false);
            done.push((group, adds));
        }
        for _ in 0..ATTEMPTS {
            // What others have rewritten meanwhile is left to the next compaction.
            done.retain(|(group, _)| group.iter().all(|file| held.files.get(&file.path) == Some(file)));
            if done.is_empty() {
                return Ok(Compacted::default());
            }
            let now = millis(env);
            let info = json!({ "timestamp": now, "operation": "OPTIMIZE", "operationParameters": {} });
            let mut lines = vec![Line { commit_info: Some(info), ..Line::default() }];
            for (group, adds) in &done {
                lines.extend(group.iter().map(|file| file.removed(now, false).into()));
                lines.extend(adds.iter().cloned().map(Line::from));
            }
            if self.log.create(held.version + 1, &lines).await? == Created::New {
                return Ok(report(&done));
            }
            held =
                self.log.newest(None, Keep::All).await?.ok_or_else(|| {
                    Error::corrupt("compact delta", "the table is gone").with("table", &self.log.folder)
                })?;
        }
        Err(Error::unavailable("compact delta", "others commit to the table all the time"))
    }

    /// Groups of small files of one partition, each of about the size of a file.
    fn small(&self, held: &Snapshot) -> Vec<Vec<Add>> {
        let target = i64::try_from(self.options.target_file_bytes).unwrap_or(i64::MAX);
        let mut partitions: BTreeMap<_, Vec<Add>> = BTreeMap::new();
        for file in held.files.values().filter(|file| file.size < target / 2) {
            partitions.entry(file.partition_values.clone()).or_default().push(file.clone());
        }
        let mut groups = Vec::new();
        for files in partitions.into_values() {
            let (mut group, mut size): (Vec<Add>, i64) = (Vec::new(), 0);
            for file in files {
                if size + file.size > target {
                    groups.push(std::mem::take(&mut group));
                    size = 0;
                }
                size += file.size;
                group.push(file);
            }
            groups.push(group);
        }
        groups.retain(|group| group.len() > 1);
        groups
    }

    /// Deletes files below the folder of the table that are not in it, and have not been for `older_than`, at least an hour: readers of
    /// older versions need them until then. Files that an epoch has staged and not committed stay, whatever their age. With
    /// `dry_run` it only says what it would delete.
    ///
    /// Files of other writers that wait for their commit for longer than `older_than` would be lost: give them time.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Config` if `older_than` is too short.
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
        // Listed first and read then: what is committed meanwhile is seen.
        let listed = self.log.store.list(&self.log.folder).await?;
        let Some(held) = self.log.newest(None, Keep::All).await? else { return Ok(Vacuumed::new(dry_run)) };
        let cutoff = env.now().saturating_sub(older_than);
        let removed = held.removed.values();
        let recent =
            removed.filter(|r| r.deletion_timestamp.unwrap_or(i64::MAX) >= cutoff.as_micros() / 1000).map(|r| &r.path);
        // A name that is none here is of no file that was listed.
        let object_of = |path: &String| file::object(&self.log.folder, path).ok();
        let current: HashSet<ObjectPath> = held.files.keys().filter_map(object_of).collect();
        let recent: HashSet<ObjectPath> = recent.filter_map(object_of).collect();
        let mut waiting = HashSet::new();
        for (shard, head) in heads(&held) {
            for staged in pending::all(&self.log, &shard, head).await? {
                waiting.extend(
                    staged.files.iter().map(|file| self.log.folder.join(&file.path)).collect::<Result<Vec<_>>>()?,
                );
            }
        }
        let mut report = Vacuumed::new(dry_run);
        for object in listed {
            let Some(name) = below(&self.log.folder, &object.path) else { continue };
            let hidden = name.split('/').any(|part| part.starts_with(['_', '.']) && !part.contains('='));
            if hidden {
                continue;
            }
            let stays = if current.contains(&object.path) {
                Some(Why::InUse)
            } else if recent.contains(&object.path) || object.modified >= cutoff {
                Some(Why::Recent)
            } else if waiting.contains(&object.path) || may_be_staged(object.path.file_name(), &held) {
                Some(Why::Uncommitted)
            } else {
                None
            };
            if let Some(why) = stays {
                report.keep(object.size, why);
                continue;
            }
            if !dry_run {
                self.log.store.delete(&object.path).await?;
            }
            report.delete(name, object.size, Why::Unnamed);
        }
        Ok(report)
    }
}

fn report(done: &[(Vec<Add>, Vec<Add>)]) -> Compacted {
    let size = |files: &[Add]| files.iter().map(|f| u64::try_from(f.size).unwrap_or_default()).sum::<u64>();
    let mut report = Compacted::default();
    for (before, after) in done {
        report.files_before += before.len() as u64;
        report.files_after += after.len() as u64;
        report.bytes_before += size(before);
        report.bytes_after += size(after);
        report.rows += after.iter().filter_map(|f| stats::rows(f.stats.as_deref())).sum::<u64>();
    }
    report
}

fn below<'a>(folder: &ObjectPath, object: &'a ObjectPath) -> Option<&'a str> {
    Some(object.as_str().strip_prefix(folder.as_str())?.trim_start_matches('/'))
}

/// Whether a file may be of an epoch that is not committed: of one after the mark of its shard.
fn may_be_staged(file_name: &str, held: &Snapshot) -> bool {
    let Some((shard, _, epoch)) = Names::parse(file_name) else { return false };
    let mark = mark::decode(&shard, &held.txns).ok().flatten();
    mark.is_none_or(|mark| epoch > mark.epoch)
}

/// The enumerations that are under way.
fn heads(held: &Snapshot) -> Vec<(ShardKey, Head)> {
    let shards = held.txns.keys().filter_map(|id| {
        let (pipeline, shard) = id.strip_prefix("landfall/")?.strip_suffix("/pending")?.split_once('/')?;
        Some(ShardKey { pipeline: PipelineName::new(pipeline).ok()?, shard: shard.parse().ok()? })
    });
    shards.filter_map(|shard| Some((shard.clone(), Head::of(&shard, Some(held))?))).collect()
}
