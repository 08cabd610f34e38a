//! Every operation on the store, in turn: the process ends at it, its answer is lost, or another owner goes first.

use super::*;
use crate::error::ErrorKind;
use crate::testkit::Target;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::Mutex;

/// A dataset with an epoch of one file. The next one has two.
async fn begun() -> Store {
    let store = Store::memory();
    let first = partitioned(&store);
    let staged = stage(&first, 1, 1, rows([1])).await;
    assert_eq!(commit(&first, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
    store
}

fn partitioned(store: &Store) -> ParquetDataset {
    dataset(store).partition_by(["country"]).expect("valid")
}

fn second() -> Vec<RecordBatch> {
    vec![rows([12, 13]), rows([22])]
}

const AFTER: [i64; 4] = [1, 12, 13, 22];

/// Whole epochs for those that follow, and of those nothing more for those that list.
async fn check_readers(store: &Store) {
    let followed = followed(store).await;
    assert!(followed == [1] || followed == AFTER, "part of an epoch is seen: {followed:?}");
    let listed = listed(store).await;
    assert!(listed.contains(&1) && listed.iter().all(|id| followed.contains(id)), "{listed:?} of {followed:?}");
    assert!(listed.windows(2).all(|w| w[0] != w[1]), "a row is seen twice: {listed:?}");
}

/// What an owner does: stages the epoch unless its checkpoint exists, and commits it. `prepared` is that checkpoint.
async fn run(store: &Store, generation: u64, prepared: &Mutex<Option<StagedFiles>>) -> Result<CommitOutcome> {
    let dataset = partitioned(store);
    let known = prepared.lock().expect("not poisoned").clone();
    let staged = match known {
        Some(staged) => staged,
        None => {
            let staged = try_stage(&dataset, generation, 2, second()).await?;
            prepared.lock().expect("not poisoned").get_or_insert(staged).clone()
        }
    };
    commit(&dataset, generation, 2, Some(1), &staged).await
}

/// A process that lives until the given point.
fn process(at: u64, mode: Mode) -> Faults {
    Faults::of([Plan { at, mode }])
}

#[tokio::test]
async fn a_crash_at_every_operation_and_again_in_the_recovery_loses_and_doubles_nothing() {
    let mut schedules = 0;
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn] {
        for at in 0.. {
            let mut ended = false;
            for again in 0.. {
                let store = begun().await;
                let prepared = Mutex::new(None);
                ended = run(&process(at, mode).store(&store), 1, &prepared).await.is_ok();
                check_readers(&store).await;
                let recovered = run(&process(again, mode).store(&store), 2, &prepared).await.is_ok();
                check_readers(&store).await;

                let outcome = run(&store, 3, &prepared).await.expect("recovers");
                assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
                let after = AFTER.to_vec();
                let seen = (followed(&store).await, listed(&store).await);
                assert_eq!(seen, (after.clone(), after.clone()), "{mode:?} at {at} and {again}");
                partitioned(&store).collect(&shard(), 4, &[]).await.expect("collects");
                assert_eq!((followed(&store).await, listed(&store).await), (after.clone(), after));
                schedules += 1;
                if recovered {
                    break;
                }
            }
            if ended {
                break;
            }
        }
    }
    assert!(schedules > 300, "{schedules}");
}

#[tokio::test]
async fn a_lost_answer_at_every_operation_of_a_commit_is_resolved_by_reading_back() {
    for mode in [Mode::LostResponse, Mode::Fail] {
        for at in 0.. {
            let store = begun().await;
            let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
            let faults = process(at, mode);
            let dataset = partitioned(&faults.store(&store));
            let mut outcome = commit(&dataset, 1, 2, Some(1), &staged).await;
            if let Err(error) = outcome {
                // Then the runtime asks again.
                assert!(matches!(error.kind(), ErrorKind::Ambiguous | ErrorKind::Unavailable), "{error}");
                outcome = commit(&dataset, 1, 2, Some(1), &staged).await;
            }
            let outcome = outcome.expect("the fault is over");
            assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
            assert_eq!((followed(&store).await, listed(&store).await), (AFTER.to_vec(), AFTER.to_vec()));
            if faults.count() <= at {
                assert!(at > 6, "a commit took {at} operations");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_owner_that_sleeps_at_any_operation_of_its_commit_and_wakes_after_the_next_one_changes_nothing() {
    for at in 0.. {
        let store = begun().await;
        let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
        let orphan = try_stage(&partitioned(&store), 1, 3, vec![rows([666])]).await.expect("stages");
        let faults = process(at, Mode::Pause);
        let zombie = partitioned(&faults.store(&store));
        let commits = pin!(commit(&zombie, 1, 2, Some(1), &staged));
        let outcome = match select(commits, pin!(faults.until_paused())).await {
            Either::Left((outcome, _)) => {
                assert_eq!(outcome.expect("nobody is in its way"), CommitOutcome::Done);
                assert!(at > 6, "a commit took {at} operations");
                break;
            }
            Either::Right(((), sleeping)) => {
                let next = partitioned(&store);
                commit(&next, 2, 2, Some(1), &staged).await.expect("rolls forward");
                let third = stage(&next, 2, 3, rows([35])).await;
                assert_eq!(commit(&next, 2, 3, Some(2), &third).await.expect("commits"), CommitOutcome::Done);
                next.collect(&shard(), 2, &[]).await.expect("collects");
                faults.resume();
                sleeping.await.expect("answers")
            }
        };
        let expected = [CommitOutcome::Done, CommitOutcome::AlreadyCommitted, CommitOutcome::Fenced { generation: 2 }];
        assert!(expected.contains(&outcome), "{outcome:?} at {at}");
        let outcome = commit(&zombie, 1, 3, Some(2), &orphan).await.expect("answers");
        assert!(matches!(outcome, CommitOutcome::Fork { .. }), "{outcome:?} at {at}");
        let after: Vec<_> = AFTER.into_iter().chain([35]).collect();
        assert_eq!((followed(&store).await, listed(&store).await), (after.clone(), after), "{at}");
    }
}

#[tokio::test]
async fn of_two_owners_that_commit_different_epochs_at_the_same_time_one_is_refused() {
    let mut refused = 0;
    for at in 0.. {
        let store = begun().await;
        let late = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
        let other = stage(&partitioned(&store), 2, 3, rows([35])).await;
        let faults = process(at, Mode::Pause);
        let sleeper = partitioned(&faults.store(&store));
        let commits = pin!(commit(&sleeper, 1, 2, Some(1), &late));
        let Either::Right(((), sleeping)) = select(commits, pin!(faults.until_paused())).await else { break };
        let awake = commit(&partitioned(&store), 2, 3, Some(1), &other).await.expect("answers");
        faults.resume();
        let (slept, seen) = (sleeping.await.expect("answers"), (followed(&store).await, listed(&store).await));
        if awake == CommitOutcome::Done {
            refused += 1;
            assert_eq!((slept, seen), (CommitOutcome::Fenced { generation: 2 }, (vec![1, 35], vec![1, 35])), "{at}");
        } else {
            assert!(matches!(awake, CommitOutcome::Gap { .. }), "{awake:?}");
            assert_eq!((slept, seen), (CommitOutcome::Done, (AFTER.to_vec(), AFTER.to_vec())), "{at}");
        }
    }
    assert!(refused > 4, "{refused}");
}

#[tokio::test]
async fn readers_see_whole_epochs_at_every_operation_of_a_commit() {
    for at in 0.. {
        let store = begun().await;
        let faults = process(at, Mode::Pause);
        let (below, prepared) = (faults.store(&store), Mutex::new(None));
        let running = pin!(run(&below, 1, &prepared));
        match select(running, pin!(faults.until_paused())).await {
            Either::Left((outcome, _)) => {
                outcome.expect("commits");
                assert!(at > 12, "an epoch took {at} operations");
                break;
            }
            Either::Right(((), running)) => {
                check_readers(&store).await;
                faults.resume();
                running.await.expect("commits");
                assert_eq!(followed(&store).await, AFTER);
            }
        }
    }
}

/// A commit object that is there, of a process that ended before it moved the first file.
async fn committed_and_not_moved(store: &Store, staged: &StagedFiles) -> Snapshot {
    for at in 0.. {
        let dying = process(at, Mode::Before).store(store);
        commit(&partitioned(&dying), 1, 2, Some(1), staged).await.expect_err("crashes");
        let snapshot = snapshot(store).await;
        if snapshot.epochs().count() == 2 {
            assert_eq!(listed(store).await, [1], "nothing is moved yet");
            return snapshot;
        }
    }
    unreachable!("a process that does not crash commits")
}

#[tokio::test]
async fn files_of_the_newest_commit_are_not_collected_and_come_before_the_next_commit() {
    let store = begun().await;
    let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
    committed_and_not_moved(&store, &staged).await;
    let next = partitioned(&store);
    assert_eq!(next.collect(&shard(), 2, &[]).await.expect("collects"), 0);
    let third = stage(&next, 2, 3, rows([35])).await;
    for at in 0.. {
        let outcome = commit(&partitioned(&process(at, Mode::Before).store(&store)), 2, 3, Some(2), &third).await;
        let seen = snapshot(&store).await;
        if seen.epochs().count() == 3 {
            assert!(listed(&store).await.starts_with(&AFTER), "a commit before the files of the one before");
        }
        if outcome.is_ok() {
            break;
        }
    }
    let after: Vec<_> = AFTER.into_iter().chain([35]).collect();
    assert_eq!((followed(&store).await, listed(&store).await), (after.clone(), after));
}

#[tokio::test]
async fn a_snapshot_stays_readable_while_its_files_are_moved() {
    let store = begun().await;
    let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
    let snapshot = committed_and_not_moved(&store, &staged).await;
    assert_eq!(ids(&snapshot.read_batches().await.expect("reads staged files")), AFTER);

    // The next owner asks again: only the files are left to do.
    let outcome = commit(&partitioned(&store), 2, 2, Some(1), &staged).await.expect("answers");
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    assert_eq!(listed(&store).await, AFTER);
    assert_eq!(ids(&snapshot.read_batches().await.expect("reads moved files")), AFTER);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_doubt_only_if_it_may_be_there() {
    let store = begun().await;
    let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
    let failing = async |operation: &'static str| {
        let faults = Faults::at(Target::operation(operation), Mode::Fail);
        commit(&partitioned(&faults.store(&store)), 1, 2, Some(1), &staged).await
    };
    let error = failing("create").await.expect_err("nothing is written");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // The first writes the commit, the second finds it: neither can move its files.
    for _ in 0..2 {
        let error = failing("rename").await.expect_err("nothing is moved");
        assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    }
    assert_eq!((followed(&store).await, listed(&store).await), (AFTER.to_vec(), vec![1]));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_reads_back_itself_what_became_of_it() {
    let store = begun().await;
    let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
    let faults = Faults::at(Target::operation("create"), Mode::LostResponse);
    let outcome = commit(&partitioned(&faults.store(&store)), 1, 2, Some(1), &staged).await;
    assert_eq!(outcome.expect("it is there"), CommitOutcome::AlreadyCommitted);
    assert_eq!((followed(&store).await, listed(&store).await), (AFTER.to_vec(), AFTER.to_vec()));
}

#[tokio::test]
async fn an_owner_that_sleeps_while_the_next_one_commits_the_same_epoch_finds_it_committed() {
    for at in 0.. {
        let store = begun().await;
        let staged = try_stage(&partitioned(&store), 1, 2, second()).await.expect("stages");
        let faults = process(at, Mode::Pause);
        let sleeper = partitioned(&faults.store(&store));
        let commits = pin!(commit(&sleeper, 1, 2, Some(1), &staged));
        let Either::Right(((), sleeping)) = select(commits, pin!(faults.until_paused())).await else {
            assert!(at > 6, "a commit took {at} operations");
            break;
        };
        commit(&partitioned(&store), 2, 2, Some(1), &staged).await.expect("rolls forward");
        faults.resume();
        let outcome = sleeping.await.expect("answers");
        assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?} at {at}");
        assert_eq!((followed(&store).await, listed(&store).await), (AFTER.to_vec(), AFTER.to_vec()), "{at}");
    }
}
