//! What becomes of rows that are there already.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{Sink, Upsert};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

const ALL: &str = "SELECT id, name FROM {orders} ORDER BY id, name";

#[tokio::test]
async fn rows_without_a_key_go_to_the_quarantine() {
    for world in World::all() {
        let mut load = Load::new(world.table(Upsert::by(["id", "name"])), columns());
        let (output, rejects) =
            load.stage("{\"id\":1,\"name\":\"a\"}\n{\"id\":2}\n{\"name\":\"b\"}").await.expect("stages");
        assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null_key", "null_key"]);
        assert_eq!(output.expect("a row").records, 1);
    }
}

#[tokio::test]
async fn a_key_of_several_columns_and_of_odd_names() {
    for world in World::all() {
        let columns = Columns::parse([("Order \"Id\"", "int64"), ("select", "utf8"), ("n", "int64")]).expect("types");
        let mut load = Load::new(world.table(Upsert::by(["Order \"Id\"", "select"])), columns);
        let row =
            |id: u64, text: &str, n: u64| format!("{{\"Order \\\"Id\\\"\":{id},\"select\":\"{text}\",\"n\":{n}}}\n");
        load.load(&(row(1, "a", 1) + &row(1, "b", 2))).await.expect("loads");
        load.load(&(row(1, "a", 3) + &row(2, "a", 4))).await.expect("loads");
        let rows =
            world.ask("SELECT * FROM (SELECT \"Order \"\"Id\"\"\", \"select\", n FROM {orders}) x ORDER BY 1, 2").await;
        assert_eq!(rows, ["1|a|3", "1|b|2", "2|a|4"]);
    }
}

#[tokio::test]
async fn a_column_that_the_rows_do_not_have_is_a_mistake_in_the_disposition() {
    for world in World::all() {
        for upsert in
            [Upsert::by(["ident"]), Upsert::by(["id"]).newest("updated"), Upsert::by(["id"]).deleted_when("deleted")]
        {
            let mut load = Load::new(world.table(upsert), columns());
            let error = load.stage("{\"id\":1}").await.map(drop).expect_err("no such column");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
        let error = world.table(Upsert::by::<&str>([])).config().expect_err("no key");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn an_upsert_leaves_columns_alone_that_the_rows_do_not_have() {
    for world in World::all() {
        let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
        load.load("{\"id\":1,\"name\":\"a\",\"gone\":true}").await.expect("loads");
        load.columns = Columns::new().int64("id").int64("extra");
        load.load("{\"id\":1,\"extra\":7}\n{\"id\":2,\"extra\":8}").await.expect("loads");
        assert_eq!(world.ask("SELECT id, name, extra FROM {orders} ORDER BY id").await, ["1|a|7", "2|-|8"]);
    }
}

#[tokio::test]
async fn a_delete_by_any_value_and_by_a_bool() {
    for world in World::all() {
        let columns = Columns::new().int64("id").utf8("name").timestamp("deleted_at");
        let mut load = Load::new(world.table(Upsert::by(["id"]).deleted_when("deleted_at")), columns);
        load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}").await.expect("loads");
        load.load("{\"id\":1,\"deleted_at\":\"2024-01-01T00:00:00Z\"}\n{\"id\":2,\"name\":\"c\"}")
            .await
            .expect("loads");
        assert_eq!(world.ask(ALL).await, ["2|c"]);
        let counts = world
            .ask("SELECT rows_staged, rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch")
            .await;
        assert_eq!(counts, ["2|2|0|0", "2|0|1|1"]);
    }
}

#[tokio::test]
async fn a_newest_that_the_database_would_order_in_another_way_is_refused() {
    let Some(world) = World::new(crate::support::Kind::Sqlite) else { return };
    let columns = Columns::parse([("id", "int64"), ("version", "decimal(18,2)")]).expect("types");
    let mut load = Load::new(world.table(Upsert::by(["id"]).newest("version")), columns);
    let error = load.stage("{\"id\":1,\"version\":\"1.00\"}").await.map(drop).expect_err("10 is before 9 as text");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
