use super::Effect;
use super::faults::{Faults, Pass};
use crate::error::{Error, Result};
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// A store of which every operation, and every write and finish of an upload, is an I/O point of a [`Faults`].
#[derive(Clone, Debug)]
pub(super) struct FaultStore {
    inner: Store,
    faults: Faults,
}

impl FaultStore {
    /// `store` as the process of `faults` reaches it. Several stores may share one process.
    pub(super) fn new(store: &Store, faults: &Faults) -> Self {
        Self { inner: store.clone(), faults: faults.clone() }
    }

    async fn enter(&self, operation: &'static str, name: &ObjectPath, effect: Effect) -> Result<Pass<'_>> {
        self.faults.enter(operation, name.to_string(), effect).await
    }

    /// Dies within a write: half of the bytes are on their way, nothing is visible, and nobody cleans up.
    async fn tear(&self, pass: Pass<'_>, path: &ObjectPath, bytes: &Bytes) -> Error {
        if let Ok(mut upload) = self.inner.upload(path).await {
            drop(upload.write(half(bytes)).await);
            self.faults.wreck(upload);
        }
        pass.die()
    }
}

fn half(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

#[async_trait]
impl ObjectAccess for FaultStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let pass = self.enter("create", path, Effect::Create).await?;
        if pass.is_torn() {
            return Err(self.tear(pass, path, &bytes).await);
        }
        let (inner, path) = (self.inner.clone(), path.clone());
        pass.create(async move { inner.create(&path, bytes).await }).await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        let pass = self.enter("put", path, Effect::Put).await?;
        if pass.is_torn() {
            return Err(self.tear(pass, path, &bytes).await);
        }
        let (inner, path) = (self.inner.clone(), path.clone());
        pass.write(async move { inner.put(&path, bytes).await }).await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        let pass = self.enter("upload", path, Effect::Parts).await?;
        if pass.is_torn() {
            return Err(self.tear(pass, path, &Bytes::new()).await);
        }
        let inner = self.inner.upload(path).await.map(|upload| FaultUpload {
            inner: Some(upload),
            path: path.clone(),
            faults: self.faults.clone(),
        });
        Ok(Box::new(pass.leave(inner)?))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.faults.read_point("get", path, self.inner.get(path, range)).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.faults.read_point("list", prefix, self.inner.list(prefix)).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let pass = self.faults.enter("rename", format!("{from} -> {to}"), Effect::Parts).await?;
        if pass.is_torn() {
            if let Ok(Some(bytes)) = self.inner.get(from, None).await {
                drop(self.inner.put(to, bytes).await);
            }
            return Err(pass.die());
        }
        pass.leave(self.inner.rename(from, to).await)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let pass = self.enter("delete", path, Effect::Delete).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        let (inner, path) = (self.inner.clone(), path.clone());
        pass.write(async move { inner.delete(&path).await }).await
    }
}

struct FaultUpload {
    /// `None` once it is finished, has become a wreck, or a write has failed.
    inner: Option<Box<dyn Upload>>,
    path: ObjectPath,
    faults: Faults,
}

impl FaultUpload {
    async fn pass_write(&mut self, bytes: Bytes) -> Result<()> {
        let faults = self.faults.clone();
        let pass = faults.enter("upload.write", self.path.to_string(), Effect::Parts).await?;
        let Some(inner) = self.inner.as_mut() else { return Err(self.cut_off()) };
        if pass.is_torn() {
            drop(inner.write(half(&bytes)).await);
            return Err(pass.die());
        }
        pass.leave(inner.write(bytes).await)
    }

    fn cut_off(&self) -> Error {
        Error::bug("upload", "an earlier write failed").with("name", &self.path)
    }
}

#[async_trait]
impl Upload for FaultUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let written = self.pass_write(bytes).await;
        if written.is_err() && !self.faults.is_dead() {
            self.inner = None;
        }
        written
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        let faults = self.faults.clone();
        let pass = faults.enter("upload.finish", self.path.to_string(), Effect::Whole).await?;
        if pass.is_torn() {
            return Err(pass.die());
        }
        let Some(inner) = self.inner.take() else { return Err(self.cut_off()) };
        pass.leave(inner.finish().await)
    }
}

impl Drop for FaultUpload {
    fn drop(&mut self) {
        // A dead process does not clean up.
        if let Some(upload) = self.inner.take().filter(|_| self.faults.is_dead()) {
            self.faults.wreck(upload);
        }
    }
}
