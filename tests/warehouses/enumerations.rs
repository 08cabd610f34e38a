//! What takes rows away does so when an enumeration is whole, and never before.

use crate::load::Load;
use crate::sql::Sql;
use crate::warehouse::Warehouse;
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{CommitOutcome, Disposition, Replace, ReplacePartitions, Scd2, Sink, Upsert, Writer};

sql_cases! {
    a_table_is_replaced_in_one_step_and_only_by_what_is_whole,
    who_asks_for_an_old_commit_again_leaves_the_rows_of_a_later_enumeration,
    only_partitions_that_came_are_replaced,
    a_sweep_deletes_what_did_not_come_and_nothing_of_others,
    a_sweep_that_would_take_too_much_is_refused_before_anything_is_prepared,
}

fn load<W: Warehouse>(warehouse: &W, table: &str, disposition: impl Into<Disposition>) -> Load<W::Sink> {
    let mut load = Load::new(warehouse.sink(table, disposition), Columns::new().int64("id").utf8("name"));
    load.enumeration = Some(1);
    load
}

fn lines(rows: &[(u64, &str)]) -> String {
    rows.iter().map(|(id, name)| format!("{{\"id\":{id},\"name\":\"{name}\"}}\n")).collect()
}

/// The rows, each with the epoch of the load that it names.
const BROUGHT: &str =
    "SELECT id, l.epoch FROM {orders} o JOIN {landfall_loads} l ON l.load_id = o._landfall_load ORDER BY id";

async fn a_table_is_replaced_in_one_step_and_only_by_what_is_whole<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, "orders", Replace::table());
    let all = async || warehouse.rows("orders", "id, name").await;
    load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
    load.load(&lines(&[(3, "c")])).await.expect("loads");
    assert!(all().await.is_empty(), "nothing is seen before it is whole");
    load.whole().await.expect("is whole");
    assert_eq!(all().await, ["1|a", "2|b", "3|c"]);

    // One that breaks off leaves the table as it is, and nothing for the next one.
    load.enumeration = Some(9);
    load.load(&lines(&[(7, "lost")])).await.expect("loads");
    assert_eq!(all().await, ["1|a", "2|b", "3|c"]);
    load.enumeration = Some(12);
    load.load(&lines(&[(1, "A"), (4, "d")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(all().await, ["1|A", "4|d"]);
    assert!(warehouse.waiting().await.is_empty(), "{:?}", warehouse.waiting().await);
    assert_eq!(warehouse.sql(BROUGHT).await, ["1|5", "4|5"], "a row names the load that brought it");
}

async fn who_asks_for_an_old_commit_again_leaves_the_rows_of_a_later_enumeration<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, "orders", Replace::table());
    let staged = load.stage(&lines(&[(1, "a")])).await.expect("stages").0.expect("rows").staged;
    let slept = load.request(&staged, false);
    load.commit(&staged, false).await.expect("commits");
    load.enumeration = Some(2);
    load.load(&lines(&[(2, "b")])).await.expect("loads");
    let outcome = load.sink.commit(&load.clock, slept).await.expect("is asked");
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    load.whole().await.expect("its rows are there");
    assert_eq!(warehouse.rows("orders", "id, name").await, ["2|b"]);
}

async fn only_partitions_that_came_are_replaced<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, "orders", ReplacePartitions::by(["name"]));
    let all = async || warehouse.rows("orders", "id, name").await;
    load.load(&lines(&[(1, "mon"), (2, "mon"), (3, "tue")]).replace("\"tue\"", "null")).await.expect("loads");
    load.load(&lines(&[(4, "wed")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(all().await, ["1|mon", "2|mon", "3|-", "4|wed"]);
    load.enumeration = Some(2);
    load.load(&lines(&[(9, "mon")])).await.expect("loads");
    load.load(&lines(&[(8, "mon"), (7, "x")]).replace("\"x\"", "null")).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(all().await, ["4|wed", "7|-", "8|mon", "9|mon"], "null is a partition too");
    assert_eq!(warehouse.sql(BROUGHT).await, ["4|2", "7|5", "8|5", "9|4"], "a row names the load that brought it");
    load.enumeration = Some(3);
    load.whole().await.expect("is whole");
    assert_eq!(all().await.len(), 4, "no row is no partition");
}

async fn a_sweep_deletes_what_did_not_come_and_nothing_of_others<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, "orders", Upsert::by(["id"]).sweep(1.0));
    let all = async || warehouse.rows("orders", "id, name").await;
    load.load(&lines(&[(1, "a"), (2, "b"), (3, "c")])).await.expect("loads");
    assert_eq!(all().await.len(), 3, "what is new is seen at once");
    load.whole().await.expect("is whole");
    let others = "INSERT INTO {orders} (id, name, _landfall_load) VALUES (50, 'other', 'elsewhere-0000-1'), (51, 'by hand', NULL)";
    warehouse.sql(others).await;
    load.enumeration = Some(2);
    load.load(&lines(&[(1, "a"), (4, "d")])).await.expect("loads");
    assert_eq!(all().await.len(), 6, "nothing goes before it is whole");
    load.enumeration = Some(3);
    load.load(&lines(&[(1, "a")])).await.expect("loads");
    load.load(&lines(&[(3, "c")])).await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(all().await, ["1|a", "3|c", "50|other", "51|by hand"]);
}

async fn a_sweep_that_would_take_too_much_is_refused_before_anything_is_prepared<W: Sql>(warehouse: W) {
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(0.5)), Scd2::by(["id"]).sweep(0.5).into()] {
        if !warehouse.offers(&disposition) {
            continue;
        }
        let mut load = load(&warehouse, disposition.as_str(), disposition.clone());
        load.load(&lines(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")])).await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load(&lines(&[(1, "a")])).await.expect("loads");
        let error = load.open(true).await.expect("opens").finish().await.map(drop).expect_err("three of four would go");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        load.enumeration = Some(3);
        load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
        load.whole().await.expect("half may go");
        load.enumeration = Some(4);
        let error = load.open(true).await.expect("opens").finish().await.map(drop).expect_err("an empty one takes all");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}
