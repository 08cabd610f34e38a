//! A server that speaks as much of S3, and of the XML API of Google Cloud Storage, as the client asks for. It keeps objects in
//! memory, and answers as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered so, and has no effect.
    Refused(u16, &'static str),
    /// It has its effect, and is answered so.
    Lost(u16, &'static str),
    /// It has its effect, and the connection is closed.
    Cut,
    /// It is answered with the first half of the body.
    Half,
}

/// What was asked for: the operation that a method, a query and headers make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Abort,
    Begin,
    Complete,
    Copy,
    Create,
    Delete,
    Get,
    Head,
    List,
    Part,
    Put,
}

#[derive(Debug)]
struct Request {
    operation: Operation,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Vec<u8>,
    /// Counts the writes of all objects: the time, too.
    written: u64,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    writes: u64,
    script: VecDeque<(Operation, Fault)>,
    /// Every so many creates, puts and copies lose their answer.
    loses_each: Option<u64>,
    /// Of these, the first try may lose its answer, and no other.
    written: BTreeSet<(Operation, String)>,
    /// At which request it dies, and whether that has its effect.
    dies_at: Option<(usize, bool)>,
    dead: bool,
    seen: Vec<Operation>,
}

/// The server, for as long as this lives.
#[derive(Debug)]
pub struct Server {
    pub url: String,
    state: Arc<(Mutex<State>, Notify)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<(Mutex<State>, Notify)>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state, task }
    }

    /// The next request of this kind goes wrong so, and then the one after it.
    pub fn will(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults.into_iter().map(|fault| (operation, fault)));
    }

    /// Every so many writes have their effect and are answered with 500.
    pub fn loses_each(&self, writes: u64) {
        self.state().loses_each = (writes > 0).then_some(writes);
    }

    /// Request number `at` and all that come later find nobody.
    pub fn dies_at(&self, at: usize, has_effect: bool) {
        self.state().dies_at = Some((at, has_effect));
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// It answers again.
    pub fn revives(&self) {
        let mut state = self.state();
        state.dies_at = None;
        state.dead = false;
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state().seen.len()
    }

    /// What is held under this name.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state().objects.get(key).map(|object| object.bytes.clone())
    }

    /// Puts an object there.
    pub fn holds(&self, key: &str, bytes: &[u8]) {
        self.state().write(key, bytes.to_vec());
    }

    /// How many requests of this kind came.
    pub fn count(&self, operation: Operation) -> usize {
        self.state().seen.iter().filter(|seen| **seen == operation).count()
    }

    /// Waits until no upload is open.
    pub async fn no_uploads(&self) {
        loop {
            let changed = self.state.1.notified();
            if self.state().uploads.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(stream: TcpStream, shared: Arc<(Mutex<State>, Notify)>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let fault = {
            let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.dead {
                return;
            }
            if let Some((_, has_effect)) = state.dies_at.filter(|(at, _)| *at == state.seen.len()) {
                state.dead = true;
                if has_effect {
                    state.act(&request);
                }
                return;
            }
            state.seen.push(request.operation);
            state.fault(request.operation, &request.key)
        };
        let act = || shared.0.lock().unwrap_or_else(PoisonError::into_inner).act(&request);
        let said = |status, body: &str| Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() };
        let answer = match fault {
            None | Some(Fault::Half) => act(),
            Some(Fault::Refused(status, body)) => said(status, body),
            Some(Fault::Lost(status, body)) => {
                act();
                said(status, body)
            }
            Some(Fault::Cut) => {
                act();
                return;
            }
        };
        shared.1.notify_waiters();
        let mut head = format!("HTTP/1.1 {} Said\r\n", answer.status);
        let length = match answer.headers.iter().find(|(name, _)| *name == "content-length") {
            Some((_, length)) => length.clone(),
            None => answer.body.len().to_string(),
        };
        head += &format!("content-length: {length}\r\n");
        for (name, value) in answer.headers.iter().filter(|(name, _)| *name != "content-length") {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let half = matches!(fault, Some(Fault::Half));
        let body = if half { &answer.body[..answer.body.len() / 2] } else { &answer.body[..] };
        let body = if request.operation == Operation::Head { &[] } else { body };
        // In one piece, or the client would wait for the second one.
        if stream.write_all(&[head.as_bytes(), body].concat()).await.is_err() || half {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let (method, target) = line.split_once(' ')?;
    let target = target.split(' ').next()?.to_owned();
    let method = method.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query: BTreeMap<String, String> =
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decoded(k), decoded(v))).collect();
    // The bucket comes first.
    let key = decoded(path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key));
    let has = |name: &str| query.contains_key(name);
    let operation = match method.as_str() {
        "GET" if key.is_empty() => Operation::List,
        "GET" => Operation::Get,
        "HEAD" => Operation::Head,
        "DELETE" if has("uploadId") => Operation::Abort,
        "DELETE" => Operation::Delete,
        "POST" if has("delete") => Operation::Delete,
        "POST" if has("uploads") => Operation::Begin,
        "POST" => Operation::Complete,
        _ if has("partNumber") => Operation::Part,
        _ if headers.contains_key("x-amz-copy-source") || headers.contains_key("x-goog-copy-source") => Operation::Copy,
        _ if is_conditional(&headers) => Operation::Create,
        _ => Operation::Put,
    };
    Some(Request { operation, key, query, headers, body })
}

