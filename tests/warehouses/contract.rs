//! What happens when there is something new: a table, a column, a type. Each may be taken up, refused as a whole, refused by
//! record, or left out.

use crate::api::{Api, Place};
use crate::warehouse::Warehouse;
use landfall::ErrorKind;
use landfall::columnar::{Columns, Decode, UnfitValues, UnknownFields};
use landfall::pipeline::{RunFailure, RunReport};
use landfall::sink::{Disposition, Upsert};

cases! {
    a_new_table_is_made,
    a_new_table_is_refused_where_tables_are_frozen,
    a_new_column_is_added,
    a_new_column_is_refused_where_the_table_is_frozen,
    a_new_field_stops_the_run_where_nothing_may_be_refused,
    a_record_with_a_new_field_is_discarded,
    a_new_field_is_left_out_of_its_record,
    a_value_of_a_new_type_is_kept_where_the_column_takes_any,
    a_value_of_a_new_type_stops_the_run_where_nothing_may_be_refused,
    a_record_with_a_value_of_a_new_type_is_discarded,
    a_value_of_a_new_type_is_left_out_of_its_record,
}

fn columns() -> Columns {
    Columns::new().int64("id").int64("amount")
}

const OLD: &str = r#"{"id":1,"amount":10}"#;

/// Loads what is known, and then `page`.
async fn then<W: Warehouse>(
    warehouse: &W,
    place: &Place,
    decode: Decode,
    page: &str,
    quarantine: bool,
) -> Result<RunReport, RunFailure> {
    let first = Api::pages([OLD]);
    place.run(&first, &columns(), warehouse.sink("orders", Upsert::by(["id"]))).await.expect("runs");
    let api = Api::pages([OLD, page]);
    let builder = place.builder("orders", &api, decode, 100, warehouse.sink("orders", Upsert::by(["id"])));
    let builder = if quarantine { builder.quarantine(place.quarantine(&api)) } else { builder };
    builder.build().expect("complete").run().await
}

async fn a_new_table_is_made<W: Warehouse>(warehouse: W) {
    let sink = warehouse.sink("orders", Disposition::Append);
    Place::new().run(&Api::pages([OLD]), &columns(), sink).await.expect("runs");
    assert_eq!(warehouse.columns("orders").await, ["amount", "id"]);
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10"]);
}

async fn a_new_table_is_refused_where_tables_are_frozen<W: Warehouse>(warehouse: W) {
    let sink = warehouse.frozen("orders", Disposition::Append);
    let failure = Place::new().run(&Api::pages([OLD]), &columns(), sink).await.expect_err("there is none");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(warehouse.columns("orders").await.is_empty());
}

async fn a_new_column_is_added<W: Warehouse>(warehouse: W) {
    let wider = Decode::pages().schema(columns().utf8("note"));
    then(&warehouse, &Place::new(), wider, r#"{"id":2,"amount":20,"note":"new"}"#, false).await.expect("runs");
    assert_eq!(warehouse.columns("orders").await, ["amount", "id", "note"]);
    assert_eq!(warehouse.rows("orders", "id, amount, note").await, ["1|10|-", "2|20|new"]);
}

async fn a_new_column_is_refused_where_the_table_is_frozen<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let first = Api::pages([OLD]);
    place.run(&first, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    let api = Api::pages([OLD, r#"{"id":2,"amount":20,"note":"new"}"#]);
    let frozen = || warehouse.frozen("orders", Disposition::Append);
    let failure = place.run(&api, &columns().utf8("note"), frozen()).await.expect_err("it lacks a column");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert!(failure.to_string().contains("note"), "{failure}");
    assert_eq!(warehouse.columns("orders").await, ["amount", "id"]);
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10"]);
    // What fits goes on.
    place.run(&api, &columns(), frozen()).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "2|20"]);
}

const NEW_FIELD: &str = r#"{"id":2,"amount":20,"note":"new"},{"id":3,"amount":30}"#;
const NEW_TYPE: &str = r#"{"id":2,"amount":"twenty"},{"id":3,"amount":30}"#;

fn strict() -> Decode {
    Decode::pages().schema(columns()).unknown_fields(UnknownFields::Quarantine)
}

async fn a_new_field_stops_the_run_where_nothing_may_be_refused<W: Warehouse>(warehouse: W) {
    let failure = then(&warehouse, &Place::new(), strict(), NEW_FIELD, false).await.expect_err("a new field");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10"]);
}

async fn a_record_with_a_new_field_is_discarded<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let report = then(&warehouse, &place, strict(), NEW_FIELD, true).await.expect("runs");
    assert_eq!((report.ledger.staged, report.ledger.quarantined), (1, 1), "{report}");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "3|30"]);
    assert_eq!(place.quarantined().await, [r#"{"id":2,"amount":20,"note":"new"}"#]);
}

async fn a_new_field_is_left_out_of_its_record<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    then(&warehouse, &place, Decode::pages().schema(columns()), NEW_FIELD, true).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "2|20", "3|30"]);
    assert!(place.quarantined().await.is_empty());
}

async fn a_value_of_a_new_type_is_kept_where_the_column_takes_any<W: Warehouse>(warehouse: W) {
    let any = Columns::new().int64("id").text("amount");
    let sink = warehouse.sink("orders", Upsert::by(["id"]));
    Place::new().run(&Api::pages([OLD, NEW_TYPE]), &any, sink).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "2|twenty", "3|30"]);
}

async fn a_value_of_a_new_type_stops_the_run_where_nothing_may_be_refused<W: Warehouse>(warehouse: W) {
    let failure = then(&warehouse, &Place::new(), Decode::pages().schema(columns()), NEW_TYPE, false).await;
    assert_eq!(failure.expect_err("a new type").error().kind(), ErrorKind::Data);
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10"]);
}

async fn a_record_with_a_value_of_a_new_type_is_discarded<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    then(&warehouse, &place, Decode::pages().schema(columns()), NEW_TYPE, true).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "3|30"]);
    assert_eq!(place.quarantined().await, [r#"{"id":2,"amount":"twenty"}"#]);
}

async fn a_value_of_a_new_type_is_left_out_of_its_record<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let decode = Decode::pages().schema(columns()).unfit_values(UnfitValues::Null);
    then(&warehouse, &place, decode, NEW_TYPE, true).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, amount").await, ["1|10", "2|-", "3|30"]);
    assert!(place.quarantined().await.is_empty());
}
