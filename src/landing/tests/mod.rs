//! What the tests of the landing share: an environment, pages, and a store that fails when told to.

mod accounts;
mod crash;
mod format;
mod positions;
mod retention;

use super::*;
use crate::env::{Clock, Entropy, Env};
use crate::error::Error;
use crate::model::{Incarnation, Page, PartitionId, PipelineName, PositionValue, Timestamp, Validity};
use crate::store::{Created, MemoryStore, ObjectAccess, ObjectInfo, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

#[derive(Debug)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// Each gives other nonces than the one before it.
fn env() -> Env {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    Env::deterministic(Arc::new(StoppedClock), Arc::new(Counter(AtomicU64::new(seed << 32))))
}

fn shard() -> ShardKey {
    ShardKey { pipeline: load("orders"), shard: 0 }
}

fn load(name: &str) -> PipelineName {
    PipelineName::new(name).expect("a valid name")
}

fn life() -> Incarnation {
    Incarnation("0f0e0d0c0b0a09080706050403020100".to_owned())
}

fn landing(store: &Store) -> Landing {
    Landing::in_store(store, "raw").expect("a valid prefix")
}

async fn open(store: &Store) -> Result<(LandingWriter, LandedState)> {
    LandingWriter::open(&landing(store), &shard(), &env()).await
}

/// Where each partition stood.
async fn all(state: &LandedState) -> BTreeMap<PartitionId, PositionValue> {
    state.positions.all().await.expect("readable")
}

fn reader(store: &Store) -> LandingReader {
    LandingReader::new(&landing(store), &shard(), &env())
}

fn page(partition: &str, body: impl Into<Bytes>, records: u64) -> Page {
    Page::new(partition.into(), body, records, Timestamp::from_micros(1_700_000_000_123_456))
}

fn position(value: u64) -> PositionValue {
    PositionValue::new(value, Validity::Durable)
}

/// A draft that moves `partition` to `value`, with a page that says so.
fn moves(partition: &str, value: u64) -> SegmentDraft {
    SegmentDraft {
        pages: vec![page(partition, value.to_string(), 1)],
        positions: [(PartitionId::from(partition), position(value))].into(),
        ..SegmentDraft::default()
    }
}

/// Moves many partitions once, so that all positions are not written with every segment after it.
fn wide() -> SegmentDraft {
    let positions = (0..500).map(|n| (PartitionId(format!("wide-{n}")), position(n))).collect();
    SegmentDraft { positions, ..SegmentDraft::default() }
}

/// What two pages have in common if they are the same page, wherever it was landed.
fn content(page: &Page) -> impl PartialEq + std::fmt::Debug + use<> {
    let Page {
        partition,
        window,
        request,
        status,
        headers,
        received_at,
        body,
        records,
        part,
        records_path,
        fields,
        ..
    } = page.clone();
    let fields = fields.map(|fields| fields.get().to_owned());
    (partition, window, request, status, headers, received_at, body, records, part, records_path, fields)
}

/// When a store fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Never.
    None,
    /// At every `put`; all else works.
    Puts,
    /// At this write, which has no effect.
    Before(u64),
    /// At this write, which has its effect.
    After(u64),
}

/// A store that dies at one write: that write and everything after it answers with an error.
#[derive(Clone, Debug)]
struct DyingStore {
    inner: MemoryStore,
    fault: Fault,
    writes: Arc<AtomicU64>,
    /// Reads of segments.
    reads: Arc<AtomicU64>,
}

impl DyingStore {
    /// A view of `inner` with a fate of its own.
    fn over(inner: &MemoryStore, fault: Fault) -> Self {
        Self { inner: inner.clone(), fault, writes: Arc::default(), reads: Arc::default() }
    }

    fn store(&self) -> Store {
        Store::new(self.clone())
    }

    /// Whether it has met its fate.
    fn died(&self) -> bool {
        self.alive().is_err()
    }

    /// Whether this write has its effect, and whether its caller hears of it.
    fn next_write(&self) -> (bool, Result<()>) {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Before(at) if number >= at => (false, Err(Error::unavailable("write", "the store is gone"))),
            Fault::After(at) if number >= at => {
                (number == at, Err(Error::new(crate::ErrorKind::Ambiguous, "write", "the store is gone")))
            }
            _ => (true, Ok(())),
        }
    }

    fn alive(&self) -> Result<()> {
        match self.fault {
            Fault::Before(at) | Fault::After(at) if self.writes.load(Ordering::SeqCst) > at => {
                Err(Error::unavailable("read", "the store is gone"))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ObjectAccess for DyingStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        let (effect, answer) = self.next_write();
        let created = if effect { Some(self.inner.create(path, bytes).await?) } else { None };
        answer.map(|()| created.expect("what is answered has happened"))
    }
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        if self.fault == Fault::Puts {
            return Err(Error::unavailable("put", "the store takes no more"));
        }
        let (effect, answer) = self.next_write();
        if effect {
            self.inner.put(path, bytes).await?;
        }
        answer
    }
    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        Ok(Box::new(DyingUpload { store: self.clone(), path: path.clone(), bytes: Vec::new() }))
    }
    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.alive()?;
        if path.as_str().ends_with(".rec") {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get(path, range).await
    }
    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        self.alive()?;
        self.inner.list(prefix).await
    }
    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.inner.rename(from, to).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let (effect, answer) = self.next_write();
        if effect {
            self.inner.delete(path).await?;
        }
        answer
    }
}

/// Is there as a whole, if its store lives when it is finished.
struct DyingUpload {
    store: DyingStore,
    path: ObjectPath,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for DyingUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
    async fn finish(self: Box<Self>) -> Result<u64> {
        let length = self.bytes.len() as u64;
        self.store.put(&self.path, self.bytes.into()).await.map(|()| length)
    }
}
