use super::Reply;
use super::reply::chunks;
use super::wait::Wait;
use crate::env::Env;
use async_compression::tokio::bufread::GzipEncoder;
use futures::FutureExt;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What goes wrong with one answer. [`ApiScript::fault_at`](super::ApiScript::fault_at) says with which; for a [`Server`](super::Server) of
/// one's own there is [`spoil`](Self::spoil).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A status, and an error as JSON if such an answer may have a body.
    Status(u16),
    /// A refusal because of too many requests: its status, and how the wait is said.
    Busy(u16, Wait),
    /// A page of HTML with the status 200, as of a login.
    Html,
    /// A redirect to this URL (307), which may be one of another origin.
    Redirect(String),
    /// The answer to the request before, once more. Only of a [`ScriptedApi`](super::ScriptedApi), like the five after it.
    Again,
    /// The token or link of the next page is that of this one. A paging that has neither is served as it is, also in the three after it.
    Repeated,
    /// The token or link of the next page is that of the first one.
    Circle,
    /// The link to the next page is this one.
    Leads(String),
    /// A page without rows, and with a next one.
    Empty,
    /// Before the answer, the first row changes, and so moves to the end: what comes after it moves up.
    Moved,
    /// The answer breaks off.
    Breaks(Spot, Ending),
    /// Rightly framed: the first half of the body.
    HalfBody,
    /// Rightly framed: no body.
    EmptyBody,
    /// Rightly framed: other bytes.
    Garbage,
    /// Rightly framed: one bit in the middle of the body is another.
    FlippedBit,
    /// Rightly framed: a byte in its last text that is not UTF-8.
    BadUtf8,
    /// The body is compressed with gzip, and its second half is missing although the response is whole.
    CutGzip,
    /// So many spaces, compressed with gzip.
    Bomb(usize),
    /// Bytes that are not HTTP.
    NotHttp,
    /// Ten thousand headers.
    ManyHeaders,
    /// The body is 100 bytes longer than what comes, by its `Content-Length`.
    LengthTooLong,
    /// The body is longer than its `Content-Length` says.
    LengthTooShort,
    /// Two values of `Content-Length`.
    TwoLengths,
    /// Chunks without the last, empty one.
    ChunksWithoutEnd,
    /// The end within a chunk.
    CutChunk,
    /// A size of a chunk that is no number.
    BadChunkSize,
    /// The end of the connection is the end of the body, and nothing says whether all of it has come. It has.
    UntilClose,
    /// The same, and it has not: it ends with a line.
    CutUntilClose,
    /// The right answer, twice.
    Twice,
    /// Nothing is wrong, but that it comes so much later by the clock of the script.
    Delay(Duration),
    /// Nothing is wrong, but that it comes byte by byte.
    Drip,
    /// Nothing is wrong: small chunks, and a trailer.
    Chunks,
    /// Nothing is wrong: an interim response comes first (RFC 8297).
    EarlyHints,
}

/// Where an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Before its first byte.
    Start,
    /// Among its headers.
    Head,
    /// After so many bytes of the body, or at its end.
    Byte(usize),
    /// After half of the body.
    Half,
    /// After the last line of the first half of the body.
    Line,
}

/// What follows where an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The connection is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing, until the client goes away.
    Silence,
}

/// What of the rows of a page is sent with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    Part,
    Whole,
}

impl Fault {
    /// All that a source gets over by trying again.
    pub const TRANSIENT: [Self; 22] = [
        Self::Status(408),
        Self::Status(500),
        Self::Status(503),
        Self::Busy(429, Wait::Unsaid),
        Self::Busy(429, Wait::Seconds(1)),
        Self::Busy(429, Wait::Date(2)),
        Self::Busy(503, Wait::Seconds(1)),
        Self::Breaks(Spot::Start, Ending::Close),
        Self::Breaks(Spot::Start, Ending::Reset),
        Self::Breaks(Spot::Head, Ending::Close),
        Self::Breaks(Spot::Byte(9), Ending::Close),
        Self::Breaks(Spot::Half, Ending::Reset),
        Self::HalfBody,
        Self::CutGzip,
        Self::NotHttp,
        Self::ManyHeaders,
        Self::LengthTooLong,
        Self::LengthTooShort,
        Self::TwoLengths,
        Self::ChunksWithoutEnd,
        Self::CutChunk,
        Self::BadChunkSize,
    ];

    /// With which nothing is wrong.
    pub const HARMLESS: [Self; 4] = [Self::Delay(Duration::from_secs(20)), Self::Drip, Self::Chunks, Self::EarlyHints];

