//! A scripted API of JSON pages, and the pipelines that read it.

use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{Batch, Columns, Decode, Unnest};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Proof, StopReason, Timestamp};
use landfall::pipeline::{Pipeline, PipelineBuilder, RunFailure, RunReport, Settings};
use landfall::sink::{Quarantine, Sink, Tables, Transactional};
use landfall::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use landfall::store::Store;
use landfall::testkit::{Faults, test_env};
use landfall::{Error, Result, async_trait};
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// What the API answers to the request for a page.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Records, as JSON objects with commas between.
    Records(String),
    /// An error.
    Fails,
    /// Nothing, until somebody lets it go on; then the records.
    Waits(Gate, String),
}

impl From<&str> for Answer {
    fn from(records: &str) -> Self {
        Self::Records(records.to_owned())
    }
}

/// Where a request waits.
#[derive(Clone, Debug)]
pub struct Gate {
    came: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub fn new() -> Self {
        Self { came: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    /// Waits until a request has come.
    pub async fn until_somebody_waits(&self) {
        self.came.acquire().await.expect("never closed").forget();
    }

    pub fn open(&self) {
        self.open.add_permits(1_000);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        self.came.add_permits(1);
        self.open.acquire().await.expect("never closed").forget();
    }
}

type Look = Arc<dyn Fn(String, u64) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// Streams of pages; the position is the number of the page to read next.
#[derive(Clone)]
pub struct Api {
    streams: Vec<(String, Vec<Answer>)>,
    reads: Arc<Mutex<Vec<(String, u64)>>>,
    look: Option<Look>,
    pub faults: Faults,
}

impl Api {
    pub fn of<'a, A: Into<Answer>>(streams: impl IntoIterator<Item = (&'a str, Vec<A>)>) -> Self {
        let streams =
            streams.into_iter().map(|(name, pages)| (name.to_owned(), pages.into_iter().map(Into::into).collect()));
        Self { streams: streams.collect(), reads: Arc::default(), look: None, faults: Faults::none() }
    }

    /// One stream.
    pub fn pages<A: Into<Answer>>(pages: impl IntoIterator<Item = A>) -> Self {
        Self::of([("all", pages.into_iter().collect())])
    }

