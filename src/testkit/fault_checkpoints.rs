use super::{Effect, Faults};
use crate::checkpoint::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// A checkpoint store of which every operation is an I/O point of a [`Faults`], the objects beside it included.
/// [`StoreCheckpoints`](crate::checkpoint::StoreCheckpoints) need none: let them work on [`Faults::store`].
#[derive(Debug)]
pub struct FaultCheckpoints<C> {
    checkpoints: Arc<C>,
    faults: Faults,
}

impl<C> FaultCheckpoints<C> {
    /// `checkpoints` as the process of `faults` reaches them.
    pub fn new(checkpoints: C, faults: &Faults) -> Self {
        Self { checkpoints: Arc::new(checkpoints), faults: faults.clone() }
    }
}

impl<C> Clone for FaultCheckpoints<C> {
    fn clone(&self) -> Self {
        Self { checkpoints: Arc::clone(&self.checkpoints), faults: self.faults.clone() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: CheckpointStore> CheckpointStore for FaultCheckpoints<C> {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        let pass = self.faults.enter("create record", number.to_string(), Effect::Create).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        let (checkpoints, chain) = (Arc::clone(&self.checkpoints), chain.clone());
        pass.create(async move { checkpoints.create(&chain, number, record).await }).await
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        self.faults.read_point("read record", number, self.checkpoints.read(chain, number)).await
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        self.faults.read_point("list records", chain, self.checkpoints.numbers(chain)).await
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        self.faults.read_point("read boundary", chain, self.checkpoints.boundary(chain)).await
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        self.faults.point("advance boundary", to, self.checkpoints.advance_boundary(chain, to)).await
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        let pass = self.faults.enter("remove record", number.to_string(), Effect::Delete).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        let (checkpoints, chain) = (Arc::clone(&self.checkpoints), chain.clone());
        pass.write(async move { checkpoints.remove(&chain, number).await }).await
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        let (store, folder) = self.checkpoints.objects()?;
        Some((self.faults.store(&store), folder))
    }
}
