use super::*;
use crate::columnar::schema::{Column, ColumnType};
use crate::error::ErrorKind;
use crate::model::{LandingPosition, Origin, PartitionId, Reject, Timestamp};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use proptest::prelude::*;

fn page(records: &[&str]) -> Page {
    let body = format!("[{}]", records.join(" ,\n"));
    Page::new(PartitionId::from("p"), body, records.len() as u64, Timestamp::from_micros(7))
}

fn columns(text: &[(&str, &str)]) -> Columns {
    Columns::parse(text.iter().copied()).expect("columns")
}

/// What came of one page.
fn apply(decode: &mut Decode, page: Page) -> (Vec<Batch>, Vec<Reject>) {
    let mut out = Output::new();
    decode.apply(page, &mut out).expect("decodes");
    let (batches, rejects, counts) = out.into_parts();
    assert_eq!(counts, [0, 0, 0]);
    (batches, rejects)
}

fn rows(batches: &[Batch]) -> RecordBatch {
    let schema = batches.first().expect("a batch").rows().schema();
    concat_batches(&schema, batches.iter().map(Batch::rows)).expect("one schema")
}

/// Decodes one value under the key `v`.
fn one(kind: &str, value: &str) -> Result<RecordBatch, Reject> {
    let mut decode = Decode::json().schema(columns(&[("v", kind)]));
    let (batches, mut rejects) = apply(&mut decode, page(&[&format!("{{\"v\":{value}}}")]));
    match rejects.pop() {
        Some(reject) => Err(reject),
        None => Ok(rows(&batches)),
    }
}

#[test]
fn declared_columns_take_a_whole_order() {
    let mut decode = Decode::json().schema(
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
