//! A table with every type and every operation. `scripts/delta-readers` has it written to a folder, and compares what other readers
//! see with what it knows itself.

use super::*;
use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    ListArray, MapBuilder, StringBuilder, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type};

/// Three rows: the smallest values, the largest, and nulls.
fn every_type(first: i64, with_more: bool) -> RecordBatch {
    let text = StringArray::from(vec![Some(""), Some("ü\u{1F600}\n\"\\,"), None]);
    let member: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]));
    let nested = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int64, true)), member),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::new(text.clone()) as ArrayRef),
    ]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![]),
        Some(vec![Some(i32::MIN), None, Some(i32::MAX)]),
        None,
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("a");
    map.values().append_value("1");
    map.keys().append_value("b");
    map.values().append_null();
    map.append(true).expect("fits");
    map.append(true).expect("fits");
    map.append(false).expect("fits");
    // 9999-12-31T23:59:59.999999Z and 0001-01-01T00:00:00Z
    let (last, zero) = (253_402_300_799_999_999, -62_135_596_800_000_000);
    let decimal = Decimal128Array::from(vec![Some(-99_999_999_999_999_999_999_999_999_999_999_999_999), Some(1), None]);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(first..first + 3))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(false), Some(true), None]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(0), Some(u8::MAX), None]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(0), Some(u32::MAX), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(f32::MIN), Some(-0.0), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(f64::MIN_POSITIVE), Some(f64::MAX), None]))),
        ("decimal", Arc::new(decimal.with_precision_and_scale(38, 10).expect("fits"))),
        ("text", Arc::new(text)),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b""[..]), Some(b"\x00\xff"), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(zero), Some(last), None]).with_timezone("UTC"))),
        ("zoned", Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(-1), None]).with_timezone("+02:00"))),
        ("local", Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), Some(-1_000), None]))),
        ("nested", Arc::new(nested)),
        ("list", Arc::new(list)),
        ("map", Arc::new(map.finish())),
        ("part", Arc::new(StringArray::from(vec![Some("a b/c=d%"), Some("ü"), None]))),
    ];
    if with_more {
        columns.push(("more", Arc::new(Int32Array::from(vec![1, 2, 3]))));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("fits")
}

#[tokio::test]
async fn every_type_survives_every_operation() {
    let folder = std::env::var_os("LANDFALL_DELTA_TABLE").map(std::path::PathBuf::from);
    let store = folder.map_or_else(Store::memory, |folder| Store::local(folder).expect("a folder"));
    let open = || DeltaTable::in_store(&store, PREFIX).expect("valid").lanes(1).partition_by(["part"]).expect("valid");
    let steps: [(DeltaTable, RecordBatch); 4] = [
        (open(), every_type(0, false)),
        // Columns are added.
        (open(), every_type(10, true)),
        // One row of three in each partition is written anew, and the rest of its file again.
        (open().upsert(["id"]), every_type(10, true).slice(0, 1)),
        (open().disposition(InsertOnly::by(["id"])), every_type(1, true)),
    ];
    let mut previous = None;
    for (epoch, (table, batch)) in (1..).zip(steps) {
        let (staged, rejects) = try_stage(&table, context(1, epoch), vec![batch]).await.expect("stages");
        assert_eq!(rejects.len(), 0);
        let outcome = commit(&table, 1, epoch, previous, &staged).await.expect("commits");
        assert_eq!(outcome, CommitOutcome::Done);
        previous = Some(epoch);
        if epoch == 2 {
            open().checkpoint(&env_at(Timestamp::from_micros(0))).await.expect("writes");
        }
    }
    let compacted = open().compact(&env()).await.expect("compacts");
    assert!(compacted.files_before > compacted.files_after, "{compacted:?}");
    open().checkpoint(&env()).await.expect("writes");
    assert_eq!(ids(&store).await, [0, 1, 2, 3, 10, 11, 12]);
}

#[tokio::test]
async fn a_time_that_is_too_fine_goes_to_the_quarantine() {
    let store = Store::memory();
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
    let batch = RecordBatch::try_from_iter([("at", times)]).expect("fits");
    let (staged, rejects) = try_stage(&table(&store), context(1, 1), vec![batch]).await.expect("stages");
    assert_eq!((staged.files[0].rows, rejects.len(), rejects[0].code), (1, 1, "type"));
}

#[tokio::test]
async fn a_time_that_is_too_far_away_goes_to_the_quarantine_and_so_does_a_date_that_no_reader_knows_as_a_partition() {
    use arrow::array::{Date32Array, TimestampMillisecondArray, TimestampSecondArray};
    let far: [ArrayRef; 2] = [
        Arc::new(TimestampMillisecondArray::from(vec![1, i64::MAX / 1_000 + 1, i64::MIN / 1_000 - 1])),
        Arc::new(TimestampSecondArray::from(vec![1, i64::MAX / 1_000_000 + 1, i64::MIN / 1_000_000 - 1])),
    ];
    for times in far {
        let batch = RecordBatch::try_from_iter([("at", times)]).expect("fits");
        let (staged, rejects) = try_stage(&table(&Store::memory()), context(1, 1), vec![batch]).await.expect("stages");
        assert_eq!((staged.files[0].rows, rejects.len(), rejects[0].code), (1, 2, "type"));
    }
    // 9999-12-31, the day after, and the day before the year 1.
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(2_932_896), Some(2_932_897), Some(-719_163), None]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("day", days, true)]).expect("fits");
    for keyed in [false, true] {
        let table = table(&Store::memory()).partition_by(["day"]).expect("valid");
        let table = if keyed { table.upsert(["id"]) } else { table };
        let (staged, rejects) = try_stage(&table, context(1, 1), vec![batch.clone()]).await.expect("stages");
        assert_eq!(staged.files.iter().map(|file| file.rows).sum::<u64>(), 2);
        assert_eq!((rejects.len(), rejects[0].code), (2, "partition"));
    }
}

