//! Where a source stands, and what is in the table, never part.

use crate::api::{Answer, Api, Place};
use crate::hooked::before_commit;
use crate::warehouse::Warehouse;
use landfall::columnar::{Columns, Decode};
use landfall::sink::{Disposition, Upsert};
use landfall::{Error, ErrorKind};
use std::sync::Arc;

cases! {
    the_state_of_a_load_that_was_not_committed_is_not_gone_on_from,
    without_its_checkpoints_a_table_is_not_loaded_again_by_mistake,
    no_stream_is_read_on_from_beyond_the_rows_that_are_there,
}

fn columns() -> Columns {
    Columns::new().int64("id").utf8("stream")
}

async fn the_state_of_a_load_that_was_not_committed_is_not_gone_on_from<W: Warehouse>(warehouse: W) {
    let place = Place::new();
    let api = Api::pages((1..=4).map(|id| Answer::Records(format!("{{\"id\":{id}}}"))));
    let sink = || warehouse.sink("orders", Disposition::Append);
    let broken = before_commit(sink(), |step| async move {
        match step.number {
            0 => Ok(None),
            _ => Err(Error::config("commit rows", "somebody took the right to write away")),
        }
    });
    let failure = place.run_by(2, &api, &columns(), broken).await.expect_err("the second load is not committed");
    assert_eq!(failure.error().kind(), ErrorKind::Config, "{failure}");
    assert_eq!(
        (warehouse.rows("orders", "id").await, warehouse.loads("orders").await),
        (vec!["1".into(), "2".into()], 1)
    );

    place.run_by(2, &api, &columns(), sink()).await.expect("runs");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3", "4"]);
    assert_eq!(warehouse.loads("orders").await, 2, "it was loaded once");
}

async fn without_its_checkpoints_a_table_is_not_loaded_again_by_mistake<W: Warehouse>(warehouse: W) {
    let api = Api::pages([r#"{"id":1},{"id":2}"#]);
    let place = Place::new();
    place.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await.expect("runs");
    // Landing and checkpoints are wiped.
    let wiped = Place::new();
    let failure = wiped.run(&api, &columns(), warehouse.sink("orders", Disposition::Append)).await;
    assert_eq!(failure.expect_err("the table holds more than is known").error().kind(), ErrorKind::Corrupt);
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
    // All over again is for a table that is empty, or for rows that have a key.
    wiped.run(&api, &columns(), warehouse.sink("again", Disposition::Append)).await.expect("runs");
    assert_eq!(warehouse.rows("again", "id").await, ["1", "2"]);
}

async fn no_stream_is_read_on_from_beyond_the_rows_that_are_there<W: Warehouse>(warehouse: W) {
    let warehouse = Arc::new(warehouse);
    let page = |stream: &str, id: u64| Answer::Records(format!("{{\"id\":{id},\"stream\":\"{stream}\"}}"));
    let streams =
        || [("a", (0..4).map(|id| page("a", id)).collect::<Vec<_>>()), ("b", (0..3).map(|id| page("b", id)).collect())];
    for stop_at in 0..7 {
        let table = format!("orders{stop_at}");
        let place = Place::new();
        for process in 0..3 {
            let (reader, name) = (Arc::clone(&warehouse), table.clone());
            // Without a landing: what is read again depends on the checkpoint alone.
            let api = Api::of(streams()).looked_at(move |stream, from| {
                let (reader, name) = (Arc::clone(&reader), name.clone());
                async move {
                    let rows = reader.rows(&name, "stream").await;
                    let there = rows.iter().filter(|row| **row == stream).count() as u64;
                    assert_eq!(there, from, "stop at {stop_at}, process {process}, stream {stream}");
                }
            });
            let sink = before_commit(warehouse.sink(&table, Upsert::by(["id", "stream"])), move |step| async move {
                if process == 0 && step.number == stop_at {
                    return Err(Error::config("commit rows", "the process dies here"));
                }
                Ok(None)
            });
            let pipeline = place.replayable(&table, &api, Decode::pages().schema(columns()), 1, sink);
            let ended = pipeline.run().await;
            assert_eq!(ended.is_err(), process == 0, "stop at {stop_at}: {ended:?}");
        }
        let rows = warehouse.rows(&table, "stream, id").await;
        assert_eq!(rows, ["a|0", "a|1", "a|2", "a|3", "b|0", "b|1", "b|2"], "stop at {stop_at}");
    }
}
