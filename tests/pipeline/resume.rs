use crate::support::{Once, Script, World, parse};
use landfall::ErrorKind;
use landfall::checkpoint::StoreCheckpoints;
use landfall::landing::Landing;
use landfall::model::{PipelineName, Rows, ShardKey};
use landfall::pipeline::{Event, Pipeline};
use landfall::sink::{MemorySink, Quarantine, Sink};
use landfall::stage::{Output, from_fn};
use landfall::store::ObjectPath;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn an_aborted_run_is_finished_by_the_next() {
    for events in 1..20 {
        let world = World::new(Script::new(3, 5, 10));
        let handle = world.pipeline().start();
        let mut seen = handle.events();
        for _ in 0..events {
            if seen.recv().await.is_err() {
                break;
            }
        }
        handle.abort();
        drop(handle);
        world.pipeline().run().await.expect("recovers");
        world.assert_exact().await;
    }
}

#[tokio::test]
async fn parts_of_a_response_that_broke_off_are_never_loaded() {
    for broken in 1..3 {
        let mut world = World::new(Script::new(2, 6, 10));
        world.script.parts = vec!["p0".into()];
        world.script.broken.store(broken, Ordering::SeqCst);
        for _ in 0..broken {
            world.pipeline().run().await.expect_err("it breaks off");
            assert!(world.rows().iter().all(|n| *n >= 1_000_000), "nothing of it is loaded");
        }
        let report = world.pipeline().run().await.expect("it is whole now");
        world.assert_exact().await;
        assert!(report.is_complete());
    }
}

#[tokio::test]
async fn parts_that_a_killed_process_left_are_superseded_by_the_next_one() {
    let mut world = World::new(Script::new(1, 6, 10));
    world.script.parts = vec!["p0".into()];
    world.script.stalled.store(true, Ordering::SeqCst);
    let handle = world.pipeline().start();
    let mut events = handle.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::SegmentLanded { .. }) {
            break;
        }
    }
    handle.abort();
    drop(handle);
    world.script.stalled.store(false, Ordering::SeqCst);
    let report = world.pipeline().run().await.expect("recovers");
    assert!(report.ledger.superseded > 0, "some parts were landed before the kill");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_second_instance_takes_over_and_the_first_one_stops() {
    let world = World::new(Script::new(2, 40, 10));
    let first = world.pipeline().start();
    let mut events = first.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::EpochCommitted { .. }) {
            break;
        }
    }
    let second = world.pipeline().run().await;
    let first = first.wait().await;
    second.expect("the newer one wins");
    let failure = first.expect_err("the older one is fenced");
    assert_eq!(failure.error().kind(), ErrorKind::Fenced);
    world.pipeline().run().await.expect("goes on");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_damaged_checkpoint_halts_and_names_itself() {
    let world = World::new(Script::new(1, 3, 10));
    world.pipeline().run().await.expect("no faults");
    let folder = ObjectPath::parse("state/numbers/checkpoints").expect("a name");
    let records = world.store.list(&folder).await.expect("a list");
    for record in records.iter().filter(|r| r.path.as_str().ends_with(".rec")) {
        let bytes = world.store.get(&record.path, None).await.expect("read").expect("there");
        let mut damaged = bytes.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        world.store.put(&record.path, damaged.into()).await.expect("written");
    }
    let failure = world.pipeline().run().await.expect_err("it is damaged");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt);
    assert!(failure.to_string().contains("numbers/checkpoints/0000"), "{failure}");
}

/// A pipeline with a stage that panics over one number, unless it has been mended.
fn fragile(world: &World, is_mended: bool) -> Pipeline {
    let stage = from_fn("fragile", move |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
        assert!(is_mended || !rows.0.contains(&45), "unlucky");
        out.emit(rows);
        Ok(())
    });
    Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
        .stage(parse())
        .stage(stage)
        .stage(Once::default())
        .sink(MemorySink::new(&world.table))
        .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .settings(world.settings.clone())
        .keys_stay_in_partition()
        .env(world.env.clone())
        .build()
        .expect("complete")
}

#[tokio::test]
async fn a_stage_that_panics_over_a_landed_record_panics_again_and_takes_nothing_with_it_until_it_is_mended() {
    let world = World::new(Script::new(1, 8, 10));
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard: 0 };
    let segments = ObjectPath::parse("raw/numbers/segments").expect("a name");
    let (mut held, mut landed, mut requests) = (None, Vec::new(), 0);
    for run in 0..4 {
        let failure = fragile(&world, false).run().await.expect_err("it panics");
        assert_eq!(failure.error().kind(), ErrorKind::Bug, "{failure}");
        assert!(failure.to_string().contains("fragile") && failure.to_string().contains("unlucky"), "{failure}");
        let objects = world.raw.list(&segments).await.expect("a list");
        let objects: Vec<_> = objects.into_iter().map(|object| object.path).collect();
        assert!(landed.iter().all(|path| objects.contains(path)), "the landing stays");
        let mark = MemorySink::new(&world.table).mark(&shard).await.expect("reads").map(|mark| mark.epoch);
        let now = Some((world.rows(), world.quarantined().await, mark));
        assert!(world.rows().iter().all(|n| *n < 45), "{now:?}");
        if run > 1 {
            assert_eq!(now, held, "the position does not move");
            assert_eq!(world.script.requests.load(Ordering::SeqCst), requests, "nothing is asked for again");
        }
        (held, landed, requests) = (now, objects, world.script.requests.load(Ordering::SeqCst));
    }
    assert!(held.is_some_and(|(rows, _, mark)| !rows.is_empty() && mark.is_some()), "what came before is there");
    let report = fragile(&world, true).run().await.expect("it is mended");
    world.assert_exact().await;
    report.ledger.check().expect("balances");
    assert_eq!(world.script.requests.load(Ordering::SeqCst), requests, "all came from the landing");
}
