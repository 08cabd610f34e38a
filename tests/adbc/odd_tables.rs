//! Tables that somebody else made or changed: what the commit could not do is refused before anything is staged, and the rest works.

use crate::support::{Kind, Load, World, batch, shard};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::adbc::Adbc;
use landfall::sink::{CommitOutcome, Disposition, Replace, ReplacePartitions, Sink, Upsert, Writer};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("status")
}

/// A world of each driver, with a table that was made by `statement`.
async fn made(statement: &str) -> Vec<World> {
    let mut worlds = Vec::new();
    for world in World::all() {
        world.with_schema().await;
        world.ask(statement).await;
        worlds.push(world);
    }
    worlds
}

/// Rows are refused before they are staged, with words that say why.
async fn is_refused(load: &mut Load, kind: ErrorKind, words: &str) {
    let error = load.stage("{\"id\":1,\"status\":\"new\"}").await.map(drop).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_default_does_not_stand_in_for_a_null() {
    for world in made("CREATE TABLE {orders} (id bigint, status varchar(9) NOT NULL DEFAULT 'new')").await {
        let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
        let (output, rejects) =
            load.stage("{\"id\":1,\"status\":null}\n{\"id\":2,\"status\":\"old\"}").await.expect("stages");
        assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null"], "{:?}", world.kind);
        load.commit(&output.expect("a row").staged, false).await.expect("commits");
        load.columns = Columns::new().int64("id");
        load.load("{\"id\":3}").await.expect("rows without the column have the default");
        assert_eq!(world.ask("SELECT id, status FROM {orders} ORDER BY id").await, ["2|old", "3|new"]);
    }
}

#[tokio::test]
async fn a_row_that_is_gone_needs_no_values() {
    for kind in ["boolean", "varchar(30)"] {
        let table =
            format!("CREATE TABLE {{orders}} (id bigint, status varchar(9) NOT NULL DEFAULT 'new', gone {kind})");
        for world in made(&table).await {
            let (columns, gone) = match kind {
                "boolean" => (columns().bool("gone"), "true"),
                _ => (columns().utf8("gone"), "\"2024-01-01\""),
            };
            let mut load = Load::new(world.table(Upsert::by(["id"]).deleted_when("gone")), columns);
            load.load("{\"id\":1,\"status\":\"a\"}\n{\"id\":2,\"status\":\"b\"}").await.expect("loads");
            load.load(&format!("{{\"id\":1,\"gone\":{gone}}}")).await.expect("a key is enough to delete");
            let (_, rejects) = load.stage("{\"id\":3}").await.expect("stages");
            assert_eq!(rejects.len(), 1, "it is not gone");
            assert_eq!(world.ask("SELECT id, status FROM {orders}").await, ["2|b"], "{:?}", world.kind);
        }
    }
}

#[tokio::test]
async fn a_column_that_the_rows_must_have_is_asked_for_before_anything_is_staged() {
    for world in made("CREATE TABLE {orders} (id bigint, status text, region text NOT NULL)").await {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        is_refused(&mut load, ErrorKind::Config, "`region`").await;
        assert!(world.staged().await.is_empty());
        world.ask("DROP TABLE {orders}").await;
        world.ask("CREATE TABLE {orders} (id bigint, status text, region text NOT NULL DEFAULT 'eu')").await;
        load.load("{\"id\":1}").await.expect("it has a value of its own now");
        assert_eq!(world.ask("SELECT id, region FROM {orders}").await, ["1|eu"], "{:?}", world.kind);
    }
}

#[tokio::test]
async fn rows_of_one_epoch_agree_on_the_columns_that_must_have_a_value() {
    for world in made("CREATE TABLE {orders} (id bigint, status varchar(9) NOT NULL DEFAULT 'new', note text)").await {
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
        // So do those of an enumeration: they come into the table together.
        let mut load = Load::new(world.table(Replace::table()), columns());
        load.enumeration = Some(1);
        load.load("{\"id\":2,\"status\":\"old\"}").await.expect("loads");
        load.columns = Columns::new().int64("id");
        let error = load.stage("{\"id\":1}").await.map(drop).expect_err("rows that wait have the column");
        assert!(error.to_string().contains("`status`"), "{error}");
        load.enumeration = Some(9);
        load.load("{\"id\":1}").await.expect("another enumeration may lack it");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask("SELECT id, status FROM {orders}").await, ["1|new"], "{:?}", world.kind);
    }
}

