//! What is staged, and what is collected of it.

use crate::sink::{CommitOutcome, EpochContext, Sink, Writer};
use crate::testkit::Faults;
use crate::testkit::conformance::destination::{Destination, Held, Shard};
use crate::testkit::conformance::doubt::{Failures, tried_something};
use crate::testkit::conformance::told::given;
use crate::testkit::conformance::walk::{counted, dropped_at, until_the_end_of};
use std::ops::Range;

/// The first row that is staged and never committed.
const LOST: u64 = 900_000;

/// Guarantee 7, durable: what `finish` gives is there, whatever has gone wrong before. Needs [`Destination::reached_by`].
pub async fn g7_what_is_said_to_be_staged_is_there<D: Destination>(destination: &D) {
    let (mut shard, mut loaded) = (Shard::new(destination, 0), 0);
    let mut failures = Failures::of("staging");
    while let Some((faults, when)) = failures.next() {
        let (none, rows) = (Faults::none(), loaded..loaded + 10);
        loaded += 10;
        // To know how long it is; then it is given up.
        let Some(other) = shard.reached_by(&none).await else { return };
        other.stage(rows.clone()).await;
        failures.was(none.count());
        let reached = shard.reached_by(&faults).await.expect("it was reached before");
        let staged = reached.try_stage(EpochContext { attempt: 1, ..shard.context() }, rows.clone()).await;
        if destination.stages_outside() {
            tried_something(&faults, "staging");
        }
        shard = shard.restarted();
        let staged = match staged {
            Ok(staged) => staged,
            Err(_) => shard.stage_as(EpochContext { attempt: 2, ..shard.context() }, rows).await,
        };
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done, "{when}");
        shard.sees(0..loaded, &when).await;
        shard.next();
    }
    shard.ends_with(0..loaded).await;
}

/// What an owner has given up is not part of what it stages in its place.
pub async fn attempts_do_not_mix<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    let mut given_up = shard.sink().open(shard.context()).await.expect("open");
    given_up.write(destination.item(80..90)).await.expect("write");
    shard.stage_as(EpochContext { attempt: 1, ..shard.context() }, 90..100).await;
    let staged = shard.stage_as(EpochContext { attempt: 2, ..shard.context() }, 0..10).await;
    // Still on its way when the third attempt is finished. Nobody hears what comes of it.
    drop(given_up.write(destination.item(100..110)).await);
    drop(given_up.finish().await);
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    shard.sees(0..10, "the third attempt is committed").await;
    shard.next();
    shard.ends_with(0..10).await;
}

/// Cancellation: of a writer that is dropped at an await of it nothing is seen, and the next attempt is whole.
pub async fn a_writer_that_is_dropped_is_in_nobodys_way<D: Destination>(destination: &D) {
    let (mut shard, mut loaded, mut waits) = (Shard::new(destination, 0), 0, until_the_end_of("a writer", 1));
    while let Some(wait) = waits.next() {
        let seen = shard.rows().await;
        let write = async {
            let mut writer = shard.sink().open(shard.context()).await.expect("open");
            for first in [LOST, LOST + 10] {
                writer.write(destination.item(first..first + 10)).await.expect("write");
            }
            writer.finish().await.expect("finish");
        };
        let ended = dropped_at(wait, write).await;
        assert_eq!(shard.rows().await, seen, "dropped at its await {wait}");
        let context = EpochContext { attempt: 1, ..shard.context() };
        let (staged, length) = counted(shard.stage_as(context, loaded..loaded + 10)).await;
        waits.was(length);
        loaded += 10;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        shard.sees(0..loaded, &format!("dropped at its await {wait}")).await;
        shard.next();
        if ended.is_some() {
            return shard.ends_with(0..loaded).await;
        }
    }
}

/// Cancellation, of a collection.
pub async fn collection_that_is_dropped_may_be_done_again<D: Destination>(destination: &D) {
    let (mut shard, mut loaded, mut waits) = (Shard::new(destination, 0), 0, until_the_end_of("a collection", 1));
    while let Some(wait) = waits.next() {
        let when = format!("dropped at its await {wait}");
        let prepared = prepared_beside_one_that_is_lost(&shard, loaded..loaded + 10).await;
        loaded += 10;
        let (below, keep) = (shard.generation + 1, [shard.request(&prepared).staged]);
        let ended = dropped_at(wait, shard.sink().collect(shard.key(), below, &keep)).await;
        let other = shard.restarted();
        let (_, length) = counted(other.collect(below, &[&prepared])).await;
        waits.was(length);
        shard = collected_and_committed(other, &prepared, loaded, &when).await;
        if ended.is_some() {
            return shard.ends_with(0..loaded).await;
        }
    }
}

