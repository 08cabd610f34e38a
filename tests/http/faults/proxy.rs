//! A TCP proxy between the client and a real server. It hands over what the server answers, or damages it on the way.

use super::clock::LimitClock;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What goes wrong with a response.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection is closed, or reset, or stays silent, instead of a response.
    CloseBeforeHead,
    ResetBeforeHead,
    SilenceBeforeHead,
    /// The head ends in the middle, or the other side says nothing more there, or it is not HTTP.
    CutHead,
    SilenceInHead,
    GarbageHead,
    /// Half of the body, and then the end, a reset, or silence.
    CutBody,
    ResetInBody,
    SilenceInBody,
    /// The body ends with a line, though its length says that more is to come.
    CutAtLine,
    /// Without the last chunk; within a chunk; with a size that is no number.
    ChunksWithoutEnd,
    CutChunk,
    BadChunkSize,
    /// A length that is 100 too many or too few, or given twice and differently.
    LengthTooLong,
    LengthTooShort,
    TwoLengths,
    /// The end of the connection is the end of the body, which is whole or not.
    UntilClose,
    CutUntilClose,
    /// Rightly framed: half of the body, other bytes, a flipped bit, nothing, a login page.
    HalfBody,
    GarbageBody,
    FlippedBit,
    EmptyBody,
    LoginPage,
    /// What was answered to the request before; or the right response twice in a row.
    Stale,
    Twice,
    /// More headers than anyone needs.
    ManyHeaders,
    /// Another status without a page.
    Status(u16),
    /// 429 with this `Retry-After`, and perhaps the server's own `Date`.
    Throttle(Option<&'static str>, Option<&'static str>),
    /// Nothing is wrong: byte by byte, in chunks, after an interim response.
    Dribble,
    Chunks,
    EarlyHints,
}

/// Which requests meet the fault: `times` of them from number `from` on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub fault: Fault,
    pub from: u64,
    pub times: u64,
}

