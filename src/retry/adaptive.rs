use super::turns::{Place, Priority, Turns};
use crate::env::Env;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between which bounds, and how fast, an [`AdaptiveLimit`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Concurrency {
    /// Calls at the same time that are always allowed; at least 1. 1.
    pub min: u32,
    /// Calls at the same time that are never exceeded. 64.
    pub max: u32,
    /// Where it begins. 16.
    pub initial: u32,
    /// What is left of the limit after an overload, from 0 to 1. 0.7.
    pub decrease: f64,
    /// How many times slower than usual an answer may be before the limit goes down; at least 1. Answers within 100 ms are
    /// never slow. 2.
    pub tolerance: f64,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { min: 1, max: 64, initial: 16, decrease: 0.7, tolerance: 2.0 }
    }
}

impl Concurrency {
    /// Moves between `min` and `max`; begins at 16, or at what is nearest to that.
    pub fn between(min: u32, max: u32) -> Self {
        let min = min.max(1);
        let max = max.max(min);
        Self { min, max, initial: 16.clamp(min, max), ..Self::default() }
    }

    /// Always `calls` at the same time.
    pub fn fixed(calls: u32) -> Self {
        Self::between(calls, calls)
    }

    /// Sets where it begins.
    #[must_use]
    pub fn with_initial(mut self, initial: u32) -> Self {
        self.initial = initial;
        self
    }

    /// Sets how many times slower than usual an answer may be before the limit goes down.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }
}

/// How many calls may run at the same time: as many as the other side bears, found out while they run.
///
/// An overload (a refusal for the rate, a failure for load, a timeout) makes the limit smaller by a factor, once for all
/// calls that were under way; a success while the limit is used makes it larger by one per round of calls. Answers that become
/// slower than usual make it smaller too, before there are refusals. Clones are the same limit: one per host.
#[derive(Clone)]
pub struct AdaptiveLimit(Arc<Inner>);

struct Inner {
    settings: Concurrency,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    under_way: u32,
    turns: Turns,
    /// Calls that began before this were under way when the limit last went down.
    lowered_at: Option<Duration>,
    /// The usual time of an answer, in seconds.
    usual: Option<f64>,
}

impl AdaptiveLimit {
    /// A limit that moves by `settings`. Bounds that contradict each other are taken for the nearest ones that do not.
    pub fn new(settings: Concurrency) -> Self {
        let min = settings.min.max(1);
        let max = settings.max.max(min);
        let settings = Concurrency {
            min,
            max,
            decrease: if (0.0..1.0).contains(&settings.decrease) { settings.decrease } else { 0.7 },
            tolerance: if settings.tolerance >= 1.0 { settings.tolerance } else { 2.0 },
            initial: settings.initial.clamp(min, max),
        };
        let limit = f64::from(settings.initial);
        let state = State { limit, under_way: 0, turns: Turns::default(), lowered_at: None, usual: None };
        Self(Arc::new(Inner { settings, state: Mutex::new(state) }))
    }

    /// How many calls may run at the same time now.
    pub fn limit(&self) -> u32 {
        allowed(self.0.state().limit)
    }

    /// Calls that run now.
    pub fn under_way(&self) -> u32 {
        self.0.state().under_way
    }

    /// Waits until one more call may run. First come, first served within a [`Priority`].
    ///
    /// # Cancellation
    /// Cancel-safe: nothing is held, and who comes next moves up.
    pub async fn acquire(&self, env: &Env, priority: Priority) -> Permit {
        let waiting = Waiting::enter(&self.0, priority);
        loop {
            {
                let mut state = self.0.state();
                if state.under_way < allowed(state.limit) && state.turns.is_first(waiting.place) {
                    state.under_way += 1;
                    drop(state);
                    return Permit { limit: Arc::clone(&self.0), began: env.monotonic() };
                }
            }
            waiting.wake.notified().await;
        }
    }
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self::new(Concurrency::default())
    }
}

impl From<Concurrency> for AdaptiveLimit {
    fn from(settings: Concurrency) -> Self {
        Self::new(settings)
    }
}

impl fmt::Debug for AdaptiveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit").field("settings", &self.0.settings).field("limit", &self.limit()).finish()
    }
}

