//! Columns that come and go.

use crate::load::batch;
use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::sink::{Disposition, Scd2, Writer};

#[tokio::test]
async fn a_new_column_is_added_and_an_absent_one_is_null() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id").utf8("a"));
    load.load("{\"id\":1,\"a\":\"x\"}").await.expect("loads");
    load.columns = Columns::new().int64("id").utf8("b");
    load.load("{\"id\":2,\"b\":\"y\"}").await.expect("loads");
    load.load("{\"id\":3,\"b\":\"z\"}").await.expect("loads");
    assert_eq!(world.ask("SELECT id, a, b FROM {orders} ORDER BY id").await, ["1|x|-", "2|-|y", "3|-|z"]);
    assert_eq!(world.ask("SELECT epoch, schema_version FROM {loads} ORDER BY epoch").await, ["1|1", "2|2", "3|2"]);
    let history = world
        .ask(&format!("SELECT version, jsonb_array_length(columns) FROM {} ORDER BY 1", world.name("landfall_schema")))
        .await;
    assert_eq!(history, ["1|3", "2|4"]);
}

#[tokio::test]
async fn columns_may_change_within_an_epoch() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), Columns::new());
    let mut writer = load.open(false).await.expect("opens");
    writer.write(batch(&Columns::new().int64("id"), "{\"id\":1}")).await.expect("writes");
    writer.write(batch(&Columns::new().int64("id").bool("b"), "{\"id\":2,\"b\":true}")).await.expect("writes");
    writer.write(batch(&Columns::new().utf8("c").int64("id"), "{\"id\":3,\"c\":\"x\"}")).await.expect("writes");
    let staged = writer.finish().await.expect("finishes").expect("rows").staged;
    load.commit(&staged, false).await.expect("commits");
    assert_eq!(world.ask("SELECT id, b, c FROM {orders} ORDER BY id").await, ["1|-|-", "2|t|-", "3|-|x"]);
}

#[tokio::test]
async fn a_column_that_is_new_and_null_makes_no_new_version() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Scd2::by(["id"])), Columns::new().int64("id").utf8("a"));
    load.load("{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"x\"}").await.expect("loads");
    load.columns = Columns::new().int64("id").utf8("a").utf8("b");
    load.clock.sleep(std::time::Duration::from_secs(60)).await;
    load.load("{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"x\",\"b\":\"y\"}").await.expect("loads");
    assert_eq!(world.ask("SELECT id, count(*) FROM {orders} GROUP BY id ORDER BY id").await, ["1|1", "2|2"]);
}

#[tokio::test]
async fn names_that_postgres_would_cut_are_refused() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("x".repeat(64)));
    let error = load.stage(&format!("{{\"{}\":1}}", "x".repeat(64))).await.map(drop).expect_err("64 bytes");
    assert!(error.to_string().contains("63 bytes"), "{error}");
}

#[tokio::test]
async fn two_shards_add_columns_at_the_same_time() {
    let Some(world) = World::new().await else { return };
    let wide = |n: usize| (0..n).fold(Columns::new().int64("id"), |c, i| c.utf8(format!("c{i}")));
    let loads = (0..4).map(|n| {
        let mut load = Load::new(world.table(Disposition::Append), wide(n * 3));
        // Each is another owner: only the staging is looked at.
        load.generation = n as u64 + 1;
        async move { load.stage("{\"id\":1}").await.map(drop) }
    });
    for staged in futures::future::join_all(loads).await {
        staged.expect("stages");
    }
    let columns = world
        .ask(&format!(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = '{}'::regclass AND attnum > 0",
            world.name("orders").replace('\'', "''")
        ))
        .await;
    assert_eq!(columns, ["11"], "the widest, and the load");
}
