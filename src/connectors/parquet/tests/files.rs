//! The files: their sizes, their names, and what survives in them.

use super::*;
use crate::error::ErrorKind;
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, ListArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use std::collections::{BTreeMap, BTreeSet};

async fn load(dataset: &ParquetDataset, batches: Vec<RecordBatch>) -> StagedFiles {
    let staged = try_stage(dataset, 1, 1, batches).await.expect("stages");
    assert_eq!(commit(dataset, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
    staged
}

#[tokio::test]
async fn an_epoch_without_rows_stages_nothing() {
    let store = Store::memory();
    let dataset = dataset(&store);
    let mut writer = dataset.open(context(1, 1)).await.expect("opens");
    writer.write(Batch::new(rows([]))).await.expect("writes");
    assert!(writer.finish().await.expect("finishes").is_none());
    assert!(store.list(&ObjectPath::root()).await.expect("lists").is_empty());
}

#[tokio::test]
async fn begins_a_new_file_at_the_target_size_and_a_new_row_group_at_its_limits() {
    let store = Store::memory();
    let rolling = dataset(&store).target_file_bytes(5_000).row_group_rows(500);
    let batches = (0..20).map(|n| rows(n * 1_000..(n + 1) * 1_000)).collect();
    let staged = load(&rolling, batches).await;
    assert!(staged.files.len() > 3, "{:?}", staged.files.iter().map(|f| (f.rows, f.bytes)).collect::<Vec<_>>());
    let (last, full) = staged.files.split_last().expect("some");
    assert!(full.iter().all(|f| (5_000..20_000).contains(&f.bytes)) && last.bytes < 20_000, "{staged:?}");
    assert_eq!(followed(&store).await, (0..20_000).collect::<Vec<_>>());
    assert_eq!(listed(&store).await, (0..20_000).collect::<Vec<_>>());

    for path in visible(&store).await {
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
        let file = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
        assert!(file.metadata().row_groups().iter().all(|g| g.num_rows() <= 500));
    }
}

#[tokio::test]
async fn memory_for_row_groups_is_bounded_over_all_open_files() {
    let store = Store::memory();
    let wide = dataset(&store).partition_by(["country"]).expect("valid").row_group_bytes(100_000);
    let batches = (0..40).map(|n| rows((n * 1_000..(n + 1) * 1_000).map(|id| id * 7919 % 1_000_003))).collect();
    load(&wide, batches).await;
    let mut groups = 0;
    for path in visible(&store).await {
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
        groups += ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").metadata().num_row_groups();
    }
    assert_eq!(visible(&store).await.len(), 10);
    assert!(groups > 15, "{groups} row groups: more than 200,000 bytes were held");
}

#[tokio::test]
async fn lanes_share_the_work_and_lose_nothing() {
    for partition_by in [vec![], vec!["country"]] {
        let store = Store::memory();
        let dataset = dataset(&store).lanes(3).partition_by(partition_by).expect("valid");
        let staged = load(&dataset, (0..50).map(|n| rows(n * 100..(n + 1) * 100)).collect()).await;
        assert_eq!(followed(&store).await, (0..5_000).collect::<Vec<_>>());
        let names: BTreeSet<_> = staged.files.iter().map(|f| &f.staged).collect();
        assert_eq!(names.len(), staged.files.len());
    }
}

#[tokio::test]
async fn closes_files_beyond_the_cap_on_open_ones() {
    let store = Store::memory();
    let capped = dataset(&store).partition_by(["country"]).expect("valid").open_files(3);
    let staged = load(&capped, (0..4).map(|n| rows(n * 10..(n + 1) * 10)).collect()).await;
    assert_eq!(staged.files.len(), 40, "ten partitions in turn, three open");
    assert_eq!(followed(&store).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn too_many_files_in_an_epoch_are_an_error_that_says_what_to_do() {
    let store = Store::memory();
    let exploding = dataset(&store).partition_by(["id"]).expect("valid").open_files(16);
    let mut writer = exploding.open(context(1, 1)).await.expect("opens");
    let mut written = Ok(());
    for n in 0..50 {
        written = writer.write(Batch::new(rows(n * 100..(n + 1) * 100))).await.map(drop);
        if written.is_err() {
            break;
        }
    }
    let error = written.expect_err("5,000 partitions");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.hint().is_some_and(|h| h.contains("partition by") && h.contains("open_files")), "{error}");
}

#[tokio::test]
async fn an_epoch_of_many_partitions_in_random_order_asks_to_be_cut_in_time() {
    let store = Store::memory();
    let scattered = dataset(&store).partition_by(["part"]).expect("valid").open_files(8);
    let (mut epoch, mut writer) = (1, scattered.open(context(1, 1)).await.expect("opens"));
    for n in 0..50i64 {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(n * 100..(n + 1) * 100));
        let parts: ArrayRef = Arc::new(Int64Array::from_iter_values((0..100).map(|row| (n * 100 + row) * 7 % 300)));
        let batch = RecordBatch::try_from_iter([("id", ids), ("part", parts)]).expect("fits");
        writer.write(Batch::new(batch)).await.expect("it is cut in time");
        if writer.staged_bytes() >= 64 << 20 {
            let staged = writer.finish().await.expect("finishes").expect("some").staged;
            let outcome = commit(&scattered, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await;
            assert_eq!(outcome.expect("commits"), CommitOutcome::Done);
            epoch += 1;
            writer = scattered.open(context(1, epoch)).await.expect("opens");
        }
    }
    let rest = writer.finish().await.expect("finishes").expect("some").staged;
    commit(&scattered, 1, epoch, Some(epoch - 1), &rest).await.expect("commits");
    assert!(epoch > 1);
    assert_eq!(followed(&store).await, (0..5_000).collect::<Vec<_>>());
}

/// Each row has a partition of its own.
#[tokio::test]
async fn ten_thousand_partition_values_keep_few_files_open_and_are_all_read_back() {
    const VALUES: i64 = 10_000;
    let (store, faults) = (Store::memory(), Faults::none());
    let scattered = dataset(&faults.store(&store)).partition_by(["id"]).expect("valid").open_files(16);
    let (mut epoch, mut writer) = (1, scattered.open(context(1, 1)).await.expect("opens"));
    for from in (0..VALUES).step_by(400) {
        writer.write(Batch::new(rows(from..from + 400))).await.expect("it is cut in time");
        if writer.staged_bytes() >= 64 << 20 {
            let staged = writer.finish().await.expect("finishes").expect("some").staged;
            commit(&scattered, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
            epoch += 1;
            writer = scattered.open(context(1, epoch)).await.expect("opens");
        }
    }
    let rest = writer.finish().await.expect("finishes").expect("some").staged;
    commit(&scattered, 1, epoch, Some(epoch - 1), &rest).await.expect("commits");
    assert!((3..10).contains(&epoch), "{epoch}");
    assert_eq!(followed(&store).await, (0..VALUES).collect::<Vec<_>>());
    let (mut open, mut most) = (0, 0);
    for point in faults.trace() {
        match point.operation {
            "upload" => open += 1,
            "upload.finish" => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!(open, 0);
    assert!((1..=16).contains(&most), "{most} files were open");

    // What cannot be cut is refused, and says what to do.
    let mut writer = scattered.open(context(2, 1)).await.expect("opens");
    let error = writer.write(Batch::new(rows(0..VALUES))).await.expect_err("one batch is of one epoch");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.hint().is_some_and(|hint| hint.contains("partition by") && hint.contains("pages")), "{error}");
}

#[tokio::test]
async fn hostile_partition_values_stay_inside_and_are_read_back_exactly() {
    let long = "ü".repeat(40);
    let values = [
        Some("NL"),
        None,
        Some(""),
        Some("../x"),
        Some("/etc"),
        Some("a=b"),
        Some(".."),
        Some("%2e%2e"),
        Some("\0"),
        Some("CON"),
        Some("_hidden"),
        Some("__HIVE_DEFAULT_PARTITION__"),
        Some("new\nline"),
        Some("日本"),
        Some(&long),
    ];
    let ids = Int64Array::from_iter_values(0..values.len() as i64);
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("country", Arc::new(StringArray::from_iter(values)) as ArrayRef),
    ])
    .expect("fits");
    let store = Store::memory();
    load(&dataset(&store).partition_by(["country"]).expect("valid"), vec![rows]).await;

    let snapshot = snapshot(&store).await;
    let mut seen = BTreeMap::new();
    for batch in snapshot.read_batches().await.expect("reads") {
        let countries = batch.column_by_name("country").expect("added").as_string::<i32>().clone();
        for (id, country) in super::ids(&[batch]).into_iter().zip(&countries) {
            seen.insert(id, country.map(str::to_owned));
        }
    }
    let expected: BTreeMap<_, _> = (0..).zip(values.map(|v| v.map(str::to_owned))).collect();
    assert_eq!(seen, expected);

    let mut folders = BTreeSet::new();
    for path in visible(&store).await {
        let below = path.as_str().strip_prefix(PREFIX).and_then(|p| p.strip_prefix('/')).expect("inside");
        let (folder, file) = below.split_once('/').expect("one folder");
        assert!(folder.starts_with("country=") && !file.contains('/'), "{below}");
        folders.insert(folder.to_owned());
        assert_eq!(read(&store, &path).await[0].num_columns(), 1, "the partition column is not in the file");
    }
    // Null and empty text share a folder, and nothing else does; the commit told them apart above.
    assert_eq!(folders.len(), values.len() - 1);
    assert!(folders.contains("country=__HIVE_DEFAULT_PARTITION__") && !folders.contains("country="));
}

#[tokio::test]
async fn values_of_every_type_survive() {
    let text: StringViewArray = [Some("ä\0"), None, Some("")].into_iter().collect();
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("sku", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("x"), None, Some("")])) as ArrayRef,
    )]);
    let list =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(i64::MIN), None]), None, Some(vec![])]);
    let decimal = Decimal128Array::from(vec![Some(i128::from(u64::MAX)), None, Some(-1)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-9_007_199_254_740_993)]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::INFINITY)]))),
        ("decimal", Arc::new(decimal.with_precision_and_scale(38, 9).expect("fits"))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896)]))),
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MAX), None, Some(-1)]).with_timezone("UTC"))),
        ("text", Arc::new(text)),
        ("nested", Arc::new(nested)),
        ("list", Arc::new(list)),
        ("nothing", arrow::array::new_null_array(&DataType::Null, 3)),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("fits");
    for compression in [Compression::None, Compression::Snappy, Compression::Lz4, Compression::Zstd(3)] {
        let store = Store::memory();
        let dataset = dataset(&store).compression(compression).expect("valid").column_without_dictionary("nested.sku");
        load(&dataset, vec![rows.clone()]).await;
        assert_eq!(snapshot(&store).await.read_batches().await.expect("reads"), std::slice::from_ref(&rows));
    }
    assert!(dataset(&Store::memory()).compression(Compression::Zstd(23)).is_err());
}

