use super::Target;
use crate::error::{Error, Result};
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is wrong with what a store gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// One bit in the middle of what is read is another.
    Flip,
    /// The second half of what is read is missing.
    Truncate,
    /// What is read is what was there before the last write of it through this store. Breaks guarantee 4 of [`ObjectAccess`].
    Stale,
    /// Listings lack what was written through this store, as guarantee 5 allows.
    LateListing,
    /// Somebody else deletes what is to be read, for good.
    Vanished,
    /// Behind what was written come zeros, up to a terabyte, as in a file with a hole. Who reads more of it at once than fits into memory gets
    /// a [`Bug`](crate::error::ErrorKind::Bug).
    Endless,
}

/// The size of an object that is [`Damage::Endless`], in bytes.
const ENDLESS: u64 = 1 << 40;
/// What is taken to fit into memory, in bytes.
const MEMORY: u64 = 2 << 30;

/// A store that gives back something else than what was put there, at the operations of a [`Target`]: those that read an object, or, for
/// [`Damage::LateListing`], listings. The name in the target is that of an object then, too.
#[derive(Clone, Debug)]
pub struct DamagedStore {
    inner: Store,
    damage: Damage,
    target: Arc<Target>,
    /// What was there before the last write of each object.
    before: Arc<Mutex<BTreeMap<ObjectPath, Option<Bytes>>>>,
}

impl DamagedStore {
    /// `store`, with this damage at the operations of `target`.
    pub fn new(store: &Store, damage: Damage, target: Target) -> Self {
        Self { inner: store.clone(), damage, target: Arc::new(target), before: Arc::default() }
    }

    fn before(&self) -> MutexGuard<'_, BTreeMap<ObjectPath, Option<Bytes>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what is there, if anybody will ask for it.
    async fn remember(&self, path: &ObjectPath) -> Result<()> {
        let held = match self.damage {
            Damage::Stale => self.inner.get(path, None).await?,
            Damage::LateListing => None,
            _ => return Ok(()),
        };
        self.before().insert(path.clone(), held);
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectAccess for DamagedStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        if self.inner.get(path, None).await?.is_none() {
            self.remember(path).await?;
        }
        self.inner.create(path, bytes).await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.remember(path).await?;
        self.inner.put(path, bytes).await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.remember(path).await?;
        self.inner.upload(path).await
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let hit = self.damage != Damage::LateListing && self.target.takes("get", path.as_str());
        if hit && self.damage == Damage::Vanished {
            self.inner.delete(path).await?;
        }
        let held = self.inner.get(path, range.clone()).await?;
        Ok(match self.damage {
            Damage::Endless if hit => held.map(|bytes| continued(path, &bytes, range)).transpose()?,
            Damage::Flip if hit => held.map(flipped),
            Damage::Truncate if hit => held.map(|bytes| bytes.slice(..bytes.len() / 2)),
            Damage::Stale if hit => match self.before().get(path) {
                Some(before) => before.clone().map(|bytes| part(&bytes, range)),
                None => held,
            },
            _ => held,
        })
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        let mut listed = self.inner.list(prefix).await?;
        if self.damage == Damage::Endless {
            listed.iter_mut().filter(|info| self.target.is_on(info.path.as_str())).for_each(|info| info.size = ENDLESS);
        }
        if self.damage == Damage::LateListing {
            let before = self.before();
            let late = |info: &ObjectInfo| before.contains_key(&info.path) && self.target.is_on(info.path.as_str());
            // One listing is one operation, however much it lacks.
            let named = listed.iter().find(|info| late(info)).map(|info| info.path.to_string());
            if named.is_some_and(|name| self.target.takes("list", &name)) {
                listed.retain(|info| !late(info));
            }
        }
        Ok(listed)
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.remember(to).await?;
        self.inner.rename(from, to).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.remember(path).await?;
        self.inner.delete(path).await
    }
}

fn flipped(bytes: Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

/// The bytes of a range of which these are the beginning, and zeros the rest.
fn continued(path: &ObjectPath, beginning: &[u8], range: Option<Range<u64>>) -> Result<Bytes> {
    let range = range.unwrap_or(0..ENDLESS);
    let length = range.end.min(ENDLESS).saturating_sub(range.start);
    if length > MEMORY {
        return Err(Error::bug("get", "more is read at once than fits into memory")
            .with("object", path)
            .with("bytes", length));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    bytes[..beginning.len()].copy_from_slice(beginning);
    Ok(bytes.into())
}

fn part(bytes: &Bytes, range: Option<Range<u64>>) -> Bytes {
    let Some(range) = range else { return bytes.clone() };
    let end = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(end(range.start).min(end(range.end))..end(range.end))
}
