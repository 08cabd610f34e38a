//! The log of a Delta table: read from its newest checkpoint on, written by create-if-absent of the next version.

use super::actions::{Add, DomainMetadata, Line, Metadata, Protocol, Remove, Txn};
use super::checkpoint;
use super::expire::version_of;
use super::features;
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use crate::store::{Created, ObjectInfo, ObjectPath, Store};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that a version may have. Other writers have made some of hundreds of MiB, with a line of about 1 KiB for each of all files
/// of a table.
pub(super) const MOST_COMMIT: u64 = 1 << 30;
/// Bytes of `_last_checkpoint` that are read. Other writers leave out of it what makes it longer than some 10 KiB.
const MOST_HINT: u64 = 1 << 20;

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
    /// With the files that are in it.
    Files,
    /// All, also the files that were in it.
    All,
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) keep: Keep,
    pub(super) version: u64,
    /// The version of the checkpoint that it was read from, or 0: what was added and removed since is told.
    pub(super) begins: u64,
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
    /// Actions in it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
}

impl Snapshot {
    pub(super) fn empty(keep: Keep, version: u64) -> Self {
        Self {
            keep,
            version,
            begins: version,
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
        if self.keep < Keep::Files {
            return;
        }
        if let Some(mut add) = line.add {
            nullify(&mut add.partition_values);
            self.removed.remove(&add.path);
            self.files.insert(add.path.clone(), add);
        }
        if let Some(mut remove) = line.remove {
            remove.partition_values.iter_mut().for_each(nullify);
            self.files.remove(&remove.path);
            if self.keep == Keep::All {
                self.removed.insert(remove.path.clone(), remove);
            }
        }
    }

    /// Applies a row of a checkpoint, in which the order says nothing: a file that it also tells to be removed was so with other
    /// deletion vectors than it has.
    pub(super) fn apply_row(&mut self, line: Line) {
        if line.remove.as_ref().is_none_or(|remove| !self.files.contains_key(&remove.path)) {
            self.apply(line);
        }
    }

    /// Gives files that a checkpoint told of the partition values that are null, and were left out there.
    fn complete_partitions(&mut self) {
        let columns = &self.metadata.partition_columns;
        let complete = |values: &mut BTreeMap<String, Option<String>>| {
            if values.len() < columns.len() {
                columns.iter().for_each(|column| {
                    values.entry(column.clone()).or_default();
                });
            }
        };
        self.files.values_mut().for_each(|add| complete(&mut add.partition_values));
        self.removed.values_mut().filter_map(|remove| remove.partition_values.as_mut()).for_each(complete);
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

/// Whether an object of so many bytes that lists files could be read again.
pub(super) fn is_readable(bytes: usize) -> Result<()> {
    if bytes as u64 <= MOST_COMMIT {
        return Ok(());
    }
    let message = "one version would name more files than can be read again";
    Err(Error::config("write delta log", message)
        .with("bytes", bytes)
        .with("most_bytes", MOST_COMMIT)
        .with_hint("replace less in one enumeration, or load it in larger epochs, whose files are larger and fewer"))
}

/// An empty partition value is a null, by the protocol.
fn nullify(values: &mut BTreeMap<String, Option<String>>) {
    values.values_mut().filter(|value| value.as_deref() == Some("")).for_each(|value| *value = None);
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
        let hint = self.last_checkpoint().await?;
        // Where the log is followed from; from its first version on nothing can be missing.
        let from = known.as_ref().map(|k| k.version).or(hint.as_ref().map(|hint| hint.version));
        let mut snapshot = match (known, hint) {
            (None, Some(hint)) => self.read_checkpoint(&hint, keep).await?,
            (known, _) => self.follow(known, keep).await?,
        };
        // The versions that follow may have been cleaned up: a checkpoint stands for them.
        let last = self.last_checkpoint().await?;
        let ahead = last.filter(|last| snapshot.as_ref().is_none_or(|now| last.version > now.version));
        let behind = match (&snapshot, &ahead, from) {
            (Some(now), None, Some(from)) => self.is_passed_over(from, now.version).await?,
            (Some(_), None, None) => false,
            _ => true,
        };
        if behind {
            let newest = match &ahead {
                Some(last) => self.read_checkpoint(last, keep).await?,
                None => None,
            };
            let known = newest.as_ref().map(|newest| newest.version);
            snapshot = match self.listed().await?.filter(|listed| known.is_none_or(|known| listed.version > known)) {
                // Not "no table": then the first version would be created anew.
                Some(listed) => Some(self.read_checkpoint(&listed, keep).await?.ok_or_else(|| {
                    Error::unavailable("read delta log", "others clean it up all the time").with("table", &self.folder)
                })?),
                None if newest.is_some() => newest,
                None => self.follow(None, keep).await?,
            };
        }
        if let Some(snapshot) = &snapshot {
            features::check_known(snapshot)?;
        }
        Ok(snapshot)
    }

    /// The newest version, with all files that were removed since `time`: read from a version on that is older, whatever checkpoints
    /// have forgotten. `None` if there is no table.
    ///
    /// # Errors
    /// `Config` if the log does not reach so far back; those of [`newest`](Self::newest).
    pub(super) async fn since(&self, time: Timestamp) -> Result<Option<Arc<Snapshot>>> {
        let versions = self.versions().await?;
        // The newest version that is not younger; clocks may go back.
        let older = versions.iter().take_while(|(_, object)| object.modified <= time).last();
        let snapshot = match self.whole_checkpoint(older.map_or(0, |(version, _)| *version)).await? {
            Some(checkpoint) => self.read_checkpoint(&checkpoint, Keep::All).await?,
            None => self.follow(None, Keep::All).await?,
        };
        match &snapshot {
            Some(snapshot) => features::check_known(snapshot)?,
            None if versions.is_empty() => {}
            None => {
                return Err(Error::config(
                    "read delta log",
                    "the log does not tell any more what was removed so long ago",
                )
                .with("table", &self.folder)
                .with("wanted_since", time)
                .with_hint("ask for a shorter time, or keep versions for longer (`delta.logRetentionDuration`)"));
            }
        }
        Ok(snapshot)
    }

    /// From when on the log tells of every file that was made whether it was ever in the table.
    pub(super) async fn told_since(&self, held: &Snapshot) -> Result<Timestamp> {
        if held.begins == 0 {
            return Ok(Timestamp::default());
        }
        let versions = self.versions().await?;
        let first = versions.iter().find(|(version, _)| *version > held.begins);
        Ok(first.map_or(Timestamp::from_micros(i64::MAX), |(_, object)| object.modified))
    }

    /// Whether a reader that followed the log from version `from` to `version` has stopped before a gap, of which the hint need not
    /// tell. Logs are cleaned from their oldest version on, so nothing is missing behind one that is there.
    async fn is_passed_over(&self, from: u64, version: u64) -> Result<bool> {
        if self.store.get(&self.commit_path(from)?, Some(0..1)).await?.is_some() {
            return Ok(false);
        }
        let listed = self.store.list(&self.folder.join("_delta_log")?).await?;
        Ok(listed.iter().filter_map(|object| version_of(&object.path)).any(|number| number > version))
    }

    /// Reads the versions after `known`, until one is absent.
    async fn follow(&self, known: Option<Arc<Snapshot>>, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        let mut next = known.as_ref().map_or(Ok(0), |known| self.after(known.version))?;
        let Some(mut bytes) = self.read_commit(next).await? else { return Ok(known) };
        let mut snapshot = known.map_or_else(|| Snapshot::empty(keep, 0), Arc::unwrap_or_clone);
        loop {
            snapshot.version = next;
            snapshot.apply_commit(&bytes).map_err(|e| e.with("version", next))?;
            next = self.after(next)?;
            match self.read_commit(next).await? {
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

    /// The number of the version after `version`.
    fn after(&self, version: u64) -> Result<u64> {
        version
            .checked_add(1)
            .ok_or_else(|| Error::corrupt("read delta log", "the log has no versions left").with("table", &self.folder))
    }

    async fn read_commit(&self, version: u64) -> Result<Option<Bytes>> {
        self.store.get_small("read delta log", &self.commit_path(version)?, MOST_COMMIT).await
    }

    /// The actions of a version; `None` if it is not there.
    pub(super) async fn commit(&self, version: u64) -> Result<Option<Vec<Line>>> {
        let Some(bytes) = self.read_commit(version).await? else { return Ok(None) };
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

    /// The version of a checkpoint, and those that follow; `None` if it is not there.
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
            let Some(bytes) = self.store.get(&path, None).await? else { return Ok(None) };
            checkpoint::read(bytes, keep, |line| snapshot.apply_row(line)).map_err(|e| e.with("object", &path))?;
        }
        snapshot.complete_partitions();
        self.follow(Some(Arc::new(snapshot)), keep).await
    }

    /// What `_last_checkpoint` says: a hint, and a lower bound of the newest version.
    pub(super) async fn last_checkpoint(&self) -> Result<Option<LastCheckpoint>> {
        let path = self.path("_last_checkpoint")?;
        // What lies behind is cut off, so that it is read as something else, or not at all.
        let Some(bytes) = self.store.get(&path, Some(0..MOST_HINT)).await? else { return Ok(None) };
        // By the protocol it may be anything: then there is no hint. A version has 63 bits, and a checkpoint a part at least.
        let hint: Option<LastCheckpoint> = serde_json::from_slice(&bytes).ok();
        Ok(hint.filter(|hint| i64::try_from(hint.version).is_ok() && hint.parts != Some(0)))
    }

    /// The newest checkpoint that is listed with all of its parts.
    ///
    /// # Errors
    /// `Config` if it is of a kind that is not known here; `Corrupt` if there is none, and the first version is gone.
    async fn listed(&self) -> Result<Option<LastCheckpoint>> {
        let listed = self.store.list(&self.folder.join("_delta_log")?).await?;
        let names: Vec<_> = listed.iter().map(|o| o.path.file_name()).collect();
        let newest = self.checkpoints(&names)?.pop();
        let first = self.commit_path(0)?;
        if newest.is_none() && names.iter().any(|name| name.ends_with(".json")) && !names.contains(&first.file_name()) {
            return Err(Error::corrupt(
                "read delta log",
                "the first version of the log is gone, and there is no checkpoint",
            )
            .with("table", &self.folder)
            .with_hint("restore the folder _delta_log"));
        }
        Ok(newest)
    }

    /// The newest version of at most `limit` that has a checkpoint.
    pub(super) async fn whole_checkpoint(&self, limit: u64) -> Result<Option<LastCheckpoint>> {
        let listed = self.store.list(&self.folder.join("_delta_log")?).await?;
        let names: Vec<_> = listed.iter().map(|o| o.path.file_name()).collect();
        Ok(self.checkpoints(&names)?.into_iter().rfind(|checkpoint| checkpoint.version <= limit))
    }

    /// The checkpoints with all of their parts, in order of their versions.
    fn checkpoints(&self, names: &[&str]) -> Result<Vec<LastCheckpoint>> {
        let mut parts: BTreeMap<(u64, Option<u32>), u32> = BTreeMap::new();
        for (version, rest) in names.iter().filter_map(|name| name.split_once(".checkpoint.")) {
            let Ok(version) = version.parse() else { continue };
            match rest.split('.').collect::<Vec<_>>()[..] {
                ["parquet"] => *parts.entry((version, None)).or_default() += 1,
                [part, of, "parquet"] if part.len() == 10 => {
                    *parts.entry((version, of.parse().ok())).or_default() += 1;
                }
                _ => {
                    return Err(Error::config(
                        "open delta table",
                        "the table uses a feature that this sink does not write",
                    )
                    .with("feature", "v2Checkpoint")
                    .with("table", &self.folder)
                    .with_hint("turn the feature off in the table, or write to a table of its own"));
                }
            }
        }
        let whole = parts.into_iter().filter(|((_, of), found)| of.unwrap_or(1) == *found);
        Ok(whole.map(|((version, parts), _)| LastCheckpoint { version, size: None, parts }).collect())
    }

    /// Writes a version. What it removes was in the table until now, however long ago that was decided.
    pub(super) async fn create(&self, env: &Env, version: u64, lines: Vec<Line>) -> Result<Created> {
        let (mut bytes, now) = (Vec::new(), env.now().as_micros() / 1000);
        for mut line in lines {
            line.remove.iter_mut().for_each(|remove| remove.deletion_timestamp = Some(now));
            serde_json::to_writer(&mut bytes, &line)
                .map_err(|e| Error::bug("write delta log", "an action does not serialise").with_source(e))?;
            bytes.push(b'\n');
        }
        is_readable(bytes.len())?;
        let path = self.commit_path(version)?;
        if on(Defect::CommitsOverwrite) {
            return self.store.put(&path, Bytes::from(bytes)).await.map(|()| Created::New);
        }
        self.store.create(&path, Bytes::from(bytes)).await
    }

    /// Whether version `version`, which was just created, is the newest there can be: not one in the past that was
    /// cleaned up while its writer slept.
    pub(super) async fn is_current(&self, version: u64) -> Result<bool> {
        if self.last_checkpoint().await?.is_some_and(|last| last.version >= version) {
            return Ok(false);
        }
        match version.checked_sub(1) {
            Some(before) => Ok(!self.is_passed_over(before, version).await?),
            None => Ok(true),
        }
    }

    /// Writes the checkpoint of a whole snapshot, and the hint to it.
    pub(super) async fn write_checkpoint(&self, snapshot: &Snapshot, expire_before_millis: i64) -> Result<u64> {
        let version = snapshot.version;
        let (bytes, size) = checkpoint::write(snapshot, expire_before_millis)?;
        self.store.put(&self.path(&format!("{version:020}.checkpoint.parquet"))?, bytes).await?;
        // The hint never goes back.
        if self.last_checkpoint().await?.is_none_or(|last| last.version < version) {
            let hint = LastCheckpoint { version, size: i64::try_from(size).ok(), parts: None };
            let hint = serde_json::to_vec(&hint)
                .map_err(|e| Error::bug("write delta checkpoint", "the hint does not serialise").with_source(e))?;
            self.store.put(&self.path("_last_checkpoint")?, hint.into()).await?;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_written_that_could_not_be_read_again() {
        let most = usize::try_from(MOST_COMMIT).expect("64 bits");
        is_readable(most).expect("it can be read");
        assert_eq!(is_readable(most + 1).expect_err("it cannot").kind(), crate::ErrorKind::Config);
    }
}
