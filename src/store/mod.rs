//! A flat namespace of named objects: what landing, checkpoints, state, quarantine and datasets are kept in.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::store::{Created, ObjectPath, Store};
//!
//! let store = Store::memory(); // or `Store::local(folder)?`, or any object store
//! let name = ObjectPath::parse("state/1")?;
//! assert_eq!(store.create(&name, "mine".into()).await?, Created::New);
//! assert_eq!(store.create(&name, "yours".into()).await?, Created::Exists);
//! assert_eq!(store.get(&name, None).await?, Some("mine".into()));
//! # Ok(())
//! # }
//! ```

#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
pub(crate) mod local;
mod memory;
mod path;
mod probe;
mod uri;

pub use local::LocalStore;
pub use memory::MemoryStore;
pub use path::ObjectPath;
pub use probe::probe;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
pub(crate) use uri::{Bucket, Cloud};

use crate::error::{Error, Result};
use crate::model::Timestamp;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;
use uri::Place;

/// What came of a create-if-absent, as the store answered it. The answer may be wrong: see
/// [`chain`](crate::checkpoint::chain), where one function decides by reading back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object was absent and is there now, durably.
    New,
    /// An object of that name was there (perhaps from an earlier try of the same request).
    Exists,
}

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub path: ObjectPath,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A flat namespace of named, immutable objects.
///
/// # Guarantees (of an implementation)
/// 1. *Durable*: what `create`, `put`, `finish` or `rename` answered survives a power loss.
/// 2. *Whole*: an object is seen with all of its bytes or not at all.
/// 3. *Exclusive*: of any number of concurrent `create` calls for a name, at most one has effect.
/// 4. *Strong reads*: `get` after a completed write sees it.
/// 5. *Hints*: `list` may be behind. No step of the protocol depends on it being complete.
///
/// # Requires
/// 1. An object's name is not the root, and not the folder of another object: no `a` beside `a/b`.
///
/// # Errors
/// `Unavailable` (transient) if nothing happened; `Ambiguous` if it may have happened. `create` may also answer
/// [`Created::Exists`] for its own earlier try, and where another writer was under way and then failed: read back.
/// `Config` or `Auth` where trying again does not help.
///
/// # Cancellation
/// Every method may be dropped at any await; the effect may then have happened or not.
#[async_trait]
pub trait ObjectAccess: Send + Sync + Debug + 'static {
    /// Writes an object if there is none of that name.
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created>;

    /// Writes an object, replacing one that is there.
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()>;

    /// Starts to write a large object, which is seen only after `finish`, and then replaces one that is there.
    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>>;

    /// Reads an object, or a range of it; `None` if there is none. What lies behind the object's end is not answered: a
    /// range may give fewer bytes, or none.
    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>>;

    /// The objects whose names start with the folder `prefix`, in order of their names.
    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>>;

    /// Gives an object another name, replacing one that is there. `false` if there is no object `from`: perhaps an earlier
    /// try has moved it. A crash may leave the object under both names, never under none.
    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool>;

    /// Deletes an object; it is no error if there is none.
    async fn delete(&self, path: &ObjectPath) -> Result<()>;
}

/// Writes one large object. Dropped before `finish`, it leaves nothing that a reader sees.
#[async_trait]
pub trait Upload: Send {
    /// Adds bytes. After an error, or if it was dropped before it was done, the upload cannot be finished.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object durable and visible; returns its size.
    async fn finish(self: Box<Self>) -> Result<u64>;
}

/// A shared handle to any [`ObjectAccess`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn ObjectAccess>);

impl Store {
    /// A handle to `access`.
    pub fn new(access: impl ObjectAccess) -> Self {
        Self(Arc::new(access))
    }

    /// Objects in memory: for tests.
    pub fn memory() -> Self {
        Self::new(MemoryStore::default())
    }

    /// The store at a place that is given as text, as in a configuration. It is opened, and not yet asked anything:
    /// [`probe()`] shows whether it can be used.
    ///
    /// | place | what it is | feature | settings and credentials |
    /// |---|---|---|---|
    /// | `path`, `file:///path` | a folder (in the URI `%20` is a space) | | |
    /// | `memory://` | empty, and different in each call | | |
    /// | `s3://bucket/folder` | S3, or what speaks its protocol | `s3` | `AWS_…` of the environment |
    /// | `az://container/folder`, `abfss://container@account.dfs.core.windows.net/folder` | Azure Blob Storage | `azure` | `AZURE_…` |
    /// | `gs://bucket/folder` | Google Cloud Storage | `gcs` | `GOOGLE_…` |
    ///
    /// The folder is optional, and all names are below it. The variables are those of the crate `object_store`, listed in
    /// `docs/stores.md`; credentials that expire are renewed where the environment gives a way to (an instance's role, a web
    /// identity). The files of the AWS command line (`~/.aws`) are not read.
    ///
    /// # Errors
    /// `Config` if `uri` is none of these, if this build has no client for it, if the environment lacks or garbles what the
    /// client needs, or if the folder cannot be made or written. No error holds a credential.
    pub fn from_uri(uri: &str) -> Result<Self> {
        match Place::parse(uri)? {
            Place::Folder(folder) => Self::local(folder),
            Place::Memory => Ok(Self::memory()),
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            Place::Bucket(bucket) => Self::in_bucket(&bucket),
            #[cfg(not(any(feature = "azure", feature = "gcs", feature = "s3")))]
            Place::Bucket(bucket) => Err(bucket.not_built_in()),
        }
    }

    /// Objects as files below `folder`, which is made if it is not there. Files and folders are synced.
    ///
    /// # Errors
    /// `Config` if the folder cannot be made or written.
    pub fn local(folder: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(LocalStore::open(folder)?))
    }

    /// Reads an object that nobody writes with more than `most` bytes. Of one that is larger, one byte more is read.
    ///
    /// # Errors
    /// `Corrupt` if it is larger; else those of [`get`](ObjectAccess::get).
    pub(crate) async fn get_small(
        &self,
        operation: &'static str,
        path: &ObjectPath,
        most: u64,
    ) -> Result<Option<Bytes>> {
        let found = self.get(path, Some(0..most.saturating_add(1))).await?;
        if found.as_ref().is_some_and(|bytes| bytes.len() as u64 > most) {
            return Err(Error::corrupt(operation, "the object is larger than any that is written there")
                .with("object", path)
                .with("most_bytes", most)
                .with_hint(
                    "it is damaged, or something else wrote it: restore it from a copy or a backup, do not delete it",
                ));
        }
        Ok(found)
    }
}

impl Deref for Store {
    type Target = dyn ObjectAccess;
    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}
