//! Rows that did not come: the same cases as tests/warehouses/enumerations.rs, with the same results.

use super::replace::enumerate;
use super::*;
use crate::sink::{Enumeration, Replace, Scd2};
use arrow::array::{ArrayRef, TimestampMicrosecondArray};

/// Adds rows of another pipeline, and rows of nobody.
async fn add_rows_of_others(store: &Store) {
    let other = ShardKey { pipeline: PipelineName::new("orders-0000").expect("valid"), shard: 0 };
    let table = table(store);
    let context = EpochContext { shard: other.clone(), ..context(1, 1) };
    let (staged, _) = try_stage(&table, context, vec![rows([50])]).await.expect("stages");
    let request = CommitRequest { shard: other, ..request(1, 1, None, &staged) };
    table.commit(&env(), request).await.expect("commits");
}

#[tokio::test]
async fn a_sweep_deletes_what_did_not_come_and_nothing_of_others() {
    let store = Store::memory();
    let table = table(&store).disposition(Upsert::by(["id"]).sweep(1.0));
    table.config().expect("known");
    enumerate(&table, 1, &[rows([1, 2, 3])], false).await.expect("loads");
    assert_eq!(ids(&store).await, [1, 2, 3], "what is new is seen at once");
    enumerate(&table, 1, &[], true).await.expect("is whole");
    add_rows_of_others(&store).await;
    enumerate(&table, 2, &[rows([1, 4])], false).await.expect("loads");
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 50], "nothing goes before it is whole");
    enumerate(&table, 3, &[rows([1]), rows([3])], true).await.expect("is whole");
    assert_eq!(ids(&store).await, [1, 3, 50]);
    // Compacted or not, a row is whose it is.
    table.compact(&env()).await.expect("compacts");
    enumerate(&table, 4, &[rows([1])], true).await.expect("is whole");
    assert_eq!(ids(&store).await, [1, 50]);
}

#[tokio::test]
async fn a_sweep_closes_versions_whose_key_did_not_come() {
    let store = Store::memory();
    let table = table(&store).disposition(Scd2::by(["id"]).sweep(1.0));
    enumerate(&table, 1, &[rows([1, 2])], true).await.expect("is whole");
    enumerate(&table, 2, &[rows([2, 3])], true).await.expect("is whole");
    assert_eq!(
        open_ids(&table).await,
        [(1, false), (2, true), (3, true)],
        "a row that did not change has come all the same"
    );
}

async fn open_ids(table: &DeltaTable) -> Vec<(i64, bool)> {
    let mut seen = Vec::new();
    for batch in table.read_batches().await.expect("reads") {
        let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
        let ends = Arc::clone(batch.column_by_name("_landfall_valid_to").expect("there"));
        seen.extend(ids.values().iter().enumerate().map(|(row, id)| (*id, ends.is_null(row))));
    }
    seen.sort_unstable();
    seen
}

#[tokio::test]
async fn a_sweep_that_would_take_too_much_is_refused_before_anything_is_prepared() {
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(0.5)), Scd2::by(["id"]).sweep(0.5).into()] {
        let store = Store::memory();
        let table = table(&store).disposition(disposition);
        enumerate(&table, 1, &[rows(1..=4)], true).await.expect("is whole");
        add_rows_of_others(&store).await;
        let error = enumerate(&table, 2, &[rows([1])], true).await.expect_err("three of four would go");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        enumerate(&table, 3, &[rows([1, 2])], true).await.expect("half may go");
        let error = enumerate(&table, 4, &[], true).await.expect_err("an empty one takes all");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}

#[tokio::test]
async fn a_key_that_was_swept_and_comes_again_is_a_version_again() {
    let at = |id: i64| {
        let times = TimestampMicrosecondArray::from(vec![1_000_000]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(vec![id]))), ("at", Arc::new(times))];
        RecordBatch::try_from_iter(columns).expect("fits")
    };
    let store = Store::memory();
    let table = table(&store).disposition(Scd2::by(["id"]).since("at").sweep(1.0));
    for (number, id) in [(1, 1), (2, 2), (3, 1)] {
        enumerate(&table, number, &[at(id)], true).await.expect("is whole");
    }
    assert_eq!(open_ids(&table).await, [(1, false), (1, true), (2, false)]);
}

/// With so few rows that there are no buckets, and with many.
#[tokio::test]
async fn keys_in_buckets_are_those_that_memory_would_hold() {
    let store = Store::memory();
    let table = table(&store).upsert(["id"]);
    let staged = stage(&table, 1, 1, rows((0..500).chain(0..300))).await;
    let keyed = keys::Keyed::by(&["id".to_owned()], &rows([0]).schema()).expect("known");
    for count in [1, 7] {
        let mut filling = buckets::Filling::new(&table, &env(), staged::Names::aside(&context(1, 2)), count);
        let mut batches = file::rows(&table.log, &staged.files[0].add(0), &keyed.columns).await.expect("reads");
        let mut first = 0;
        while let Some(batch) = futures::TryStreamExt::try_next(&mut batches).await.expect("reads") {
            filling.add(&keyed, 0, first, &batch, |_| true).await.expect("adds");
            first += batch.num_rows();
        }
        let parted = filling.finish().await.expect("parts");
        let mut keys = 0;
        for bucket in 0..count {
            keys += parted.keys(bucket).await.expect("reads").len();
        }
        assert_eq!(keys, 500);
        let marks = parted.newest(&[800]).await.expect("reads");
        assert_eq!(marks.count, 500);
        let expected: BooleanArray = (0..800).map(|row| Some(row >= 300)).collect();
        assert_eq!(marks.finish(), [expected], "the later row of a key");
        let folder = ObjectPath::parse(&format!("{PREFIX}/_landfall/keys")).expect("valid");
        assert_eq!(store.list(&folder).await.expect("lists").is_empty(), count == 1);
        parted.delete().await.expect("deletes");
        assert!(store.list(&folder).await.expect("lists").is_empty());
    }
}

