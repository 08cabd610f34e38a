//! A scripted API, and what of a pipeline outlives a run.

use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Batch, Columns, Decode, Dedup, Within};
use landfall::connectors::http::RestBuilder;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, PipelineBuilder, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::store::Store;
use landfall::testkit::Faults;
use landfall::testkit::http::{Reply, Request, Server};
use landfall::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// A request.
pub struct Asked(pub Request);

impl Asked {
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.0.parameter(name)
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.parameter(name).map(|text| text.parse().expect("a number"))
    }
}

/// Answers by a script that may change, and remembers what was asked. To a status of 0 it says nothing at all.
pub struct Api {
    server: Server,
    /// How much of what was asked has been taken.
    taken: AtomicUsize,
    silent: Arc<Notify>,
}

impl Api {
    pub async fn start(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let silent = Arc::new(Notify::new());
        let silence = Arc::clone(&silent);
        let server = Server::start(move |request| {
            let (status, body) = script(&Asked(request.clone()));
            if status == 0 {
                silence.notify_one();
                return Reply::status(200, "").cut_head_at(0).silent();
            }
            let kind = match body.bytes().next() {
                Some(b'<') => "application/xml",
                None | Some(b'{' | b'[') => "application/json",
                Some(_) => "text/csv",
            };
            Reply::status(status, body).header("content-type", kind)
        })
        .await;
        Self { server, taken: AtomicUsize::new(0), silent }
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Waits until it has been asked something to which it says nothing.
    pub async fn silent(&self) {
        self.silent.notified().await;
    }

    /// Waits until every client is gone.
    pub async fn idle(&self) {
        self.server.idle().await;
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<String> {
        let targets = self.server.targets();
        let taken = self.taken.swap(targets.len(), Ordering::SeqCst);
        targets[taken..].to_vec()
    }
}

/// What outlives a run: stores and the destination.
pub struct World {
    store: Store,
    pub table: MemoryTable<Batch>,
    report: Mutex<String>,
}

impl World {
    pub fn new() -> Self {
        Self { store: Store::memory(), table: MemoryTable::new(), report: Mutex::default() }
    }

    /// The same world, as a process sees it that reaches the stores through `faults`.
    pub fn through(&self, faults: &Faults) -> Self {
        Self { store: faults.store(&self.store), table: self.table.clone(), report: Mutex::default() }
    }

    /// Runs the pipeline `name` once: rows of two whole numbers, `id` and `t`, appended exactly once.
    pub async fn run(&self, name: &str, source: RestBuilder) -> std::result::Result<RunReport, Error> {
        self.run_within(name, source, None).await
    }

    /// The same, with a filter behind the decoder.
    pub async fn run_within(
        &self,
        name: &str,
        source: RestBuilder,
        within: Option<Within>,
    ) -> std::result::Result<RunReport, Error> {
        let store = &self.store;
        let decoded = Pipeline::named(name)
            .source(source)
            .land(Landing::in_store(store, &format!("raw/{name}"))?.segment_age(Duration::ZERO))
            .stage(Decode::pages().schema(Columns::new().int64("id").int64("t").int64("_of")));
        let pipeline = match within {
            Some(within) => self.rest_of(name, decoded.stage(within)),
            None => self.rest_of(name, decoded),
        };
        let ended = pipeline?.run().await;
        let report = ended.as_ref().map_or_else(|failure| failure.report().to_string(), ToString::to_string);
        *self.report.lock().expect("not poisoned") = report;
        ended.map_err(Error::from)
    }

    /// What is known of each partition and window of the pipeline `name`.
    pub async fn accounts(&self, name: &str, source: RestBuilder) -> Vec<landfall::model::Account> {
        let landing = Landing::in_store(&self.store, &format!("raw/{name}")).expect("a name");
        let decode = Decode::pages().schema(Columns::new().int64("id").int64("t").int64("_of"));
        let pipeline = self.rest_of(name, Pipeline::named(name).source(source).land(landing).stage(decode));
        let accounts = pipeline.expect("a pipeline").accounts().await.expect("opens");
        accounts.all().await.expect("readable")
    }

    fn rest_of<S: landfall::source::Source>(&self, name: &str, so_far: PipelineBuilder<S, Batch>) -> Result<Pipeline> {
        let store = &self.store;
        so_far
            .stage(Dedup::by(["id"]))
            .sink(MemorySink::new(&self.table))
            .quarantine(Quarantine::in_store(store, &format!("quarantine/{name}"))?)
            .checkpoints(StoreCheckpoints::new(store, &format!("state/{name}"))?)
            .build()
    }

    /// What the last run has reported.
    pub fn last_report(&self) -> String {
        self.report.lock().expect("not poisoned").clone()
    }

    /// A column of the destination, sorted; rows without a value are left out.
    pub fn column(&self, name: &str) -> Vec<i64> {
        let column = |batch: &Batch| {
            let column = batch.column(name).expect("a column");
            column.as_primitive::<Int64Type>().iter().flatten().collect::<Vec<_>>()
        };
        let mut values: Vec<i64> = self.table.items().iter().flat_map(column).collect();
        values.sort_unstable();
        values
    }
}

/// `{"data":[{"id":…,"t":…}, …],"next":…}`.
pub fn rows(rows: &[(i64, i64)], next: Option<&str>) -> (u16, String) {
    let rows: Vec<_> = rows.iter().map(|(id, t)| serde_json::json!({"id": id, "t": t})).collect();
    (200, serde_json::json!({"data": rows, "next": next}).to_string())
}
