//! What a reader sees, and when.

use crate::sink::{CommitOutcome, Sink, Writer};
use crate::testkit::conformance::destination::{Destination, Shard, read};
use crate::testkit::conformance::walk::{counted, dropped_at, until_the_end_of};
use futures::future::select;
use std::pin::pin;

/// Guarantee 1, invisible.
pub async fn g1_what_is_staged_is_not_seen<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    let mut writer = shard.sink().open(shard.context()).await.expect("open");
    assert!(shard.rows().await.is_empty());
    writer.write(destination.item(0..10)).await.expect("write");
    assert!(shard.rows().await.is_empty(), "written rows are seen");
    drop(writer);
    assert!(shard.rows().await.is_empty(), "rows of a writer that was dropped are seen");
    let staged = shard.stage(0..10).await;
    assert!(shard.rows().await.is_empty(), "staged rows are seen");
    assert_eq!(shard.held().await, None, "staging sets a mark");
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    shard.sees(0..10, "the epoch is committed").await;
    shard.next();
    let seen = shard.rows().await;
    shard.stage(10..20).await;
    assert_eq!(shard.rows().await, seen, "rows of the next epoch are seen");
}

/// Guarantee 2, atomic.
pub async fn g2_an_epoch_is_seen_with_its_mark<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for round in 0..3 {
        let staged = shard.stage(round * 10..round * 10 + 10).await;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        shard.sees(0..round * 10 + 10, "the epoch is committed").await;
        assert_eq!(shard.held().await, Some(shard.mark(&staged)));
        assert_eq!(shard.restarted().held().await, Some(shard.mark(&staged)), "another process sees another mark");
        shard.next();
    }
    shard.ends_with(0..30).await;
}

/// Guarantee 2, atomic.
pub async fn g2_a_reader_sees_whole_epochs_in_order<D: Destination>(destination: &D) {
    const EPOCHS: u64 = 6;
    const ROWS: u64 = 50;
    let load = async {
        let mut shard = Shard::new(destination, 0);
        for epoch in 0..EPOCHS {
            shard.load(epoch * ROWS..(epoch + 1) * ROWS).await;
        }
    };
    let look = async {
        let mut before = 0;
        loop {
            let rows = read(destination).await;
            let seen = rows.len() as u64;
            assert_eq!(rows, Vec::from_iter(0..seen), "an epoch is seen before the one before it");
            assert_eq!(seen % ROWS, 0, "part of an epoch is seen");
            assert!(seen >= before, "rows that were seen are gone");
            before = seen;
            // A reader that never waits lets the load go on.
            tokio::task::yield_now().await;
        }
    };
    select(pin!(load), pin!(look)).await;
    assert_eq!(read(destination).await, Vec::from_iter(0..EPOCHS * ROWS));
}

/// Guarantee 2, atomic: what a commit has done by an await of it is all or nothing. A driver that never waits must be made to
/// wait between its accesses, or there is nothing to see.
pub async fn g2_a_commit_that_is_dropped_is_whole_or_nothing<D: Destination>(destination: &D) {
    let (mut shard, mut loaded, mut waits) = (Shard::new(destination, 0), 0, until_the_end_of("a commit", 1));
    while let Some(wait) = waits.next() {
        let without = shard.rows().await;
        let staged = shard.stage(loaded..loaded + 10).await;
        loaded += 10;
        let ended = dropped_at(wait, shard.try_commit(&staged)).await;
        let new = Some(shard.mark(&staged));
        // What its driver still does for it, it does while these look.
        shard = shard.restarted();
        let before = shard.held().await;
        let rows = shard.rows().await;
        let after = shard.held().await;
        match counted(shard.commit(&staged)).await {
            (CommitOutcome::Done, length) => waits.was(length),
            (CommitOutcome::AlreadyCommitted, _) => {}
            (again, _) => panic!("then {again:?}"),
        }
        shard.sees(0..loaded, &format!("dropped at its await {wait}, and asked again")).await;
        let with = shard.rows().await;
        let whole = (rows == with && after == new) || (rows == without && before != new);
        assert!(whole, "dropped at its await {wait}: {} rows, with the mark {after:?}", rows.len());
        shard.next();
        if ended.is_some() {
            return shard.ends_with(0..loaded).await;
        }
    }
}
