//! What [`Sink`] and its writers promise. [`sink_conformance!`](crate::sink_conformance) makes a test of each check for a sink that takes what
//! is new, [`enumeration_conformance!`](crate::enumeration_conformance) for one that demands whole enumerations.
//!
//! Left to tests of the implementation:
//! - Guarantee 7, a loss of power: a living process does not show it. Over [`SimDisk`](crate::testkit::SimDisk) it does.

use super::destination::{Destination, Shard, digest};
use super::dropped::{AWAITS, dropped_at};
use crate::error::ErrorKind;
use crate::sink::{CommitOutcome, Demand, Enumeration, EpochContext, Mark, Sink, Writer};
use crate::testkit::{Faults, Mode, Plan};
use futures::future::{join, select};
use std::pin::pin;

/// Makes a `#[tokio::test]` of every check of a sink that takes what is new. The expression gives an empty
/// [`Destination`]; it may await, and it may `return` to skip the check.
///
/// ```
/// use landfall::async_trait;
/// use landfall::model::Rows;
/// use landfall::sink::{MemorySink, MemoryTable};
/// use landfall::testkit::conformance::Destination;
/// use std::ops::Range;
///
/// struct Table(MemoryTable<Rows<u64>>);
///
/// #[async_trait]
/// impl Destination for Table {
///     type Sink = MemorySink<Rows<u64>>;
///     fn sink(&self) -> Self::Sink {
///         MemorySink::new(&self.0)
///     }
///     fn item(&self, numbers: Range<u64>) -> Rows<u64> {
///         Rows(numbers.collect())
///     }
///     async fn read(&self) -> Vec<u64> {
///         let mut rows = self.0.rows();
///         rows.sort_unstable();
///         rows
///     }
/// }
///
/// landfall::sink_conformance!(Table(MemoryTable::new()));
/// ```
#[macro_export]
macro_rules! sink_conformance {
    ($open:expr) => {
        $crate::sink_conformance! { $open;
            g1_what_is_staged_is_not_seen
            g2_an_epoch_is_seen_with_its_mark
            g2_a_reader_sees_whole_epochs_in_order
            g2_a_commit_that_is_dropped_is_whole_or_nothing
            g3_the_same_commit_again_changes_nothing
            g3_one_epoch_committed_twice_at_once_is_there_once
            g4_an_older_owner_changes_nothing
            g4_staged_output_of_two_owners_does_not_mix
            g5_a_gap_changes_nothing
            g5_a_fork_changes_nothing
            g5_another_life_changes_nothing
            g5_numbers_of_epochs_may_skip
            g6_doubt_is_told
            g7_another_process_commits_what_was_staged
            attempts_do_not_mix
            a_writer_that_is_dropped_is_in_nobodys_way
            collection_that_is_dropped_may_be_done_again
            shards_do_not_touch_each_other
            collection_takes_only_what_nobody_commits
            nothing_written_is_nothing_staged
            an_epoch_that_must_be_committed_moves_the_mark
            its_configuration_is_stable
        }
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let _told = $crate::testkit::conformance::told("Sink", stringify!($check));
                let destination = $open;
                $crate::testkit::conformance::sink::$check(&destination).await;
            }
        )+
    };
}

/// Makes a `#[tokio::test]` of every check of a sink that [demands](Demand) whole enumerations: one that replaces, or that sweeps
/// what did not come. It must allow that half of the rows go at once. The expression is that of
/// [`sink_conformance!`](crate::sink_conformance).
#[macro_export]
macro_rules! enumeration_conformance {
    ($open:expr) => {
        $crate::sink_conformance! { $open;
            g3_the_step_that_makes_whole_again_changes_nothing
            g4_an_older_owner_makes_nothing_whole
            g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped
            a_whole_enumeration_takes_the_place_of_what_was_there
            nothing_goes_before_an_enumeration_is_whole
            one_that_never_became_whole_takes_nothing_away
            its_configuration_is_stable
        }
    };
}

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
    shard.next();
    shard.stage(10..20).await;
    assert_eq!(shard.rows().await, Vec::from_iter(0..10), "rows of the next epoch are seen");
}

