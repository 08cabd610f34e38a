use super::*;
use crate::columnar::Columns;
use crate::columnar::Decode;
use crate::columnar::decode::OneColumn;
use crate::error::ErrorKind;
use crate::model::{Page, PartitionId, Reject, Timestamp};
use arrow::array::AsArray;

/// A batch of these records, one column of `kind` called `v` and the number of the record as `n`.
fn batch(kind: &str, values: &[&str]) -> Batch {
    let records: Vec<String> = values.iter().enumerate().map(|(n, v)| format!("{{\"n\":{n},\"v\":{v}}}")).collect();
    let page = Page::new(
        PartitionId::from("p"),
        format!("[{}]", records.join(",")),
        records.len() as u64,
        Timestamp::from_micros(0),
    );
    let columns = Columns::parse([("n", "int64"), ("v", kind)]).expect("columns");
    let mut out = Output::new();
    Decode::pages().schema(columns).apply(page, &mut out).expect("decodes");
    let (mut batches, rejects, _) = out.into_parts();
    assert!(rejects.is_empty(), "{rejects:?}");
    batches.pop().expect("a batch")
}

fn run(mut rules: Validate, batch: Batch) -> Result<(Vec<i64>, Vec<Reject>)> {
    let before = batch.num_rows();
    let mut out = Output::new();
    rules.apply(batch, &mut out)?;
    let (batches, rejects, counts) = out.into_parts();
    let number = |b: &Batch| b.rows().column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    let passed: Vec<i64> = batches.iter().flat_map(number).collect();
    assert_eq!((passed.len() + rejects.len(), counts), (before, [0; 3]));
    Ok((passed, rejects))
}

/// The numbers of the records that pass.
fn passing(rules: Validate, kind: &str, values: &[&str]) -> Vec<i64> {
    run(rules, batch(kind, values)).expect("fits").0
}