#[tokio::test]
async fn very_many_buckets_are_few_files() {
    let store = Store::memory();
    let faults = Faults::none();
    let table = table(&faults.store(&store)).upsert(["id"]).open_files(3);
    let batches: Vec<_> = (0..20).map(|first| rows((first..500).step_by(20))).collect();
    let keyed = keys::Keyed::by(&["id".to_owned()], &rows([0]).schema()).expect("known");
    let count = buckets::count(500);
    let mut filling = buckets::Filling::new(&table, &env(), staged::Names::aside(&context(1, 2)), count);
    for (number, batch) in batches.iter().enumerate() {
        filling.add(&keyed, number, 0, batch, |_| true).await.expect("adds");
    }
    let parted = filling.finish().await.expect("parts");
    let files = faults.trace().iter().filter(|point| point.operation == "upload").count();
    assert!(count == 125 && files < 300, "{count} buckets in {files} files");
    let mut keys = 0;
    for bucket in 0..count {
        keys += parted.keys(bucket).await.expect("reads").len();
    }
    assert_eq!(keys, 500);
    assert_eq!(parted.newest(&[25; 20]).await.expect("reads").count, 500);
    parted.delete().await.expect("deletes");
    assert!(store.list(&ObjectPath::root()).await.expect("lists").is_empty());
}

#[tokio::test]
async fn what_an_enumeration_gives_twice_counts_once_for_the_guard() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table().key(["id"]));
    enumerate(&table, 1, &[rows(1..=4)], true).await.expect("replaces");
    let error = enumerate(&table, 2, &[rows([1, 1]), rows([1, 1])], true).await.expect_err("three of four would go");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(ids(&store).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_crash_at_every_operation_of_a_sweep_shows_all_rows_or_those_that_came() {
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(1.0)), Scd2::by(["id"]).sweep(1.0).into()] {
        for mode in [Mode::Before, Mode::AfterLostResponse, Mode::LostResponse] {
            for at in 0.. {
                let store = Store::memory();
                let open = |store: &Store| table(store).disposition(disposition.clone());
                enumerate(&open(&store), 1, &[rows([1, 2])], true).await.expect("loads");
                enumerate(&open(&store), 2, &[rows([3]), rows([1])], false).await.expect("loads");
                let enumeration = Some(Enumeration { whole: true, ..Enumeration::begun(2) });
                let context = EpochContext { enumeration, must_commit: true, ..context(1, 5) };
                let (staged, _) = try_stage(&open(&store), context, Vec::new()).await.expect("stages");
                let request = CommitRequest { enumeration, ..request(1, 5, Some(4), &staged) };
                let faults = Faults::of([Plan { at, mode }]);
                let ended = open(&faults.store(&store)).commit(&env(), request.clone()).await.is_ok();
                let seen = current(&open(&store)).await;
                assert!(seen == [1, 2, 3] || seen == [1, 3], "{mode:?} at {at}: {seen:?}");
                open(&store).commit(&env(), request).await.expect("recovers");
                assert_eq!(current(&open(&store)).await, [1, 3], "{mode:?} at {at}");
                assert_eq!(ledger::epochs(&store).await, [1, 2, 3, 4, 5], "{mode:?} at {at}");
                if ended && faults.count() <= at {
                    assert!(at > 8, "a sweep took {at} operations");
                    break;
                }
            }
        }
    }
}

/// The ids whose row is current.
pub(super) async fn current(table: &DeltaTable) -> Vec<i64> {
    if !matches!(table.disposition, Disposition::Scd2(_)) {
        return ids(&table.log.store).await;
    }
    open_ids(table).await.into_iter().filter(|(_, open)| *open).map(|(id, _)| id).collect()
}

#[tokio::test]
async fn a_table_that_others_made_and_no_row_ever_came_to_is_swept_of_nothing() {
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(0.0)), Scd2::by(["id"]).sweep(0.0).into()] {
        let store = Store::memory();
        let metadata = actions::Metadata {
            id: "made".into(),
            schema_string: schema::text(&rows([1]).schema()).expect("known"),
            ..Default::default()
        };
        table(&store).log.create(&env(), 0, vec![features::oldest().into(), metadata.into()]).await.expect("creates");
        let table = table(&store).disposition(disposition);
        enumerate(&table, 1, &[], true).await.expect("is whole");
        enumerate(&table, 2, &[rows([1])], true).await.expect("is whole");
        enumerate(&table, 3, &[], true).await.expect_err("all would go");
    }
}

#[tokio::test]
async fn many_keys_are_swept_and_collapsed_in_buckets_which_leave_nothing() {
    let keys = |store: &Store| {
        let (store, folder) = (store.clone(), ObjectPath::parse(&format!("{PREFIX}/_landfall/keys")).expect("valid"));
        async move { store.list(&folder).await.expect("lists").len() }
    };
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(1.0)), Replace::table().key(["id"]).into()] {
        let store = Store::memory();
        let table = table(&store).disposition(disposition);
        enumerate(&table, 1, &[rows(0..50), rows(25..60)], true).await.expect("is whole");
        assert_eq!(ids(&store).await, (0..60).collect::<Vec<_>>());
        enumerate(&table, 2, &[rows((0..60).filter(|id| id % 2 == 0)), rows(58..70)], true).await.expect("is whole");
        let expected: Vec<_> = (0..58).filter(|id| id % 2 == 0).chain(58..70).collect();
        assert_eq!(ids(&store).await, expected);
        assert_eq!(keys(&store).await, 0);
    }
}