#[tokio::test]
async fn seconds_become_milliseconds_so_that_all_readers_know_them_for_times() {
    let seconds = |zone: Option<&str>| {
        TimestampSecondArray::from(vec![Some(-1), None, Some(253_402_300_799)]).with_timezone_opt(zone)
    };
    let millis = |zone: Option<&str>| {
        let values = vec![Some(-1_000), None, Some(253_402_300_799_000)];
        TimestampMillisecondArray::from(values).with_timezone_opt(zone)
    };
    let nested = |times: ArrayRef| {
        let member = Arc::new(Field::new("at", times.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(member, times)]));
        let element = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
        ListArray::new(element, OffsetBuffer::from_lengths([2, 0, 1]), structs, None)
    };
    let table = |a: ArrayRef, b: ArrayRef, c: ArrayRef| {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        RecordBatch::try_from_iter_with_nullable([("id", id, false), ("a", a, true), ("b", b, true), ("c", c, true)])
            .expect("fits")
    };
    let (utc, local) = (seconds(Some("UTC")), seconds(None));
    let rows = table(Arc::new(utc.clone()), Arc::new(local), Arc::new(nested(Arc::new(utc))));
    let (utc, local) = (millis(Some("UTC")), millis(None));
    let expected = table(Arc::new(utc.clone()), Arc::new(local), Arc::new(nested(Arc::new(utc))));

    let store = Store::memory();
    let staged = load(&dataset(&store), vec![rows.clone(), rows]).await;
    assert_eq!(staged.columns[1].kind.to_string(), "timestamp_ms[UTC]");
    let read = snapshot(&store).await.read_batches().await.expect("reads");
    let read = arrow::compute::concat_batches(&read[0].schema(), &read).expect("one schema");
    assert_eq!((read.slice(0, 3), read.slice(3, 3)), (expected.clone(), expected));
    for path in visible(&store).await {
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
        let file = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
        let columns = file.parquet_schema().columns();
        assert!(columns.iter().skip(1).all(|column| column.logical_type_ref().is_some()), "{columns:?}");
    }

    let beyond: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    let beyond = RecordBatch::try_from_iter([("a", beyond)]).expect("fits");
    let error = try_stage(&dataset(&Store::memory()), 1, 1, vec![beyond]).await.expect_err("too far");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn columns_may_be_added_between_epochs_and_never_change_their_type() {
    let store = Store::memory();
    let owner = dataset(&store);
    let narrow = rows([1]).project(&[0]).expect("projects");
    let first = stage(&owner, 1, 1, narrow.clone()).await;
    commit(&owner, 1, 1, None, &first).await.expect("commits");
    let wider = stage(&owner, 1, 2, rows([2])).await;
    commit(&owner, 1, 2, Some(1), &wider).await.expect("commits");
    let narrow_again = stage(&owner, 1, 3, narrow.clone()).await;
    commit(&owner, 1, 3, Some(2), &narrow_again).await.expect("commits");

    let texts =
        RecordBatch::try_from_iter([("country", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).expect("fits");
    for writer in [owner, dataset(&store)] {
        let error = try_stage(&writer, 1, 4, vec![texts.clone()]).await.expect_err("country was text");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("column=`country`"), "{error}");
        let error = try_stage(&writer, 1, 4, vec![narrow.clone(), rows([5])]).await.expect_err("within an epoch");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("column=`country`"), "{error}");
    }
    let snapshot = snapshot(&store).await;
    let columns = &snapshot.commits()[2].columns;
    assert_eq!(
        columns.iter().map(|c| (c.name.as_str(), c.nullable)).collect::<Vec<_>>(),
        [("id", false), ("country", true)]
    );
}