/// Guarantee 2, atomic.
pub async fn g2_an_epoch_is_seen_with_its_mark<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for round in 0..3 {
        let staged = shard.stage(round * 10..round * 10 + 10).await;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
        assert_eq!(shard.rows().await, Vec::from_iter(0..round * 10 + 10));
        assert_eq!(shard.held().await, Some(shard.mark(&staged)));
        assert_eq!(shard.restarted().held().await, Some(shard.mark(&staged)), "another process sees another mark");
        shard.next();
    }
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
            let rows = destination.read().await;
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
    assert_eq!(destination.read().await, Vec::from_iter(0..EPOCHS * ROWS));
}

/// Guarantee 2, atomic: what a commit has done by an await of it is all or nothing. A driver that never waits must be made to
/// wait between its accesses, or there is nothing to see.
pub async fn g2_a_commit_that_is_dropped_is_whole_or_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for wait in 1..=AWAITS {
        let (without, with) = (Vec::from_iter(0..10 * (wait - 1)), Vec::from_iter(0..10 * wait));
        let staged = shard.stage(10 * (wait - 1)..10 * wait).await;
        let ended = dropped_at(wait, shard.try_commit(&staged)).await;
        let new = Some(shard.mark(&staged));
        // What its driver still does for it, it does while these look.
        let other = shard.restarted();
        let before = other.held().await;
        let rows = other.rows().await;
        let after = other.held().await;
        let whole = (rows == with && after == new) || (rows == without && before != new);
        assert!(whole, "dropped at its await {wait}: {} rows, with the mark {after:?}", rows.len());
        let again = other.commit(&staged).await;
        assert!(matches!(again, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "then {again:?}");
        assert_eq!(other.rows().await, with, "dropped at its await {wait}, and asked again");
        shard = other;
        shard.next();
        if ended.is_some() {
            break;
        }
    }
}

/// Guarantee 3, idempotent.
pub async fn g3_the_same_commit_again_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    let staged = shard.stage(0..10).await;
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.commit(&staged).await, CommitOutcome::AlreadyCommitted);
    let same = shard.restarted();
    assert_eq!(same.commit(&staged).await, CommitOutcome::AlreadyCommitted, "asked by another process");
    // The next owner finishes what it finds prepared.
    let owned = shard.taken_over();
    let mut request = owned.request(&staged);
    request.mark.digest = shard.mark(&staged).digest;
    let outcome = owned.sink().commit(&owned.context().env, request).await.expect("commit");
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted, "asked by the next owner");
    shard.next();
    for round in 1..4 {
        shard.load(round * 10..round * 10 + 10).await;
    }
    assert_eq!(same.commit(&staged).await, CommitOutcome::AlreadyCommitted, "asked after three more epochs");
    assert_eq!(shard.rows().await, Vec::from_iter(0..40));
}

/// Guarantee 3, idempotent.
pub async fn g3_one_epoch_committed_twice_at_once_is_there_once<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    for round in 0..4 {
        let staged = shard.stage(round * 10..round * 10 + 10).await;
        let other = shard.restarted();
        let (one, other) = join(shard.commit(&staged), other.commit(&staged)).await;
        let done = [&one, &other].into_iter().filter(|outcome| **outcome == CommitOutcome::Done).count();
        let already = [&one, &other].into_iter().filter(|outcome| **outcome == CommitOutcome::AlreadyCommitted).count();
        // Both may hear that it was there already, if the answer to the first was lost on the way.
        assert!(done <= 1 && done + already == 2, "{one:?} and {other:?}");
        shard.next();
        assert_eq!(shard.rows().await, Vec::from_iter(0..round * 10 + 10));
    }
}

