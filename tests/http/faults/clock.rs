//! A clock on which waits pass at once and limits of time pass when the proxy says that it has gone silent: no test waits for
//! real time, and none depends on it.

use futures::FutureExt;
use futures::future::BoxFuture;
use landfall::env::Clock;
use landfall::env::watch;
use landfall::model::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The limit of silence in these tests: no wait before a retry is nearly as long.
pub const IDLE: Duration = Duration::from_secs(100_000);
/// Never passes.
pub const NEVER: Duration = Duration::from_secs(10_000_000);
/// 2024-01-01T00:00:00Z.
const START: i64 = 1_704_067_200_000_000;

#[derive(Clone, Debug)]
pub struct LimitClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    micros: AtomicU64,
    /// How many limits of silence were set, and how often those that were set passed.
    begun: watch::Sender<u64>,
    passed: watch::Sender<u64>,
}

impl LimitClock {
    pub fn new() -> Self {
        Self(Arc::new(Inner { micros: AtomicU64::new(0), begun: watch::Sender::new(0), passed: watch::Sender::new(0) }))
    }

    /// How many limits of silence were set so far.
    pub fn begun(&self) -> u64 {
        *self.0.begun.borrow()
    }

    /// Waits until `number` of them were set, then lets all of them pass.
    pub async fn pass_limits(&self, number: u64) {
        let mut begun = self.0.begun.subscribe();
        begun.wait_for(|begun| *begun >= number).await.expect("the clock holds it");
        self.0.passed.send_modify(|passed| *passed += 1);
    }
}

impl Clock for LimitClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(START).saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.micros.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration > IDLE {
            return futures::future::pending().boxed();
        }
        if duration > IDLE / 2 {
            let mut passed = self.0.passed.subscribe();
            self.0.begun.send_modify(|begun| *begun += 1);
            return async move { passed.changed().await.expect("the clock holds it") }.boxed();
        }
        self.0.micros.fetch_add(u64::try_from(duration.as_micros()).expect("short"), Ordering::SeqCst);
        tokio::task::yield_now().boxed()
    }
}
