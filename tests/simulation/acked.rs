//! A store that remembers what it has acknowledged, and when.

use bytes::{Bytes, BytesMut};
use landfall::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use landfall::testkit::SimDisk;
use landfall::{Result, async_trait};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store over a [`SimDisk`], and a memory of what it has acknowledged after how many calls.
#[derive(Clone, Debug)]
pub struct Acked {
    store: Store,
    disk: SimDisk,
    /// After so many calls, the object is there with these bytes; with `None` it is changing, and nobody knows.
    log: Arc<Mutex<Vec<(u64, ObjectPath, Option<Bytes>)>>>,
}

impl Acked {
    pub fn new(store: Store, disk: &SimDisk) -> Self {
        Self { store, disk: disk.clone(), log: Arc::default() }
    }

    /// What is acknowledged after so many calls.
    pub fn after(&self, calls: u64) -> BTreeMap<ObjectPath, Bytes> {
        let mut objects = BTreeMap::new();
        for (_, path, bytes) in self.log().iter().filter(|(at, ..)| *at <= calls) {
            match bytes {
                Some(bytes) => drop(objects.insert(path.clone(), bytes.clone())),
                None => drop(objects.remove(path)),
            }
        }
        objects
    }

    fn log(&self) -> MutexGuard<'_, Vec<(u64, ObjectPath, Option<Bytes>)>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, path: &ObjectPath, bytes: Option<Bytes>) {
        self.log().push((self.disk.calls(), path.clone(), bytes));
    }
}

#[async_trait]
impl ObjectAccess for Acked {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let created = self.store.create(path, bytes.clone()).await?;
        if created == Created::New {
            self.note(path, Some(bytes));
        }
        Ok(created)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.note(path, None);
        self.store.put(path, bytes.clone()).await?;
        self.note(path, Some(bytes));
        Ok(())
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        let upload = self.store.upload(path).await?;
        Ok(Box::new(AckedUpload { acked: self.clone(), path: path.clone(), upload, bytes: BytesMut::new() }))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.store.get(path, range).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.store.list(prefix).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let bytes = self.store.get(from, None).await?;
        self.note(from, None);
        self.note(to, None);
        let renamed = self.store.rename(from, to).await?;
        if renamed {
            self.note(to, bytes);
        }
        Ok(renamed)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.note(path, None);
        self.store.delete(path).await
    }
}

struct AckedUpload {
    acked: Acked,
    path: ObjectPath,
    upload: Box<dyn Upload>,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for AckedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        self.upload.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        self.acked.note(&self.path, None);
        let size = self.upload.finish().await?;
        self.acked.note(&self.path, Some(self.bytes.freeze()));
        Ok(size)
    }
}
