//! Tables that somebody else made or changed: what the commit could not do is refused before anything is staged, and the rest works.

use crate::load::{Load, batch};
use crate::sql::{Engine, Sql};
use landfall::ErrorKind;
use landfall::columnar::{Batch, Columns};
use landfall::sink::{Disposition, Replace, ReplacePartitions, Sink, Upsert, Writer};

sql_cases! {
    a_default_does_not_stand_in_for_a_null,
    a_row_that_is_gone_needs_no_values,
    a_column_that_the_rows_must_have_is_asked_for_before_anything_is_staged,
    rows_of_one_epoch_agree_on_the_columns_that_must_have_a_value,
    a_column_whose_values_the_database_makes_is_left_to_it,
    what_is_no_table_is_refused,
    columns_of_the_sink_hold_what_it_writes,
    a_table_that_was_emptied_is_loaded_again_under_the_same_name,
    an_enumeration_has_the_types_that_the_table_has_when_it_begins,
    a_column_that_is_gone_is_not_missed_by_the_next_enumeration,
    a_table_that_is_gone_does_not_take_what_waits_with_it,
}

pub fn columns() -> Columns {
    Columns::new().int64("id").utf8("status")
}

pub fn load<W: Sql>(warehouse: &W, disposition: impl Into<Disposition>) -> Load<W::Sink> {
    Load::new(warehouse.sink("orders", disposition), columns())
}

/// Rows are refused before they are staged, with words that say why.
pub async fn is_refused<K: Sink<Item = Batch>>(load: &mut Load<K>, kind: ErrorKind, words: &str) {
    let error = load.stage("{\"id\":1,\"status\":\"new\"}").await.map(drop).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

async fn a_default_does_not_stand_in_for_a_null<W: Sql>(warehouse: W) {
    let key = W::KEY;
    warehouse
        .made(&format!("CREATE TABLE {{orders}} (id bigint{key}, status varchar(9) NOT NULL DEFAULT 'new')"))
        .await;
    let mut load = load(&warehouse, Upsert::by(["id"]));
    let (output, rejects) =
        load.stage("{\"id\":1,\"status\":null}\n{\"id\":2,\"status\":\"old\"}").await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["null"]);
    load.commit(&output.expect("a row").staged, false).await.expect("commits");
    load.columns = Columns::new().int64("id");
    load.load("{\"id\":3}").await.expect("rows without the column have the default");
    assert_eq!(warehouse.rows("orders", "id, status").await, ["2|old", "3|new"]);
}

async fn a_row_that_is_gone_needs_no_values<W: Sql>(warehouse: W) {
    let key = W::KEY;
    let kinds: &[&str] =
        if W::ENGINE.is_server() { &["boolean", "varchar(30)", "timestamptz"] } else { &["boolean", "varchar(30)"] };
    for (number, kind) in kinds.iter().enumerate() {
        warehouse
            .made(&format!(
                "CREATE TABLE {{orders}} (id bigint{key}, status varchar(9) NOT NULL DEFAULT 'new', gone {kind})"
            ))
            .await;
        let (columns, gone) = match *kind {
            "boolean" => (columns().bool("gone"), "true"),
            "timestamptz" => (columns().timestamp("gone"), "\"2024-01-01T00:00:00Z\""),
            _ => (columns().utf8("gone"), "\"2024-01-01\""),
        };
        let mut load = Load::new(warehouse.sink("orders", Upsert::by(["id"]).deleted_when("gone")), columns);
        load.shard.shard = u32::try_from(number).expect("few");
        load.load("{\"id\":1,\"status\":\"a\"}\n{\"id\":2,\"status\":\"b\"}").await.expect("loads");
        load.load(&format!("{{\"id\":1,\"gone\":{gone}}}")).await.expect("a key is enough to delete");
        let (_, rejects) = load.stage("{\"id\":3}").await.expect("stages");
        assert_eq!(rejects.len(), 1, "it is not gone");
        assert_eq!(warehouse.rows("orders", "id, status").await, ["2|b"], "{kind}");
        warehouse.sql("DROP TABLE {orders}").await;
    }
}

async fn a_column_that_the_rows_must_have_is_asked_for_before_anything_is_staged<W: Sql>(warehouse: W) {
    warehouse.made("CREATE TABLE {orders} (id bigint, status text, region text NOT NULL)").await;
    let mut load = load(&warehouse, Disposition::Append);
    is_refused(&mut load, ErrorKind::Config, "`region`").await;
    assert!(warehouse.waiting().await.is_empty());
    warehouse.sql("DROP TABLE {orders}").await;
    warehouse.sql("CREATE TABLE {orders} (id bigint, status text, region text NOT NULL DEFAULT 'eu')").await;
    load.load("{\"id\":1}").await.expect("it has a value of its own now");
    assert_eq!(warehouse.rows("orders", "id, region").await, ["1|eu"]);
}