    /// Calls `look` when a stream is about to be read on, with the position that it is read from.
    pub fn looked_at<F, L>(self, look: L) -> Self
    where
        L: Fn(String, u64) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self { look: Some(Arc::new(move |stream, from| Box::pin(look(stream, from)))), ..self }
    }

    /// From where streams were read, in order.
    pub fn reads(&self) -> Vec<(String, u64)> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("streams", &self.streams).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Api {
    type Item = Page;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<RowsRead>) -> Result<()> {
        out.add_all(self.streams.iter().map(|(name, _)| Partition::new(name.clone())).collect()).await
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<RowsRead>,
        out: &mut Emitter<Page, RowsRead>,
    ) -> Result<StopReason> {
        let from = from.map_or(0, |RowsRead(n)| n);
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push((partition.id.0.clone(), from));
        if let Some(look) = &self.look {
            look(partition.id.0.clone(), from).await;
        }
        let pages = self.streams.iter().find(|(name, _)| *name == partition.id.0).map(|(_, pages)| pages.as_slice());
        for (number, answer) in (1..).zip(pages.unwrap_or_default()).skip(usize::try_from(from).expect("few")) {
            self.faults.point("fetch", format!("{}/{number}", partition.id), async { Ok(()) }).await?;
            let records = match answer {
                Answer::Records(records) => records,
                Answer::Fails => return Err(Error::unavailable("fetch page", "the stream broke off")),
                Answer::Waits(gate, records) => {
                    tokio::select! {
                        () = gate.pass() => {}
                        () = out.cancelled() => return Ok(StopReason::Cancelled),
                    }
                    records
                }
            };
            let body = format!("[{records}]");
            let count = serde_json::from_str::<Vec<serde_json::Value>>(&body).map_or(1, |all| all.len() as u64);
            let page = Page::new(partition.id.clone(), body, count, Timestamp::from_micros(1));
            out.emit(page, &RowsRead(number)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

fn settings(records: u64) -> Settings {
    Settings::default().epoch_records(records).parallel_partitions(1).kept_checkpoints(1)
}

/// What outlives a process beside the warehouse: landing, quarantine, checkpoints.
pub struct Place {
    pub store: Store,
    processes: AtomicU64,
}

impl Place {
    pub fn new() -> Self {
        Self { store: Store::memory(), processes: AtomicU64::new(0) }
    }

    /// A process that loads `api`, by epochs of `records`.
    pub fn builder<K: Sink<Item = Batch>>(
        &self,
        name: &str,
        api: &Api,
        decode: Decode,
        records: u64,
        sink: K,
    ) -> PipelineBuilder<Api, Batch, K> {
        let store = api.faults.store(&self.store);
        Pipeline::named(name)
            .source(api.clone())
            .land(Landing::in_store(&store, &format!("raw-{name}")).expect("a name").segment_bytes(1))
            .stage(decode)
            .sink(sink)
            .checkpoints(StoreCheckpoints::new(&store, &format!("state-{name}")).expect("a name"))
            .settings(settings(records))
            .env(self.env())
    }

    /// A process that loads `api` into several tables.
    pub fn builder_of<K: Sink<Item = Tables<Batch>>>(
        &self,
        name: &str,
        api: &Api,
        columns: &Columns,
        unnest: Unnest,
        sink: K,
    ) -> PipelineBuilder<Api, Tables<Batch>, K> {
        let store = api.faults.store(&self.store);
        Pipeline::named(name)
            .source(api.clone())
            .land(Landing::in_store(&store, &format!("raw-{name}")).expect("a name").segment_bytes(1))
            .stage(Decode::pages().schema(columns.clone()))
            .stage(unnest)
            .sink(sink)
            .checkpoints(StoreCheckpoints::new(&store, &format!("state-{name}")).expect("a name"))
            .settings(settings(3))
            .env(self.env())
    }

    /// One whose pages can be read again, and are not landed: its checkpoints hold the positions of the streams.
    pub fn replayable<K: Sink<Item = Batch, Promise = Transactional>>(
        &self,
        name: &str,
        api: &Api,
        decode: Decode,
        records: u64,
        sink: K,
    ) -> Pipeline {
        Pipeline::named(name)
            .source(api.clone())
            .source_is_replayable()
            .stage(decode)
            .sink(sink)
            .checkpoints(StoreCheckpoints::new(&self.store, &format!("state-{name}")).expect("a name"))
            .settings(settings(records))
            .env(self.env())
            .build()
            .expect("complete")
    }

    fn env(&self) -> Env {
        test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub fn quarantine(&self, api: &Api) -> Quarantine {
        Quarantine::in_store(&api.faults.store(&self.store), "quarantine").expect("a name")
    }

    /// The records that were refused, as they were landed.
    pub async fn quarantined(&self) -> Vec<String> {
        let records = self.quarantine(&Api::pages::<&str>([])).read_all().await.expect("readable");
        records.into_iter().map(|record| String::from_utf8_lossy(&record.raw).into_owned()).collect()
    }

    /// Runs such a process to its end: all in one epoch.
    pub async fn run<K: Sink<Item = Batch, Promise = Transactional>>(
        &self,
        api: &Api,
        columns: &Columns,
        sink: K,
    ) -> Result<RunReport, RunFailure> {
        self.run_by(1_000, api, columns, sink).await
    }

    /// The same, by epochs of `records`.
    pub async fn run_by<K: Sink<Item = Batch, Promise = Transactional>>(
        &self,
        records: u64,
        api: &Api,
        columns: &Columns,
        sink: K,
    ) -> Result<RunReport, RunFailure> {
        let decode = Decode::pages().schema(columns.clone());
        self.builder("orders", api, decode, records, sink).build().expect("complete").run().await
    }
}
