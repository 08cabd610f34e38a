use super::access::Access;
use super::decide::collection_limit;
use crate::checkpoint::{ChainId, CheckpointStore, Record};
use crate::env::Env;
use crate::error::Result;
use std::sync::Arc;

/// Reads a chain without owning it.
#[derive(Clone, Debug)]
pub struct ChainReader {
    access: Access,
}

impl ChainReader {
    /// A reader of chain `id`. It tries nothing again, and verifies records where it reads them; see
    /// [`with_env`](Self::with_env).
    pub fn new(store: Arc<dyn CheckpointStore>, id: ChainId) -> Self {
        Self { access: Access { store, id, env: None } }
    }

    /// Tries again after passing failures, and verifies records beside the I/O: for large records.
    #[must_use]
    pub fn with_env(mut self, env: &Env) -> Self {
        self.access.env = Some(env.clone());
        self
    }

    /// Record `number`, verified; `None` if it is not written yet.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, or was collected (at or below the boundary).
    pub async fn read(&self, number: u64) -> Result<Option<Record>> {
        self.access.read(number).await
    }

    /// The newest record: follows the hint to the end. `None` if the chain is empty.
    ///
    /// # Errors
    /// `Corrupt` if the chain is damaged.
    pub async fn newest(&self) -> Result<Option<Record>> {
        Ok(self.access.find_head().await?.map(|head| head.record))
    }

    /// Deletes records up to `through`, as [`Chain::collect`](super::Chain::collect) does: safe beside the owner, as the boundary is
    /// advanced first, and the newest data record that was found, with all that follow it, stays.
    ///
    /// # Errors
    /// The store's; `Corrupt` if the chain is damaged.
    ///
    /// # Cancellation
    /// May be dropped at any await: call it again.
    pub async fn collect(&self, through: u64) -> Result<u64> {
        let newest = self.newest_data().await?.map(|record| record.number);
        self.access.collect(through, newest, true).await
    }

    /// The number of the last record that [`collect`](Self::collect) would delete; 0 if there is none.
    ///
    /// # Errors
    /// As `collect`.
    pub async fn collectable(&self, through: u64) -> Result<u64> {
        let newest = self.newest_data().await?.map(|record| record.number);
        Ok(collection_limit(through, newest, self.access.boundary().await?))
    }

    /// The newest data record; `None` if there is none.
    ///
    /// # Errors
    /// `Corrupt` if the chain is damaged.
    pub async fn newest_data(&self) -> Result<Option<Record>> {
        Ok(self.access.find_head_and_data().await?.1)
    }
}
