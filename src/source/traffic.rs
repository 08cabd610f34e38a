use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What reading cost the other side and how long it made us wait: counted by the source, shown in the report of the run.
/// A handle; clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    throttled: AtomicU64,
    fault_retries: AtomicU64,
    rate_limit_retries: AtomicU64,
    auth_retries: AtomicU64,
    waited_micros: AtomicU64,
}

/// Why a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// It met a fault.
    Fault,
    /// The response asked to come more slowly.
    RateLimited,
    /// The credentials were refused, and have been renewed.
    Auth,
}

impl Traffic {
    /// A request was sent, redirects and retries included.
    pub fn count_request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A response asked to come more slowly.
    pub fn count_throttled(&self) {
        self.0.throttled.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is sent again.
    pub fn count_retry(&self, why: Retry) {
        let count = match why {
            Retry::Fault => &self.0.fault_retries,
            Retry::RateLimited => &self.0.rate_limit_retries,
            Retry::Auth => &self.0.auth_retries,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Time was really waited: for a budget, before a retry, or because the other side asked to. Of a wait that was cut short,
    /// only what passed.
    pub fn count_wait(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.0.waited_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Requests sent, redirects and retries included.
    pub fn requests(&self) -> u64 {
        self.counts().requests
    }

    /// Responses that asked to come more slowly.
    pub fn throttled(&self) -> u64 {
        self.counts().throttled
    }

    /// Requests that were sent again after a fault.
    pub fn fault_retries(&self) -> u64 {
        self.counts().fault_retries
    }

    /// Requests that were sent again after a response that asked to come more slowly.
    pub fn rate_limit_retries(&self) -> u64 {
        self.counts().rate_limit_retries
    }

    /// Time that reads have really waited.
    pub fn waited(&self) -> Duration {
        self.counts().waited
    }

    /// What was counted so far.
    pub fn counts(&self) -> TrafficCounts {
        let Counts { requests, throttled, fault_retries, rate_limit_retries, auth_retries, waited_micros } = &*self.0;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrafficCounts {
            requests: read(requests),
            throttled: read(throttled),
            fault_retries: read(fault_retries),
            rate_limit_retries: read(rate_limit_retries),
            auth_retries: read(auth_retries),
            waited: Duration::from_micros(read(waited_micros)),
        }
    }
}

/// What [`Traffic`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrafficCounts {
    /// Requests sent, redirects and retries included.
    pub requests: u64,
    /// Responses that asked to come more slowly.
    pub throttled: u64,
    /// Requests that were sent again after a fault.
    pub fault_retries: u64,
    /// Requests that were sent again after a response that asked to come more slowly.
    pub rate_limit_retries: u64,
    /// Requests that were sent again with renewed credentials.
    pub auth_retries: u64,
    /// Time that reads have really waited, all of them together.
    pub waited: Duration,
}

impl fmt::Display for TrafficCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, throttled, fault_retries, rate_limit_retries, auth_retries, waited } = self;
        write!(f, "requests={requests} throttled={throttled} waited={:.3}s ", waited.as_secs_f64())?;
        write!(f, "retries: fault={fault_retries} rate_limited={rate_limit_retries} auth={auth_retries}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_into_the_same_and_it_reads_well() {
        let traffic = Traffic::default();
        let clone = traffic.clone();
        (0..3).for_each(|_| clone.count_request());
        clone.count_throttled();
        for why in [Retry::Fault, Retry::RateLimited, Retry::RateLimited] {
            clone.count_retry(why);
        }
        clone.count_wait(Duration::from_millis(1_500));
        assert_eq!(
            traffic.counts().to_string(),
            "requests=3 throttled=1 waited=1.500s retries: fault=1 rate_limited=2 auth=0"
        );
    }
}
