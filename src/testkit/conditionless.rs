use crate::error::Result;
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// A store that ignores the condition of a create-if-absent, as some servers and proxies do: it overwrites and answers
/// [`Created::New`]. Whatever relies on the condition must refuse it.
#[derive(Clone, Debug)]
pub struct Conditionless(Store);

impl Conditionless {
    /// `store`, without conditions.
    pub fn new(store: &Store) -> Self {
        Self(store.clone())
    }
}

#[async_trait]
impl ObjectAccess for Conditionless {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        self.0.put(path, bytes).await?;
        Ok(Created::New)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.0.put(path, bytes).await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.0.upload(path).await
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.0.get(path, range).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.0.list(prefix).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.0.rename(from, to).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.0.delete(path).await
    }
}