/// A limit of 16.9 lets 16 calls run.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between two numbers of `u32`")]
fn allowed(limit: f64) -> u32 {
    limit as u32
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bounded(&self, limit: f64) -> f64 {
        limit.clamp(f64::from(self.settings.min), f64::from(self.settings.max))
    }

    /// A call that took `took` was answered.
    fn answered(&self, took: Duration) {
        let mut state = self.state();
        let took = took.as_secs_f64();
        let usual = *state.usual.get_or_insert(took);
        state.usual = Some(usual + (took - usual) / SAMPLES);
        // What is not used says nothing about whether more would be borne.
        if state.under_way * 2 < allowed(state.limit) {
            return;
        }
        let slower = took / (usual * self.settings.tolerance).max(f64::MIN_POSITIVE);
        let limit = if slower > 1.0 && took > NOISE {
            state.limit * (1.0 - (1.0 - 1.0 / slower.min(2.0)) * SMOOTHING)
        } else {
            state.limit + 1.0 / state.limit
        };
        state.limit = self.bounded(limit);
        state.turns.wake();
    }

    /// A call that began at `began` was too much.
    fn overloaded(&self, began: Duration, now: Duration) {
        let mut state = self.state();
        // The limit has gone down for it already.
        if state.lowered_at.is_some_and(|lowered_at| began < lowered_at) {
            return;
        }
        state.lowered_at = Some(now);
        let borne = state.limit.min(f64::from(state.under_way));
        state.limit = self.bounded(borne * self.settings.decrease);
    }
}

/// A place in the queue, given up when dropped.
struct Waiting<'a> {
    limit: &'a Inner,
    place: Place,
    wake: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn enter(limit: &'a Inner, priority: Priority) -> Self {
        let (place, wake) = limit.state().turns.enter(priority, &[(0, 1)]);
        Self { limit, place, wake }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.limit.state().turns.leave(self.place);
    }
}

/// One call that runs; dropped when it is over. Say how it went, or it teaches nothing.
#[must_use = "the call counts as over when this is dropped"]
pub struct Permit {
    limit: Arc<Inner>,
    began: Duration,
}

impl Permit {
    /// The answer began, so long after the call was sent: that tells how busy the other side is. The call goes on.
    pub fn answered(&self, took: Duration) {
        self.limit.answered(took);
    }

    /// The other side had too much to do: it refused for the rate or for load, or did not answer in time.
    pub fn overloaded(&self, env: &Env) {
        self.limit.overloaded(self.began, env.monotonic());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.turns.wake();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("began", &self.began).finish_non_exhaustive()
    }
}

