use super::history::History;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::get;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Rows in a page.
pub const PAGE: usize = 7;

type Histories = Arc<Mutex<BTreeMap<u64, History>>>;

/// Serves the history of each seed at `/by_place/<seed>` and `/by_offset/<seed>`: with tokens and links that name the last row,
/// or the number of the next one, as servers do.
pub struct Server {
    url: String,
    histories: Histories,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let histories = Histories::default();
        let router = axum::Router::new()
            .route("/by_place/{seed}", get(by_place))
            .route("/by_offset/{seed}", get(by_offset))
            .with_state(Arc::clone(&histories));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, histories, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The history of `seed` as it has become.
    pub fn take(&self, seed: u64) -> History {
        lock(&self.histories).remove(&seed).expect("it was asked for")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(histories: &Histories) -> MutexGuard<'_, BTreeMap<u64, History>> {
    histories.lock().expect("not poisoned")
}

type Asked = Query<HashMap<String, String>>;

/// What came after the row that the token names.
async fn by_place(
    State(histories): State<Histories>,
    Path(seed): Path<u64>,
    Query(query): Asked,
) -> (HeaderMap, String) {
    let mut histories = lock(&histories);
    let history = histories.entry(seed).or_insert_with(|| History::new(seed));
    history.request();
    let rows = history.behind(number(&query, "after"), PAGE + 1);
    let next = rows.get(PAGE - 1).filter(|_| rows.len() > PAGE).map(u64::to_string);
    answer(&rows[..rows.len().min(PAGE)], history.len(), next.as_deref())
}

/// What lies at the number that the page or the offset names.
async fn by_offset(
    State(histories): State<Histories>,
    Path(seed): Path<u64>,
    Query(query): Asked,
) -> (HeaderMap, String) {
    let mut histories = lock(&histories);
    let history = histories.entry(seed).or_insert_with(|| History::new(seed));
    history.request();
    let index = |n: u64| usize::try_from(n).expect("small");
    let size = number(&query, "limit").map_or(PAGE, index);
    let page = number(&query, "page").map(|page| index(page - 1) * size);
    let offset = number(&query, "after").or_else(|| number(&query, "offset")).map(index).or(page).unwrap_or(0);
    let rows = history.at_offset(offset, size);
    let end = offset + rows.len();
    let next = (end < history.len()).then(|| end.to_string());
    answer(&rows, history.len(), next.as_deref())
}

fn number(query: &HashMap<String, String>, name: &str) -> Option<u64> {
    query.get(name).map(|text| text.parse().expect("a number"))
}

/// A page that names the next one in all ways: a token, a URL, a link; and the total and the number of pages.
fn answer(rows: &[u64], total: usize, next: Option<&str>) -> (HeaderMap, String) {
    let rows: Vec<_> = rows.iter().map(|id| serde_json::json!({"id": id})).collect();
    let url = next.map(|next| format!("?after={next}"));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(url) = &url {
        headers.insert(header::LINK, HeaderValue::from_str(&format!("<{url}>; rel=next")).expect("text"));
    }
    let pages = total.div_ceil(PAGE);
    let body = serde_json::json!({"rows": rows, "total": total, "pages": pages, "next": next, "next_url": url});
    (headers, body.to_string())
}