/// Errors, of a collection: what is left is collected later. Needs [`Destination::reached_by`].
pub async fn collection_that_fails_may_be_done_again<D: Destination>(destination: &D) {
    let (mut shard, mut loaded) = (Shard::new(destination, 0), 0);
    let mut failures = Failures::of("a collection");
    while let Some((faults, when)) = failures.next() {
        let Some(reached) = shard.reached_by(&faults).await else { return };
        let prepared = prepared_beside_one_that_is_lost(&shard, loaded..loaded + 10).await;
        loaded += 10;
        let (below, keep) = (shard.generation + 1, [shard.request(&prepared).staged]);
        drop(reached.sink().collect(reached.key(), below, &keep).await);
        if destination.stages_outside() {
            tried_something(&faults, "a collection");
        }
        let none = Faults::none();
        let other = reached.reached_by(&none).await.expect("it was reached before");
        other.collect(below, &[&prepared]).await;
        failures.was(none.count());
        shard = collected_and_committed(other.restarted(), &prepared, loaded, &when).await;
    }
    shard.ends_with(0..loaded).await;
}

/// Stages an epoch, and a later one that nobody will commit.
async fn prepared_beside_one_that_is_lost<D: Destination>(shard: &Shard<'_, D>, numbers: Range<u64>) -> Held {
    let mut lost = shard.restarted();
    lost.epoch += 1;
    lost.stage(LOST..LOST + 10).await;
    shard.stage(numbers).await
}

/// Checks that a collection has left nothing but the epoch that is prepared; commits that, and hands on to the next owner.
async fn collected_and_committed<'a, D: Destination>(
    shard: Shard<'a, D>,
    prepared: &Held,
    loaded: u64,
    when: &str,
) -> Shard<'a, D> {
    assert_eq!(shard.collect(shard.generation + 1, &[prepared]).await, 0, "{when}, something is left");
    assert_eq!(shard.commit(prepared).await, CommitOutcome::Done, "{when}");
    shard.sees(0..loaded, when).await;
    let mut owner = shard.taken_over();
    owner.next();
    owner
}

/// A mark is one of its shard, and a shard is one of its pipeline.
pub async fn shards_do_not_touch_each_other<D: Destination>(destination: &D) {
    let (mut one, [mut other, mut stranger]) = (Shard::new(destination, 0), Shard::others(destination));
    let (first, second, third) = (one.stage(0..10).await, other.stage(10..20).await, stranger.stage(20..30).await);
    assert_eq!(other.commit(&second).await, CommitOutcome::Done);
    assert_eq!(stranger.commit(&third).await, CommitOutcome::Done);
    assert_eq!((one.held().await, one.rows().await), (None, Vec::from_iter(10..30)));
    assert_eq!(one.commit(&first).await, CommitOutcome::Done);
    one.next();
    other.next();
    stranger.next();
    let mut taken = other.taken_over();
    taken.load(30..40).await;
    one.load(40..50).await;
    stranger.load(50..60).await;
    // Of epochs that are committed, what the commit has written anew may be left where it was staged.
    one.collect(9, &[]).await;
    assert_eq!(one.collect(9, &[]).await, 0, "collected twice");
    assert_eq!(one.rows().await, Vec::from_iter(0..60));
    for (shard, generation) in [(&one, 1), (&taken, 2), (&stranger, 1)] {
        assert_eq!(shard.held().await.map(|mark| mark.generation), Some(generation));
    }
}

/// Collection. What an enumeration has gathered is committed, and stays.
pub async fn collection_takes_only_what_nobody_commits<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    // An enumeration is of one shard.
    let others = shard.enumeration.is_none().then(|| Shard::others(destination));
    let mut of_others = Vec::new();
    for (other, first) in others.iter().flatten().zip([90, 100]) {
        of_others.push((other, other.stage(first..first + 10).await));
    }
    let prepared = shard.stage(10..20).await;
    let mut lost = shard.restarted();
    lost.epoch += 1;
    lost.stage(80..90).await;
    let mut owner = shard.taken_over();
    owner.epoch += 2;
    owner.previous = Some(shard.epoch);
    let fresh = owner.stage(20..30).await;
    let collected = shard.collect(2, &[&prepared]).await;
    let outside = destination.stages_outside();
    given(outside || collected == 0, "`stages_outside` says that nothing is, and something was collected");
    assert!(collected > 0 || !outside, "what was staged for an epoch that never comes is kept for ever");
    assert_eq!(shard.collect(2, &[&prepared]).await, 0, "collected twice");
    shard.sees(0..10, "collected").await;
    assert_eq!(shard.commit(&prepared).await, CommitOutcome::Done, "the epoch that is prepared was collected");
    assert_eq!(owner.commit(&fresh).await, CommitOutcome::Done, "an epoch of the new owner was collected");
    owner.next();
    owner.ends_with(0..30).await;
    for (other, staged) in of_others {
        assert_eq!(other.commit(&staged).await, CommitOutcome::Done, "an epoch of another shard was collected");
    }
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
        shard.sees(0..rows.end, "a row was given back").await;
        shard.next();
    }
    shard.ends_with(0..20).await;
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
    shard.ends_with(0..10).await;
}

/// Configuration is what a run is compared with the one before by.
pub async fn its_configuration_is_stable<D: Destination>(destination: &D) {
    let (one, other) = (destination.sink(), destination.sink());
    let config = one.config().expect("the configuration is valid");
    let again = other.config().expect("the configuration is valid");
    assert_eq!((&config.identity, &config.settings), (&again.identity, &again.settings));
    assert_eq!(one.demand(), other.demand());
}
