//! Many partitions read side by side from an API that throttles, or is down for a while: they must not answer with a storm.

use super::clock::{IDLE, NEVER};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt;
use futures::future::BoxFuture;
use landfall::checkpoint::StoreCheckpoints;
use landfall::connectors::http::{Limits, Rest};
use landfall::env::{Clock, Env};
use landfall::landing::Landing;
use landfall::model::{Page, Rows, Timestamp};
use landfall::pipeline::{Pipeline, RunReport, Settings};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::testkit::{ManualClock, SeededEntropy};
use landfall::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PARTITIONS: u64 = 400;
/// Read at the same time.
const PARALLEL: usize = 8;

/// A clock that moves on when all that is left to do is to wait; limits of time never come.
#[derive(Clone, Debug)]
struct WaitClock(ManualClock);

impl Clock for WaitClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration > IDLE / 2 { futures::future::pending().boxed() } else { self.0.sleep(duration) }
    }
}

/// How the API refuses.
#[derive(Clone, Copy, Debug)]
enum Weather {
    /// More than so many requests in this time: 429, with the wait until the next such time.
    Limit(u64, Duration),
    /// Down from this request on, for so long.
    Outage(u64, Duration),
}

/// An API of `PARTITIONS` listings.
struct Api {
    url: String,
    state: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    clock: WaitClock,
    weather: Weather,
    requests: AtomicU64,
    /// The window that is counted and its count; or when the outage began.
    window: Mutex<(Duration, u64)>,
}

impl Api {
    async fn start(weather: Weather, clock: &WaitClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Shared {
            clock: clock.clone(),
            weather,
            requests: AtomicU64::new(0),
            window: Mutex::new((Duration::ZERO, 0)),
        });
        let router = axum::Router::new().route("/{id}", get(page)).with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, state, task }
    }

    fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// The refusal of request `number`, if it is refused.
    fn refusal(&self, number: u64) -> Option<Response> {
        let now = self.clock.monotonic();
        let mut window = self.window.lock().expect("not poisoned");
        match self.weather {
            Weather::Limit(limit, time) => {
                if now >= window.0 + time {
                    *window = (now, 0);
                }
                window.1 += 1;
                let wait = (window.0 + time - now).as_secs().max(1);
                let headers = [("retry-after", wait.to_string())];
                (window.1 > limit).then(|| (StatusCode::TOO_MANY_REQUESTS, headers).into_response())
            }
            Weather::Outage(from, time) => {
                if number == from {
                    window.0 = now;
                }
                (number >= from && now < window.0 + time).then(|| StatusCode::BAD_GATEWAY.into_response())
            }
        }
    }
}

async fn page(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let page = || ([("content-type", "application/json")], format!("[{id}]")).into_response();
    shared.refusal(number).unwrap_or_else(page)
}

/// The API, and what outlives a run.
struct World {
    api: Api,
    clock: WaitClock,
    store: Store,
    table: MemoryTable<Rows<u64>>,
}

impl World {
    async fn new(weather: Weather) -> Self {
        let clock = WaitClock(ManualClock::auto());
        let api = Api::start(weather, &clock).await;
        Self { api, clock, store: Store::memory(), table: MemoryTable::new() }
    }

    async fn run(&self) -> Result<RunReport, Error> {
        let source = Rest::get(format!("{}/{{id}}", self.api.url));
        let source = (0..PARTITIONS).fold(source, |source, n| source.partition(n.to_string(), [("id", n.to_string())]));
        let source = source.limits(Limits::default().with_idle(IDLE).with_total(NEVER));
        let parse = from_fn("parse", |page: Page, out: &mut Output<Rows<u64>>| {
            let ids = serde_json::from_slice(&page.body).map_err(|e| Error::data("parse", "no ids").with_source(e))?;
            out.emit(Rows(ids));
            Ok(())
        });
        let pipeline = Pipeline::named("ids")
            .source(source)
            .land(Landing::in_store(&self.store, "raw")?)
            .stage(parse)
            .sink(MemorySink::new(&self.table))
            .quarantine(Quarantine::in_store(&self.store, "quarantine")?)
            .checkpoints(StoreCheckpoints::new(&self.store, "state")?)
            .settings(Settings::default().epoch_age(NEVER).parallel_partitions(PARALLEL))
            .env(Env::deterministic(Arc::new(self.clock.clone()), Arc::new(SeededEntropy::new(1))))
            .build()?;
        pipeline.run().await.map_err(Error::from)
    }

    fn ids(&self) -> Vec<u64> {
        let mut ids = self.table.rows();
        ids.sort_unstable();
        ids
    }
}

fn all() -> Vec<u64> {
    (0..PARTITIONS).collect()
}

#[tokio::test]
async fn a_limit_of_the_rate_costs_few_refusals() {
    for limit in [40, 100] {
        let world = World::new(Weather::Limit(limit, Duration::from_secs(10))).await;
        assert!(world.run().await.expect("no error").is_complete());
        assert_eq!(world.ids(), all());
        let requests = world.api.requests();
        println!("limit={limit}/10s requests={requests} needed={PARTITIONS}");
        assert!(requests * 10 <= PARTITIONS * 11, "{requests}");
    }
}

#[tokio::test]
async fn a_short_outage_costs_few_retries() {
    let world = World::new(Weather::Outage(PARTITIONS / 2, Duration::from_secs(1))).await;
    assert!(world.run().await.expect("no error").is_complete());
    assert_eq!(world.ids(), all());
    let requests = world.api.requests();
    println!("outage=1s requests={requests} needed={PARTITIONS}");
    assert!(requests * 10 <= PARTITIONS * 11, "{requests}");
}

#[tokio::test]
async fn a_long_outage_ends_the_run_with_bounded_retries_and_the_next_run_goes_on() {
    let world = World::new(Weather::Outage(PARTITIONS / 2, Duration::from_secs(3_600))).await;
    let error = world.run().await.expect_err("the API is down");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(world.ids().len() as u64, PARTITIONS / 2, "what came before it is committed");
    let requests = world.api.requests();
    println!("outage=1h requests={requests} needed={PARTITIONS}");
    // Not in proportion to what there is to read: all partitions together have so many retries.
    assert!(requests <= PARTITIONS + 100, "{requests}");
    world.clock.0.advance(Duration::from_secs(3_600));
    assert!(world.run().await.expect("no error").is_complete());
    // It reads every partition anew: nothing says what is new in one, and nothing here takes out what comes again.
    let mut ids = world.ids();
    ids.dedup();
    assert_eq!(ids, all());
    assert!(world.api.requests() <= requests + PARTITIONS);
}
