use crate::search::SECRET;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An API that says back what it was told wherever it can: in bodies of errors, links, redirects, headers. Only good records are
/// free of it, since these are landed as they are.
pub struct Api {
    url: String,
    signed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let signed = Arc::new(AtomicU64::new(0));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&signed));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, signed, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Requests for pages that carried anything but the headers that all requests have.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const USUAL: [&str; 6] = ["accept", "accept-encoding", "user-agent", "host", "content-type", "content-length"];

async fn answer(State(signed): State<Arc<AtomicU64>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("small");
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let added = parts.headers.keys().any(|name| !USUAL.contains(&name.as_str()));
    let for_token = matches!(parts.uri.path(), "/token" | "/login" | "/no-token");
    if !for_token && (added || query.contains("key=")) {
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
