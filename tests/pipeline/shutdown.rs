use crate::odd::{Odd, Oddity};
use crate::support::{Script, World};
use landfall::ErrorKind;
use landfall::model::StopReason;
use landfall::pipeline::Event;

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
