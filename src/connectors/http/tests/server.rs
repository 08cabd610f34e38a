use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::form_urlencoded;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// How many came before it.
    pub(super) number: usize,
}

impl Got {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
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
}

impl Reply {
    pub(super) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), ending: Ending::Length }
            .header("content-type", "application/json")
    }

    pub(super) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), ending: Ending::Length }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name || name == "link");
        self.raw_header(name, value.as_bytes())
    }

    pub(super) fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn cut_at(mut self, bytes: usize) -> Self {
        self.ending = Ending::CutAt(bytes);
        self
    }

    pub(super) fn chunked(mut self, finished: bool) -> Self {
        self.ending = Ending::Chunks { size: 7_000, finished };
        self
    }

    /// Each byte in a chunk of its own.
    pub(super) fn one_by_one(mut self) -> Self {
        self.ending = Ending::Chunks { size: 1, finished: true };
        self
    }

    pub(super) fn until_close(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    pub(super) fn silent_at(mut self, bytes: usize) -> Self {
        self.ending = Ending::SilenceAt(bytes);
        self
    }
}

/// What a connection runs over.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A server on loopback that answers by a script, and remembers what came.
pub(super) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Got>>>,
    task: JoinHandle<()>,
    scheme: &'static str,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, seen, task, scheme: "http" }
    }

    /// The same over TLS.
    pub(super) async fn start_tls(
        config: rustls::ServerConfig,
        script: impl Fn(&Got) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, script, log) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&log));
                connections.spawn(async move {
                    if let Ok(socket) = acceptor.accept(socket).await {
                        serve(socket, script, log).await;
                    }
                });
            }
        });
        Self { address, seen, task, scheme: "https" }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(super) fn seen(&self) -> Vec<Got> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// The targets of all requests, in order.
    pub(super) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|got| got.target).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: Socket, F: Fn(&Got) -> Reply + Send + Sync>(
    mut socket: S,
    script: Arc<F>,
    log: Arc<Mutex<Vec<Got>>>,
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
            let mut log = log.lock().expect("not poisoned");
            let got = Got { method, target, headers, body, number: log.len() };
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
            (false, reply.body[..n].to_vec())
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
