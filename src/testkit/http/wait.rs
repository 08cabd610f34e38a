use super::Reply;
use crate::env::Env;
use std::time::Duration;

/// How an API that has had too many requests says when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Not at all.
    Unsaid,
    /// As a number of seconds, in `Retry-After` (RFC 9110, 10.2.3).
    Seconds(u64),
    /// As the date that is so many seconds from now, in `Retry-After`.
    Date(u64),
    /// The same by a clock that is ahead, and `Date` says it.
    DateAhead {
        /// Seconds to wait.
        wait: u64,
        /// Seconds that the clock is ahead.
        ahead: u64,
    },
    /// As this text, in `Retry-After`: words, negative numbers, absurd ones.
    Text(&'static str),
    /// In `X-RateLimit-Reset`, as a number of seconds; `X-RateLimit-Remaining` says how many requests are left, also in right answers.
    Reset(u64),
    /// The same, as seconds since 1970.
    ResetAt(u64),
}

impl Wait {
    /// `reply`, with what is said of the wait when so many requests are `left`.
    pub(super) fn say(self, reply: Reply, left: u64, env: &Env) -> Reply {
        let reset = |reply: Reply, reset: String| {
            reply.header("x-ratelimit-remaining", &left.to_string()).header("x-ratelimit-reset", &reset)
        };
        match self {
            Self::Reset(seconds) => reset(reply, seconds.to_string()),
            Self::ResetAt(seconds) => reset(reply, (env.now().as_micros() / 1_000_000 + whole(seconds)).to_string()),
            _ if left > 0 => reply,
            Self::Unsaid => reply,
            Self::Seconds(seconds) => reply.header("retry-after", &seconds.to_string()),
            Self::Date(seconds) => reply.header("retry-after", &date(env, seconds)),
            Self::DateAhead { wait, ahead } => {
                reply.header("retry-after", &date(env, wait + ahead)).header("date", &date(env, ahead))
            }
            Self::Text(text) => reply.header("retry-after", text),
        }
    }
}

fn whole(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn date(env: &Env, seconds: u64) -> String {
    let at = env.now().saturating_add(Duration::from_secs(seconds)).as_micros();
    let at = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}
