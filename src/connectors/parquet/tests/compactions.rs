//! Small files put together, and what is left of them deleted: beside writers, readers and others that do the same, and with a
//! crash at every operation.

use super::*;
use crate::error::ErrorKind;
use crate::model::{Timestamp, Vacuumed, Why};
use crate::testkit::{ManualClock, SeededEntropy, Target};
use arrow::array::{Array, ArrayRef};
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const FROZEN: &[u8] = include_bytes!("../../../../tests/fixtures/dataset-compaction-1.json");

/// A process at another time, with nonces of its own.
fn env_at(time: Timestamp, seed: u64) -> Env {
    let clock = ManualClock::auto();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
    clock.advance(time.saturating_since(env.now()));
    env
}

/// So late that all that is there is old.
fn later() -> Env {
    env_at(env().now().saturating_add(WEEK * 3000), 77)
}

fn split(store: &Store) -> ParquetDataset {
    dataset(store).partition_by(["country"]).expect("valid")
}

async fn add(dataset: &ParquetDataset, epoch: u64) {
    let first = epoch as i64 * 10;
    let staged = stage(dataset, 1, epoch, rows([first, first + 1, first + 2])).await;
    let outcome = commit(dataset, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await;
    assert_eq!(outcome.expect("commits"), CommitOutcome::Done);
}

/// A dataset of five epochs, each with a file in each of three partitions.
async fn begun() -> Store {
    let store = Store::memory();
    for epoch in 1..=5 {
        add(&split(&store), epoch).await;
    }
    store
}

fn all(epochs: i64) -> Vec<i64> {
    (1..=epochs).flat_map(|epoch| [epoch * 10, epoch * 10 + 1, epoch * 10 + 2]).collect()
}

/// The ids of each partition in the order in which a reader that follows the log gets them.
async fn in_order(store: &Store) -> Vec<i64> {
    let mut batches = snapshot(store).await.read_batches().await.expect("reads");
    let country = |b: &RecordBatch| b.column_by_name("country").expect("there").as_string::<i32>().value(0).to_owned();
    batches.sort_by_key(country);
    let column = |b: &RecordBatch| b.column_by_name("id").expect("there").as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

async fn vacuum(store: &Store) -> Vacuumed {
    split(store).vacuum(&later(), WEEK, false).await.expect("vacuums")
}

/// The same rows for all that follow the log; for those that list none twice, and none that is not there.
async fn check_readers(store: &Store, epochs: i64) {
    assert_eq!(followed(store).await, all(epochs));
    let listed = listed(store).await;
    assert!(listed.windows(2).all(|w| w[0] != w[1]), "a row is seen twice: {listed:?}");
}

fn counts(report: &Vacuumed) -> (usize, usize) {
    let of = |why| report.deleted.iter().filter(|d| d.why == why).count();
    (of(Why::Replaced), of(Why::Lost))
}

#[tokio::test]
async fn small_files_become_one_for_each_partition_and_rows_order_and_marks_stay() {
    let store = begun().await;
    let (before, order, marks) = (snapshot(&store).await, in_order(&store).await, split(&store).mark(&shard()).await);
    let done = split(&store).compact(&env()).await.expect("compacts");
    assert_eq!((done.files_before, done.files_after, done.rows), (12, 3, 12));
    let after = snapshot(&store).await;
    assert_eq!(after.files().count(), 3 + 3, "the newest epoch is left alone");
    assert_eq!((after.commits(), after.rows()), (before.commits(), before.rows()));
    assert_eq!(
        (in_order(&store).await, split(&store).mark(&shard()).await.expect("reads")),
        (order, marks.expect("reads"))
    );
    // Those that list the folder go on with the old ones; a snapshot of before too.
    assert_eq!((listed(&store).await, followed_in(&before).await), (all(5), all(5)));
    assert_eq!(split(&store).compact(&env()).await.expect("nothing is small").files_before, 0);

    let report = vacuum(&store).await;
    assert_eq!(counts(&report), (12, 0), "{report}");
    assert_eq!((followed(&store).await, listed(&store).await), (all(5), all(5)));
    assert_eq!(visible(&store).await.len(), 6);
    assert!(vacuum(&store).await.deleted.is_empty());
    // Another process goes on, and puts together what was put together.
    for epoch in 6..=10 {
        add(&split(&store), epoch).await;
    }
    let done = split(&store).compact(&env_at(env().now(), 5)).await.expect("compacts");
    assert_eq!((done.files_before, done.files_after), (18, 3));
    assert_eq!(followed(&store).await, all(10));
    vacuum(&store).await;
    assert_eq!((followed(&store).await, listed(&store).await), (all(10), all(10)));
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_why_and_deletes_nothing() {
    let store = begun().await;
    split(&store).compact(&env()).await.expect("compacts");
    let waiting = stage(&split(&store), 1, 6, rows([60])).await;
    // Of an owner that was overtaken: the epoch is committed already.
    let lost = stage(&split(&store), 1, 4, rows([666])).await;
    let foreign = ObjectPath::parse(&format!("{PREFIX}/notes.txt")).expect("valid");
    store.put(&foreign, "x".into()).await.expect("puts");
    let objects = store.list(&ObjectPath::root()).await.expect("lists");
    let would = split(&store).vacuum(&later(), WEEK, true).await.expect("looks");
    assert!(would.dry_run && would.to_string().starts_with("would delete: 12 replaced"), "{would}");
    assert_eq!(counts(&would), (12, 1));
    assert_eq!(would.kept[&Why::Uncommitted].objects, 1);
    assert_eq!(would.kept[&Why::InUse].objects, 6);
    assert_eq!(would.kept[&Why::Foreign].objects, 1);
    assert_eq!(store.list(&ObjectPath::root()).await.expect("lists"), objects, "a dry run changes nothing");
    // Too early, all of it stays.
    let early = split(&store).vacuum(&env(), WEEK, false).await.expect("vacuums");
    assert!(early.deleted.is_empty(), "{early}");
    assert_eq!(early.kept[&Why::Recent].objects, 13);
    assert_eq!(
        split(&store).vacuum(&env(), WEEK / 10_000, true).await.expect_err("too short").kind(),
        ErrorKind::Config
    );

    let done = vacuum(&store).await;
    assert_eq!((&done.deleted, &done.kept), (&would.deleted, &would.kept));
    assert!(store.get(&foreign, None).await.expect("reads").is_some());
    drop(lost);
    assert_eq!(
        commit(&split(&store), 1, 6, Some(5), &waiting).await.expect("its files are there"),
        CommitOutcome::Done
    );
}

#[tokio::test]
async fn a_crash_at_every_operation_of_a_compaction_loses_and_doubles_nothing() {
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::LostResponse, Mode::Fail] {
        for at in 0.. {
            let store = begun().await;
            let faults = Faults::of([Plan { at, mode }]);
            let ended = split(&faults.store(&store)).compact(&env()).await;
            check_readers(&store, 5).await;
            assert_eq!(listed(&store).await, all(5), "{mode:?} at {at}");
            split(&store).compact(&env_at(env().now(), 9)).await.expect("compacts");
            check_readers(&store, 5).await;
            add(&split(&store), 6).await;
            vacuum(&store).await;
            assert_eq!((followed(&store).await, listed(&store).await), (all(6), all(6)), "{mode:?} at {at}");
            let left = store.list(&ObjectPath::parse(&format!("{PREFIX}/_compacted")).expect("valid")).await;
            assert_eq!(left.expect("lists").len(), 0, "{mode:?} at {at}: what was left over is gone");
            if ended.is_ok() && faults.count() <= at {
                assert!(at > 30, "a compaction took {at} operations");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_every_operation_of_a_vacuum_takes_no_row_away() {
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::LostResponse, Mode::Fail] {
        for at in 0.. {
            let store = begun().await;
            split(&store).compact(&env()).await.expect("compacts");
            let stray = ObjectPath::parse(&format!("{PREFIX}/_compacted/orders/0000/stray.staged")).expect("valid");
            store.put(&stray, "x".into()).await.expect("puts");
            let faults = Faults::of([Plan { at, mode }]);
            let ended = split(&faults.store(&store)).vacuum(&later(), WEEK, false).await;
            check_readers(&store, 5).await;
            vacuum(&store).await;
            assert_eq!((followed(&store).await, listed(&store).await), (all(5), all(5)), "{mode:?} at {at}");
            assert_eq!(visible(&store).await.len(), 6);
            let left = store.list(&ObjectPath::parse(&format!("{PREFIX}/_compacted")).expect("valid")).await;
            assert_eq!(left.expect("lists").len(), 0, "{mode:?} at {at}: a file has one name");
            if ended.is_ok() && faults.count() <= at {
                assert!(at > 30, "a vacuum took {at} operations");
                break;
            }
        }
    }
}

#[tokio::test]
async fn of_two_vacuums_that_keep_things_for_other_times_none_shows_a_row_twice() {
    // The first compaction is old enough for the one, both are for the other.
    for (slow_keeps, other_keeps) in [(WEEK, HOUR), (HOUR, WEEK)] {
        for at in 0.. {
            let clock = ManualClock::auto();
            clock.advance(WEEK * 100);
            let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(6)));
            let store = Store::new(crate::store::MemoryStore::new(&env));
            for epoch in 1..=5 {
                add(&split(&store), epoch).await;
            }
            split(&store).compact(&env).await.expect("compacts");
            clock.advance(WEEK * 2);
            for epoch in 6..=10 {
                add(&split(&store), epoch).await;
            }
            let again = split(&store).compact(&env).await.expect("compacts");
            assert_eq!(again.files_after, 3);
            clock.advance(HOUR * 2);
            let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
            let slow = split(&faults.store(&store));
            let vacuums = pin!(slow.vacuum(&env, slow_keeps, false));
            let Either::Right(((), sleeping)) = select(vacuums, pin!(faults.until_paused())).await else {
                assert!(at > 30, "a vacuum took {at} operations");
                break;
            };
            split(&store).vacuum(&env, other_keeps, false).await.expect("vacuums");
            faults.resume();
            sleeping.await.expect("nothing that is needed is gone");
            check_readers(&store, 10).await;
            assert_eq!(listed(&store).await, all(10), "at {at}");
        }
    }
}

#[tokio::test]
async fn a_column_to_sort_by_that_is_null_in_old_files_is_no_hindrance() {
    let nulls = || {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let columns = [("id", ids, true), ("at", Arc::new(arrow::array::NullArray::new(1)) as ArrayRef, true)];
        RecordBatch::try_from_iter_with_nullable(columns).expect("fits")
    };
    let store = Store::memory();
    for epoch in 1..=4 {
        let staged = stage(&dataset(&store), 1, epoch, nulls()).await;
        commit(&dataset(&store), 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
    }
    let done = dataset(&store).sort_by(["at"]).compact(&env()).await.expect("compacts");
    assert_eq!((done.files_before, done.files_after), (3, 1));
}

/// Compacts, and stands still at an operation, at which `meanwhile` happens. Gives whether it got there.
async fn paused_at(at: u64, meanwhile: impl AsyncFn(&Store)) -> bool {
    let store = begun().await;
    let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
    let (sleeper, env) = (split(&faults.store(&store)), env_at(env().now(), 42));
    let compacts = pin!(sleeper.compact(&env));
    let reached = match select(compacts, pin!(faults.until_paused())).await {
        Either::Left((done, _)) => {
            assert_eq!(done.expect("nobody is in its way").files_before, 12);
            false
        }
        Either::Right(((), sleeping)) => {
            meanwhile(&store).await;
            faults.resume();
            sleeping.await.expect("it sees what has happened");
            true
        }
    };
    let epochs = snapshot(&store).await.commits().len() as i64;
    check_readers(&store, epochs).await;
    vacuum(&store).await;
    assert_eq!((followed(&store).await, listed(&store).await), (all(epochs), all(epochs)), "{at}");
    reached
}

#[tokio::test]
async fn of_two_compactions_at_the_same_time_none_takes_rows_away_or_doubles_them() {
    let mut at = 0;
    let other = async |store: &Store| {
        split(store).compact(&env_at(env().now(), 3)).await.expect("compacts");
    };
    while paused_at(at, other).await {
        at += 1;
    }
    assert!(at > 30, "a compaction took {at} operations");
}

#[tokio::test]
async fn a_compaction_that_sleeps_while_a_vacuum_deletes_its_files_begins_anew() {
    let mut at = 0;
    while paused_at(at, async |store| drop(vacuum(store).await)).await {
        at += 1;
    }
    assert!(at > 30, "a compaction took {at} operations");
}

#[tokio::test]
async fn a_compaction_that_sleeps_while_others_replace_and_delete_its_sources_leaves_them_alone() {
    let mut at = 0;
    let others = async |store: &Store| {
        split(store).compact(&env_at(env().now(), 3)).await.expect("compacts");
        vacuum(store).await;
        for epoch in 6..=8 {
            add(&split(store), epoch).await;
        }
    };
    while paused_at(at, others).await {
        at += 1;
    }
    assert!(at > 30, "a compaction took {at} operations");
}

#[tokio::test]
async fn an_owner_that_sleeps_in_a_commit_while_its_files_are_put_together_and_deleted_is_not_surprised() {
    for at in 0.. {
        let store = begun().await;
        let staged = stage(&split(&store), 1, 6, rows([60, 61, 62])).await;
        let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
        let sleeper = split(&faults.store(&store));
        let commits = pin!(commit(&sleeper, 1, 6, Some(5), &staged));
        match select(commits, pin!(faults.until_paused())).await {
            Either::Left((outcome, _)) => {
                assert_eq!(outcome.expect("nobody is in its way"), CommitOutcome::Done);
                assert!(at > 6, "a commit took {at} operations");
                break;
            }
            Either::Right(((), sleeping)) => {
                let next = split(&store);
                commit(&next, 2, 6, Some(5), &staged).await.expect("rolls forward");
                for epoch in 7..=8_u64 {
                    let first = epoch as i64 * 10;
                    let staged = stage(&next, 2, epoch, rows([first, first + 1, first + 2])).await;
                    commit(&next, 2, epoch, Some(epoch - 1), &staged).await.expect("commits");
                }
                next.compact(&env()).await.expect("compacts");
                vacuum(&store).await;
                faults.resume();
                let outcome = sleeping.await.expect("answers");
                assert!(
                    !matches!(outcome, CommitOutcome::Gap { .. } | CommitOutcome::Fork { .. }),
                    "{outcome:?} at {at}"
                );
                assert_eq!((followed(&store).await, listed(&store).await), (all(8), all(8)), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_sleeps_at_any_operation_sees_whole_epochs() {
    for at in 0.. {
        let store = begun().await;
        let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
        let below = faults.store(&store);
        let reader = DatasetReader::new(&below, PREFIX).expect("valid");
        let reads = pin!(async { followed_in(&reader.snapshot().await.expect("reads")).await });
        match select(reads, pin!(faults.until_paused())).await {
            Either::Left((rows, _)) => {
                assert_eq!(rows, all(5));
                assert!(at > 20, "a reader took {at} operations");
                break;
            }
            Either::Right(((), sleeping)) => {
                for epoch in 6..=8 {
                    add(&split(&store), epoch).await;
                }
                split(&store).compact(&env()).await.expect("compacts");
                // What it has replaced is there for some time.
                split(&store).vacuum(&env_at(env().now(), 8), WEEK, false).await.expect("vacuums");
                faults.resume();
                let rows = sleeping.await;
                assert!((5..=8).any(|epochs| rows == all(epochs)), "part of an epoch at {at}: {rows:?}");
            }
        }
    }
}

#[tokio::test]
async fn large_files_and_what_lies_beyond_them_keep_their_order() {
    let store = Store::memory();
    let sized = || dataset(&store).target_file_bytes(6_000);
    let counts = [10, 10, 6_000, 10, 10, 10];
    let mut first = 0;
    for (number, count) in counts.into_iter().enumerate() {
        let epoch = number as u64 + 1;
        let staged = stage(&sized(), 1, epoch, rows(first..first + count)).await;
        commit(&sized(), 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
        first += count;
    }
    let done = sized().compact(&env()).await.expect("compacts");
    assert_eq!((done.files_before, done.files_after), (4, 2), "two before the large one, two behind it");
    let read = snapshot(&store).await.read_batches().await.expect("reads");
    let column = |b: &RecordBatch| b.column_by_name("id").expect("there").as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(read.iter().flat_map(column).collect::<Vec<_>>(), (0..first).collect::<Vec<_>>());
}

#[tokio::test]
async fn columns_that_came_later_are_null_in_rows_from_before_and_sorted_datasets_stay_sorted() {
    let store = Store::memory();
    let sorted = || dataset(&store).sort_by(["id"]);
    let wide = |ids: Vec<i64>| {
        let extra: ArrayRef = Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("x{id}"))));
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("extra", extra)])
            .expect("fits")
    };
    let narrow = rows([5, 1]).project(&[0]).expect("projects");
    for (epoch, batch) in [(1, narrow), (2, wide(vec![3, 2])), (3, wide(vec![9]))] {
        let staged = stage(&sorted(), 1, epoch, batch).await;
        commit(&sorted(), 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
    }
    assert_eq!(sorted().compact(&env()).await.expect("compacts").files_after, 1);
    let read = snapshot(&store).await.read_batches().await.expect("reads");
    assert_eq!(read[0].column(0).as_primitive::<Int64Type>().values().to_vec(), [1, 2, 3, 5]);
    let extra: Vec<_> = read[0].column(1).as_string::<i32>().iter().collect();
    assert_eq!(extra, [None, Some("x2"), Some("x3"), None]);
    assert_eq!(read[0].column(1).null_count(), 2);
}

#[tokio::test]
async fn a_damaged_file_is_not_put_together_and_one_that_stands_for_others_is_looked_at_before_they_go() {
    let store = begun().await;
    let damaged = visible(&store).await[0].clone();
    let whole = store.get(&damaged, None).await.expect("reads").expect("is there");
    let mut bytes = whole.to_vec();
    bytes[20] ^= 1;
    store.put(&damaged, bytes.into()).await.expect("puts");
    let error = split(&store).compact(&env()).await.expect_err("damage must not be copied");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    store.put(&damaged, whole).await.expect("puts");
    split(&store).compact(&env()).await.expect("compacts");

    let made = store.list(&ObjectPath::parse(&format!("{PREFIX}/_compacted")).expect("valid")).await.expect("lists");
    store.delete(&made[1].path).await.expect("deletes");
    let error = split(&store).vacuum(&later(), WEEK, false).await.expect_err("the only other copy");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(listed(&store).await, all(5), "nothing was deleted");
}

#[tokio::test]
async fn a_dataset_may_put_its_files_together_by_itself_and_a_commit_does_not_fail_for_it() {
    let store = Store::memory();
    for epoch in 1..=9 {
        add(&split(&store).compact_every(4), epoch).await;
    }
    let files = snapshot(&store).await.files().count();
    assert_eq!(files, 3 + 2 * 3, "one for seven epochs, and two that came since");
    assert_eq!(followed(&store).await, all(9));
    // If it fails, the commit stands.
    let store = begun().await;
    let path = visible(&store).await[0].clone();
    store.delete(&path).await.expect("deletes");
    add(&split(&store).compact_every(2), 6).await;
}

#[tokio::test]
async fn a_record_that_cannot_be_true_is_damage() {
    let store = begun().await;
    split(&store).compact(&env()).await.expect("compacts");
    let path = |n: u64| ObjectPath::parse(&format!("{PREFIX}/_compactions/orders-0000/{n:020}.json")).expect("valid");
    let bytes = store.get(&path(1), None).await.expect("reads").expect("is there");
    let record = DatasetCompaction::decode(&shard(), 1, &bytes).expect("valid");
    let reader = DatasetReader::new(&store, PREFIX).expect("valid");
    let mut fewer = record.clone();
    fewer.groups[0].files[0].rows -= 1;
    let mut twice = record.clone();
    twice.number = 2;
    for (number, wrong) in [(1, fewer), (2, twice)] {
        store.put(&path(number), wrong.encode().expect("encodes")).await.expect("puts");
        assert_eq!(reader.snapshot().await.expect_err("cannot be").kind(), ErrorKind::Corrupt);
        store.put(&path(1), bytes.clone()).await.expect("puts");
        store.delete(&path(2)).await.expect("deletes");
    }
    assert_eq!(
        DatasetCompaction::decode(&shard(), 2, &bytes).expect_err("of another number").kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(followed(&store).await, all(5));
}

#[test]
fn reads_the_first_format_of_a_record_and_refuses_a_newer_one() {
    let shard = ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 3 };
    let frozen = FROZEN.trim_ascii_end();
    let record = DatasetCompaction::decode(&shard, 2, frozen).expect("frozen format");
    assert_eq!((record.groups[0].replaces.len(), record.groups[0].files[0].rows), (2, 5));
    let written = record.encode().expect("encodes");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(frozen));
    let newer = String::from_utf8_lossy(frozen).replace("\"version\":1", "\"version\":2");
    assert_eq!(DatasetCompaction::decode(&shard, 2, newer.as_bytes()).expect_err("newer").kind(), ErrorKind::Config);
}

async fn objects(store: &Store, folder: &str) -> Vec<crate::store::ObjectInfo> {
    store.list(&ObjectPath::parse(&format!("{PREFIX}/{folder}")).expect("valid")).await.expect("lists")
}

#[tokio::test]
async fn files_of_the_newest_commit_that_were_not_moved_yet_are_in_use() {
    let store = begun().await;
    let staged = stage(&split(&store), 1, 6, rows([60, 61, 62])).await;
    let faults = Faults::at(Target::operation("rename"), Mode::Fail);
    let error = commit(&split(&faults.store(&store)), 1, 6, Some(5), &staged).await.expect_err("nothing is moved");
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    let report = vacuum(&store).await;
    assert!(report.deleted.is_empty(), "{report}");
    assert_eq!(report.kept[&Why::InUse].objects, 5 * 3 + 3);
    let outcome = commit(&split(&store), 1, 6, Some(5), &staged).await.expect("answers");
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    assert_eq!((followed(&store).await, listed(&store).await), (all(6), all(6)));
}

#[tokio::test]
async fn a_vacuum_bars_nobody_where_nothing_was_left_over() {
    let store = begun().await;
    split(&store).compact(&env()).await.expect("compacts");
    let records = objects(&store, "_compactions").await;
    assert_eq!(counts(&vacuum(&store).await), (12, 0));
    assert_eq!(objects(&store, "_compactions").await, records);
}

#[tokio::test]
async fn what_stands_for_files_that_stood_for_others_is_looked_at_before_they_go() {
    let store = Store::memory();
    for epoch in 1..=5 {
        add(&dataset(&store), epoch).await;
    }
    let bytes = snapshot(&store).await.files().map(|(file, _)| file.bytes).max().expect("a file");
    let pairs = dataset(&store).target_file_bytes(bytes * 5 / 2);
    assert_eq!(pairs.compact(&env()).await.expect("compacts").files_after, 2);
    assert_eq!(counts(&vacuum(&store).await), (4, 0));
    let again = dataset(&store).compact(&env_at(env().now(), 5)).await.expect("compacts");
    assert_eq!((again.files_before, again.files_after), (2, 1));

    let made = objects(&store, "_compacted").await;
    assert_eq!(made.len(), 1);
    store.delete(&made[0].path).await.expect("deletes");
    let error = split(&store).vacuum(&later(), WEEK, false).await.expect_err("the only other copy");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(listed(&store).await, all(5), "nothing was deleted");
}

#[tokio::test]
async fn a_vacuum_that_cannot_show_a_file_in_use_fails() {
    let store = begun().await;
    let before = snapshot(&store).await;
    split(&store).compact(&env()).await.expect("compacts");
    // Another one has ended between the old files and the new ones.
    for file in before.commits()[..4].iter().flat_map(|commit| &commit.files) {
        let path = ObjectPath::parse(&format!("{PREFIX}/{}", file.path)).expect("valid");
        store.delete(&path).await.expect("deletes");
    }
    let made = objects(&store, "_compacted").await;
    let whole = store.get(&made[0].path, None).await.expect("reads").expect("is there");
    store.put(&made[0].path, "x".into()).await.expect("puts");
    let error = split(&store).vacuum(&later(), WEEK, false).await.expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    store.put(&made[0].path, whole).await.expect("puts");
    vacuum(&store).await;
    assert_eq!((followed(&store).await, listed(&store).await), (all(5), all(5)));
}

#[tokio::test]
async fn what_is_just_as_old_as_what_is_kept_stays_and_bars_nobody() {
    let clock = ManualClock::auto();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(6)));
    let store = Store::new(crate::store::MemoryStore::new(&env));
    add(&split(&store), 1).await;
    let lost = format!("_staged/orders/0000/g{:010}/{:020}-0007-0000.staged", 1, 1);
    for name in ["_compacted/orders/0000/stray.staged", &lost] {
        let path = ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("valid");
        store.put(&path, "x".into()).await.expect("puts");
    }
    clock.advance(WEEK);
    let report = split(&store).vacuum(&env, WEEK, false).await.expect("vacuums");
    assert!(report.deleted.is_empty(), "{report}");
    assert_eq!(report.kept[&Why::Recent].objects, 2);
    assert!(objects(&store, "_compactions").await.is_empty(), "nobody is barred");
    clock.advance(Duration::from_micros(1));
    let report = split(&store).vacuum(&env, WEEK, false).await.expect("vacuums");
    assert_eq!(counts(&report), (0, 2), "{report}");
    assert_eq!(objects(&store, "_compactions").await.len(), 1, "a barrier");
}

#[tokio::test]
async fn a_process_that_compacts_again_reads_only_the_commits_that_came_since() {
    let store = begun().await;
    let faults = Faults::none();
    let owner = split(&faults.store(&store));
    owner.compact(&env()).await.expect("compacts");
    let before = faults.trace().len();
    let again = owner.compact(&env_at(env().now(), 5)).await.expect("compacts");
    assert_eq!(again.files_before, 0);
    let since = faults.trace().into_iter().skip(before).map(|point| point.name);
    let commits: Vec<_> = since.filter(|name| name.contains("/_commits/")).collect();
    assert_eq!(commits.len(), 1, "{commits:?}");
}
