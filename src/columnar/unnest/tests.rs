use super::*;
use crate::columnar::Decode;
use crate::error::ErrorKind;
use crate::model::{Item, Page, PartitionId, Timestamp};
use arrow::array::{ArrayRef, Int32Array, Int64Array, LargeListArray, ListArray, RecordBatch, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::BTreeMap;

/// The records of a page, their columns inferred.
fn batch(records: &str) -> Batch {
    let count = records.lines().count() as u64;
    let page = Page::new(PartitionId::from("p"), records.to_owned(), count, Timestamp::from_micros(0));
    let mut out = Output::new();
    Decode::pages().ndjson().infer().apply(page, &mut out).expect("decodes");
    let (mut batches, rejects, _) = out.into_parts();
    assert!(rejects.is_empty(), "{rejects:?}");
    batches.pop().expect("a batch")
}

/// Names of columns, and rows as text.
fn text(batch: &Batch) -> (String, Vec<String>) {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<_> =
        batch.rows().columns().iter().map(|c| ArrayFormatter::try_new(c, &options).expect("formats")).collect();
    let row = |row: usize| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" ");
    let names: Vec<_> = batch.rows().schema().fields().iter().map(|f| f.name().clone()).collect();
    (names.join(" "), (0..batch.num_rows()).map(row).collect())
}

fn apply(unnest: &mut Unnest, batch: Batch) -> Result<BTreeMap<String, Batch>> {
    unnest.config()?;
    let before = batch.num_rows() as u64;
    let mut out = Output::new();
    unnest.apply(batch, &mut out)?;
    let (mut items, rejects, counts) = out.into_parts();
    let tables = items.pop().expect("an item");
    assert!(rejects.is_empty() && items.is_empty());
    assert_eq!(counts, [0, 0, tables.records() - before], "every row is accounted for");
    Ok(tables.into_iter().map(|(name, batch)| (name.to_string(), batch)).collect())
}

const ORDERS: &str = r#"{"id":7,"at":1,"items":[{"sku":"a","n":1},{"sku":"b","n":2}],"tags":["x"]}
{"id":8,"at":2,"items":[],"tags":null}
{"id":9,"at":3,"tags":["y","z"]}"#;

#[test]
fn elements_of_lists_become_rows_with_the_key_of_their_parent() {
    let mut unnest = Unnest::new("orders")
        .child("items", UnnestChild::at("items").copy("id", "order_id").copy("at", "order_at"))
        .child("tags", UnnestChild::at("tags").copy("id", "order_id").index("place").value("tag").without_markers());
    let tables = apply(&mut unnest, batch(ORDERS)).expect("unnests");
    let rows = |table: &str| text(&tables[table]);
    assert_eq!(rows("orders"), ("id at".into(), vec!["7 1".into(), "8 2".into(), "9 3".into()]));
    let items = ["7 1 0 a 1", "7 1 1 b 2", "8 2 - - -", "9 3 - - -"].map(str::to_owned);
    assert_eq!(rows("items"), ("order_id order_at _index sku n".into(), items.to_vec()));
    let tags = ["7 0 x", "9 0 y", "9 1 z"].map(str::to_owned);
    assert_eq!(rows("tags"), ("order_id place tag".into(), tags.to_vec()));
}

#[test]
fn rows_of_a_child_know_their_record() {
    let mut unnest = Unnest::new("orders").child("items", UnnestChild::at("items").copy("id", "order_id"));
    let tables = apply(&mut unnest, batch(ORDERS)).expect("unnests");
    let items = &tables["items"];
    assert_eq!(items.records().expect("few").values(), &[0, 0, 1, 2]);
    let reject = items.reject(1, "range", "too much");
    assert_eq!(reject.raw, ORDERS.lines().next().expect("a record"));
    assert_eq!(items.raw(3), ORDERS.lines().nth(2).expect("a record"));
}

