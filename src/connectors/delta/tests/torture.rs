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