#[tokio::test]
async fn times_of_nanoseconds_within_lists_structs_and_maps_are_kept_if_they_are_exact() {
    let store = Store::memory();
    let times = |values: Vec<Option<i64>>| Arc::new(TimestampNanosecondArray::from(values)) as ArrayRef;
    let unit = DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None);
    let field = Arc::new(Field::new("item", unit.clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 1, 0]);
    let values = times(vec![Some(1_000), None, Some(1_001)]);
    let list = Arc::new(ListArray::try_new(field, offsets, values, None).expect("fits")) as ArrayRef;
    let member = times(vec![Some(2_000), Some(3_000), Some(4_001)]);
    let group = Arc::new(StructArray::from(vec![(Arc::new(Field::new("at", unit.clone(), true)), member)])) as ArrayRef;
    let dictionary = arrow::compute::cast(
        &times(vec![Some(5_000), Some(6_000), Some(7_000)]),
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(unit)),
    )
    .expect("casts");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let columns = [("id", ids), ("list", list), ("group", group), ("dictionary", dictionary)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).expect("fits");
    let (staged, rejects) = try_stage(&table(&store), context(1, 1), vec![batch]).await.expect("stages");
    assert_eq!(rejects.iter().map(|reject| reject.code).collect::<Vec<_>>(), ["type", "type"]);
    commit(&table(&store), 1, 1, None, &staged).await.expect("commits");
    let [row] = &table(&store).read_batches().await.expect("reads")[..] else { panic!("one batch") };
    let micros = |column: &ArrayRef| {
        column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().iter().collect::<Vec<_>>()
    };
    assert_eq!(micros(row.column_by_name("list").expect("there").as_list::<i32>().values()), [Some(1), None]);
    assert_eq!(micros(row.column_by_name("group").expect("there").as_struct().column(0)), [Some(2)]);
    assert_eq!(micros(row.column_by_name("dictionary").expect("there")), [Some(5)]);
}

#[tokio::test]
async fn what_has_no_type_yet_is_left_out_within_lists_and_structs_too_and_has_that_of_the_table() {
    let store = Store::memory();
    let nothing = |n: usize| Arc::new(arrow::array::NullArray::new(n)) as ArrayRef;
    let empty_list = || {
        let field = Arc::new(Field::new("item", DataType::Null, true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([0, 2]);
        Arc::new(ListArray::try_new(field, offsets, nothing(2), None).expect("fits")) as ArrayRef
    };
    let group = |known: ArrayRef, unknown: ArrayRef| {
        let field = |name: &str, column: &ArrayRef| Arc::new(Field::new(name, column.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field("a", &known), known), (field("b", &unknown), unknown)])) as ArrayRef
    };
    let ids = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let batch = |list: ArrayRef, group: ArrayRef| {
        RecordBatch::try_from_iter_with_nullable([("id", ids(), true), ("list", list, true), ("group", group, true)])
            .expect("fits")
    };
    let owner = table(&store);
    let typed = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(7)]), None])) as ArrayRef;
    let epochs = [
        batch(empty_list(), group(ids(), nothing(2))),
        batch(typed, group(nothing(2), ids())),
        batch(empty_list(), group(nothing(2), nothing(2))),
    ];
    for (epoch, batch) in (1..).zip(epochs) {
        let staged = stage(&owner, 1, epoch, batch).await;
        commit(&owner, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
    }
    let all = owner.read_batches().await.expect("reads");
    let lengths: Vec<Vec<Option<usize>>> = all
        .iter()
        .map(|rows| {
            rows.column_by_name("list").expect("there").as_list::<i32>().iter().map(|l| l.map(|l| l.len())).collect()
        })
        .collect();
    assert_eq!(
        lengths,
        [vec![None, None], vec![Some(1), None], vec![Some(0), Some(2)]],
        "empty lists are so once there is a type"
    );
    assert!(all.iter().all(|rows| rows.column_by_name("group").expect("there").as_struct().num_columns() == 2));
}

#[tokio::test]
async fn names_that_differ_by_case_are_refused_within_structs_too() {
    let group = |names: [&str; 2]| {
        let members = names.map(|name| {
            (Arc::new(Field::new(name, DataType::Int64, true)), Arc::new(Int64Array::from(vec![1])) as ArrayRef)
        });
        let group: ArrayRef = Arc::new(StructArray::from(members.to_vec()));
        RecordBatch::try_from_iter([("group", group)]).expect("fits")
    };
    let store = Store::memory();
    for names in [["ID", "id"], ["id", "a b"]] {
        assert_eq!(
            try_stage(&table(&store), context(1, 1), vec![group(names)]).await.expect_err("refused").kind(),
            ErrorKind::Data
        );
    }
    let staged = stage(&table(&store), 1, 1, group(["id", "n"])).await;
    commit(&table(&store), 1, 1, None, &staged).await.expect("commits");
    let error = try_stage(&table(&store), context(1, 2), vec![group(["Id", "n"])]).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_type_that_changed_is_refused_before_anything_is_prepared() {
    let store = Store::memory();
    let owner = table(&store);
    let staged = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let batch = RecordBatch::try_from_iter([("id", texts)]).expect("fits");
    let error = try_stage(&owner, context(1, 2), vec![batch]).await.expect_err("another type");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("column=`id`"), "{error}");
}
