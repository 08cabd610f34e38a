use crate::env::Env;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// So many calls per time.
///
/// The window moves by default: in no stretch of that length are there more calls than the limit, wherever it begins. That
/// is safe for every API; one with [`fixed`](Self::fixed) or [`aligned`](Self::aligned) windows lets more through at
/// their borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Weight that one window has room for.
    pub(super) limit: u32,
    /// Its length.
    pub(super) per: Duration,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Moving,
    Fixed,
    Aligned,
}

impl Rate {
    /// `limit` calls in any stretch of the length `per`.
    pub fn new(limit: u32, per: Duration) -> Self {
        Self { limit, per, kind: Kind::Moving }
    }

    /// Weight that one window has room for.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The length of a window.
    pub fn per(&self) -> Duration {
        self.per
    }

    /// The window begins with its first call, and the whole limit is there again when it ends.
    #[must_use]
    pub fn fixed(mut self) -> Self {
        self.kind = Kind::Fixed;
        self
    }

    /// Windows begin at multiples of their length since 1970-01-01T00:00:00Z: each full minute, hour or day of UTC. The
    /// clocks of this machine and of the API decide together, so a call at the border may be counted into the other window.
    #[must_use]
    pub fn aligned(mut self) -> Self {
        self.kind = Kind::Aligned;
        self
    }
}

/// A moment on the axis that windows are kept on, and the same moment as time since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Duration,
    pub(super) utc: Duration,
}

impl Moment {
    /// Now, on the monotonic clock.
    pub(super) fn of(env: &Env) -> Self {
        Self { at: env.monotonic(), utc: utc(env) }
    }

    /// Now, on the clock that other processes see too.
    pub(super) fn shared(env: &Env) -> Self {
        let utc = utc(env);
        Self { at: utc, utc }
    }
}

fn utc(env: &Env) -> Duration {
    Duration::from_micros(u64::try_from(env.now().as_micros()).unwrap_or_default())
}

/// What was taken of one rate.
#[derive(Clone, Debug)]
pub(super) struct Window {
    rate: Rate,
    /// In the order in which it is given back.
    taken: VecDeque<Taken>,
    sum: u64,
    /// What is taken within this time is given back together.
    grain: Duration,
}

/// What was taken at about one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    /// When the first of it would be given back alone.
    #[serde(with = "micros")]
    first: Duration,
    /// When it is given back.
    #[serde(with = "micros")]
    frees: Duration,
    weight: u64,
}

impl Taken {
    /// Whether all of it can have been taken: in the order in which it is given back, and not more than can be counted.
    pub(super) fn can_follow(all: &VecDeque<Self>) -> bool {
        let in_order = all.iter().all(|taken| taken.first <= taken.frees)
            && all.iter().zip(all.iter().skip(1)).all(|(one, next)| one.frees <= next.frees);
        let total = all.iter().try_fold(0_u64, |sum, taken| sum.checked_add(taken.weight));
        in_order && total.is_some_and(|total| total <= u64::MAX / 2)
    }
}

impl Window {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with(rate, VecDeque::new(), ENTRIES)
    }

    /// A window from which `taken` was taken; it holds about as many `entries` at most.
    pub(super) fn with(rate: Rate, taken: VecDeque<Taken>, entries: u32) -> Self {
        let sum = taken.iter().map(|taken| taken.weight).sum();
        Self { rate, taken, sum, grain: rate.per / entries }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    pub(super) fn taken(&self) -> &VecDeque<Taken> {
        &self.taken
    }

    /// How long until there is room for `total`, which may be more than one window holds: then for several of them.
    pub(super) fn wait(&mut self, now: Moment, total: u64) -> Duration {
        self.give_back(now);
        let limit = u64::from(self.rate.limit.max(1));
        let cycles = total.saturating_sub(1) / limit;
        let last = total - cycles * limit;
        let mut missing = (self.sum + last).saturating_sub(limit);
        let mut wait = Duration::ZERO;
        for taken in &self.taken {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(taken.weight);
            wait = taken.frees.saturating_sub(now.at);
        }
        let cycles = u32::try_from(cycles).unwrap_or(u32::MAX);
        wait.saturating_add(self.rate.per.saturating_mul(cycles))
    }

    pub(super) fn take(&mut self, now: Moment, weight: u64) {
        self.lease(now, Duration::ZERO, weight);
    }

    /// For how long calls may be made by what is taken now: a small part of the window, and not beyond its end.
    pub(super) fn longest_lease(&mut self, now: Moment) -> Duration {
        self.give_back(now);
        let longest = self.rate.per / LEASES;
        match (self.rate.kind, self.taken.back()) {
            (Kind::Fixed, Some(last)) => longest.min(last.frees.saturating_sub(now.at)),
            (Kind::Fixed | Kind::Moving, _) => longest,
            (Kind::Aligned, _) => longest.min(self.rate.per - since_border(now.utc, self.rate.per)),
        }
    }

    /// Takes `weight` for calls that are made up to `time` from now: it counts as taken by the last of them.
    pub(super) fn lease(&mut self, now: Moment, time: Duration, weight: u64) {
        self.give_back(now);
        let last = self.taken.back();
        let frees = match (self.rate.kind, last) {
            (Kind::Fixed, Some(last)) => last.frees,
            // It begins with the first call, which is made now.
            (Kind::Fixed, None) => now.at.saturating_add(self.rate.per),
            (Kind::Moving, _) => now.at.saturating_add(time).saturating_add(self.rate.per),
            (Kind::Aligned, _) => now.at.saturating_add(self.rate.per - since_border(now.utc, self.rate.per)),
        };
        // A clock that went back must not put the list out of order.
        let frees = last.map_or(frees, |last| frees.max(last.frees));
        self.sum += weight;
        match self.taken.back_mut() {
            // Calls close to each other are one entry, given back with its last: so the list is short, whatever the limit.
            Some(last) if frees - last.first <= self.grain => {
                last.frees = frees;
                last.weight += weight;
            }
            _ => self.taken.push_back(Taken { first: frees, frees, weight }),
        }
    }

    fn give_back(&mut self, now: Moment) {
        while let Some(taken) = self.taken.front().filter(|taken| taken.frees <= now.at) {
            self.sum -= taken.weight;
            self.taken.pop_front();
        }
    }
}

