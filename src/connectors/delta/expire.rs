//! Old versions of the log, deleted on request.

use super::ledger;
use super::log::{Keep, Log};
use super::retention;
use super::table::DeltaTable;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use crate::store::{ObjectInfo, ObjectPath};
use std::time::Duration;

/// What an expiry of the log deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredLog {
    /// The oldest version of the table that can be read afterwards; `None` if there is no table.
    pub oldest_version: Option<u64>,
    /// The objects, below the folder of the table.
    pub objects: Vec<String>,
    /// Their size in bytes.
    pub bytes: u64,
}

impl DeltaTable {
    /// Deletes versions of the log that are older than `older_than`, or else than what the table says
    /// (`delta.logRetentionDuration`, thirty days by default), as the protocol of Delta has it: up to the newest
    /// [`checkpoint`](Self::checkpoint) that is as old, so that every version since can be read. Without a checkpoint nothing goes. The
    /// ledger of loads is entered first, and its own log expires too. With `dry_run` it only says what it would delete.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); `Config` if `older_than` is shorter than the time for which files are kept that were
    /// removed (`delta.deletedFileRetentionDuration`, a week by default), or the store ignores conditions.
    ///
    /// # Cancellation
    /// Dropped, it has deleted a part, the oldest first.
    pub async fn expire_log(&self, env: &Env, older_than: Option<Duration>, dry_run: bool) -> Result<ExpiredLog> {
        let Some(held) = self.log.newest(None, Keep::Head).await? else { return Ok(ExpiredLog::default()) };
        let shortest = retention::of_files(&held.metadata);
        let kept = older_than.unwrap_or_else(|| retention::of_log(&held.metadata));
        if kept < shortest {
            return Err(Error::config(
                "expire delta log",
                "versions must be kept for as long as the files that they name",
            )
            .with("older_than_seconds", kept.as_secs())
            .with("files_are_kept_seconds", shortest.as_secs()));
        }
        if !dry_run {
            self.probe(env).await?;
        }
        // What the log alone tells is entered before it goes.
        let entered = if dry_run { held.version } else { ledger::enter(self, env, u64::MAX).await? };
        let cutoff = env.now().saturating_sub(kept);
        let (oldest_version, mut old) = expired(&self.log, cutoff, entered).await?;
        for log in ledger::tables(self)? {
            if log.newest(None, Keep::Head).await?.is_some() {
                old.extend(expired(&log, cutoff, u64::MAX).await?.1);
            }
        }
        let mut report = ExpiredLog { oldest_version: Some(oldest_version), ..ExpiredLog::default() };
        for object in old {
            if !dry_run {
                self.log.store.delete(&object.path).await?;
            }
            report.bytes += object.size;
            let name = object.path.as_str();
            let name = name.strip_prefix(self.log.folder.as_str()).unwrap_or(name);
            report.objects.push(name.trim_start_matches('/').to_owned());
        }
        Ok(report)
    }
}

/// What of a log is older than `cutoff` and not needed by a version that is not, and the oldest version that stays. Only what lies
/// before version `before`.
///
/// Source: PROTOCOL.md, "Metadata Cleanup".
async fn expired(log: &Log, cutoff: Timestamp, before: u64) -> Result<(u64, Vec<ObjectInfo>)> {
    let versions = log.versions().await?;
    let oldest = versions.first().map_or(0, |(version, _)| *version);
    // The newest version that is not younger; clocks may go back.
    let old = versions.iter().take_while(|(_, object)| object.modified <= cutoff).last();
    let limit = old.map(|(version, _)| *version).unwrap_or(0).min(before);
    // Those that know an older version go on from the checkpoint that the hint names: it is at least this one.
    let hint = log.last_checkpoint().await?.map_or(0, |last| last.version);
    let Some(checkpoint) = log.whole_checkpoint(limit.min(hint)).await? else { return Ok((oldest, Vec::new())) };
    let checkpoint = checkpoint.version;
    let mut objects = log.store.list(&log.folder.join("_delta_log")?).await?;
    objects.retain(|object| version_of(&object.path).is_some_and(|version| version < checkpoint));
    objects.sort_by_key(|object| version_of(&object.path));
    Ok((oldest.max(checkpoint), objects))
}

/// The version that an object of a log is of. Compacted versions are of the last one in them.
pub(super) fn version_of(path: &ObjectPath) -> Option<u64> {
    let (head, rest) = path.file_name().split_once('.')?;
    let known = |rest: &str| rest == "json" || rest == "crc" || rest.starts_with("checkpoint.");
    if head.len() != 20 {
        return None;
    }
    if known(rest) {
        return head.parse().ok();
    }
    rest.strip_suffix(".compacted.json")?.parse().ok()
}