/// Guarantee 4, fenced.
pub async fn g4_an_older_owner_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let zombie = shard.restarted();
    let staged = zombie.stage(90..100).await;
    let mut owner = shard.taken_over();
    owner.epoch += 1;
    let fresh = owner.stage(10..20).await;
    assert_eq!(owner.commit(&fresh).await, CommitOutcome::Done);
    // The zombie's epoch has a lower number than the owner's; later it tries a higher one.
    let outcome = zombie.commit(&staged).await;
    assert_eq!(outcome, CommitOutcome::Fenced { generation: 2 }, "an older owner commits");
    let mut later = zombie.restarted();
    (later.epoch, later.previous) = (owner.epoch + 1, Some(owner.epoch));
    let staged = later.stage(90..100).await;
    let outcome = later.commit(&staged).await;
    assert_eq!(outcome, CommitOutcome::Fenced { generation: 2 }, "an older owner commits a later epoch");
    assert_eq!(shard.rows().await, Vec::from_iter(0..20));
    assert_eq!(shard.held().await, Some(owner.mark(&fresh)));
}

/// Guarantee 4: what a zombie stages never takes the place of what a newer owner has staged.
pub async fn g4_staged_output_of_two_owners_does_not_mix<D: Destination>(destination: &D) {
    let zombie = Shard::new(destination, 0);
    let mut owner = zombie.taken_over();
    let fresh = owner.stage(0..10).await;
    let stale = zombie.stage(90..110).await;
    assert_eq!(owner.commit(&fresh).await, CommitOutcome::Done);
    assert_eq!(owner.rows().await, Vec::from_iter(0..10));
    let outcome = zombie.commit(&stale).await;
    let taken = matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted);
    assert!(!taken, "what an older owner has staged for the same epoch is committed: {outcome:?}");
    owner.next();
    owner.load(10..20).await;
    assert_eq!(owner.rows().await, Vec::from_iter(0..20));
}

/// Guarantee 5, no gap.
pub async fn g5_a_gap_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.previous = Some(7);
    shard.epoch = 8;
    let staged = shard.stage(90..100).await;
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Gap { found: None }, "an empty destination");
    (shard.previous, shard.epoch) = (None, 1);
    shard.load(0..10).await;
    let held = shard.held().await;
    for (previous, epoch) in [(None, 2), (Some(2), 3), (Some(7), 8)] {
        (shard.previous, shard.epoch) = (previous, epoch);
        let staged = shard.stage(90..100).await;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Gap { found: held.clone() }, "{previous:?}, {epoch}");
    }
    assert_eq!((shard.rows().await, shard.held().await), (Vec::from_iter(0..10), held));
}

/// Guarantee 5, no fork.
pub async fn g5_a_fork_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let held = shard.held().await.expect("there is a mark");
    let mut owner = shard.taken_over();
    (owner.epoch, owner.previous) = (1, None);
    let staged = owner.stage(90..100).await;
    assert_eq!(owner.commit(&staged).await, CommitOutcome::Fork { found: held.clone() });
    assert_eq!((shard.rows().await, shard.held().await), (Vec::from_iter(0..10), Some(held)));
}

/// Guarantee 5: epochs of another life of the pipeline are not comparable.
pub async fn g5_another_life_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let held = shard.held().await.expect("there is a mark");
    let mut second = shard.taken_over();
    second.life = "second";
    for (epoch, previous) in [(1, None), (2, Some(1)), (9, Some(8))] {
        (second.epoch, second.previous) = (epoch, previous);
        let staged = second.stage(90..100).await;
        assert_eq!(second.commit(&staged).await, CommitOutcome::Fork { found: held.clone() });
    }
    assert_eq!((shard.rows().await, shard.held().await), (Vec::from_iter(0..10), Some(held)));
}