#[test]
fn children_have_children() {
    let records = r#"{"id":1,"items":[{"sku":"a","taxes":[{"vat":20},{"vat":5}]},{"sku":"b","taxes":[]}]}
{"id":2,"items":null}"#;
    let taxes = UnnestChild::at("taxes").copy("order_id", "order_id").copy("_index", "item");
    let items = UnnestChild::at("items").copy("id", "order_id").child("taxes", taxes);
    let tables = apply(&mut Unnest::new("orders").child("items", items), batch(records)).expect("unnests");
    assert_eq!(text(&tables["items"]).1, ["1 0 a", "1 1 b", "2 - -"]);
    // An order without items has no taxes either.
    assert_eq!(
        text(&tables["taxes"]),
        ("order_id item _index vat".into(), ["1 0 0 20", "1 0 1 5", "1 1 - -", "2 - - -"].map(str::to_owned).into())
    );
    assert_eq!(tables["taxes"].records().expect("few").values(), &[0, 0, 0, 1]);
}

#[test]
fn a_list_within_a_struct_leaves_it() {
    let records = r#"{"id":1,"lines":{"all":[{"sku":"a"}],"total":1},"only":{"all":[3]}}
{"id":2,"lines":null,"only":null}"#;
    let mut unnest = Unnest::new("orders")
        .child("lines", UnnestChild::at("lines.all").copy("id", "order_id").copy("lines.total", "total"))
        .child("only", UnnestChild::at("only.all").copy("id", "order_id"));
    let tables = apply(&mut unnest, batch(records)).expect("unnests");
    assert_eq!(text(&tables["orders"]), ("id lines".into(), vec!["1 {total: 1}".into(), "2 -".into()]));
    assert_eq!(text(&tables["lines"]).1, ["1 1 0 a", "2 - - -"]);
    assert_eq!(text(&tables["only"]).1, ["1 0 3", "2 - -"]);
}

#[test]
fn nulls_hide_what_lies_under_them() {
    let field = Arc::new(Field::new(
        "item",
        DataType::Struct(Fields::from(vec![Field::new("n", DataType::Int32, false)])),
        true,
    ));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
    let DataType::Struct(fields) = field.data_type() else { unreachable!() };
    // The second element is null, and so is the second list, though something lies under both.
    let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
    let structs = StructArray::try_new(fields.clone(), vec![numbers], nulls).expect("fits");
    let offsets = OffsetBuffer::new(vec![0, 2, 3, 4].into());
    let lists = ListArray::try_new(field, offsets, Arc::new(structs), Some(NullBuffer::from(vec![true, false, true])));
    let lists: ArrayRef = Arc::new(lists.expect("fits"));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("l", lists)]).expect("fits");
    let mut unnest = Unnest::new("p").child("c", UnnestChild::at("l").copy("id", "p"));
    let sliced = Batch::new(rows.slice(1, 2));
    let tables = apply(&mut unnest, Batch::new(rows)).expect("unnests");
    assert_eq!(text(&tables["c"]).1, ["7 0 1", "7 1 -", "8 - -", "9 0 4"]);
    let tables = apply(&mut unnest, sliced).expect("unnests");
    assert_eq!(text(&tables["c"]).1, ["8 - -", "9 0 4"]);
}

