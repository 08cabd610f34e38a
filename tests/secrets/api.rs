use crate::search::SECRET;
use landfall::testkit::http::{Reply, Request, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_rustls::TlsAcceptor;

/// An API that says back what it was told wherever it can: in bodies of errors, links, redirects, headers. Only good records are
/// free of it, since these are landed as they are. It is its own proxy, and over TLS it lets nobody in without a certificate.
pub struct Api {
    open: Server,
    closed: Server,
    signed: Arc<AtomicU64>,
}

impl Api {
    pub async fn start(tls: rustls::ServerConfig) -> Self {
        let signed = Arc::new(AtomicU64::new(0));
        // Whoever is let in over TLS has shown a certificate.
        let script = |certified| {
            let signed = Arc::clone(&signed);
            move |request: &Request| answer(request, certified, &signed)
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let accept = move |connection| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(connection).await.ok() }
        };
        let open = Server::start(script(false)).await;
        let closed = Server::start_over("https", accept, script(true)).await;
        Self { open, closed, signed }
    }

    pub fn url(&self) -> String {
        self.open.url("")
    }

    pub fn tls_url(&self) -> String {
        self.closed.url("")
    }

    /// Requests for pages that carried anything but the headers that all requests have, or came with a certificate.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::SeqCst)
    }
}

const USUAL: [&str; 6] = ["accept", "accept-encoding", "user-agent", "host", "content-type", "content-length"];

fn answer(request: &Request, certified: bool, signed: &AtomicU64) -> Reply {
    // What a proxy is asked for begins with the origin (RFC 9112, 3.2.2).
    let within = request.target.strip_prefix("http://").and_then(|rest| Some(&rest[rest.find('/')?..]));
    let target = within.unwrap_or(&request.target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let added = request.headers.keys().any(|name| !USUAL.contains(&name.as_str()));
    let for_token = matches!(path, "/token" | "/login" | "/no-token");
    if !for_token && (certified || added || query.contains("key=")) {
        signed.fetch_add(1, Ordering::SeqCst);
    }
    let said = format!("{} {:?} {} {SECRET}", request.target, request.headers, String::from_utf8_lossy(&request.body));
    let number =
        query.split('&').find_map(|pair| pair.strip_prefix("page=")).and_then(|n| n.parse().ok()).unwrap_or(0_u64);
    let rows = format!("[{{\"id\":{number}}},{{\"id\":\"not a number\"}}]");
    // It keeps every parameter that it was sent, credentials too, and adds one.
    let others: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("page=")).collect();
    let link =
        |path: &str| format!("{path}?{}", [others.clone(), vec![&*format!("page={}", number + 1)]].concat().join("&"));
    match path {
        "/token" | "/login" => {
            let token = serde_json::json!({"access_token": SECRET, "refresh_token": SECRET, "expires_in": 3_600});
            let cookie = ("set-cookie", format!("session={SECRET}; HttpOnly"));
            with(200, &[cookie, ("x-session", SECRET.to_owned())], token.to_string())
        }
        "/no-token" => {
            let refusal = serde_json::json!({"error": "invalid_client", "error_description": said});
            with(400, &[], refusal.to_string())
        }
        "/pages" if number < 3 => with(200, &[("link", format!("<{}>; rel=next", link("/pages")))], rows),
        "/pages" => with(200, &[("x-request-id", "a request".to_owned())], rows),
        "/moved" if number < 3 => with(307, &[("location", link("/moved"))], said),
        "/moved" => with(200, &[], rows),
        "/denied" => with(401, &[("www-authenticate", format!("Bearer error=\"{SECRET}\""))], said),
        "/refused" => with(400, &[], said),
        "/down" => with(500, &[], said),
        "/busy" => with(429, &[("retry-after", "7200".to_owned())], said),
        "/elsewhere" => with(302, &[("location", format!("http://other.invalid/?k={SECRET}"))], said),
        "/moved-to-it" => with(302, &[("location", format!("/p/{}", SECRET.replace('/', "%2F")))], said),
        "/of-its-type" => with(200, &[("content-type", format!("text/{SECRET}"))], rows),
        "/encoded" => with(200, &[("content-encoding", SECRET.to_owned())], rows),
        "/html" => with(200, &[("content-type", "text/html".to_owned())], format!("<p>{said}")),
        "/leads-away" => with(200, &[("link", format!("<http://{SECRET}@other.invalid/>; rel=next"))], rows),
        "/keeps-it" => with(200, &[("link", format!("</p/{}>; rel=next", SECRET.replace('/', "%2F")))], rows),
        _ => with(404, &[], said),
    }
}

fn with(status: u16, headers: &[(&str, String)], body: String) -> Reply {
    let reply = Reply::json(body).with_status(status);
    headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}
