use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
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

/// What to answer, down to how its bytes end.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Length,
    /// The connection is closed after so many bytes of the body.
    CutAt(usize),
    /// In chunks of a size, with or without the last, empty one.
    Chunks {
        size: usize,
        finished: bool,
    },
    /// Nothing tells the length.
    Close,
    /// So many bytes, and then silence.
    SilenceAt(usize),
    /// The length is said to be another.
    Claims(usize),
}

impl Reply {
    /// 200, `application/json`.
    #[must_use]
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), ending: Ending::Length }
            .header("content-type", "application/json")
    }

    /// A status and a body, and no header.
    #[must_use]
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), ending: Ending::Length }
    }

    /// Sets a header, in the place of one of that name; of `link` there may be several.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name || name == "link");
        self.raw_header(name, value.as_bytes())
    }

    /// Adds a header whose value need not be text.
    #[must_use]
    pub fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The connection is closed after so many bytes of the body, which said its whole length.
    #[must_use]
    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.ending = Ending::CutAt(bytes);
        self
    }

    /// In chunks of 7,000 bytes, without the last, empty one if it is not `finished`.
    #[must_use]
    pub fn chunked(mut self, finished: bool) -> Self {
        self.ending = Ending::Chunks { size: 7_000, finished };
        self
    }

    /// The length that is said is another than that of the body.
    #[must_use]
    pub fn claiming(mut self, bytes: usize) -> Self {
        self.ending = Ending::Claims(bytes);
        self
    }

    /// Each byte in a chunk of its own.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.ending = Ending::Chunks { size: 1, finished: true };
        self
    }

    /// Nothing says the length: the body ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    /// After so many bytes nothing comes any more, until the other side goes away.
    #[must_use]
    pub fn silent_at(mut self, bytes: usize) -> Self {
        self.ending = Ending::SilenceAt(bytes);
        self
    }
}

/// What a connection runs over.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A connection that came in.
pub(crate) type Connection = Box<dyn Socket>;

/// A server on loopback that answers by a script, and remembers what came. It ends when it is dropped.
pub struct Server {
    origin: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
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
    pub(crate) async fn start_over<S, A>(
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
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (accepted, script, log) = (accept(Box::new(socket)), Arc::clone(&script), Arc::clone(&log));
                connections.spawn(async move {
                    if let Some(socket) = accepted.await {
                        serve(socket, script, log).await;
                    }
                });
            }
        });
        Self { origin, seen, task }
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// All requests, in order.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The targets of all requests, in order.
    pub fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.target).collect()
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
    }
}

async fn serve<S: Socket, F: Fn(&Request) -> Reply + Send + Sync>(
    mut socket: S,
    script: Arc<F>,
    log: Arc<Mutex<Vec<Request>>>,
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
            script(&got)
        };
        if !answer(&mut socket, reply).await {
            return;
        }
    }
}

/// Whether the connection can be used again.
async fn answer(socket: &mut impl Socket, reply: Reply) -> bool {
    let mut head = String::new();
    let (length, body) = match reply.ending {
        Ending::Length => (true, reply.body),
        Ending::CutAt(n) | Ending::SilenceAt(n) => {
            head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
            (false, reply.body[..n.min(reply.body.len())].to_vec())
        }
        Ending::Chunks { size, finished } => {
            head.push_str("transfer-encoding: chunked\r\n");
            let mut chunks = Vec::new();
            for chunk in reply.body.chunks(size) {
                chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                chunks.extend_from_slice(chunk);
                chunks.extend_from_slice(b"\r\n");
            }
            if finished {
                chunks.extend_from_slice(b"0\r\n\r\n");
            }
            (false, chunks)
        }
        Ending::Close => (false, reply.body),
        Ending::Claims(n) => {
            head.push_str(&format!("content-length: {n}\r\n"));
            (false, reply.body)
        }
    };
    if length && !matches!(reply.status, 204 | 304) {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut answer = format!("HTTP/1.1 {} Scripted\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        answer.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    answer.extend_from_slice(&[head.as_bytes(), &body].concat());
    let sent = socket.write_all(&answer).await.is_ok();
    if matches!(reply.ending, Ending::SilenceAt(_)) {
        // Until the other side goes away.
        let mut rest = Vec::new();
        let _gone = socket.read_to_end(&mut rest).await.is_err();
    }
    sent && matches!(reply.ending, Ending::Length | Ending::Chunks { finished: true, .. })
}
