//! Tables that somebody else made: what the commit could not do is refused before anything is staged, and the rest works.

use crate::support::{Load, World, batch, shard};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::{
    Children, CommitOutcome, Disposition, InsertOnly, Replace, ReplacePartitions, Scd2, Sink, Upsert, Writer,
};
use std::sync::Arc;

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
async fn a_default_does_not_stand_in_for_a_null() {
    let Some(world) = made("CREATE TABLE {orders} (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'new')").await
    else {
        return;
    };
    let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
    let (output, rejects) =
        load.stage("{\"id\":1,\"status\":null}\n{\"id\":2,\"status\":\"old\"}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null"]);
    load.commit(&output.expect("a row").staged, false).await.expect("commits");
    load.columns = Columns::new().int64("id");
    load.load("{\"id\":3}").await.expect("rows without the column have the default");
    assert_eq!(world.ask("SELECT id, status FROM {orders} ORDER BY id").await, ["2|old", "3|new"]);
}

#[tokio::test]
async fn a_row_that_is_gone_needs_no_values() {
    for kind in ["boolean", "timestamptz"] {
        let table =
            format!("CREATE TABLE {{orders}} (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'new', gone {kind})");
        let Some(world) = made(&table).await else { return };
        let (columns, gone) = match kind {
            "boolean" => (columns().bool("gone"), "true"),
            _ => (columns().timestamp("gone"), "\"2024-01-01T00:00:00Z\""),
        };
        let mut load = Load::new(world.table(Upsert::by(["id"]).deleted_when("gone")), columns);
        load.load("{\"id\":1,\"status\":\"a\"}\n{\"id\":2,\"status\":\"b\"}").await.expect("loads");
        load.load(&format!("{{\"id\":1,\"gone\":{gone}}}")).await.expect("a key is enough to delete");
        let (_, rejects) = load.stage("{\"id\":3}").await.expect("stages");
        assert_eq!(rejects.len(), 1, "it is not gone");
        assert_eq!(world.ask("SELECT id, status FROM {orders}").await, ["2|b"]);
    }
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
async fn a_column_that_the_rows_must_have_is_asked_for_before_anything_is_staged() {
    let Some(world) = made("CREATE TABLE {orders} (id bigint, status text, region text NOT NULL)").await else {
        return;
    };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "`region`").await;
    assert!(world.staged().await.is_empty());
    world.ask("ALTER TABLE {orders} ALTER COLUMN region SET DEFAULT 'eu'").await;
    load.load("{\"id\":1}").await.expect("it has a value of its own now");
    assert_eq!(world.ask("SELECT id, region FROM {orders}").await, ["1|eu"]);
}

#[tokio::test]
async fn rows_of_one_epoch_agree_on_the_columns_that_must_have_a_value() {
    let Some(world) = made("CREATE TABLE {orders} (id bigint, status text NOT NULL DEFAULT 'new', note text)").await
    else {
        return;
    };
    let without = || batch(&Columns::new().int64("id"), "{\"id\":1}");
    let with = || batch(&columns(), "{\"id\":2,\"status\":\"old\"}");
    for (first, second) in [(without(), with()), (with(), without())] {
        let mut load = Load::new(world.table(Disposition::Append), Columns::new());
        let mut writer = load.open(false).await.expect("opens");
        writer.write(first).await.expect("writes");
        let error = writer.write(second).await.expect_err("the commit would give a null to some rows");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("`status`"), "{error}");
    }
}

#[tokio::test]
async fn a_column_whose_values_the_database_makes_is_left_to_it() {
    let Some(world) =
        made("CREATE TABLE {orders} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text)").await
    else {
        return;
    };
    let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
    is_refused(&mut load, ErrorKind::Config, "`id`").await;
    assert!(world.staged().await.is_empty());
    world.ask("ALTER TABLE {orders} ALTER COLUMN id SET GENERATED BY DEFAULT").await;
    load.load("{\"id\":1,\"status\":\"new\"}").await.expect("loads");

    world.ask("DROP TABLE {orders}; CREATE TABLE {orders} (id bigint, status text GENERATED ALWAYS AS ('n' || id) STORED, own bigint GENERATED ALWAYS AS IDENTITY)").await;
    load.sink = Arc::new(world.table(Disposition::Append));
    is_refused(&mut load, ErrorKind::Config, "`status`").await;
    load.columns = Columns::new().int64("id");
    load.load("{\"id\":7}").await.expect("rows without the column");
    assert_eq!(world.ask("SELECT id, own FROM {orders}").await, ["7|1"]);
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
        made("CREATE TABLE {base} (id bigint, status text); CREATE VIEW {orders} AS SELECT * FROM {base}").await
    else {
        return;
    };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "no table").await;
    world.ask("DROP VIEW {orders}; CREATE MATERIALIZED VIEW {orders} AS SELECT * FROM {base}").await;
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
async fn a_table_that_a_crash_empties_is_refused() {
    let Some(world) = made("CREATE UNLOGGED TABLE {orders} (id bigint, status text)").await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "unlogged").await;
    assert_eq!(
        world.ask("SELECT count(*) FROM pg_attribute WHERE attrelid = '{orders}'::regclass AND attnum > 0").await,
        ["2"]
    );
    world.ask("DROP TABLE {orders}; CREATE TABLE {orders} (id bigint, status text) PARTITION BY LIST (id); CREATE UNLOGGED TABLE {part} PARTITION OF {orders} DEFAULT").await;
    is_refused(&mut load, ErrorKind::Config, "part").await;
    world.ask("ALTER TABLE {part} SET LOGGED").await;
    load.load("{\"id\":1}").await.expect("it stays now");
}

