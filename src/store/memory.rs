use super::{Created, ObjectAccess, ObjectInfo, ObjectPath, Upload};
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// Objects in memory: for tests. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {}

#[async_trait]
impl ObjectAccess for MemoryStore {
    async fn create(&self, _path: &ObjectPath, _bytes: Bytes) -> Result<Created> {
        todo!()
    }
    async fn put(&self, _path: &ObjectPath, _bytes: Bytes) -> Result<()> {
        todo!()
    }
    async fn upload(&self, _path: &ObjectPath) -> Result<Box<dyn Upload>> {
        todo!()
    }
    async fn get(&self, _path: &ObjectPath, _range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        todo!()
    }
    async fn list(&self, _prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        todo!()
    }
    async fn rename(&self, _from: &ObjectPath, _to: &ObjectPath) -> Result<bool> {
        todo!()
    }
    async fn delete(&self, _path: &ObjectPath) -> Result<()> {
        todo!()
    }
}