/// Seconds: an answer that comes sooner is not slow, however fast others were.
const NOISE: f64 = 0.1;
/// Answers that the usual time of one is the average of, about.
const SAMPLES: f64 = 100.0;
/// How far one slow answer moves the limit: half as fast as usual by a tenth.
const SMOOTHING: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{ManualClock, SeededEntropy, test_env};
    use futures::FutureExt;

    const SECOND: Duration = Duration::from_secs(1);

    fn env(clock: &ManualClock) -> Env {
        Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)))
    }

    async fn held(limit: &AdaptiveLimit, env: &Env, n: u32) -> Vec<Permit> {
        let mut permits = Vec::new();
        for _ in 0..n {
            permits.push(limit.acquire(env, Priority::Incremental).await);
        }
        permits
    }

    /// Rounds of as many calls as are allowed, each answered after a second by a host that bears `capacity` of them.
    async fn rounds(clock: &ManualClock, limit: &AdaptiveLimit, n: u32, capacity: u32) {
        let env = env(clock);
        for _ in 0..n {
            let permits = held(limit, &env, limit.limit()).await;
            clock.advance(SECOND);
            for (n, permit) in permits.iter().enumerate() {
                if n < capacity as usize { permit.answered(SECOND) } else { permit.overloaded(&env) }
            }
        }
    }

    #[tokio::test]
    async fn finds_what_the_host_bears_and_stays_about_there() {
        for capacity in [3, 10, 40] {
            let (clock, limit) = (ManualClock::new(), AdaptiveLimit::default());
            rounds(&clock, &limit, 200, capacity).await;
            let mut seen = Vec::new();
            for _ in 0..50 {
                rounds(&clock, &limit, 1, capacity).await;
                seen.push(limit.limit());
            }
            let (low, high) = (seen.iter().min().copied(), seen.iter().max().copied());
            assert!(low >= Some(capacity / 2) && high <= Some(capacity + 1), "{capacity}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn stays_within_its_bounds() {
        let (clock, limit) = (ManualClock::new(), AdaptiveLimit::new(Concurrency::between(2, 5)));
        rounds(&clock, &limit, 50, 0).await;
        assert_eq!(limit.limit(), 2);
        rounds(&clock, &limit, 50, 1_000).await;
        assert_eq!(limit.limit(), 5);
        let odd = Concurrency { min: 0, max: 0, initial: 9, decrease: f64::NAN, tolerance: f64::NAN };
        let limit = AdaptiveLimit::new(odd);
        rounds(&clock, &limit, 5, 0).await;
        assert_eq!(limit.limit(), 1, "one call always runs");
    }

    #[tokio::test]
    async fn many_refusals_of_one_moment_count_once() {
        let clock = ManualClock::new();
        let env = env(&clock);
        let limit = AdaptiveLimit::new(Concurrency::between(1, 64).with_initial(10));
        let permits = held(&limit, &env, 10).await;
        clock.advance(SECOND);
        permits.iter().for_each(|permit| permit.overloaded(&env));
        assert_eq!(limit.limit(), 7);
        clock.advance(SECOND);
        drop(permits);
        let permits = held(&limit, &env, 7).await;
        permits[0].overloaded(&env);
        assert_eq!(limit.limit(), 4);
    }

    #[tokio::test]
    async fn answers_that_become_slow_lower_it_without_a_refusal() {
        let clock = ManualClock::new();
        let env = env(&clock);
        let limit = AdaptiveLimit::new(Concurrency::between(1, 64).with_initial(20));
        let round = async |time: Duration| {
            let permits = held(&limit, &env, limit.limit()).await;
            clock.advance(time);
            permits.iter().for_each(|permit| permit.answered(time));
        };
        for _ in 0..5 {
            round(SECOND).await;
        }
        let before = limit.limit();
        assert!(before >= 24, "{before}");
        round(8 * SECOND).await;
        assert!(limit.limit() < before / 2, "{} after {before}", limit.limit());
    }

    #[tokio::test]
    async fn answers_within_a_blink_are_not_slow() {
        let (env, limit) = (test_env(1), AdaptiveLimit::new(Concurrency::between(1, 64).with_initial(20)));
        for time in [1, 90, 90, 90] {
            let permits = held(&limit, &env, limit.limit()).await;
            permits.iter().for_each(|permit| permit.answered(Duration::from_millis(time)));
        }
        assert!(limit.limit() >= 22, "{limit:?}");
    }

    #[tokio::test]
    async fn what_is_not_used_does_not_grow() {
        let (env, limit) = (test_env(1), AdaptiveLimit::default());
        for _ in 0..100 {
            limit.acquire(&env, Priority::Incremental).await.answered(SECOND);
        }
        assert_eq!(limit.limit(), 16);
    }

    #[tokio::test]
    async fn first_come_first_served_and_backfill_last_and_a_dropped_wait_holds_nothing() {
        let (env, limit) = (test_env(1), AdaptiveLimit::new(Concurrency::fixed(1)));
        let running = limit.acquire(&env, Priority::Incremental).await;
        let mut backfill = Box::pin(limit.acquire(&env, Priority::Backfill));
        let mut gone = Box::pin(limit.acquire(&env, Priority::Incremental));
        let mut next = Box::pin(limit.acquire(&env, Priority::Incremental));
        for waiting in [&mut backfill, &mut gone, &mut next] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(running);
        assert!((&mut backfill).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        let permit = (&mut next).now_or_never().expect("its turn");
        assert!((&mut backfill).now_or_never().is_none());
        drop(permit);
        drop((&mut backfill).now_or_never().expect("its turn"));
        assert_eq!(limit.under_way(), 0);
    }
}
