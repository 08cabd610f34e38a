//! Which request meets which fault: decided by its number and a seed, so a request that is tried again has a new chance.

use super::content::mix;

/// How often requests fail.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    /// Every so many requests are answered 429; 0 for never.
    pub(crate) throttle_every: u64,
    /// `Retry-After` of a 429, in seconds.
    pub(crate) retry_after: u64,
    /// Requests in a thousand that are answered 503.
    pub(crate) unavailable: u64,
    /// Responses in a thousand that break off half way.
    pub(crate) cut: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { seed: 7, throttle_every: 0, retry_after: 0, unavailable: 0, cut: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Throttled { retry_after: u64 },
    Unavailable,
    CutBody,
}

impl Faults {
    pub(super) fn of_request(&self, number: u64) -> Option<Fault> {
        if self.throttle_every > 0 && number % self.throttle_every == 0 {
            return Some(Fault::Throttled { retry_after: self.retry_after });
        }
        let drawn = mix(self.seed ^ mix(number)) % 1_000;
        if drawn < self.unavailable {
            Some(Fault::Unavailable)
        } else if drawn < self.unavailable + self.cut {
            Some(Fault::CutBody)
        } else {
            None
        }
    }
}
