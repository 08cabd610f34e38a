//! Objects as files. Layout: docs/formats.md, "Object layout on a local file system".

pub(crate) mod disk;
mod fault;
mod files;
#[cfg(test)]
mod tests;
mod upload;

use self::disk::{Disk, RealDisk};
use self::files::Files;
use self::upload::LocalUpload;
use super::{Created, ObjectAccess, ObjectInfo, ObjectPath, Upload};
use crate::env::Env;
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Objects as files below a folder, durable: a file is synced before its name appears, and the folder after.
///
/// Several processes may share the folder; it must be one file system. Symbolic links below it are refused. If the
/// system once fails to sync a folder, what the disk holds is not known, and this store refuses all further work: open it
/// again after the disk is mended.
#[derive(Clone, Debug)]
pub struct LocalStore {
    files: Arc<Files>,
    env: Env,
}

impl LocalStore {
    /// Opens `folder`, which is made if it is not there. Files are worked on on tokio's blocking threads.
    ///
    /// # Errors
    /// `Config` if the folder cannot be made, written or synced.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(folder, &Env::system())
    }

    /// Opens `folder` as [`open`](Self::open) does, with the clock, randomness and blocking threads of `env`: a
    /// deterministic one works inline. Temporary files of writers that died more than a day ago are removed.
    ///
    /// # Errors
    /// `Config` if the folder cannot be made, written or synced.
    pub fn open_with(folder: impl AsRef<Path>, env: &Env) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), folder.as_ref(), env)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, folder: &Path, env: &Env) -> Result<Self> {
        Ok(Self { files: Arc::new(Files::open(folder, disk, env)?), env: env.clone() })
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Files) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let files = Arc::clone(&self.files);
        self.env.blocking(operation, move || work(&files)).await?
    }
}

#[async_trait]
impl ObjectAccess for LocalStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let (path, temp) = (path.clone(), self.env.nonce());
        self.run("create object", move |files| {
            let temp = files.write_temp("create object", &path, &temp, &bytes)?;
            files.publish_new("create object", temp, &path)
        })
        .await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        let (path, temp) = (path.clone(), self.env.nonce());
        self.run("put object", move |files| {
            let temp = files.write_temp("put object", &path, &temp, &bytes)?;
            files.publish("put object", temp, &path)
        })
        .await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        let (object, name) = (path.clone(), self.env.nonce());
        let temp = self
            .run("upload object", move |files| {
                files.object("upload object", &object)?;
                files.create_temp("upload object", &name)
            })
            .await?;
        Ok(Box::new(LocalUpload::new(self.clone(), path.clone(), temp)))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let path = path.clone();
        self.run("get object", move |files| files.read("get object", &path, range)).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        let prefix = prefix.clone();
        self.run("list objects", move |files| files.list("list objects", &prefix)).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let (from, to) = (from.clone(), to.clone());
        self.run("rename object", move |files| files.rename("rename object", &from, &to)).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let path = path.clone();
        self.run("delete object", move |files| files.remove("delete object", &path)).await
    }
}
