//! Who loads: failures on the way, graceful stops, and another instance that takes over.

use crate::api::{Answer, Api, Gate, Place};
use crate::hooked::before_commit;
use crate::warehouse::Warehouse;
use landfall::columnar::{Batch, Columns, Decode};
use landfall::env::Env;
use landfall::pipeline::Pipeline;
use landfall::sink::{Disposition, Sink, Transactional};
use landfall::{Error, ErrorKind};

cases! {
    after_a_commit_that_failed_the_rows_come_again,
    a_page_without_records_moves_the_position,
    a_graceful_stop_flushes_the_tail,
    who_has_lost_its_place_changes_nothing_any_more,
}

fn columns() -> Columns {
    Columns::new().int64("id")
}

fn pipeline<K: Sink<Item = Batch, Promise = Transactional>>(place: &Place, api: &Api, sink: K) -> Pipeline {
    place.builder("orders", api, Decode::pages().schema(columns()), 1_000, sink).build().expect("complete")
}

async fn after_a_commit_that_failed_the_rows_come_again<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let api = Api::pages([r#"{"id":1}"#, r#"{"id":2}"#]);
    let refused = before_commit(warehouse.sink("orders", Disposition::Append), |_| async {
        Err(Error::config("commit rows", "somebody took the right to write away"))
    });
    let failure = place.run(&api, &columns(), refused).await.expect_err("no commit");
    assert_eq!(failure.error().kind(), ErrorKind::Config);
    assert!(warehouse.rows("orders", "id").await.is_empty() && warehouse.loads("orders").await == 0);
    place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
}

async fn a_page_without_records_moves_the_position<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let api = Api::pages([r#"{"id":1}"#, ""]);
    for _ in 0..2 {
        place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    }
    assert_eq!(api.reads(), [("all".to_owned(), 0), ("all".to_owned(), 2)]);
    assert_eq!(warehouse.rows("orders", "id").await, ["1"]);
}

async fn a_graceful_stop_flushes_the_tail<W: Warehouse>(warehouse: W) {
    let (place, gate) = (Place::new(), Gate::new());
    let stuck = Answer::Waits(gate.clone(), r#"{"id":3}"#.to_owned());
    let api = Api::pages([r#"{"id":1}"#.into(), r#"{"id":2}"#.into(), stuck]);
    // The deadline of the stop is one of real time: a clock of tests would not wait for a database.
    let builder = place.builder(
        "orders",
        &api,
        Decode::pages().schema(columns()),
        1_000,
        warehouse.sink("orders", Disposition::Append),
    );
    let handle = builder.env(Env::system()).build().expect("complete").start();
    gate.until_somebody_waits().await;
    handle.drain();
    handle.wait().await.expect("stops");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"], "what was read is loaded");
    gate.open();
    place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3"]);
}

async fn who_has_lost_its_place_changes_nothing_any_more<W: Warehouse>(warehouse: W) {
    let (place, gate) = (Place::new(), Gate::new());
    let stuck = Answer::Waits(gate.clone(), r#"{"id":3}"#.to_owned());
    let zombie = Api::pages([r#"{"id":1}"#.into(), r#"{"id":2}"#.into(), stuck]);
    let handle = pipeline(&place, &zombie, warehouse.sink("orders", Disposition::Append)).start();
    gate.until_somebody_waits().await;
    // Another instance takes over and loads everything.
    let api = Api::pages([r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]);
    place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    let loads = warehouse.loads("orders").await;
    gate.open();
    let failure = handle.wait().await.expect_err("it has lost its place");
    assert_eq!(failure.error().kind(), ErrorKind::Fenced, "{failure}");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3"]);
    assert_eq!(warehouse.loads("orders").await, loads);
    // Nor does it leave anything that the next run stumbles over.
    let report = place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    assert_eq!(report.ledger.staged, 0, "{report}");
}
