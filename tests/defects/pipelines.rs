//! Whole pipelines over a scripted source.

use crate::lake::HOUR;
use crate::odd::{Configured, Odd, Oddity};
use crate::support::{self, Once, Script, parse};
use crate::world::{SHAPES, World, much_later};
use crate::worlds::{Destination, dataset, delta};
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::{Landing, Retention};
use landfall::model::{PipelineName, Rows, ShardKey};
use landfall::pipeline::{Event, Pipeline};
use landfall::sink::{EpochContext, MemorySink, MemoryTable, Quarantine, Sink, TableSet, Tables};
use landfall::source::ComponentConfig;
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::testkit::{
    Conditionless, FaultSink, Faults, Mode, Outcome, Schedules, Verdict, World as _, Wrong, test_env,
};
use landfall::{Error, ErrorKind};

/// Fails with the promise that is broken.
pub fn assert_kept(outcome: &Outcome) {
    let Verdict { lost, doubled, .. } = outcome.total;
    let wrong = outcome.wrong.first().map(Wrong::to_string).unwrap_or_default();
    assert_eq!(doubled, 0, "records are there twice: {wrong}");
    assert_eq!(lost, 0, "records are lost: {wrong}");
    outcome.assert_right();
}

/// Each operation of a small pipeline × each way in which it may go wrong.
pub async fn every_operation_may_fail() {
    // All of them, in all shapes, are run by `tests/crash`.
    assert_kept(&Schedules::of(|| World::new(SHAPES[0])).every(5).pairs(0).until_wrong().run().await);
}

pub async fn a_response_in_parts_is_loaded_whole() {
    let shape = SHAPES[2];
    assert!(shape.parts);
    assert_kept(&Schedules::of(|| World::new(shape)).every(7).pairs(0).until_wrong().run().await);
}

/// Of a process that lives on when an answer is lost.
pub async fn every_answer_may_be_lost() {
    let lost = Schedules::of(|| World::new(SHAPES[0])).modes([Mode::LostResponse]);
    assert_kept(&lost.every(2).pairs(0).until_wrong().run().await);
}

/// One table of two takes nothing for as long as a process lives.
pub async fn tables_of_a_set_hold_one_epoch() {
    let world = support::World::new(Script::new(1, 3, 10));
    let copies = MemoryTable::<Rows<u64>>::new();
    let run = async |faults: Faults| {
        let second = FaultSink::new(MemorySink::new(&copies), &faults);
        let twice = from_fn("twice", |rows: Rows<u64>, out: &mut Output<Tables<Rows<u64>>>| {
            out.fanned_out(rows.0.len() as u64);
            out.emit(Tables::new().with("numbers", rows.clone()).with("copies", rows));
            Ok(())
        });
        Pipeline::named("numbers")
            .source(world.script.clone())
            .land(Landing::in_store(&world.raw, "raw").expect("a name"))
            .stage(parse())
            .stage(Once::default())
            .stage(twice)
            .sink(TableSet::new().table("numbers", MemorySink::new(&world.table)).table("copies", second))
            .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
            .env(world.env.clone())
            .build()
            .expect("complete")
            .run()
            .await
    };
    let down = Faults::drawn(|point| (point.operation == "commit").then_some(Mode::Fail));
    run(down).await.expect_err("a table is left behind, and nobody says so");
    run(Faults::none()).await.expect("what was prepared goes forward");
    assert_eq!(copies.rows(), world.table.rows());
}

pub async fn a_store_that_ignores_conditions_is_refused() {
    for at in ["raw", "state"] {
        let mut world = support::World::new(Script::new(1, 3, 10));
        let careless = Store::new(Conditionless::new(&world.store));
        if at == "raw" {
            world.raw = careless;
        } else {
            world.store = careless;
        }
        let failure = world.pipeline().run().await.expect_err("a store on which nothing is safe is used");
        assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    }
    let store = Store::memory();
    let careless = Store::new(Conditionless::new(&store));
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 };
    let epoch = || EpochContext::new(shard.clone(), 1, 1, test_env(1));
    let refused = |what: &str, error: Option<Error>| {
        let kind = error.map(|e| e.kind());
        assert_eq!(kind, Some(ErrorKind::Config), "a store on which nothing is safe is used: {what}");
    };
    refused("opening a dataset", dataset(&careless).open(epoch()).await.err());
    refused("compacting a dataset", dataset(&careless).compact(&test_env(1)).await.err());
    let table = delta(&careless, Destination::Delta);
    refused("opening a table", table.open(epoch()).await.err());
    // Somebody else has made the table.
    let mut world = World::new(SHAPES[6]);
    world.store = store;
    world.process(&Faults::none()).await.expect("no faults");
    refused("compacting a table", table.compact(&test_env(1)).await.err());
    refused("vacuuming a table", table.vacuum(&much_later(), HOUR, false).await.err());
    refused("expiring a log", table.expire_log(&much_later(), None, false).await.err());
}

