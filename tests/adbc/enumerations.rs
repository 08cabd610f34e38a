//! What takes rows away does so when an enumeration is whole, and never before.

use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::sink::{Disposition, ReplacePartitions, Upsert};

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
        let brought = "SELECT id, l.epoch FROM {orders} o JOIN {loads} l ON l.load_id = o._landfall_load ORDER BY id";
        assert_eq!(world.ask(brought).await, ["4|2", "7|5", "8|5", "9|4"], "a row names the load that brought it");
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
