//! A small HTTP API with known content and known faults, for the examples and the kill loop. It pages by cursor or by
//! `Link`, filters by time, limits its rate, fails, cuts bodies, repeats records and serves bad ones. Everything is
//! decided by a seed and by counts, so it always serves the same, and `/truth` says what is right.
//!
//! | request | answer |
//! |---|---|
//! | `GET /orders?cursor=&limit=&since=` | `{"data": […], "next_cursor": "…" or null}` |
//! | `GET /orders/link?page=&limit=&since=` | `[…]`, with a `Link` header while there is a next page |
//! | `POST /grow?n=` | adds `n` records at the end |
//! | `GET /truth` | what is right, summed up |
//! | `GET /truth/orders`, `GET /truth/bad` | every good order once, every bad record: one a line |
//! | `GET /stats` | requests and faults so far |

mod content;
mod faults;

pub(crate) use content::{Content, Truth};
pub(crate) use faults::Faults;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use faults::Fault;
use futures::StreamExt;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::net::TcpListener;

/// What the API serves, and how badly it behaves.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) content: Content,
    pub(crate) faults: Faults,
    /// Records at the start.
    pub(crate) records: u64,
    /// Records on a page, if the request does not say.
    pub(crate) page_size: u64,
    /// If set, requests need `Authorization: Bearer <token>`.
    pub(crate) token: Option<String>,
    /// Port on the loopback interface; 0 for a free one.
    pub(crate) port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            content: Content::default(),
            faults: Faults::default(),
            records: 2_000,
            page_size: 100,
            token: None,
            port: 0,
        }
    }
}

/// A running API. It ends with the runtime that it was started on.
#[derive(Debug)]
pub(crate) struct DemoApi {
    state: Arc<Shared>,
    base_url: String,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    records: AtomicU64,
    requests: AtomicU64,
    faults: AtomicU64,
}

impl DemoApi {
    /// Starts to serve on the loopback interface.
    pub(crate) async fn start(settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Shared {
            records: AtomicU64::new(settings.records),
            settings,
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        });
        let app = Router::new()
            .route("/orders", get(by_cursor))
            .route("/orders/link", get(by_link))
            .route("/grow", post(grow))
            .route("/truth", get(truth))
            .route("/truth/orders", get(truth_orders))
            .route("/truth/bad", get(truth_bad))
            .route("/stats", get(stats))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the demo API ended");
            }
        });
        Ok(Self { state, base_url, server })
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Adds records at the end.
    pub(crate) fn grow(&self, records: u64) {
        self.state.records.fetch_add(records, SeqCst);
    }

    /// What is right now.
    pub(crate) fn truth(&self) -> Truth {
        self.state.settings.content.truth(self.state.records.load(SeqCst))
    }

    /// Requests and faults so far.
    pub(crate) fn stats(&self) -> (u64, u64) {
        (self.state.requests.load(SeqCst), self.state.faults.load(SeqCst))
    }

    /// Serves until the process ends.
    pub(crate) async fn serve_forever(self) {
        // A server that ended has said why.
        let _ended = self.server.await.is_err();
    }
}

#[derive(Debug, Deserialize)]
struct Listing {
    cursor: Option<String>,
    page: Option<u64>,
    limit: Option<u64>,
    since: Option<String>,
}

type App = State<Arc<Shared>>;

