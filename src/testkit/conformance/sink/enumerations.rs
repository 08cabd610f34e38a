//! Sinks that demand whole enumerations: what takes the place of what, and when.

use crate::sink::{CommitOutcome, Sink};
use crate::testkit::conformance::destination::{Destination, Shard, digest};
use crate::testkit::conformance::doubt::Failures;
use crate::testkit::conformance::sink::commits::doubted;
use crate::testkit::conformance::walk::{counted, dropped_at, until_the_end_of};

/// A sink that holds an enumeration of the numbers from 0 to 20.
async fn enumerated<D: Destination>(destination: &D) -> Shard<'_, D> {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    shard.load(10..20).await;
    shard.make_whole().await;
    assert_eq!(shard.rows().await, Vec::from_iter(0..20));
    shard
}

/// Guarantee 1, invisible: what is staged for an enumeration, and for the step that makes it whole, shows nothing and takes nothing away.
pub async fn g1_a_step_that_is_staged_takes_nothing_away<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    let staged = shard.stage(10..30).await;
    assert_eq!(shard.rows().await, Vec::from_iter(0..20), "rows of the next enumeration are staged");
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    shard.next();
    let (loaded, held) = (shard.rows().await, shard.held().await);
    shard.end();
    let writer = shard.sink().open(shard.context()).await.expect("open");
    assert_eq!(shard.rows().await, loaded, "the step that makes whole is begun");
    drop(writer);
    assert_eq!(shard.rows().await, loaded, "the step that makes whole is given up");
    let staged = shard.stage(0..0).await;
    assert_eq!((shard.rows().await, shard.held().await), (loaded, held), "the step that makes whole is staged");
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.rows().await, Vec::from_iter(10..30));
}

/// A replacement.
pub async fn a_whole_enumeration_takes_the_place_of_what_was_there<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    shard.begin(4);
    shard.load(10..18).await;
    shard.load(18..25).await;
    let mark = shard.make_whole().await;
    assert_eq!(shard.rows().await, Vec::from_iter(10..25));
    assert_eq!(shard.held().await, Some(mark));
}

/// Guarantee 2, atomic: of the change as a whole.
pub async fn nothing_goes_before_an_enumeration_is_whole<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    shard.begin(2);
    for part in [10..15, 15..25] {
        shard.load(part).await;
        let rows = shard.rows().await;
        assert!((0..20).all(|n| rows.contains(&n)), "rows are gone before the enumeration is whole: {rows:?}");
    }
    shard.make_whole().await;
    assert_eq!(shard.rows().await, Vec::from_iter(10..25));
}

/// Guarantee 2, atomic: what came and what went, by any await of the step that makes whole.
pub async fn g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    let (mut first, mut waits) = (0, until_the_end_of("the step that makes whole", 1));
    while let Some(wait) = waits.next() {
        first += 10;
        shard.begin(first);
        shard.load(first..first + 20).await;
        let loaded = shard.rows().await;
        shard.end();
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
        match counted(other.commit(&staged)).await {
            (CommitOutcome::Done, length) => waits.was(length),
            (CommitOutcome::AlreadyCommitted, _) => {}
            (again, _) => panic!("then {again:?}"),
        }
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
    shard.begin(2);
    shard.load(0..3).await;
    let mut owner = shard.taken_over();
    owner.begin(3);
    owner.load(5..12).await;
    owner.load(12..22).await;
    owner.make_whole().await;
    assert_eq!(owner.rows().await, Vec::from_iter(5..22), "rows of an enumeration that never became whole");
}

/// Guarantee 3, idempotent.
pub async fn g3_the_step_that_makes_whole_again_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    shard.begin(2);
    shard.load(10..30).await;
    shard.end();
    let staged = shard.stage(0..0).await;
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.restarted().commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.rows().await, Vec::from_iter(10..30));
    let late = shard.restarted();
    shard.next();
    shard.begin(3);
    shard.load(10..32).await;
    shard.make_whole().await;
    assert_eq!(late.commit(&staged).await, CommitOutcome::AlreadyCommitted);
    assert_eq!(shard.rows().await, Vec::from_iter(10..32));
}

