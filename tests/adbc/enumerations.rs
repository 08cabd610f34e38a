//! What takes rows away does so when an enumeration is whole, and never before.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{Disposition, Replace, ReplacePartitions, Upsert, Writer};

const ALL: &str = "SELECT id, name FROM {orders} ORDER BY id, name";

fn load(world: &World, disposition: impl Into<Disposition>) -> Load {
    let mut load = Load::new(world.table(disposition), Columns::new().int64("id").utf8("name"));
    load.enumeration = Some(1);
    load
}

fn lines(rows: &[(u64, &str)]) -> String {
    rows.iter().map(|(id, name)| format!("{{\"id\":{id},\"name\":\"{name}\"}}\n")).collect()
}

#[tokio::test]
async fn l04_a_table_is_replaced_in_one_step_and_only_by_what_is_whole() {
    for world in World::all() {
        let mut load = load(&world, Replace::table());
        load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
        load.load(&lines(&[(3, "c")])).await.expect("loads");
        assert!(world.ask(ALL).await.is_empty(), "nothing is seen before it is whole");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["1|a", "2|b", "3|c"]);

        // One that breaks off leaves the table as it is, and nothing for the next one.
        load.enumeration = Some(9);
        load.load(&lines(&[(7, "lost")])).await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|a", "2|b", "3|c"]);
        load.enumeration = Some(12);
        load.load(&lines(&[(1, "A"), (4, "d")])).await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["1|A", "4|d"]);
        assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
        let joined = world
            .ask("SELECT id, l.epoch FROM {orders} o JOIN {loads} l ON l.load_id = o._landfall_load ORDER BY id")
            .await;
        assert_eq!(joined, ["1|5", "4|5"], "a row names the load that brought it");
    }
}

#[tokio::test]
async fn l14_the_shrink_guard_refuses_before_anything_is_prepared() {
    for world in World::all() {
        let mut load = load(&world, Replace::table().may_shrink_by(0.5));
        load.load(&lines(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")])).await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load(&lines(&[(1, "a")])).await.expect("loads");
        let error = load.open(true).await.expect("opens").finish().await.expect_err("three of four would go");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("may_shrink_by"), "{error}");
        load.enumeration = Some(3);
        let error = load.open(true).await.expect("opens").finish().await.expect_err("all would go");
        assert_eq!(error.kind(), ErrorKind::Data, "rows of another enumeration do not count");
        assert_eq!(world.ask("SELECT count(*) FROM {orders}").await, ["4"]);

        let allowed = world.table(Replace::table().may_shrink_by(1.0));
        load.sink = allowed.into();
        load.enumeration = Some(4);
        load.whole().await.expect("it is allowed");
        assert!(world.ask(ALL).await.is_empty());
    }
}

#[tokio::test]
async fn l14_replace_verifies_the_staged_row_count() {
    for world in World::all() {
        let mut load = load(&world, Replace::table());
        load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load(&lines(&[(3, "c"), (4, "d")])).await.expect("loads");
        let aside = world.staged().await;
        world.ask(&format!("DELETE FROM {} WHERE id = 4", world.name(&aside[0]))).await;
        let staged =
            load.open(true).await.expect("opens").finish().await.expect("half is enough").expect("something").staged;
        let error = load.commit(&staged, true).await.expect_err("a row is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(world.ask(ALL).await, ["1|a", "2|b"]);
    }
}

#[tokio::test]
async fn a_key_collapses_what_an_enumeration_gives_twice() {
    for world in World::all() {
        let mut load = load(&world, Replace::table().key(["id"]));
        load.load(&lines(&[(1, "a"), (2, "b"), (1, "b")])).await.expect("loads");
        load.load(&lines(&[(2, "c")])).await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["1|b", "2|c"]);
    }
}

#[tokio::test]
async fn only_partitions_that_came_are_replaced() {
    for world in World::all() {
        let mut load = load(&world, ReplacePartitions::by(["name"]));
        load.load(&lines(&[(1, "mon"), (2, "mon"), (3, "tue")]).replace("\"tue\"", "null")).await.expect("loads");
        load.load(&lines(&[(4, "wed")])).await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["1|mon", "2|mon", "3|-", "4|wed"]);
        load.enumeration = Some(2);
        load.load(&lines(&[(9, "mon")])).await.expect("loads");
        load.load(&lines(&[(8, "mon"), (7, "x")]).replace("\"x\"", "null")).await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["4|wed", "7|-", "8|mon", "9|mon"], "null is a partition too");
        load.enumeration = Some(3);
        load.whole().await.expect("is whole");
        assert_eq!(world.ask("SELECT count(*) FROM {orders}").await, ["4"], "no row is no partition");
    }
}

#[tokio::test]
async fn l09_a_sweep_deletes_what_did_not_come_and_nothing_of_others() {
    for world in World::all() {
        let mut load = load(&world, Upsert::by(["id"]).sweep(1.0));
        load.load(&lines(&[(1, "a"), (2, "b"), (3, "c")])).await.expect("loads");
        assert_eq!(world.ask(ALL).await.len(), 3, "what is new is seen at once");
        load.whole().await.expect("is whole");
        world.ask("INSERT INTO {orders} (id, name, _landfall_load) VALUES (50, 'other', 'elsewhere-0000-1'), (51, 'by hand', NULL)").await;
        load.enumeration = Some(2);
        load.load(&lines(&[(1, "a"), (4, "d")])).await.expect("loads");
        assert_eq!(world.ask(ALL).await.len(), 6, "nothing goes before it is whole");
        load.enumeration = Some(3);
        load.load(&lines(&[(1, "a")])).await.expect("loads");
        load.load(&lines(&[(3, "c")])).await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask(ALL).await, ["1|a", "3|c", "50|other", "51|by hand"]);
    }
}

#[tokio::test]
async fn a_sweep_that_would_take_too_much_is_refused_before_anything_is_prepared() {
    for world in World::all() {
        let mut load = load(&world, Upsert::by(["id"]).sweep(0.5));
        load.load(&lines(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")])).await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load(&lines(&[(1, "a")])).await.expect("loads");
        let error = load.open(true).await.expect("opens").finish().await.expect_err("three of four would go");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        load.enumeration = Some(3);
        load.load(&lines(&[(1, "a"), (2, "b")])).await.expect("loads");
        load.whole().await.expect("half may go");
        load.enumeration = Some(4);
        let error = load.open(true).await.expect("opens").finish().await.expect_err("an empty one takes all");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}
