//! Where rows lie: partitions that are made of columns, and the order of rows in files.

use super::*;
use crate::columnar::Transform;
use crate::error::ErrorKind;
use arrow::array::{ArrayRef, Date32Array, Float64Array, TimestampMicrosecondArray};
use parquet::file::statistics::Statistics;

const HOUR: i64 = 3600 * 1_000_000;

/// Rows whose `id` is the hour of their time.
fn hourly(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<_> = ids.into_iter().collect();
    let times = TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| id * HOUR)).with_timezone("UTC");
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("at", Arc::new(times))])
        .expect("fits")
}

async fn load(dataset: &ParquetDataset, batches: Vec<RecordBatch>) -> StagedFiles {
    let staged = try_stage(dataset, 1, 1, batches).await.expect("stages");
    assert_eq!(commit(dataset, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
    staged
}

#[tokio::test]
async fn a_date_that_no_reader_knows_is_no_partition() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![2_932_896, 2_932_897]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("day", days)]).expect("fits");
    let dataset = dataset(&Store::memory()).partition_by(["day"]).expect("valid");
    let mut writer = dataset.open(context(1, 1)).await.expect("opens");
    let rejects = writer.write(Batch::new(batch)).await.expect("writes");
    assert_eq!((rejects.len(), rejects[0].code), (1, "partition"));
}

#[tokio::test]
async fn folders_are_named_by_what_transforms_make_of_columns_that_stay_in_the_files() {
    let store = Store::memory();
    let owner = dataset(&store).partition_by([Transform::day("at"), Transform::truncate(10, "id")]).expect("valid");
    load(&owner, vec![hourly([1, 25, 2, 26])]).await;
    let names: Vec<_> = visible(&store).await.iter().map(|p| p.as_str().replacen(PREFIX, "", 1)).collect();
    let name =
        |day, cut, k| format!("/at_day={day}/id_trunc_10={cut}/orders-0000-{:020}-g0000000001-{k:04}.parquet", 1);
    assert_eq!(names, [name("1970-01-01", 0, 0), name("1970-01-02", 20, 1)]);
    let read = snapshot(&store).await.read_batches().await.expect("reads");
    let columns: Vec<_> = read[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(columns, ["id", "at", "at_day", "id_trunc_10"]);
    assert_eq!(
        read[1].column_by_name("at_day").expect("there").as_ref(),
        &Date32Array::from(vec![1, 1]) as &dyn arrow::array::Array
    );
    assert_eq!(ids(&read), [1, 2, 25, 26]);
}

#[tokio::test]
async fn transforms_are_part_of_the_identity() {
    let store = Store::memory();
    let by = |transform: Transform| dataset(&store).partition_by([transform]).expect("valid");
    load(&by(Transform::bucket(4, "id")), vec![hourly([1, 2])]).await;
    for other in [Transform::bucket(8, "id"), Transform::identity("id"), Transform::day("at")] {
        let (was, is) = (by(Transform::bucket(4, "id")).config(), by(other.clone()).config());
        assert_ne!(was.expect("valid").identity, is.expect("valid").identity, "{other:?}");
        assert_eq!(by(other).open(context(2, 2)).await.expect_err("another layout").kind(), ErrorKind::Config);
    }
    let same = Transform::bucket(4, "id");
    assert!(dataset(&store).partition_by([same.clone(), same]).is_err(), "twice");
}

#[tokio::test]
async fn a_row_that_no_folder_can_be_named_for_is_refused_and_the_epoch_goes_on() {
    let store = Store::memory();
    let owner = dataset(&store).partition_by(["country"]).expect("valid");
    let values = StringArray::from(vec!["NL".to_owned(), "x".repeat(300)]);
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("country", Arc::new(values)),
    ]);
    let mut writer = owner.open(context(1, 1)).await.expect("opens");
    let rejects = writer.write(Batch::new(rows.expect("fits"))).await.expect("writes");
    assert_eq!((rejects.len(), rejects[0].code), (1, "partition"));
    assert_eq!(writer.finish().await.expect("finishes").expect("some").records, 1);
}

/// The ids of a file in its order, how many row groups it has, and whether all of them say that they are sorted.
async fn order_of(store: &Store, path: &ObjectPath) -> (Vec<i64>, Vec<(i64, i64)>, bool) {
    let bytes = store.get(path, None).await.expect("reads").expect("is there");
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
    let groups = file.metadata().row_groups();
    let says = groups
        .iter()
        .all(|g| g.sorting_columns().is_some_and(|c| c.len() == 2 && !c[0].descending && c[0].nulls_first));
    let ranges = groups.iter().map(|g| match g.column(0).statistics() {
        Some(Statistics::Int64(s)) => (*s.min_opt().expect("known"), *s.max_opt().expect("known")),
        other => panic!("{other:?}"),
    });
    let ranges = ranges.collect();
    let column = |b: &RecordBatch| b.column_by_name("id").expect("there").as_primitive::<Int64Type>().values().to_vec();
    let ids = read(store, path).await.iter().flat_map(column).collect();
    (ids, ranges, says)
}

