//! What becomes of rows that are there already.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{InsertOnly, Scd2, Sink, Upsert};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

const ALL: &str = "SELECT id, name FROM {orders} ORDER BY id, name";

#[tokio::test]
async fn l01_merge_collapses_repeats_within_an_epoch_and_with_the_table() {
    for world in World::all() {
        let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
        load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":1,\"name\":\"c\"}")
            .await
            .expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|c", "2|b"], "what was landed last is the newest");
        load.load("{\"id\":2,\"name\":\"d\"}\n{\"id\":3,\"name\":\"e\"}").await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|c", "2|d", "3|e"]);
        let counts = world
            .ask("SELECT rows_staged, rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch")
            .await;
        assert_eq!(counts, ["3|2|0|0", "2|1|1|0"]);
    }
}

#[tokio::test]
async fn l02_the_newest_version_wins_whatever_the_order_and_a_delete_is_a_version() {
    for world in World::all() {
        let upsert = Upsert::by(["id"]).newest("at").deleted_when("gone");
        let mut load = Load::new(world.table(upsert), columns());
        let at = |id: u64, name: &str, second: u64, gone: bool| {
            format!("{{\"id\":{id},\"name\":\"{name}\",\"at\":\"2024-01-01T00:00:{second:02}Z\",\"gone\":{gone}}}\n")
        };
        load.load(&(at(1, "new", 5, false) + &at(1, "old", 3, false) + &at(2, "x", 1, false))).await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|new", "2|x"], "by the column, not by the order");
        load.load(&(at(1, "older", 4, false) + &at(2, "same", 1, false))).await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|new", "2|same"], "an older one changes nothing, an equal one does");
        load.load(&(at(1, "late", 4, true) + &at(2, "bye", 2, true))).await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|new"], "an older delete changes nothing");
        // Delete and insert of one key in one epoch follow the column as well.
        load.load(&(at(1, "back", 9, false) + &at(1, "", 8, true) + &at(3, "", 2, true) + &at(3, "no", 1, false)))
            .await
            .expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|back"]);
        load.load("{\"id\":1,\"name\":\"undated\"}").await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|back"], "null is before everything");
    }
}

#[tokio::test]
async fn l02_insert_only_never_changes_a_row() {
    for world in World::all() {
        let mut load = Load::new(world.table(InsertOnly::by(["id"])), columns());
        load.load("{\"id\":1,\"name\":\"first\"}\n{\"id\":1,\"name\":\"second\"}").await.expect("loads");
        load.load("{\"id\":1,\"name\":\"third\"}\n{\"id\":2,\"name\":\"new\"}").await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["1|first", "2|new"]);
    }
}

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
        load.load("{\"id\":1,\"deleted_at\":\"2024-01-01T00:00:00Z\"}").await.expect("loads");
        assert_eq!(world.ask(ALL).await, ["2|b"]);
        let counts = world
            .ask("SELECT rows_staged, rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch")
            .await;
        assert_eq!(counts, ["2|2|0|0", "1|0|0|1"]);
    }
}

#[tokio::test]
async fn a_history_of_versions_is_refused_at_build() {
    for world in World::all() {
        let error = world.table(Scd2::by(["id"])).config().expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("PostgresTable"), "{error}");
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
