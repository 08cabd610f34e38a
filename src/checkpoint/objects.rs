use super::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;

/// Checkpoints as objects of a [`Store`], in folder `prefix`. Layout: docs/formats.md, "Chain".
#[derive(Clone, Debug)]
pub struct StoreCheckpoints {
    _store: Store,
    _prefix: ObjectPath,
}

impl StoreCheckpoints {
    /// Keeps chains in folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn new(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self { _store: store.clone(), _prefix: ObjectPath::parse(prefix)? })
    }
}

#[async_trait]
impl CheckpointStore for StoreCheckpoints {
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
        Some((self._store.clone(), self._prefix.clone()))
    }
}
