//! Columns that come and go.

use crate::load::batch;
use crate::support::{Kind, Load, World};
use landfall::columnar::arrow::array::{ArrayRef, Int64Array};
use landfall::columnar::arrow::record_batch::RecordBatch;
use landfall::columnar::arrow::util::display::array_value_to_string;
use landfall::columnar::{Batch, Columns};
use landfall::sink::{Disposition, Writer};
use std::sync::Arc;

#[tokio::test]
async fn a_new_column_is_added_and_an_absent_one_is_null() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id").utf8("a"));
        load.load("{\"id\":1,\"a\":\"x\"}").await.expect("loads");
        load.columns = Columns::new().int64("id").utf8("b");
        load.load("{\"id\":2,\"b\":\"y\"}").await.expect("loads");
        load.load("{\"id\":3,\"b\":\"z\"}").await.expect("loads");
        assert_eq!(world.ask("SELECT id, a, b FROM {orders} ORDER BY id").await, ["1|x|-", "2|-|y", "3|-|z"]);
        assert_eq!(world.ask("SELECT epoch, schema_version FROM {loads} ORDER BY epoch").await, ["1|1", "2|2", "3|2"]);
        let history = world.ask("SELECT version, columns FROM {schema} ORDER BY 1").await;
        let columns = |row: &String| row.matches("\"name\"").count();
        assert_eq!(history.iter().map(columns).collect::<Vec<_>>(), [3, 4], "{history:?}");
    }
}

#[tokio::test]
async fn columns_may_change_within_an_epoch() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), Columns::new());
        let mut writer = load.open(false).await.expect("opens");
        writer.write(batch(&Columns::new().int64("id"), "{\"id\":1}")).await.expect("writes");
        writer.write(batch(&Columns::new().int64("id").bool("b"), "{\"id\":2,\"b\":true}")).await.expect("writes");
        writer.write(batch(&Columns::new().utf8("c").int64("id"), "{\"id\":3,\"c\":\"x\"}")).await.expect("writes");
        let staged = writer.finish().await.expect("finishes").expect("rows").staged;
        load.commit(&staged, false).await.expect("commits");
        let rows = world.ask("SELECT id, CASE WHEN b THEN 1 END, c FROM {orders} ORDER BY id").await;
        assert_eq!(rows, ["1|-|-", "2|1|-", "3|-|x"]);
    }
}

#[tokio::test]
async fn names_that_postgres_would_cut_are_refused() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("x".repeat(64)));
    let error = load.stage(&format!("{{\"{}\":1}}", "x".repeat(64))).await.map(drop).expect_err("64 bytes");
    assert!(error.to_string().contains("63 bytes"), "{error}");
}

#[tokio::test]
async fn two_shards_add_columns_at_the_same_time() {
    for world in World::all() {
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
        let mut load = Load::new(world.table(Disposition::Append), wide(9));
        load.generation = 9;
        load.load("{\"id\":1}").await.expect("loads");
        let history = world.ask("SELECT columns FROM {schema}").await;
        assert_eq!(history[0].matches("\"name\"").count(), 11, "the widest, and the load");
    }
}

#[tokio::test]
async fn two_names_that_are_one_to_the_database_are_refused() {
    for world in World::all().filter(|world| matches!(world.kind, Kind::DuckDb | Kind::Sqlite)) {
        let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("id", number()), ("ID", number())]).expect("fits");
        let mut load = Load::new(world.table(Disposition::Append), Columns::new());
        let mut writer = load.open(false).await.expect("opens");
        let error = writer.write(Batch::new(rows)).await.expect_err("one name");
        assert!(error.to_string().contains("`ID`"), "{error}");
        // A column that is there is the same column however it is written.
        let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id"));
        load.load("{\"id\":1}").await.expect("loads");
        load.columns = Columns::new().int64("Id");
        load.load("{\"Id\":2}").await.expect("loads");
        assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2"]);
    }
}

#[tokio::test]
async fn odd_names_stay_names() {
    for world in World::all() {
        let odd = "a\"; DROP TABLE x; -- '$1 ?";
        let columns =
            Columns::parse([("id", "int64"), (odd, "utf8"), ("select", "int64"), ("таблица", "utf8")]).expect("types");
        let mut load = Load::new(world.table(landfall::sink::Upsert::by(["id"])), columns);
        let row = serde_json::json!({"id": 1, odd: "x'; --\\", "select": 2, "таблица": "да"}).to_string();
        load.load(&row).await.expect("loads");
        load.load(&row).await.expect("loads");
        let rows = world.batches("SELECT * FROM {orders}").await;
        let named = |name: &str| world_text(&rows, name);
        assert_eq!([named(odd), named("select"), named("таблица")], ["x'; --\\", "2", "да"], "{:?}", world.kind);
    }
}

fn world_text(rows: &[RecordBatch], name: &str) -> String {
    array_value_to_string(rows[0].column_by_name(name).expect("is there"), 0).expect("shows")
}