#[tokio::test]
async fn rows_are_sorted_within_files_and_row_groups_do_not_overlap() {
    let store = Store::memory();
    let owner = dataset(&store).sort_by(["id", "country"]).row_group_rows(100);
    let scattered = |from: i64| rows((from..from + 500).map(|id| id * 7919 % 1_000));
    load(&owner, vec![scattered(0), scattered(500)]).await;
    let paths = visible(&store).await;
    let (ids, ranges, says) = order_of(&store, &paths[0]).await;
    assert_eq!((paths.len(), ids), (1, (0..1_000).collect::<Vec<_>>()));
    assert!(says, "the footer does not say so");
    assert_eq!(ranges.len(), 10);
    assert!(ranges.windows(2).all(|w| w[0].1 < w[1].0), "{ranges:?}");
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_sorted_in_runs_of_their_own_row_groups() {
    let store = Store::memory();
    let owner = dataset(&store).sort_by(["id", "country"]).sort_bytes(4_000);
    load(&owner, (0..10).map(|n| rows((0..100).map(|id| (99 - id) * 10 + n))).collect()).await;
    let (ids, ranges, says) = order_of(&store, &visible(&store).await[0]).await;
    assert!(says && ranges.len() > 3 && ranges.len() <= 10, "{ranges:?}");
    assert_eq!(ids.iter().filter(|id| **id < 10).count(), 10);
    let descents = ids.windows(2).filter(|w| w[0] > w[1]).count();
    assert_eq!(descents, ranges.len() - 1, "each run is sorted");
    assert_eq!(followed(&store).await, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn equal_rows_stay_in_their_order_nulls_come_first_and_partitions_are_sorted_too() {
    let store = Store::memory();
    let owner = dataset(&store).partition_by(["country"]).expect("valid").sort_by(["at"]);
    let batch = |ids: Vec<i64>, at: Vec<Option<i64>>| {
        let country = StringArray::from(vec!["NL"; ids.len()]);
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(ids))),
            ("at", Arc::new(Int64Array::from(at))),
            ("country", Arc::new(country)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).expect("fits")
    };
    load(
        &owner,
        vec![batch(vec![1, 2, 3], vec![Some(2), Some(1), None]), batch(vec![4, 5, 6], vec![Some(1), None, Some(2)])],
    )
    .await;
    let read = read(&store, &visible(&store).await[0]).await;
    assert_eq!(read[0].column(0).as_primitive::<Int64Type>().values().to_vec(), [3, 5, 2, 4, 1, 6]);
}

#[tokio::test]
async fn columns_that_cannot_be_sorted_by_are_refused() {
    let floats = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("country", Arc::new(StringArray::from(vec!["NL"]))),
        ("amount", Arc::new(Float64Array::from(vec![f64::NAN]))),
    ]);
    let floats = floats.expect("fits");
    for column in ["amount", "missing", "country"] {
        let store = Store::memory();
        let owner = dataset(&store).partition_by(["country"]).expect("valid").sort_by([column]);
        let error = try_stage(&owner, 1, 1, vec![floats.clone()]).await.expect_err(column);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(column), "{error}");
    }
}

/// Values as nobody should send them. Each is a partition of its own.
const HOSTILE: &[&str] = &[
    "../../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "%2e%2e%2f",
    "%",
    "\0",
    "\n",
    "CON",
    "con",
    "Con",
    "nul.parquet",
    "a=b",
    "_commits",
    "_delta_log",
    "__HIVE_DEFAULT_PARTITION__",
    "größe",
    "GRÖSSE",
    "😀",
    "'; DROP TABLE x; --",
    " ",
    "a,b",
    "\u{202e}txt",
];

#[tokio::test]
async fn hostile_partition_values_stay_below_the_dataset_of_a_real_file_system() {
    let folder = tempfile::tempdir().expect("a folder");
    // On a real file system, with something beside the store that must not be reached.
    let store = Store::local(folder.path().join("store")).expect("a store");
    std::fs::write(folder.path().join("beside"), "x").expect("written");
    let owner = || dataset(&store).partition_by(["country"]).expect("valid");
    let ids = Int64Array::from_iter_values(0..HOSTILE.len() as i64);
    let countries = StringArray::from_iter_values(HOSTILE);
    let rows = RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("country", Arc::new(countries) as _)]);
    let staged = stage(&owner(), 1, 1, rows.expect("fits")).await;
    assert_eq!(staged.files.len(), HOSTILE.len());
    commit(&owner(), 1, 1, None, &staged).await.expect("commits");
    // The last epoch is published with the next one.
    let next = stage(&owner(), 1, 2, super::rows([100])).await;
    commit(&owner(), 1, 2, Some(1), &next).await.expect("commits");

    let below = store.list(&ObjectPath::parse(PREFIX).expect("valid")).await.expect("lists").len();
    assert_eq!(store.list(&ObjectPath::root()).await.expect("lists").len(), below, "nothing lies elsewhere");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 2);
    // A file system that does not tell cases apart merges folders, and still no file takes the place of another.
    let mut names: Vec<_> =
        staged.files.iter().flat_map(|f| [f.path.to_lowercase(), f.staged.to_lowercase()]).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 2 * HOSTILE.len());
    let mut seen = Vec::new();
    for batch in snapshot(&store).await.read_batches().await.expect("reads") {
        let countries = batch.column_by_name("country").expect("there").as_string::<i32>().clone();
        seen.extend(countries.iter().flatten().map(str::to_owned));
    }
    assert!(HOSTILE.iter().all(|value| seen.iter().filter(|s| s == value).count() == 1), "{seen:?}");
}
