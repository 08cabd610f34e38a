use super::Landing;
use super::manifest::read_versioned;
use super::reader::check_retained;
use crate::checkpoint::{ChainId, CheckpointStore, StoreCheckpoints};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Incarnation, LandingPosition, PipelineName, ShardKey, Timestamp};
use crate::store::{Created, ObjectPath, Store};
use futures::future::try_join;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the landing of a shard must keep: each load that reads it publishes how far it has committed.
///
/// A load that starts over under its name lives anew, with a chain of its own. Of a load the newest life counts: what it needs
/// is kept though an older one was further, and an older one that runs on changes nothing.
///
/// Removal is up to the owner of the landing: see [`LandingWriter::collect`](super::LandingWriter::collect).
#[derive(Clone, Debug)]
pub struct Retention {
    checkpoints: Arc<StoreCheckpoints>,
    id: ChainId,
    store: Store,
    shard: ShardKey,
    folder: ObjectPath,
    env: Env,
}

/// How far a load has committed. Written description: docs/formats.md, "Load progress".
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    format: u32,
    shard: ShardKey,
    load: PipelineName,
    /// The life of the load's chain; `None` if it has not run.
    incarnation: Option<Incarnation>,
    position: LandingPosition,
    /// Whether nothing is kept for it any more.
    released: bool,
    published_at: Timestamp,
}

/// A life of a load that is known; `None` if it has not run. They are numbered from 1, without gaps, so that none can be missed; of
/// a load the last one counts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownLoad {
    format: u32,
    shard: ShardKey,
    load: PipelineName,
    incarnation: Option<Incarnation>,
}

/// The life of a load's chain; `None` if the load has not run.
type Life = Option<Incarnation>;

/// The format of both.
const FORMAT: u32 = 1;
/// Bytes that either may have. Of names of at most 64 characters, numbers and a life it has less than 1 KiB.
const MOST_BYTES: u64 = 64 << 10;

impl Retention {
    /// The retention of the landing of `shard`.
    pub fn new(landing: &Landing, shard: &ShardKey, env: &Env) -> Self {
        let (checkpoints, id) = landing.chain(shard);
        Self {
            checkpoints,
            id,
            store: landing.store.clone(),
            shard: shard.clone(),
            folder: landing.folder("loads", shard),
            env: env.clone(),
        }
    }

    /// Publishes that `load`, with a chain of this `incarnation`, has committed everything before `position`. From the first call on,
    /// what it has not committed is kept, and what an older incarnation has published does not count any more.
    ///
    /// A position lower than the published one changes nothing. Should an older instance of the load write a lower one
    /// at the same time, more is kept than needed, until the next call.
    ///
    /// # Errors
    /// `Corrupt` if the landing does not hold everything from `position` on any more, which includes a new load on a
    /// landing whose beginning is gone. Nothing is published then, and the load must not go on.
    pub async fn publish(
        &self,
        load: &PipelineName,
        incarnation: &Incarnation,
        position: LandingPosition,
    ) -> Result<()> {
        self.advance(load, Some(incarnation.clone()), position).await
    }

    /// Makes a load known that has not run yet: everything is kept for it from now on. Changes nothing for one that is known.
    ///
    /// # Errors
    /// `Corrupt` if the beginning of the landing is gone: a load that is new needs it.
    pub async fn announce(&self, load: &PipelineName) -> Result<()> {
        match self.loads().await?.contains_key(load) {
            true => Ok(()),
            false => self.advance(load, None, LandingPosition { segment: 1, record: 0 }).await,
        }
    }

