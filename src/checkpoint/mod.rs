//! Chains of immutable numbered records: the store that keeps them, and the protocol above it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::ErrorKind;
//! use landfall::checkpoint::chain::{Chain, Opened};
//! use landfall::checkpoint::{ChainId, CheckpointStore, MemoryCheckpoints};
//! use landfall::env::Env;
//! use std::sync::Arc;
//!
//! let store: Arc<dyn CheckpointStore> = Arc::new(MemoryCheckpoints::default());
//! let id = ChainId::named("orders/example/0")?;
//! let Opened { chain: mut first, .. } = Chain::open(Arc::clone(&store), id.clone(), Env::system()).await?;
//! let number = first.append("one".into()).await?;
//!
//! // A new owner finds what was written, and shuts the old one out.
//! let Opened { newest_data, .. } = Chain::open(store, id, Env::system()).await?;
//! assert_eq!(newest_data.map(|record| record.number), Some(number));
//! assert_eq!(first.append("two".into()).await.unwrap_err().kind(), ErrorKind::Fenced);
//! # Ok(())
//! # }
//! ```

pub mod chain;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod memory;
mod objects;
mod record;

pub use memory::MemoryCheckpoints;
pub use objects::StoreCheckpoints;
pub use record::{Record, RecordKind};

use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::{self, Debug};
use std::sync::Arc;

/// Names a chain within a store: `<pipeline>/<role>/<shard>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(String);

impl ChainId {
    /// The chain of checkpoints of a shard.
    pub fn checkpoints(shard: &ShardKey) -> Self {
        Self(format!("{}/checkpoints/{:04}", shard.pipeline, shard.shard))
    }

    /// The chain of landed segments of a shard.
    pub fn segments(shard: &ShardKey) -> Self {
        Self(format!("{}/segments/{:04}", shard.pipeline, shard.shard))
    }

    /// Any other chain.
    ///
    /// # Errors
    /// `Config` if `name` is not a valid object name.
    pub fn named(name: &str) -> Result<Self> {
        let path = ObjectPath::parse(name)?;
        if path.as_str().is_empty() {
            return Err(Error::config("name chain", "a chain's name is not empty"));
        }
        Ok(Self(path.as_str().to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keeps chains of immutable numbered records. Only this primitive: fencing, ambiguity and recovery are the protocol's
/// (see [`chain`]), the same above every store.
///
/// # Guarantees (of an implementation)
/// 1. *Create if absent*: of any number of `create` calls for a number, at most one has effect, and its record is
///    never replaced.
/// 2. *Durable*: what `create` and `advance_boundary` answered survives a power loss.
/// 3. *Strong reads*: `read` and `boundary` see each write and removal that was completed before, whichever process made it.
/// 4. *Monotone boundary*: `boundary` never goes back, whoever advances it, and is never deleted.
/// 5. *Hint*: `numbers` may miss records that exist; it names none that never existed.
///
/// # Errors
/// `Unavailable` (transient) if nothing happened; `Ambiguous` if it may have happened. What cannot be read is an error, and
/// never `None` or 0: who was shut out would go on. `create` may also answer [`Created::Exists`] for its own earlier try, or for
/// a write that was refused: the protocol reads back and compares. `advance_boundary` and `remove` are done again whatever came of
/// them, so `Unavailable` of these may be in doubt.
///
/// A call that fails transiently or in doubt is made again by landfall, up to eight times within some three seconds: an
/// implementation need not. One that has waited longer by itself, for a server that restarts, says so by
/// [`Status::Exhausted`](crate::error::Status::Exhausted), which is final.
///
/// # Cancellation
/// Every method may be dropped at any await; the effect may then have happened or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep the checkpoints",
    label = "it does not implement `CheckpointStore`",
    note = "use `StoreCheckpoints` over an object store, or `MemoryCheckpoints` in a test"
)]
#[async_trait]
pub trait CheckpointStore: Send + Sync + Debug + 'static {
    /// Writes record `number` (from 1) if there is none. Most have a few KiB; one that names very many files has up to 32 MiB and 17 KiB.
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created>;

    /// Reads record `number`; `None` if there is none.
    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>>;

    /// The numbers that are known to exist, in ascending order: a hint.
    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>>;

    /// The low boundary: records up to this number may be gone, and creating one of them does not count. 0 at first.
    async fn boundary(&self, chain: &ChainId) -> Result<u64>;

    /// Moves the boundary up to at least `to`.
    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()>;

    /// Deletes record `number`, which lies at or below the boundary. It is no error if it is gone.
    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()>;

    /// A store and a folder for objects beside the chains (the states of stages), if it has such a place.
    fn objects(&self) -> Option<(Store, ObjectPath)>;
}

/// Forwards to what a pointer points to, whatever store it is.
macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: CheckpointStore + ?Sized> CheckpointStore for $pointer<S> {
            async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
                (**self).create(chain, number, record).await
            }
            async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
                (**self).read(chain, number).await
            }
            async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
                (**self).numbers(chain).await
            }
            async fn boundary(&self, chain: &ChainId) -> Result<u64> {
                (**self).boundary(chain).await
            }
            async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
                (**self).advance_boundary(chain, to).await
            }
            async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
                (**self).remove(chain, number).await
            }
            fn objects(&self) -> Option<(Store, ObjectPath)> {
                (**self).objects()
            }
        }
    )*};
}

forward!(Arc, Box);
