//! Marks, lost answers, and what staging leaves behind.

use crate::load::shard;
use crate::support::{Load, World};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::sink::{CommitOutcome, Disposition, Sink};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name")
}

#[tokio::test]
async fn an_epoch_comes_into_view_with_its_mark_and_never_twice() {
    let Some(world) = World::new().await else { return };
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

#[tokio::test]
async fn the_mark_never_moves_over_rows_that_are_gone() {
    let Some(world) = World::new().await else { return };
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

#[tokio::test]
async fn control_tables_of_a_newer_version_are_refused() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    world.ask(&format!("COMMENT ON TABLE {} IS 'landfall marks, version 2'", world.name("landfall_marks"))).await;
    let mut next = Load::new(world.table(Disposition::Append), columns());
    let error = next.stage("{\"id\":2}").await.map(drop).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn errors_say_what_to_do_and_show_no_password() {
    let Some(world) = World::new().await else { return };
    let unreachable =
        landfall::connectors::postgres::Postgres::connect("postgresql://me:hunter2@127.0.0.1:1/x?sslmode=disable")
            .expect("a URL")
            .retry_for(std::time::Duration::ZERO);
    let table = landfall::connectors::postgres::PostgresTable::at(&unreachable, "t").expect("a name");
    let error = table.mark(&shard()).await.expect_err("nobody listens there");
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("127.0.0.1:1/x"), "{error}");
    assert!(!format!("{error} {error:?} {table:?}").contains("hunter2"));

    let tls = world.url.replace("disable", "require");
    let tls = landfall::connectors::postgres::Postgres::connect(&tls).expect("a URL");
    let table = landfall::connectors::postgres::PostgresTable::at(&tls, "t").expect("a name");
    let error = table.mark(&shard()).await.expect_err("the server speaks no TLS");
    assert_eq!(
        error.status(),
        landfall::error::Status::Permanent,
        "it will not speak it the next time either: {error}"
    );
}
