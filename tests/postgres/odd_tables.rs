//! Tables that somebody else made with what PostgreSQL alone has. What all databases have: `tests/warehouses/odd_tables.rs`.

use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::postgres::PostgresTable;
use landfall::sink::{
    Children, CommitOutcome, Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Sink, Upsert,
};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("status")
}

/// A world with a table that was made by `statements`.
async fn made(statements: &str) -> Option<World> {
    let world = World::new().await?;
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    world.ask(statements).await;
    Some(world)
}

/// Rows are refused before they are staged, with words that say why.
async fn is_refused(load: &mut Load, kind: ErrorKind, words: &str) {
    let error = load.stage("{\"id\":1,\"status\":\"new\"}").await.map(drop).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_parent_without_children_needs_no_values_of_them() {
    let world = made(
        "CREATE TABLE {orders} (order_id bigint, _index bigint NOT NULL, sku text NOT NULL) PARTITION BY RANGE (order_id); \
         CREATE TABLE {all} PARTITION OF {orders} DEFAULT",
    );
    let Some(world) = world.await else { return };
    let columns = Columns::new().int64("order_id").int64("_index").utf8("sku");
    let mut load = Load::new(world.table(Children::of(["order_id"])), columns);
    load.load("{\"order_id\":1,\"_index\":0,\"sku\":\"a\"}\n{\"order_id\":2,\"_index\":0,\"sku\":\"b\"}")
        .await
        .expect("loads");
    load.load("{\"order_id\":1}").await.expect("a key is enough to say that there are none");
    let (_, rejects) = load.stage("{\"order_id\":3,\"_index\":0}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null"]);
    assert_eq!(world.ask("SELECT order_id, sku FROM {orders}").await, ["2|b"]);
}

#[tokio::test]
async fn a_table_with_partitions_takes_every_disposition() {
    let dispositions: [Disposition; 6] = [
        Disposition::Append,
        Upsert::by(["id"]).deleted_when("gone").into(),
        InsertOnly::by(["id"]).into(),
        Scd2::by(["id"]).into(),
        Replace::table().may_shrink_by(1.0).into(),
        ReplacePartitions::by(["id"]).into(),
    ];
    for disposition in dispositions {
        let world = made(
            "CREATE TABLE {orders} (id bigint, status text, gone boolean) PARTITION BY RANGE (id); \
             CREATE TABLE {low} PARTITION OF {orders} FOR VALUES FROM (0) TO (10); CREATE TABLE {rest} PARTITION OF {orders} DEFAULT",
        );
        let Some(world) = world.await else { return };
        let whole = matches!(disposition, Disposition::Replace(_) | Disposition::ReplacePartitions(_));
        let name = disposition.as_str();
        let mut load = Load::new(world.table(disposition.clone()), columns().bool("gone"));
        for (number, lines) in [
            "{\"id\":1,\"status\":\"a\"}\n{\"id\":20,\"status\":\"a\"}\n{\"id\":2,\"status\":\"a\"}",
            "{\"id\":1,\"status\":\"b\"}\n{\"id\":21,\"status\":\"b\"}\n{\"id\":2,\"status\":\"b\",\"gone\":true}",
        ]
        .into_iter()
        .enumerate()
        {
            load.enumeration = whole.then_some(number as u64 + 1);
            load.load(lines).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            if whole {
                load.whole().await.unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
        let rows = world.ask("SELECT id, status FROM {orders} ORDER BY id, status").await;
        let expected: &[&str] = match disposition {
            Disposition::Upsert(_) => &["1|b", "20|a", "21|b"],
            Disposition::InsertOnly(_) => &["1|a", "2|a", "20|a", "21|b"],
            Disposition::Replace(_) => &["1|b", "2|b", "21|b"],
            Disposition::ReplacePartitions(_) => &["1|b", "2|b", "20|a", "21|b"],
            _ => &["1|a", "1|b", "2|a", "2|b", "20|a", "21|b"],
        };
        assert_eq!(rows, expected, "{name}");
        if let Disposition::Upsert(_) = disposition {
            let counts =
                world.ask("SELECT rows_inserted, rows_updated, rows_deleted FROM {loads} ORDER BY epoch").await;
            assert_eq!(counts, ["3|0|0", "1|1|1"]);
        }
    }
}

#[tokio::test]
async fn what_is_no_table_of_this_database_is_refused() {
    let Some(world) =
        made("CREATE TABLE {base} (id bigint, status text); CREATE MATERIALIZED VIEW {orders} AS SELECT * FROM {base}")
            .await
    else {
        return;
    };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "no table").await;
    let wrapper = world.schema.replace(['"', ' '], "_");
    world.ask(&format!("DROP MATERIALIZED VIEW {{orders}}; CREATE FOREIGN DATA WRAPPER \"{wrapper}\"; CREATE SERVER \"{wrapper}\" FOREIGN DATA WRAPPER \"{wrapper}\"; \
                        CREATE FOREIGN TABLE {{orders}} (id bigint, status text) SERVER \"{wrapper}\"")).await;
    is_refused(&mut load, ErrorKind::Config, "no table").await;
    world
        .ask(&format!(
            "DROP FOREIGN TABLE {{orders}}; CREATE TABLE {{orders}} (id bigint, status text) PARTITION BY LIST (id); \
                        CREATE FOREIGN TABLE {{far}} PARTITION OF {{orders}} DEFAULT SERVER \"{wrapper}\""
        ))
        .await;
    is_refused(&mut load, ErrorKind::Config, "far").await;
    world.ask(&format!("DROP FOREIGN DATA WRAPPER \"{wrapper}\" CASCADE")).await;
}

#[tokio::test]
async fn a_partition_that_a_crash_empties_is_refused() {
    let world = made(
        "CREATE TABLE {orders} (id bigint, status text) PARTITION BY LIST (id); \
         CREATE UNLOGGED TABLE {part} PARTITION OF {orders} DEFAULT",
    );
    let Some(world) = world.await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "part").await;
    world.ask("ALTER TABLE {part} SET LOGGED").await;
    load.load("{\"id\":1}").await.expect("it stays now");
}