async fn rows_of_one_epoch_agree_on_the_columns_that_must_have_a_value<W: Sql>(warehouse: W) {
    warehouse.made("CREATE TABLE {orders} (id bigint, status varchar(9) NOT NULL DEFAULT 'new', note text)").await;
    let without = || batch(&Columns::new().int64("id"), "{\"id\":1}");
    let with = || batch(&columns(), "{\"id\":2,\"status\":\"old\"}");
    for (first, second) in [(without(), with()), (with(), without())] {
        let mut load = load(&warehouse, Disposition::Append);
        let mut writer = load.open(false).await.expect("opens");
        writer.write(first).await.expect("writes");
        let error = writer.write(second).await.expect_err("the commit would give a null to some rows");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("`status`"), "{error}");
    }
    // So do those of an enumeration: they come into the table together.
    let mut load = load(&warehouse, Replace::table());
    load.enumeration = Some(1);
    load.load("{\"id\":2,\"status\":\"old\"}").await.expect("loads");
    load.columns = Columns::new().int64("id");
    let error = load.stage("{\"id\":1}").await.map(drop).expect_err("rows that wait have the column");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`status`"), "{error}");
    load.enumeration = Some(9);
    load.load("{\"id\":1}").await.expect("another enumeration may lack it");
    load.whole().await.expect("is whole");
    assert_eq!(warehouse.rows("orders", "id, status").await, ["1|new"]);
}

async fn a_column_whose_values_the_database_makes_is_left_to_it<W: Sql>(warehouse: W) {
    let (own, twice) = match W::ENGINE {
        Engine::DuckDb => ("bigint DEFAULT 7", "bigint GENERATED ALWAYS AS (own * 2)"),
        Engine::Sqlite => ("integer PRIMARY KEY NOT NULL", "bigint GENERATED ALWAYS AS (own * 2) STORED NOT NULL"),
        Engine::Postgres => {
            ("bigint GENERATED BY DEFAULT AS IDENTITY", "bigint GENERATED ALWAYS AS (own * 2) STORED NOT NULL")
        }
    };
    warehouse.made(&format!("CREATE TABLE {{orders}} (own {own}, id bigint, twice {twice})")).await;
    let mut load = load(&warehouse, Disposition::Append);
    load.columns = Columns::new().int64("id");
    load.load("{\"id\":1}").await.expect("rows need not have them");
    assert_eq!(warehouse.sql("SELECT CASE WHEN twice = 2 * own THEN 1 END FROM {orders}").await, ["1"]);
    load.columns = Columns::new().int64("id").int64("twice");
    let error = load.stage("{\"id\":1,\"twice\":2}").await.map(drop).expect_err("the database makes it");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    if twice.ends_with("NOT NULL") {
        assert!(error.to_string().contains("`twice`"), "{error}");
        load.columns = Columns::new().int64("id").int64("own");
        let (output, rejects) = load.stage("{\"id\":1,\"own\":null}\n{\"id\":2,\"own\":50}").await.expect("stages");
        assert_eq!(rejects.len(), 1, "a null would come back as a number");
        load.commit(&output.expect("a row").staged, false).await.expect("commits");
    } else {
        assert!(error.to_string().contains("generated column"), "{error}");
    }
}

async fn what_is_no_table_is_refused<W: Sql>(warehouse: W) {
    warehouse.made("CREATE TABLE {base} (id bigint, status text)").await;
    warehouse.sql("CREATE VIEW {orders} AS SELECT * FROM {base}").await;
    let mut load = load(&warehouse, Disposition::Append);
    is_refused(&mut load, ErrorKind::Config, "no table").await;
}

async fn columns_of_the_sink_hold_what_it_writes<W: Sql>(warehouse: W) {
    warehouse.made("CREATE TABLE {orders} (id bigint, status text, _landfall_load bigint)").await;
    let mut load = load(&warehouse, Disposition::Append);
    is_refused(&mut load, ErrorKind::Config, "`_landfall_load`").await;
}

async fn a_table_that_was_emptied_is_loaded_again_under_the_same_name<W: Sql>(warehouse: W) {
    let mut first = load(&warehouse, Disposition::Append);
    for lines in ["{\"id\":1}", "{\"id\":2}"] {
        first.load(lines).await.expect("loads");
    }
    warehouse.sql("DELETE FROM {orders}").await;
    warehouse.sql("DELETE FROM {landfall_marks}").await;
    let mut again = load(&warehouse, Disposition::Append);
    again.load("{\"id\":1}\n{\"id\":2}\n{\"id\":3}").await.expect("loads");
    let loads = warehouse.sql("SELECT epoch, rows_staged, rows_inserted FROM {landfall_loads} ORDER BY epoch").await;
    assert_eq!(loads, ["1|3|3", "2|1|1"]);
    again.load("{\"id\":4}").await.expect("loads");
    assert_eq!(warehouse.rows("orders", "id").await, ["1", "2", "3", "4"]);
}

