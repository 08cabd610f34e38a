//! The states of the stages, kept as immutable objects beside the chain and named in the checkpoints.

use super::epoch::{StateRef, sha256};
use super::erased::AnyStage;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use std::collections::HashSet;

/// Where the states of the stages of a shard are kept.
#[derive(Clone, Debug)]
pub(super) struct StateObjects {
    store: Store,
    folder: ObjectPath,
}

/// Parts of one stage's state before they are replaced by a new base.
const MAX_PARTS: usize = 16;

impl StateObjects {
    pub(super) fn new(store: &Store, prefix: &ObjectPath, shard: &ShardKey) -> Result<Self> {
        let folder = prefix.join(&format!("{}/state/{:04}", shard.pipeline, shard.shard))?;
        Ok(Self { store: store.clone(), folder })
    }

    async fn read(&self, reference: &StateRef) -> Result<Bytes> {
        let damaged = |what: &'static str| {
            Error::corrupt("restore state", what)
                .with("object", &reference.path)
                .with_hint("restore it from a backup; or load the landing again under this name, with a new folder of checkpoints and an empty destination")
        };
        let path = self.folder.join(&reference.path)?;
        // As much of it as was written: of what is larger, enough to notice.
        let bytes = self.store.get(&path, Some(0..reference.bytes.saturating_add(1))).await?;
        let bytes = bytes.ok_or_else(|| damaged("a part of a stage's state is missing"))?;
        if sha256(&bytes) != reference.sha256 {
            return Err(damaged("a part of a stage's state is damaged"));
        }
        Ok(bytes)
    }

    /// Writes what the stages learned in epoch `number`; returns the parts to name in its checkpoint.
    pub(super) async fn save(
        &self,
        stages: impl Iterator<Item = &mut Box<dyn AnyStage>>,
        refs: &[StateRef],
        number: u64,
    ) -> Result<Vec<StateRef>> {
        let mut saved = Vec::new();
        for stage in stages {
            let name = stage.name().to_owned();
            let Some(state) = stage.state() else { continue };
            let mut parts: Vec<StateRef> = refs.iter().filter(|r| r.stage == name).cloned().collect();
            let learned = if parts.len() < MAX_PARTS {
                state.delta()?
            } else {
                parts.clear();
                Some(state.base()?)
            };
            if let Some(bytes) = learned {
                let sha256 = sha256(&bytes);
                let path = format!("{}/{number:020}-{}", ObjectPath::encode(&name), &sha256[..16]);
                let size = bytes.len() as u64;
                self.store.put(&self.folder.join(&path)?, bytes).await?;
                parts.push(StateRef { stage: name, path, sha256, bytes: size });
            }
            saved.extend(parts);
        }
        Ok(saved)
    }

    /// Deletes parts of epochs up to `newest` that the newest checkpoint does not name.
    pub(super) async fn collect(&self, keep: &[StateRef], newest: u64) -> Result<u64> {
        let keep: Vec<ObjectPath> = keep.iter().map(|r| self.folder.join(&r.path)).collect::<Result<_>>()?;
        let mut deleted = 0;
        for object in self.store.list(&self.folder).await? {
            let number = object.path.file_name().split('-').next().and_then(|n| n.parse::<u64>().ok());
            if number.is_some_and(|n| n <= newest) && !keep.contains(&object.path) {
                self.store.delete(&object.path).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Checks that every state has a stage that takes it up: what no stage takes would be forgotten in silence.
pub(super) fn check<'a>(stages: impl Iterator<Item = &'a mut Box<dyn AnyStage>>, refs: &[StateRef]) -> Result<()> {
    let remember: HashSet<String> =
        stages.filter_map(|stage| stage.state().is_some().then(|| stage.name().to_owned())).collect();
    match refs.iter().find(|reference| !remember.contains(&reference.stage)) {
        Some(lost) => Err(Error::config("restore state", "no stage of the pipeline takes up a state that was kept")
            .with("stage", &lost.stage)
            .with_hint(
                "put the stage back under this name, or start over under a new pipeline name with an empty destination",
            )),
        None => Ok(()),
    }
}

/// Gives each stage the state that a checkpoint names; without state objects, every stage begins afresh.
pub(super) async fn restore(
    objects: Option<&StateObjects>,
    stages: impl Iterator<Item = &mut Box<dyn AnyStage>>,
    refs: &[StateRef],
) -> Result<()> {
    for stage in stages {
        let name = stage.name().to_owned();
        let mut parts = Vec::new();
        if let Some(objects) = objects {
            for reference in refs.iter().filter(|r| r.stage == name) {
                parts.push(objects.read(reference).await?);
            }
        }
        if let Some(state) = stage.state() {
            state.restore(parts).map_err(|e| e.with("stage", name))?;
        }
    }
    Ok(())
}
