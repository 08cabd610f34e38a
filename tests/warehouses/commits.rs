//! Marks, lost answers, and what staging leaves behind.

use crate::load::{Load, shard};
use crate::sql::Sql;
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{CommitOutcome, CommitRequest, Disposition, Sink};

sql_cases! {
    an_epoch_comes_into_view_with_its_mark_and_never_twice,
    a_hostile_position_is_kept_as_it_is,
    the_mark_never_moves_over_rows_that_are_gone,
    control_tables_of_a_newer_version_are_refused,
    a_damaged_mark_halts,
    a_forged_checkpoint_moves_and_drops_no_table_but_its_own,
}

fn load<W: Sql>(warehouse: &W) -> Load<W::Sink> {
    Load::new(warehouse.sink("orders", Disposition::Append), Columns::new().int64("id").utf8("name"))
}

async fn an_epoch_comes_into_view_with_its_mark_and_never_twice<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse);
    assert_eq!(load.sink.mark(&shard()).await.expect("no tables yet"), None);
    let (output, _) = load.stage("{\"id\":1}\n{\"id\":2}").await.expect("stages");
    let staged = output.expect("rows").staged;
    assert!(warehouse.rows("orders", "id").await.is_empty(), "staged rows are not seen");
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    load.previous = None;
    assert_eq!(load.commit(&staged, false).await.expect("answers"), CommitOutcome::AlreadyCommitted);
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
    assert!(warehouse.waiting().await.is_empty(), "what was committed is not kept twice");
    let mark = load.sink.mark(&shard()).await.expect("reads").expect("a mark");
    assert_eq!((mark.generation, mark.epoch), (1, 1));
    let ledger =
        warehouse.rows("landfall_loads", "load_id, rows_staged, rows_inserted, schema_version, disposition").await;
    assert_eq!(ledger, ["orders-0000-00000000000000000001|2|2|1|append"]);
    let joined = "SELECT count(*) FROM {orders} o JOIN {landfall_loads} l ON l.load_id = o._landfall_load";
    assert_eq!(warehouse.sql(joined).await, ["2"]);
}

/// What an API says of where it ends comes as text into the ledger.
async fn a_hostile_position_is_kept_as_it_is<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse);
    let hostile = ["'; DROP TABLE orders; --", r"\'; DROP TABLE orders; --", r"\\", "''", "$1 ? {} é"];
    for (before, hostile) in hostile.into_iter().enumerate() {
        let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
        let mut request = load.request(&staged, false);
        request.load.position = serde_json::json!({ "next": hostile }).to_string();
        let position = request.load.position.clone();
        load.sink.commit(&load.clock, request).await.unwrap_or_else(|error| panic!("{hostile}: {error}"));
        load.previous = Some(load.epoch);
        let kept = format!("SELECT position FROM {{landfall_loads}} WHERE epoch = {}", load.epoch);
        assert_eq!(warehouse.sql(&kept).await, [position]);
        assert_eq!(warehouse.rows("orders", "id").await.len(), before + 1, "{hostile}");
    }
}

async fn the_mark_never_moves_over_rows_that_are_gone<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse);
    load.load("{\"id\":1}").await.expect("loads");
    let lost = load.stage("{\"id\":2}\n{\"id\":3}").await.expect("stages").0.expect("rows").staged;
    let waiting = warehouse.waiting().await;
    let [table] = waiting.as_slice() else { panic!("one table: {waiting:?}") };
    for loss in [format!("DELETE FROM {{{table}}} WHERE id = 3"), format!("DROP TABLE {{{table}}}")] {
        warehouse.sql(&loss).await;
        let error = load.commit(&lost, false).await.expect_err("rows are missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{loss}: {error}");
    }
    assert_eq!(load.sink.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(1));
    assert_eq!(warehouse.rows("orders", "id").await, ["1"]);
}

async fn control_tables_of_a_newer_version_are_refused<W: Sql>(warehouse: W) {
    load(&warehouse).load("{\"id\":1}").await.expect("loads");
    warehouse.sql(W::NEWER).await;
    // Another process: one that runs has looked.
    let staged = load(&warehouse).stage("{\"id\":2}").await.map(drop);
    let read = load(&warehouse).sink.mark(&shard()).await.map(drop);
    for error in [staged, read].map(|answer| answer.expect_err("it is newer")) {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}

async fn a_damaged_mark_halts<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse);
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("a row").staged;
    let whole =
        "incarnation = 'life', generation = 1, epoch = 1, digest = 'd', enumeration = NULL, enumeration_rows = NULL";
    for damage in [
        "epoch = -1",
        "generation = NULL",
        "incarnation = NULL, generation = -1, epoch = -1, digest = NULL",
        "enumeration = -1, enumeration_rows = 1",
        "enumeration = 1, enumeration_rows = -1",
        "enumeration = 1",
    ] {
        for set in [whole, damage] {
            warehouse.sql(&format!("UPDATE {{landfall_marks}} SET {set}")).await;
        }
        let answers = [load.sink.mark(&shard()).await.map(drop), load.commit(&staged, false).await.map(drop)];
        for error in answers.map(|answer| answer.expect_err(damage)) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}: {error}");
        }
    }
    assert_eq!(warehouse.rows("orders", "id").await, ["1"]);
    warehouse.sql(&format!("UPDATE {{landfall_marks}} SET {whole}")).await;
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
}

async fn a_forged_checkpoint_moves_and_drops_no_table_but_its_own<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse);
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("a row").staged;
    let request = load.request(&staged, false);
    // Each has as many rows as were staged.
    let forged = ["orders", "landfall_marks"].map(|name| {
        let mut forged = serde_json::to_value(&staged).expect("it goes into a checkpoint");
        forged["staging"] = name.into();
        let staged = serde_json::from_value(forged).expect("it is read from one");
        (name, CommitRequest { staged, ..request.clone() })
    });
    for (name, forged) in &forged {
        let error = load.sink.commit(&load.clock, forged.clone()).await.expect_err("nothing is staged there");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    // What is committed is dropped where it was staged, and nowhere else.
    for (_, forged) in forged {
        let outcome = load.sink.commit(&load.clock, forged).await.expect("answers");
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    }
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
    assert_eq!(load.sink.mark(&shard()).await.expect("reads").map(|mark| mark.epoch), Some(2));
}
