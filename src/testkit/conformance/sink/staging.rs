//! What is staged, and what is collected of it.

use crate::sink::{CommitOutcome, EpochContext, Sink, Writer};
use crate::testkit::conformance::destination::{Destination, Shard};
use crate::testkit::conformance::dropped::{AWAITS, dropped_at};

/// What an owner has given up is not part of what it stages in its place.
pub async fn attempts_do_not_mix<D: Destination>(destination: &D) {
    let shard = Shard::new(destination, 0);
    let mut given_up = shard.sink().open(shard.context()).await.expect("open");
    given_up.write(destination.item(80..90)).await.expect("write");
    shard.stage_as(EpochContext { attempt: 1, ..shard.context() }, 90..100).await;
    let staged = shard.stage_as(EpochContext { attempt: 2, ..shard.context() }, 0..10).await;
    // Still on its way when the third attempt is finished.
    drop(given_up);
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.rows().await, Vec::from_iter(0..10));
}

/// Cancellation: of a writer that is dropped at an await of it nothing is seen, and the next attempt is whole.
pub async fn a_writer_that_is_dropped_is_in_nobodys_way<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for wait in 1..=AWAITS {
        let write = async {
            let mut writer = shard.sink().open(shard.context()).await.expect("open");
            for part in 0..2 {
                writer.write(destination.item(900 + 10 * part..910 + 10 * part)).await.expect("write");
            }
            writer.finish().await.expect("finish");
        };
        let ended = dropped_at(wait, write).await;
        let (before, all) = (10 * (wait - 1), 10 * wait);
        assert_eq!(shard.rows().await, Vec::from_iter(0..before), "dropped at its await {wait}");
        let staged = shard.stage_as(EpochContext { attempt: 1, ..shard.context() }, before..all).await;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        assert_eq!(shard.rows().await, Vec::from_iter(0..all), "dropped at its await {wait}");
        shard.next();
        if ended.is_some() {
            break;
        }
    }
}

/// Cancellation, of a collection.
pub async fn collection_that_is_dropped_may_be_done_again<D: Destination>(destination: &D) {
    for wait in 1..=AWAITS {
        let mut shard = Shard::new(destination, 0);
        (shard.generation, shard.epoch) = (wait, wait);
        shard.previous = wait.checked_sub(1).filter(|previous| *previous > 0);
        let mut lost = shard.restarted();
        lost.epoch += 1;
        lost.stage(90..100).await;
        let prepared = shard.stage(10 * (wait - 1)..10 * wait).await;
        let keep = [shard.request(&prepared).staged];
        let ended = dropped_at(wait, shard.sink().collect(shard.key(), wait + 1, &keep)).await;
        let other = shard.restarted();
        other.collect(wait + 1, &[&prepared]).await;
        assert_eq!(other.collect(wait + 1, &[&prepared]).await, 0, "dropped at its await {wait}, something is left");
        assert_eq!(other.commit(&prepared).await, CommitOutcome::Done, "dropped at its await {wait}");
        assert_eq!(other.rows().await, Vec::from_iter(0..10 * wait));
        if ended.is_some() {
            break;
        }
    }
}

/// A mark is one of its shard.
pub async fn shards_do_not_touch_each_other<D: Destination>(destination: &D) {
    let (mut one, mut other) = (Shard::new(destination, 0), Shard::new(destination, 1));
    let (first, second) = (one.stage(0..10).await, other.stage(10..20).await);
    assert_eq!(other.commit(&second).await, CommitOutcome::Done);
    assert_eq!((one.held().await, one.rows().await), (None, Vec::from_iter(10..20)));
    assert_eq!(one.commit(&first).await, CommitOutcome::Done);
    one.next();
    other.next();
    let mut taken = other.taken_over();
    taken.load(20..30).await;
    one.load(30..40).await;
    // Of epochs that are committed, what the commit has written anew may be left where it was staged.
    one.collect(9, &[]).await;
    assert_eq!(one.collect(9, &[]).await, 0, "collected twice");
    assert_eq!(one.rows().await, Vec::from_iter(0..40));
    assert_eq!((one.held().await.map(|m| m.generation), taken.held().await.map(|m| m.generation)), (Some(1), Some(2)));
}

