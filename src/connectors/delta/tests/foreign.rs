//! Tables and files that other writers have made.

use super::*;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use parquet::data_type::{Int64Type as PlainInt64, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A table with these columns and files, as version 0.
async fn made(store: &Store, schema: &Schema, partition_by: &[&str], adds: Vec<actions::Add>) {
    let metadata = actions::Metadata {
        id: "made".into(),
        schema_string: schema::text(schema).expect("known"),
        partition_columns: partition_by.iter().map(|c| (*c).to_owned()).collect(),
        ..Default::default()
    };
    let mut lines: Vec<actions::Line> = vec![features::oldest().into(), metadata.into()];
    lines.extend(adds.into_iter().map(actions::Line::from));
    table(store).log.create(&env(), 0, lines).await.expect("creates");
}

async fn put(store: &Store, name: &str, bytes: Vec<u8>) -> actions::Add {
    let path = ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("valid");
    let size = bytes.len() as i64;
    store.put(&path, bytes.into()).await.expect("puts");
    actions::Add {
        path: name.into(),
        size,
        data_change: true,
        stats: Some("{\"numRecords\":2}".into()),
        ..Default::default()
    }
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[tokio::test]
async fn times_of_96_bits_beyond_2262_survive_that_their_file_is_written_again() {
    let message = parse_message_type("message spark { required int64 ID; required int96 until; }").expect("a schema");
    let mut writer =
        SerializedFileWriter::new(Vec::new(), Arc::new(message), Arc::new(WriterProperties::new())).expect("a file");
    let mut group = writer.next_row_group().expect("a group");
    let mut column = group.next_column().expect("reads").expect("is there");
    column.typed::<PlainInt64>().write_batch(&[1, 2], None, None).expect("writes");
    column.close().expect("closes");
    // 9999-12-31T00:00:00Z: the day 5373484 of the Julian calendar.
    let mut last = Int96::new();
    last.set_data(0, 0, 5_373_484);
    let mut column = group.next_column().expect("reads").expect("is there");
    column.typed::<Int96Type>().write_batch(&[last, last], None, None).expect("writes");
    column.close().expect("closes");
    group.close().expect("closes");
    let store = Store::memory();
    let add = put(&store, "spark.parquet", writer.into_inner().expect("closes")).await;
    // The columns of the table are called as those of the file, but for their case.
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("until", time(), true)]);
    made(&store, &schema, &[], vec![add]).await;

    let owner = table(&store).upsert(["id"]);
    let until = TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(vec![2]))), ("until", Arc::new(until))];
    let staged = stage(&owner, 1, 1, RecordBatch::try_from_iter(columns).expect("fits")).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let mut seen = Vec::new();
    for batch in owner.read_batches().await.expect("reads") {
        let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
        let times = batch.column_by_name("until").expect("there").as_primitive::<TimestampMicrosecondType>().clone();
        seen.extend(ids.values().iter().copied().zip(times.values().iter().copied()));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(1, 253_402_214_400_000_000), (2, 5)]);
}

#[tokio::test]
async fn a_file_that_a_checkpoint_tells_with_and_without_its_deleted_rows_is_there_and_the_table_refused() {
    let store = Store::memory();
    let add =
        actions::Add { path: "a.parquet".into(), size: 1, deletion_vector: Some("x".into()), ..Default::default() };
    let mut snapshot = log::Snapshot::empty(log::Keep::All, 0);
    let plain = actions::Add { deletion_vector: None, ..add.clone() };
    // In the order of Spark: a remove of the file as it was comes behind the add with its vector.
    snapshot.apply_row(add.into());
    snapshot.apply_row(plain.removed(true).into());
    assert!(snapshot.files.contains_key("a.parquet") && snapshot.removed.is_empty());
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let file = actions::Add { deletion_vector: Some("x".into()), ..plain };
    made(&store, &schema, &[], vec![file]).await;
    let protocol = actions::Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: Some(vec!["deletionVectors".into()]),
        writer_features: Some(vec!["deletionVectors".into()]),
    };
    table(&store).log.create(&env(), 1, vec![protocol.into()]).await.expect("creates");
    let error = table(&store).upsert(["id"]).open(context(1, 1)).await.expect_err("rows are hidden");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn null_partitions_stay_in_every_checkpoint() {
    let store = Store::memory();
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let countries: ArrayRef = Arc::new(StringArray::from(vec![None, Some("x")]));
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(vec![1, 2]))), ("country", countries)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).expect("fits");
    let staged = stage(&owner, 1, 1, batch).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let before = files(&store).await;
    for _ in 0..2 {
        owner.checkpoint(&env()).await.expect("writes");
        let first = ObjectPath::parse(&format!("{PREFIX}/_delta_log/{:020}.json", 0)).expect("valid");
        store.delete(&first).await.expect("deletes");
        let now = files(&store).await;
        assert_eq!(now.len(), 2);
        assert!(now.iter().zip(&before).all(|(a, b)| a.partition_values == b.partition_values), "{now:?}");
    }
}

