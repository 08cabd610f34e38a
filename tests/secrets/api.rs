use crate::search::SECRET;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// An API that says back what it was told wherever it can: in bodies of errors, links, redirects, headers. Only good records are
/// free of it, since these are landed as they are. It is its own proxy, and over TLS it lets nobody in without a certificate.
pub struct Api {
    url: String,
    tls_url: String,
    signed: Arc<AtomicU64>,
    tasks: [JoinHandle<()>; 2],
}

/// What a listener of the API has.
#[derive(Clone)]
struct Shared {
    signed: Arc<AtomicU64>,
    /// Whoever is let in has shown a certificate.
    certified: bool,
}

impl Api {
    pub async fn start(tls: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let secure = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let tls_url = format!("https://{}", secure.local_addr().expect("bound"));
        let secure = TlsListener { tcp: secure, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        let signed = Arc::new(AtomicU64::new(0));
        let router = |certified| {
            axum::Router::new().fallback(answer).with_state(Shared { signed: Arc::clone(&signed), certified })
        };
        let (open, closed) = (router(false), router(true));
        let tasks = [
            tokio::spawn(async move { axum::serve(listener, open).await.expect("a server") }),
            tokio::spawn(async move { axum::serve(secure, closed).await.expect("a server") }),
        ];
        Self { url, tls_url, signed, tasks }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn tls_url(&self) -> String {
        self.tls_url.clone()
    }

    /// Requests for pages that carried anything but the headers that all requests have, or came with a certificate.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::SeqCst)
    }
}

/// Connections whose other side has shown a certificate.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((socket, address)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(socket).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

const USUAL: [&str; 6] = ["accept", "accept-encoding", "user-agent", "host", "content-type", "content-length"];

async fn answer(State(Shared { signed, certified }): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("small");
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let added = parts.headers.keys().any(|name| !USUAL.contains(&name.as_str()));
    let for_token = matches!(parts.uri.path(), "/token" | "/login" | "/no-token");
    if !for_token && (certified || added || query.contains("key=")) {
        signed.fetch_add(1, Ordering::SeqCst);
    }
    let said = format!("{} {:?} {} {SECRET}", parts.uri, parts.headers, String::from_utf8_lossy(&body));
    let number =
        query.split('&').find_map(|pair| pair.strip_prefix("page=")).and_then(|n| n.parse().ok()).unwrap_or(0_u64);
    let rows = format!("[{{\"id\":{number}}},{{\"id\":\"not a number\"}}]");
    // It keeps every parameter that it was sent, credentials too, and adds one.
    let others: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("page=")).collect();
    let link =
        |path: &str| format!("{path}?{}", [others.clone(), vec![&*format!("page={}", number + 1)]].concat().join("&"));
    match parts.uri.path() {
        "/token" | "/login" => {
            let token = serde_json::json!({"access_token": SECRET, "refresh_token": SECRET, "expires_in": 3_600});
            let cookie = ("set-cookie", format!("session={SECRET}; HttpOnly"));
            with(StatusCode::OK, &[cookie, ("x-session", SECRET.to_owned())], token.to_string())
        }
        "/no-token" => {
            let refusal = serde_json::json!({"error": "invalid_client", "error_description": said});
            with(StatusCode::BAD_REQUEST, &[], refusal.to_string())
        }
        "/pages" if number < 3 => with(StatusCode::OK, &[("link", format!("<{}>; rel=next", link("/pages")))], rows),
        "/pages" => with(StatusCode::OK, &[("x-request-id", "a request".to_owned())], rows),
        "/moved" if number < 3 => with(StatusCode::TEMPORARY_REDIRECT, &[("location", link("/moved"))], said),
        "/moved" => with(StatusCode::OK, &[], rows),
        "/denied" => {
            with(StatusCode::UNAUTHORIZED, &[("www-authenticate", format!("Bearer error=\"{SECRET}\""))], said)
        }
        "/refused" => with(StatusCode::BAD_REQUEST, &[], said),
        "/down" => with(StatusCode::INTERNAL_SERVER_ERROR, &[], said),
        "/busy" => with(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "7200".to_owned())], said),
        "/elsewhere" => with(StatusCode::FOUND, &[("location", format!("http://other.invalid/?k={SECRET}"))], said),
        "/html" => with(StatusCode::OK, &[("content-type", "text/html".to_owned())], format!("<p>{said}")),
        "/leads-away" => with(StatusCode::OK, &[("link", format!("<http://{SECRET}@other.invalid/>; rel=next"))], rows),
        "/keeps-it" => {
            with(StatusCode::OK, &[("link", format!("</p/{}>; rel=next", SECRET.replace('/', "%2F")))], rows)
        }
        _ => with(StatusCode::NOT_FOUND, &[], said),
    }
}

fn with(status: StatusCode, headers: &[(&'static str, String)], body: String) -> Response {
    let mut response = (status, Body::from(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_str(value).expect("text"));
    }
    response
}