#[test]
fn required_takes_no_null_however_deep() {
    assert_eq!(passing(Validate::new().required("v"), "int64", &["1", "null", "0"]), [0, 2]);
    let values = [r#"{"id":"a"}"#, "null", "{}", r#"{"id":null}"#, r#"{"id":"b"}"#];
    assert_eq!(passing(Validate::new().required("v.id"), "struct<id: utf8>", &values), [0, 4]);
    assert_eq!(passing(Validate::new().required("v"), "struct<id: utf8>", &values), [0, 2, 3, 4]);
}

#[test]
fn ranges_are_exact_for_every_type() {
    let v = Validate::new;
    let ints = ["-1", "0", "9", "10", "null", "9223372036854775807"];
    assert_eq!(passing(v().range("v", 0..10), "int64", &ints), [1, 2, 4]);
    assert_eq!(passing(v().range("v", 0..=10), "int64", &ints), [1, 2, 3, 4]);
    assert_eq!(passing(v().range("v", 8.5..), "int64", &ints), [2, 3, 4, 5]);
    assert_eq!(passing(v().range("v", ..-0.5), "int64", &ints), [0, 4]);
    assert_eq!(passing(v().range("v", f64::NEG_INFINITY..=i64::MAX as f64), "int64", &ints), [0, 1, 2, 3, 4, 5]);
    assert_eq!(passing(v().range("v", i64::MAX..), "int64", &ints), [4, 5]);
    assert_eq!(passing(v().range("v", u64::MAX..), "uint64", &["18446744073709551615", "18446744073709551614"]), [0]);

    assert_eq!(passing(v().range("v", "2.5e-1"..), "int64", &ints), [2, 3, 4, 5]);
    assert_eq!(passing(v().range("v", "9.5e0"..), "int64", &ints), [3, 4, 5]);
    assert_eq!(passing(v().range("v", .."-5e-1"), "int64", &ints), [0, 4]);
    assert_eq!(passing(v().range("v", "-1e-99".."1e1"), "int64", &ints), [1, 2, 4]);
    assert_eq!(passing(v().range("v", "0.00e99"..="12e-1"), "int64", &ints), [1, 4]);
    assert_eq!(passing(v().range("v", "-1e99"..="1e99"), "int64", &ints), [0, 1, 2, 3, 4, 5]);

    let money = ["0.00", "0.09", "0.10", "0.11", "-0.10", "null"];
    assert_eq!(passing(v().range("v", 0.1..), "decimal(18,2)", &money), [2, 3, 5]);
    assert_eq!(passing(v().range("v", "0.10"..="0.105"), "decimal(18,2)", &money), [2, 5]);
    assert_eq!(passing(v().range("v", -0.105..0.1), "decimal(18,2)", &money), [0, 1, 4, 5]);
    assert_eq!(passing(v().range("v", 1e300..), "decimal(18,2)", &money), [5]);
    assert_eq!(passing(v().range("v", -1e300..), "decimal(18,2)", &money), [0, 1, 2, 3, 4, 5]);
    assert_eq!(passing(v().range("v", 0.0..), "float64", &["-0.5", "-0", "1e300"]), [1, 2]);

    let times = [r#""1999-12-31T23:59:59.999999Z""#, r#""2000-01-01T01:00:00+01:00""#];
    assert_eq!(passing(v().range("v", "2000-01-01T00:00:00Z"..), "timestamp", &times), [1]);
    assert_eq!(passing(v().range("v", .."2000-01-01"), "date", &[r#""1999-12-31""#, r#""2000-01-01""#]), [0]);
}

#[test]
fn patterns_lists_and_parsers_look_at_strings() {
    let v = Validate::new;
    let mails = [r#""a@b.c""#, r#""a b""#, "null", r#""""#];
    assert_eq!(passing(v().pattern("v", "^[^@ ]+@[^@ ]+$"), "utf8", &mails), [0, 2]);
    assert_eq!(passing(v().one_of("v", ["open", "paid"]), "utf8", &[r#""open""#, r#""Open""#, r#""paid""#]), [0, 2]);
    assert_eq!(passing(v().one_of("v", [1, 3]), "uint64", &["1", "2", "3"]), [0, 2]);
    let texts = [r#""12""#, r#""12.345""#, r#""x""#, r#""""#, r#"" 1""#, r#""null""#, r#""1,\"x\":2""#, "null"];
    let decimal = ColumnType::Decimal { precision: 18, scale: 2 };
    assert_eq!(passing(v().parses("v", decimal), "utf8", &texts), [0, 7]);
    assert_eq!(passing(v().parses("v", ColumnType::Date), "utf8", &[r#""2024-05-17""#, r#""2024-5-17""#]), [0]);
}

#[test]
fn parsing_goes_on_however_many_values_are_missing() {
    let wide: Vec<String> = (0..200).map(|n| format!("f{n}: bool")).collect();
    let mut reader = OneColumn::new(&format!("struct<{}>", wide.join(", ")).parse().expect("a type"));
    assert!((0..25_000).all(|_| reader.reads("{}")));
}

#[test]
fn a_record_is_refused_once_by_the_first_rule_that_it_breaks() {
    let rules = Validate::new()
        .range("v", 0..)
        .custom("even", |batch| {
            let column = batch.column("v")?;
            let numbers = column.as_primitive::<arrow::datatypes::Int64Type>();
            Ok(numbers.iter().map(|n| n.map(|n| n % 2 == 0)).collect())
        })
        .required("v");
    let (passed, rejects) = run(rules, batch("int64", &["2", "-3", "3", "null"])).expect("fits");
    assert_eq!(passed, [0]);
    let said: Vec<_> = rejects.iter().map(|r| (r.code, r.reason.as_str(), r.raw.as_ref())).collect();
    assert_eq!(
        said,
        [
            ("range", "v: in the range 0..", &br#"{"n":1,"v":-3}"#[..]),
            ("even", "even: not kept", &br#"{"n":2,"v":3}"#[..]),
            ("even", "even: not kept", &br#"{"n":3,"v":null}"#[..]),
        ]
    );
}

#[test]
fn a_rule_that_cannot_be_checked_is_an_error() {
    let v = Validate::new;
    assert_eq!(v().pattern("v", "(").config().expect_err("no pattern").kind(), ErrorKind::Config);
    let short = |_: &Batch| Ok(BooleanArray::from(vec![true]));
    for (rules, kind, why) in [
        (v().required("w"), "int64", ErrorKind::Config),
        (v().required("v.x"), "int64", ErrorKind::Config),
        (v().pattern("v", "("), "utf8", ErrorKind::Config),
        (v().pattern("v", "a"), "int64", ErrorKind::Config),
        (v().range("v", 0..), "utf8", ErrorKind::Config),
        (v().range("v", 0..), "timestamp", ErrorKind::Config),
        (v().range("v", "soon"..), "timestamp", ErrorKind::Config),
        (v().range("v", "many"..), "int64", ErrorKind::Config),
        (v().range("v", f64::NAN..), "int64", ErrorKind::Config),
        (v().range("v", f64::NAN..), "float64", ErrorKind::Config),
        (v().range("v", "NaN"..), "float64", ErrorKind::Config),
        (v().one_of("v", [1]), "utf8", ErrorKind::Config),
        (v().one_of("v", ["a"]), "int64", ErrorKind::Config),
        (v().one_of("v", [1]), "float64", ErrorKind::Config),
        (v().parses("v", ColumnType::Date), "date", ErrorKind::Config),
        (v().custom("short", short), "int64", ErrorKind::Bug),
    ] {
        let text = format!("{rules:?} on {kind}");
        let rows = batch(kind, &["null", "null"]);
        assert_eq!(run(rules, rows).expect_err(&text).kind(), why, "{text}");
    }
}
