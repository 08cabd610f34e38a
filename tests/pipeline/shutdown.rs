use crate::odd::{Odd, Oddity, Refusing};
use crate::support::{Script, World, parse};
use landfall::ErrorKind;
use landfall::checkpoint::StoreCheckpoints;
use landfall::model::StopReason;
use landfall::pipeline::{Event, Pipeline};
use landfall::sink::{MemorySink, Quarantine};
use landfall::store::Store;
use std::sync::atomic::AtomicU64;

#[tokio::test]
async fn a_graceful_stop_commits_what_was_read_and_the_next_run_goes_on() {
    let world = World::new(Script::new(3, 40, 10));
    let handle = world.pipeline().start();
    let mut events = handle.events();
    while let Ok(event) = events.recv().await {
        if matches!(event, Event::SegmentLanded { .. }) {
            break;
        }
    }
    handle.drain();
    let report = handle.wait().await.expect("it is no error to stop");
    assert!(report.stopped);
    assert!(!report.is_complete());
    assert_eq!(report.ledger.read, report.landed.records, "what was landed is committed");
    assert!(report.ledger.read < world.script.served());
    assert!(report.partitions.iter().any(|p| p.reason == StopReason::Cancelled));
    world.pipeline().run().await.expect("goes on");
    world.assert_exact().await;
}

#[tokio::test]
async fn a_read_that_says_stopped_when_nobody_stopped_it_is_an_error() {
    let world = World::new(Script::new(1, 3, 10));
    let odd = world.builder_of(Odd(world.script.clone(), Oddity::SaysStopped)).build().expect("complete");
    let failure = odd.run().await.expect_err("it did not come to its end");
    assert_eq!(failure.error().kind(), ErrorKind::Cancelled);
    assert!(failure.to_string().contains("p0"), "{failure}");
    world.assert_exact().await;
}

#[tokio::test]
async fn past_its_deadline_a_graceful_stop_is_an_abort() {
    let world = World::new(Script::new(1, 3, 10));
    let odd = world.builder_of(Odd(world.script.clone(), Oddity::Hangs)).build().expect("complete");
    let handle = odd.start();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    handle.drain();
    let failure = handle.wait().await.expect_err("it does not end by itself");
    assert_eq!(failure.error().kind(), ErrorKind::Cancelled, "{failure}");
    assert!(failure.error().hint().is_some_and(|hint| hint.contains("deadline")), "{failure:?}");
    let report = failure.report();
    assert!(report.ended_at.saturating_since(report.started_at) >= world.settings.stop_deadline, "{report:?}");
    world.pipeline().run().await.expect("recovers");
    world.assert_exact().await;
}

/// What waits for its server must not keep a run alive that has nowhere to land.
#[tokio::test]
async fn a_landing_or_a_load_that_fails_ends_the_reads() {
    // The fence; the fence and the configuration.
    for (at, spare) in [("raw/numbers/segments", 1), ("state/numbers/checkpoints", 2)] {
        let mut world = World::new(Script::new(1, 3, 10));
        world.settings.epoch_age = std::time::Duration::from_millis(500);
        let landed = at.starts_with("raw");
        let healthy = world.store.clone();
        let (inner, below, spare) = (healthy.clone(), at.to_owned(), AtomicU64::new(spare));
        let refusing = Store::new(Refusing { inner, below, spare, panics: false });
        world.raw = refusing.clone();
        let failing = World { store: refusing, ..world.clone() };
        let odd = Odd(world.script.clone(), Oddity::Hangs);
        let failure = if landed {
            failing.builder_of(odd).build().expect("complete").run().await
        } else {
            let direct = Pipeline::named("numbers").source(odd).source_is_replayable().stage(parse());
            let direct = direct.sink(MemorySink::new(&world.table)).settings(world.settings.clone());
            let direct = direct.quarantine(Quarantine::in_store(&healthy, "quarantine").expect("a name"));
            let checkpoints = StoreCheckpoints::new(&failing.store, "state").expect("a name");
            direct.checkpoints(checkpoints).env(world.env.clone()).build().expect("complete").run().await
        };
        let failure = failure.expect_err("the store refuses");
        assert_eq!(failure.error().kind(), ErrorKind::Auth, "{failure:?}");
    }
}
