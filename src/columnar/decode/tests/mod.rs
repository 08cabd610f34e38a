//! What is decoded, and what is refused.

mod any;
mod pages;

use super::*;
use crate::columnar::schema::{Column, ColumnType};
use crate::env::Env;
use crate::error::ErrorKind;
use crate::landing::{Landing, LandingReader, LandingWriter, SegmentDraft};
use crate::model::{LandingPosition, Origin, PartitionId, PipelineName, Reject, ShardKey, Timestamp};
use crate::store::Store;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use serde_json::value::RawValue;

pub(super) fn page(records: &[&str]) -> Page {
    let body = format!("[{}]", records.join(" ,\n"));
    Page::new(PartitionId::from("p"), body, records.len() as u64, Timestamp::from_micros(7))
}

fn columns(text: &[(&str, &str)]) -> Columns {
    Columns::parse(text.iter().copied()).expect("columns")
}

/// What came of one page.
pub(super) fn apply(decode: &mut Decode, page: Page) -> (Vec<Batch>, Vec<Reject>) {
    let mut out = Output::new();
    decode.apply(page, &mut out).expect("decodes");
    let (batches, rejects, counts) = out.into_parts();
    assert_eq!(counts, [0, 0, 0]);
    (batches, rejects)
}

pub(super) fn rows(batches: &[Batch]) -> RecordBatch {
    let schema = batches.first().expect("a batch").rows().schema();
    concat_batches(&schema, batches.iter().map(Batch::rows)).expect("one schema")
}

/// Decodes one value under the key `v`.
fn one(kind: &str, value: &str) -> Result<RecordBatch, Reject> {
    let mut decode = Decode::pages().schema(columns(&[("v", kind)]));
    let (batches, mut rejects) = apply(&mut decode, marked(&[format!("{{\"v\":{value}}}").as_bytes()]));
    match rejects.pop() {
        Some(reject) => Err(reject),
        None => Ok(rows(&batches)),
    }
}

#[test]
fn declared_columns_take_a_whole_order() {
    let mut decode = Decode::pages().schema(
        columns(&[
            ("id", "utf8"),
            ("number", "int64"),
            ("total", "decimal(18,2)"),
            ("customer", "struct<id: utf8, name: utf8>"),
            ("items", "list<struct<sku: utf8, qty: int64>>"),
            ("note", "utf8"),
            ("created_at", "timestamp"),
        ])
        .column(Column::new("country", ColumnType::utf8()).at(["address", "country"])),
    );
    let (batches, rejects) = apply(
        &mut decode,
        page(&[
            r#"{"id":"a","number":1,"total":"10.50","customer":{"id":"c1","name":"محمد"},"items":[{"sku":"x","qty":2},{"sku":"y","qty":3}],
               "note":"line\nline","created_at":"1970-01-01T00:00:01Z","address":{"country":"GB"}}"#,
            r#"{"items":[],"total":7,"id":"b","customer":null,"extra":[1,{"a":2}],"address":{}}"#,
        ]),
    );
    assert!(rejects.is_empty(), "{rejects:?}");
    let batch = rows(&batches);
    let json: Vec<Vec<String>> = (0..batch.num_rows())
        .map(|row| {
            let text = |c: &dyn Array| arrow::util::display::array_value_to_string(c, row).expect("text");
            batch.columns().iter().map(|c| if c.is_null(row) { "null".into() } else { text(c) }).collect()
        })
        .collect();
    assert_eq!(
        json[0],
        [
            "a",
            "1",
            "10.50",
            "{id: c1, name: محمد}",
            "[{sku: x, qty: 2}, {sku: y, qty: 3}]",
            "line\nline",
            "1970-01-01T00:00:01Z",
            "GB"
        ]
    );
    assert_eq!(json[1], ["b", "null", "7.00", "null", "[]", "null", "null", "null"]);
}

