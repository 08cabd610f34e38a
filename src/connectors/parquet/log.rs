//! The commit objects of a shard: found, read, and the files that they name checked and moved into view.

use super::commit::DatasetCommit;
use super::compaction::DatasetCompaction;
use crate::columnar::files::{DataFile, TAIL, checksum};
use crate::error::{Error, Result};
use crate::model::{PipelineName, ShardKey};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Files that are looked at or moved at the same time.
const AT_ONCE: usize = 8;
/// Bytes that a commit may have: the files of a checkpoint, which has 32 MiB, and the columns of those before.
const MOST_COMMIT: u64 = 64 << 20;
/// Bytes that the record of a compaction may have: the names of as many small files as make a large one, some 100 bytes for each.
const MOST_COMPACTION: u64 = 1 << 30;
const READ: &str = "read dataset";

/// The folder of a dataset.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) store: Store,
    pub(super) prefix: ObjectPath,
}

impl Folder {
    pub(super) fn commits(&self) -> Result<ObjectPath> {
        self.prefix.join("_commits")
    }

    pub(super) fn commit_path(&self, shard: &ShardKey, sequence: u64) -> Result<ObjectPath> {
        self.commits()?.join(&format!("{}-{:04}/{sequence:020}.json", shard.pipeline, shard.shard))
    }

    pub(super) fn compaction_path(&self, shard: &ShardKey, number: u64) -> Result<ObjectPath> {
        self.prefix.join(&format!("_compactions/{}-{:04}/{number:020}.json", shard.pipeline, shard.shard))
    }

    /// The compactions of a shard after number `after`.
    pub(super) async fn compactions(&self, shard: &ShardKey, after: u64) -> Result<Vec<DatasetCompaction>> {
        let mut compactions = Vec::new();
        for number in after + 1.. {
            let path = self.compaction_path(shard, number)?;
            let Some(bytes) = self.store.get_small(READ, &path, MOST_COMPACTION).await? else { break };
            compactions.push(DatasetCompaction::decode(shard, number, &bytes).map_err(|e| e.with("object", path))?);
        }
        Ok(compactions)
    }

    /// The bytes of a committed file, verified. It may be moved from its staged to its final name while it is looked for.
    pub(super) async fn bytes(&self, file: &DataFile) -> Result<Bytes> {
        let damaged = |message| Error::corrupt(READ, message).with("file", &file.path);
        for name in [&file.path, &file.staged, &file.path] {
            let object = self.prefix.join(name)?;
            // One byte more than there should be shows a file that is too long.
            if let Some(bytes) = self.store.get(&object, Some(0..file.bytes.saturating_add(1))).await? {
                if format!("{:x}", Sha256::digest(&bytes)) != file.sha256 {
                    return Err(damaged("the file is not the one that was committed"));
                }
                return Ok(bytes);
            }
        }
        Err(damaged("a committed file is gone").with_hint(
            "take a new snapshot, if this one is older than what the last vacuum has kept; otherwise restore the file from a copy",
        ))
    }

    /// The shards that have commits, and the highest number of each, as the store lists them.
    pub(super) async fn shards(&self) -> Result<BTreeMap<ShardKey, u64>> {
        let folder = self.commits()?;
        let mut shards = BTreeMap::new();
        for object in self.store.list(&folder).await? {
            if let Some((shard, number)) = commit_name(&folder, &object.path) {
                let last: &mut u64 = shards.entry(shard).or_default();
                *last = number.max(*last);
            }
        }
        Ok(shards)
    }

    /// Reads a commit of a shard; `None` if there is none of that number.
    pub(super) async fn read(&self, shard: &ShardKey, sequence: u64) -> Result<Option<DatasetCommit>> {
        let path = self.commit_path(shard, sequence)?;
        let Some(bytes) = self.store.get_small(READ, &path, MOST_COMMIT).await? else { return Ok(None) };
        DatasetCommit::decode(shard, sequence, &bytes).map(Some).map_err(|e| e.with("object", path))
    }

