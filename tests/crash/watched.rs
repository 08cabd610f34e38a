//! A store into whose destinations somebody looks after each change.

use futures::future::BoxFuture;
use landfall::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use landfall::{Result, async_trait};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Where rows come into view, and what of it has none.
const DESTINATIONS: [&str; 2] = ["numbers/", "children/"];
const BESIDE: [&str; 2] = ["/_probe/", "/_landfall/"];

/// Looks at what is there now.
type Look = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A store in which what may bring rows of a destination into view, or take them away, ends only when somebody has looked: so each state is seen.
/// What is uploaded is staged, and in view when its commit is created.
#[derive(Clone)]
pub struct Watched {
    inner: Store,
    look: Look,
}

impl Watched {
    pub fn new(inner: Store, look: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { inner, look: Arc::new(look) }
    }

    /// However it ended: that an answer is lost says nothing of what happened.
    async fn changed(&self, path: &ObjectPath) {
        let is_in = DESTINATIONS.iter().any(|folder| path.as_str().starts_with(folder));
        if is_in && !BESIDE.iter().any(|folder| path.as_str().contains(folder)) {
            (self.look)().await;
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectAccess for Watched {
    async fn create(&self, path: &ObjectPath, bytes: bytes::Bytes) -> Result<Created> {
        let created = self.inner.create(path, bytes).await;
        self.changed(path).await;
        created
    }

    async fn put(&self, path: &ObjectPath, bytes: bytes::Bytes) -> Result<()> {
        self.inner.put(path, bytes).await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.inner.upload(path).await
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<bytes::Bytes>> {
        self.inner.get(path, range).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let renamed = self.inner.rename(from, to).await;
        self.changed(to).await;
        renamed
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let deleted = self.inner.delete(path).await;
        self.changed(path).await;
        deleted
    }
}