#[tokio::test]
async fn a_column_whose_values_the_database_makes_is_left_to_it() {
    for world in World::all() {
        world.with_schema().await;
        let (id, kind) = match world.kind {
            Kind::DuckDb => ("bigint DEFAULT 7", "bigint GENERATED ALWAYS AS (own * 2)"),
            Kind::Sqlite => ("integer PRIMARY KEY NOT NULL", "bigint GENERATED ALWAYS AS (own * 2) STORED NOT NULL"),
            _ => ("bigint GENERATED BY DEFAULT AS IDENTITY", "bigint GENERATED ALWAYS AS (own * 2) STORED NOT NULL"),
        };
        world.ask(&format!("CREATE TABLE {{orders}} (own {id}, id bigint, twice {kind})")).await;
        let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id"));
        load.load("{\"id\":1}").await.expect("rows need not have them");
        assert_eq!(world.ask("SELECT CASE WHEN twice = 2 * own THEN 1 END FROM {orders}").await, ["1"]);
        load.columns = Columns::new().int64("id").int64("twice");
        let error = load.stage("{\"id\":1,\"twice\":2}").await.map(drop).expect_err("the database makes it");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let words = if world.kind == Kind::DuckDb { "generated column" } else { "`twice`" };
        assert!(error.to_string().contains(words), "{error}");
        if world.kind != Kind::DuckDb {
            load.columns = Columns::new().int64("id").int64("own");
            let (output, rejects) = load.stage("{\"id\":1,\"own\":null}\n{\"id\":2,\"own\":50}").await.expect("stages");
            assert_eq!(rejects.len(), 1, "a null would come back as a number");
            load.commit(&output.expect("a row").staged, false).await.expect("commits");
        }
    }
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    world.ask("CREATE TABLE {orders} (id bigint GENERATED ALWAYS AS IDENTITY, status text)").await;
    let mut load = Load::new(world.table(Upsert::by(["id"])), columns());
    is_refused(&mut load, ErrorKind::Config, "`id`").await;
}

#[tokio::test]
async fn what_is_no_table_is_refused() {
    for world in made("CREATE TABLE {base} (id bigint, status text)").await {
        world.ask("CREATE VIEW {orders} AS SELECT * FROM {base}").await;
        let mut load = Load::new(world.table(Disposition::Append), columns());
        is_refused(&mut load, ErrorKind::Config, "no table").await;
    }
}

#[tokio::test]
async fn columns_of_the_sink_hold_what_it_writes() {
    for world in made("CREATE TABLE {orders} (id bigint, status text, _landfall_load bigint)").await {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        is_refused(&mut load, ErrorKind::Config, "`_landfall_load`").await;
    }
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    world.ask("CREATE TABLE {orders} (id bigint, status text, _landfall_load varchar(31))").await;
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "`_landfall_load`").await;
    world.ask("ALTER TABLE {orders} ALTER COLUMN _landfall_load TYPE varchar(32)").await;
    load.load("{\"id\":1}").await.expect("it is wide enough");
}

#[tokio::test]
async fn a_table_that_a_crash_of_the_server_empties_is_refused() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    world.ask("CREATE UNLOGGED TABLE {orders} (id bigint, status text)").await;
    let mut load = Load::new(world.table(Disposition::Append), columns());
    is_refused(&mut load, ErrorKind::Config, "unlogged").await;
    world.ask("ALTER TABLE {orders} SET LOGGED").await;
    load.load("{\"id\":1}").await.expect("it stays now");
}

#[tokio::test]
async fn a_key_whose_texts_are_equal_and_differ_is_refused() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    let folds = world.name("folds");
    world
        .ask(&format!("CREATE COLLATION {folds} (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"))
        .await;
    world.ask(&format!("CREATE TABLE {{orders}} (id text COLLATE {folds}, status text)")).await;
    let mut load = Load::new(world.table(Upsert::by(["id"])), Columns::new().utf8("id").utf8("status"));
    let error = load.stage("{\"id\":\"A\"}\n{\"id\":\"a\"}").await.map(drop).expect_err("they are one key there");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`id`"), "{error}");
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_never_taken_for_rows_that_are_not_there() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    world.ask("CREATE TABLE {orders} (id bigint, status text, _landfall_load text)").await;
    let schema = world.schema.as_ref().expect("has one");
    let role = format!("loader_{}", schema.replace(['"', ' '], "_"));
    for statement in [
        format!("CREATE ROLE \"{role}\" LOGIN"),
        format!("GRANT ALL ON SCHEMA \"{}\" TO \"{role}\"", schema.replace('"', "\"\"")),
        format!("GRANT ALL ON {{orders}} TO \"{role}\""),
        "ALTER TABLE {orders} ENABLE ROW LEVEL SECURITY".to_owned(),
        "CREATE POLICY own ON {orders} USING (id < 10)".to_owned(),
    ] {
        world.ask(&statement).await;
    }
    let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there").replace("landfall@", &format!("{role}@"));
    let database = Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there")).option("uri", url);
    let mut load = Load::new(world.table_in(&database, Upsert::by(["id"])), columns());
    is_refused(&mut load, ErrorKind::Auth, "row-level security").await;

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
    world.ask(&format!("DROP OWNED BY \"{role}\"")).await;
    world.ask(&format!("DROP ROLE \"{role}\"")).await;
}

