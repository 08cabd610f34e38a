//! Sinks that demand whole enumerations: what takes the place of what, and when.

use crate::sink::{CommitOutcome, Demand, Enumeration, Mark, Sink};
use crate::testkit::conformance::destination::{Destination, Shard};
use crate::testkit::conformance::dropped::{AWAITS, dropped_at};

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
