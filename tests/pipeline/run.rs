use crate::odd::{Odd, Oddity, Refusing};
use crate::support::{Once, Script, World, leaky, parse};
use landfall::ErrorKind;
use landfall::checkpoint::{MemoryCheckpoints, StoreCheckpoints};
use landfall::landing::{Landing, LandingReader, Retention};
use landfall::model::{PipelineName, Proof, Rows, ShardKey, StopReason};
use landfall::pipeline::{Event, Pipeline};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::source::IterSource;
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use std::sync::atomic::AtomicU64;

#[tokio::test]
async fn loads_every_record_once_and_quarantines_the_bad_ones() {
    let world = World::new(Script::new(3, 5, 10));
    let report = world.pipeline().run().await.expect("no faults");
    world.assert_exact().await;
    assert!(report.is_complete());
    assert_eq!(report.landed.records, world.script.served());
    assert_eq!(report.ledger.read, world.script.served());
    report.ledger.check().expect("balances");
    assert!(report.epochs > 1, "epochs of 20 records: {}", report.epochs);
    assert_eq!(report.partitions.len(), 3);
    assert!(report.partitions.iter().all(|p| p.reason == StopReason::Exhausted(Proof::EndOfInput)));
    let table = report.to_string();
    assert!(table.contains("150 read ="), "{table}");
}

#[tokio::test]
async fn a_second_run_loads_nothing_twice_and_asks_for_nothing_again() {
    let world = World::new(Script::new(2, 4, 10));
    world.pipeline().run().await.expect("no faults");
    let requests = world.script.requests.load(std::sync::atomic::Ordering::SeqCst);
    let report = world.pipeline().run().await.expect("no faults");
    assert_eq!(report.ledger.read, 0);
    assert_eq!(world.script.requests.load(std::sync::atomic::Ordering::SeqCst), requests);
    world.assert_exact().await;
}

#[tokio::test]
async fn a_grown_source_is_loaded_from_where_it_stood() {
    let mut world = World::new(Script::new(2, 3, 10));
    world.pipeline().run().await.expect("no faults");
    world.script.partitions = Script::new(2, 3, 10)
        .partitions
        .into_iter()
        .map(|(id, mut pages)| {
            pages.push(vec!["77".into(), format!("{}", 5_000_000), "bad again".into()]);
            (id, pages)
        })
        .collect();
    let report = world.pipeline().run().await.expect("no faults");
    assert_eq!(report.ledger.read, 6);
    world.assert_exact().await;
}