/// Collection.
pub async fn collection_takes_only_what_nobody_commits<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let other = Shard::new(destination, 1);
    let of_other = other.stage(90..100).await;
    let prepared = shard.stage(10..20).await;
    let mut lost = shard.restarted();
    lost.epoch += 1;
    lost.stage(80..90).await;
    let mut owner = shard.taken_over();
    owner.epoch += 2;
    owner.previous = Some(shard.epoch);
    let fresh = owner.stage(20..30).await;
    let collected = shard.collect(2, &[&prepared]).await;
    assert!(collected > 0, "what was staged for an epoch that never comes is kept for ever");
    assert_eq!(shard.collect(2, &[&prepared]).await, 0, "collected twice");
    assert_eq!(shard.rows().await, Vec::from_iter(0..10), "rows that were committed are gone");
    assert_eq!(shard.commit(&prepared).await, CommitOutcome::Done, "the epoch that is prepared was collected");
    assert_eq!(owner.commit(&fresh).await, CommitOutcome::Done, "an epoch of the new owner was collected");
    assert_eq!(shard.rows().await, Vec::from_iter(0..30));
    assert_eq!(other.commit(&of_other).await, CommitOutcome::Done, "an epoch of another shard was collected");
}

/// An epoch without rows is not committed.
pub async fn nothing_written_is_nothing_staged<D: Destination>(destination: &D) {
    let shard = Shard::new(destination, 0);
    assert_eq!(shard.stage(0..0).await, None);
    assert_eq!((shard.held().await, shard.rows().await), (None, Vec::new()));
}

/// What [`Writer::write`] gives back is neither staged nor counted, and hides nothing else. Needs [`Destination::bad_item`].
pub async fn rejects_are_not_staged<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for (rows, alone) in [(0..10, false), (10..10, true), (10..20, false)] {
        let Some(item) = destination.bad_item(rows.clone()) else { return };
        let mut writer = shard.sink().open(shard.context()).await.expect("open");
        let rejects = writer.write(item).await.expect("a row that cannot be held is no error");
        assert_eq!(rejects.len(), 1, "not the one row that cannot be held: {rejects:?}");
        let output = writer.finish().await.expect("finish");
        assert_eq!(output.is_none(), alone, "a row that was given back is staged alone, or others are not staged");
        let Some(output) = output else { continue };
        assert_eq!(output.records, rows.end - rows.start, "a row that was given back is counted");
        let staged = Some(serde_json::to_value(&output.staged).expect("what is staged goes into a checkpoint"));
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        assert_eq!(shard.rows().await, Vec::from_iter(0..rows.end));
        shard.next();
    }
}

/// An epoch of a set of tables is one of each of them, with rows or without.
pub async fn an_epoch_that_must_be_committed_moves_the_mark<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for rows in [0..0, 0..10, 10..10] {
        let context = EpochContext { must_commit: true, ..shard.context() };
        let staged = shard.stage_as(context, rows).await;
        assert!(staged.is_some(), "an epoch that must be committed has nothing to commit");
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        assert_eq!(shard.held().await, Some(shard.mark(&staged)));
        shard.next();
    }
    assert_eq!(shard.rows().await, Vec::from_iter(0..10));
}

/// Configuration is what a run is compared with the one before by.
pub async fn its_configuration_is_stable<D: Destination>(destination: &D) {
    let (one, other) = (destination.sink(), destination.sink());
    let config = one.config().expect("the configuration is valid");
    let again = other.config().expect("the configuration is valid");
    assert_eq!((&config.identity, &config.settings), (&again.identity, &again.settings));
    assert_eq!(one.demand(), other.demand());
}
