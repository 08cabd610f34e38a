//! What an enumeration has brought so far: files that no version of the table names yet. Each epoch leaves an object that lists its
//! files and names the one before; the `txn` actions of the table hold the newest, by a hash of its content. So neither history nor a
//! listing is asked. Format: docs/formats.md, "Delta pending".

use super::actions::Txn;
use super::log::{Log, MOST_COMMIT, Snapshot, is_readable};
use super::mark::app_id;
use super::staged::{DeltaFile, DeltaStaged};
use crate::error::{Error, Result};
use crate::model::{PipelineName, ShardKey};
use crate::store::{Created, ObjectPath};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "landfall delta pending";
const VERSION: u32 = 1;

/// The files of one epoch of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    format: String,
    version: u32,
    enumeration: u64,
    /// The epoch before, of the same enumeration.
    before: Option<u64>,
    schema: Option<String>,
    files: Vec<DeltaFile>,
}

/// What every version has.
#[derive(Deserialize)]
struct Known {
    format: String,
    version: u32,
}

/// Where an enumeration stands: its number, and what it has left last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) enumeration: u64,
    pub(super) newest: Option<u64>,
}

impl Head {
    /// The one that a table holds for `shard`.
    pub(super) fn of(shard: &ShardKey, held: Option<&Snapshot>) -> Option<Self> {
        let id = app_id(shard);
        let version = |name: &str| {
            let txn = held?.txns.get(&format!("{id}/{name}"))?;
            u64::try_from(txn.version).ok()
        };
        let newest = version("pending").filter(|hash| *hash != 0);
        Some(Self { enumeration: version("enumeration")?, newest })
    }

    pub(super) fn txns(self, shard: &ShardKey, at_millis: i64) -> Vec<Txn> {
        let id = app_id(shard);
        let numbers = [("enumeration", self.enumeration), ("pending", self.newest.unwrap_or(0))];
        let txn = |(name, number)| Txn {
            app_id: format!("{id}/{name}"),
            version: i64::try_from(number).unwrap_or(i64::MAX),
            last_updated: Some(at_millis),
        };
        numbers.map(txn).into()
    }
}

fn path(log: &Log, shard: &ShardKey, hash: u64) -> Result<ObjectPath> {
    // Other tools leave folders alone that begin with an underscore.
    log.folder.join(&format!("_landfall/pending/{}/{:04}/{hash:016x}.json", shard.pipeline, shard.shard))
}

fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let head = digest.first_chunk::<8>().map_or(1, |head| u64::from_be_bytes(*head));
    // Positive as an `i64`, and never the number that says "none".
    (head >> 1).max(1)
}

/// Keeps what an epoch staged for `enumeration`; gives the new head.
pub(super) async fn keep(log: &Log, shard: &ShardKey, head: Head, staged: &DeltaStaged) -> Result<Head> {
    let pending = Pending {
        format: FORMAT.to_owned(),
        version: VERSION,
        enumeration: head.enumeration,
        before: head.newest,
        schema: staged.schema.clone(),
        files: staged.files.clone(),
    };
    let bytes = serde_json::to_vec(&pending)
        .map_err(|e| Error::bug("write delta pending", "it does not serialise").with_source(e))?;
    is_readable(bytes.len())?;
    let newest = hash(&bytes);
    // Its name says its content: one that exists is this one. But that it exists may be the answer for one that failed.
    let path = path(log, shard, newest)?;
    if log.store.create(&path, bytes.into()).await? == Created::Exists && log.store.get(&path, None).await?.is_none() {
        return Err(Error::unavailable("write delta pending", "another writes it, and it is not there yet")
            .with("object", path));
    }
    Ok(Head { newest: Some(newest), ..head })
}

/// Whether no epoch can need a list any more: its enumeration is over, or a later one has begun. Only an epoch that others have
/// followed could name it.
pub(super) async fn is_over(log: &Log, object: &ObjectPath, held: &Snapshot) -> Result<bool> {
    let mut parts = object.as_str().rsplit('/').skip(1);
    let shard = parts.next().and_then(|shard| shard.parse().ok());
    let pipeline = parts.next().and_then(|pipeline| PipelineName::new(pipeline).ok());
    let (Some(shard), Some(pipeline)) = (shard, pipeline) else { return Ok(false) };
    let Some(head) = Head::of(&ShardKey { pipeline, shard }, Some(held)) else { return Ok(false) };
    let Some(bytes) = log.store.get(object, Some(0..MOST_COMMIT)).await? else { return Ok(false) };
    let Ok(pending) = serde_json::from_slice::<Pending>(&bytes) else { return Ok(false) };
    Ok(pending.enumeration < head.enumeration || pending.enumeration == head.enumeration && head.newest.is_none())
}

/// What the epochs of an enumeration have staged, in their order.
pub(super) async fn all(log: &Log, shard: &ShardKey, head: Head) -> Result<Vec<DeltaStaged>> {
    let mut staged = Vec::new();
    let mut next = head.newest;
    while let Some(number) = next {
        let path = path(log, shard, number)?;
        let broken = |message| {
            Error::corrupt("read delta pending", message)
                .with("object", &path)
                .with_hint("restore it from a copy; or start over with a new folder of checkpoints and an empty table")
        };
        let bytes = log.store.get_small("read delta pending", &path, MOST_COMMIT).await?;
        let bytes = bytes.ok_or_else(|| broken("what an enumeration has brought is gone"))?;
        if hash(&bytes) != number {
            return Err(broken("it is not what was written"));
        }
        let unread = |e| broken("not a list of files").with_source(e);
        let known: Known = serde_json::from_slice(&bytes).map_err(unread)?;
        if known.format != FORMAT || known.version != VERSION {
            return Err(Error::config("read delta pending", "written in a format that this version does not know")
                .with("object", &path)
                .with("version", known.version)
                .with_hint("use a newer version of landfall"));
        }
        let pending: Pending = serde_json::from_slice(&bytes).map_err(unread)?;
        if pending.enumeration != head.enumeration {
            return Err(broken("it is of another enumeration"));
        }
        next = pending.before;
        staged.push(DeltaStaged { files: pending.files, schema: pending.schema, ..DeltaStaged::default() });
    }
    staged.reverse();
    Ok(staged)
}

/// `bytes` as a list that an enumeration has left.
#[cfg(any(test, feature = "testkit"))]
pub(super) async fn fuzzed(log: &Log, shard: &ShardKey, bytes: &[u8]) -> Result<()> {
    let newest = hash(bytes);
    log.store.put(&path(log, shard, newest)?, bytes.to_vec().into()).await?;
    let staged = all(log, shard, Head { enumeration: 7, newest: Some(newest) }).await?;
    let mut head = Head { enumeration: 7, newest: None };
    for epoch in &staged {
        head = keep(log, shard, head, epoch).await?;
    }
    assert_eq!(all(log, shard, head).await?, staged);
    Ok(())
}