/// Stages rows for a shard of its own.
async fn stage_as(dataset: &ParquetDataset, pipeline: &str, number: u32, batch: RecordBatch) -> Result<StagedFiles> {
    let shard = ShardKey { pipeline: PipelineName::new(pipeline).expect("valid"), shard: number };
    let mut writer = dataset.open(EpochContext { shard, ..context(1, 1) }).await?;
    writer.write(Batch::new(batch)).await?;
    Ok(writer.finish().await?.expect("there are rows").staged)
}

#[tokio::test]
async fn a_column_has_one_type_in_all_shards_and_pipelines() {
    let texts = |ids: Vec<&str>| {
        let ids: ArrayRef = Arc::new(StringArray::from(ids));
        let countries: ArrayRef = Arc::new(StringArray::from(vec!["c1"]));
        RecordBatch::try_from_iter([("id", ids), ("country", countries)]).expect("fits")
    };
    let refused = |result: Result<StagedFiles>, column: &str| {
        let error = result.expect_err("another type");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(&format!("column=`{column}`")), "{error}");
    };
    // Within a process, before anything is committed.
    let store = Store::memory();
    let owner = dataset(&store);
    stage_as(&owner, "orders", 0, rows([1])).await.expect("stages");
    refused(stage_as(&owner, "orders", 1, texts(vec!["x"])).await, "id");

    // By what another process has committed.
    let staged = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    for (pipeline, number) in [("orders", 0), ("orders", 7), ("others", 0)] {
        refused(stage_as(&dataset(&store), pipeline, number, texts(vec!["x"])).await, "id");
        stage_as(&dataset(&store), pipeline, number, rows([2])).await.expect("the same type");
    }
    let split = dataset(&store).partition_by(["country"]).expect("valid");
    let error = stage_as(&split, "others", 0, rows([2])).await.expect_err("another layout");
    assert_eq!(error.kind(), ErrorKind::Config);

    // The columns that name folders have types too.
    let store = Store::memory();
    let split = || dataset(&store).partition_by(["id"]).expect("valid");
    let staged = stage(&split(), 1, 1, rows([1])).await;
    commit(&split(), 1, 1, None, &staged).await.expect("commits");
    refused(stage_as(&split(), "orders", 0, texts(vec!["1"])).await, "id");
    stage_as(&split(), "orders", 0, rows([2])).await.expect("the same type");
}

