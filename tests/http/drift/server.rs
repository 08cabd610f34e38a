use super::history::History;
use landfall::testkit::http::{self, Reply, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Rows in a page.
pub const PAGE: usize = 7;

type Histories = Arc<Mutex<BTreeMap<u64, History>>>;

/// Serves the history of each seed at `/by_place/<seed>` and `/by_offset/<seed>`: with tokens and links that name the last row,
/// or the number of the next one, as servers do.
pub struct Server {
    server: http::Server,
    histories: Histories,
}

impl Server {
    pub async fn start() -> Self {
        let histories = Histories::default();
        let served = Arc::clone(&histories);
        let server = http::Server::start(move |request| {
            let mut histories = lock(&served);
            let (way, seed) = request.path()[1..].split_once('/').expect("a way and a seed");
            let seed = seed.parse().expect("a seed");
            let history = histories.entry(seed).or_insert_with(|| History::new(seed));
            history.request();
            if way == "by_place" { by_place(request, history) } else { by_offset(request, history) }
        })
        .await;
        Self { server, histories }
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The history of `seed` as it has become.
    pub fn take(&self, seed: u64) -> History {
        lock(&self.histories).remove(&seed).expect("it was asked for")
    }
}

fn lock(histories: &Histories) -> MutexGuard<'_, BTreeMap<u64, History>> {
    histories.lock().expect("not poisoned")
}

/// What came after the row that the token names.
fn by_place(request: &Request, history: &History) -> Reply {
    let rows = history.behind(number(request, "after"), PAGE + 1);
    let next = rows.get(PAGE - 1).filter(|_| rows.len() > PAGE).map(u64::to_string);
    answer(&rows[..rows.len().min(PAGE)], history.len(), next.as_deref())
}

/// What lies at the number that the page or the offset names.
fn by_offset(request: &Request, history: &History) -> Reply {
    let index = |n: u64| usize::try_from(n).expect("small");
    let size = number(request, "limit").map_or(PAGE, index);
    let page = number(request, "page").map(|page| index(page - 1) * size);
    let offset = number(request, "after").or_else(|| number(request, "offset")).map(index).or(page).unwrap_or(0);
    let rows = history.at_offset(offset, size);
    let end = offset + rows.len();
    let next = (end < history.len()).then(|| end.to_string());
    answer(&rows, history.len(), next.as_deref())
}

fn number(request: &Request, name: &str) -> Option<u64> {
    request.parameter(name).map(|text| text.parse().expect("a number"))
}

/// A page that names the next one in all ways: a token, a URL, a link; and the total and the number of pages.
fn answer(rows: &[u64], total: usize, next: Option<&str>) -> Reply {
    let rows: Vec<_> = rows.iter().map(|id| serde_json::json!({"id": id})).collect();
    let url = next.map(|next| format!("?after={next}"));
    let pages = total.div_ceil(PAGE);
    let body = serde_json::json!({"rows": rows, "total": total, "pages": pages, "next": next, "next_url": url});
    let reply = Reply::json(body.to_string());
    url.iter().fold(reply, |reply, url| reply.header("link", &format!("<{url}>; rel=next")))
}
