//! A history of versions: the same cases as tests/postgres/histories.rs, with the same results.

use super::*;
use crate::sink::Scd2;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::time::Duration;

/// Rows of id, name, the second at which they hold, and whether the key is gone.
fn given(rows: &[(i64, &str, i64, bool)]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.2 * 1_000_000)).with_timezone("UTC");
    let gone: BooleanArray = rows.iter().map(|r| Some(r.3)).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))) as ArrayRef),
        ("name", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1)))),
        ("at", Arc::new(times)),
        ("gone", Arc::new(gone)),
    ])
    .expect("fits")
}

fn named(rows: &[(i64, &str)]) -> RecordBatch {
    let all = given(&rows.iter().map(|(id, name)| (*id, *name, 0, false)).collect::<Vec<_>>());
    all.project(&[0, 1]).expect("fits")
}

/// What a table holds, and the epochs that it is given.
struct History {
    store: Store,
    table: DeltaTable,
    env: Env,
    clock: ManualClock,
}

impl History {
    fn new(scd2: Scd2) -> Self {
        Self::of(&Store::memory(), scd2)
    }

    fn of(store: &Store, scd2: Scd2) -> Self {
        let clock = ManualClock::auto();
        let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(3)));
        Self { store: store.clone(), table: table(store).disposition(scd2), env, clock }
    }

    /// In a folder that `scripts/delta-readers` looks at, or in memory.
    fn for_readers(folder: &str, disposition: impl Into<Disposition>) -> Self {
        let place = std::env::var_os("LANDFALL_DELTA_TABLE").map(std::path::PathBuf::from);
        let store = place.map_or_else(Store::memory, |place| Store::local(place).expect("a folder"));
        let clock = ManualClock::auto();
        let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(3)));
        let table = DeltaTable::in_store(&store, folder).expect("valid").lanes(1).disposition(disposition);
        Self { store, table, env, clock }
    }

    async fn try_stage(&self, epoch: u64, batch: RecordBatch) -> Result<(DeltaStaged, Vec<Reject>)> {
        let context = EpochContext::new(shard(), 1, epoch, self.env.clone());
        try_stage(&self.table, context, vec![batch]).await
    }

    /// Loads an epoch; gives its counts.
    async fn load(&self, batch: RecordBatch) -> commit::Counts {
        self.table.config().expect("known");
        let previous = self.table.mark(&shard()).await.expect("reads").map(|m| m.epoch);
        let epoch = previous.unwrap_or(0) + 1;
        let (staged, _) = self.try_stage(epoch, batch).await.expect("stages");
        let outcome = self.table.commit(&self.env, request(1, epoch, previous, &staged)).await.expect("commits");
        assert_eq!(outcome, CommitOutcome::Done);
        let version = self.table.log.newest(None, log::Keep::Head).await.expect("reads").expect("there").version;
        counts(&self.table, version).await
    }

    /// `id|name|from|to`, in seconds.
    async fn seen(&self) -> Vec<String> {
        let mut all = Vec::new();
        for batch in self.table.read_batches().await.expect("reads") {
            let times = |name: &str| {
                let column = batch.column_by_name(name).expect("there");
                let column = column.as_primitive::<TimestampMicrosecondType>();
                column.iter().map(|v| v.map(|v| v / 1_000_000)).collect::<Vec<_>>()
            };
            let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
            let names = batch.column_by_name("name").expect("there").as_string::<i32>().clone();
            let (from, to) = (times("_landfall_valid_from"), times("_landfall_valid_to"));
            for row in 0..batch.num_rows() {
                all.push((
                    ids.value(row),
                    from[row],
                    to[row].unwrap_or(i64::MAX),
                    names.value(row).to_owned(),
                    to[row],
                ));
            }
        }
        all.sort();
        let text = |second: Option<i64>| second.map_or_else(|| "-".to_owned(), |s| s.to_string());
        all.into_iter().map(|(id, from, _, name, to)| format!("{id}|{name}|{}|{}", text(from), text(to))).collect()
    }
}

/// What the history of the table tells of a version.
async fn counts(table: &DeltaTable, version: u64) -> commit::Counts {
    let lines = table.log.commit(version).await.expect("reads").expect("there");
    let info = lines.into_iter().find_map(|line| line.commit_info);
    let metrics = info.expect("it is told")["operationMetrics"].clone();
    let number = |name: &str| metrics[name].as_str().and_then(|n| n.parse().ok()).unwrap_or_default();
    commit::Counts {
        inserted: number("numTargetRowsInserted"),
        updated: number("numTargetRowsUpdated"),
        deleted: number("numTargetRowsDeleted"),
    }
}