#[tokio::test]
async fn several_shards_run_side_by_side() {
    let mut world = World::new(Script::new(8, 4, 10));
    world.settings.shards = 3;
    let report = world.pipeline().run().await.expect("no faults");
    assert_eq!(report.partitions.len(), 8);
    world.assert_exact().await;
    world.pipeline().run().await.expect("no faults");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_replayable_source_needs_no_landing() {
    let table = MemoryTable::<Rows<u64>>::new();
    let checkpoints = MemoryCheckpoints::default();
    let pipeline = |rows: std::ops::Range<u64>| {
        Pipeline::named("numbers")
            .source(IterSource::new(rows).with_batch(7))
            .sink(MemorySink::new(&table))
            .checkpoints(checkpoints.clone())
            .build()
            .expect("complete")
    };
    pipeline(0..50).run().await.expect("no faults");
    let report = pipeline(0..80).run().await.expect("no faults");
    assert_eq!(report.ledger.read, 30);
    assert_eq!((report.partitions[0].pages, report.partitions[0].records), (5, 30));
    let mut rows = table.rows();
    rows.sort_unstable();
    assert_eq!(rows, (0..80).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_panic_in_a_stage_is_an_error_that_says_where_and_nothing_is_committed() {
    let table = MemoryTable::<Rows<u64>>::new();
    let bad = from_fn("fragile", |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
        assert!(!rows.0.contains(&13), "unlucky");
        out.emit(rows);
        Ok(())
    });
    let pipeline = Pipeline::named("numbers")
        .source(IterSource::new(0..20_u64).with_batch(5))
        .stage(bad)
        .sink(MemorySink::new(&table))
        .checkpoints(MemoryCheckpoints::default())
        .build()
        .expect("complete");
    let failure = pipeline.run().await.expect_err("it panics");
    assert_eq!(failure.error().kind(), ErrorKind::Bug);
    let text = failure.to_string();
    assert!(text.contains("fragile") && text.contains("unlucky"), "{text}");
    assert!(table.rows().is_empty());
}

#[tokio::test]
async fn a_stage_that_loses_a_record_stops_the_pipeline() {
    let table = MemoryTable::<Rows<u64>>::new();
    let failure = leaky(&table).run().await.expect_err("a record is missing");
    assert_eq!(failure.error().kind(), ErrorKind::Bug);
    assert!(failure.to_string().contains("leaky"), "{failure}");
    assert!(table.rows().is_empty());
}

#[tokio::test]
async fn a_failing_partition_does_not_stop_the_others() {
    let mut world = World::new(Script::new(3, 4, 10));
    world.script.parts = vec!["p1".into()];
    world.script.broken.store(1, std::sync::atomic::Ordering::SeqCst);
    let failure = world.pipeline().run().await.expect_err("p1 breaks");
    assert_eq!(failure.error().kind(), ErrorKind::Unavailable);
    assert_eq!(failure.report().partitions.iter().filter(|p| p.reason.is_complete()).count(), 2);
    let others: Vec<u64> =
        world.script.expected().into_iter().filter(|n| !(1_000_000..2_000_000).contains(n)).collect();
    assert_eq!(world.rows(), others, "nothing of the broken response, everything of the others");
    world.pipeline().run().await.expect("it is whole now");
    world.assert_exact().await;
}

/// Each must be given a place in the landing of its own: parts that mix would supersede a response that is whole.
#[tokio::test]
async fn responses_in_parts_that_are_read_side_by_side_are_loaded_whole() {
    let mut world = World::new(Script::new(4, 6, 10));
    world.script.parts = world.script.partitions.iter().map(|(id, _)| id.clone()).collect();
    let report = world.pipeline().run().await.expect("no faults");
    assert_eq!(report.ledger.superseded, 0);
    assert_eq!(report.ledger.read, world.script.served());
    world.assert_exact().await;
}

#[tokio::test]
async fn events_and_status_tell_how_far_it_has_come() {
    let world = World::new(Script::new(1, 4, 10));
    let handle = world.pipeline().start();
    let mut events = handle.events();
    let mut committed = 0;
    while let Ok(event) = events.recv().await {
        if let Event::EpochCommitted { ledger, .. } = event {
            committed += ledger.read;
        }
        if committed == 40 {
            break;
        }
    }
    assert_eq!(handle.status().committed.read, 40);
    handle.wait().await.expect("no faults");
}

#[tokio::test]
async fn a_failure_tells_what_was_landed_and_committed_all_the_same() {
    let world = World::new(Script::new(1, 30, 10));
    let spare = AtomicU64::new(5);
    let store = Store::new(Refusing {
        inner: world.store.clone(),
        below: "state/numbers/checkpoints".into(),
        spare,
        panics: false,
    });
    let failure = World { store, ..world.clone() }.pipeline().run().await.expect_err("the store refuses");
    let report = failure.report();
    // Of the five, one is the fence and one the configuration.
    assert_eq!((report.epochs, report.ledger.read), (3, 60), "{report}");
    assert_eq!(report.ledger.staged, world.rows().len() as u64);
    assert_eq!(report.landed.records, 300, "the landing went on");
    assert_eq!(report.partitions.len(), 1);
    let report = world.pipeline().run().await.expect("goes on");
    assert_eq!(report.ledger.read, 240);
    world.assert_exact().await;
}

#[tokio::test]
async fn an_epoch_is_cut_when_it_is_large_enough_or_old_enough() {
    let mut world = World::new(Script::new(1, 20, 10));
    world.settings.epoch_records = 1_000_000;
    world.settings.epoch_bytes = 100;
    let report = world.pipeline().run().await.expect("no faults");
    assert!(report.epochs > 3, "{report}");
    world.assert_exact().await;

    let mut world = World::new(Script::new(1, 3, 10));
    world.settings.epoch_records = 1_000_000;
    let odd = world.builder_of(Odd(world.script.clone(), Oddity::Hangs)).build().expect("complete");
    let began = world.env.monotonic();
    let handle = odd.start();
    let mut events = handle.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::EpochCommitted { .. }) {
            break;
        }
    }
    let waited = world.env.monotonic() - began;
    assert!((world.settings.epoch_age..world.settings.epoch_age * 2).contains(&waited), "{waited:?}");
    world.assert_exact().await;
}

/// Each start reads what lies between the newest checkpoint and the end of the landing, even where it holds nothing.
#[tokio::test]
async fn runs_that_bring_nothing_do_not_pile_up() {
    let world = World::new(Script::new(1, 1, 10));
    for _ in 0..40 {
        world.pipeline().run().await.expect("no faults");
    }
    let landing = Landing::in_store(&world.raw, "raw").expect("a name");
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 };
    let retained = Retention::new(&landing, &shard, &world.env).retained().await.expect("readable");
    let newest = LandingReader::new(&landing, &shard, &world.env).newest().await.expect("readable");
    assert!(newest > 70 && retained.is_some_and(|p| p.segment > 60), "{retained:?} of {newest}");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_landing_feeds_a_second_load_at_its_own_pace() {
    let world = World::new(Script::new(2, 4, 10));
    world.pipeline().run().await.expect("no faults");
    let table = MemoryTable::<Rows<u64>>::new();
    let second = |shards: u32| {
        let mut settings = world.settings.clone();
        settings.shards = shards;
        Pipeline::named("again")
            .landing_of("numbers", Landing::in_store(&world.raw, "raw").expect("a name"))
            .stage(parse())
            .stage(Once::default())
            .sink(MemorySink::new(&table))
            .quarantine(Quarantine::in_store(&world.store, "quarantine-again").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&world.store, "state-again").expect("a name"))
            .settings(settings)
            .env(world.env.clone())
            .build()
            .expect("complete")
    };
    let requests = || world.script.requests.load(std::sync::atomic::Ordering::SeqCst);
    let (asked, rows) = (requests(), |table: &MemoryTable<Rows<u64>>| {
        let mut rows = table.rows();
        rows.sort_unstable();
        rows
    });
    let report = second(1).run().await.expect("no faults");
    assert_eq!(report.ledger.read, world.script.served());
    assert_eq!(rows(&table), world.script.expected());
    assert_eq!(second(1).run().await.expect("no faults").ledger.read, 0);
    assert_eq!(requests(), asked, "nothing is asked for again");

    // It has not fenced the other one, and goes on after it.
    let grown = Script::new(2, 6, 10);
    let grown = World { script: grown.clone(), ..world.clone() };
    grown.pipeline().run().await.expect("goes on");
    second(1).run().await.expect("goes on");
    assert_eq!(rows(&table), rows(&world.table));
}