#[tokio::test]
async fn a_key_whose_texts_an_index_takes_for_equal_is_refused() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    let collation = world.name("folds");
    world.ask(&format!("CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
                        CREATE TABLE {{orders}} (id text COLLATE {collation} PRIMARY KEY, status text COLLATE {collation})")).await;
    world
        .ask(&format!(
            "CREATE TABLE {{other}} (id text, status text); CREATE UNIQUE INDEX ON {{other}} (id COLLATE {collation})"
        ))
        .await;
    let other = PostgresTable::at(&world.database, &format!("{}.other", world.schema)).expect("a name");
    let mut load = Load::new(other.disposition(Upsert::by(["id"])), Columns::new().utf8("id").utf8("status"));
    let error = load.stage("{\"id\":\"A\"}").await.map(drop).expect_err("an index may fold them, too");
    assert!(error.to_string().contains("may be equal"), "{error}");
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().utf8("id").utf8("status"));
    load.load("{\"id\":\"A\",\"status\":\"x\"}").await.expect("other columns may, and where there is no key all may");
}

#[tokio::test]
async fn a_position_may_hold_what_a_text_of_the_database_may_not() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
    let mut request = load.request(&staged, false);
    request.load.position = r#"{"after":"a\u0000b"}"#.to_owned();
    assert_eq!(load.sink.commit(&load.clock, request).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(world.ask("SELECT position FROM {loads}").await, [r#"{"after":"a\u0000b"}"#]);
}

#[tokio::test]
async fn columns_of_a_history_hold_what_it_writes() {
    for (from, to) in [("date", "timestamptz"), ("timestamptz", "timestamptz NOT NULL")] {
        let statements = format!(
            "CREATE TABLE {{orders}} (id bigint, status text, _landfall_valid_from {from}, _landfall_valid_to {to}); \
             CREATE UNIQUE INDEX ON {{orders}} (id) WHERE _landfall_valid_to IS NULL"
        );
        let Some(world) = made(&statements).await else { return };
        let mut load = Load::new(world.table(Scd2::by(["id"])), columns());
        is_refused(&mut load, ErrorKind::Config, "`_landfall_valid_").await;
    }
}
