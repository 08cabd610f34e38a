use super::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;

/// Checkpoints in memory: for tests, and for pipelines whose sink alone decides. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryCheckpoints {}

#[async_trait]
impl CheckpointStore for MemoryCheckpoints {
    async fn create(&self, _chain: &ChainId, _number: u64, _record: Bytes) -> Result<Created> {
        todo!()
    }
    async fn read(&self, _chain: &ChainId, _number: u64) -> Result<Option<Bytes>> {
        todo!()
    }
    async fn numbers(&self, _chain: &ChainId) -> Result<Vec<u64>> {
        todo!()
    }
    async fn boundary(&self, _chain: &ChainId) -> Result<u64> {
        todo!()
    }
    async fn advance_boundary(&self, _chain: &ChainId, _to: u64) -> Result<()> {
        todo!()
    }
    async fn remove(&self, _chain: &ChainId, _number: u64) -> Result<()> {
        todo!()
    }
    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}