#[tokio::test]
async fn a_table_that_was_emptied_is_loaded_again_under_the_same_name() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        for lines in ["{\"id\":1}", "{\"id\":2}"] {
            load.load(lines).await.expect("loads");
        }
        world.ask("DELETE FROM {orders}").await;
        world.ask("DELETE FROM {landfall_marks}").await;
        let mut again = Load::new(world.table(Disposition::Append), columns());
        again.load("{\"id\":1}\n{\"id\":2}\n{\"id\":3}").await.expect("loads");
        let loads = world.ask("SELECT epoch, rows_staged FROM {loads} ORDER BY epoch").await;
        assert_eq!(loads, ["1|3", "2|1"], "{:?}", world.kind);
        again.load("{\"id\":4}").await.expect("loads");
        assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2", "3", "4"]);
    }
}

/// Numbers with so many digits after the point.
fn amounts(scale: u8) -> Columns {
    Columns::parse([("id", "int64"), ("n", format!("decimal(12,{scale})").as_str())]).expect("types")
}

#[tokio::test]
async fn an_enumeration_has_the_types_that_the_table_has_when_it_begins() {
    for disposition in [Disposition::from(Replace::table()), ReplacePartitions::by(["id"]).into()] {
        for world in World::all().filter(|world| world.kind != Kind::Sqlite) {
            let mut load = Load::new(world.table(disposition.clone()), amounts(2));
            load.enumeration = Some(1);
            load.load("{\"id\":1,\"n\":\"1.25\"}").await.expect("loads");
            load.whole().await.expect("is whole");
            world.ask("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,4)").await;
            load.columns = amounts(4);
            load.enumeration = Some(2);
            load.load("{\"id\":1,\"n\":\"1.2345\"}").await.expect("loads");
            load.whole().await.expect("is whole");
            assert_eq!(world.ask("SELECT CAST(n AS varchar) FROM {orders}").await, ["1.2345"], "{:?}", world.kind);

            // In the midst of one, nothing is rounded without a word.
            load.enumeration = Some(3);
            load.load("{\"id\":1,\"n\":\"1.2346\"}").await.expect("loads");
            world.ask("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,6)").await;
            let error = load.stage("{\"id\":2,\"n\":\"1\"}").await.map(drop).expect_err("others wait");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            let error = load.open(true).await.expect("opens").finish().await.expect_err("it has another type");
            assert!(error.to_string().contains("`n`"), "{error}");
            world.ask("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,4)").await;
            load.whole().await.expect("is whole");
            assert_eq!(world.ask("SELECT CAST(n AS varchar) FROM {orders}").await, ["1.2346"], "{:?}", world.kind);
            assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
        }
    }
}

#[tokio::test]
async fn a_column_that_is_gone_is_not_missed_by_the_next_enumeration() {
    for world in World::all() {
        let mut load = Load::new(world.table(Replace::table()), columns());
        load.enumeration = Some(1);
        load.load("{\"id\":1,\"status\":\"a\"}").await.expect("loads");
        load.whole().await.expect("is whole");
        load.enumeration = Some(2);
        load.load("{\"id\":2,\"status\":\"b\"}").await.expect("loads");
        world.ask("ALTER TABLE {orders} DROP COLUMN status").await;
        let error = load.open(true).await.expect("opens").finish().await.expect_err("rows that wait have it");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("`status`"), "{error}");
        load.columns = Columns::new().int64("id");
        load.enumeration = Some(3);
        load.load("{\"id\":3}").await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(world.ask("SELECT id FROM {orders}").await, ["3"], "{:?}", world.kind);
        assert!(world.staged().await.is_empty(), "{:?}", world.staged().await);
    }
}

#[tokio::test]
async fn a_table_that_is_gone_does_not_take_what_waits_with_it() {
    for disposition in [Disposition::from(Replace::table()), Upsert::by(["id"]).sweep(1.0).into()] {
        for world in World::all() {
            let mut load = Load::new(world.table(disposition.clone()), columns());
            load.enumeration = Some(1);
            load.load("{\"id\":1,\"status\":\"a\"}").await.expect("loads");
            let staged = load.open(true).await.expect("opens").finish().await.expect("finishes").expect("whole").staged;
            world.ask("DROP TABLE {orders}").await;
            let error = load.commit(&staged, true).await.expect_err("a row waits for the table");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            let error = load.open(true).await.expect("opens").finish().await.expect_err("before it is prepared, too");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(load.sink.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(1));
        }
    }
}
