//! Any store of the crate [`object_store`] as a [`Store`]: S3, Azure, Google Cloud and what others have written.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::connectors::object_store::object_store;
//! use landfall::env::Env;
//! use landfall::store::{ObjectPath, Store, probe};
//! use std::sync::Arc;
//!
//! let bucket = object_store::memory::InMemory::new();
//! let store = Store::from_object_store(Arc::new(bucket));
//! probe(&store, &ObjectPath::parse("state")?, &Env::system()).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod fault;
#[cfg(test)]
mod tests;
mod upload;

pub use ::object_store;

use self::access::ObjectStoreAccess;
use crate::store::Store;
use object_store::ObjectStore;
use std::sync::Arc;

impl Store {
    /// Objects in `objects`, which is as durable as that is. For local files use [`Store::local`]: the crate's own
    /// `LocalFileSystem` does not sync them.
    ///
    /// Conditional puts must be on (for S3: `S3ConditionalPut::ETagMatch`, the default), and a bucket should have a rule that
    /// ends uploads which were begun and never finished, after a few days: a process that dies leaves such parts, unseen
    /// but paid for. A rename is a copy and a delete: on S3 of at most 5 GiB.
    ///
    /// An upload holds at most 40 MiB in memory: parts of 8 MiB, four of them on their way.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>) -> Self {
        Self::new(ObjectStoreAccess::new(objects))
    }
}
