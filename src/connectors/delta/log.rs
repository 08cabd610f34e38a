//! The log of a Delta table: read from its newest checkpoint on, written by create-if-absent of the next version.

use super::actions::{Add, DomainMetadata, Line, Metadata, Protocol, Remove, Txn};
use super::checkpoint;
use super::features;
use crate::error::{Error, Result};
use crate::store::{Created, ObjectInfo, ObjectPath, Store};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The folder of a table.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) store: Store,
    pub(super) folder: ObjectPath,
}

/// How much of a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// Its schema and its marks. A table of many files needs little memory then.
    Head,
    /// All, with the files that are in it, and those that were.
    All,
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) keep: Keep,
    pub(super) version: u64,
    pub(super) protocol: Protocol,
    pub(super) metadata: Metadata,
    pub(super) txns: BTreeMap<String, Txn>,
    pub(super) domains: BTreeMap<String, DomainMetadata>,
    /// The files of the table by their paths.
    pub(super) files: BTreeMap<String, Add>,
    /// The files that were removed, as far as the log still tells.
    pub(super) removed: BTreeMap<String, Remove>,
}

/// `_last_checkpoint`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastCheckpoint {
    pub(super) version: u64,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
}

impl Snapshot {
    fn empty(keep: Keep, version: u64) -> Self {
        Self {
            keep,
            version,
            protocol: Protocol::default(),
            metadata: Metadata::default(),
            txns: BTreeMap::new(),
            domains: BTreeMap::new(),
            files: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    fn apply(&mut self, line: Line) {
        if let Some(protocol) = line.protocol {
            self.protocol = protocol;
        }
        if let Some(metadata) = line.meta_data {
            self.metadata = metadata;
        }
        if let Some(txn) = line.txn {
            self.txns.insert(txn.app_id.clone(), txn);
        }
        if let Some(domain) = line.domain_metadata {
            self.domains.insert(domain.domain.clone(), domain);
        }
        if self.keep < Keep::All {
            return;
        }
        if let Some(add) = line.add {
            self.removed.remove(&add.path);
            self.files.insert(add.path.clone(), add);
        }
        if let Some(remove) = line.remove {
            self.files.remove(&remove.path);
            self.removed.insert(remove.path.clone(), remove);
        }
    }

    /// Applies the actions of version `self.version`.
    fn apply_commit(&mut self, bytes: &[u8]) -> Result<()> {
        // Of one commit the order says nothing: a file that it both removes and adds is there.
        let mut adds = Vec::new();
        for line in lines(bytes)? {
            if line.add.is_some() { adds.push(line) } else { self.apply(line) }
        }
        adds.into_iter().for_each(|line| self.apply(line));
        Ok(())
    }
}

/// The actions of one version.
fn lines(bytes: &[u8]) -> Result<Vec<Line>> {
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let read = |line| {
        serde_json::from_slice(line).map_err(|e| Error::corrupt("read delta log", "a line is no action").with_source(e))
    };
    lines.map(read).collect()
}

impl Log {
    fn path(&self, name: &str) -> Result<ObjectPath> {
        self.folder.join("_delta_log")?.join(name)
    }

    fn commit_path(&self, version: u64) -> Result<ObjectPath> {
        self.path(&format!("{version:020}.json"))
    }

    /// The newest version; `None` if there is no table. `known` is an earlier answer: it saves reads and decides nothing.
    ///
    /// # Errors
    /// `Corrupt` if the log has a hole or cannot be read; `Config` if the table has a feature that is not known here.
    pub(super) async fn newest(&self, known: Option<Arc<Snapshot>>, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        let known = known.filter(|k| k.keep >= keep);
        let keep = known.as_ref().map_or(keep, |k| k.keep);
        let mut snapshot = self.follow(known, keep).await?;
        // The versions that follow may have been cleaned up: a checkpoint stands for them.
        let last = self.last_checkpoint().await?;
        match (&snapshot, last) {
            (Some(now), Some(last)) if last.version <= now.version => {}
            (_, Some(last)) => snapshot = self.read_checkpoint(&last, keep).await?,
            (Some(_), None) => {}
            (None, None) => {
                if let Some(last) = self.listed().await? {
                    snapshot = self.read_checkpoint(&last, keep).await?;
                }
            }
        }
        if let Some(snapshot) = &snapshot {
            features::check_known(snapshot)?;
        }
        Ok(snapshot)
    }

    /// Reads the versions after `known`, until one is absent.
    async fn follow(&self, known: Option<Arc<Snapshot>>, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        let mut next = known.as_ref().map_or(0, |k| k.version + 1);
        let Some(mut bytes) = self.store.get(&self.commit_path(next)?, None).await? else { return Ok(known) };
        let mut snapshot = known.map_or_else(|| Snapshot::empty(keep, 0), Arc::unwrap_or_clone);
        loop {
            snapshot.version = next;
            snapshot.apply_commit(&bytes).map_err(|e| e.with("version", next))?;
            next += 1;
            match self.store.get(&self.commit_path(next)?, None).await? {
                Some(more) => bytes = more,
                None => break,
            }
        }
        if snapshot.protocol.min_reader_version == 0 || snapshot.metadata.schema_string.is_empty() {
            return Err(Error::corrupt("read delta log", "the log has no protocol or no schema")
                .with("table", &self.folder)
                .with("version", snapshot.version));
        }
        Ok(Some(Arc::new(snapshot)))
    }

    /// The actions of a version; `None` if it is not there.
    pub(super) async fn commit(&self, version: u64) -> Result<Option<Vec<Line>>> {
        let Some(bytes) = self.store.get(&self.commit_path(version)?, None).await? else { return Ok(None) };
        lines(&bytes).map(Some).map_err(|e| e.with("version", version))
    }

    /// The versions of the log that are there, in order.
    pub(super) async fn versions(&self) -> Result<Vec<(u64, ObjectInfo)>> {
        let listed = self.store.list(&self.folder.join("_delta_log")?).await?;
        let version = |object: ObjectInfo| {
            let name = object.path.file_name().strip_suffix(".json")?;
            Some((name.parse().ok().filter(|_| name.len() == 20)?, object))
        };
        let mut versions: Vec<_> = listed.into_iter().filter_map(version).collect();
        versions.sort_by_key(|(version, _)| *version);
        Ok(versions)
    }

    /// The first version after `version` that is there.
    pub(super) async fn first_after(&self, version: u64) -> Result<Option<u64>> {
        Ok(self.versions().await?.into_iter().map(|(number, _)| number).find(|number| *number > version))
    }

    async fn read_checkpoint(&self, last: &LastCheckpoint, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        let version = last.version;
        let mut snapshot = Snapshot::empty(keep, version);
        let parts = last.parts.unwrap_or(1);
        for part in 1..=parts {
            let name = match last.parts {
                None => format!("{version:020}.checkpoint.parquet"),
                Some(_) => format!("{version:020}.checkpoint.{part:010}.{parts:010}.parquet"),
            };
            let path = self.path(&name)?;
            let bytes = self.store.get(&path, None).await?.ok_or_else(|| {
                Error::corrupt("read delta log", "a checkpoint of the table is gone")
                    .with("object", &path)
                    .with_hint("restore it, or delete `_last_checkpoint` if all versions of the log are there")
            })?;
            checkpoint::read(bytes, keep, |line| snapshot.apply(line)).map_err(|e| e.with("object", &path))?;
        }
        self.follow(Some(Arc::new(snapshot)), keep).await
    }

    /// What `_last_checkpoint` says: a hint, and a lower bound of the newest version.
    pub(super) async fn last_checkpoint(&self) -> Result<Option<LastCheckpoint>> {
        let Some(bytes) = self.store.get(&self.path("_last_checkpoint")?, None).await? else { return Ok(None) };
        // By the protocol it may be anything: then there is no hint.
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// A log without its first version and without a hint: the newest checkpoint that is listed.
    async fn listed(&self) -> Result<Option<LastCheckpoint>> {
        let listed = self.store.list(&self.folder.join("_delta_log")?).await?;
        let names: Vec<_> = listed.iter().map(|o| o.path.file_name()).collect();
        let checkpoints = names.iter().filter_map(|name| {
            let (version, rest) = name.strip_suffix(".parquet")?.split_once(".checkpoint")?;
            let parts = if rest.is_empty() { None } else { Some(rest.rsplit_once('.')?.1.parse().ok()?) };
            Some(LastCheckpoint { version: version.parse().ok()?, size: 0, parts })
        });
        let newest = checkpoints.max_by_key(|c| c.version);
        if newest.is_none() && names.iter().any(|name| name.ends_with(".json")) {
            return Err(Error::corrupt(
                "read delta log",
                "the first version of the log is gone, and there is no checkpoint",
            )
            .with("table", &self.folder)
            .with_hint("restore the folder _delta_log"));
        }
        Ok(newest)
    }

    /// Writes a version.
    pub(super) async fn create(&self, version: u64, lines: &[Line]) -> Result<Created> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)
                .map_err(|e| Error::bug("write delta log", "an action does not serialise").with_source(e))?;
            bytes.push(b'\n');
        }
        self.store.create(&self.commit_path(version)?, Bytes::from(bytes)).await
    }

    /// Whether version `version`, which was just created, is the newest there can be: not one in the past that was
    /// cleaned up while its writer slept.
    pub(super) async fn is_current(&self, version: u64) -> Result<bool> {
        Ok(self.last_checkpoint().await?.is_none_or(|last| last.version < version))
    }

    /// Writes the checkpoint of a whole snapshot, and the hint to it.
    pub(super) async fn write_checkpoint(&self, snapshot: &Snapshot, expire_before_millis: i64) -> Result<u64> {
        let version = snapshot.version;
        let (bytes, size) = checkpoint::write(snapshot, expire_before_millis)?;
        self.store.put(&self.path(&format!("{version:020}.checkpoint.parquet"))?, bytes).await?;
        // The hint never goes back.
        if self.last_checkpoint().await?.is_none_or(|last| last.version < version) {
            let hint = LastCheckpoint { version, size, parts: None };
            let hint = serde_json::to_vec(&hint)
                .map_err(|e| Error::bug("write delta checkpoint", "the hint does not serialise").with_source(e))?;
            self.store.put(&self.path("_last_checkpoint")?, hint.into()).await?;
        }
        Ok(size)
    }
}