#[test]
fn values_at_the_edges_are_exact() {
    let int = |value: &str| one("int64", value).expect(value).column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(int("9223372036854775807"), i64::MAX);
    assert_eq!(int("-9223372036854775808"), i64::MIN);
    assert_eq!(int("9007199254740993"), 9_007_199_254_740_993);
    assert_eq!(int("-0"), 0);
    assert_eq!(int("1.0"), 1);
    let max = one("uint64", "18446744073709551615").expect("fits");
    assert_eq!(max.column(0).as_primitive::<UInt64Type>().value(0), u64::MAX);
    assert_eq!(one("int8", "-128").expect("fits").column(0).as_primitive::<Int8Type>().value(0), -128);
    let zero = one("float64", "-0").expect("fits").column(0).as_primitive::<Float64Type>().value(0);
    assert!(zero == 0.0 && zero.is_sign_negative());
    let time = one("timestamp", r#""9999-12-31T23:59:59.999999-00:00""#).expect("fits");
    assert_eq!(time.column(0).as_primitive::<TimestampMicrosecondType>().value(0), 253_402_300_799_999_999);
    let day = one("date", r#""0000-01-01""#).expect("fits");
    assert_eq!(day.column(0).as_primitive::<Date32Type>().value(0), -719_528);
    let text =
        |kind: &str, value: &str| one(kind, value).expect(value).column(0).as_string::<i32>().value(0).to_owned();
    assert_eq!(text("utf8", r#""\u0000\ud83d\ude00\/\"\\\b\f\n\r\té\u2028""#), "\0😀/\"\\\u{8}\u{c}\n\r\té\u{2028}");
    assert_eq!(text("utf8", "\"\u{2028}\u{feff}\""), "\u{2028}\u{feff}");
    assert_eq!(text("json", r#"{ "a" : [1.50, 1e400, "\u00e9"] }"#), r#"{ "a" : [1.50, 1e400, "\u00e9"] }"#);
    assert_eq!(text("json", "\"text\""), "\"text\"");
    assert!(one("timestamp", "null").expect("fits").column(0).is_null(0));
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_field_rule_and_exact_bytes() {
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let table: &[(&str, &str, &str, &str)] = &[
        ("int64", "9223372036854775808", "range", "v: out of range of int64"),
        ("int64", "-9223372036854775809", "range", "v: out of range of int64"),
        ("int64", "1.5", "range", "v: expected int64, found a number with a fraction"),
        ("int64", "\"1\"", "type", "v: expected int64, found a string"),
        ("int64", "true", "type", "v: expected int64, found a bool"),
        ("int8", "128", "range", "v: out of range of int8"),
        ("int8", "-129", "range", "v: out of range of int8"),
        ("uint8", "-1", "range", "v: out of range of uint8"),
        ("uint64", "18446744073709551616", "range", "v: out of range of uint64"),
        ("float64", "9007199254740993", "range", "v: a whole number that float64 cannot hold exactly"),
        ("float64", "1e999", "range", "v: out of range of float64"),
        ("float64", "\"1.5\"", "type", "v: expected float64, found a string"),
        ("bool", "1", "type", "v: expected a bool, found a number"),
        ("utf8", "300", "type", "v: expected a string, found a number"),
        ("utf8(text)", "{}", "type", "v: expected a string, a number or a bool, found an object"),
        ("decimal(4,2)", "1.005", "scale", "v: more than 2 digits after the point"),
        ("decimal(4,2)", "100.00", "range", "v: out of range of decimal(4,2)"),
        ("decimal(4,2)", "\"free\"", "type", "v: expected decimal(4,2), found other text"),
        ("decimal(4,2)", "[]", "type", "v: expected a decimal, found an array"),
        ("timestamp", "\"2024-05-17\"", "type", "v: expected an RFC 3339 time, found other text"),
        (
            "timestamp",
            "\"2024-05-17T00:00:00.0000001Z\"",
            "scale",
            "v: a time with more than 6 digits after the second",
        ),
        ("timestamp", "5", "type", "v: expected an RFC 3339 time, found a number"),
        ("timestamp(us, epoch_s)", "\"soon\"", "type", "v: expected a number of an epoch, found other text"),
        ("date", "\"2024-02-30\"", "type", "v: expected a date like 2024-05-17, found other text"),
        ("list<int64>", "[1,2,\"3\"]", "type", "v[2]: expected int64, found a string"),
        ("list<int64>", "{}", "type", "v: expected an array, found an object"),
        ("struct<a: int64>", "[]", "type", "v: expected an object, found an array"),
        ("list<struct<a: list<int64>>>", "[{},{\"a\":[0,true]}]", "type", "v[1].a[1]: expected int64, found a bool"),
        ("struct<a: int64>", "{\"a\":1,\"\\u0061\":2}", "duplicate_key", "v.a: the key comes twice"),
        ("utf8", "\"\\ud800\"", "json", "v: half of a surrogate pair in a string"),
        ("utf8", "\"\\udc00\\ud800\"", "json", "v: half of a surrogate pair in a string"),
        ("utf8", "\"\\ud83d\\u0041\"", "json", "v: half of a surrogate pair in a string"),
        ("utf8", "\"\\x\"", "json", "v: not JSON: a broken escape in a string"),
        ("utf8", "\"a\tb\"", "json", "v: not JSON: a control character in a string"),
        ("int64", "01", "json", "v: not JSON: expected a number without leading zeros, found something else"),
        ("int64", "NaN", "json", "v: not JSON: expected a JSON value, found something else"),
        ("float64", "-Infinity", "json", "v: not JSON: expected a JSON value, found something else"),
        ("json", "tru", "json", "v: not JSON: expected a JSON value, found something else"),
        ("json", &deep, "depth", "v: nested deeper than 128"),
    ];
    for (kind, value, code, reason) in table {
        let reject = one(kind, value).expect_err(value);
        assert_eq!((reject.code, reject.reason.as_str()), (*code, *reason), "{kind} {value}");
        assert_eq!(reject.raw, format!("{{\"v\":{value}}}"), "{kind}");
    }
}

/// A page whose records are marked, so that they need not make a page that is JSON.
fn marked(records: &[&[u8]]) -> Page {
    let mut body = Vec::new();
    let mut spans = Vec::new();
    for record in records {
        spans.push(Span { start: body.len() as u32, len: record.len() as u32 });
        body.extend_from_slice(record);
        body.push(b',');
    }
    let mut page = Page::new(PartitionId::from("p"), body, records.len() as u64, Timestamp::from_micros(7));
    page.spans = Some(spans.into());
    page.records_path = Some("$[*]".into());
    page
}

#[test]
fn broken_records_are_bisected_out_and_the_rest_goes_on() {
    let records: &[&[u8]] = &[
        br#"{"id":"a","n":1,"tags":["x","y"]}"#,
        b"{\"id\":\"\xff\",\"n\":1}",
        b"{\"id\":\"b\",\"other\":\"\xc3\x28\"}",
        br#"{"id":"c","n":1,"tags":["x","#,
        br#"{"id":"d","#,
        br#"{"id":"e"} x"#,
        br#"{"id":"f"}}"#,
        b"",
        b"  ",
        br#"[1]"#,
        br#"17"#,
        br#"{"id":"g","n":2,"id":"h"}"#,
        br#"{"id":"i","n":2,"tags":["x",{}]}"#,
        br#"{"id":"j",}"#,
        br#"{"id" "k"}"#,
        b"\xff\xff",
        br#"{"id":"z","n":3,"tags":["z"],"n2":1}"#,
        br#" {"id":"y"} "#,
    ];
    let mut decode = Decode::pages().schema(columns(&[("id", "utf8"), ("n", "int64"), ("tags", "list<utf8>")]));
    let (batches, rejects) = apply(&mut decode, marked(records));
    let batch = rows(&batches);
    let ids: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(ids, ["a", "z", "y"]);
    let tags: Vec<_> = batch.column(2).as_list::<i32>().values().as_string::<i32>().iter().flatten().collect();
    assert_eq!(tags, ["x", "y", "z"]);
    let refused: Vec<(&str, &[u8])> = rejects.iter().map(|r| (r.code, r.raw.as_ref())).collect();
    let codes = ["json"; 8].into_iter().chain(["type", "type", "duplicate_key", "type", "json", "json", "json"]);
    let expected: Vec<(&str, &[u8])> = codes.zip(records.iter().skip(1).copied()).collect();
    assert_eq!(refused, expected);
    assert_eq!(batches[0].raw(1), records[16]);
    assert_eq!(batches[0].raw(2), records[17]);
}

#[test]
fn what_follows_a_cut_record_in_its_page_decides_nothing() {
    let cut: &[u8] = br#"{"id":"a","n":"#;
    let faults: Vec<(&str, String)> = [&b"1}"[..], b"}", b"\"\"}", b"[[", b""]
        .iter()
        .map(|after| {
            let mut page = marked(&[cut]);
            page.body = [cut, after].concat().into();
            let mut decode = Decode::pages().schema(columns(&[("id", "utf8"), ("n", "int64")]));
            let reject = apply(&mut decode, page).1.pop().expect("refused");
            (reject.code, reject.reason)
        })
        .collect();
    assert!(faults.iter().all(|f| *f == ("json", "not JSON: the record ends too early".to_owned())), "{faults:?}");
}

#[test]
fn a_mixed_field_is_handled_by_a_declared_rule() {
    let movies = [
        r#"{"Title": "The Land Girls", "US Gross": 146083, "IMDB Rating": 6.1}"#,
        r#"{"Title": 300, "US Gross": 210614939, "IMDB Rating": 7.8}"#,
        r#"{"Title": 12.0, "US Gross": null, "IMDB Rating": 7}"#,
        r#"{"Title": true, "US Gross": 1, "IMDB Rating": null}"#,
        r#"{"Title": null, "US Gross": 1, "IMDB Rating": null}"#,
    ];
    let declared = columns(&[("title", "utf8(text)"), ("US Gross", "int64"), ("IMDB Rating", "float64")]);
    let declared = declared.iter().fold(Columns::new(), |all, c| match c.name() {
        "title" => all.column(c.clone().at(["Title"])),
        _ => all.column(c.clone()),
    });
    let (batches, rejects) = apply(&mut Decode::pages().schema(declared), page(&movies));
    assert!(rejects.is_empty(), "{rejects:?}");
    let titles: Vec<Option<&str>> = rows_of(&batches).column(0).as_string::<i32>().iter().collect();
    assert_eq!(titles, [Some("The Land Girls"), Some("300"), Some("12.0"), Some("true"), None]);

    let (batches, _) = apply(&mut Decode::pages().infer(), page(&movies));
    let titles: Vec<Option<&str>> = rows_of(&batches).column(0).as_string::<i32>().iter().collect();
    assert_eq!(titles[1], Some("300"));

    let (batches, rejects) = apply(&mut Decode::pages().schema(columns(&[("Title", "utf8")])), page(&movies));
    assert_eq!((rows(&batches).num_rows(), rejects.len()), (2, 3));
}

/// The one batch of a page.
fn rows_of(batches: &[Batch]) -> &RecordBatch {
    assert_eq!(batches.len(), 1);
    batches[0].rows()
}

#[test]
fn unknown_fields_are_ignored_or_refused() {
    let records = [r#"{"id":1,"new":{"a":[1]}}"#, r#"{"id":2}"#, r#"{"new":3,"id":3,"newer":[]}"#];
    let stage = || Decode::pages().schema(columns(&[("id", "int64")]));
    let (batches, rejects) = apply(&mut stage(), page(&records));
    assert_eq!((rows(&batches).num_rows(), rejects.len()), (3, 0));
    let (batches, rejects) = apply(&mut stage().unknown_fields(UnknownFields::Quarantine), page(&records));
    assert_eq!(rows(&batches).num_rows(), 1);
    assert_eq!(rejects[1].code, "unknown_field");
    assert_eq!(rejects[1].reason, "a field that no column is declared for: \"new\"");
}

#[test]
fn an_unfit_value_is_null_where_that_is_wanted_and_its_record_stays() {
    let declared = columns(&[("id", "int8"), ("o", "struct<a: int64, b: utf8>"), ("l", "list<int64>"), ("d", "date")]);
    let mut decode = Decode::pages().schema(declared).unfit_values(UnfitValues::Null);
    let records = [
        r#"{"id":300,"o":{"a":"x","b":"kept"},"l":[1,"two",3],"d":"1970-01-02"}"#,
        r#"{"id":2,"o":7,"l":[4],"d":"1970-01-03T"}"#,
        r#"{"id":3,"o":{"a":1,"b":[{"deep":1}]},"l":[5,6],"d":null}"#,
        r#"{"id":4,"id":5}"#,
        "7",
    ];
    let (batches, rejects) = apply(&mut decode, page(&records));
    assert_eq!(
        rejects.iter().map(|r| r.code).collect::<Vec<_>>(),
        ["duplicate_key", "type"],
        "bad records are refused"
    );
    let batch = rows(&batches);
    let text = |row: usize| {
        let text = |c: &dyn Array| arrow::util::display::array_value_to_string(c, row).expect("text");
        batch.columns().iter().map(|c| text(c)).collect::<Vec<_>>().join("|")
    };
    assert_eq!(
        (0..3).map(text).collect::<Vec<_>>(),
        ["|{a: , b: kept}||1970-01-02", "2||[4]|", "3|{a: 1, b: }|[5, 6]|"]
    );
}

#[test]
fn keys_are_found_in_any_order_and_with_escapes() {
    let mut keys = Columns::new().int64("a").int64("b\"c").int64("é").int64("d");
    keys = keys.column(Column::new("deep", ColumnType::Int64).at(["x", "y", "z"]));
    keys = keys.column(Column::new("flat", ColumnType::Int64).at(["x", "w"]));
    let records = [
        r#"{"a":1,"b\"c":2,"é":3,"d":4,"x":{"y":{"z":5},"w":6}}"#,
        r#"{"x":{"w":6,"q":0,"y":{"z":5}},"d":4,"\u00e9":3,"b\u0022c":2,"\u0061":1}"#,
        r#"{"q":0,"d" : 4 ,"x":{"y":{"z":5},"w":6},"a":1,"é":3,"b\"c":2}"#,
    ];
    let (batches, rejects) = apply(&mut Decode::pages().schema(keys), page(&records));
    assert!(rejects.is_empty(), "{rejects:?}");
    for (column, expected) in rows(&batches).columns().iter().zip(1..) {
        assert_eq!(column.as_primitive::<Int64Type>().values(), &[expected; 3]);
    }
}

#[test]
fn large_and_bloated_records_are_refused() {
    let large = format!(r#"{{"id":"{}"}}"#, "x".repeat(100));
    let mut decode = Decode::pages().schema(columns(&[("id", "utf8")])).max_record_bytes(50);
    let (batches, rejects) = apply(&mut decode, page(&[r#"{"id":"a"}"#, &large, r#"{"id":"b"}"#]));
    assert_eq!(rows(&batches).num_rows(), 2);
    assert_eq!((rejects[0].code, rejects[0].raw.len()), ("size", large.len()));

    // A few bytes for each row of many columns.
    let fields: Vec<String> = (0..1000).map(|n| format!("f{n}: utf8")).collect();
    let wide = format!("list<struct<{}>>", fields.join(", "));
    for element in ["{},", "null,"] {
        let list = element.repeat(5000);
        let reject = one(&wide, &format!("[{}]", list.trim_end_matches(','))).expect_err("too many values");
        assert_eq!(reject.code, "size");
    }
}

#[test]
fn a_wrong_set_up_says_what_to_do() {
    let id = || columns(&[("id", "int64")]);
    for wrong in [
        Decode::pages(),
        Decode::pages().schema(id()).records("$["),
        Decode::pages().schema(Columns::new()),
        Decode::pages().schema(columns(&[("_landfall_record", "int64")])).provenance(),
    ] {
        let mut wrong = wrong;
        assert_eq!(wrong.config().expect_err("wrong").kind(), ErrorKind::Config);
        assert_eq!(wrong.apply(page(&[]), &mut Output::new()).expect_err("wrong").kind(), ErrorKind::Config);
    }
}

#[test]
fn inferred_columns_hold_what_the_sample_has() {
    let records = [
        r#"{"id":1,"big":18446744073709551615,"huge":18446744073709551616,"f":1,"t":"2024-05-17T00:00:00Z","d":"2024-05-17",
            "s":"x","mixed":1,"deep":{"a":[{"b":1}],"c":null},"none":null,"empty":[],"any":{},"exact":0.1234567890123456789}"#,
        r#"{"id":-1,"big":0,"f":0.5,"t":null,"d":null,"s":"2024-05-17","mixed":"x","deep":null,"any":[1],"late":true}"#,
        r#"{"id":"broken"#,
    ];
    let spans = |page: &mut Page| {
        let body = page.body.clone();
        let mut at = 0;
        let spans: Vec<Span> = records
            .iter()
            .map(|r| {
                let start = body[at..].windows(r.len()).position(|w| w == r.as_bytes()).expect("in the body") + at;
                at = start + r.len();
                Span { start: start as u32, len: r.len() as u32 }
            })
            .collect();
        page.spans = Some(spans.into());
        page.records_path = Some("$[*]".into());
    };
    let mut sample = page(&records);
    spans(&mut sample);
    let mut decode = Decode::pages().infer();
    let (batches, rejects) = apply(&mut decode, sample);
    assert_eq!((rows(&batches).num_rows(), rejects.len()), (2, 1));
    let kinds: Vec<String> =
        decode.columns().expect("decided").iter().map(|c| format!("{}: {}", c.name(), c.kind())).collect();
    assert_eq!(
        kinds,
        [
            "id: int64",
            "big: uint64",
            "huge: decimal(38,0)",
            "f: float64",
            "t: timestamp",
            "d: date",
            "s: utf8",
            "mixed: utf8(text)",
            "deep: struct<a: list<struct<b: int64>>, c: json>",
            "none: json",
            "empty: list<json>",
            "any: json",
            "exact: utf8(text)",
            "late: bool",
        ]
    );
}

#[test]
fn whole_numbers_declared_by_an_arrow_schema() {
    let declared = columns(&[("a", "int32"), ("j", "json"), ("t", "timestamp(ns)"), ("l", "list<struct<x: float32>>")]);
    let taken = Columns::from_arrow(&declared.to_arrow().expect("a schema")).expect("the same types");
    assert_eq!(taken, declared);
    let (batches, _) = apply(&mut Decode::pages().schema(taken), page(&[r#"{"a":1,"j":{"k":1},"l":[{"x":0.5}]}"#]));
    assert_eq!(rows(&batches).schema(), declared.to_arrow().expect("a schema"));
}
