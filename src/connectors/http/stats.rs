use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a [`Rest`](super::Rest) source has done so far, in all partitions: a handle that can still be asked when the source is a
/// part of a pipeline. The same counts are metrics.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    throttled: AtomicU64,
    fault_retries: AtomicU64,
    rate_limit_retries: AtomicU64,
    waited_micros: AtomicU64,
}

/// Why a request is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    Fault,
    RateLimited,
}

impl Stats {
    /// Requests sent, redirects and retries included.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Responses that asked to come more slowly.
    pub fn throttled(&self) -> u64 {
        self.0.throttled.load(Ordering::Relaxed)
    }

    /// Requests that were sent again after a fault.
    pub fn fault_retries(&self) -> u64 {
        self.0.fault_retries.load(Ordering::Relaxed)
    }

    /// Requests that were sent again after a response that asked to come more slowly.
    pub fn rate_limit_retries(&self) -> u64 {
        self.0.rate_limit_retries.load(Ordering::Relaxed)
    }

    /// Time that reads have really waited, before retries and because the API asked to.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.0.waited_micros.load(Ordering::Relaxed))
    }

    /// `status` is that of the response, or `none`.
    pub(super) fn count_request(&self, status: &str) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("landfall_http_requests_total", "status" => status.to_owned()).increment(1);
    }

    pub(super) fn count_throttled(&self) {
        self.0.throttled.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("landfall_http_throttled_total").increment(1);
    }

    pub(super) fn count_retry(&self, why: Retry) {
        let (count, reason) = match why {
            Retry::Fault => (&self.0.fault_retries, "fault"),
            Retry::RateLimited => (&self.0.rate_limit_retries, "rate_limited"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("landfall_http_retries_total", "reason" => reason).increment(1);
    }

    /// Counts time that was really waited; the metric has whole seconds of the sum.
    pub(super) fn count_wait(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let before = self.0.waited_micros.fetch_add(micros, Ordering::Relaxed);
        let seconds = before.saturating_add(micros) / 1_000_000 - before / 1_000_000;
        metrics::counter!("landfall_http_wait_seconds_total").increment(seconds);
    }
}