/// Durations as whole microseconds.
pub(super) mod micros {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(in super::super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

fn since_border(utc: Duration, per: Duration) -> Duration {
    let past = utc.as_nanos() % per.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(past).unwrap_or_default())
}

/// A lease is as long as this part of its window: by so much less may be used of it.
const LEASES: u32 = 20;

/// Parts of a window that are told apart: what they cost is a thousandth of its length.
const ENTRIES: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Moment {
        let at = Duration::from_millis(millis);
        Moment { at, utc: at }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_moving_window_frees_each_call_after_its_length() {
        let mut window = Window::new(Rate::new(2, SECOND));
        window.take(at(0), 1);
        window.take(at(600), 1);
        assert_eq!(window.wait(at(700), 1), Duration::from_millis(300));
        assert_eq!(window.wait(at(700), 2), Duration::from_millis(900));
        assert_eq!(window.wait(at(1_000), 1), Duration::ZERO);
        // For four calls it takes two windows.
        assert_eq!(window.wait(at(1_000), 4), Duration::from_millis(1_600));
    }

    #[test]
    fn a_fixed_window_frees_all_at_its_end_and_begins_with_a_call() {
        let mut window = Window::new(Rate::new(2, SECOND).fixed());
        window.take(at(300), 1);
        window.take(at(1_200), 1);
        assert_eq!(window.wait(at(1_250), 2), Duration::from_millis(50));
        window.take(at(1_900), 2);
        assert_eq!(window.wait(at(2_000), 1), Duration::from_millis(900));
    }

    #[test]
    fn an_aligned_window_ends_at_a_multiple_of_its_length() {
        let mut window = Window::new(Rate::new(1, SECOND).aligned());
        window.take(Moment { at: Duration::from_secs(7), utc: Duration::from_millis(5_900) }, 1);
        let now = Moment { at: Duration::from_secs(7), utc: Duration::from_millis(5_900) };
        assert_eq!(window.wait(now, 1), Duration::from_millis(100));
    }

    #[test]
    fn a_million_calls_take_a_thousand_entries() {
        let mut window = Window::new(Rate::new(1_000_000, Duration::from_secs(1_000)));
        (0..1_000_000).for_each(|n| window.take(at(n), 1));
        assert!(window.taken.len() <= 1_001, "{}", window.taken.len());
        assert_eq!(window.sum, 1_000_000);
    }

    #[test]
    fn a_lease_is_given_back_after_its_last_call_and_ends_with_its_window() {
        let mut window = Window::new(Rate::new(100, SECOND));
        let time = window.longest_lease(at(0));
        assert_eq!(time, Duration::from_millis(50));
        window.lease(at(0), time, 100);
        assert_eq!(window.wait(at(0), 1), Duration::from_millis(1_050));
        let mut window = Window::new(Rate::new(100, SECOND).fixed());
        let time = window.longest_lease(at(0));
        window.lease(at(0), time, 1);
        assert_eq!(window.wait(at(0), 100), SECOND, "its window is no longer for it");
        assert_eq!(window.longest_lease(at(980)), Duration::from_millis(20));
        assert_eq!(window.longest_lease(at(1_000)), Duration::from_millis(50));
        let mut window = Window::new(Rate::new(100, SECOND).aligned());
        assert_eq!(window.longest_lease(at(5_990)), Duration::from_millis(10));
        window.lease(at(5_990), Duration::from_millis(10), 10);
        assert_eq!(window.wait(at(5_990), 100), Duration::from_millis(10));
    }

    proptest! {
        #[test]
        fn no_stretch_of_a_moving_window_holds_more_than_its_limit(
            limit in 1_u32..20,
            calls in prop::collection::vec((0_u64..700, 1_u32..5), 1..200),
        ) {
            let mut window = Window::new(Rate::new(limit, SECOND));
            let (mut now, mut made) = (0, Vec::new());
            for (pause, weight) in calls {
                let weight = u64::from(weight.min(limit));
                now += pause;
                let wait = window.wait(at(now), weight);
                now += u64::try_from(wait.as_millis()).expect("short");
                prop_assert_eq!(window.wait(at(now), weight), Duration::ZERO);
                window.take(at(now), weight);
                made.push((now, weight));
                let stretch = made.iter().filter(|(at, _)| at + 1_000 > now);
                prop_assert!(stretch.map(|(_, weight)| weight).sum::<u64>() <= u64::from(limit));
            }
        }
    }
}
