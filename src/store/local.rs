use super::{Created, ObjectAccess, ObjectInfo, ObjectPath, Upload};
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// Objects as files below a folder, durable: a file is synced before its name appears, and the folder after.
#[derive(Clone, Debug)]
pub struct LocalStore {}

impl LocalStore {
    /// Opens `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// `Config` if the folder cannot be made or written.
    pub fn open(_folder: impl AsRef<std::path::Path>) -> Result<Self> {
        todo!()
    }
}

#[async_trait]
impl ObjectAccess for LocalStore {
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
