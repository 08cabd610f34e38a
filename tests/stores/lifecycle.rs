//! A whole pipeline whose landing, checkpoints, dataset and quarantine are in one store, while answers are lost.

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
use landfall::testkit::{Verdict, test_env};
use std::collections::BTreeSet;
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
pub async fn load(store: &Store, env: impl Fn() -> Env) -> Result<(), RunFailure> {
    load_in(store, env, &Epochs::default()).await
}

/// Environments that are not alike, from this seed on.
pub fn envs(first: u64) -> impl Fn() -> Env {
    let next = AtomicU64::new(first);
    move || test_env(next.fetch_add(1, Ordering::SeqCst))
}

pub async fn load_in(store: &Store, env: impl Fn() -> Env, epochs: &Epochs) -> Result<(), RunFailure> {
    for _ in 0..2 {
        pipeline(store, &script(), env(), epochs).run().await?;
    }
    Ok(())
}

pub async fn numbers(store: &Store) -> Vec<u64> {
    let reader = DatasetReader::new(store, "numbers").expect("a name");
    let mut found = Vec::new();
    for batch in reader.snapshot().await.expect("readable").read_batches().await.expect("readable") {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        found.extend(column.values().iter().map(|n| u64::try_from(*n).expect("positive")));
    }
    found
}

/// Compares dataset and quarantine with the script.
pub async fn verdict(store: &Store) -> Verdict {
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