/// Guarantee 4, fenced.
pub async fn g4_an_older_owner_makes_nothing_whole<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    shard.begin(2);
    shard.load(10..20).await;
    let mut zombie = shard.restarted();
    zombie.end();
    let staged = zombie.stage(0..0).await;
    let mut owner = shard.taken_over();
    owner.begin(3);
    owner.epoch += 1;
    owner.load(0..20).await;
    let fenced = CommitOutcome::Fenced { generation: 2 };
    assert_eq!(zombie.commit(&staged).await, fenced, "an older owner makes an enumeration whole");
    owner.make_whole().await;
    assert_eq!(zombie.commit(&staged).await, fenced, "an older owner makes a later enumeration whole");
    assert_eq!(owner.rows().await, Vec::from_iter(0..20));
}

/// Guarantee 5, no gap and no fork.
pub async fn g5_a_gap_or_a_fork_makes_nothing_whole<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    let before = shard.previous;
    shard.load(10..30).await;
    let (loaded, held) = (shard.rows().await, shard.held().await);
    shard.end();
    let staged = shard.stage(0..0).await;
    let (previous, epoch) = (shard.previous, shard.epoch);
    let gaps = [(None, epoch), (before, epoch), (Some(epoch + 6), epoch + 7)];
    for gap in gaps {
        (shard.previous, shard.epoch) = gap;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Gap { found: held.clone() }, "{gap:?}");
    }
    let fork = CommitOutcome::Fork { found: held.clone().expect("there is a mark") };
    (shard.previous, shard.epoch) = (before, epoch - 1);
    assert_eq!(shard.commit(&staged).await, fork, "the epoch before, with other content");
    (shard.previous, shard.epoch, shard.life) = (previous, epoch, "second");
    assert_eq!(shard.commit(&staged).await, fork, "another life");
    assert_eq!((shard.rows().await, shard.held().await), (loaded, held));
    shard.life = "first";
    assert_eq!(shard.commit(&staged).await, CommitOutcome::Done);
    assert_eq!(shard.rows().await, Vec::from_iter(10..30));
}

/// Guarantee 6, honest doubt. Needs [`Destination::reached_by`].
pub async fn g6_doubt_about_the_step_that_makes_whole_is_told<D: Destination>(destination: &D) {
    let (mut shard, mut first) = (enumerated(destination).await, 0);
    let mut failures = Failures::of("the step that makes whole");
    while let Some((faults, when)) = failures.next() {
        first += 10;
        shard.begin(first);
        shard.load(first..first + 20).await;
        shard.end();
        let staged = shard.stage(0..0).await;
        let Some(reached) = shard.reached_by(&faults).await else { return };
        shard = doubted(reached, &faults, &staged, &when, &mut failures).await;
        assert_eq!(shard.rows().await, Vec::from_iter(first..first + 20), "{when}");
        shard.next();
    }
}

/// Guarantee 7: a checkpoint, and what the destination has gathered, are all that the next process has.
pub async fn g7_another_process_makes_whole_what_was_gathered<D: Destination>(destination: &D) {
    let mut shard = enumerated(destination).await;
    shard.load(10..15).await;
    let mut other = shard.restarted();
    drop(shard);
    other.load(15..30).await;
    other.end();
    let staged = other.stage(0..0).await;
    let mut owner = other.restarted();
    drop(other);
    owner.generation = 5;
    let mut request = owner.request(&staged);
    request.mark.digest = digest("as prepared");
    let outcome = owner.sink().commit(&owner.context().env, request).await.expect("commit");
    assert_eq!(outcome, CommitOutcome::Done);
    assert_eq!(owner.rows().await, Vec::from_iter(10..30));
    assert_eq!(owner.held().await.map(|mark| mark.generation), Some(5));
}
