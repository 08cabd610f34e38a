//! What becomes of rows that are there already.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::{Children, Upsert};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

#[tokio::test]
async fn a_table_where_keys_are_not_unique_is_refused_with_the_statement_that_helps() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.name("").trim_end_matches(".\"\""))).await;
    world.ask("CREATE TABLE {orders} (id bigint, name text); INSERT INTO {orders} VALUES (1, 'a'), (1, 'b')").await;
    let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
    let error = load.stage("{\"id\":1,\"name\":\"c\"}").await.map(drop).expect_err("two rows have the key");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("CREATE UNIQUE INDEX"), "{error}");
    assert_eq!(world.ask("SELECT count(*) FROM {orders}").await, ["2"]);
}

#[tokio::test]
async fn deleted_rows_may_stay_and_then_older_versions_change_nothing() {
    let Some(world) = World::new().await else { return };
    let upsert = Upsert::by(["id"]).newest("at").deleted_when("gone").keep_deleted();
    let mut load = Load::new(world.table(upsert), columns());
    let row = |id: u64, name: &str, second: u64, gone: &str| {
        format!("{{\"id\":{id},\"name\":{name},\"at\":\"2024-01-01T00:00:{second:02}Z\",\"gone\":{gone}}}\n")
    };
    const KEPT: &str = "SELECT id, name, gone, extract(second FROM at)::int FROM {orders} ORDER BY id";
    load.load(&(row(1, "\"a\"", 1, "false") + &row(2, "\"b\"", 5, "null"))).await.expect("loads");
    load.load(&(row(1, "null", 7, "true") + &row(2, "null", 4, "true") + &row(3, "null", 3, "true")))
        .await
        .expect("loads");
    let rows = world.ask(KEPT).await;
    assert_eq!(rows, ["1|a|t|7", "2|b|-|5", "3|-|t|3"], "marked; older than the row; never there");
    load.load(&(row(1, "\"older\"", 6, "false") + &row(3, "\"older\"", 2, "false"))).await.expect("loads");
    assert_eq!(world.ask(KEPT).await, rows, "what is older than the deletion is no row again");
    load.load(&row(1, "\"back\"", 9, "false")).await.expect("loads");
    assert_eq!(world.ask(KEPT).await, ["1|back|f|9", "2|b|-|5", "3|-|t|3"]);
    let counts = world.ask("SELECT rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch").await;
    assert_eq!(counts, ["2|0|0", "1|1|0", "0|0|0", "0|1|0"]);
}

/// Children have no key by which the database itself could make two commits wait for each other. A test in `defects.rs`.
pub async fn children_of_one_parent_are_those_of_one_shard() {
    let Some(world) = World::new().await else { return };
    let name = world.schema.replace(['"', ' '], "_");
    let database = Postgres::connect(&format!("{}&application_name={name}", world.url)).expect("a URL");
    let items = format!("{}.items", world.schema);
    let columns = Columns::new().int64("order_id").int64("_index").utf8("sku");
    let mut loads = Vec::new();
    for number in 0..2 {
        let table = PostgresTable::at(&database, &items).expect("a name").disposition(Children::of(["order_id"]));
        let mut load = Load::new(table, columns.clone());
        load.shard.shard = number;
        let item = format!("{{\"order_id\":1,\"_index\":0,\"sku\":\"of shard {number}\"}}");
        let staged = load.stage(&item).await.expect("stages").0.expect("rows").staged;
        loads.push((load, staged));
    }
    // Whoever has changed its rows stops here before it commits, and the other one comes to them meanwhile.
    let lock = format!("SELECT pg_advisory_lock(hashtextextended('landfall schema of {items}', 0))");
    world.ask(&lock).await;
    let committed = loads.iter_mut().map(|(load, staged)| load.commit(staged, false));
    let both_wait = async {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
        );
        while world.ask(&waiting).await != ["2"] {}
        world.ask("SELECT pg_advisory_unlock_all()").await;
    };
    let (committed, ()) = tokio::join!(futures::future::join_all(committed), both_wait);
    committed.into_iter().for_each(|outcome| drop(outcome.expect("commits")));
    let left = world.ask("SELECT sku FROM {items}").await;
    assert_eq!(left.len(), 1, "children of both shards: {left:?}");
}