#[tokio::test]
async fn an_empty_partition_value_is_a_null() {
    let store = Store::memory();
    let schema =
        Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("country", DataType::Utf8, true)]);
    let partition = [("country".to_owned(), Some(String::new()))].into();
    let add = actions::Add { path: "a.parquet".into(), size: 1, partition_values: partition, ..Default::default() };
    made(&store, &schema, &["country"], vec![add]).await;
    assert_eq!(files(&store).await[0].partition_values["country"], None);
}

#[tokio::test]
async fn a_file_in_a_place_that_is_not_understood_is_known_before_anything_is_staged() {
    let store = Store::memory();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let add = actions::Add { path: "s3://elsewhere/a.parquet".into(), size: 1, ..Default::default() };
    made(&store, &schema, &[], vec![add]).await;
    let error = table(&store).upsert(["id"]).open(context(1, 1)).await.expect_err("refused");
    assert!(error.to_string().contains("elsewhere"), "{error}");
    table(&store).open(context(1, 1)).await.expect("appends do not read it");
    let week = std::time::Duration::from_secs(7 * 24 * 3600);
    assert_eq!(table(&store).vacuum(&env(), week, false).await.expect_err("what is it?").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn row_tracking_is_refused_as_soon_as_it_is_listed() {
    let store = Store::memory();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    made(&store, &schema, &[], vec![]).await;
    let protocol = actions::Protocol {
        min_reader_version: 1,
        min_writer_version: 7,
        reader_features: None,
        writer_features: Some(vec!["rowTracking".into(), "domainMetadata".into()]),
    };
    table(&store).log.create(&env(), 1, vec![protocol.into()]).await.expect("creates");
    let error = table(&store).open(context(1, 1)).await.expect_err("refused");
    assert!(error.to_string().contains("rowTracking"), "{error}");
}

#[test]
fn a_protocol_that_is_raised_lists_what_readers_must_know_for_both() {
    for (reader, writer, mapping) in [(1, 5, false), (1, 6, false), (2, 5, true), (2, 6, true)] {
        let protocol =
            actions::Protocol { min_reader_version: reader, min_writer_version: writer, ..Default::default() };
        let raised = features::with_ntz(&protocol).expect("raised");
        let has =
            |features: &Option<Vec<String>>| features.as_ref().is_some_and(|f| f.iter().any(|f| f == "columnMapping"));
        assert_eq!(
            (has(&raised.reader_features), has(&raised.writer_features)),
            (mapping, mapping),
            "{reader} {writer}"
        );
    }
}

#[tokio::test]
async fn what_a_shard_inferred_more_narrowly_is_written_as_the_table_has_it() {
    let narrow = |id: i32| {
        let ids: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![id]));
        RecordBatch::try_from_iter([("id", ids), ("country", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)])
            .expect("fits")
    };
    for keyed in [false, true] {
        let store = Store::memory();
        let open = || {
            if keyed { table(&store).upsert(["id"]) } else { table(&store).partition_by(["country"]).expect("valid") }
        };
        let owner = open();
        // Both are staged before there is a table.
        let staged = stage(&owner, 1, 1, rows([1, 2])).await;
        let other = ShardKey { shard: 1, ..shard() };
        let context = EpochContext { shard: other.clone(), ..context(1, 1) };
        let (second, _) = try_stage(&open(), context, vec![narrow(3)]).await.expect("stages");
        commit(&owner, 1, 1, None, &staged).await.expect("commits");
        let request = CommitRequest { shard: other, ..request(1, 1, None, &second) };
        assert_eq!(open().commit(&env(), request).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(ids(&store).await, [1, 2, 3], "files hold the type of the table");
    }
}

#[tokio::test]
async fn what_a_commit_could_not_do_is_refused_before_anything_is_staged() {
    let store = Store::memory();
    let ids = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let nulls = || Arc::new(arrow::array::NullArray::new(1)) as ArrayRef;
    let batch = |more: Option<ArrayRef>| {
        RecordBatch::try_from_iter_with_nullable(
            [("id", ids(), true)].into_iter().chain(more.map(|column| ("at", column, true))),
        )
        .expect("fits")
    };
    let by_country = table(&store).partition_by(["country"]).expect("valid").upsert(["id"]);
    let error = try_stage(&by_country, context(1, 1), vec![batch(None)]).await.expect_err("no such column");
    assert_eq!(error.kind(), ErrorKind::Config);
    let newest = table(&store).disposition(Upsert::by(["id"]).newest("at"));
    let error = try_stage(&newest, context(1, 1), vec![batch(Some(nulls()))]).await.expect_err("it has no type");
    assert_eq!(error.kind(), ErrorKind::Config);
    // A key without a type is null in every row.
    let staged = stage(&newest, 1, 1, batch(Some(ids()))).await;
    commit(&newest, 1, 1, None, &staged).await.expect("commits");
    let all_null =
        RecordBatch::try_from_iter_with_nullable([("id", nulls(), true), ("at", ids(), true)]).expect("fits");
    let mut writer = newest.open(context(1, 2)).await.expect("opens");
    assert_eq!(writer.write(Batch::new(all_null)).await.expect("writes").len(), 1);
}

/// The table of ids 1 and 2, of which a file of another writer tells `stats`.
async fn with_stats(store: &Store, stats: &str) {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)]);
    let texts = StringArray::from(vec!["a name", "a name and more"]);
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(vec![1, 2]))), ("text", Arc::new(texts))];
    let batch = RecordBatch::try_from_iter(columns).expect("fits");
    let mut file = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a file");
    file.write(&batch).expect("writes");
    let mut add = put(store, "a.parquet", file.into_inner().expect("closes")).await;
    add.stats = Some(stats.to_owned());
    made(store, &schema, &[], vec![add]).await;
}

