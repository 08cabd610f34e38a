//! Against the values that the Iceberg specification gives.

use crate::columnar::Batch;
use crate::columnar::files::transform::{Transform, derive, refuse_unnameable};
use crate::error::ErrorKind;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use std::sync::Arc;

fn batch(values: impl Array + 'static) -> Batch {
    Batch::new(RecordBatch::try_from_iter([("x", Arc::new(values) as ArrayRef)]).expect("fits"))
}

/// The partition's values as text.
fn made(transform: &Transform, values: impl Array + 'static) -> Vec<Option<String>> {
    let mut rejects = Vec::new();
    let batch = derive(batch(values), std::slice::from_ref(transform), &mut rejects).expect("transforms");
    assert!(rejects.is_empty(), "{rejects:?}");
    let column = batch.rows().column_by_name(&transform.name()).expect("is there");
    let text = cast(column, &DataType::Utf8).expect("has text");
    text.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
}

fn one(transform: &Transform, values: impl Array + 'static) -> String {
    made(transform, values).remove(0).expect("not null")
}

#[test]
fn buckets_are_those_of_the_specification() {
    // Appendix B: the hash of each value.
    const AT: i64 = 1_510_871_468_000_000;
    let uuid = [0xf7, 0x9c, 0x3e, 0x09, 0x67, 0x7c, 0x4b, 0xbd, 0xa4, 0x79, 0x3f, 0x34, 0x9c, 0xb7, 0x85, 0xe7];
    let uuid = FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).expect("one size");
    let cases: Vec<(ArrayRef, i32)> = vec![
        (Arc::new(Int8Array::from(vec![34])), 2_017_239_379),
        (Arc::new(Int32Array::from(vec![34])), 2_017_239_379),
        (Arc::new(Int64Array::from(vec![34])), 2_017_239_379),
        (Arc::new(Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).expect("fits")), -500_754_589),
        (Arc::new(Date32Array::from(vec![17486])), -653_330_422),
        (Arc::new(Time64MicrosecondArray::from(vec![81_068_000_000])), -662_762_989),
        (Arc::new(TimestampMicrosecondArray::from(vec![AT])), -2_047_944_441),
        (Arc::new(TimestampMicrosecondArray::from(vec![AT]).with_timezone("UTC")), -2_047_944_441),
        (Arc::new(TimestampSecondArray::from(vec![AT / 1_000_000])), -2_047_944_441),
        (Arc::new(TimestampMillisecondArray::from(vec![AT / 1_000])), -2_047_944_441),
        (Arc::new(TimestampNanosecondArray::from(vec![AT * 1_000 + 999])), -2_047_944_441),
        (Arc::new(StringArray::from(vec!["iceberg"])), 1_210_000_089),
        (Arc::new(uuid), 1_488_055_340),
        (Arc::new(BinaryArray::from_vec(vec![&[0, 1, 2, 3]])), -188_683_207),
    ];
    for (values, hash) in cases {
        let kind = values.data_type().clone();
        for count in [1, 16, 100, i32::MAX] {
            let bucket = one(&Transform::bucket(count as u32, "x"), Arc::clone(&values));
            assert_eq!(bucket, ((hash & i32::MAX) % count).to_string(), "{kind} in {count}");
        }
    }
    let decimals = Decimal128Array::from(vec![0, -1, 127, 128, -128, -129, 256]).with_precision_and_scale(9, 2);
    assert_eq!(made(&Transform::bucket(1 << 30, "x"), decimals.expect("fits")).len(), 7, "of any length");
    let text = DictionaryArray::<Int32Type>::from_iter([Some("iceberg"), None]);
    assert_eq!(made(&Transform::bucket(16, "x"), text), [Some("9".to_owned()), None]);
}

#[test]
fn periods_are_in_utc_and_rounded_down_also_before_1970() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
    let times = ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2024-02-29T13:05:00Z", "0001-01-01T00:00:00Z"];
    let micros: Vec<_> = times.iter().map(|t| Some(at(t))).chain([None]).collect();
    let zoned = || TimestampMicrosecondArray::from(micros.clone()).with_timezone("+09:00");
    let texts = |list: [&str; 4]| list.iter().map(|t| Some((*t).to_owned())).chain([None]).collect::<Vec<_>>();
    assert_eq!(made(&Transform::year("x"), zoned()), texts(["1969", "1970", "2024", "1"]));
    assert_eq!(made(&Transform::month("x"), zoned()), texts(["1969-12", "1970-01", "2024-02", "0001-01"]));
    assert_eq!(made(&Transform::day("x"), zoned()), texts(["1969-12-31", "1970-01-01", "2024-02-29", "0001-01-01"]));
    let hours = ["1969-12-31-23", "1970-01-01-00", "2024-02-29-13", "0001-01-01-00"];
    assert_eq!(made(&Transform::hour("x"), zoned()), texts(hours));
    assert_eq!(one(&Transform::month("x"), Date32Array::from(vec![-1])), "1969-12");
    assert_eq!(one(&Transform::day("x"), TimestampNanosecondArray::from(vec![-1])), "1969-12-31");
    assert_eq!(one(&Transform::hour("x"), TimestampSecondArray::from(vec![3600])), "1970-01-01-01");
}

