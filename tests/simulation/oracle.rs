//! Looks from outside at what is there.

use crate::api::record_of;
use crate::world::{Change, Machine, World};
use crate::worlds::{Destination, children, landed, number, quarantined, rows};
use landfall::testkit::{Verdict, test_env};
use std::collections::{BTreeMap, BTreeSet};

/// What a reader has seen, while processes ran.
#[derive(Debug, Default)]
pub struct Reader {
    seen: BTreeSet<u64>,
    pub looks: u64,
}

impl Reader {
    /// What it has seen at its last look and does not see in these rows, or only an older version of it.
    pub fn gone(&self, into: Destination, rows: &[u64]) -> Vec<String> {
        if into != Destination::DeltaUpsert {
            let now: BTreeSet<u64> = rows.iter().copied().collect();
            return self.seen.difference(&now).map(|n| format!("{n} was there, and is gone")).collect();
        }
        let now: BTreeMap<u64, u64> = rows.iter().map(|n| (record_of(*n), *n)).collect();
        let older = |n: &&u64| now.get(&record_of(**n)).is_none_or(|now| now < *n);
        self.seen
            .iter()
            .filter(older)
            .map(|n| format!("{n} was there, and now {:?}", now.get(&record_of(*n))))
            .collect()
    }

    /// Looks at the destination; gives what none may see.
    pub async fn look(&mut self, world: &World) -> Verdict {
        self.looks += 1;
        let rows = rows(&world.store, world.shape.into, &world.table).await;
        let mut wrong = Vec::new();
        let distinct: BTreeSet<u64> = rows.iter().copied().collect();
        if distinct.len() != rows.len() {
            wrong.push(format!("a reader saw {} rows twice", rows.len() - distinct.len()));
        }
        if world.shape.into == Destination::DeltaUpsert {
            let records: BTreeSet<u64> = rows.iter().map(|n| record_of(*n)).collect();
            if records.len() != rows.len() {
                wrong.push("a reader saw two versions of a record".to_owned());
            }
        }
        wrong.extend(self.gone(world.shape.into, &rows));
        let key = |n: u64| if world.shape.into == Destination::DeltaUpsert { record_of(n) } else { n };
        let mut partial = world.epochs.look("rows", rows.into_iter().map(key));
        if world.shape.into == Destination::Tables {
            partial = partial.or(world.children.look("children", children(&world.store).await));
        }
        self.seen = distinct;
        Verdict { wrong, ..Verdict::default() }.and(partial.unwrap_or_default())
    }
}

/// Compares everything with what was served, after a process that ended well.
pub async fn verdict(world: &World) -> Verdict {
    let (rows, served) = (rows(&world.store, world.shape.into, &world.table).await, world.api.served());
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
    let settings = &world.shape.settings;
    let landed = if settings.prune_landing { None } else { Some(landed(&world.store, settings.shards).await) };
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
        let even = found.keys().copied().filter(|n| n % 2 == 0);
        verdict = verdict.and(Verdict::of(even, children(&world.store).await));
    }
    let refused = quarantined(&world.store, "numbers").await;
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
    let pipeline = world.pipeline(&Machine::undisturbed(0, test_env(0), &world.store), Change::None);
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
