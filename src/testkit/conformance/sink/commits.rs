//! What may be committed, by whom, and what is answered.

use crate::error::ErrorKind;
use crate::sink::{CommitOutcome, Sink};
use crate::testkit::Faults;
use crate::testkit::conformance::destination::{Destination, Held, Shard, digest};
use crate::testkit::conformance::doubt::{Failures, tried_something};
use futures::future::join;

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
    shard.ends_with(0..40).await;
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
        shard.sees(0..round * 10 + 10, "committed twice at once").await;
    }
    shard.ends_with(0..40).await;
}

/// Guarantee 3: the mark is current state, and whoever cannot read it says so. Needs [`Destination::reached_by`].
pub async fn g3_a_mark_is_told_as_it_is_or_not_at_all<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let held = shard.held().await;
    for (faults, when) in Failures::of("reading a mark") {
        let Some(reached) = shard.reached_by(&faults).await else { return };
        let told = reached.sink().mark(reached.key()).await;
        tried_something(&faults, "reading a mark");
        if let Ok(told) = told {
            assert_eq!(told, held, "{when}");
        }
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
    assert_eq!(shard.held().await, Some(owner.mark(&fresh)));
    owner.sees(0..20, "an older owner has asked").await;
    owner.next();
    owner.ends_with(0..20).await;
}

/// Guarantee 4: what a zombie stages never takes the place of what a newer owner has staged.
pub async fn g4_staged_output_of_two_owners_does_not_mix<D: Destination>(destination: &D) {
    let zombie = Shard::new(destination, 0);
    let mut owner = zombie.taken_over();
    let fresh = owner.stage(0..10).await;
    let stale = zombie.stage(90..110).await;
    assert_eq!(owner.commit(&fresh).await, CommitOutcome::Done);
    owner.sees(0..10, "an older owner has staged the same epoch").await;
    let outcome = zombie.commit(&stale).await;
    let taken = matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted);
    assert!(!taken, "what an older owner has staged for the same epoch is committed: {outcome:?}");
    owner.next();
    owner.load(10..20).await;
    owner.ends_with(0..20).await;
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
    let (held, seen) = (shard.held().await, shard.rows().await);
    for (previous, epoch) in [(None, 2), (Some(2), 3), (Some(7), 8)] {
        (shard.previous, shard.epoch) = (previous, epoch);
        let staged = shard.stage(90..100).await;
        assert_eq!(shard.commit(&staged).await, CommitOutcome::Gap { found: held.clone() }, "{previous:?}, {epoch}");
    }
    assert_eq!((shard.rows().await, shard.held().await), (seen, held));
    (shard.previous, shard.epoch) = (Some(1), 2);
    shard.ends_with(0..10).await;
}

/// Guarantee 5, no fork.
pub async fn g5_a_fork_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let (held, seen) = (shard.held().await.expect("there is a mark"), shard.rows().await);
    let mut owner = shard.taken_over();
    (owner.epoch, owner.previous) = (1, None);
    let staged = owner.stage(90..100).await;
    assert_eq!(owner.commit(&staged).await, CommitOutcome::Fork { found: held.clone() });
    assert_eq!((shard.rows().await, shard.held().await), (seen, Some(held)));
    shard.ends_with(0..10).await;
}

/// Guarantee 5: epochs of another life of the pipeline are not comparable.
pub async fn g5_another_life_changes_nothing<D: Destination>(destination: &D) {
    let mut shard = Shard::new(destination, 0);
    shard.load(0..10).await;
    let (held, seen) = (shard.held().await.expect("there is a mark"), shard.rows().await);
    let mut second = shard.taken_over();
    second.life = "second";
    for (epoch, previous) in [(1, None), (2, Some(1)), (9, Some(8))] {
        (second.epoch, second.previous) = (epoch, previous);
        let staged = second.stage(90..100).await;
        assert_eq!(second.commit(&staged).await, CommitOutcome::Fork { found: held.clone() });
    }
    assert_eq!((shard.rows().await, shard.held().await), (seen, Some(held)));
    shard.ends_with(0..10).await;
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
    owner.ends_with(0..30).await;
}

/// Guarantee 6, honest doubt: a commit that says that nothing has happened is right. Needs [`Destination::reached_by`].
pub async fn g6_doubt_is_told<D: Destination>(destination: &D) {
    let (mut shard, mut loaded) = (Shard::new(destination, 0), 0);
    let mut failures = Failures::of("a commit");
    while let Some((faults, when)) = failures.next() {
        let Some(reached) = shard.reached_by(&faults).await else { return };
        let staged = shard.stage(loaded..loaded + 10).await;
        loaded += 10;
        shard = doubted(reached, &faults, &staged, &when, &mut failures).await;
        shard.sees(0..loaded, &when).await;
        shard.next();
    }
    shard.ends_with(0..loaded).await;
}

/// A commit by a process with faults: what it answers must not be wrong. Then by one without, and the shard in another one.
pub(super) async fn doubted<'a, D: Destination>(
    reached: Shard<'a, D>,
    faults: &Faults,
    staged: &Held,
    when: &str,
    failures: &mut Failures,
) -> Shard<'a, D> {
    let answer = reached.try_commit(staged).await;
    tried_something(faults, "commit");
    let none = Faults::none();
    let other = reached.reached_by(&none).await.expect("it was reached before");
    let there = other.held().await == Some(other.mark(staged));
    match answer {
        Ok(CommitOutcome::Done | CommitOutcome::AlreadyCommitted) => {
            assert!(there, "{when}: it is said to be there, and is not");
        }
        Ok(other) => panic!("{when}: {other:?}"),
        Err(e) if e.kind() == ErrorKind::Ambiguous => {}
        Err(e) => assert!(!there, "{when}: it is there, and \"{e}\" says that it is not"),
    }
    let before = none.count();
    match other.commit(staged).await {
        CommitOutcome::Done => failures.was(none.count() - before),
        CommitOutcome::AlreadyCommitted => {}
        again => panic!("{when}, then {again:?}"),
    }
    other.restarted()
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
    assert_eq!(owner.held().await.map(|mark| mark.generation), Some(5));
    owner.sees(0..1_000, "another process has committed").await;
    owner.next();
    owner.ends_with(0..1_000).await;
}
