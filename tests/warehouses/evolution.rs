//! Columns that come and go, and their names.

use crate::load::{Load, batch};
use crate::sql::{Engine, Sql};
use landfall::columnar::arrow::array::{ArrayRef, Int64Array};
use landfall::columnar::arrow::record_batch::RecordBatch;
use landfall::columnar::{Batch, Columns};
use landfall::sink::{Disposition, Upsert, Writer};
use std::sync::Arc;

sql_cases! {
    a_new_column_is_added_and_an_absent_one_is_null,
    columns_may_change_within_an_epoch,
    two_shards_add_columns_at_the_same_time,
    two_names_that_are_one_to_the_database_are_refused,
    odd_names_stay_names,
}

mod names {
    use super::names_that_postgres_would_cut_are_refused;

    server_cases! { names_that_postgres_would_cut_are_refused }
}

fn load<W: Sql>(warehouse: &W, columns: Columns) -> Load<W::Sink> {
    Load::new(warehouse.sink("orders", Disposition::Append), columns)
}

async fn a_new_column_is_added_and_an_absent_one_is_null<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Columns::new().int64("id").utf8("a"));
    load.load("{\"id\":1,\"a\":\"x\"}").await.expect("loads");
    load.columns = Columns::new().int64("id").utf8("b");
    load.load("{\"id\":2,\"b\":\"y\"}").await.expect("loads");
    load.load("{\"id\":3,\"b\":\"z\"}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id, a, b").await, ["1|x|-", "2|-|y", "3|-|z"]);
    assert_eq!(warehouse.rows("landfall_loads", "epoch, schema_version").await, ["1|1", "2|2", "3|2"]);
    let history = warehouse.rows("landfall_schema", "version, columns").await;
    let versions =
        history.iter().map(|row| (row.split('|').next().unwrap_or_default(), row.matches("\"name\"").count()));
    assert_eq!(versions.collect::<Vec<_>>(), [("1", 3), ("2", 4)], "{history:?}");
}

async fn columns_may_change_within_an_epoch<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Columns::new());
    let mut writer = load.open(false).await.expect("opens");
    writer.write(batch(&Columns::new().int64("id"), "{\"id\":1}")).await.expect("writes");
    writer.write(batch(&Columns::new().int64("id").bool("b"), "{\"id\":2,\"b\":true}")).await.expect("writes");
    writer.write(batch(&Columns::new().utf8("c").int64("id"), "{\"id\":3,\"c\":\"x\"}")).await.expect("writes");
    let staged = writer.finish().await.expect("finishes").expect("rows").staged;
    load.commit(&staged, false).await.expect("commits");
    let rows = warehouse.sql("SELECT id, CASE WHEN b THEN 1 END, c FROM {orders} ORDER BY id").await;
    assert_eq!(rows, ["1|-|-", "2|1|-", "3|-|x"]);
}

async fn two_shards_add_columns_at_the_same_time<W: Sql>(warehouse: W) {
    let wide = |n: usize| (0..n).fold(Columns::new().int64("id"), |c, i| c.utf8(format!("c{i}")));
    let loads = (0..4).map(|n| {
        let mut load = load(&warehouse, wide(n * 3));
        // Each is another owner: only the staging is looked at.
        load.generation = n as u64 + 1;
        async move { load.stage("{\"id\":1}").await.map(drop) }
    });
    for staged in futures::future::join_all(loads).await {
        staged.expect("stages");
    }
    let mut load = load(&warehouse, wide(0));
    load.generation = 9;
    load.load("{\"id\":1}").await.expect("loads");
    assert_eq!(warehouse.columns("orders").await.len(), 10, "the widest");
    let history = warehouse.rows("landfall_schema", "columns").await;
    assert_eq!(history[0].matches("\"name\"").count(), 11, "the widest, and the load: {history:?}");
}

async fn names_that_postgres_would_cut_are_refused<W: Sql>(warehouse: W) {
    let long = "x".repeat(64);
    let mut load = load(&warehouse, Columns::new().int64(&long));
    let error = load.stage(&format!("{{\"{long}\":1}}")).await.map(drop).expect_err("64 bytes");
    assert!(error.to_string().contains("63 bytes"), "{error}");
}

async fn two_names_that_are_one_to_the_database_are_refused<W: Sql>(warehouse: W) {
    if W::ENGINE == Engine::Postgres {
        // They are two there.
        return;
    }
    let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("id", number()), ("ID", number())]).expect("fits");
    let mut writer = load(&warehouse, Columns::new()).open(false).await.expect("opens");
    let error = writer.write(Batch::new(rows)).await.expect_err("one name");
    assert!(error.to_string().contains("`ID`"), "{error}");
    // A column that is there is the same column however it is written.
    let mut load = load(&warehouse, Columns::new().int64("id"));
    load.load("{\"id\":1}").await.expect("loads");
    load.columns = Columns::new().int64("Id");
    load.load("{\"Id\":2}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2"]);
}

async fn odd_names_stay_names<W: Sql>(warehouse: W) {
    let odd = "a\"; DROP TABLE x; -- '$1 ?";
    let columns =
        Columns::parse([("id", "int64"), (odd, "utf8"), ("select", "int64"), ("таблица", "utf8")]).expect("types");
    let mut load = Load::new(warehouse.sink("orders", Upsert::by(["id"])), columns);
    let row = serde_json::json!({"id": 1, odd: "x'; --\\", "select": 2, "таблица": "да"}).to_string();
    load.load(&row).await.expect("loads");
    load.load(&row).await.expect("loads");
    assert_eq!(warehouse.columns("orders").await, [odd, "id", "select", "таблица"]);
    let odd = odd.replace('"', "\"\"");
    let rows = warehouse.sql(&format!("SELECT \"{odd}\", \"select\", \"таблица\" FROM {{orders}}")).await;
    assert_eq!(rows, ["x'; --\\|2|да"]);
}
