//! Every operation on the store, in turn: the process ends at it, its answer is lost, or another owner goes first. For
//! appends, and for merges that write files of the table again.

use super::*;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::Mutex;

/// What the table does with the second epoch, and what it holds then.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Append,
    Upsert,
    History,
    Children,
}

const SHAPES: [Shape; 4] = [Shape::Append, Shape::Upsert, Shape::History, Shape::Children];

impl Shape {
    fn table(self, store: &Store) -> DeltaTable {
        match self {
            Self::Append => table(store).partition_by(["country"]).expect("valid"),
            Self::Upsert => table(store).upsert(["id"]),
            // Of each last digit, what it was and what it is.
            Self::History => table(store).disposition(crate::sink::Scd2::by(["country"])),
            Self::Children => table(store).disposition(crate::sink::Children::of(["country"]).index("id")),
        }
    }

    fn before(self) -> Vec<i64> {
        vec![1, 2]
    }

    fn second(self) -> Vec<RecordBatch> {
        match self {
            Self::Append | Self::History | Self::Children => vec![rows([12, 13]), rows([22])],
            Self::Upsert => vec![rows([2, 13]), rows([22, 13])],
        }
    }

    fn after(self) -> Vec<i64> {
        match self {
            Self::Append => vec![1, 2, 12, 13, 22],
            Self::Upsert | Self::History => vec![1, 2, 13, 22],
            Self::Children => vec![1, 13, 22],
        }
    }

