#[cfg(test)]
mod tests;

use super::record::{FRAME, WAY_OUT, check_format, seal, stored_len, unseal};
use super::{ChainId, CheckpointStore};
use crate::error::{Error, Result};
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Checkpoints as objects of a [`Store`], in folder `prefix`. Layout: docs/formats.md, "Chain". Cheap to clone.
///
/// The boundary is kept in numbered *steps*, each written once, so that it needs no compare-and-swap. The newest step is
/// found by reading alone, without trust in a listing or in what was seen before, however long a reader was paused.
#[derive(Clone, Debug)]
pub struct StoreCheckpoints {
    store: Store,
    prefix: ObjectPath,
    /// A step of each chain that was seen to exist: where the search begins.
    seen: Arc<Mutex<HashMap<ChainId, Step>>>,
}

/// A step of the boundary.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    number: u64,
    boundary: u64,
}

/// A step as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStep {
    format: String,
    chain: String,
    step: u64,
    boundary: u64,
}

impl StoreCheckpoints {
    /// Keeps chains in folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn new(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self { store: store.clone(), prefix: ObjectPath::parse(prefix)?, seen: Arc::default() })
    }

    /// The store that holds the chains.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The folder that holds the chains.
    pub fn prefix(&self) -> &ObjectPath {
        &self.prefix
    }

    fn folder(&self, chain: &ChainId) -> Result<ObjectPath> {
        self.prefix.join(chain.as_str())
    }

    fn record(&self, chain: &ChainId, number: u64) -> Result<ObjectPath> {
        self.folder(chain)?.join(&format!("{number:020}.rec"))
    }

    fn step(&self, chain: &ChainId, number: u64) -> Result<ObjectPath> {
        self.folder(chain)?.join(&format!("boundary/{number:020}"))
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<ChainId, Step>> {
        // Entries are replaced whole: a panic elsewhere leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_step(&self, chain: &ChainId, number: u64) -> Result<Option<Step>> {
        let path = self.step(chain, number)?;
        let Some(bytes) = self.store.get_small(BOUNDARY, &path, MOST_STEP).await? else { return Ok(None) };
        let corrupt = |message| Error::corrupt(BOUNDARY, message).with("object", &path).with_hint(WAY_OUT);
        let body = unseal(&bytes).ok_or_else(|| corrupt("the boundary is damaged: its checksum does not fit"))?;
        let stored: StoredStep =
            serde_json::from_slice(body).map_err(|e| corrupt("the boundary is unreadable").with_source(e))?;
        let newer = || Error::config(BOUNDARY, "the boundary has a newer format").with("object", &path);
        check_format(&stored.format, FORMAT, VERSION, newer, || corrupt("the boundary has an unknown format"))?;
        if stored.chain != chain.as_str() || stored.step != number {
            return Err(corrupt("the boundary was written for another place"));
        }
        if number > LAST_STEP {
            return Err(corrupt("the boundary has no numbers left"));
        }
        Ok(Some(Step { number, boundary: stored.boundary }))
    }

    /// The newest step as of some moment after the call.
    ///
    /// Steps are created without gaps, and any step that exists is at most the newest. Beyond step `s` the next one
    /// (`s + 1`) and then the next anchor (a multiple of `KEPT`) are looked for, in this order. If `s + 1` is absent it was
    /// never created, or it was deleted, and then `KEPT` more steps had been created and an anchor among them, which is
    /// never deleted. So if both are absent, `s` was the newest when the first was looked for. A paused creator may put a
    /// deleted step back; it then exists and is not the newest, which harms nothing.
    async fn newest_step(&self, chain: &ChainId) -> Result<Step> {
        let start = self.seen().get(chain).copied();
        let mut newest = match start {
            Some(step) => step,
            None => self.listed_step(chain).await?.unwrap_or_default(),
        };
        loop {
            let anchor = (newest.number / KEPT + 1) * KEPT;
            if let Some(step) = self.read_step(chain, newest.number + 1).await? {
                newest = step;
            } else if let Some(step) = self.read_step(chain, anchor).await? {
                // Far behind: a listing saves the steps between, where it is any good.
                newest = self.listed_step(chain).await?.filter(|s| s.number > step.number).unwrap_or(step);
            } else {
                break;
            }
        }
        let mut seen = self.seen();
        let step = seen.entry(chain.clone()).or_default();
        if step.number < newest.number {
            *step = newest;
        }
        Ok(newest)
    }

    /// The highest step that a listing names and that is there.
    async fn listed_step(&self, chain: &ChainId) -> Result<Option<Step>> {
        let listed = self.store.list(&self.folder(chain)?.join("boundary")?).await?;
        match listed.iter().filter_map(|o| o.path.file_name().parse().ok()).max() {
            Some(number) => self.read_step(chain, number).await,
            None => Ok(None),
        }
    }
}

