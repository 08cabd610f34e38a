//! Looks from outside at what is there.

use crate::api::record_of;
use crate::world::{Destination, World};
use landfall::columnar::arrow::array::{AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::connectors::parquet::DatasetReader;
use landfall::landing::{Landing, LandingReader};
use landfall::model::{Page, PipelineName, ShardKey};
use landfall::sink::Quarantine;
use landfall::testkit::{Faults, Verdict, test_env};
use std::collections::{BTreeMap, BTreeSet};

/// What a reader has seen, while processes ran.
#[derive(Debug, Default)]
pub struct Reader {
    seen: BTreeSet<u64>,
    pub looks: u64,
}

impl Reader {
    /// Looks at the destination; gives what none may see.
    pub async fn look(&mut self, world: &World) -> Vec<String> {
        self.looks += 1;
        let rows = rows(world).await;
        let mut wrong = Vec::new();
        let distinct: BTreeSet<u64> = rows.iter().copied().collect();
        if distinct.len() != rows.len() {
            wrong.push(format!("a reader saw {} rows twice", rows.len() - distinct.len()));
        }
        if world.shape.into == Destination::DeltaUpsert {
            let records: BTreeSet<u64> = rows.iter().map(|n| record_of(*n)).collect();
            let before: BTreeMap<u64, u64> = self.seen.iter().map(|n| (record_of(*n), *n)).collect();
            let now: BTreeMap<u64, u64> = distinct.iter().map(|n| (record_of(*n), *n)).collect();
            if records.len() != rows.len() {
                wrong.push("a reader saw two versions of a record".to_owned());
            }
            wrong.extend(
                before
                    .iter()
                    .filter(|(id, n)| now.get(id).is_none_or(|now| now < *n))
                    .map(|(id, n)| format!("version {n} of record {id} was there, and now {:?}", now.get(id))),
            );
        } else {
            wrong.extend(self.seen.difference(&distinct).map(|n| format!("{n} was there, and is gone")));
        }
        let counted = !matches!(world.shape.into, Destination::DeltaUpsert | Destination::Tables);
        if counted && !world.epochs.allow(rows.len() as u64) {
            wrong.push(format!("a reader saw {} rows, which is part of an epoch", rows.len()));
        }
        self.seen = distinct;
        wrong
    }
}

pub async fn rows(world: &World) -> Vec<u64> {
    match world.shape.into {
        Destination::Memory => world.table.rows(),
        Destination::Parquet | Destination::Tables => {
            let snapshot =
                DatasetReader::new(&world.store, "numbers").expect("a name").snapshot().await.expect("readable");
            let rows = numbers(&snapshot.read_batches().await.expect("readable"));
            assert_eq!(rows.len() as u64, snapshot.rows(), "rows, and what the commits tell");
            rows
        }
        Destination::Delta | Destination::DeltaUpsert => delta(world).await,
    }
}

async fn delta(world: &World) -> Vec<u64> {
    numbers(&world.delta(&world.store).read_batches().await.expect("readable"))
}

fn numbers(batches: &[RecordBatch]) -> Vec<u64> {
    let of = |batch: &RecordBatch| -> Vec<u64> {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        column.values().iter().map(|n| u64::try_from(*n).expect("positive")).collect()
    };
    batches.iter().flat_map(of).collect()
}

/// Compares everything with what was served, after a process that ended well.
pub async fn verdict(world: &World) -> Verdict {
    let (rows, served) = (rows(world).await, world.api.served());
    let was_served: BTreeSet<u64> = served.keys().filter_map(|line| number(line)).collect();
    let mut found = BTreeMap::<u64, u64>::new();
    rows.iter().for_each(|n| *found.entry(*n).or_default() += 1);
    let invented = found.keys().filter(|n| !was_served.contains(n)).count() as u64;
    let mut verdict = Verdict { invented, ..Verdict::default() };
    let mut expected: BTreeSet<u64> = world.api.current().into_iter().collect();
    if world.shape.into == Destination::DeltaUpsert {
        verdict = verdict.and(Verdict::of(expected.iter().copied(), rows.iter().copied()));
    } else {
        verdict.doubled = found.values().map(|times| times - 1).sum();
    }
    let landed = if world.shape.settings.prune_landing { None } else { Some(landed(world).await) };
    if let Some(landed) = landed.as_ref().filter(|_| world.shape.into != Destination::DeltaUpsert) {
        let whole: BTreeSet<u64> = landed.iter().filter_map(|line| number(line)).collect();
        // A part of a response that broke off was served, and is loaded by nobody.
        let parts = found.keys().filter(|n| was_served.contains(n) && !whole.contains(n)).count();
        verdict.invented += parts as u64;
        expected.extend(whole);
    }
    if world.shape.into != Destination::DeltaUpsert {
        verdict.lost += expected.iter().filter(|n| !found.contains_key(n)).count() as u64;
    }
    if world.shape.into == Destination::Tables {
        let children = found.keys().copied().filter(|n| n % 2 == 0);
        verdict = verdict.and(Verdict::of(children, delta(world).await));
    }
    let quarantine = Quarantine::in_store(&world.store, "quarantine").expect("a name");
    let refused: Vec<String> = quarantine
        .read_all()
        .await
        .expect("readable")
        .into_iter()
        .map(|record| String::from_utf8_lossy(&record.raw).into_owned())
        .collect();
    match landed {
        Some(landed) => {
            let bad = landed.into_iter().filter(|line| number(line).is_none());
            verdict = verdict.and(Verdict::of(bad, refused));
        }
        // The landing is gone: each at least once, and none more often than it was served.
        None => {
            let mut times = BTreeMap::<String, u64>::new();
            refused.into_iter().for_each(|line| *times.entry(line).or_default() += 1);
            verdict.lost += world.api.current_bad().iter().filter(|line| !times.contains_key(*line)).count() as u64;
            for (line, times) in times {
                let served = served.get(&line).copied().unwrap_or(0);
                verdict.invented += u64::from(served == 0);
                verdict.doubled += times.saturating_sub(served);
            }
        }
    }
    verdict.wrong.extend(accounts(world, rows.len() as u64).await);
    verdict
}

/// What is wrong with the accounts.
async fn accounts(world: &World, rows: u64) -> Vec<String> {
    let pipeline = world.pipeline(&test_env(0), &Faults::none(), crate::world::Change::None);
    let accounts = pipeline.accounts().await.expect("readable").all().await.expect("readable");
    let mut wrong: Vec<String> = accounts
        .iter()
        .filter(|account| account.missing().is_some() || !account.load.balances())
        .map(|a| a.to_string())
        .collect();
    let loaded: u64 = accounts.iter().map(|account| account.load.loaded - account.load.fanned_out).sum();
    if world.shape.into != Destination::DeltaUpsert && loaded != rows {
        wrong.push(format!("{loaded} records are said to be loaded, and {rows} are there"));
    }
    wrong
}

/// Every line that the landing holds, but for the parts of responses that never became whole.
async fn landed(world: &World) -> Vec<String> {
    let landing = Landing::in_store(&world.store, "raw").expect("a name");
    let mut pages = Vec::new();
    for shard in 0..world.shape.settings.shards {
        let key = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard };
        let reader = LandingReader::new(&landing, &key, &test_env(0));
        let mut number = 1;
        while let Some(segment) = reader.read(number).await.expect("readable") {
            pages.extend(segment.pages);
            number += 1;
        }
    }
    let whole: BTreeSet<u64> =
        pages.iter().filter_map(|page| page.part.filter(|part| part.last).map(|part| part.response)).collect();
    let counts = |page: &&Page| page.part.is_none_or(|part| whole.contains(&part.response));
    let bodies = pages.iter().filter(counts).map(|page| String::from_utf8_lossy(&page.body).into_owned());
    bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The number in a line, if it is a good one.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("{\"n\":").map_or(line, |rest| rest.split([',', '}']).next().unwrap_or_default()).parse().ok()
}