    /// A table with one epoch.
    async fn begun(self) -> Store {
        let store = Store::memory();
        let first = self.table(&store);
        let staged = stage(&first, 1, 1, rows(self.before())).await;
        assert_eq!(commit(&first, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
        store
    }

    async fn check_readers(self, store: &Store) {
        let seen = ids(store).await;
        assert!(seen == self.before() || seen == self.after(), "part of an epoch is seen: {seen:?}");
    }

    /// What an owner does: stages the epoch unless its checkpoint exists, and commits it. `prepared` is that checkpoint.
    async fn run(self, store: &Store, generation: u64, prepared: &Mutex<Option<DeltaStaged>>) -> Result<CommitOutcome> {
        let table = self.table(store);
        let known = prepared.lock().expect("not poisoned").clone();
        let staged = match known {
            Some(staged) => staged,
            None => {
                let (staged, _) = try_stage(&table, context(generation, 2), self.second()).await?;
                prepared.lock().expect("not poisoned").get_or_insert(staged).clone()
            }
        };
        commit(&table, generation, 2, Some(1), &staged).await
    }
}

/// A process that lives until the given point.
fn process(at: u64, mode: Mode) -> Faults {
    Faults::of([Plan { at, mode }])
}

#[tokio::test]
async fn a_crash_at_every_operation_and_again_in_the_recovery_loses_and_doubles_nothing() {
    for shape in SHAPES {
        let mut schedules = 0;
        for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn] {
            for at in 0.. {
                let mut ended = false;
                // Of the points of the recovery every fifth, another fifth after each point before.
                for again in (at % 5..).step_by(5) {
                    let store = shape.begun().await;
                    let prepared = Mutex::new(None);
                    let (first, second) = (process(at, mode), process(again, mode));
                    // An epoch that is committed is so even if its entry in the ledger fails.
                    ended = shape.run(&first.store(&store), 1, &prepared).await.is_ok() && first.count() <= at;
                    shape.check_readers(&store).await;
                    let recovered =
                        shape.run(&second.store(&store), 2, &prepared).await.is_ok() && second.count() <= again;
                    shape.check_readers(&store).await;

                    let outcome = shape.run(&store, 3, &prepared).await.expect("recovers");
                    assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
                    assert_eq!(ids(&store).await, shape.after(), "{shape:?} {mode:?} at {at} and {again}");
                    assert_eq!(ledger::epochs(&store).await, [1, 2], "{shape:?} {mode:?} at {at} and {again}");
                    shape.table(&store).collect(&shard(), 4, &[]).await.expect("collects");
                    assert_eq!(ids(&store).await, shape.after());
                    schedules += 1;
                    // A second crash in the recovery only in one of the ways: each costs the square of the operations.
                    if recovered || mode != Mode::AfterLostResponse || !matches!(shape, Shape::Upsert) {
                        break;
                    }
                }
                if ended {
                    break;
                }
            }
        }
        assert!(schedules > 60, "{shape:?}: {schedules}");
    }
}

#[tokio::test]
async fn a_lost_answer_at_every_operation_of_a_commit_is_resolved_by_the_mark() {
    for shape in SHAPES {
        for mode in [Mode::LostResponse, Mode::Fail] {
            for at in 0.. {
                let store = shape.begun().await;
                let (staged, _) = try_stage(&shape.table(&store), context(1, 2), shape.second()).await.expect("stages");
                let faults = process(at, mode);
                let table = shape.table(&faults.store(&store));
                let mut outcome = commit(&table, 1, 2, Some(1), &staged).await;
                if let Err(error) = outcome {
                    // Then the runtime asks again.
                    assert!(matches!(error.kind(), ErrorKind::Ambiguous | ErrorKind::Unavailable), "{error}");
                    outcome = commit(&table, 1, 2, Some(1), &staged).await;
                }
                let outcome = outcome.expect("the fault is over");
                assert!(matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted), "{outcome:?}");
                assert_eq!(ids(&store).await, shape.after(), "{shape:?} {mode:?} at {at}");
                if faults.count() <= at {
                    assert!(at > 4, "a commit took {at} operations");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_owner_that_sleeps_at_any_operation_of_its_commit_and_wakes_after_the_next_one_changes_nothing() {
    for shape in SHAPES {
        for at in 0.. {
            let store = shape.begun().await;
            let (staged, _) = try_stage(&shape.table(&store), context(1, 2), shape.second()).await.expect("stages");
            let (orphan, _) = try_stage(&shape.table(&store), context(1, 3), vec![rows([666])]).await.expect("stages");
            let faults = process(at, Mode::Pause);
            let zombie = shape.table(&faults.store(&store));
            let commits = pin!(commit(&zombie, 1, 2, Some(1), &staged));
            let outcome = match select(commits, pin!(faults.until_paused())).await {
                Either::Left((outcome, _)) => {
                    assert_eq!(outcome.expect("nobody is in its way"), CommitOutcome::Done);
                    assert!(at > 4, "a commit took {at} operations");
                    break;
                }
                Either::Right(((), sleeping)) => {
                    let next = shape.table(&store);
                    commit(&next, 2, 2, Some(1), &staged).await.expect("rolls forward");
                    let third = stage(&next, 2, 3, rows([35])).await;
                    assert_eq!(commit(&next, 2, 3, Some(2), &third).await.expect("commits"), CommitOutcome::Done);
                    next.collect(&shard(), 2, &[]).await.expect("collects");
                    faults.resume();
                    sleeping.await
                }
            };
            // What it was about to read may have been collected: that stops it too.
            let expected =
                [CommitOutcome::Done, CommitOutcome::AlreadyCommitted, CommitOutcome::Fenced { generation: 2 }];
            assert!(outcome.as_ref().map_or(true, |o| expected.contains(o)), "{outcome:?} at {at}");
            let outcome = commit(&zombie, 1, 3, Some(2), &orphan).await.expect("answers");
            assert!(matches!(outcome, CommitOutcome::Fork { .. }), "{outcome:?} at {at}");
            let after: Vec<_> = shape.after().into_iter().chain([35]).collect();
            assert_eq!(ids(&store).await, after, "{shape:?} at {at}");
        }
    }
}

#[tokio::test]
async fn a_commit_of_others_at_any_operation_is_followed_and_not_overwritten() {
    let other = ShardKey { shard: 1, ..shard() };
    for shape in SHAPES {
        for at in 0.. {
            let store = shape.begun().await;
            let (staged, _) = try_stage(&shape.table(&store), context(1, 2), shape.second()).await.expect("stages");
            let faults = process(at, Mode::Pause);
            let table = shape.table(&faults.store(&store));
            let commits = pin!(commit(&table, 1, 2, Some(1), &staged));
            let Either::Right(((), sleeping)) = select(commits, pin!(faults.until_paused())).await else { break };
            let theirs = shape.table(&store);
            let committed = ids(&store).await.contains(&22);
            let context = EpochContext { shard: other.clone(), ..context(1, 1) };
            let (row, _) = try_stage(&theirs, context, vec![rows([2, 50])]).await.expect("stages");
            let request = CommitRequest { shard: other.clone(), ..request(1, 1, None, &row) };
            assert_eq!(theirs.commit(&env(), request).await.expect("commits"), CommitOutcome::Done);
            faults.resume();
            assert_eq!(sleeping.await.expect("commits"), CommitOutcome::Done, "{shape:?} at {at}");
            let mut after: Vec<_> = shape.after().into_iter().chain([50]).collect();
            // It was there; in a history it is a version again, if another one was there meanwhile.
            if matches!(shape, Shape::Append) || matches!(shape, Shape::History) && committed {
                after.push(2);
            }
            if matches!(shape, Shape::Children) && committed {
                after.retain(|id| *id != 22);
                after.push(2);
            }
            after.sort_unstable();
            assert_eq!(ids(&store).await, after, "{shape:?} at {at}");
        }
    }
}

#[tokio::test]
async fn what_fails_while_a_commit_may_be_there_leaves_it_in_doubt() {
    let mut doubts = 0;
    for at in 0.. {
        let store = Store::memory();
        let staged = stage(&table(&store), 1, 1, rows([1])).await;
        let fail = (1..9).map(|later| Plan { at: at + later, mode: Mode::Fail });
        let faults = Faults::of([Plan { at, mode: Mode::LostResponse }].into_iter().chain(fail));
        let ended = commit(&table(&faults.store(&store)), 1, 1, None, &staged).await;
        let is_there = table(&store).mark(&shard()).await.expect("reads").is_some();
        match ended.map_err(|e| e.kind()) {
            Ok(_) => assert!(is_there, "at {at}"),
            Err(ErrorKind::Ambiguous) => doubts += u64::from(is_there),
            Err(kind) => assert_eq!((kind, is_there), (ErrorKind::Unavailable, false), "at {at}"),
        }
        if faults.count() <= at {
            break;
        }
    }
    assert!(doubts > 0, "a commit whose answer was lost, and that could not be looked for");
}
