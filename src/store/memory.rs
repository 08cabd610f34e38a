use super::{Created, ObjectAccess, ObjectInfo, ObjectPath, Upload};
use crate::env::Env;
use crate::error::Result;
use crate::model::Timestamp;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Objects in memory: for tests. Clones share their content, which goes with the last of them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    env: Env,
    objects: Arc<Mutex<BTreeMap<ObjectPath, Object>>>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified: Timestamp,
}

impl MemoryStore {
    /// An empty store that takes the times of its objects from `env`.
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone(), objects: Arc::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectPath, Object>> {
        // Every change is one call on the map, so that a panic elsewhere leaves it whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, bytes: Bytes) -> Object {
        Object { bytes, modified: self.env.now() }
    }
}

#[async_trait]
impl ObjectAccess for MemoryStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let object = self.object(bytes);
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Ok(Created::Exists);
        }
        objects.insert(path.clone(), object);
        Ok(Created::New)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        let object = self.object(bytes);
        self.objects().insert(path.clone(), object);
        Ok(())
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        Ok(Box::new(MemoryUpload { store: self.clone(), path: path.clone(), bytes: BytesMut::new() }))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let Some(bytes) = self.objects().get(path).map(|object| object.bytes.clone()) else { return Ok(None) };
        let Some(range) = range else { return Ok(Some(bytes)) };
        let within = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
        let (start, end) = (within(range.start), within(range.end));
        Ok(Some(bytes.slice(start..end.max(start))))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        let objects = self.objects();
        let below = objects.iter().filter(|(path, _)| path.is_below(prefix));
        let info = |(path, object): (&ObjectPath, &Object)| ObjectInfo {
            path: path.clone(),
            size: object.bytes.len() as u64,
            modified: object.modified,
        };
        Ok(below.map(info).collect())
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        let mut objects = self.objects();
        let Some(object) = objects.remove(from) else { return Ok(false) };
        objects.insert(to.clone(), object);
        Ok(true)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.objects().remove(path);
        Ok(())
    }
}

struct MemoryUpload {
    store: MemoryStore,
    path: ObjectPath,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { store, path, bytes } = *self;
        let size = bytes.len() as u64;
        store.put(&path, bytes.freeze()).await?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    crate::store_conformance!((crate::store::Store::memory(), ()));
}