#[tokio::test]
async fn a_key_whose_texts_are_equal_and_differ_is_refused() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    let collation = world.name("folds");
    world.ask(&format!("CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
                        CREATE TABLE {{orders}} (id text COLLATE {collation} PRIMARY KEY, status text COLLATE {collation})")).await;
    let mut load = Load::new(world.table(Upsert::by(["id"])), Columns::new().utf8("id").utf8("status"));
    let error =
        load.stage("{\"id\":\"A\"}\n{\"id\":\"a\"}").await.map(drop).expect_err("they are one key to the index alone");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`id`"), "{error}");
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
async fn rows_that_a_policy_hides_are_never_taken_for_rows_that_are_not_there() {
    let Some(world) = made("CREATE TABLE {orders} (id bigint PRIMARY KEY, status text, _landfall_load text)").await
    else {
        return;
    };
    let role = format!("loader_{}", world.schema.replace(['"', ' '], "_"));
    let schema = world.schema_name();
    world.ask(&format!("CREATE ROLE \"{role}\" LOGIN; GRANT ALL ON SCHEMA {schema} TO \"{role}\"; GRANT ALL ON {{orders}} TO \"{role}\"; \
                        ALTER TABLE {{orders}} ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON {{orders}} USING (id < 10)")).await;
    let database = Postgres::connect(&world.url.replace("landfall@", &format!("{role}@"))).expect("a URL");
    let table = PostgresTable::at(&database, &format!("{}.orders", world.schema)).expect("a name");
    let mut load = Load::new(table.clone().disposition(Upsert::by(["id"])), columns());
    is_refused(&mut load, ErrorKind::Auth, "row-level security").await;
    assert!(world.staged().await.is_empty());

    // The policy comes after the rows are staged.
    world.ask("ALTER TABLE {orders} DISABLE ROW LEVEL SECURITY").await;
    let (output, _) = load.stage("{\"id\":1,\"status\":\"new\"}").await.expect("stages");
    world.ask("ALTER TABLE {orders} ENABLE ROW LEVEL SECURITY").await;
    let staged = output.expect("a row").staged;
    let error = load.commit(&staged, false).await.expect_err("the server refuses");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert_eq!(load.sink.mark(&shard()).await.expect("reads"), None);
    world.ask("ALTER TABLE {orders} DISABLE ROW LEVEL SECURITY").await;
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    world.ask(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).await;
}

#[tokio::test]
async fn a_table_that_was_emptied_is_loaded_again_under_the_same_name() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    for lines in ["{\"id\":1}", "{\"id\":2}"] {
        load.load(lines).await.expect("loads");
    }
    world.ask("TRUNCATE {orders}; DELETE FROM {landfall_marks}").await;
    let mut again = Load::new(world.table(Disposition::Append), columns());
    again.load("{\"id\":1}\n{\"id\":2}\n{\"id\":3}").await.expect("loads");
    assert_eq!(world.ask("SELECT epoch, rows_inserted FROM {loads} ORDER BY epoch").await, ["1|3", "2|1"]);
    again.load("{\"id\":4}").await.expect("loads");
    assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2", "3", "4"]);
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
async fn columns_of_the_sink_hold_what_it_writes() {
    let Some(world) = made("CREATE TABLE {orders} (id bigint, status text, _landfall_load varchar(20))").await else {
        return;
    };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "`_landfall_load`").await;
    for (from, to) in [("date", "timestamptz"), ("timestamptz", "timestamptz NOT NULL")] {
        world
            .ask(&format!(
                "DROP TABLE {{orders}}; CREATE TABLE {{orders}} (id bigint, status text, _landfall_valid_from {from}, _landfall_valid_to {to}); \
                 CREATE UNIQUE INDEX ON {{orders}} (id) WHERE _landfall_valid_to IS NULL"
            ))
            .await;
        let mut load = Load::new(world.table(Scd2::by(["id"])), columns());
        is_refused(&mut load, ErrorKind::Config, "`_landfall_valid_").await;
    }
    world.ask("DROP TABLE {orders}; CREATE TABLE {orders} (id bigint, status text, _landfall_load varchar)").await;
    load.load("{\"id\":1}").await.expect("it is wide enough");
}
