//! Pipelines that are asked to stop.

use crate::odd::{Odd, Oddity};
use crate::support::{Script, World};
use futures::future::{Either, select};
use landfall::ErrorKind;
use landfall::pipeline::{Event, RunHandle};
use std::pin::pin;

/// The server says nothing more. By the clock of the run no real time passes.
pub async fn a_stop_ends_at_its_deadline() {
    let world = World::new(Script::new(1, 3, 10));
    let odd = world.builder_of(Odd(world.script.clone(), Oddity::Hangs)).build().expect("complete");
    let handle = odd.start();
    has_landed(&handle).await;
    handle.drain();
    let much_later = world.env.sleep(world.settings.stop_deadline * 2);
    let ended = match select(pin!(handle.wait()), pin!(much_later)).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => panic!("a stop hangs beyond its deadline"),
    };
    let failure = ended.expect_err("it does not end by itself");
    assert_eq!(failure.error().kind(), ErrorKind::Cancelled, "{failure}");
    world.pipeline().run().await.expect("recovers");
    world.assert_exact().await;
}

/// No epoch is full before.
pub async fn a_stop_commits_what_was_read() {
    let mut world = World::new(Script::new(3, 40, 10));
    world.settings.epoch_records = 1_000_000;
    let handle = world.pipeline().start();
    has_landed(&handle).await;
    handle.drain();
    let report = handle.wait().await.expect("it is no error to stop");
    assert!((1..world.script.served()).contains(&report.landed.records), "{report}");
    assert_eq!(report.ledger.read, report.landed.records, "a stop keeps what was read");
    world.pipeline().run().await.expect("goes on");
    world.assert_exact().await;
}

async fn has_landed(handle: &RunHandle) {
    let mut events = handle.events();
    while !matches!(events.recv().await.expect("it runs"), Event::SegmentLanded { .. }) {}
}