#[test]
fn a_time_out_of_range_is_a_row_that_is_refused() {
    let times = TimestampSecondArray::from(vec![Some(0), Some(i64::MAX), None, Some(i64::MIN), Some(-62_135_596_801)]);
    for transform in [Transform::year("x"), Transform::month("x"), Transform::day("x"), Transform::hour("x")] {
        let mut rejects = Vec::new();
        let batch = derive(batch(times.clone()), &[transform], &mut rejects).expect("transforms");
        assert_eq!((batch.num_rows(), rejects.len()), (2, 3));
        assert!(rejects.iter().all(|r| r.code == "partition" && r.reason.contains("years")), "{rejects:?}");
    }
}

#[test]
fn truncates_as_the_specification_says() {
    let numbers = |values: Vec<i64>| made(&Transform::truncate(10, "x"), Int64Array::from(values));
    let texts = |list: &[&str]| list.iter().map(|t| Some((*t).to_owned())).collect::<Vec<_>>();
    assert_eq!(numbers(vec![1, 10, 37, -1, -10, -11]), texts(&["0", "10", "30", "-10", "-10", "-20"]));
    assert_eq!(made(&Transform::truncate(10, "x"), Int8Array::from(vec![-1, 127])), texts(&["-10", "120"]));
    assert_eq!(
        one(&Transform::truncate(7, "x"), UInt64Array::from(vec![u64::MAX])),
        (u64::MAX - u64::MAX % 7).to_string()
    );
    // Characters, not bytes.
    let zips = StringArray::from(vec![Some("iceberg"), Some("ice"), Some("äöüß"), Some(""), None]);
    let cut = [Some("ice"), Some("ice"), Some("äöü"), Some(""), None].map(|t| t.map(str::to_owned));
    assert_eq!(made(&Transform::truncate(3, "x"), zips), cut);
}

#[test]
fn what_cannot_be_transformed_is_refused_with_its_type() {
    let cases: Vec<(Transform, ArrayRef)> = vec![
        (Transform::day("x"), Arc::new(StringArray::from(vec!["2024-01-01"]))),
        (Transform::hour("x"), Arc::new(Date32Array::from(vec![1]))),
        (Transform::bucket(4, "x"), Arc::new(Float64Array::from(vec![1.0]))),
        (Transform::bucket(4, "x"), Arc::new(UInt64Array::from(vec![1]))),
        (Transform::bucket(4, "x"), Arc::new(BooleanArray::from(vec![true]))),
        (Transform::truncate(4, "x"), Arc::new(Date32Array::from(vec![1]))),
        (Transform::day("y"), Arc::new(Date32Array::from(vec![1]))),
    ];
    for (transform, values) in cases {
        let error = derive(batch(values), std::slice::from_ref(&transform), &mut Vec::new()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config, "{transform:?}");
        assert!(error.to_string().contains(transform.column()), "{error}");
    }
    let taken = RecordBatch::try_from_iter([
        ("x", Arc::new(Date32Array::from(vec![1])) as ArrayRef),
        ("x_day", Arc::new(Date32Array::from(vec![2])) as ArrayRef),
    ]);
    let error = derive(Batch::new(taken.expect("fits")), &[Transform::day("x")], &mut Vec::new()).expect_err("taken");
    assert!(error.to_string().contains("x_day"), "{error}");
    for wrong in [Transform::bucket(0, "x"), Transform::truncate(0, "x"), Transform::bucket(u32::MAX, "x")] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[test]
fn small_numbers_are_cut_below_the_smallest_of_their_type() {
    let cases: [(ArrayRef, i32); 2] = [
        (Arc::new(Int8Array::from(vec![-128])), -130),
        (Arc::new(arrow::array::Int16Array::from(vec![i16::MIN])), -32_770),
    ];
    for (values, expected) in cases {
        let made = derive(
            Batch::new(RecordBatch::try_from_iter([("x", values)]).expect("fits")),
            &[Transform::truncate(10, "x")],
            &mut Vec::new(),
        );
        let made = made.expect("derives");
        assert_eq!(made.rows().column(1).as_primitive::<Int32Type>().values(), &[expected]);
    }
}

#[test]
fn a_null_among_the_values_of_a_dictionary_is_in_the_partition_of_null() {
    let days = Date32Array::from(vec![Some(1), None]);
    let keys = Int32Array::from(vec![0, 1]);
    let values: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(days)));
    let rows = RecordBatch::try_from_iter_with_nullable([("x", values, true)]).expect("fits");
    let mut rejects = Vec::new();
    let made = derive(Batch::new(rows), &[Transform::day("x")], &mut rejects).expect("derives");
    assert_eq!((made.num_rows(), rejects.len(), made.rows().column(1).null_count()), (2, 0, 1));
}

#[test]
fn a_row_whose_value_is_too_long_for_a_folder_is_refused_and_the_others_stay() {
    let longest = "x".repeat(253);
    let values = [longest.clone(), format!("{longest}x"), "ä".repeat(43), "ok".to_owned()];
    let mut rejects = Vec::new();
    let kept = refuse_unnameable(batch(StringArray::from_iter_values(values)), &["x".to_owned()], &mut rejects)
        .expect("filters");
    assert_eq!((kept.num_rows(), rejects.len()), (2, 2));
}
