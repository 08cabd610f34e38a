//! Where rejected records go: NDJSON objects, part of the commit. Format: docs/formats.md, "Quarantine".

#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use record::QuarantinedRecord;
pub use writer::{QuarantineRef, QuarantineWriter};

use super::EpochContext;
use crate::error::{Error, Result};
use crate::model::{Incarnation, ShardKey};
use crate::source::ComponentConfig;
use crate::store::{ObjectPath, Store};
use sha2::{Digest, Sha256};

/// Where rejected records go, with the reason and a pointer to the landed bytes.
///
/// The records of an epoch are staged while the epoch is prepared, and published after the sink has committed it.
/// Both names follow from shard, life and epoch alone, so that a replay overwrites and never doubles. Who loads a landing again
/// under the same name, with checkpoints in a new place, lives anew: then the records of each life are there.
#[derive(Clone, Debug)]
pub struct Quarantine {
    store: Store,
    prefix: ObjectPath,
}

impl Quarantine {
    /// Keeps rejected records in folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn in_store(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self { store: store.clone(), prefix: ObjectPath::parse(prefix)? })
    }

    /// What it is configured to do.
    pub fn config(&self) -> ComponentConfig {
        ComponentConfig::none().with_settings(serde_json::json!({ "folder": self.prefix.as_str() }))
    }

    /// Starts to stage the rejected records of an epoch in the checkpoint chain of this `incarnation`. Nothing is written before
    /// there is one.
    ///
    /// # Errors
    /// `Config` if the names become too long.
    pub fn open(&self, epoch: &EpochContext, incarnation: &Incarnation) -> Result<QuarantineWriter> {
        let EpochContext { shard, generation, epoch, attempt, .. } = epoch;
        let life: String = incarnation.0.chars().take(LIFE).collect();
        let staged = format!("{}/g{generation:010}/{epoch:020}-{attempt:04}-{life}.staged", staged_folder(shard));
        let path = format!("{}-{:04}-{life}-{epoch:020}.ndjson", shard.pipeline, shard.shard);
        QuarantineWriter::new(self.store.clone(), &self.prefix, shard.clone(), *epoch, staged, path)
    }

    /// Gives staged records their final name. Call it only after the sink has committed their epoch.
    ///
    /// Idempotent: records that are published already, perhaps by another owner, are left as they are. So is an object that
    /// was emptied since, because its records were taken care of.
    ///
    /// # Errors
    /// `Corrupt` if the records are neither staged nor published, or if others are published under their name.
    /// Errors of the store: call it again.
    pub async fn publish(&self, records: &QuarantineRef) -> Result<()> {
        let published = self.prefix.join(&records.path)?;
        if self.holds(&published, records).await? {
            return Ok(());
        }
        let staged = self.prefix.join(&records.staged)?;
        // Nothing gets its final name unseen: that could not be taken back.
        let is_staged = self.holds(&staged, records).await?;
        if is_staged && self.store.rename(&staged, &published).await? || self.holds(&published, records).await? {
            return Ok(());
        }
        Err(Error::corrupt("publish quarantine", "the quarantined records of a committed epoch are gone")
            .with("staged", staged)
            .with("published", published)
            .with_hint(
                "restore one of the two objects; or, if its records were taken care of, put an empty object under the published name: nothing \
                 is decoded again by itself",
            ))
    }

    /// Whether an object is there; others than the staged records under its name are an error. A published one may be empty: its
    /// records were taken care of. That it is gone says nothing.
    async fn holds(&self, path: &ObjectPath, records: &QuarantineRef) -> Result<bool> {
        // As much of it as was staged: of what is larger, enough to notice.
        let Some(bytes) = self.store.get(path, Some(0..records.bytes.saturating_add(1))).await? else {
            return Ok(false);
        };
        let is_emptied = bytes.is_empty() && *path == self.prefix.join(&records.path)?;
        if is_emptied || format!("{:x}", Sha256::digest(&bytes)) == records.sha256 {
            return Ok(true);
        }
        Err(Error::corrupt("publish quarantine", "other records are quarantined under the name of this epoch")
            .with("object", path)
            .with_hint("it was changed, or restored from a backup: bring back the one that was published"))
    }

    /// Deletes staged records of `shard` that no epoch will ever commit: of generations below `below_generation` and
    /// not in `keep`. Call it only after the boundary has been advanced. Returns how many objects were deleted.
    ///
    /// # Errors
    /// Errors of the store: what is left is deleted by the next call.
    pub async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[QuarantineRef]) -> Result<u64> {
        let keep: Vec<_> = keep.iter().map(|k| self.prefix.join(&k.staged)).collect::<Result<_>>()?;
        let folder = self.prefix.join(&staged_folder(shard))?;
        let mut deleted = 0;
        for object in self.store.list(&folder).await? {
            if staged_generation(&folder, &object.path).is_some_and(|g| g < below_generation)
                && !keep.contains(&object.path)
            {
                self.store.delete(&object.path).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// All published records, by pipeline, shard, life and epoch. They are held in memory: for reports and tests.
    ///
    /// # Errors
    /// `Corrupt` if a line cannot be read, `Config` if it is of a newer format; errors of the store.
    pub async fn read_all(&self) -> Result<Vec<QuarantinedRecord>> {
        let staged = self.prefix.join("_staged")?;
        let mut records = Vec::new();
        for object in self.store.list(&self.prefix).await? {
            if is_below(&staged, &object.path) || !object.path.as_str().ends_with(".ndjson") {
                continue;
            }
            let Some(bytes) = self.store.get(&object.path, None).await? else { continue };
            for (index, line) in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).enumerate() {
                let record = QuarantinedRecord::decode(line)
                    .map_err(|e| e.with("object", &object.path).with("line", index + 1))?;
                records.push(record);
            }
        }
        Ok(records)
    }
}

/// How many characters of an incarnation tell one life of a pipeline from another.
const LIFE: usize = 8;

fn staged_folder(shard: &ShardKey) -> String {
    format!("_staged/{}/{:04}", shard.pipeline, shard.shard)
}

/// The generation in the name of a staged object: `<folder>/g<generation>/…`.
fn staged_generation(folder: &ObjectPath, object: &ObjectPath) -> Option<u64> {
    let below = object.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?;
    below.split('/').next()?.strip_prefix('g')?.parse().ok()
}

fn is_below(folder: &ObjectPath, object: &ObjectPath) -> bool {
    object.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
}
