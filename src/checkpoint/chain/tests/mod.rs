//! The protocol against stores that lose, delay and contradict answers.

mod collection;
mod damage;
mod doubt;
mod fencing;
mod histories;
mod model;

use super::*;
use crate::checkpoint::{CheckpointStore, MemoryCheckpoints};
use crate::env::{Clock, Entropy};
use crate::model::Timestamp;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Notify;

/// Time that passes only by sleeping, and numbers that never repeat.
#[derive(Debug, Default)]
struct Still {
    slept: Mutex<Duration>,
    drawn: AtomicU64,
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).saturating_add(self.monotonic())
    }
    fn monotonic(&self) -> Duration {
        *self.slept.lock().expect("no panic")
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        *self.slept.lock().expect("no panic") += duration;
        Turn::default().boxed()
    }
}

impl Entropy for Still {
    fn next_u64(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }
}

/// Lets others run once.
#[derive(Default)]
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }
}

fn still_env() -> Env {
    let still = Arc::new(Still::default());
    Env::deterministic(Arc::<Still>::clone(&still), still)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    Create,
    Read,
    Numbers,
    Boundary,
    Advance,
    Remove,
}

/// What happens to one call.
#[derive(Clone, Debug)]
enum Fault {
    /// Nothing out of the ordinary.
    Pass,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// It does not happen, and there is no answer.
    RequestLost,
    /// The store says that it cannot now.
    Busy,
    /// The store says that it may not.
    Denied,
    /// A create does not happen, and is answered `Exists` (a conflict).
    Conflict,
    /// A create happens, and is answered `Exists` (the store's client tried twice).
    TriedTwice,
    /// It happens only after this is notified.
    Held(Arc<Notify>),
}

/// A store that follows a script: the faults of each operation, one call after the other.
#[derive(Clone, Debug, Default)]
struct Scripted {
    inner: MemoryCheckpoints,
    script: Arc<Mutex<BTreeMap<Op, VecDeque<Fault>>>>,
    /// What happened: the operation and the number.
    log: Arc<Mutex<Vec<(Op, u64)>>>,
    /// Calls that may still be made; then the process is as good as dead.
    alive: Arc<Mutex<Option<u64>>>,
    hint: Arc<Mutex<Option<Vec<u64>>>>,
    /// It overwrites, and says so or not.
    overwrites: Option<Created>,
}

impl Scripted {
    fn plan(&self, op: Op, faults: impl IntoIterator<Item = Fault>) {
        self.script.lock().expect("no panic").entry(op).or_default().extend(faults);
    }

    fn crash_after(&self, calls: Option<u64>) {
        *self.alive.lock().expect("no panic") = calls;
    }

    fn give_hint(&self, hint: Option<Vec<u64>>) {
        *self.hint.lock().expect("no panic") = hint;
    }

    fn take_log(&self) -> Vec<(Op, u64)> {
        std::mem::take(&mut *self.log.lock().expect("no panic"))
    }

    fn changes(&self) -> Vec<(Op, u64)> {
        self.take_log().into_iter().filter(|(op, _)| matches!(op, Op::Create | Op::Advance | Op::Remove)).collect()
    }

    /// Runs `effect` as the script says.
    async fn call<T>(&self, op: Op, number: u64, effect: impl Future<Output = Result<T>> + Send) -> Result<Option<T>> {
        let failed = |kind| Err(Error::new(kind, "scripted", "fault"));
        if let Some(left) = self.alive.lock().expect("no panic").as_mut() {
            let Some(less) = left.checked_sub(1) else { return failed(ErrorKind::Auth) };
            *left = less;
        }
        let fault =
            self.script.lock().expect("no panic").get_mut(&op).and_then(VecDeque::pop_front).unwrap_or(Fault::Pass);
        match &fault {
            Fault::RequestLost => return failed(ErrorKind::Ambiguous),
            Fault::Busy => return failed(ErrorKind::Unavailable),
            Fault::Denied => return failed(ErrorKind::Auth),
            Fault::Conflict => return Ok(None),
            Fault::Held(go) => go.notified().await,
            Fault::Pass | Fault::AnswerLost | Fault::TriedTwice => {}
        }
        self.log.lock().expect("no panic").push((op, number));
        let done = effect.await;
        match fault {
            Fault::AnswerLost => failed(ErrorKind::Ambiguous),
            Fault::TriedTwice => Ok(None),
            _ => done.map(Some),
        }
    }
}

