use super::Faults;
use crate::checkpoint::{ChainId, CheckpointStore};
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;

/// A checkpoint store of which every operation is an I/O point of a [`Faults`], the objects beside it included.
/// [`StoreCheckpoints`](crate::checkpoint::StoreCheckpoints) need none: let them work on [`Faults::store`].
#[derive(Clone, Debug)]
pub struct FaultCheckpoints<C> {
    checkpoints: C,
    faults: Faults,
}

impl<C> FaultCheckpoints<C> {
    /// `checkpoints` as the process of `faults` reaches them.
    pub fn new(checkpoints: C, faults: &Faults) -> Self {
        Self { checkpoints, faults: faults.clone() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: CheckpointStore> CheckpointStore for FaultCheckpoints<C> {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        self.faults.point("create record", number, self.checkpoints.create(chain, number, record)).await
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
        self.faults.point("remove record", number, self.checkpoints.remove(chain, number)).await
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        let (store, folder) = self.checkpoints.objects()?;
        Some((self.faults.store(&store), folder))
    }
}
