use super::*;
use crate::store::{Created, ObjectAccess, ObjectInfo, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// A store whose listings are behind: they show nothing.
#[derive(Clone, Debug)]
pub(super) struct Forgetful(pub(super) Store);

#[async_trait]
impl ObjectAccess for Forgetful {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        self.0.create(path, bytes).await
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
    async fn list(&self, _prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        Ok(Vec::new())
    }
    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.0.rename(from, to).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.0.delete(path).await
    }
}