#[async_trait]
impl CheckpointStore for Scripted {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        if let Some(answer) = self.overwrites {
            self.inner.remove(chain, number).await?;
            return self.inner.create(chain, number, record).await.map(|_| answer);
        }
        let done = self.call(Op::Create, number, self.inner.create(chain, number, record)).await?;
        Ok(done.unwrap_or(Created::Exists))
    }
    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        Ok(self.call(Op::Read, number, self.inner.read(chain, number)).await?.flatten())
    }
    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        let known = self.call(Op::Numbers, 0, self.inner.numbers(chain)).await?.unwrap_or_default();
        Ok(self.hint.lock().expect("no panic").clone().unwrap_or(known))
    }
    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        Ok(self.call(Op::Boundary, 0, self.inner.boundary(chain)).await?.unwrap_or_default())
    }
    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        self.call(Op::Advance, to, self.inner.advance_boundary(chain, to)).await.map(|_| ())
    }
    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        self.call(Op::Remove, number, self.inner.remove(chain, number)).await.map(|_| ())
    }
    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None
    }
}

/// One chain, and owners of it that share nothing but the store's content.
struct Bench {
    id: ChainId,
    inner: MemoryCheckpoints,
    env: Env,
}

impl Bench {
    fn new() -> Self {
        Self {
            id: ChainId::named("orders/checkpoints/0000").expect("a name"),
            inner: MemoryCheckpoints::default(),
            env: still_env(),
        }
    }

    /// Another process's view of the store.
    fn view(&self) -> Scripted {
        Scripted { inner: self.inner.clone(), ..Scripted::default() }
    }

    async fn open_on(&self, store: &Scripted) -> Result<Opened> {
        Chain::open(Arc::new(store.clone()), self.id.clone(), self.env.clone()).await
    }

    async fn open(&self) -> Opened {
        self.open_on(&self.view()).await.expect("opens")
    }

    /// A chain of a fence and data records 2 to `newest`.
    async fn filled(&self, newest: u64) -> Chain {
        let mut chain = self.open().await.chain;
        for number in 2..=newest {
            assert_eq!(chain.append(payload(number)).await.expect("appends"), number);
        }
        chain
    }

    fn reader(&self) -> ChainReader {
        ChainReader::new(Arc::new(self.inner.clone()), self.id.clone())
    }

    async fn numbers(&self) -> Vec<u64> {
        self.inner.numbers(&self.id).await.expect("memory")
    }

    async fn boundary(&self) -> u64 {
        self.inner.boundary(&self.id).await.expect("memory")
    }

    async fn raw(&self, number: u64) -> Option<Bytes> {
        self.inner.read(&self.id, number).await.expect("memory")
    }

    async fn record(&self, number: u64) -> Record {
        Record::decode(&self.id, number, &self.raw(number).await.expect("is there")).expect("is sound")
    }

    async fn remove(&self, number: u64) {
        self.inner.remove(&self.id, number).await.expect("memory");
    }

    async fn replace(&self, number: u64, bytes: Bytes) {
        self.remove(number).await;
        self.inner.create(&self.id, number, bytes).await.expect("memory");
    }
}

fn payload(number: u64) -> Bytes {
    Bytes::from(format!("epoch {number}"))
}

/// Polls once: a call that is held is on its way then.
fn start<F: Future + Unpin>(future: &mut F) {
    assert!(future.now_or_never().is_none(), "it is held");
}