#[test]
fn large_lists_and_columns_of_nulls_are_lists_too() {
    let lists = LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(5), None]), None]);
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        ("l", Arc::new(lists)),
        ("n", arrow::array::new_null_array(&DataType::Null, 2)),
    ];
    let rows = RecordBatch::try_from_iter(columns).expect("fits");
    let child = |path: &str| UnnestChild::at(path).copy("id", "p");
    let mut unnest = Unnest::new("p").child("l", child("l")).child("n", child("n"));
    let tables = apply(&mut unnest, Batch::new(rows)).expect("unnests");
    assert_eq!(text(&tables["l"]).1, ["7 0 5", "7 1 -", "8 - -"]);
    assert_eq!(text(&tables["n"]), ("p _index".into(), vec!["7 -".into(), "8 -".into()]));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let child = || UnnestChild::at("items").copy("id", "order_id");
    let unnest = || Unnest::new("orders");
    let at_build = [
        Unnest::new("").child("items", child()),
        unnest().child("orders", child()),
        unnest().child("", child()),
        unnest().child("a", child()).child("b", child()),
        unnest().child("a", child().child("a", UnnestChild::at("x").copy("order_id", "o"))),
        unnest().child("a", UnnestChild::at("items")),
        unnest().child("a", UnnestChild::at("").copy("id", "order_id")),
        unnest().child("a", child().copy("at", "order_id")),
        unnest().child("a", child().index("order_id")),
    ];
    for unnest in at_build {
        assert_eq!(unnest.config().expect_err("makes no sense").kind(), ErrorKind::Config, "{unnest:?}");
    }
    let with_rows = [
        unnest().child("a", UnnestChild::at("id").copy("at", "a")),
        unnest().child("a", UnnestChild::at("lines").copy("id", "a")),
        unnest().child("a", child().copy("nothing", "a")),
        // The items have columns of these names.
        unnest().child("a", child().copy("at", "sku")),
        unnest().child("a", child().index("n")),
    ];
    for mut unnest in with_rows {
        let error = apply(&mut unnest, batch(ORDERS)).expect_err("makes no sense");
        assert_eq!(error.kind(), ErrorKind::Config, "{unnest:?}");
    }
}

/// The rule of [`Children`](crate::sink::Children), without a table that was there before: parent key and `sku` of what is left.
fn children_of(batch: &Batch, deleted: bool) -> Vec<String> {
    let records = batch.records().expect("few");
    let (_, rows) = text(batch);
    let mut winners: BTreeMap<String, (u32, Vec<&str>)> = BTreeMap::new();
    for (row, record) in rows.iter().zip(records.values()) {
        let key = row.split(' ').next().expect("a key").to_owned();
        let winner = winners.entry(key).or_insert((*record, Vec::new()));
        if winner.0 != *record {
            *winner = (*record, Vec::new());
        }
        winner.1.push(row);
    }
    let gone = |rows: &[&str]| deleted && rows.iter().any(|row| row.contains("true"));
    let left = winners.into_values().filter(|(_, rows)| !gone(rows)).flat_map(|(_, rows)| rows);
    left.filter(|row| !row.contains(" - ")).map(str::to_owned).collect()
}

#[test]
fn a_parent_that_comes_twice_has_the_children_of_the_winner() {
    let records = r#"{"id":1,"items":[{"sku":"a"},{"sku":"b"},{"sku":"c"}]}
{"id":2,"items":[{"sku":"z"}]}
{"id":1,"items":[{"sku":"d"},{"sku":"e"},{"sku":"f"}]}
{"id":2,"items":[]}"#;
    let mut unnest = Unnest::new("orders").child("items", UnnestChild::at("items").copy("id", "order_id"));
    let tables = apply(&mut unnest, batch(records)).expect("unnests");
    assert_eq!(children_of(&tables["items"], false), ["1 0 d", "1 1 e", "1 2 f"]);
}

#[test]
fn the_children_of_a_deleted_parent_go_with_it() {
    let records = r#"{"id":1,"gone":false,"items":[{"sku":"a"},{"sku":"b"}]}
{"id":2,"gone":false,"items":[{"sku":"z"}]}
{"id":1,"gone":true,"items":[{"sku":"a"},{"sku":"b"}]}"#;
    let items = UnnestChild::at("items").copy("id", "order_id").copy("gone", "order_gone");
    let tables = apply(&mut Unnest::new("orders").child("items", items), batch(records)).expect("unnests");
    assert_eq!(children_of(&tables["items"], true), ["2 false 0 z"]);
}
