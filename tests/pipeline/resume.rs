use crate::support::{Script, World};
use landfall::ErrorKind;
use landfall::pipeline::Event;
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
    let folder = landfall::store::ObjectPath::parse("state/numbers/checkpoints").expect("a name");
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
