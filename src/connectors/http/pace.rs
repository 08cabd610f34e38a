//! How fast a source goes, and the waits that come of it.

use super::status::Fault;
use crate::env::Env;
use crate::retry::rate::{Call, RateBudget, Ticket, Turn};
use crate::retry::{AdaptiveLimit, Permit, Priority, WaitBudget};
use crate::source::{Retry, Traffic};
use reqwest::Url;
use std::time::Duration;

/// How many calls per time and at the same time, for all reads of a source.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    pub(super) budget: Option<RateBudget>,
    pub(super) limit: AdaptiveLimit,
    pub(super) priority: Priority,
}

impl Pace {
    /// Waits until one more call may run.
    pub(super) async fn permit(&self, env: &Env, priority: Priority) -> Permit {
        self.limit.acquire(env, priority).await
    }

    /// Waits until the budget has room for a call of `method` on `url`, if there is one.
    pub(super) async fn turn(
        &self,
        env: &Env,
        method: &str,
        url: &Url,
        waits: &Waits,
    ) -> Result<Option<Ticket>, Fault> {
        let Some(budget) = &self.budget else { return Ok(None) };
        let call = Call::new(method, url.path())
            .with_host(url.host_str().unwrap_or_default())
            .with_query(url.query().unwrap_or_default());
        let _timed = waits.timed(env);
        match budget.acquire(env, &call, waits.priority, waits.budget.left()).await? {
            Turn::Now(ticket) => Ok(Some(ticket)),
            Turn::PutOff { wait } => Err(Fault::PutOff { wait }),
        }
    }
}

/// How long one read may still wait because it was asked to, and where it counts what it does.
pub(super) struct Waits {
    pub(super) budget: WaitBudget,
    /// What goes first where others wait too.
    pub(super) priority: Priority,
    pub(super) tally: Tally,
}

impl Waits {
    /// Counts the time until it is dropped, also of a wait that is cut short.
    pub(super) fn timed<'a>(&self, env: &'a Env) -> Timed<'a> {
        Timed { env, began: env.monotonic(), tally: self.tally.clone() }
    }
}

/// A wait that is counted when it is over.
pub(super) struct Timed<'a> {
    env: &'a Env,
    began: Duration,
    tally: Tally,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.tally.wait(self.env.monotonic().saturating_sub(self.began));
    }
}

/// Counts for the source, for the run, and for the metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) source: Traffic,
    pub(super) run: Traffic,
}

impl Tally {
    /// `status` is that of the response, or `none`.
    pub(super) fn request(&self, status: &str) {
        self.both().into_iter().for_each(Traffic::count_request);
        metrics::counter!("landfall_http_requests_total", "status" => status.to_owned()).increment(1);
    }

    pub(super) fn throttled(&self) {
        self.both().into_iter().for_each(Traffic::count_throttled);
        metrics::counter!("landfall_http_throttled_total").increment(1);
    }

    pub(super) fn retry(&self, why: Retry) {
        self.both().into_iter().for_each(|traffic| traffic.count_retry(why));
        let reason = match why {
            Retry::Fault => "fault",
            Retry::RateLimited => "rate_limited",
            Retry::Auth => "auth",
        };
        metrics::counter!("landfall_http_retries_total", "reason" => reason).increment(1);
    }

    /// The metric has whole seconds of the sum.
    fn wait(&self, waited: Duration) {
        let before = self.source.waited();
        self.both().into_iter().for_each(|traffic| traffic.count_wait(waited));
        let seconds = before.saturating_add(waited).as_secs() - before.as_secs();
        metrics::counter!("landfall_http_wait_seconds_total").increment(seconds);
    }

    fn both(&self) -> [&Traffic; 2] {
        [&self.source, &self.run]
    }
}
