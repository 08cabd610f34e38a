use super::*;
use crate::columnar::Transform;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};

const DAY: i64 = 24 * 3600 * 1_000_000;

/// Rows whose `id` is the day of their time.
fn daily(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<_> = ids.into_iter().collect();
    let times = TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| id * DAY + 5)).with_timezone("UTC");
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("at", Arc::new(times))])
        .expect("fits")
}

fn by_day(store: &Store) -> DeltaTable {
    table(store).partition_by([Transform::day("at")]).expect("valid")
}

#[tokio::test]
async fn a_transform_is_a_column_of_the_table_that_files_are_split_by() {
    let store = Store::memory();
    for (epoch, ids) in [(1, [0, 1]), (2, [1, 2])] {
        let staged = stage(&by_day(&store), 1, epoch, daily(ids)).await;
        commit(&by_day(&store), 1, epoch, (epoch > 1).then_some(1), &staged).await.expect("commits");
    }
    let held = table(&store).log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert_eq!(held.metadata.partition_columns, ["at_day"]);
    assert!(
        held.metadata.schema_string.contains(r#""name":"at_day","nullable":true,"type":"date""#),
        "{}",
        held.metadata.schema_string
    );
    let mut days: Vec<_> = held.files.values().map(|f| f.partition_values["at_day"].clone().expect("a day")).collect();
    days.sort();
    assert_eq!(days, ["1970-01-01", "1970-01-02", "1970-01-02", "1970-01-03"]);
    assert!(held.files.keys().all(|path| path.starts_with("at_day=1970-01-0")));
    // Put together and read, it is a column like the others.
    table(&store).compact(&env()).await.expect("compacts");
    assert_eq!((files(&store).await.len(), ids(&store).await), (3, vec![0, 1, 1, 2]));
}

#[tokio::test]
async fn what_rows_cannot_be_sorted_by_is_refused_before_anything_is_staged() {
    for wrong in ["score", "missing", "country"] {
        let store = Store::memory();
        let table = table(&store).partition_by(["country"]).expect("valid").upsert(["id"]).sort_by([wrong]);
        let batch = rows([1]);
        let scores: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.5]));
        let columns =
            [("id", Arc::clone(batch.column(0))), ("country", Arc::clone(batch.column(1))), ("score", scores)];
        let batch = RecordBatch::try_from_iter(columns).expect("fits");
        let error = try_stage(&table, context(1, 1), vec![batch]).await.expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::Config, "{wrong}");
    }
    // What the sink adds when it commits is a column too.
    let table = table(&Store::memory()).disposition(crate::sink::Scd2::by(["id"])).sort_by(["_landfall_valid_from"]);
    stage(&table, 1, 1, rows([1])).await;
}

#[tokio::test]
async fn a_row_that_is_upserted_moves_to_its_new_partition() {
    let store = Store::memory();
    let owner = || by_day(&store).upsert(["id"]).sort_by(["id"]);
    let staged = stage(&owner(), 1, 1, daily([1, 2])).await;
    commit(&owner(), 1, 1, None, &staged).await.expect("commits");
    let moved = daily([5]);
    let moved = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![2])) as ArrayRef),
        ("at", Arc::clone(moved.column(1))),
    ]);
    let staged = stage(&owner(), 1, 2, moved.expect("fits")).await;
    commit(&owner(), 1, 2, Some(1), &staged).await.expect("commits");
    let mut days: Vec<_> = files(&store).await.into_iter().map(|f| f.partition_values["at_day"].clone()).collect();
    days.sort();
    assert_eq!(days, [Some("1970-01-02".to_owned()), Some("1970-01-06".to_owned())]);
    assert_eq!(ids(&store).await, [1, 2]);
}

#[tokio::test]
async fn hostile_partition_values_stay_below_the_table_and_come_back_as_they_are() {
    let hostile = [
        "../../x",
        "..",
        "/etc",
        "%2e%2e",
        "%",
        "\0",
        "\n",
        "CON",
        "con",
        "a=b",
        "_delta_log",
        "größe",
        "😀",
        "' --",
        " ",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path().join("store")).expect("a store");
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let countries = StringArray::from_iter_values(hostile);
    let ids = Int64Array::from_iter_values(0..hostile.len() as i64);
    let rows = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef), ("country", Arc::new(countries))]);
    let staged = stage(&owner, 1, 1, rows.expect("fits")).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let below = store.list(&ObjectPath::parse(PREFIX).expect("valid")).await.expect("lists").len();
    assert_eq!(store.list(&ObjectPath::root()).await.expect("lists").len(), below, "nothing lies elsewhere");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
    let files = files(&store).await;
    let mut names: Vec<_> = files.iter().map(|file| file.path.to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), hostile.len(), "cases are not needed to tell files apart");
    let mut values: Vec<_> = files.iter().filter_map(|file| file.partition_values["country"].as_deref()).collect();
    values.sort_unstable();
    let mut expected = hostile.to_vec();
    expected.sort_unstable();
    assert_eq!(values, expected);
    assert_eq!(self::ids(&store).await, (0..hostile.len() as i64).collect::<Vec<_>>());
}