/// `GET /orders`.
async fn by_cursor(State(app): App, Query(query): Query<Listing>, headers: HeaderMap) -> Response {
    // The cursor is opaque to clients; it says where the listing goes on.
    let from = match query.cursor.as_deref().filter(|c| !c.is_empty()) {
        None => 0,
        Some(cursor) => match cursor.strip_prefix("at-").and_then(|n| n.parse().ok()) {
            Some(from) => from,
            None => return problem(StatusCode::BAD_REQUEST, "unknown cursor"),
        },
    };
    list(&app, &headers, &query, from, |page, next| {
        let mut body = br#"{"data":["#.to_vec();
        body.extend_from_slice(&page.join(&b","[..]));
        match next {
            Some(next) => body.extend_from_slice(format!(r#"],"next_cursor":"at-{next}"}}"#).as_bytes()),
            None => body.extend_from_slice(br#"],"next_cursor":null}"#),
        }
        (body, None)
    })
}

/// `GET /orders/link`.
async fn by_link(State(app): App, Query(query): Query<Listing>, headers: HeaderMap) -> Response {
    let limit = query.limit.unwrap_or(app.settings.page_size).max(1);
    let page_number = query.page.unwrap_or(1).max(1);
    let since = query.since.as_deref().map(|s| format!("&since={}", s.replace('+', "%2B"))).unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    list(&app, &headers, &query, (page_number - 1) * limit, |page, next| {
        let body = [&b"["[..], &page.join(&b","[..]), b"]"].concat();
        let url = format!("http://{host}/orders/link?page={}&limit={limit}{since}", page_number + 1);
        (body, next.map(|_| format!("<{url}>; rel=\"next\"")))
    })
}

/// Answers a page of the records from `from` on, or with a fault.
fn list(
    app: &Shared,
    headers: &HeaderMap,
    query: &Listing,
    from: u64,
    write: impl FnOnce(Vec<Vec<u8>>, Option<u64>) -> (Vec<u8>, Option<String>),
) -> Response {
    let request = app.requests.fetch_add(1, SeqCst) + 1;
    if let Some(token) = &app.settings.token {
        let sent = headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        if sent != Some(&format!("Bearer {token}")) {
            return problem(StatusCode::UNAUTHORIZED, "bad token");
        }
    }
    let fault = app.settings.faults.of_request(request);
    if fault.is_some() {
        app.faults.fetch_add(1, SeqCst);
    }
    match fault {
        Some(Fault::Throttled { retry_after }) => {
            let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "slow down");
            response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
            return response;
        }
        Some(Fault::Unavailable) => return problem(StatusCode::SERVICE_UNAVAILABLE, "try again"),
        Some(Fault::CutBody) | None => {}
    }
    let content = &app.settings.content;
    let first = match query.since.as_deref() {
        None => 0,
        Some(since) => match content.first_since(since) {
            Some(first) => first,
            None => return problem(StatusCode::BAD_REQUEST, "since is not a time in RFC 3339"),
        },
    };
    let limit = query.limit.unwrap_or(app.settings.page_size).clamp(1, 10_000);
    let end = app.records.load(SeqCst);
    let start = first.saturating_add(from).min(end);
    let stop = start.saturating_add(limit).min(end);
    let page = (start..stop).map(|n| content.record(n)).collect();
    let next = (stop < end).then_some(stop - first);
    let (body, link) = write(page, next);
    let mut response = match fault {
        Some(Fault::CutBody) => cut(body),
        _ => Body::from(body).into_response(),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(link) = link.and_then(|l| l.parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Claims the whole length, sends half, and drops the connection.
fn cut(body: Vec<u8>) -> Response {
    let length = body.len();
    let half = bytes::Bytes::from(body).split_to(length / 2);
    let chunks = futures::stream::iter([Some(half), None]).then(|chunk| async move {
        match chunk {
            Some(bytes) => Ok(bytes),
            None => {
                tokio::task::yield_now().await; // what came before goes out first
                Err(std::io::Error::other("cut on purpose"))
            }
        }
    });
    let mut response = Body::from_stream(chunks).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, format!("{{\"error\":\"{text}\"}}")).into_response()
}

#[derive(Debug, Deserialize)]
struct Growth {
    n: u64,
}

async fn grow(State(app): App, Query(growth): Query<Growth>) -> String {
    format!("{}\n", app.records.fetch_add(growth.n, SeqCst) + growth.n)
}

async fn truth(State(app): App) -> axum::Json<Truth> {
    axum::Json(app.settings.content.truth(app.records.load(SeqCst)))
}

async fn truth_orders(State(app): App) -> Vec<u8> {
    let content = &app.settings.content;
    lines((0..app.records.load(SeqCst)).filter(|n| content.is_good_and_new(*n)).map(|n| content.record(n)))
}

async fn truth_bad(State(app): App) -> Vec<u8> {
    let content = &app.settings.content;
    lines((0..app.records.load(SeqCst)).filter(|n| content.is_bad(*n)).map(|n| content.record(n)))
}

async fn stats(State(app): App) -> String {
    format!("{{\"requests\":{},\"faults\":{}}}\n", app.requests.load(SeqCst), app.faults.load(SeqCst))
}

fn lines(records: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        out.extend_from_slice(&record);
        out.push(b'\n');
    }
    out
}
