//! The protocol above a [`CheckpointStore`](super::CheckpointStore): ownership by fences, create with doubt resolved,
//! collection that cannot un-fence. Decisions are pure functions.

use super::{ChainId, CheckpointStore, Record};
use crate::env::Env;
use crate::error::Result;
use crate::model::Incarnation;
use bytes::Bytes;
use std::sync::Arc;

/// A chain that this process owns until somebody fences it out.
#[derive(Debug)]
pub struct Chain {
    _store: Arc<dyn CheckpointStore>,
}

/// What [`Chain::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The chain, owned.
    pub chain: Chain,
    /// The newest data record, if there is any.
    pub newest_data: Option<Record>,
}

impl Chain {
    /// Takes the chain over: walks to its end and writes a fence with a higher generation.
    ///
    /// # Errors
    /// `Corrupt` if the chain is damaged; `Fenced` if another owner takes it at the same time; `Ambiguous` if the
    /// store's answers leave it open who won.
    pub async fn open(_store: Arc<dyn CheckpointStore>, _id: ChainId, _env: Env) -> Result<Opened> {
        todo!()
    }

    /// Writes the next data record; returns its number. After an error the chain must be dropped and opened anew.
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over; `Ambiguous` if the store's answers leave the outcome open.
    pub async fn append(&mut self, _payload: Bytes) -> Result<u64> {
        todo!()
    }

    /// The number that the next record will have.
    pub fn next_number(&self) -> u64 {
        todo!()
    }

    /// This owner's generation.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// The life of the chain.
    pub fn incarnation(&self) -> &Incarnation {
        todo!()
    }

    /// Reads a data or fence record of this chain.
    ///
    /// # Errors
    /// `Corrupt` if a record above the boundary is missing or damaged.
    pub async fn read(&self, _number: u64) -> Result<Record> {
        todo!()
    }

    /// Deletes records up to `through`, but never the newest data record or what follows it: the boundary first,
    /// then the records, oldest first. Returns how many were deleted.
    pub async fn collect(&self, _through: u64) -> Result<u64> {
        todo!()
    }
}

/// Reads a chain without owning it.
#[derive(Clone, Debug)]
pub struct ChainReader {
    _store: Arc<dyn CheckpointStore>,
}

impl ChainReader {
    /// A reader of chain `id`.
    pub fn new(store: Arc<dyn CheckpointStore>, _id: ChainId) -> Self {
        Self { _store: store }
    }

    /// Record `number`, verified; `None` if it is not written yet.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, or was collected (at or below the boundary).
    pub async fn read(&self, _number: u64) -> Result<Option<Record>> {
        todo!()
    }

    /// The newest record: follows the hint to the end. `None` if the chain is empty.
    pub async fn newest(&self) -> Result<Option<Record>> {
        todo!()
    }
}

/// Checks that a store keeps conditions: creates a scratch record twice and expects the second to be refused.
///
/// # Errors
/// `Config` if the store ignores them: no guarantee would hold on it.
pub async fn probe(_store: &dyn CheckpointStore, _env: &Env) -> Result<()> {
    todo!()
}