pub struct Proxy {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    healed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Way {
    origin: SocketAddr,
    plan: Plan,
    clock: LimitClock,
    requests: Arc<AtomicU64>,
    healed: Arc<AtomicBool>,
    /// What the request before was answered.
    before: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    pub async fn start(origin: SocketAddr, plan: Plan, clock: &LimitClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicU64::new(0));
        let healed = Arc::new(AtomicBool::new(false));
        let (counted, fine) = (Arc::clone(&requests), Arc::clone(&healed));
        let way = Way { origin, plan, clock: clock.clone(), requests: counted, healed: fine, before: Arc::default() };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(way.clone().serve(socket));
            }
        });
        Self { address, requests, healed, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response of the server.
struct Response {
    /// The status line and the headers that say nothing about the connection.
    head: String,
    body: Vec<u8>,
}

impl Way {
    async fn serve(self, mut client: TcpStream) {
        while let Some(request) = head(&mut client).await {
            let begun = self.clock.begun();
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let planned = number >= self.plan.from && number - self.plan.from < self.plan.times;
            let hit = planned && !self.healed.load(Ordering::SeqCst);
            let response = fetch(self.origin, &request).await;
            let sent = match hit {
                false => {
                    *self.before.lock().expect("not poisoned") = whole(&response);
                    client.write_all(&whole(&response)).await.is_ok()
                }
                true => self.damage(&mut client, response, begun).await,
            };
            if !sent {
                return;
            }
        }
    }

    /// Sends the damaged response; says whether the connection goes on. `begun` limits of silence were set before it.
    async fn damage(&self, client: &mut TcpStream, response: Response, begun: u64) -> bool {
        let Response { head, body } = &response;
        let length = |n: usize| format!("{head}content-length: {n}\r\n\r\n").into_bytes();
        let chunked = || format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        let half = body.len() / 2;
        let line = body.iter().take(half).rposition(|b| *b == b'\n').map_or(half, |at| at + 1);
        let announced = length(body.len());
        let (bytes, then) = match self.plan.fault {
            Fault::CloseBeforeHead => (Vec::new(), Then::Close),
            Fault::ResetBeforeHead => (Vec::new(), Then::Reset),
            Fault::SilenceBeforeHead => (Vec::new(), Then::Silence { limits: 0 }),
            Fault::CutHead => (announced[..announced.len() / 2].to_vec(), Then::Close),
            Fault::SilenceInHead => (announced[..announced.len() / 2].to_vec(), Then::Silence { limits: 0 }),
            Fault::GarbageHead => (vec![0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 13, 10, 13, 10], Then::Close),
            Fault::CutBody => ([&announced, &body[..half]].concat(), Then::Close),
            Fault::ResetInBody => ([&announced, &body[..half]].concat(), Then::Reset),
            Fault::SilenceInBody => ([&announced, &body[..half]].concat(), Then::Silence { limits: 1 }),
            Fault::CutAtLine => ([&announced, &body[..line]].concat(), Then::Close),
            Fault::ChunksWithoutEnd => ([chunked(), chunks(body, 700)].concat(), Then::Close),
            Fault::CutChunk => {
                ([chunked(), format!("{:x}\r\n", body.len()).into(), body[..half].to_vec()].concat(), Then::Close)
            }
            Fault::BadChunkSize => {
                ([chunked(), chunks(&body[..half], 300), b"nonsense\r\n".to_vec()].concat(), Then::Close)
            }
            Fault::LengthTooLong => ([length(body.len() + 100), body.clone()].concat(), Then::Silence { limits: 1 }),
            Fault::LengthTooShort => ([length(body.len() - 100), body.clone()].concat(), Then::Close),
            Fault::TwoLengths => {
                let head = format!("{head}content-length: {}\r\ncontent-length: {half}\r\n\r\n", body.len());
                ([head.into_bytes(), body.clone()].concat(), Then::Close)
            }
            Fault::UntilClose => ([format!("{head}\r\n").as_bytes(), body].concat(), Then::Close),
            Fault::CutUntilClose => ([format!("{head}\r\n").as_bytes(), &body[..line]].concat(), Then::Close),
            Fault::HalfBody => ([length(half), body[..half].to_vec()].concat(), Then::GoOn),
            Fault::GarbageBody => {
                let garbage: Vec<u8> = body.iter().map(|b| b.wrapping_mul(181).wrapping_add(43)).collect();
                ([announced, garbage].concat(), Then::GoOn)
            }
            Fault::FlippedBit => {
                let mut body = body.clone();
                body[half] ^= 0x80;
                ([announced, body].concat(), Then::GoOn)
            }
            Fault::EmptyBody => (length(0), Then::GoOn),
            Fault::LoginPage => {
                (answer("200 OK", "content-type: text/html\r\n", "<!doctype html><p>Log in"), Then::GoOn)
            }
            Fault::Stale => (self.before.lock().expect("not poisoned").clone(), Then::GoOn),
            Fault::Twice => ([whole(&response), whole(&response)].concat(), Then::GoOn),
            Fault::ManyHeaders => {
                let many: String = (0..10_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
                (answer("200 OK", &many, "[]"), Then::GoOn)
            }
            Fault::Status(status) => (answer(&format!("{status} Scripted"), "", "{\"error\":\"down\"}"), Then::GoOn),
            Fault::Throttle(after, date) => {
                let after = after.map_or_else(String::new, |after| format!("retry-after: {after}\r\n"));
                let date = date.map_or_else(String::new, |date| format!("date: {date}\r\n"));
                (answer("429 Too Many Requests", &(after + &date), "{\"error\":\"slow down\"}"), Then::GoOn)
            }
            Fault::Dribble => {
                for byte in whole(&response).chunks(1) {
                    if client.write_all(byte).await.is_err() {
                        return false;
                    }
                    tokio::task::yield_now().await;
                }
                return true;
            }
            Fault::Chunks => {
                ([chunked(), chunks(body, 7), b"0\r\nchecksum: none\r\n\r\n".to_vec()].concat(), Then::GoOn)
            }
            Fault::EarlyHints => {
                let hints = b"HTTP/1.1 103 Early Hints\r\nlink: <?page=3>; rel=\"next\"\r\n\r\n".to_vec();
                ([hints, whole(&response)].concat(), Then::GoOn)
            }
        };
        client.write_all(&bytes).await.is_ok() && self.then(client, then, begun).await
    }

    async fn then(&self, client: &mut TcpStream, then: Then, begun: u64) -> bool {
        match then {
            Then::GoOn => return true,
            Then::Close => {}
            // Nobody waits for what was sent; the other side gets a reset.
            Then::Reset => client.set_zero_linger().expect("a socket"),
            Then::Silence { limits } => {
                self.clock.pass_limits(begun + limits).await;
                // Until the other side has given up.
                let mut rest = Vec::new();
                drop(client.read_to_end(&mut rest).await);
            }
        }
        false
    }
}

/// What follows the bytes of a damaged response.
enum Then {
    GoOn,
    Close,
    Reset,
    /// For ever. The client has set a limit for the head when it asks, and sets more for the body: so many of these must be
    /// set before they pass.
    Silence {
        limits: u64,
    },
}

/// A request up to its empty line, or `None` when the other side has gone.
async fn head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Asks the server over a connection of its own.
async fn fetch(origin: SocketAddr, request: &str) -> Response {
    let mut server = TcpStream::connect(origin).await.expect("the server is there");
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.expect("a response");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    let text = String::from_utf8(answer).expect("text");
    let kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !line.is_empty() && !matches!(name.as_str(), "connection" | "content-length" | "date")
    };
    let head = text.split("\r\n").filter(kept).map(|line| format!("{line}\r\n")).collect();
    Response { head, body }
}

fn whole(response: &Response) -> Vec<u8> {
    let Response { head, body } = response;
    [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).collect()
}
