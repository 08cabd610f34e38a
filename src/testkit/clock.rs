use crate::env::Clock;
use crate::env::watch;
use crate::model::Timestamp;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// 2024-01-01T00:00:00Z, where every manual clock starts.
const START_MICROS: i64 = 1_704_067_200_000_000;
/// How often a sleeper lets all others go on before it takes the moment for quiet.
const QUIET: u32 = 16;
/// How often at most: an earlier sleeper that is no longer polled holds nobody up for good.
const STUCK: u32 = 4096;

/// A clock that starts at 2024-01-01T00:00:00Z and on which no real time passes. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    elapsed: watch::Sender<Duration>,
    /// Microseconds by which the time of day was set, forth or back.
    set: AtomicI64,
    moves: Moves,
    sleepers: Mutex<Sleepers>,
}

/// What moves a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    /// The test alone.
    Hand,
    /// Quiet: when all others sleep or wait.
    Quiet,
    /// Each sleep that is shorter than this, at once.
    Sleep(Duration),
}

#[derive(Debug, Default)]
struct Sleepers {
    deadlines: BTreeSet<(Duration, u64)>,
    next: u64,
}

impl ManualClock {
    /// A clock that moves only by [`advance`](Self::advance).
    pub fn new() -> Self {
        Self::with(Moves::Hand)
    }

    /// A clock that also moves by itself to the earliest sleeper's moment, once the others have nothing left to do but to
    /// sleep or to wait. Work on other threads is not waited for: use it in an environment that works inline.
    pub fn auto() -> Self {
        Self::with(Moves::Quiet)
    }

    /// A clock on which sleeps shorter than `limit` pass at once, and longer ones by [`advance`](Self::advance) alone: for connections to real
    /// servers, of whose answers no clock knows. Give what must not pass, such as limits of time, a length beyond `limit`.
    pub fn hasty(limit: Duration) -> Self {
        Self::with(Moves::Sleep(limit))
    }

    fn with(moves: Moves) -> Self {
        Self(Arc::new(Inner {
            elapsed: watch::Sender::new(Duration::ZERO),
            set: AtomicI64::new(0),
            moves,
            sleepers: Mutex::default(),
        }))
    }

    /// Moves the clock on, and wakes who has slept long enough.
    pub fn advance(&self, duration: Duration) {
        self.0.elapsed.send_modify(|elapsed| *elapsed += duration);
    }

    /// Sets the time of day, forth or back, as NTP or an operator does: who measures or sleeps does not notice.
    pub fn set(&self, now: Timestamp) {
        let by = now.as_micros().saturating_sub(self.now().as_micros());
        self.0.set.fetch_add(by, Ordering::SeqCst);
    }

    /// How many sleep now.
    pub fn sleepers(&self) -> usize {
        self.sleeping().deadlines.len()
    }

    fn sleeping(&self) -> MutexGuard<'_, Sleepers> {
        self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self, sleeper: (Duration, u64)) -> bool {
        self.sleeping().deadlines.first() == Some(&sleeper)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let start = START_MICROS.saturating_add(self.0.set.load(Ordering::SeqCst));
        Timestamp::from_micros(start).saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.0.elapsed.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if matches!(self.0.moves, Moves::Sleep(limit) if duration < limit) {
            self.advance(duration);
            return tokio::task::yield_now().boxed();
        }
        let asleep = Asleep::new(self, self.monotonic().saturating_add(duration));
        if self.0.moves == Moves::Quiet { asleep.until_quiet().boxed() } else { asleep.until_told().boxed() }
    }
}

/// A sleeper, known to the clock until it is dropped.
struct Asleep {
    clock: ManualClock,
    key: (Duration, u64),
}

impl Asleep {
    fn new(clock: &ManualClock, deadline: Duration) -> Self {
        let mut sleepers = clock.sleeping();
        let key = (deadline, sleepers.next);
        sleepers.next += 1;
        sleepers.deadlines.insert(key);
        drop(sleepers);
        Self { clock: clock.clone(), key }
    }

    async fn until_told(self) {
        let mut elapsed = self.clock.0.elapsed.subscribe();
        let told = elapsed.wait_for(|elapsed| *elapsed >= self.key.0).await;
        debug_assert!(told.is_ok(), "the sleeper holds the clock");
    }

    async fn until_quiet(self) {
        let (mut seen, mut quiet) = (self.clock.monotonic(), 0);
        loop {
            tokio::task::yield_now().await;
            let now = self.clock.monotonic();
            if now >= self.key.0 {
                return;
            }
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
            if (quiet >= QUIET && self.clock.is_first(self.key)) || quiet >= STUCK {
                self.clock.advance(self.key.0 - now);
            }
        }
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.clock.sleeping().deadlines.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join3;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn moves_only_when_told() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep(SECOND);
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(SECOND / 2);
        assert!((&mut sleep).now_or_never().is_none());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(SECOND / 2);
        assert!((&mut sleep).now_or_never().is_some());
        drop(sleep);
        assert_eq!((clock.sleepers(), clock.now()), (0, Timestamp::from_micros(START_MICROS + 1_000_000)));
    }

    #[tokio::test]
    async fn nobody_sleeps_longer_because_the_time_of_day_was_set() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep(SECOND);
        clock.set(Timestamp::from_micros(7));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp::from_micros(7), Duration::ZERO));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(SECOND);
        assert!(sleep.now_or_never().is_some());
        assert_eq!(clock.now(), Timestamp::from_micros(1_000_007));
    }

    #[tokio::test]
    async fn moves_by_itself_to_the_earliest_sleeper() {
        let clock = ManualClock::auto();
        let order = Mutex::new(Vec::new());
        let sleeper = |seconds: u32| {
            let (clock, order) = (clock.clone(), &order);
            async move {
                clock.sleep(SECOND * seconds).await;
                order.lock().expect("not poisoned").push((seconds, clock.monotonic()));
            }
        };
        join3(sleeper(3_600), sleeper(1), sleeper(60)).await;
        let expected = [1, 60, 3_600].map(|s| (s, SECOND * s));
        assert_eq!(order.into_inner().expect("not poisoned"), expected);
    }

    #[tokio::test]
    async fn is_hasty_up_to_a_limit() {
        let clock = ManualClock::hasty(SECOND * 60);
        clock.sleep(SECOND * 59).await;
        assert_eq!(clock.monotonic(), SECOND * 59);
        let mut limit = clock.sleep(SECOND * 60);
        clock.sleep(SECOND * 59).await;
        assert!((&mut limit).now_or_never().is_none());
        clock.advance(SECOND);
        assert!(limit.now_or_never().is_some());
    }

    #[tokio::test]
    async fn is_not_held_up_by_a_sleeper_that_nobody_polls() {
        let clock = ManualClock::auto();
        let _forgotten = clock.sleep(SECOND);
        clock.sleep(SECOND * 5).await;
        assert_eq!(clock.monotonic(), SECOND * 5);
    }
}
