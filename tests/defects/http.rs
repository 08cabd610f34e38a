//! A source over HTTP, against servers that say what a scenario needs.

use landfall::ErrorKind;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Batch, Columns, Decode, Dedup};
use landfall::connectors::http::{Bearer, Cursor, NextUrl, PageNumber, Rest, RestBuilder, Since};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, RunFailure, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::store::Store;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that gives `answer` to the number and the head of each request, and closes the connection.
struct Server {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(answer: impl Fn(usize, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let number = {
                    let mut seen = seen.lock().expect("no panic");
                    seen.push(head.clone());
                    seen.len() - 1
                };
                drop(stream.write_all(answer(number, &head).as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        Self { url, heads, task }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn json(body: &str) -> String {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// What outlives a run.
struct World {
    store: Store,
    table: MemoryTable<Batch>,
}

impl World {
    fn new() -> Self {
        Self { store: Store::memory(), table: MemoryTable::new() }
    }

    async fn run(&self, rest: RestBuilder) -> Result<RunReport, RunFailure> {
        let columns = Columns::new().int64("id").int64("at");
        let pipeline = Pipeline::named("rows")
            .source(rest)
            .land(Landing::in_store(&self.store, "raw").expect("a name"))
            .stage(Decode::pages().schema(columns))
            .stage(Dedup::by(["id"]))
            .sink(MemorySink::new(&self.table))
            .quarantine(Quarantine::in_store(&self.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&self.store, "state").expect("a name"))
            .build()
            .expect("complete");
        pipeline.run().await
    }

    fn ids(&self) -> Vec<i64> {
        let of = |batch: &Batch| batch.column("id").expect("declared").as_primitive::<Int64Type>().values().to_vec();
        let mut ids: Vec<i64> = self.table.items().iter().flat_map(of).collect();
        ids.sort_unstable();
        ids
    }
}

/// By a link in the data, and by a redirect.
pub async fn nothing_is_asked_of_another_origin() {
    let other = Server::start(|_, _| json("{\"next\":null,\"data\":[{\"id\":2,\"at\":2}]}")).await;
    let (link, redirect) = (other.url.clone(), other.url.clone());
    let links =
        Server::start(move |_, _| json(&format!("{{\"next\":\"{link}/x\",\"data\":[{{\"id\":1,\"at\":1}}]}}"))).await;
    let redirects = Server::start(move |_, _| answer("302 Found", &format!("Location: {redirect}/x\r\n"), "")).await;
    for server in [&links, &redirects] {
        let rest = Rest::get(format!("{}/rows", server.url))
            .auth(Bearer::new("t0ken"))
            .paginate(NextUrl::at("$.next"))
            .records("$.data[*]");
        let ended = World::new().run(rest).await;
        assert_eq!(other.heads(), Vec::<String>::new(), "requests of another origin");
        assert_eq!(ended.expect_err("the link leads elsewhere").error().kind(), ErrorKind::Config);
    }
}

pub async fn a_listing_that_goes_in_circles_is_an_error() {
    // So that it ends even where nobody notices.
    let server = Server::start(|number, _| {
        let token = if number < 40 { "\"again\"" } else { "null" };
        json(&format!("{{\"next\":{token},\"data\":[{{\"id\":1,\"at\":1}}]}}"))
    })
    .await;
    let rest =
        Rest::get(format!("{}/rows", server.url)).paginate(Cursor::at("$.next").query("cursor")).records("$.data[*]");
    World::new().run(rest).await.expect_err("a listing that goes in circles is taken for a whole one");
    assert!(server.heads().len() < 10, "{} requests", server.heads().len());
}

pub async fn a_page_that_is_refused_is_not_left_out() {
    let server = Server::start(|number, _| match number {
        2 => answer("403 Forbidden", "Content-Type: application/json\r\n", "{\"error\":\"expired\"}"),
        _ => json(&format!("[{{\"id\":{number},\"at\":1}}]")),
    })
    .await;
    let rest = Rest::get(format!("{}/rows", server.url)).paginate(PageNumber::query("page").maximum(4)).records("$[*]");
    let failure = World::new().run(rest).await.expect_err("a page is missing, and nobody says so");
    assert_eq!(failure.error().kind(), ErrorKind::Auth, "{failure}");
}

pub async fn lines_of_which_the_end_is_not_known_are_no_page() {
    // Cut after the second of three lines. Without a length, that looks like the end.
    let server = Server::start(|_, _| {
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n{\"id\":1,\"at\":1}\n{\"id\":2,\"at\":1}\n".to_owned()
    })
    .await;
    let world = World::new();
    let failure = world.run(Rest::get(format!("{}/rows", server.url)).records("ndjson")).await;
    let failure = failure.expect_err("a body that may be cut is taken for a whole one");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    assert!(world.ids().is_empty());
}

/// A row is committed at the API after a later one was read.
pub async fn rows_that_come_late_are_read_by_the_overlap() {
    let server = Server::start(|number, head| {
        let query = head.split_whitespace().nth(1).unwrap_or_default();
        let since: i64 = query.split("since=").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        let rows = [(1, 1_000), (2, 2_000), (3, 1_990)];
        // The last one is there from the second run on.
        let there = rows.iter().take(if number == 0 { 2 } else { 3 }).filter(|(_, at)| *at >= since);
        let rows: Vec<_> = there.map(|(id, at)| format!("{{\"id\":{id},\"at\":{at}}}")).collect();
        json(&format!("[{}]", rows.join(",")))
    })
    .await;
    let world = World::new();
    let rest = || {
        Rest::get(format!("{}/rows", server.url))
            .records("$[*]")
            .since(Since::field("at").query("since").overlap_number(60))
    };
    world.run(rest()).await.expect("no faults");
    world.run(rest()).await.expect("no faults");
    assert_eq!(world.ids(), [1, 2, 3], "asked: {:?}", server.heads());
}