    /// Forgets `load`, which will not run again: nothing is kept for it any more. A load that is not known stays so.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn release(&self, load: &PipelineName) -> Result<()> {
        let Some(life) = self.loads().await?.remove(load) else { return Ok(()) };
        let position = self.progress(load, &life).await?.map_or(LandingPosition::default(), |held| held.position);
        self.write(load, life, position, true).await
    }

    /// Everything from this position on is kept for a load; `None` if everything is kept because no load, or not
    /// every load, has published how far it is.
    ///
    /// # Errors
    /// `Corrupt` if what a load has published is damaged; `Config` if a newer version of this crate has written it.
    pub async fn retained(&self) -> Result<Option<LandingPosition>> {
        let mut progress = Vec::new();
        for (load, life) in self.loads().await? {
            progress.push(self.progress(&load, &life).await?.map(|p| (!p.released).then_some(p.position)));
        }
        Ok(slowest(progress))
    }

    async fn advance(&self, load: &PipelineName, life: Life, position: LandingPosition) -> Result<()> {
        let (held, boundary) = try_join(self.progress(load, &life), self.checkpoints.boundary(&self.id)).await?;
        check_retained(&self.shard, boundary, position.segment.max(1)).map_err(|e| e.with("load", load))?;
        match held {
            Some(held) if held.position >= position && !held.released => return Ok(()),
            Some(_) => {}
            None => self.register(load, &life).await?,
        }
        self.write(load, life, position, false).await
    }

    fn progress_path(&self, load: &PipelineName, life: &Life) -> Result<ObjectPath> {
        self.folder.join(&match life {
            Some(incarnation) => format!("{load}-{incarnation}.json"),
            None => format!("{load}.json"),
        })
    }

    async fn progress(&self, load: &PipelineName, life: &Life) -> Result<Option<Progress>> {
        let path = self.progress_path(load, life)?;
        let Some(bytes) = self.store.get_small(READ, &path, MOST_BYTES).await? else { return Ok(None) };
        let progress: Progress = read_versioned(READ, &path, &bytes, FORMAT)?;
        if &progress.load != load || &progress.incarnation != life || progress.shard != self.shard {
            return Err(self.foreign(&path));
        }
        Ok(Some(progress))
    }

    async fn write(&self, load: &PipelineName, life: Life, position: LandingPosition, released: bool) -> Result<()> {
        let path = self.progress_path(load, &life)?;
        let published_at = self.env.now();
        let (shard, load) = (self.shard.clone(), load.clone());
        let progress = Progress { format: FORMAT, shard, load, incarnation: life, position, released, published_at };
        self.store.put(&path, to_json(&progress)?.into()).await
    }

    /// All loads that are known, with the newest life of each. Read one by one: a listing may miss one, and its segments would
    /// be lost.
    async fn loads(&self) -> Result<BTreeMap<PipelineName, Life>> {
        let mut loads = BTreeMap::new();
        let mut number = 1;
        while let Some((load, life)) = self.known(number).await? {
            loads.insert(load, life);
            number += 1;
        }
        Ok(loads)
    }

    async fn register(&self, load: &PipelineName, life: &Life) -> Result<()> {
        let mut number = 1;
        loop {
            let mut known = self.known(number).await?;
            let mut created = None;
            if known.is_none() {
                let (shard, load, incarnation) = (self.shard.clone(), load.clone(), life.clone());
                let entry = KnownLoad { format: FORMAT, shard, load, incarnation };
                // Whoever created it: what counts is what is there now.
                created = Some(self.store.create(&self.known_path(number)?, to_json(&entry)?.into()).await?);
                known = self.known(number).await?;
            }
            match known {
                // One that runs is known already: to announce it would take its place.
                Some((known, of)) if &known == load && (&of == life || life.is_none()) => return Ok(()),
                Some(_) => number += 1,
                // Another one was under way, and failed.
                None if created == Some(Created::Exists) => {
                    return Err(Error::unavailable("register load", "another writer was in the way")
                        .with("object", self.known_path(number)?));
                }
                None => {
                    return Err(Error::corrupt("register load", "the store does not give back what was just written")
                        .with("object", self.known_path(number)?));
                }
            }
        }
    }

    fn known_path(&self, number: usize) -> Result<ObjectPath> {
        self.folder.join(&format!("known/{number:06}.json"))
    }

    async fn known(&self, number: usize) -> Result<Option<(PipelineName, Life)>> {
        let path = self.known_path(number)?;
        let Some(bytes) = self.store.get_small(READ, &path, MOST_BYTES).await? else { return Ok(None) };
        let known: KnownLoad = read_versioned(READ, &path, &bytes, FORMAT)?;
        if known.shard != self.shard {
            return Err(self.foreign(&path));
        }
        Ok(Some((known.load, known.incarnation)))
    }

    fn foreign(&self, path: &ObjectPath) -> Error {
        Error::corrupt(READ, "the object belongs to another load or shard")
            .with("object", path)
            .with("shard", &self.shard)
    }
}

/// What is kept for loads of which each has published nothing, or how far it is, or was released: everything from here on, or
/// everything.
pub(crate) fn slowest(progress: impl IntoIterator<Item = Option<Option<LandingPosition>>>) -> Option<LandingPosition> {
    let mut slowest: Option<LandingPosition> = None;
    for published in progress {
        if let Some(position) = published? {
            let further = |s: LandingPosition| {
                if on(Defect::RetentionForgetsTheSlow) { s.max(position) } else { s.min(position) }
            };
            slowest = Some(slowest.map_or(position, further));
        }
    }
    slowest
}

/// The last segment that no load needs, with what is `retained` for loads, and no recovery, which begins at segment `base`; 0 if
/// there is none.
pub(crate) fn removable(retained: Option<LandingPosition>, base: u64) -> u64 {
    retained.map_or(0, |position| position.segment.min(base).saturating_sub(1))
}

const READ: &str = "read load progress";

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::bug("publish load", "progress does not serialise").with_source(e))
}