    /// The answer instead of the right one. `env` has the clock for dates and delays.
    #[must_use]
    pub fn spoil(&self, right: Reply, env: &Env) -> Reply {
        let half = right.body.len() / 2;
        match self {
            Self::Status(status @ (204 | 304)) => Reply::status(*status, ""),
            Self::Status(status) => error(*status),
            Self::Busy(status, wait) => wait.say(error(*status), 0, env),
            Self::Html => Reply::status(200, "<!doctype html><p>Please log in").header("content-type", "text/html"),
            Self::Redirect(url) => Reply::status(307, "").header("location", url),
            Self::Again | Self::Repeated | Self::Circle | Self::Leads(_) | Self::Empty | Self::Moved => right,
            Self::Breaks(spot, ending) => ending.follows(spot.cut(right)),
            Self::HalfBody => with_body(right, |body| body.truncate(half)),
            Self::EmptyBody => with_body(right, Vec::clear),
            Self::Garbage => with_body(right, |body| {
                body.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(181).wrapping_add(43));
            }),
            Self::FlippedBit => with_body(right, |body| {
                if let Some(byte) = body.get_mut(half) {
                    *byte ^= 0x80;
                }
            }),
            Self::BadUtf8 => with_body(right, |body| {
                let end = body.iter().rposition(|byte| *byte == b'"').unwrap_or(half);
                body.insert(end, 0xff);
            }),
            Self::CutGzip => zipped(right, |zipped| zipped.truncate(zipped.len() / 2)),
            Self::Bomb(spaces) => zipped(with_body(right, |body| *body = vec![b' '; *spaces]), |_| {}),
            Self::NotHttp => right.cut_head_at(0).preceded_by([0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 13, 10, 13, 10]),
            Self::ManyHeaders => {
                (0..10_000).fold(right, |reply, n| reply.raw_header(&format!("x-{n}"), n.to_string().as_bytes()))
            }
            Self::LengthTooLong => {
                let said = right.body.len() + 100;
                right.claiming(said)
            }
            Self::LengthTooShort => right.claiming(half),
            Self::TwoLengths => {
                let lengths = [right.body.len(), half].map(|length| length.to_string());
                let framed = right.until_close();
                lengths.iter().fold(framed, |reply, length| reply.raw_header("content-length", length.as_bytes()))
            }
            Self::ChunksWithoutEnd => right.chunked(false),
            Self::CutChunk => right.chunked(true).cut_at(half.max(1)),
            Self::BadChunkSize => {
                in_chunks(right, |body| [chunks(&body[..half], 300, false), b"?\r\n".into()].concat())
            }
            Self::UntilClose => right.until_close(),
            Self::CutUntilClose => {
                let line = Spot::Line.of(&right.body);
                with_body(right, |body| body.truncate(line)).until_close()
            }
            Self::Twice => {
                let bytes = right.bytes();
                right.preceded_by(bytes)
            }
            Self::Delay(delay) => right.after(env, *delay),
            Self::Drip => right.slowly(),
            Self::Chunks => {
                in_chunks(right, |body| [chunks(body, 7, false), b"0\r\nchecksum: none\r\n\r\n".into()].concat())
            }
            Self::EarlyHints => {
                right.preceded_by(&b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"[..])
            }
        }
    }

    /// What of a page is sent.
    pub(super) fn sent(&self) -> Sent {
        match self {
            Self::Status(_) | Self::Busy(..) | Self::Html | Self::Redirect(_) => Sent::Nothing,
            Self::EmptyBody | Self::Bomb(_) | Self::NotHttp | Self::Breaks(Spot::Start | Spot::Head, _) => {
                Sent::Nothing
            }
            Self::Again | Self::Repeated | Self::Circle | Self::Leads(_) | Self::Empty | Self::Moved => Sent::Whole,
            Self::Delay(_) | Self::Drip | Self::Chunks | Self::EarlyHints | Self::Twice | Self::UntilClose => {
                Sent::Whole
            }
            _ => Sent::Part,
        }
    }
}

impl Spot {
    /// The number of bytes of a body before it.
    fn of(self, body: &[u8]) -> usize {
        let half = body.len() / 2;
        match self {
            Self::Start | Self::Head => 0,
            Self::Byte(bytes) => bytes.min(body.len()),
            Self::Half => half,
            Self::Line => body[..half].iter().rposition(|byte| *byte == b'\n').map_or(half, |at| at + 1),
        }
    }

    fn cut(self, reply: Reply) -> Reply {
        match self {
            Self::Start => reply.cut_head_at(0),
            // Behind the status line.
            Self::Head => reply.cut_head_at(30),
            _ => {
                let bytes = self.of(&reply.body);
                reply.cut_at(bytes)
            }
        }
    }
}

impl Ending {
    fn follows(self, reply: Reply) -> Reply {
        match self {
            Self::Close => reply,
            Self::Reset => reply.reset(),
            Self::Silence => reply.silent(),
        }
    }
}

fn error(status: u16) -> Reply {
    Reply::status(status, r#"{"error":"on purpose"}"#).header("content-type", "application/json")
}

fn with_body(mut reply: Reply, change: impl FnOnce(&mut Vec<u8>)) -> Reply {
    change(&mut reply.body);
    reply
}

/// With chunks as `framed` makes them of the body.
fn in_chunks(reply: Reply, framed: impl FnOnce(&[u8]) -> Vec<u8>) -> Reply {
    let reply = with_body(reply, |body| *body = framed(body));
    reply.until_close().header("transfer-encoding", "chunked")
}

fn zipped(reply: Reply, change: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let reply = with_body(reply, |body| {
        let mut compressed = Vec::new();
        // Both ends are in memory: it never waits.
        let done = GzipEncoder::new(body.as_slice()).read_to_end(&mut compressed).now_or_never();
        debug_assert!(matches!(done, Some(Ok(_))), "in memory");
        change(&mut compressed);
        *body = compressed;
    });
    reply.header("content-encoding", "gzip")
}