    /// The newest commit of a shard. `hint` is a number that existed, or 0.
    ///
    /// The listing only says where to begin: from there on every number is asked for, until one is absent.
    pub(super) async fn newest(&self, shard: &ShardKey, hint: u64) -> Result<Option<DatasetCommit>> {
        let mut newest = if hint > 0 { self.read(shard, hint).await? } else { None };
        if newest.is_none() {
            let listed = self.listed(shard).await?;
            if let Some(last) = listed.last() {
                let commit = self.read(shard, *last).await?;
                newest = Some(commit.ok_or_else(|| self.gone(shard, *last))?);
            }
        }
        loop {
            let held = newest.as_ref().map_or(0, |c| c.sequence);
            let next = held
                .checked_add(1)
                .ok_or_else(|| Error::corrupt(READ, "the commits have no numbers left").with("shard", shard))?;
            match self.read(shard, next).await? {
                Some(commit) => newest = Some(commit),
                None => return Ok(newest),
            }
        }
    }

    /// The numbers of a shard's commits, as the store lists them.
    async fn listed(&self, shard: &ShardKey) -> Result<Vec<u64>> {
        let folder = self.commits()?.join(&format!("{}-{:04}", shard.pipeline, shard.shard))?;
        let listed = self.store.list(&folder).await?;
        let mut numbers: Vec<_> = listed.iter().filter_map(|o| number_of(o.path.file_name())).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn gone(&self, shard: &ShardKey, sequence: u64) -> Error {
        Error::corrupt(READ, "a commit object is gone")
            .with("shard", shard)
            .with("sequence", sequence)
            .with_hint("restore the folder _commits; it is the only record of what was committed")
    }

    /// Fails if a staged file is not there, or is not the one that was staged.
    pub(super) async fn verify_staged(&self, files: &[DataFile]) -> Result<()> {
        all(files.iter().map(|file| self.verify_one(file).boxed()).collect()).await
    }

    async fn verify_one(&self, file: &DataFile) -> Result<()> {
        let path = self.prefix.join(&file.staged)?;
        // Nor may a commit name what no reader can have.
        self.prefix.join(&file.path)?;
        if self.is_there(&path, file).await? {
            return Ok(());
        }
        Err(Error::corrupt("commit dataset", "a staged file is gone; nothing was committed")
            .with("file", path)
            .with_hint("restore the file from a copy; or load the landing again under this name, with a new folder of checkpoints and an empty dataset"))
    }

    /// Gives the files of a commit their final names, as far as they do not have them yet. Idempotent.
    pub(super) async fn publish(&self, commit: &DatasetCommit) -> Result<()> {
        all(commit.files.iter().map(|file| self.publish_one(file).boxed()).collect()).await
    }

    pub(super) async fn publish_one(&self, file: &DataFile) -> Result<()> {
        let (staged, path) = (self.prefix.join(&file.staged)?, self.prefix.join(&file.path)?);
        if self.is_there(&path, file).await? {
            return Ok(());
        }
        // No file comes into view unseen: that could not be taken back.
        let is_staged = self.is_there(&staged, file).await?;
        if is_staged && self.store.rename(&staged, &path).await? || self.is_there(&path, file).await? {
            return Ok(());
        }
        Err(Error::corrupt("publish dataset", "a committed file is gone")
            .with("file", path)
            .with_hint("restore the file from a copy; the commit that names it stays"))
    }

    pub(super) async fn is_there(&self, path: &ObjectPath, file: &DataFile) -> Result<bool> {
        // One byte more is asked for than there should be: it shows a file that is too long.
        let start = file.bytes.saturating_sub(TAIL);
        let range = start..file.bytes.saturating_add(1);
        let Some(tail) = self.store.get(path, Some(range)).await? else { return Ok(false) };
        if tail.len() as u64 == file.bytes - start && checksum(&tail) == file.tail_crc32c {
            return Ok(true);
        }
        Err(Error::corrupt("check file", "the file is not the one that was staged")
            .with("file", path)
            .with("expected_bytes", file.bytes)
            .with_hint("something else wrote to this folder; restore the file from a copy"))
    }
}

async fn all(work: Vec<BoxFuture<'_, Result<()>>>) -> Result<()> {
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

/// `<folder>/<pipeline>-<shard>/<number>.json`.
fn commit_name(folder: &ObjectPath, object: &ObjectPath) -> Option<(ShardKey, u64)> {
    let (shard, file) = object.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?.split_once('/')?;
    let (pipeline, shard) = shard.rsplit_once('-')?;
    let shard = ShardKey { pipeline: PipelineName::new(pipeline).ok()?, shard: shard.parse().ok()? };
    Some((shard, number_of(file)?))
}

/// The number of a commit object: `<number>.json`.
fn number_of(file_name: &str) -> Option<u64> {
    file_name.strip_suffix(".json")?.parse().ok()
}
