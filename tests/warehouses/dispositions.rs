//! What becomes of rows that are there already: keys, columns, and what the ledger of loads counts.

use crate::load::Load;
use crate::sql::{Engine, Sql};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{Disposition, Sink, Upsert};

sql_cases! {
    merge_collapses_repeats_within_an_epoch_and_with_the_table,
    rows_without_a_key_go_to_the_quarantine,
    a_key_of_several_columns_and_of_odd_names,
    a_column_that_the_rows_do_not_have_is_a_mistake_in_the_disposition,
    an_upsert_leaves_columns_alone_that_the_rows_do_not_have,
    a_delete_by_any_value_and_by_a_bool,
    a_newest_that_the_database_would_order_in_another_way_is_refused,
}

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

fn load<W: Sql>(warehouse: &W, disposition: impl Into<Disposition>) -> Load<W::Sink> {
    Load::new(warehouse.sink("orders", disposition), columns())
}

/// What the ledger says of each epoch.
async fn counted<W: Sql>(warehouse: &W) -> Vec<String> {
    warehouse.rows("landfall_loads", "epoch, rows_staged, rows_inserted, rows_updated, rows_deleted").await
}

async fn merge_collapses_repeats_within_an_epoch_and_with_the_table<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["id"]));
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":1,\"name\":\"c\"}").await.expect("loads");
    let rows = warehouse.rows("orders", "id, name").await;
    assert_eq!(rows, ["1|c", "2|b"], "what was landed last is the newest");
    load.load("{\"id\":2,\"name\":\"d\"}\n{\"id\":3,\"name\":\"e\"}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id, name").await, ["1|c", "2|d", "3|e"]);
    assert_eq!(counted(&warehouse).await, ["1|3|2|0|0", "2|2|1|1|0"]);
}

async fn rows_without_a_key_go_to_the_quarantine<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["id", "name"]));
    let (output, rejects) =
        load.stage("{\"id\":1,\"name\":\"a\"}\n{\"id\":2}\n{\"name\":\"b\"}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null_key", "null_key"]);
    assert_eq!(output.expect("a row").records, 1);
}

async fn a_key_of_several_columns_and_of_odd_names<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["Order \"Id\"", "select"]));
    load.columns = Columns::parse([("Order \"Id\"", "int64"), ("select", "utf8"), ("n", "int64")]).expect("types");
    let row = |id: u64, text: &str, n: u64| format!("{{\"Order \\\"Id\\\"\":{id},\"select\":\"{text}\",\"n\":{n}}}\n");
    load.load(&(row(1, "a", 1) + &row(1, "b", 2))).await.expect("loads");
    load.load(&(row(1, "a", 3) + &row(2, "a", 4))).await.expect("loads");
    let rows = warehouse.sql("SELECT \"Order \"\"Id\"\"\", \"select\", n FROM {orders} ORDER BY 1, 2").await;
    assert_eq!(rows, ["1|a|3", "1|b|2", "2|a|4"]);
}

async fn a_column_that_the_rows_do_not_have_is_a_mistake_in_the_disposition<W: Sql>(warehouse: W) {
    for upsert in
        [Upsert::by(["ident"]), Upsert::by(["id"]).newest("updated"), Upsert::by(["id"]).deleted_when("deleted")]
    {
        let error = load(&warehouse, upsert).stage("{\"id\":1}").await.map(drop).expect_err("no such column");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    let error = warehouse.sink("orders", Upsert::by::<&str>([])).config().expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::Config);
}

async fn an_upsert_leaves_columns_alone_that_the_rows_do_not_have<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["id"]));
    load.load("{\"id\":1,\"name\":\"a\",\"gone\":true}").await.expect("loads");
    load.columns = Columns::new().int64("id").int64("extra");
    load.load("{\"id\":1,\"extra\":7}\n{\"id\":2,\"extra\":8}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id, name, extra").await, ["1|a|7", "2|-|8"]);
}

async fn a_delete_by_any_value_and_by_a_bool<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["id"]).deleted_when("deleted_at"));
    load.columns = Columns::new().int64("id").utf8("name").timestamp("deleted_at");
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}").await.expect("loads");
    load.load("{\"id\":1,\"deleted_at\":\"2024-01-01T00:00:00Z\"}\n{\"id\":2,\"name\":\"c\"}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id, name").await, ["2|c"]);
    assert_eq!(counted(&warehouse).await, ["1|2|2|0|0", "2|2|0|1|1"]);
}

async fn a_newest_that_the_database_would_order_in_another_way_is_refused<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Upsert::by(["id"]).newest("version"));
    load.columns = Columns::parse([("id", "int64"), ("version", "decimal(18,2)")]).expect("types");
    let staged = load.stage("{\"id\":1,\"version\":\"1.00\"}").await;
    match W::ENGINE {
        Engine::Sqlite => {
            let error = staged.map(drop).expect_err("10 is before 9 as text");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
        _ => assert!(staged.expect("a number is one").1.is_empty()),
    }
}
