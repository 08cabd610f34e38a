//! A whole pipeline whose landing, checkpoints, dataset and quarantine are in one store, while answers are lost and servers die.

use crate::asked::{modes, number, pairs, seed};
use crate::counted::{Counted, Epochs};
use crate::server::{Operation, Server};
use crate::support::Script;
use crate::{gcs, s3};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Columns, Decode, Dedup};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, RunFailure, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;
use landfall::testkit::{self, Faults, Mode, Schedules, Verdict, test_env};
use landfall::{Result, async_trait};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

fn pipeline(store: &Store, script: &Script, env: Env, epochs: &Epochs) -> Pipeline {
    let mut settings = Settings::default();
    settings.epoch_records = 8;
    settings.kept_checkpoints = 1;
    Pipeline::named("numbers")
        .source(script.clone())
        .land(Landing::in_store(store, "raw").expect("a name").segment_bytes(64))
        .stage(Decode::pages().ndjson().schema(Columns::new().int64("n")))
        .stage(Dedup::by(["n"]))
        .sink(Counted::by("n", ParquetDataset::in_store(store, "numbers").expect("a name").lanes(1), epochs))
        .quarantine(Quarantine::in_store(store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(store, "state").expect("a name"))
        .settings(settings)
        .env(env)
        .build()
        .expect("complete")
}

/// Some numbers, repeats and bad records.
fn script() -> Script {
    let mut script = Script::new(2, 2, 8);
    for line in script.partitions.iter_mut().flat_map(|(_, pages)| pages.iter_mut().flatten()) {
        *line = match line.parse::<u64>() {
            Ok(number) => format!("{{\"n\":{number}}}"),
            Err(_) => format!("{{\"n\":\"{line}\"}}"),
        };
    }
    script
}

/// Loads the script, once what is there and once more.
async fn load(store: &Store, env: impl Fn() -> Env) -> Result<(), RunFailure> {
    load_in(store, env, &Epochs::default()).await
}

/// Environments that are not alike, from this seed on.
fn envs(first: u64) -> impl Fn() -> Env {
    let next = AtomicU64::new(first);
    move || test_env(next.fetch_add(1, Ordering::SeqCst))
}

async fn load_in(store: &Store, env: impl Fn() -> Env, epochs: &Epochs) -> Result<(), RunFailure> {
    for _ in 0..2 {
        pipeline(store, &script(), env(), epochs).run().await?;
    }
    Ok(())
}

async fn numbers(store: &Store) -> Vec<u64> {
    let reader = DatasetReader::new(store, "numbers").expect("a name");
    let mut found = Vec::new();
    for batch in reader.snapshot().await.expect("readable").read_batches().await.expect("readable") {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        found.extend(column.values().iter().map(|n| u64::try_from(*n).expect("positive")));
    }
    found
}

/// Compares dataset and quarantine with the script.
async fn verdict(store: &Store) -> Verdict {
    let script = script();
    let lines: Vec<_> = script.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten()).collect();
    let number = |line: &str| line.strip_prefix("{\"n\":")?.strip_suffix('}')?.parse().ok();
    let served: BTreeSet<u64> = lines.iter().filter_map(|line| number(line)).collect();
    let bad: Vec<String> = lines.iter().filter(|line| number(line).is_none()).map(|&line| line.clone()).collect();

    let quarantine = Quarantine::in_store(store, "quarantine").expect("a name");
    let records = quarantine.read_all().await.expect("readable");
    let kept: Vec<_> = records.into_iter().map(|r| String::from_utf8_lossy(&r.raw).into_owned()).collect();
    Verdict::of(served, numbers(store).await).and(Verdict::of(bad, kept))
}

/// Whether dataset and quarantine hold each record once.
async fn assert_exact(store: &Store, case: &str) {
    let verdict = verdict(store).await;
    assert!(verdict.is_right(), "{case}: {verdict}");
}

/// Loads into `store`, which is empty, and compares.
pub async fn loads_exactly(store: &Store) {
    load(store, Env::system).await.expect("it loads");
    assert_exact(store, "at the end").await;
}

#[tokio::test]
async fn lost_answers_stop_nothing_and_double_nothing() {
    for store_of in [s3, gcs] {
        for each in 1..=3 {
            let server = Server::start().await;
            let store = store_of(&server);
            server.loses_each(each);
            // The first try of a request loses its answer, never both.
            load(&store, Env::system).await.expect("it loads");
            server.loses_each(0);
            assert!(server.count(Operation::Create) > 10 && server.count(Operation::Copy) > 0);
            assert_exact(&store, &format!("each {each}")).await;
        }
    }
}

/// The server dies at one request after another, before that had its effect and after; then a new process goes on. At every
/// ninth, or at every `LANDFALL_DEATHS_EACH`th.
#[tokio::test]
async fn a_server_that_dies_at_any_request_loses_nothing() {
    let server = Server::start().await;
    load(&s3(&server), envs(1)).await.expect("it loads");
    let requests = server.requests();
    assert!(requests > 50, "{requests}");
    let step = usize::try_from(number("LANDFALL_DEATHS_EACH").unwrap_or(9)).expect("a step");
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

/// What outlives the processes: all of it on one server.
struct World {
    store: Store,
    _server: Server,
    processes: AtomicU64,
    epochs: Epochs,
    /// What readers have seen.
    seen: Mutex<Verdict>,
}

#[async_trait]
impl testkit::World for World {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let env = || test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1);
        let ended = load_in(&faults.store(&self.store), env, &self.epochs).await;
        if let Some(partial) = self.epochs.look("rows", numbers(&self.store).await) {
            let mut seen = self.seen.lock().expect("no panic");
            *seen = seen.clone().and(partial);
        }
        Ok(ended?)
    }

    async fn verdict(&self) -> Verdict {
        verdict(&self.store).await.and(self.seen.lock().expect("no panic").clone())
    }

    /// A reader looks where a process has ended; one that looks all the time is there over a store in memory.
    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

/// The process dies, stands still or is not told at one operation after another. At every ninth, or at every `LANDFALL_DEATHS_EACH`th.
#[tokio::test]
async fn s3_survives_a_fault_at_every_operation() {
    let every = number("LANDFALL_DEATHS_EACH").unwrap_or(9);
    let world = async || {
        let _server = Server::start().await;
        let (store, processes) = (s3(&_server), AtomicU64::new(0));
        World { store, _server, processes, epochs: Epochs::default(), seen: Mutex::default() }
    };
    let schedules = Schedules::made_by(world).modes(modes(&Mode::ANY)).every(every).pairs(pairs(20)).seed(seed());
    let outcome = schedules.varies().run().await;
    println!("{}", outcome.proof("parquet on s3"));
    outcome.assert_right();
}
