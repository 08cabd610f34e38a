//! Marks, lost answers, and what staging leaves behind.

use crate::load::{batch, shard};
use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::adbc::{Adbc, AdbcTable};
use landfall::sink::{CommitOutcome, Disposition, Sink, Writer};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name")
}

#[tokio::test]
async fn an_epoch_comes_into_view_with_its_mark_and_never_twice() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        assert_eq!(load.sink.mark(&shard()).await.expect("no tables yet"), None);
        let (output, _) = load.stage("{\"id\":1}\n{\"id\":2}").await.expect("stages");
        let staged = output.expect("rows").staged;
        assert!(world.ask("SELECT * FROM {orders}").await.is_empty(), "staged rows are not seen");
        assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
        load.previous = None;
        assert_eq!(load.commit(&staged, false).await.expect("answers"), CommitOutcome::AlreadyCommitted);
        assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2"]);
        assert!(world.staged().await.is_empty(), "what was committed is not kept twice");
        let mark = load.sink.mark(&shard()).await.expect("reads").expect("a mark");
        assert_eq!((mark.generation, mark.epoch), (1, 1));
        let ledger =
            world.ask("SELECT load_id, rows_staged, rows_inserted, schema_version, disposition FROM {loads}").await;
        assert_eq!(ledger, ["orders-0000-00000000000000000001|2|2|1|append"]);
        assert_eq!(
            world.ask("SELECT count(*) FROM {orders} o JOIN {loads} l ON l.load_id = o._landfall_load").await,
            ["2"]
        );
    }
}

#[tokio::test]
async fn the_mark_never_moves_over_rows_that_are_gone() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        load.load("{\"id\":1}").await.expect("loads");
        let lost = load.stage("{\"id\":2}\n{\"id\":3}").await.expect("stages").0.expect("rows").staged;
        let table = world.name(lost.staging.as_deref().expect("a table"));
        world.ask(&format!("DELETE FROM {table} WHERE id = 3")).await;
        let error = load.sink.commit(&load.clock, load.request(&lost, false)).await.expect_err("a row is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        world.ask(&format!("DROP TABLE {table}")).await;
        let error = load.sink.commit(&load.clock, load.request(&lost, false)).await.expect_err("all are missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(load.sink.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(1));
        assert_eq!(world.ask("SELECT id FROM {orders}").await, ["1"]);
    }
}

#[tokio::test]
async fn staged_rows_that_are_gone_before_they_are_prepared_are_no_damage_but_a_reason_to_run_again() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        load.load("{\"id\":1}").await.expect("loads");
        let mut writer = load.open(false).await.expect("opens");
        // So much that it does not wait for the end.
        let long = "x".repeat(9 << 20);
        let rows = batch(&load.columns, &format!("{{\"id\":2,\"name\":\"{long}\"}}"));
        assert!(writer.write(rows).await.expect("writes").is_empty());
        let [staging] = &world.staged().await[..] else { panic!("one table") };
        world.ask(&format!("DELETE FROM {}", world.name(staging))).await;
        let error = writer.finish().await.expect_err("they are gone");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(world.ask("SELECT id FROM {orders}").await, ["1"]);
    }
}

#[tokio::test]
async fn control_tables_of_a_newer_version_are_refused() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        load.load("{\"id\":1}").await.expect("loads");
        world.ask(&format!("UPDATE {} SET version = 2", world.name("landfall_version"))).await;
        let mut next = Load::new(world.table(Disposition::Append), columns());
        let error = next.stage("{\"id\":2}").await.map(drop).expect_err("it is newer");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}

#[tokio::test]
async fn errors_say_what_to_do_and_show_no_password() {
    let Some(world) = World::new(crate::support::Kind::Postgres) else { return };
    let driver = std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there");
    let unreachable = Adbc::driver(driver).option("uri", "postgresql://me:hunter2@127.0.0.1:1/x?sslmode=disable");
    let table = AdbcTable::at(&unreachable, "t").expect("a name");
    let error = table.open(landfall::sink::EpochContext::new(shard(), 1, 1, landfall::testkit::test_env(1))).await;
    let error = error.map(drop).expect_err("nobody listens there");
    assert!(error.is_transient() && error.to_string().contains("127.0.0.1"), "{error}");
    assert!(!format!("{error} {error:?} {table:?} {:?}", table.config()).contains("hunter2"));
    drop(world);

    let missing = Adbc::driver("/not/there/libx.so").secret("password", "hunter2");
    let error = AdbcTable::at(&missing, "t").expect("a name").mark(&shard()).await.expect_err("no such driver");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("/not/there/libx.so") && !format!("{error:?}").contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_database_that_forgets_is_refused_before_anything_is_staged() {
    for (variable, entrypoint) in
        [("LANDFALL_TEST_ADBC_DUCKDB", Some("duckdb_adbc_init")), ("LANDFALL_TEST_ADBC_SQLITE", None)]
    {
        let Ok(driver) = std::env::var(variable) else { continue };
        let database = entrypoint.into_iter().fold(Adbc::driver(driver), Adbc::entrypoint);
        let error = AdbcTable::at(&database, "t").expect("a name").mark(&shard()).await.expect_err("it is in memory");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("memory"), "{error}");
    }
}

#[tokio::test]
async fn schemas_are_refused_where_there_are_none() {
    let Some(world) = World::new(crate::support::Kind::Sqlite) else { return };
    let table = AdbcTable::at(&world.database, "sales.orders").expect("a name");
    let error = table.mark(&shard()).await.expect_err("no schemas");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