pub async fn a_destination_that_lost_epochs_halts() {
    let mut world = support::World::new(Script::new(1, 3, 10));
    world.pipeline().run().await.expect("no faults");
    // An epoch without output is the newest: nothing is committed that would find out by itself.
    let repeated = world.script.partitions[0].1[0][0].clone();
    world.script.partitions[0].1.push(vec![repeated]);
    world.pipeline().run().await.expect("no faults");
    world.table = MemoryTable::new();
    let failure = world.pipeline().run().await.expect_err("what is lost is not missed");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
}

pub async fn a_change_of_the_key_is_refused() {
    let world = support::World::new(Script::new(1, 3, 10));
    let by = |key: &'static str| world.builder_by(key, world.script.clone()).build().expect("complete");
    by("id").run().await.expect("no faults");
    let failure = by("name").run().await.expect_err("another key is taken up");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    by("id").run().await.expect("put back");
    world.assert_exact().await;
}

pub async fn changed_settings_are_recorded() {
    let world = support::World::new(Script::new(1, 3, 10));
    // The source has so many pages by now, and is given this setting.
    let changes = async |pages: usize, setting: u64| {
        let mut script = world.script.clone();
        script.partitions.iter_mut().for_each(|(_, all)| all.truncate(pages));
        let source = Configured(script, ComponentConfig::none().with_settings(setting.into()));
        let handle = world.builder_of(source).build().expect("complete").start();
        let mut events = handle.events();
        handle.wait().await.expect("no faults");
        let mut changed = 0;
        while let Ok(event) = events.try_recv() {
            changed += u64::from(matches!(event, Event::ConfigChanged { .. }));
        }
        changed
    };
    assert_eq!(changes(1, 1).await, 0, "nothing has changed");
    assert_eq!(changes(2, 2).await, 1, "a change is not told");
    assert_eq!(changes(3, 2).await, 0, "a change that was recorded is told again");
    world.assert_exact().await;
}

pub async fn a_stage_that_loses_a_record_stops_the_run() {
    let table = MemoryTable::<Rows<u64>>::new();
    let failure = support::leaky(&table).run().await.expect_err("a record is missing, and nobody says so");
    assert_eq!(failure.error().kind(), ErrorKind::Bug, "{failure}");
    assert!(table.rows().is_empty());
}

pub async fn what_the_slowest_load_needs_is_kept() {
    let mut world = support::World::new(Script::new(2, 12, 9));
    world.settings.prune_landing = true;
    let landing = || Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes);
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 };
    let retention = Retention::new(&landing(), &shard, &world.env);
    retention.announce(&PipelineName::new("slow").expect("a name")).await.expect("is known");
    world.pipeline().run().await.expect("no faults");
    let table = MemoryTable::new();
    let slow = Pipeline::named("slow")
        .landing_of("numbers", landing())
        .stage(parse())
        .stage(Once::default())
        .sink(MemorySink::new(&table))
        .quarantine(Quarantine::in_store(&world.store, "slow-quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, "slow-state").expect("a name"))
        .env(world.env.clone())
        .build()
        .expect("complete");
    slow.run().await.expect("the landing has everything from its beginning on");
    let mut rows = table.rows();
    rows.sort_unstable();
    assert_eq!(rows, world.script.expected());
}

pub async fn a_replacement_that_failed_takes_nothing_away() {
    let world = support::World::new(Script::new(2, 3, 7));
    macro_rules! replacing {
        ($source:expr) => {
            Pipeline::named("numbers")
                .source($source)
                .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
                .stage(parse())
                .accept_quarantined()
                .sink(MemorySink::new(&world.table).replace())
                .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
                .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
                .settings(world.settings.clone())
                .env(world.env.clone())
                .build()
                .expect("complete")
        };
    }
    replacing!(world.script.clone()).run().await.expect("no faults");
    let old = world.rows();
    let failing = Odd(Script::new(3, 4, 9), Oddity::SaysStopped);
    replacing!(failing).run().await.expect_err("each read fails after its pages");
    assert_eq!(world.rows(), old, "a part has taken the place of what was there");
}
