use super::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Checkpoints in memory: for tests, and for pipelines whose sink alone decides. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryCheckpoints {
    chains: Arc<Mutex<HashMap<ChainId, Kept>>>,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<u64, Bytes>,
    boundary: u64,
}

impl MemoryCheckpoints {
    fn chains(&self) -> MutexGuard<'_, HashMap<ChainId, Kept>> {
        // Every change below is a single insert or remove: a panic elsewhere leaves nothing half done.
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckpointStore for MemoryCheckpoints {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        let mut chains = self.chains();
        let records = &mut chains.entry(chain.clone()).or_default().records;
        if records.contains_key(&number) {
            return Ok(Created::Exists);
        }
        records.insert(number, record);
        Ok(Created::New)
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        Ok(self.chains().get(chain).and_then(|kept| kept.records.get(&number).cloned()))
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        Ok(self.chains().get(chain).map_or_else(Vec::new, |kept| kept.records.keys().copied().collect()))
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        Ok(self.chains().get(chain).map_or(0, |kept| kept.boundary))
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        let mut chains = self.chains();
        let kept = chains.entry(chain.clone()).or_default();
        kept.boundary = kept.boundary.max(to);
        Ok(())
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        if let Some(kept) = self.chains().get_mut(chain) {
            kept.records.remove(&number);
        }
        Ok(())
    }
    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

#[cfg(test)]
mod tests {
    crate::checkpoint_conformance!((std::sync::Arc::new(super::MemoryCheckpoints::default()), ()));
}
