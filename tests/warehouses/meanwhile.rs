//! What others do between the staging of rows and their commit.

use crate::load::{Load, batch};
use crate::odd_tables::load;
use crate::sql::{Engine, Sql};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{Disposition, Sink, Upsert, Writer};

sql_cases! {
    a_table_that_is_changed_before_the_commit_says_what_to_change_back,
    a_table_that_is_widened_before_the_commit_takes_the_rows_as_they_are,
    who_finds_its_rows_collected_by_a_newer_owner_is_fenced,
}

fn columns() -> Columns {
    Columns::parse([("id", "int64"), ("status", "utf8"), ("n", "float64"), ("small", "int32")]).expect("types")
}

/// Without a number that the change itself would round.
const FIRST: &str = r#"{"id":1,"status":"a","small":1}"#;
const SECOND: &str = r#"{"id":1,"n":1.5,"small":2}
{"id":2,"status":"b","n":2.5,"small":3}"#;

/// A load of a table that has a row, each with a table of its own.
async fn begun<W: Sql>(warehouse: &W, disposition: Disposition, number: usize) -> Load<W::Sink> {
    let mut load = Load::new(warehouse.sink("orders", disposition), columns());
    load.shard.shard = u32::try_from(number).expect("few");
    load.load(FIRST).await.expect("loads");
    load
}

/// What the database lets somebody do to a table of this disposition.
fn may<W: Sql>(disposition: &Disposition, changes_type: bool) -> bool {
    match W::ENGINE {
        Engine::Postgres => true,
        Engine::DuckDb => *disposition == Disposition::Append,
        Engine::Sqlite => !changes_type,
    }
}

fn expected(disposition: &Disposition, first: &str) -> Vec<String> {
    let kept = (*disposition == Disposition::Append).then(|| first.to_owned());
    kept.into_iter().chain(["1|1.5|2".to_owned(), "2|2.5|3".to_owned()]).collect()
}

async fn a_table_that_is_changed_before_the_commit_says_what_to_change_back<W: Sql>(warehouse: W) {
    let text = if W::ENGINE == Engine::DuckDb { "varchar" } else { "text" };
    let gone = ("DROP COLUMN status".to_owned(), format!("ADD COLUMN status {text}"), "status", false);
    let of_type = |column: &'static str, to: &str, from: &str| {
        (format!("ALTER COLUMN {column} TYPE {to}"), format!("ALTER COLUMN {column} TYPE {from}"), column, true)
    };
    let required = "ALTER COLUMN status SET NOT NULL".to_owned();
    let changes = [
        gone,
        // Both would be rounded, or cut, without a word.
        of_type("n", "bigint", "double precision"),
        of_type("small", "smallint", "integer"),
        (required, "ALTER COLUMN status DROP NOT NULL".to_owned(), "status", true),
    ];
    let dispositions = [Disposition::Append, Upsert::by(["id"]).into()];
    let cases = dispositions.iter().flat_map(|d| changes.iter().map(move |change| (d, change)));
    for (number, (disposition, (change, back, column, changes_type))) in cases.enumerate() {
        if !may::<W>(disposition, *changes_type) {
            continue;
        }
        let mut load = begun(&warehouse, disposition.clone(), number).await;
        let staged = load.stage(SECOND).await.expect("stages").0.expect("rows").staged;
        warehouse.sql(&format!("ALTER TABLE {{orders}} {change}")).await;
        for _ in 0..2 {
            let error = load.commit(&staged, false).await.expect_err(change);
            assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Data), "{change}: {error}");
            assert!(error.to_string().contains(column), "{change}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("change the table back")), "{change}: {error}");
            assert_eq!(load.sink.mark(&load.shard).await.expect("reads").map(|m| m.epoch), Some(1), "{change}");
            assert_eq!(warehouse.rows("orders", "id").await, ["1"], "{change}");
        }
        warehouse.sql(&format!("ALTER TABLE {{orders}} {back}")).await;
        load.commit(&staged, false).await.unwrap_or_else(|e| panic!("{back}: {e}"));
        assert_eq!(warehouse.rows("orders", "id, n, small").await, expected(disposition, "1|-|1"), "{change}");
        warehouse.sql("DROP TABLE {orders}").await;
    }
}

async fn a_table_that_is_widened_before_the_commit_takes_the_rows_as_they_are<W: Sql>(warehouse: W) {
    let mut changes = vec!["ADD COLUMN more varchar", "ALTER COLUMN small TYPE bigint"];
    if W::ENGINE == Engine::Postgres {
        changes.extend(["ADD COLUMN more text NOT NULL DEFAULT 'x'", "ALTER COLUMN small TYPE numeric"]);
    }
    let dispositions = [Disposition::Append, Upsert::by(["id"]).into()];
    let cases = dispositions.iter().flat_map(|d| changes.iter().map(move |change| (d, change)));
    for (number, (disposition, change)) in cases.enumerate() {
        let changes_type = change.contains("TYPE");
        // What ADBC knows of a number of any size is not enough to tell.
        let is_told = !change.ends_with("numeric") || W::NAME == "postgres";
        if !may::<W>(disposition, changes_type) || !is_told {
            continue;
        }
        let mut load = begun(&warehouse, disposition.clone(), number).await;
        let staged = load.stage(SECOND).await.expect("stages").0.expect("rows").staged;
        warehouse.sql(&format!("ALTER TABLE {{orders}} {change}")).await;
        load.commit(&staged, false).await.unwrap_or_else(|e| panic!("{change}: {e}"));
        assert_eq!(warehouse.rows("orders", "id, n, small").await, expected(disposition, "1|-|1"), "{change}");
        warehouse.sql("DROP TABLE {orders}").await;
    }
}

async fn who_finds_its_rows_collected_by_a_newer_owner_is_fenced<W: Sql>(warehouse: W) {
    // Rows of many bytes are in the database before they are counted, others are sent when all have come.
    let long = format!("{{\"id\":2,\"status\":\"{}\"}}", "x".repeat(9 << 20));
    let cases = [true, false].map(|commits| ["{\"id\":2}", &long].map(|rows| (commits, rows)));
    for (number, (commits, rows)) in cases.into_iter().flatten().enumerate() {
        let mut older = load(&warehouse, Disposition::Append);
        older.shard.shard = u32::try_from(number).expect("few");
        older.load("{\"id\":1}").await.expect("loads");
        let mut writer = older.open(false).await.expect("opens");
        writer.write(batch(&older.columns, rows)).await.expect("writes");

        let mut newer = load(&warehouse, Disposition::Append);
        (newer.shard, newer.generation, newer.epoch, newer.previous) = (older.shard.clone(), 2, 2, Some(1));
        if commits {
            newer.load("{\"id\":3}").await.expect("loads");
        }
        assert_eq!(newer.sink.collect(&newer.shard, 2, &[]).await.expect("collects"), 1);

        let error = writer.finish().await.map(drop).expect_err("its rows are gone");
        // Without a mark of somebody else, nobody knows who it was.
        let expected = if commits { ErrorKind::Fenced } else { ErrorKind::Unavailable };
        assert_eq!(error.kind(), expected, "{error}");
        assert!(!error.is_transient(), "{error}");
        let rows: &[&str] = if commits { &["1", "3"] } else { &["1"] };
        assert_eq!(warehouse.rows("orders", "id").await, rows);
        warehouse.sql("DROP TABLE {orders}").await;
    }
}
