//! Sources and stores that do not behave.

use crate::support::PageNumber;
use landfall::env::Env;
use landfall::model::{Page, Partition, StopReason};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Store, Upload};
use landfall::{Error, ErrorKind, Result, async_trait};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What becomes of a read, or of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// After its pages it says that it was stopped, and it was not.
    SaysStopped,
    /// After its pages the server says nothing more.
    Hangs,
    /// Not even its partitions are told.
    HangsAtStart,
    /// Its partitions are told, but not that they are all.
    HangsAfterListing,
}

/// Does as another source, and then is odd.
#[derive(Clone, Debug)]
pub struct Odd<S>(pub S, pub Oddity);

#[async_trait]
impl<S: Source<Item = Page, Position = PageNumber>> Source for Odd<S> {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        if self.1 == Oddity::HangsAtStart {
            std::future::pending::<()>().await;
        }
        self.0.partitions(env, out).await?;
        if self.1 == Oddity::HangsAfterListing {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        let read = self.0.read(env, partition, from, out).await?;
        match self.1 {
            Oddity::SaysStopped => Err(Error::cancelled("wait for a slot")),
            Oddity::Hangs => std::future::pending().await,
            Oddity::HangsAtStart | Oddity::HangsAfterListing => Ok(read),
        }
    }
}

/// A store that gives so many creates below a folder away, and refuses the others, or panics over them.
#[derive(Debug)]
pub struct Refusing {
    pub inner: Store,
    pub below: String,
    pub spare: AtomicU64,
    pub panics: bool,
}

#[async_trait]
impl ObjectAccess for Refusing {
    async fn create(&self, path: &ObjectPath, bytes: bytes::Bytes) -> Result<Created> {
        let spent = || self.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err();
        if path.as_str().starts_with(&self.below) && spent() {
            assert!(!self.panics, "a bug in the store");
            return Err(Error::new(ErrorKind::Auth, "create", "no right to do that any more"));
        }
        self.inner.create(path, bytes).await
    }

    async fn put(&self, path: &ObjectPath, bytes: bytes::Bytes) -> Result<()> {
        self.inner.put(path, bytes).await
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.inner.upload(path).await
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<bytes::Bytes>> {
        self.inner.get(path, range).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix).await
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.inner.rename(from, to).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.inner.delete(path).await
    }
}

/// A source that says how it is configured.
#[derive(Clone, Debug)]
pub struct Configured<S>(pub S, pub ComponentConfig);

#[async_trait]
impl<S: Source<Item = Page, Position = PageNumber>> Source for Configured<S> {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(self.1.clone())
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        self.0.partitions(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        self.0.read(env, partition, from, out).await
    }
}