/// Guarantee 5: fences take numbers, and epochs without output are not committed.
pub async fn g5_numbers_of_epochs_may_skip<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.epoch = 4;
    shard.load(0..10).await;
    shard.epoch = 1_000;
    shard.load(10..20).await;
    let mut owner = shard.taken_over();
    owner.epoch = 5_000_000_000;
    owner.load(20..30).await;
    assert_eq!(owner.rows().await, Vec::from_iter(0..30));
}

/// Guarantee 6, honest doubt: a commit that says that nothing has happened is right. Needs [`Destination::reached_by`].
pub async fn g6_doubt_is_told<D: Destination>(destination: &D) {
    let (mut shard, mut loaded) = (Shard::new(destination, 0), 0);
    for mode in [Mode::Fail, Mode::LostResponse] {
        for at in 0..AWAITS {
            let faults = Faults::of([Plan { at, mode }]);
            let Some(reached) = shard.reached_by(&faults) else { return };
            let staged = shard.stage(loaded..loaded + 10).await;
            loaded += 10;
            let answer = reached.try_commit(&staged).await;
            let other = shard.restarted();
            let there = other.held().await == Some(shard.mark(&staged));
            match answer {
                Ok(CommitOutcome::Done | CommitOutcome::AlreadyCommitted) => {
                    assert!(there, "{mode:?} at {at}: it is said to be there, and is not");
                }
                Ok(other) => panic!("{mode:?} at {at}: {other:?}"),
                Err(e) if e.kind() == ErrorKind::Ambiguous => {}
                Err(e) => assert!(!there, "{mode:?} at {at}: it is there, and \"{e}\" says that it is not"),
            }
            let again = other.commit(&staged).await;
            assert!(matches!(again, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "then {again:?}");
            assert_eq!(other.rows().await, Vec::from_iter(0..loaded), "{mode:?} at {at}");
            shard = other;
            shard.next();
            if faults.count() <= at {
                break;
            }
        }
    }
}

/// Guarantee 7: a checkpoint is all that the next process has.
pub async fn g7_another_process_commits_what_was_staged<D: Destination>(destination: &D) {
    let shard = Shard::new(destination, 0);
    let staged = shard.stage(0..1_000).await;
    let mut owner = shard.restarted();
    drop(shard);
    owner.generation = 5;
    let mut request = owner.request(&staged);
    request.mark.digest = digest("as prepared");
    let outcome = owner.sink().commit(&owner.context().env, request).await.expect("commit");
    assert_eq!(outcome, CommitOutcome::Done);
    assert_eq!(owner.rows().await, Vec::from_iter(0..1_000));
    assert_eq!(owner.held().await.map(|mark| mark.generation), Some(5));
}

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
    assert_eq!(one.collect(9, &[]).await, 0, "there is nothing to collect");
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

/// A sink that holds an enumeration of the numbers from 0 to 20.
async fn enumerated<D: Destination>(destination: &D) -> Shard<'_, D> {
    let mut shard = Shard::new(destination, 0);
    assert_eq!(shard.sink().demand(), Demand::Enumerations, "the sink takes what is new: use `sink_conformance!`");
    shard.enumeration = Some(Enumeration::begun(1));
    shard.load(0..10).await;
    shard.load(10..20).await;
    whole(&mut shard).await;
    assert_eq!(shard.rows().await, Vec::from_iter(0..20));
    shard
}

/// The epoch that makes an enumeration whole: it has no rows.
async fn whole<D: Destination>(shard: &mut Shard<'_, D>) -> Mark {
    shard.enumeration = shard.enumeration.map(|e| Enumeration { whole: true, ..e });
    let staged = shard.stage(0..0).await;
    assert!(staged.is_some(), "the step that makes an enumeration whole must be committed");
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    let mark = shard.mark(&staged);
    shard.next();
    mark
}

fn begin<D: Destination>(shard: &mut Shard<'_, D>, number: u64) {
    shard.enumeration = Some(Enumeration::begun(number));
}

