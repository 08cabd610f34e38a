//! Several tables in one chain.

use crate::support::{Once, Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::Landing;
use landfall::model::Rows;
use landfall::pipeline::{Pipeline, RunFailure, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine, TableSet, Tables};
use landfall::stage::{FnStage, Output, from_fn};
use landfall::testkit::{FaultSink, Faults, Mode, Point};
use landfall::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Memory = MemorySink<Rows<u64>>;

/// A sink that is down when it is to commit, while somebody says so; `wholly`, if not even its mark can be read then.
pub fn while_down(sink: Memory, down: &Arc<AtomicBool>, wholly: bool) -> FaultSink<Memory> {
    let down = Arc::clone(down);
    let fails = move |point: &Point| {
        let asked = point.operation == "commit" || (wholly && point.operation == "mark");
        (asked && down.load(Ordering::SeqCst)).then_some(Mode::Fail)
    };
    FaultSink::new(sink, &Faults::drawn(fails))
}

/// Each number goes into `all`, and its digits into `digits`.
fn digits() -> FnStage<
    Rows<u64>,
    Tables<Rows<u64>>,
    impl FnMut(Rows<u64>, &mut Output<Tables<Rows<u64>>>) -> Result<()> + Clone + Send + Sync,
> {
    from_fn("digits", |rows: Rows<u64>, out: &mut Output<Tables<Rows<u64>>>| {
        let digits: Vec<u64> = rows.0.iter().flat_map(|n| digits_of(*n)).collect();
        out.fanned_out(digits.len() as u64);
        out.emit(Tables::new().with("all", rows).with("digits", Rows(digits)));
        Ok(())
    })
}

/// None for small numbers: a table of an epoch may have no rows.
fn digits_of(number: u64) -> Vec<u64> {
    let text = if number < 10 { String::new() } else { number.to_string() };
    text.bytes().map(|digit| u64::from(digit - b'0')).collect()
}

#[derive(Clone)]
struct Split {
    world: World,
    digits: MemoryTable<Rows<u64>>,
    down: Arc<AtomicBool>,
}

impl Split {
    fn new(script: Script) -> Self {
        Self { world: World::new(script), digits: MemoryTable::new(), down: Arc::default() }
    }

    fn set(&self) -> TableSet<Rows<u64>> {
        let last = while_down(MemorySink::new(&self.digits), &self.down, false);
        TableSet::new().table("all", MemorySink::new(&self.world.table)).table("digits", last)
    }

    fn pipeline(&self, set: TableSet<Rows<u64>>) -> Pipeline {
        let world = &self.world;
        Pipeline::named("numbers")
            .source(world.script.clone())
            .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
            .stage(parse())
            .stage(Once::default())
            .stage(digits())
            .sink(set)
            .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .settings(world.settings.clone())
            .env(world.env.clone())
            .build()
            .expect("complete")
    }

    async fn run(&self) -> Result<RunReport, RunFailure> {
        self.pipeline(self.set()).run().await
    }

    async fn assert_exact(&self) {
        self.world.assert_exact().await;
        let mut expected: Vec<u64> = self.world.script.expected().into_iter().flat_map(digits_of).collect();
        let mut digits = self.digits.rows();
        expected.sort_unstable();
        digits.sort_unstable();
        assert_eq!(digits, expected);
        let epochs =
            |table: &MemoryTable<Rows<u64>>| table.epochs().into_iter().map(|(_, m)| m.epoch).collect::<Vec<_>>();
        assert_eq!(epochs(&self.digits), epochs(&self.world.table), "each epoch is in both");
    }
}

#[tokio::test]
async fn the_tables_of_a_set_hold_the_same_epochs() {
    let split = Split::new(Script::new(3, 8, 7));
    let report = split.run().await.expect("no faults");
    assert!(report.epochs > 2, "{report}");
    let fanned: u64 = report.ledger.stages.iter().map(|stage| stage.fanned_out).sum();
    assert_eq!(fanned, split.digits.rows().len() as u64);
    split.assert_exact().await;
    assert_eq!(split.run().await.expect("nothing new").epochs, 0);
    split.assert_exact().await;
}

#[tokio::test]
async fn a_table_that_is_down_is_made_up_for_and_nothing_is_doubled() {
    let split = Split::new(Script::new(2, 6, 9));
    split.down.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let failure = split.run().await.expect_err("the last table is down");
        assert!(failure.error().is_transient() && failure.to_string().contains("digits"), "{failure}");
        assert_eq!(
            (split.world.table.epochs().len(), split.digits.epochs().len()),
            (1, 0),
            "the first one has its epoch"
        );
    }
    split.down.store(false, Ordering::SeqCst);
    split.run().await.expect("goes on");
    split.assert_exact().await;
}

#[tokio::test]
async fn rows_for_a_table_that_is_not_in_the_set_stop_the_run() {
    let split = Split::new(Script::new(1, 3, 9));
    let fewer = TableSet::new().table("all", MemorySink::new(&split.world.table));
    let failure = split.pipeline(fewer).run().await.expect_err("there is no table for the digits");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(failure.to_string().contains("digits"), "{failure}");
    assert!(split.world.table.rows().is_empty());
    // Nothing was loaded: the set may still change, and what was landed goes in.
    split.run().await.expect("the set is complete");
    split.assert_exact().await;
}

#[tokio::test]
async fn a_table_cannot_be_added_to_a_set_or_taken_from_it() {
    let split = Split::new(Script::new(2, 8, 9));
    split.run().await.expect("no faults");
    let more = split.set().table("more", Memory::new(&MemoryTable::new()));
    let fewer = TableSet::new().table("all", MemorySink::new(&split.world.table));
    for set in [more, fewer] {
        let failure = split.pipeline(set).run().await.expect_err("the set is another one");
        assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
        assert!(failure.to_string().contains("tables"), "{failure}");
    }
    split.assert_exact().await;
}

#[tokio::test]
async fn a_set_replaces_all_of_its_tables_when_the_enumeration_is_whole() {
    let split = Split::new(Script::new(2, 3, 8));
    let replacing = |script: Script| {
        let world = &split.world;
        let set = TableSet::new()
            .table("all", MemorySink::new(&world.table).replace())
            .table("digits", MemorySink::new(&split.digits).replace());
        Pipeline::named("numbers")
            .source(script)
            .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
            .stage(parse())
            .stage(digits())
            .sink(set)
            .accept_quarantined()
            .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .settings(world.settings.clone())
            .env(world.env.clone())
            .build()
            .expect("complete")
    };
    for script in [Script::new(2, 3, 8), Script::new(1, 4, 5), Script::new(0, 0, 0)] {
        let report = replacing(script.clone()).run().await.expect("no faults");
        assert_eq!(report.enumerated, Some(true), "{report}");
        let lines = script.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
        let mut expected: Vec<u64> = lines.filter_map(|line| line.parse().ok()).collect();
        expected.sort_unstable();
        let mut digits: Vec<u64> = expected.iter().flat_map(|n| digits_of(*n)).collect();
        let mut found = split.digits.rows();
        digits.sort_unstable();
        found.sort_unstable();
        assert_eq!((split.world.rows(), found), (expected, digits));
    }
}
