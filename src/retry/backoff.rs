use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When to try again: exponential with full jitter, so that many clients do not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest wait before the first retry. 25 ms.
    pub first: Duration,
    /// How many times longer each further wait may be. 8.
    pub factor: u32,
    /// The longest wait of all. 30 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(25), factor: 8, max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The longest wait before retry number `retry`, from 0.
    pub fn longest(&self, retry: u32) -> Duration {
        let factor = self.factor.max(1).saturating_pow(retry);
        self.first.saturating_mul(factor).min(self.max)
    }

    /// The wait before retry number `retry`: anywhere from nothing to the longest.
    pub fn wait(&self, retry: u32, random: u64) -> Duration {
        share(self.longest(retry), random)
    }

    /// As [`wait`](Self::wait), but at least half of the longest: a series of these always uses up a budget.
    pub fn wait_at_least_half(&self, retry: u32, random: u64) -> Duration {
        let half = self.longest(retry) / 2;
        half + share(half, random)
    }
}

/// A random share of `whole`.
fn share(whole: Duration, random: u64) -> Duration {
    // The upper 32 bits as a fraction; the product stays far below the limits of `u128`.
    let nanos = (whole.as_nanos() * u128::from(random >> 32)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_up_to_its_maximum_and_uses_the_whole_range() {
        let backoff = Backoff::default();
        let longest: Vec<_> = (0..6).map(|n| backoff.longest(n).as_millis()).collect();
        assert_eq!(longest, [25, 200, 1_600, 12_800, 30_000, 30_000]);
        assert_eq!(backoff.wait(3, 0), Duration::ZERO);
        assert!(backoff.wait(3, u64::MAX) > Duration::from_millis(12_799));
        assert_eq!(backoff.wait_at_least_half(3, 0), Duration::from_millis(6_400));
        assert_eq!(backoff.longest(u32::MAX), backoff.max);
    }
}
