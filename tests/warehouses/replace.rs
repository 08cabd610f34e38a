//! What takes the place of what was there.

use crate::api::{Answer, Api, Place};
use crate::hooked::before_commit;
use crate::warehouse::Warehouse;
use landfall::ErrorKind;
use landfall::columnar::{Columns, Decode};
use landfall::sink::{Replace, Upsert};
use std::sync::Arc;

cases! {
    replace_with_a_failing_stream_leaves_the_old_rows,
    a_reader_never_sees_a_table_that_is_replaced_by_half,
    replace_verifies_the_staged_row_count,
    replace_refuses_to_shrink_the_table_by_too_much,
    a_sweep_that_would_take_too_much_is_refused,
    a_key_collapses_what_an_enumeration_gives_twice,
    a_refresh_keeps_the_columns_and_clears_rows_and_cursors_of_its_stream_only,
}

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name")
}

async fn replace_with_a_failing_stream_leaves_the_old_rows<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let run = async |api: Api| place.run_by(2, &api, &columns(), warehouse.sink("orders", Replace::table())).await;
    let old = Api::of([("a", vec![r#"{"id":1},{"id":2}"#]), ("b", vec![r#"{"id":3}"#])]);
    assert_eq!(run(old).await.expect("runs").enumerated, Some(true));

    let failing =
        Api::of([("a", vec![r#"{"id":11},{"id":12}"#.into()]), ("b", vec![r#"{"id":13}"#.into(), Answer::Fails])]);
    let failure = run(failing).await.expect_err("a stream fails");
    assert_eq!((failure.error().kind(), failure.report().enumerated), (ErrorKind::Unavailable, Some(false)));
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3"]);

    let whole = Api::of([("a", vec![r#"{"id":11},{"id":12}"#]), ("b", vec![r#"{"id":13}"#])]);
    assert_eq!(run(whole).await.expect("runs").enumerated, Some(true));
    assert_eq!(
        warehouse.rows("orders", "id").await,
        ["11", "12", "13"],
        "what the one that failed has left is not seen"
    );
}

async fn a_reader_never_sees_a_table_that_is_replaced_by_half<W: Warehouse>(warehouse: W) {
    let (place, warehouse) = (Place::new(), Arc::new(warehouse));
    let pages = |n: u64| Api::pages((0..6).map(|page| format!("{{\"id\":{}}}", n + page)).map(Answer::Records));
    place.run_by(1, &pages(10), &columns(), warehouse.sink("orders", Replace::table())).await.expect("runs");
    let reader = Arc::clone(&warehouse);
    let hooked = before_commit(warehouse.sink("orders", Replace::table()), move |_| {
        let reader = Arc::clone(&reader);
        async move {
            assert_eq!(reader.rows("orders", "id").await, ["10", "11", "12", "13", "14", "15"]);
            Ok(None)
        }
    });
    place.run_by(1, &pages(20), &columns(), hooked).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id").await, ["20", "21", "22", "23", "24", "25"]);
}

async fn replace_verifies_the_staged_row_count<W: Warehouse>(warehouse: W) {
    let (place, warehouse) = (Place::new(), Arc::new(warehouse));
    let pages = |ids: [u64; 4]| Api::pages(ids.map(|id| Answer::Records(format!("{{\"id\":{id}}}"))));
    let replace = || warehouse.sink("orders", Replace::table());
    place.run_by(2, &pages([1, 2, 3, 4]), &columns(), replace()).await.expect("runs");
    let thief = Arc::clone(&warehouse);
    let robbed = before_commit(replace(), move |step| {
        let thief = Arc::clone(&thief);
        async move {
            // The first one is asked for again, in case that its answer was lost.
            if step.whole && step.number > 0 {
                thief.lose_what_waits("orders").await;
            }
            Ok(None)
        }
    });
    let failure = place.run_by(2, &pages([5, 6, 7, 8]), &columns(), robbed).await.expect_err("a row is missing");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3", "4"], "nothing was changed");
}

async fn replace_refuses_to_shrink_the_table_by_too_much<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let run = async |page: &str, replace: Replace| {
        place.run(&Api::pages([page]), &columns(), warehouse.sink("orders", replace)).await
    };
    run(r#"{"id":1},{"id":2},{"id":3}"#, Replace::table()).await.expect("runs");
    let failure = run(r#"{"id":1}"#, Replace::table()).await.expect_err("two of three would go");
    assert_eq!(failure.error().kind(), ErrorKind::Data);
    let failure = run("", Replace::table()).await.expect_err("all would go");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "an empty answer");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3"]);
    run(r#"{"id":1}"#, Replace::table().may_shrink_by(0.7)).await.expect("it is allowed");
    assert_eq!(warehouse.rows("orders", "id").await, ["1"]);
}

async fn a_sweep_that_would_take_too_much_is_refused<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let run = async |page: &str| {
        place.run(&Api::pages([page]), &columns(), warehouse.sink("orders", Upsert::by(["id"]).sweep(0.5))).await
    };
    run(r#"{"id":1},{"id":2},{"id":3},{"id":4}"#).await.expect("runs");
    let failure = run(r#"{"id":1}"#).await.expect_err("three of four would go");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    let failure = run("").await.expect_err("all would go");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3", "4"]);
    run(r#"{"id":1},{"id":2}"#).await.expect("half may go");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
}

async fn a_key_collapses_what_an_enumeration_gives_twice<W: Warehouse>(warehouse: W) {
    let api = Api::pages([r#"{"id":1,"name":"a"},{"id":2,"name":"b"},{"id":1,"name":"b"}"#, r#"{"id":2,"name":"c"}"#]);
    let sink = warehouse.sink("orders", Replace::table().key(["id"]));
    Place::new().run_by(3, &api, &columns(), sink).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|b", "2|c"]);
}

async fn a_refresh_keeps_the_columns_and_clears_rows_and_cursors_of_its_stream_only<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let load = async |stream: &str, api: &Api, refresh: bool| {
        let decode = Decode::pages().schema(columns().utf8("more"));
        // A stream that is refreshed is one of enumerations from its beginning on.
        let report = if refresh {
            let sink = warehouse.sink(stream, Replace::table().may_shrink_by(1.0));
            place.builder(stream, api, decode, 10, sink).build().expect("complete").run().await
        } else {
            let sink = warehouse.sink(stream, Upsert::by(["id"]));
            place.builder(stream, api, decode, 10, sink).build().expect("complete").run().await
        };
        report.expect("runs")
    };
    let orders = Api::pages([r#"{"id":1,"name":"a","more":"x"}"#, r#"{"id":2,"name":"b"}"#]);
    let customers = Api::pages([r#"{"id":7,"name":"c"}"#]);
    load("orders", &orders, true).await;
    load("customers", &customers, false).await;
    let before = warehouse.columns("orders").await;

    let now = Api::pages([r#"{"id":3,"name":"new"}"#]);
    load("orders", &now, true).await;
    load("customers", &customers, false).await;
    assert_eq!(now.reads(), [("all".to_owned(), 0)], "it is read from its beginning");
    assert_eq!(warehouse.rows("orders", "id, name, more").await, ["3|new|-"], "the rows of before are gone");
    assert_eq!(warehouse.columns("orders").await, before, "and the columns are not");
    assert_eq!(warehouse.rows("customers", "id").await, ["7"]);
    assert_eq!(
        customers.reads(),
        [("all".to_owned(), 0), ("all".to_owned(), 1)],
        "the other stream goes on where it stood"
    );
}
