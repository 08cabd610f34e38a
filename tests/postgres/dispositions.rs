//! What becomes of rows that are there already.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::{Children, Scd2, Sink, Upsert};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name").timestamp("at").bool("gone")
}

const ALL: &str = "SELECT id, name FROM {orders} ORDER BY id, name";

#[tokio::test]
async fn l01_merge_collapses_repeats_within_an_epoch_and_with_the_table() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":1,\"name\":\"c\"}").await.expect("loads");
    assert_eq!(world.ask(ALL).await, ["1|c", "2|b"], "what was landed last is the newest");
    load.load("{\"id\":2,\"name\":\"d\"}\n{\"id\":3,\"name\":\"e\"}").await.expect("loads");
    assert_eq!(world.ask(ALL).await, ["1|c", "2|d", "3|e"]);
    let counts =
        world.ask("SELECT rows_staged, rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch").await;
    assert_eq!(counts, ["3|2|0|0", "2|1|1|0"]);
}

#[tokio::test]
async fn rows_without_a_key_go_to_the_quarantine() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Upsert::by(["id", "name"])), columns());
    let (output, rejects) =
        load.stage("{\"id\":1,\"name\":\"a\"}\n{\"id\":2}\n{\"name\":\"b\"}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null_key", "null_key"]);
    assert_eq!(output.expect("a row").records, 1);
}

#[tokio::test]
async fn a_key_of_several_columns_and_of_odd_names() {
    let Some(world) = World::new().await else { return };
    let columns = Columns::parse([("Order \"Id\"", "int64"), ("select", "utf8"), ("n", "int64")]).expect("types");
    let mut load = Load::new(world.table(Upsert::by(["Order \"Id\"", "select"])), columns);
    let row = |id: u64, text: &str, n: u64| format!("{{\"Order \\\"Id\\\"\":{id},\"select\":\"{text}\",\"n\":{n}}}\n");
    load.load(&(row(1, "a", 1) + &row(1, "b", 2))).await.expect("loads");
    load.load(&(row(1, "a", 3) + &row(2, "a", 4))).await.expect("loads");
    let rows =
        world.ask("SELECT * FROM (SELECT \"Order \"\"Id\"\"\", \"select\", n FROM {orders}) x ORDER BY 1, 2").await;
    assert_eq!(rows, ["1|a|3", "1|b|2", "2|a|4"]);
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
async fn a_column_that_the_rows_do_not_have_is_a_mistake_in_the_disposition() {
    let Some(world) = World::new().await else { return };
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

const HISTORY: &str = "SELECT id, name, extract(second FROM _landfall_valid_from)::int, extract(second FROM _landfall_valid_to)::int \
                       FROM {orders} ORDER BY id, _landfall_valid_from";

fn version(id: u64, name: &str, second: u64) -> String {
    format!("{{\"id\":{id},\"name\":\"{name}\",\"at\":\"2024-01-01T00:00:{second:02}Z\",\"gone\":false}}\n")
}

#[tokio::test]
async fn scd2_keeps_every_version_and_when_it_held() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Scd2::by(["id"]).since("at").deleted_when("gone")), columns());
    load.load(&(version(1, "a", 1) + &version(1, "b", 5) + &version(2, "x", 2))).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await, ["1|a|1|5", "1|b|5|-", "2|x|2|-"]);
    load.load(&(version(1, "b", 7) + &version(2, "y", 6) + &version(3, "n", 1))).await.expect("loads");
    assert_eq!(
        world.ask(HISTORY).await,
        ["1|a|1|5", "1|b|5|-", "2|x|2|6", "2|y|6|-", "3|n|1|-"],
        "the same values are no version"
    );
    load.load(&version(1, "late", 3)).await.expect("loads");
    assert_eq!(
        world.ask(HISTORY).await[..2],
        ["1|a|1|5", "1|b|5|-"],
        "what is older than the current one changes nothing"
    );
    load.load(&version(3, "n", 1).replace("false", "true").replace(":01Z", ":09Z")).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4], "3|n|1|9", "a delete closes");
    load.load(&(version(3, "n", 11) + &version(3, "m", 12))).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4..], ["3|n|1|9", "3|n|11|12", "3|m|12|-"], "what comes back is a version");
    load.load(&version(3, "k", 12)).await.expect("loads");
    assert_eq!(world.ask(HISTORY).await[4..], ["3|n|1|9", "3|n|11|12", "3|k|12|-"], "a correction of the same moment");
    let current =
        world.ask("SELECT id FROM {orders} WHERE _landfall_valid_to IS NULL GROUP BY id HAVING count(*) > 1").await;
    assert!(current.is_empty(), "two current versions: {current:?}");
    let (_, rejects) = load.stage("{\"id\":1,\"name\":\"undated\"}").await.expect("stages");
    assert_eq!(rejects[0].code, "null_since");
}

#[tokio::test]
async fn scd2_without_a_time_of_its_own_holds_from_when_it_was_staged() {
    let Some(world) = World::new().await else { return };
    let columns = Columns::new().int64("id").utf8("name");
    let mut load = Load::new(world.table(Scd2::by(["id"]).columns("from", "to")), columns);
    load.load("{\"id\":1,\"name\":\"a\"}\n{\"id\":1,\"name\":\"b\"}").await.expect("loads");
    load.clock.sleep(std::time::Duration::from_secs(60)).await;
    load.load("{\"id\":1,\"name\":\"b\"}").await.expect("loads");
    load.load("{\"id\":1,\"name\":\"c\"}").await.expect("loads");
    let rows = world.ask("SELECT name, \"to\" IS NULL, \"to\" > \"from\" FROM {orders} ORDER BY \"from\"").await;
    assert_eq!(rows, ["b|f|t", "c|t|-"]);
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
