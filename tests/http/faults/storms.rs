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
use landfall::retry::Policy;
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
    /// The same, again and again after so many that were served.
    Flapping(u64, Duration),
    /// From this request on, for so long: this status, with `Retry-After` if there is one.
    Refuses { from: u64, time: Duration, status: u16, retry_after: Option<u64> },
    /// One request in so many fails, for ever.
    BrownOut(u64),
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
    served: AtomicU64,
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
            served: AtomicU64::new(0),
            window: Mutex::new((Duration::ZERO, 0)),
        });
        let router = axum::Router::new().route("/{id}", get(page)).with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, state, task }
    }

    fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    fn served(&self) -> u64 {
        self.state.served.load(Ordering::SeqCst)
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
                Self::during(&mut window, number, from, now, time).then(|| StatusCode::BAD_GATEWAY.into_response())
            }
            Weather::Flapping(each, time) => {
                let served = self.served.load(Ordering::SeqCst);
                if served >= each * (window.1 + 1) {
                    *window = (now, window.1 + 1);
                }
                (window.1 > 0 && now < window.0 + time).then(|| StatusCode::BAD_GATEWAY.into_response())
            }
            Weather::Refuses { from, time, status, retry_after } => {
                let wait = retry_after.map(|seconds| [("retry-after", seconds.to_string())]);
                let status = StatusCode::from_u16(status).expect("a status");
                Self::during(&mut window, number, from, now, time).then(|| match wait {
                    Some(wait) => (status, wait).into_response(),
                    None => status.into_response(),
                })
            }
            // Mixed, so that it is in step with nothing.
            Weather::BrownOut(one_in) => ((number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % one_in == 0)
                .then(|| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        }
    }

    /// Whether a time that begins with request `from` is not over.
    fn during(window: &mut (Duration, u64), number: u64, from: u64, now: Duration, time: Duration) -> bool {
        if number == from {
            window.0 = now;
        }
        number >= from && now < window.0 + time
    }
}

async fn page(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    if let Some(refusal) = shared.refusal(number) {
        return refusal;
    }
    shared.served.fetch_add(1, Ordering::SeqCst);
    ([("content-type", "application/json")], format!("[{id}]")).into_response()
}

/// The API, and what outlives a run.
struct World {
    api: Api,
    clock: WaitClock,
    store: Store,
    table: MemoryTable<Rows<u64>>,
    retry: Policy,
}

impl World {
    async fn new(weather: Weather) -> Self {
        let clock = WaitClock(ManualClock::auto());
        let api = Api::start(weather, &clock).await;
        Self { api, clock, store: Store::memory(), table: MemoryTable::new(), retry: Policy::default() }
    }

    async fn run(&self) -> Result<RunReport, Error> {
        let source = Rest::get(format!("{}/{{id}}", self.api.url));
        let source = (0..PARTITIONS).fold(source, |source, n| source.partition(n.to_string(), [("id", n.to_string())]));
        let source = source.retry(self.retry).limits(Limits::default().with_idle(IDLE).with_total(NEVER));
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

/// Requests for each one that was served.
fn amplification(api: &Api) -> f64 {
    api.requests() as f64 / api.served() as f64
}

#[tokio::test]
async fn no_storm_is_answered_with_a_storm() {
    let (minute, half) = (Duration::from_secs(60), PARTITIONS / 2);
    let refuses = |minutes: u32, status, retry_after| Weather::Refuses {
        from: half,
        time: minutes * minute,
        status,
        retry_after,
    };
    let mut worst: f64 = 0.0;
    for weather in [
        Weather::Limit(40, Duration::from_secs(10)),
        Weather::Limit(100, Duration::from_secs(10)),
        Weather::Outage(0, Duration::from_secs(10)),
        Weather::Outage(half, Duration::from_secs(1)),
        Weather::Outage(half, Duration::from_secs(30)),
        Weather::Outage(half, 4 * minute),
        Weather::Flapping(150, Duration::from_secs(5)),
        refuses(10, 429, Some(60)),
        refuses(40, 503, Some(300)),
        refuses(2, 429, None),
        refuses(4, 503, None),
    ] {
        let world = World::new(weather).await;
        assert!(world.run().await.expect("no error").is_complete(), "{weather:?}");
        assert_eq!(world.ids(), all(), "{weather:?}");
        let amplification = amplification(&world.api);
        println!(
            "storm={weather:?} requests={} needed={PARTITIONS} amplification={amplification:.3}",
            world.api.requests()
        );
        worst = worst.max(amplification);
    }
    println!("retry_amplification_max={worst:.3}");
    assert!(worst <= 1.1, "{worst}");
}

/// No client does with fewer requests than it takes until each has been served once.
#[tokio::test]
async fn an_api_that_always_fails_a_part_costs_little_more_than_it_must() {
    for one_in in [3, 5, 10] {
        let mut world = World::new(Weather::BrownOut(one_in)).await;
        // One of 400 that fails five times in a row is nothing rare.
        world.retry = Policy::default().with_attempts(20);
        assert!(world.run().await.expect("no error").is_complete());
        assert_eq!(world.ids(), all());
        let least = one_in as f64 / (one_in - 1) as f64;
        let amplification = amplification(&world.api);
        println!("fails=1/{one_in} amplification={amplification:.3} least={least:.3}");
        assert!(amplification <= least * 1.1, "{amplification}");
    }
}

#[tokio::test]
async fn a_long_outage_ends_the_run_with_few_requests_and_the_next_run_goes_on() {
    let world = World::new(Weather::Outage(PARTITIONS / 2, Duration::from_secs(3_600))).await;
    let error = world.run().await.expect_err("the API is down");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(world.ids().len() as u64, PARTITIONS / 2, "what came before it is committed");
    let requests = world.api.requests();
    world.clock.0.advance(Duration::from_secs(3_600));
    assert!(world.run().await.expect("no error").is_complete());
    // It reads every partition anew: nothing says what is new in one, and nothing here takes out what comes again.
    let mut ids = world.ids();
    ids.dedup();
    assert_eq!(ids, all());
    assert_eq!(world.api.requests(), requests + PARTITIONS);
    let amplification = amplification(&world.api);
    println!("outage=1h wasted={} amplification={amplification:.3}", requests - PARTITIONS / 2);
    assert!(amplification <= 1.1, "{amplification}");
}

#[tokio::test]
async fn a_refusal_for_hours_is_told_to_all_and_the_next_run_goes_on() {
    let weather = Weather::Refuses {
        from: PARTITIONS / 2,
        time: Duration::from_secs(7_200),
        status: 429,
        retry_after: Some(7_200),
    };
    let world = World::new(weather).await;
    let report = world.run().await.expect("put off is no error");
    assert!(!report.is_complete());
    // Those that were under way when it began, and none after.
    let wasted = world.api.requests() - world.api.served();
    println!("refused=2h wasted={wasted}");
    assert!(wasted <= PARALLEL as u64, "{wasted}");
    world.clock.0.advance(Duration::from_secs(7_200));
    assert!(world.run().await.expect("no error").is_complete());
}
