//! `[source.limits]` and `[source.retry]`: how large and how long a response may be, and how often to try again.

use crate::value::Duration;
use crate::with::With;
use landfall::connectors::http;
use landfall::retry::{Backoff, Policy};
use landfall::{Error, Result};
use serde::Deserialize;

/// How long and how large a response may be; what is missing stays at the library's defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Until a connection stands.
    connect: Option<Duration>,
    /// The longest silence.
    idle: Option<Duration>,
    /// Until the response, or each part of it, is complete.
    total: Option<Duration>,
    /// All headers of a response: their bytes, and their number.
    head_kib: Option<u32>,
    headers: Option<u32>,
    /// A body decompressed; and on the wire, where it is less.
    body_mib: Option<u64>,
    wire_mib: Option<u64>,
    /// How many times larger decompression may make a body.
    ratio: Option<u64>,
    /// From this size on a response is landed in parts.
    part_mib: Option<u64>,
}

impl Limits {
    pub(super) fn build(&self) -> http::Limits {
        let limits = http::Limits::default()
            .with_some(self.connect, |limits, time| limits.with_connect(time.0))
            .with_some(self.idle, |limits, time| limits.with_idle(time.0))
            .with_some(self.total, |limits, time| limits.with_total(time.0))
            .with_some(self.ratio, http::Limits::with_ratio)
            .with_some(self.part_mib, |limits, mib| limits.with_part(bytes(mib)));
        let head = self.head_kib.map_or(limits.head, |kib| kib.saturating_mul(1 << 10));
        let body = self.body_mib.map_or(limits.body, bytes);
        let wire = self.wire_mib.or(self.body_mib).map_or(limits.wire, bytes);
        limits.with_head(head, self.headers.unwrap_or(limits.headers)).with_body(wire, body)
    }
}

fn bytes(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

/// How often, how soon and how long to try again; what is missing stays at the library's defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    /// Attempts that may end in a fault, the first included.
    attempts: Option<u32>,
    /// How long after its first fault a request may still be tried.
    elapsed: Option<Duration>,
    /// How long a read may wait in total because the API asks to; `0s` never waits: the read is put off.
    wait: Option<Duration>,
    /// The longest wait before the first retry.
    first: Option<Duration>,
    /// How many times longer each further wait may be.
    factor: Option<u32>,
    /// The longest wait of all.
    max: Option<Duration>,
}

impl Retry {
    pub(super) fn build(&self) -> Result<Policy> {
        if self.attempts == Some(0) {
            return Err(Error::config("read spec", "no attempt at all reads nothing")
                .with_hint("`attempts = 1` is the first one alone, without any retry"));
        }
        let mut backoff = Backoff::default();
        backoff.first = self.first.map_or(backoff.first, |time| time.0);
        backoff.factor = self.factor.unwrap_or(backoff.factor);
        backoff.max = self.max.map_or(backoff.max, |time| time.0);
        Ok(Policy::default()
            .with_backoff(backoff)
            .with_some(self.attempts, Policy::with_attempts)
            .with_some(self.elapsed, |policy, time| policy.with_elapsed(time.0))
            .with_some(self.wait, |policy, time| policy.with_wait(time.0)))
    }
}