#[tokio::test]
async fn an_upload_that_fails_fails_the_epoch_and_leaves_nothing_to_see() {
    for at in 0.. {
        let store = Store::memory();
        let failing = Faults::of([Plan { at, mode: Mode::Fail }]).store(&store);
        let staged = try_stage(&dataset(&failing).lanes(2), 1, 1, (0..6).map(|n| rows([n])).collect()).await;
        assert!(visible(&store).await.is_empty());
        match staged {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            Ok(_) => {
                assert!(at >= 4, "staging took {at} operations");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_epoch_that_lost_rows_cannot_be_finished() {
    let store = Store::memory();
    let mut writer = dataset(&store).open(context(1, 1)).await.expect("opens");
    writer.write(Batch::new(rows(0..10))).await.expect("writes");
    let other = rows([1]).project(&[0]).expect("projects");
    writer.write(Batch::new(other)).await.expect_err("other columns");
    assert_eq!(writer.write(Batch::new(rows([11]))).await.expect_err("too late").kind(), ErrorKind::Bug);
    assert_eq!(writer.finish().await.expect_err("rows are missing").kind(), ErrorKind::Bug);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing_to_see() {
    let store = Store::memory();
    let mut writer = dataset(&store).open(context(1, 1)).await.expect("opens");
    writer.write(Batch::new(rows(0..100))).await.expect("writes");
    drop(writer);
    tokio::task::yield_now().await;
    assert!(store.list(&ObjectPath::root()).await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_file_that_has_more_rows_than_its_commit_says_is_damage() {
    let store = Store::memory();
    load(&dataset(&store), vec![rows(1..=3)]).await;
    let snapshot = snapshot(&store).await;
    let (file, by) = snapshot.files().next().expect("a file");
    assert_eq!(ids(&snapshot.read_file(file, by).await.expect("reads")), [1, 2, 3]);
    let fewer = DataFile { rows: 2, ..file.clone() };
    let error = snapshot.read_file(&fewer, by).await.expect_err("it has three");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&file.path), "{error}");
}