#[tokio::test]
async fn scd2_keeps_every_version_and_when_it_held() {
    let load = History::new(Scd2::by(["id"]).since("at").deleted_when("gone"));
    load.load(given(&[(1, "a", 1, false), (1, "b", 5, false), (2, "x", 2, false)])).await;
    assert_eq!(load.seen().await, ["1|a|1|5", "1|b|5|-", "2|x|2|-"]);
    let counts = load.load(given(&[(1, "b", 7, false), (2, "y", 6, false), (3, "n", 1, false)])).await;
    assert_eq!(
        load.seen().await,
        ["1|a|1|5", "1|b|5|-", "2|x|2|6", "2|y|6|-", "3|n|1|-"],
        "the same values are no version"
    );
    assert_eq!(counts, commit::Counts { inserted: 2, updated: 1, deleted: 0 });
    load.load(given(&[(1, "late", 3, false)])).await;
    assert_eq!(load.seen().await[..2], ["1|a|1|5", "1|b|5|-"], "what is older than the current one changes nothing");
    load.load(given(&[(3, "n", 9, true)])).await;
    assert_eq!(load.seen().await[4], "3|n|1|9", "a delete closes");
    load.load(given(&[(3, "n", 11, false), (3, "m", 12, false)])).await;
    assert_eq!(load.seen().await[4..], ["3|n|1|9", "3|n|11|12", "3|m|12|-"], "what comes back is a version");
    load.load(given(&[(3, "k", 12, false)])).await;
    assert_eq!(load.seen().await[4..], ["3|n|1|9", "3|n|11|12", "3|k|12|-"], "a correction of the same moment");
    let mut undated = given(&[(1, "undated", 0, false)]);
    let no_time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None]).with_timezone("UTC"));
    undated = RecordBatch::try_from_iter_with_nullable(undated.schema().fields().iter().zip(undated.columns()).map(
        |(field, column)| {
            let column = if field.name() == "at" { &no_time } else { column };
            (field.name().as_str(), Arc::clone(column), true)
        },
    ))
    .expect("fits");
    let mut writer = load.table.open(context(1, 90)).await.expect("opens");
    assert_eq!(writer.write(Batch::new(undated)).await.expect("writes")[0].code, "null_since");
}

#[tokio::test]
async fn scd2_without_a_time_of_its_own_holds_from_when_it_was_staged() {
    let load = History::new(Scd2::by(["id"]).columns("from", "to"));
    load.load(named(&[(1, "a"), (1, "b")])).await;
    load.clock.advance(Duration::from_secs(60));
    load.load(named(&[(1, "b")])).await;
    load.load(named(&[(1, "c")])).await;
    let mut seen = Vec::new();
    for batch in load.table.read_batches().await.expect("reads") {
        let time =
            |name: &str| batch.column_by_name(name).expect("there").as_primitive::<TimestampMicrosecondType>().clone();
        let (names, from, to) =
            (batch.column_by_name("name").expect("there").as_string::<i32>().clone(), time("from"), time("to"));
        let rows = names.iter().zip(&from).zip(&to);
        seen.extend(rows.map(|((name, from), to)| (from, name.map(str::to_owned), to.map(|to| Some(to) > from))));
    }
    seen.sort();
    let seen: Vec<_> = seen.into_iter().map(|(_, name, to)| (name.expect("there"), to)).collect();
    assert_eq!(seen, [("b".to_owned(), Some(true)), ("c".to_owned(), None)]);
}

#[tokio::test]
async fn versions_come_out_the_same_wherever_the_epochs_are_cut() {
    let rows = [
        (1, "a", 1, false),
        (2, "x", 1, false),
        (1, "a", 2, false),
        (1, "b", 3, false),
        (2, "", 4, true),
        (1, "c", 3, false),
        (2, "x", 6, false),
        (1, "c", 7, false),
        (1, "", 8, true),
        (1, "", 9, true),
        (1, "d", 9, false),
    ];
    let expected = ["1|a|1|3", "1|c|3|8", "1|d|9|-", "2|x|1|4", "2|x|6|-"];
    for first in 1..rows.len() {
        for second in first..rows.len() {
            let load = History::new(Scd2::by(["id"]).since("at").deleted_when("gone"));
            for part in [&rows[..first], &rows[first..second], &rows[second..]] {
                if !part.is_empty() {
                    load.load(given(part)).await;
                }
            }
            assert_eq!(load.seen().await, expected, "cut at {first} and {second}");
        }
    }
}

#[tokio::test]
async fn a_column_that_is_added_makes_a_version_only_of_rows_that_have_a_value_in_it() {
    let load = History::new(Scd2::by(["id"]));
    load.load(named(&[(1, "a"), (2, "b")])).await;
    load.clock.advance(Duration::from_secs(60));
    let more = StringArray::from(vec![None, Some("new")]);
    let batch = named(&[(1, "a"), (2, "b")]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::clone(batch.column(0)), true),
        ("name", Arc::clone(batch.column(1)), true),
        ("more", Arc::new(more) as ArrayRef, true),
    ])
    .expect("fits");
    assert_eq!(load.load(batch).await, commit::Counts { inserted: 1, updated: 1, deleted: 0 });
}

