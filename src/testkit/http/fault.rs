use super::Reply;
use crate::env::Env;
use async_compression::tokio::bufread::GzipEncoder;
use futures::FutureExt;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What goes wrong with one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A status and an error as JSON.
    Status(u16),
    /// 429 with a `Retry-After`.
    Busy(RetryAfter),
    /// The connection is closed after so many bytes of the body.
    CutAt(usize),
    /// The body is compressed with gzip, and its second half is missing although the response is whole.
    CutGzip,
    /// The body is longer than its `Content-Length` says.
    WrongLength,
    /// A page of HTML with the status 200, as of a login.
    Html,
    /// The token, link or number of the next page is that of this one. What has none (an offset) is served as it is.
    Repeated,
    /// Before the answer, the first row changes, and so moves to the end: what comes after it moves up.
    Moved,
    /// Half of the body, and then silence until the client goes away.
    Silent,
}

/// How a wait is said in a `Retry-After` (RFC 9110, 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// As a number of seconds.
    Seconds(u64),
    /// As the date that is so many seconds from now, by the clock of [`ApiScript::env`](super::ApiScript::env).
    Date(u64),
}

impl Fault {
    /// All that a source gets over by trying again.
    pub const TRANSIENT: [Self; 6] = [
        Self::Status(503),
        Self::Busy(RetryAfter::Seconds(1)),
        Self::Busy(RetryAfter::Date(2)),
        Self::CutAt(9),
        Self::CutGzip,
        Self::WrongLength,
    ];

    /// The answer instead of the right one.
    pub(super) fn spoil(&self, right: Reply, env: &Env) -> Reply {
        match self {
            Self::Status(status) => {
                Reply::status(*status, r#"{"error":"on purpose"}"#).header("content-type", "application/json")
            }
            Self::Busy(after) => Reply::status(429, "").header("retry-after", &after.value(env)),
            Self::CutAt(bytes) => right.cut_at(*bytes),
            Self::CutGzip => {
                let whole = gzip(&right.body);
                let mut cut = right.header("content-encoding", "gzip");
                cut.body = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
                cut
            }
            Self::WrongLength => {
                let said = right.body.len() / 2;
                right.claiming(said)
            }
            Self::Html => {
                Reply::status(200, "<html><body>Please log in</body></html>").header("content-type", "text/html")
            }
            Self::Silent => {
                let half = right.body.len() / 2;
                right.silent_at(half)
            }
            Self::Repeated | Self::Moved => right,
        }
    }
}

impl RetryAfter {
    fn value(self, env: &Env) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(seconds) => {
                let at = env.now().saturating_add(Duration::from_secs(seconds)).as_micros();
                let at = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
                jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
            }
        }
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    // Both ends are in memory: it never waits.
    let done = GzipEncoder::new(body).read_to_end(&mut compressed).now_or_never();
    debug_assert!(matches!(done, Some(Ok(_))), "in memory");
    compressed
}
