//! A store that fails, loses answers or lets others go first, at one operation or at every one.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt::{self, Debug};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends before the operation.
    CrashBefore,
    /// The process ends after the operation.
    CrashAfter,
    /// The operation does not happen, and the answer leaves that open.
    LostRequest,
    /// The operation happens, and its answer is lost.
    LostAnswer,
    /// The operation is refused for now.
    Refused,
}

type Hook = Arc<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// Counts operations. Clones count together.
#[derive(Clone)]
pub(super) struct Faulty {
    inner: Store,
    fault: Option<(usize, Fault)>,
    hook: Option<Hook>,
    count: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
}

impl Faulty {
    pub(super) fn new(inner: &Store, fault: Option<(usize, Fault)>) -> Self {
        Self { inner: inner.clone(), fault, hook: None, count: Arc::default(), dead: Arc::default() }
    }

    /// Runs `hook` before every operation.
    pub(super) fn hooked(
        inner: &Store,
        hook: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { hook: Some(Arc::new(hook)), ..Self::new(inner, None) }
    }

    pub(super) fn store(&self) -> Store {
        Store::new(self.clone())
    }

    /// How many operations there were.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    async fn pass<T>(&self, operation: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(hook) = &self.hook {
            hook(number).await;
        }
        let dead = Error::cancelled("crashed process");
        if self.dead.load(Ordering::SeqCst) {
            return Err(dead);
        }
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        match fault {
            None => operation.await,
            Some(Fault::CrashBefore) => {
                self.dead.store(true, Ordering::SeqCst);
                Err(dead)
            }
            Some(Fault::CrashAfter) => {
                operation.await?;
                self.dead.store(true, Ordering::SeqCst);
                Err(dead)
            }
            Some(Fault::LostRequest) => Err(lost()),
            Some(Fault::LostAnswer) => {
                operation.await?;
                Err(lost())
            }
            Some(Fault::Refused) => Err(Error::unavailable("test", "not now")),
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Ambiguous, "test", "the answer was lost")
}

impl Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("fault", &self.fault).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectAccess for Faulty {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        self.pass(self.inner.create(path, bytes)).await
    }
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.pass(self.inner.put(path, bytes)).await
    }
    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        let upload = self.pass(self.inner.upload(path)).await?;
        Ok(Box::new(FaultyUpload { upload, store: self.clone() }))
    }
    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.pass(self.inner.get(path, range)).await
    }
    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.pass(self.inner.list(prefix)).await
    }
    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.pass(self.inner.rename(from, to)).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.pass(self.inner.delete(path)).await
    }
}

struct FaultyUpload {
    upload: Box<dyn Upload>,
    store: Faulty,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.store.pass(self.upload.write(bytes)).await
    }
    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { upload, store } = *self;
        store.pass(upload.finish()).await
    }
}

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
