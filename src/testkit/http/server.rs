use super::reply::{Reply, Then};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use url::form_urlencoded;

/// A request as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// `GET` or another.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// All of it.
    pub body: Vec<u8>,
    /// How many came before it.
    pub number: usize,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// The first value of a parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

/// What a connection runs over.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A connection that came in.
pub type Connection = Box<dyn Socket>;

/// A server on loopback that answers by a script, and remembers what came. It ends when it is dropped.
///
/// A script may demand something of a request and panic: the client finds its connection closed, and the test panics with the same words when it
/// asks what was [`seen`](Self::seen), or drops the server.
pub struct Server {
    origin: String,
    seen: Arc<Mutex<Vec<Request>>>,
    open: Arc<Open>,
    panicked: Panicked,
    task: JoinHandle<()>,
}

/// The first panic of a script, until the test has heard of it.
type Panicked = Arc<Mutex<Option<Box<dyn Any + Send>>>>;

/// How many connections are open.
#[derive(Default)]
struct Open(AtomicUsize, Notify);

impl Open {
    fn one(self: &Arc<Self>) -> OpenOne {
        self.0.fetch_add(1, Ordering::SeqCst);
        OpenOne(Arc::clone(self))
    }
}

struct OpenOne(Arc<Open>);

impl Drop for OpenOne {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }
}

impl Server {
    /// Starts on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over("http", |connection| std::future::ready(Some(connection)), script).await
    }

    /// The same over connections that `accept` makes of what comes in, such as those of TLS; `None` lets nobody in.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start_over<S, A>(
        scheme: &str,
        accept: impl Fn(Connection) -> A + Send + Sync + 'static,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self
    where
        S: Socket + 'static,
        A: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("{scheme}://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let open = Arc::new(Open::default());
        let opened = Arc::clone(&open);
        let panicked = Panicked::default();
        let first = Arc::clone(&panicked);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let Ok((socket, twin)) = twins(socket) else { continue };
                let (accepted, script, log) = (accept(Box::new(socket)), Arc::clone(&script), Arc::clone(&log));
                let (one, first) = (opened.one(), Arc::clone(&first));
                connections.spawn(async move {
                    let _one = one;
                    if let Some(socket) = accepted.await {
                        serve(socket, &twin, script, log, first).await;
                    }
                });
            }
        });
        Self { origin, seen, open, panicked, task }
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Waits until every client is gone: what a process sent before it died may still be on its way.
    ///
    /// # Panics
    /// If the server cannot be reached.
    pub async fn idle(&self) {
        // Connections are taken in order: when this one has been, all before it have.
        let address = self.origin.rsplit('/').next().unwrap_or_default();
        let mut last = TcpStream::connect(address).await.expect("a connection");
        last.shutdown().await.expect("a connection");
        let _closed = last.read_to_end(&mut Vec::new()).await;
        loop {
            let closed = self.open.1.notified();
            if self.open.0.load(Ordering::SeqCst) == 0 {
                return;
            }
            closed.await;
        }
    }

    /// All requests, in order.
    ///
    /// # Panics
    /// If the script has panicked.
    pub fn seen(&self) -> Vec<Request> {
        self.tell();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The targets of all requests, in order.
    ///
    /// # Panics
    /// If the script has panicked.
    pub fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.target).collect()
    }

    /// Panics, once, as the script has.
    fn tell(&self) {
        let panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            self.tell();
        }
    }
}

async fn serve<S: Socket, F: Fn(&Request) -> Reply + Send + Sync>(
    mut socket: S,
    twin: &TcpStream,
    script: Arc<F>,
    log: Arc<Mutex<Vec<Request>>>,
    panicked: Panicked,
) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = buffer.drain(..end + 4).collect();
                break String::from_utf8(head).expect("a head in text");
            }
            let mut piece = [0; 4096];
            match socket.read(&mut piece).await {
                Ok(read) if read > 0 => buffer.extend_from_slice(&piece[..read]),
                _ => return,
            }
        };
        let mut lines = head.split("\r\n");
        let mut line = lines.next().expect("a request line").split(' ').map(str::to_owned);
        let (method, target) = (line.next().expect("a method"), line.next().expect("a target"));
        let headers: BTreeMap<String, String> =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let length = headers.get("content-length").map_or(0, |n| n.parse().expect("a length"));
        while buffer.len() < length {
            let mut piece = [0; 4096];
            match socket.read(&mut piece).await {
                Ok(read) if read > 0 => buffer.extend_from_slice(&piece[..read]),
                _ => return,
            }
        }
        let body = buffer.drain(..length).collect();
        let reply = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let got = Request { method, target, headers, body, number: log.len() };
            log.push(got.clone());
            drop(log);
            catch_unwind(AssertUnwindSafe(|| script(&got)))
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(panic) => {
                // Before the client can see that its connection is closed.
                panicked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
                return;
            }
        };
        if !answer(&mut socket, twin, reply).await {
            return;
        }
    }
}

/// Whether the connection can be used again. `twin` is another handle of it.
async fn answer(socket: &mut impl Socket, twin: &TcpStream, reply: Reply) -> bool {
    if let Some((env, delay)) = &reply.delay {
        env.sleep(*delay).await;
    }
    let bytes = reply.bytes();
    for piece in bytes.chunks(if reply.slowly { 1 } else { bytes.len().max(1) }) {
        if socket.write_all(piece).await.is_err() {
            return false;
        }
        if reply.slowly {
            tokio::task::yield_now().await;
        }
    }
    let sent = socket.flush().await.is_ok();
    match reply.then {
        Then::GoOn | Then::Close => {}
        // Nobody waits for what was sent; the other side gets a reset.
        Then::Reset => drop(twin.set_zero_linger()),
        Then::Silence => {
            // Until the other side goes away.
            let mut rest = Vec::new();
            let _gone = socket.read_to_end(&mut rest).await.is_err();
        }
    }
    sent && reply.goes_on()
}

/// Two handles of one connection: it ends with the last of them.
fn twins(socket: TcpStream) -> std::io::Result<(TcpStream, TcpStream)> {
    let socket = socket.into_std()?;
    let twin = TcpStream::from_std(socket.try_clone()?)?;
    Ok((TcpStream::from_std(socket)?, twin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "nobody asks for /b")]
    async fn what_a_script_panics_with_the_test_panics_with() {
        let server = Server::start(|request| match request.path() {
            "/a" => Reply::json("[]"),
            other => panic!("nobody asks for {other}"),
        })
        .await;
        for path in ["/a", "/b"] {
            let address = server.origin.strip_prefix("http://").expect("an origin");
            let mut socket = TcpStream::connect(address).await.expect("a connection");
            let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.expect("sent");
            socket.shutdown().await.expect("sent");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.expect("an end");
            assert_eq!(answer.is_empty(), path == "/b", "{answer}");
        }
        drop(server);
    }
}