#[async_trait]
impl CheckpointStore for StoreCheckpoints {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        self.store.create(&self.record(chain, number)?, record).await
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        let path = self.record(chain, number)?;
        let Some(bytes) = self.store.get(&path, Some(0..AT_ONCE + 1)).await? else { return Ok(None) };
        if bytes.len() as u64 <= AT_ONCE {
            return Ok(Some(bytes));
        }
        // One that begins otherwise than a record is too long already.
        let most = stored_len(&bytes).unwrap_or(AT_ONCE);
        drop(bytes);
        self.store.get_small("read chain record", &path, most).await
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        let folder = self.folder(chain)?;
        let number = |path: &ObjectPath| {
            let name = path.as_str().strip_prefix(folder.as_str())?.trim_start_matches('/').strip_suffix(".rec")?;
            (name.len() == 20).then(|| name.parse().ok()).flatten()
        };
        Ok(self.store.list(&folder).await?.iter().filter_map(|o| number(&o.path)).collect())
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        Ok(self.newest_step(chain).await?.boundary)
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        for _ in 0..TRIES {
            // Read again after every create, whatever it answered: a step created in a place that was emptied does not count.
            let newest = self.newest_step(chain).await?;
            if newest.boundary >= to {
                return Ok(());
            }
            let number = newest.number + 1;
            let step = StoredStep {
                format: format!("{FORMAT}{VERSION}"),
                chain: chain.to_string(),
                step: number,
                boundary: to,
            };
            let mut bytes = serde_json::to_vec(&step)
                .map_err(|e| Error::bug(BOUNDARY, "the boundary cannot be written").with_source(e))?;
            seal(&mut bytes);
            if self.store.create(&self.step(chain, number)?, bytes.into()).await? == Created::New {
                if let Some(old) = number.checked_sub(KEPT).filter(|old| old % KEPT != 0) {
                    self.store.delete(&self.step(chain, old)?).await?;
                }
            }
        }
        Err(Error::unavailable(BOUNDARY, "the store refuses to write the boundary").with("chain", chain))
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        self.store.delete(&self.record(chain, number)?).await
    }
    fn objects(&self) -> Option<(Store, ObjectPath)> {
        Some((self.store.clone(), self.prefix.clone()))
    }
}

/// Bytes of a record that are asked for at first. A checkpoint has no more; a segment may have, and says in its first line how many.
const AT_ONCE: u64 = (32 << 20) + FRAME;
/// A step says less than the first line of a record of its chain.
const MOST_STEP: u64 = FRAME;
/// After it there is no next anchor.
const LAST_STEP: u64 = u64::MAX - KEPT;
const BOUNDARY: &str = "read boundary";
const FORMAT: &str = "landfall-boundary/";
const VERSION: u64 = 1;
/// How many steps of the boundary are kept; every one whose number is a multiple of it is kept for ever.
const KEPT: u64 = 256;
const TRIES: u32 = 16;
