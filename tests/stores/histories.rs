//! Processes and servers that die, stand still or are not told at one operation after another; then another process goes on, and each number
//! must be there once. At every ninth, or as `LANDFALL_SCHEDULES_EVERY` says.

use crate::counted::Epochs;
use crate::environment::{every, modes, pairs, seed};
use crate::lifecycle::{envs, load, load_in, numbers, verdict};
use crate::s3;
use crate::server::Server;
use landfall::store::Store;
use landfall::testkit::{self, Faults, Mode, Schedules, Verdict, test_env};
use landfall::{Result, async_trait};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// The server dies at one request after another, before that had its effect and after; then a new process goes on.
#[tokio::test]
async fn a_server_that_dies_at_any_request_loses_nothing() {
    let server = Server::start().await;
    load(&s3(&server), envs(1)).await.expect("it loads");
    let requests = server.requests();
    assert!(requests > 50, "{requests}");
    let step = usize::try_from(every(9)).expect("a step");
    let (mut deaths, mut unmet, mut total) = (0, 0, Verdict::default());
    for at in (0..requests).step_by(step) {
        for has_effect in [false, true] {
            let case = format!("request {at}, effect {has_effect}");
            let epochs = Epochs::default();
            let Some(server) = dead_at(at, has_effect, &epochs).await else {
                assert!(at >= requests - requests / 10, "{case}: no load made so many requests");
                unmet += 1;
                continue;
            };
            let store = s3(&server);
            load_in(&store, envs(100), &epochs).await.unwrap_or_else(|e| panic!("{case}: {e}"));
            let verdict = verdict(&store).await;
            assert!(verdict.is_right(), "{case}: {verdict}");
            total = total.and(verdict);
            deaths += 1;
        }
    }
    println!(
        "proof suite=single of=\"s3, a server that dies\" every={step} points={requests} schedules={deaths} unmet={unmet} {}",
        total.sums()
    );
}

/// A server that died at a request of a load, and is there again. The parts of a pipeline run side by side, so that not each load makes as
/// many requests. `None` if ten of them have not.
async fn dead_at(request: usize, has_effect: bool, epochs: &Epochs) -> Option<Server> {
    for _ in 0..10 {
        let server = Server::start().await;
        server.dies_at(request, has_effect);
        // What it tidies up at its end may fail, and it ends well.
        drop(load_in(&s3(&server), envs(1), epochs).await);
        if server.is_dead() {
            server.revives();
            return Some(server);
        }
    }
    None
}

/// What outlives the processes: all of it in one place.
struct World<P> {
    place: P,
    processes: AtomicU64,
    epochs: Epochs,
    /// What readers have seen.
    seen: Mutex<Verdict>,
}

/// Where a store is, which each process opens for itself.
trait Place: Send + Sync {
    fn open(&self) -> Store;
}

/// A server, and its one client: each new one reads the certificates of the system, which takes longer than to load.
struct OnS3 {
    _server: Server,
    client: Store,
}

impl OnS3 {
    async fn start() -> Self {
        let server = Server::start().await;
        Self { client: s3(&server), _server: server }
    }
}

impl Place for OnS3 {
    fn open(&self) -> Store {
        self.client.clone()
    }
}

impl Place for TempDir {
    fn open(&self) -> Store {
        Store::local(self.path()).expect("a folder")
    }
}

#[async_trait]
impl<P: Place> testkit::World for World<P> {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let env = || test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1);
        let ended = load_in(&faults.store(&self.place.open()), env, &self.epochs).await;
        if let Some(partial) = self.epochs.look("rows", numbers(&self.place.open()).await) {
            let mut seen = self.seen.lock().expect("no panic");
            *seen = seen.clone().and(partial);
        }
        Ok(ended?)
    }

    async fn verdict(&self) -> Verdict {
        verdict(&self.place.open()).await.and(self.seen.lock().expect("no panic").clone())
    }

    /// A reader looks where a process has ended; one that looks all the time is there over a store in memory.
    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

async fn enumerate<P: Place, Made: Future<Output = P> + Send>(of: &str, place: impl Fn() -> Made + Send + Sync) {
    let world = || {
        let place = place();
        async {
            let (place, processes) = (place.await, AtomicU64::new(0));
            World { place, processes, epochs: Epochs::default(), seen: Mutex::default() }
        }
    };
    let schedules = Schedules::made_by(world).modes(modes(&Mode::ANY)).every(every(9)).pairs(pairs(20)).seed(seed());
    let outcome = schedules.varies().run().await;
    println!("{}", outcome.proof(of));
    outcome.assert_right();
}

#[tokio::test]
async fn s3_survives_a_fault_at_every_operation() {
    enumerate("parquet on s3", OnS3::start).await;
}

#[tokio::test]
async fn local_files_survive_a_fault_at_every_operation() {
    enumerate("parquet on local files", || async { tempfile::tempdir().expect("a folder") }).await;
}
