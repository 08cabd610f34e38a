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
//!
//! # What comes of a request
//!
//! The client sends a request again by itself, with growing pauses: after 5xx, 408 and 429, after an error in the body of a 200 that
//! says `InternalError` or `SlowDown`, after a connection that could not be made; not after a timeout of a create. So an answer
//! is that of the last try, and an earlier one may have had its effect. What this crate makes of the last answer:
//!
//! | answer | read, list | create | put, upload's end, rename, delete |
//! |---|---|---|---|
//! | 2xx | the answer | `New` | done |
//! | 404, there is no such object | `None` | | `false` (rename), done (delete) |
//! | 404, there is no such bucket or container | `Config` | `Config` | `Config` |
//! | 404, there is no such upload | | | its end: `Ambiguous`, an earlier try may have finished it; a part: `Unavailable` |
//! | 412, 409 (`ConditionalRequestConflict`, `BlobAlreadyExists`) | | `Exists`: read back, it may be one's own, or nobody's | `Unavailable` |
//! | 401, 403, `ExpiredToken`, `InvalidToken` | `Auth`, permanent | `Auth` | `Auth` |
//! | `RequestTimeTooSkewed` | `Auth`: the clock is wrong | `Auth` | `Auth` |
//! | no credentials, and the machine's service gives none | `Auth`, transient | `Auth`, transient | `Auth`, transient |
//! | 301, `AuthorizationHeaderMalformed` | `Config`: another region | `Config` | `Config` |
//! | other 4xx, 501 | `Config` | `Config` | `Config` |
//! | any of the last five after an earlier try, but 501 | as above | `Ambiguous` | `Ambiguous` |
//! | 400 `RequestTimeout`, `IncompleteBody`, `BadDigest` | `Unavailable` | `Ambiguous` | `Ambiguous` |
//! | 429, 5xx (`SlowDown`), timeout, cut connection, at last | `Unavailable` | `Ambiguous` | `Ambiguous` |
//! | 200 with an error in the body | | | upload's end: `Ambiguous`; copy of a rename: noticed, nothing is deleted; delete: as the error says |
//!
//! `Unavailable` is transient: nothing happened, and trying again may help. `Ambiguous` is not: the caller reads back, or stops.

mod access;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
mod bucket;
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
    /// ends uploads which were begun and never finished, after a few days: uploads that fail are cleared away, but a process
    /// that dies leaves parts, unseen but paid for. A rename is a copy and a delete: on S3 of at most 5 GiB.
    ///
    /// An upload holds at most 40 MiB in memory: parts of 8 MiB, four of them on their way. An object of more than 31 GiB is
    /// sent in parts that grow, one at a time, so that 10,000 hold 5 TiB: then two parts are in memory.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>) -> Self {
        Self::new(ObjectStoreAccess::new(objects))
    }
}