#[tokio::test]
async fn only_files_with_a_version_that_ends_are_written_again() {
    let load = History::new(Scd2::by(["id"]).since("at"));
    for n in 0..4 {
        load.load(given(&[(n * 10, "a", 1, false), (n * 10 + 5, "b", 1, false)])).await;
    }
    let before: Vec<_> = files(&load.store).await.into_iter().map(|f| f.path).collect();
    load.load(given(&[(12, "n", 2, false), (25, "n", 2, false), (30, "a", 9, false)])).await;
    let after: Vec<_> = files(&load.store).await.into_iter().map(|f| f.path).collect();
    assert_eq!((before.iter().filter(|path| after.contains(path)).count(), after.len()), (3, 5));
}

#[tokio::test]
async fn names_that_the_sink_needs_are_refused_and_so_is_a_time_that_is_none() {
    let load = History::new(Scd2::by(["id"]).since("name"));
    assert_eq!(load.try_stage(1, named(&[(1, "a")])).await.expect_err("a text").kind(), ErrorKind::Config);
    let load = History::new(Scd2::by(["id"]).columns("name", "until"));
    assert_eq!(load.try_stage(1, named(&[(1, "a")])).await.expect_err("is taken").kind(), ErrorKind::Config);
    let taken = RecordBatch::try_from_iter([("_Landfall_Load", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let error =
        try_stage(&table(&Store::memory()), context(1, 1), vec![taken.expect("fits")]).await.expect_err("is taken");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_follows_the_return_of_a_swept_key_goes_by_its_own_times() {
    let load = History::new(Scd2::by(["id"]).since("at").deleted_when("gone").sweep(1.0));
    let other = (2, "x", 2, false);
    let swept = env().now().as_micros() / 1_000_000;
    let mut number = 0;
    let mut next = async |rows: &[(i64, &str, i64, bool)], expected: &[String]| {
        number += 1;
        let rows: Vec<_> = rows.iter().copied().chain([other]).collect();
        replace::enumerate(&load.table, number, &[given(&rows)], true).await.expect("is whole");
        let seen: Vec<_> = load.seen().await.into_iter().filter(|row| row.starts_with("1|")).collect();
        assert_eq!(seen, expected, "{number}");
    };
    let ended = format!("1|a|1|{swept}");
    next(&[(1, "a", 1, false)], &["1|a|1|-".to_owned()]).await;
    next(&[], std::slice::from_ref(&ended)).await;
    next(&[(1, "b", 3, false)], &[ended.clone(), format!("1|b|{swept}|-")]).await;
    next(&[(1, "c", 5, false)], &[ended.clone(), format!("1|c|{swept}|-")]).await;
    next(&[(1, "late", 4, false)], &[ended.clone(), format!("1|c|{swept}|-")]).await;
    next(&[(1, "", 6, true)], std::slice::from_ref(&ended)).await;
    next(&[(1, "d", 7, false), (1, "", 8, true)], std::slice::from_ref(&ended)).await;
    // What begins after the sweep has held for no time at all.
    let future = swept + 1000;
    next(&[(1, "e", future, false)], &[ended.clone(), format!("1|e|{future}|-")]).await;
    next(&[], std::slice::from_ref(&ended)).await;
}

/// Tables for other readers, which `scripts/delta-readers` compares with what it knows itself: a history with a sweep, and rows of
/// which some were swept.
#[tokio::test]
async fn every_reader_sees_histories_and_sweeps_alike() {
    let load = History::for_readers("lake/history", Scd2::by(["id"]).since("at").deleted_when("gone").sweep(1.0));
    let first = [(1, "a", 1, false), (1, "b", 5, false), (2, "x", 2, false), (3, "n", 1, false)];
    replace::enumerate(&load.table, 1, &[given(&first)], true).await.expect("loads");
    let second = [(1, "b", 7, false), (2, "y", 6, false), (4, "z", 6, false), (4, "", 8, true)];
    replace::enumerate(&load.table, 2, &[given(&second)], true).await.expect("loads");
    let swept = env().now().as_micros() / 1_000_000;
    let expected = ["1|a|1|5", "1|b|5|-", "2|x|2|6", "2|y|6|-", &format!("3|n|1|{swept}"), "4|z|6|8"];
    assert_eq!(load.seen().await, expected);
    load.table.checkpoint(&load.env).await.expect("writes");

    let load = History::for_readers("lake/swept", Upsert::by(["id"]).sweep(1.0));
    replace::enumerate(&load.table, 1, &[named(&[(1, "a"), (2, "b"), (3, "c")])], true).await.expect("loads");
    replace::enumerate(&load.table, 2, &[named(&[(1, "A"), (3, "c")])], true).await.expect("loads");
    assert_eq!(load.table.read_batches().await.expect("reads").iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_column_that_is_made_of_the_time_makes_no_version_of_the_same_values() {
    let mut load = History::new(Scd2::by(["id"]).since("at"));
    load.table = load.table.clone().partition_by([crate::columnar::Transform::day("at")]).expect("valid");
    load.load(given(&[(1, "a", 1, false)])).await;
    load.load(given(&[(1, "a", 200_000, false)])).await;
    assert_eq!(load.seen().await, ["1|a|1|-"]);
}