fn is_conditional(headers: &BTreeMap<String, String>) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    is("if-none-match", "*") || is("x-goog-if-generation-match", "0")
}

impl State {
    fn fault(&mut self, operation: Operation, key: &str) -> Option<Fault> {
        if self.script.front().is_some_and(|(scripted, _)| *scripted == operation) {
            return self.script.pop_front().map(|(_, fault)| fault);
        }
        let writes = [Operation::Create, Operation::Put, Operation::Copy];
        let each = self.loses_each.filter(|_| writes.contains(&operation))?;
        if !self.written.insert((operation, key.to_owned())) || self.written.len() as u64 % each != 0 {
            return None;
        }
        Some(Fault::Lost(500, "<Error><Code>InternalError</Code></Error>"))
    }

    fn write(&mut self, key: &str, bytes: Vec<u8>) -> Answer {
        self.writes += 1;
        let object = Object { bytes, written: self.writes };
        let headers = object.headers();
        self.objects.insert(key.to_owned(), object);
        Answer { status: 200, headers, body: Vec::new() }
    }

    fn act(&mut self, request: &Request) -> Answer {
        let key = &request.key;
        let query = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        match request.operation {
            Operation::Create if self.objects.contains_key(key) => error(412, "PreconditionFailed"),
            Operation::Create | Operation::Put => self.write(key, request.body.clone()),
            Operation::Copy => {
                let headers = &request.headers;
                let from = headers.get("x-amz-copy-source").or(headers.get("x-goog-copy-source"));
                let from = decoded(from.map_or("", |from| from.trim_start_matches('/')));
                let from = from.split_once('/').map_or("", |(_, key)| key);
                let Some(bytes) = self.objects.get(from).map(|object| object.bytes.clone()) else {
                    return error(404, "NoSuchKey");
                };
                let mut answer = self.write(key, bytes);
                answer.body = b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>".to_vec();
                answer
            }
            Operation::Begin => {
                self.writes += 1;
                let id = format!("upload-{}", self.writes);
                let body =
                    format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
                self.uploads.insert(id, BTreeMap::new());
                Answer { status: 200, body: body.into_bytes(), ..Answer::default() }
            }
            Operation::Part => {
                let number = query("partNumber").parse().expect("a number");
                let Some(parts) = self.uploads.get_mut(&query("uploadId")) else { return error(404, "NoSuchUpload") };
                parts.insert(number, request.body.clone());
                Answer { status: 200, headers: vec![("etag", format!("\"{number}\""))], body: Vec::new() }
            }
            Operation::Complete => {
                let Some(parts) = self.uploads.get(&query("uploadId")) else { return error(404, "NoSuchUpload") };
                let last = parts.keys().last().copied();
                if parts.iter().any(|(number, part)| part.len() < 5 << 20 && Some(*number) != last) {
                    return error(400, "EntityTooSmall");
                }
                let named = String::from_utf8_lossy(&request.body).matches("<PartNumber>").count();
                if named != parts.len() {
                    return error(400, "InvalidPart");
                }
                let bytes = parts.values().flatten().copied().collect();
                self.uploads.remove(&query("uploadId"));
                let mut answer = self.write(key, bytes);
                answer.body = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>".to_vec();
                answer
            }
            Operation::Abort => match self.uploads.remove(&query("uploadId")) {
                Some(_) => Answer { status: 204, ..Answer::default() },
                None => error(404, "NoSuchUpload"),
            },
            Operation::Delete if request.query.contains_key("delete") => {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let mut said = "<DeleteResult>".to_owned();
                for (key, _) in body.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
                    self.objects.remove(key);
                    said += &format!("<Deleted><Key>{key}</Key></Deleted>");
                }
                said += "</DeleteResult>";
                Answer { status: 200, body: said.into_bytes(), ..Answer::default() }
            }
            Operation::Delete => match self.objects.remove(key) {
                Some(_) => Answer { status: 204, ..Answer::default() },
                None => error(404, "NoSuchKey"),
            },
            Operation::Get | Operation::Head => {
                let Some(object) = self.objects.get(key) else { return error(404, "NoSuchKey") };
                let length = object.bytes.len();
                let mut headers = object.headers();
                let Some(range) = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")) else {
                    headers.push(("content-length", length.to_string()));
                    return Answer { status: 200, headers, body: object.bytes.clone() };
                };
                let (from, to) = range.split_once('-').expect("a range");
                let from: usize = from.parse().expect("a number");
                let to = to.parse::<usize>().map_or(length, |to| length.min(to + 1));
                if from >= length {
                    return error(416, "InvalidRange");
                }
                headers.push(("content-range", format!("bytes {from}-{}/{length}", to - 1)));
                Answer { status: 206, headers, body: object.bytes[from..to].to_vec() }
            }
            Operation::List => {
                let (prefix, after) = (query("prefix"), query("continuation-token"));
                let found = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
                let mut found: Vec<_> = found.take(PAGE + 1).collect();
                let more = found.len() > PAGE;
                found.truncate(PAGE);
                let mut body = "<ListBucketResult>".to_owned();
                for (key, object) in &found {
                    let (size, time) = (object.bytes.len(), object.written % 60);
                    body += &format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:{time:02}.000Z</LastModified>\
                         <Size>{size}</Size><ETag>x</ETag></Contents>"
                    );
                }
                if let (true, Some((key, _))) = (more, found.last()) {
                    body += &format!("<NextContinuationToken>{key}</NextContinuationToken>");
                }
                body += "</ListBucketResult>";
                Answer { status: 200, body: body.into_bytes(), ..Answer::default() }
            }
        }
    }
}

impl Object {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let (minutes, seconds) = (self.written / 60 % 60, self.written % 60);
        vec![
            // As on S3, the same content has the same tag.
            ("etag", format!("\"{:x}\"", crc32c::crc32c(&self.bytes))),
            ("last-modified", format!("Thu, 01 Jan 2026 00:{minutes:02}:{seconds:02} GMT")),
            ("x-goog-generation", self.written.to_string()),
        ]
    }
}

/// Objects in a page of a listing.
const PAGE: usize = 5;

fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><StringToSign>SECRET-KEY</StringToSign></Error>");
    Answer { status, body: body.into_bytes(), ..Answer::default() }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("text")
}