/// A replacement.
pub async fn a_whole_enumeration_takes_the_place_of_what_was_there<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    begin(&mut shard, 4);
    shard.load(10..18).await;
    shard.load(18..25).await;
    let mark = whole(&mut shard).await;
    assert_eq!(shard.rows().await, Vec::from_iter(10..25));
    assert_eq!(shard.held().await, Some(mark));
}

/// Guarantee 2, atomic: of the change as a whole.
pub async fn nothing_goes_before_an_enumeration_is_whole<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    begin(&mut shard, 2);
    for part in [10..15, 15..25] {
        shard.load(part).await;
        let rows = shard.rows().await;
        assert!((0..20).all(|n| rows.contains(&n)), "rows are gone before the enumeration is whole: {rows:?}");
    }
    whole(&mut shard).await;
    assert_eq!(shard.rows().await, Vec::from_iter(10..25));
}

/// Guarantee 2, atomic: what came and what went, by any await of the step that makes whole.
pub async fn g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    for wait in 1..=AWAITS {
        let first = 10 * wait;
        begin(&mut shard, wait + 1);
        shard.load(first..first + 20).await;
        let loaded = shard.rows().await;
        shard.enumeration = shard.enumeration.map(|e| Enumeration { whole: true, ..e });
        let staged = shard.stage(0..0).await;
        let ended = dropped_at(wait, shard.try_commit(&staged)).await;
        let new = Some(shard.mark(&staged));
        let other = shard.restarted();
        let before = other.held().await;
        let rows = other.rows().await;
        let after = other.held().await;
        let replaced = Vec::from_iter(first..first + 20);
        let whole = (rows == replaced && after == new) || (rows == loaded && before != new);
        assert!(whole, "dropped at its await {wait}: rows {rows:?}, with the mark {after:?}");
        let again = other.commit(&staged).await;
        assert!(matches!(again, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "then {again:?}");
        assert_eq!(other.rows().await, replaced, "dropped at its await {wait}, and asked again");
        shard = other;
        shard.next();
        if ended.is_some() {
            break;
        }
    }
}

/// An enumeration whose run failed.
pub async fn one_that_never_became_whole_takes_nothing_away<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    begin(&mut shard, 2);
    shard.load(0..3).await;
    let mut owner = shard.taken_over();
    begin(&mut owner, 3);
    owner.load(5..12).await;
    owner.load(12..22).await;
    whole(&mut owner).await;
    assert_eq!(owner.rows().await, Vec::from_iter(5..22), "rows of an enumeration that never became whole");
}

/// Guarantee 3, idempotent.
pub async fn g3_the_step_that_makes_whole_again_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    begin(&mut shard, 2);
    shard.load(10..30).await;
    shard.enumeration = shard.enumeration.map(|e| Enumeration { whole: true, ..e });
    let staged = shard.stage(0..0).await;
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.restarted().commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.rows().await, Vec::from_iter(10..30));
    let late = shard.restarted();
    shard.next();
    begin(&mut shard, 3);
    shard.load(10..32).await;
    whole(&mut shard).await;
    assert_eq!(late.commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.rows().await, Vec::from_iter(10..32));
}

/// Guarantee 4, fenced.
pub async fn g4_an_older_owner_makes_nothing_whole<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    begin(&mut shard, 2);
    shard.load(10..20).await;
    let mut zombie = shard.restarted();
    zombie.enumeration = zombie.enumeration.map(|e| Enumeration { whole: true, ..e });
    let staged = zombie.stage(0..0).await;
    let mut owner = shard.taken_over();
    begin(&mut owner, 3);
    owner.epoch += 1;
    owner.load(0..20).await;
    let fenced = CommitOutcome::Fenced { generation: 2 };
    assert_eq!(zombie.commit(&staged).await, fenced, "an older owner makes an enumeration whole");
    whole(&mut owner).await;
    assert_eq!(zombie.commit(&staged).await, fenced, "an older owner makes a later enumeration whole");
    assert_eq!(owner.rows().await, Vec::from_iter(0..20));
}