/// Numbers with so many digits after the point.
fn amounts(scale: u8) -> Columns {
    Columns::parse([("id", "int64"), ("n", format!("decimal(12,{scale})").as_str())]).expect("types")
}

async fn an_enumeration_has_the_types_that_the_table_has_when_it_begins<W: Sql>(warehouse: W) {
    if W::ENGINE == Engine::Sqlite {
        // It changes no types.
        return;
    }
    for (number, disposition) in
        [Disposition::from(Replace::table()), ReplacePartitions::by(["id"]).into()].into_iter().enumerate()
    {
        let mut load = Load::new(warehouse.sink("orders", disposition), amounts(2));
        load.shard.shard = u32::try_from(number).expect("few");
        load.enumeration = Some(1);
        load.load("{\"id\":1,\"n\":\"1.25\"}").await.expect("loads");
        load.whole().await.expect("is whole");
        warehouse.sql("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,4)").await;
        load.columns = amounts(4);
        load.enumeration = Some(2);
        load.load("{\"id\":1,\"n\":\"1.2345\"}").await.expect("loads");
        load.whole().await.expect("is whole");
        assert_eq!(warehouse.sql("SELECT CAST(n AS varchar) FROM {orders}").await, ["1.2345"]);

        // In the midst of one, nothing is rounded without a word.
        load.enumeration = Some(3);
        load.load("{\"id\":1,\"n\":\"1.2346\"}").await.expect("loads");
        warehouse.sql("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,6)").await;
        let error = load.stage("{\"id\":2,\"n\":\"1\"}").await.map(drop).expect_err("others wait");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let error = load.open(true).await.expect("opens").finish().await.map(drop).expect_err("it has another type");
        assert!(error.to_string().contains("`n`"), "{error}");
        warehouse.sql("ALTER TABLE {orders} ALTER COLUMN n TYPE decimal(12,4)").await;
        load.whole().await.expect("is whole");
        assert_eq!(warehouse.sql("SELECT CAST(n AS varchar) FROM {orders}").await, ["1.2346"]);
        assert!(warehouse.waiting().await.is_empty(), "{:?}", warehouse.waiting().await);
        warehouse.sql("DROP TABLE {orders}").await;
    }
}

async fn a_column_that_is_gone_is_not_missed_by_the_next_enumeration<W: Sql>(warehouse: W) {
    let mut load = load(&warehouse, Replace::table());
    load.enumeration = Some(1);
    load.load("{\"id\":1,\"status\":\"a\"}").await.expect("loads");
    load.whole().await.expect("is whole");
    load.enumeration = Some(2);
    load.load("{\"id\":2,\"status\":\"b\"}").await.expect("loads");
    warehouse.sql("ALTER TABLE {orders} DROP COLUMN status").await;
    let error = load.open(true).await.expect("opens").finish().await.map(drop).expect_err("rows that wait have it");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`status`"), "{error}");
    load.columns = Columns::new().int64("id");
    load.enumeration = Some(3);
    load.load("{\"id\":3}").await.expect("loads");
    load.whole().await.expect("is whole");
    assert_eq!(warehouse.rows("orders", "id").await, ["3"]);
    assert!(warehouse.waiting().await.is_empty(), "{:?}", warehouse.waiting().await);
}

async fn a_table_that_is_gone_does_not_take_what_waits_with_it<W: Sql>(warehouse: W) {
    for (number, disposition) in
        [Disposition::from(Replace::table()), Upsert::by(["id"]).sweep(1.0).into()].into_iter().enumerate()
    {
        let mut load = load(&warehouse, disposition);
        load.shard.shard = u32::try_from(number).expect("few");
        load.enumeration = Some(1);
        load.load("{\"id\":1,\"status\":\"a\"}").await.expect("loads");
        let staged = load.open(true).await.expect("opens").finish().await.expect("finishes").expect("whole").staged;
        warehouse.sql("DROP TABLE {orders}").await;
        let error = load.commit(&staged, true).await.expect_err("a row waits for the table");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let error =
            load.open(true).await.expect("opens").finish().await.map(drop).expect_err("before it is prepared, too");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(load.sink.mark(&load.shard).await.expect("reads").map(|m| m.epoch), Some(1));
    }
}