#[tokio::test]
async fn statistics_of_others_that_are_crossed_cut_off_or_of_other_types_hide_no_row() {
    let given: [(&str, &str); 6] = [
        ("id", r#"{"minValues":{"id":2},"maxValues":{"id":1}}"#),
        ("id", r#"{"minValues":{"id":"3"},"maxValues":{"id":9.5}}"#),
        ("id", r#"{"minValues":{"id":7},"maxValues":{"id":null}}"#),
        ("id", r#"{"minValues":NaN}"#),
        ("text", r#"{"minValues":{"text":"a name"},"maxValues":{"text":"a name"}}"#),
        ("text", r#"{"minValues":{"text":"b"},"maxValues":{"text":"a"}}"#),
    ];
    for (key, stats) in given {
        let store = Store::memory();
        with_stats(&store, stats).await;
        let owner = table(&store).upsert([key]);
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a name and more"]));
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(vec![2]))), ("text", text)];
        let staged = stage(&owner, 1, 1, RecordBatch::try_from_iter(columns).expect("fits")).await;
        commit(&owner, 1, 1, None, &staged).await.expect("commits");
        assert_eq!(ids(&store).await, [1, 2], "{stats}");
    }
}

/// A file of 4,000,000 rows in one page, all null: 10,000 rows in a byte.
fn of_nulls() -> Vec<u8> {
    let message = parse_message_type("message nulls { optional boolean ok; }").expect("a schema");
    let properties = WriterProperties::builder()
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(usize::MAX)
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(message), Arc::new(properties)).expect("a file");
    let mut group = writer.next_row_group().expect("a group");
    let mut column = group.next_column().expect("reads").expect("is there");
    let levels = vec![0; 4_000_000];
    column.typed::<parquet::data_type::BoolType>().write_batch(&[], Some(&levels), None).expect("writes");
    column.close().expect("closes");
    group.close().expect("closes");
    writer.into_inner().expect("closes")
}

#[tokio::test]
async fn of_a_file_more_rows_than_its_bytes_are_worth_are_believed_if_the_log_says_them_too() {
    let store = Store::memory();
    let wanted = Arc::new(Schema::new(vec![Field::new("ok", DataType::Boolean, true)]));
    let said = put(&store, "nulls.parquet", of_nulls()).await;
    let said = actions::Add { stats: Some("{\"numRecords\":4000000}".into()), ..said };
    let log = table(&store).log;
    assert!(file::rows(&log, &said, &wanted).await.is_ok());
    let unsaid = actions::Add { stats: None, ..said };
    let error = file::rows(&log, &unsaid, &wanted).await.map(drop).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("nulls.parquet") && error.to_string().contains("4000000 rows"), "{error}");
}

#[tokio::test]
async fn a_log_without_a_protocol_or_without_a_schema_is_damage() {
    let metadata = actions::Metadata {
        id: "made".into(),
        schema_string: schema::text(&rows([1]).schema()).expect("known"),
        ..Default::default()
    };
    for line in [actions::Line::from(features::oldest()), metadata.into()] {
        let store = Store::memory();
        table(&store).log.create(&env(), 0, vec![line]).await.expect("creates");
        let error = table(&store).mark(&shard()).await.expect_err("half a table");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
