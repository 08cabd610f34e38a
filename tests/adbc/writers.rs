//! Several that write at the same time: connections that share nothing, other processes, locks that are not free, and whoever deletes
//! what waits.

use crate::crash::{Child, child};
use crate::load::{batch, shard};
use crate::support::{Kind, Load, World};
use adbc_core::options::{AdbcVersion, OptionDatabase};
use adbc_core::{Connection, Database, Driver, Statement};
use adbc_driver_manager::{ManagedConnection, ManagedDriver};
use landfall::ErrorKind;
use landfall::columnar::Columns;
use landfall::connectors::adbc::Adbc;
use landfall::sink::{CommitOutcome, Disposition, Sink, Upsert, Writer};

fn columns() -> Columns {
    Columns::new().int64("id").utf8("name")
}

fn apart() -> impl Iterator<Item = World> {
    World::all().filter(|world| world.kind != Kind::DuckDb)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_that_commit_one_epoch_at_the_same_time_commit_it_once() {
    for world in apart() {
        let mut load = Load::new(world.table(Disposition::Append), columns());
        let other = world.table_in(&world.apart(), Disposition::Append);
        for n in 0..10 {
            let staged = load.stage(&format!("{{\"id\":{n}}}")).await.expect("stages").0.expect("rows").staged;
            let (one, two) = (load.request(&staged, false), load.request(&staged, false));
            let (one, two) = tokio::join!(load.sink.commit(&load.clock, one), other.commit(&load.clock, two));
            let mut outcomes = [one.expect("answers"), two.expect("answers")];
            outcomes.sort_by_key(|o| *o != CommitOutcome::Done);
            assert_eq!(outcomes, [CommitOutcome::Done, CommitOutcome::AlreadyCommitted], "{:?}", world.kind);
            load.previous = Some(load.epoch);
        }
        assert_eq!(world.ask("SELECT count(*), count(DISTINCT id) FROM {orders}").await, ["10|10"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_that_upsert_one_key_at_the_same_time_leave_one_row() {
    for world in apart() {
        let mut one = Load::new(world.table(Upsert::by(["id"])), columns());
        let mut two = Load::new(world.table_in(&world.apart(), Upsert::by(["id"])), columns());
        two.shard.shard = 1;
        for n in 0..5 {
            let first = one.stage(&format!("{{\"id\":{n},\"name\":\"one\"}}")).await.expect("stages").0.expect("rows");
            let second = two.stage(&format!("{{\"id\":{n},\"name\":\"two\"}}")).await.expect("stages").0.expect("rows");
            let (a, b) = tokio::join!(
                one.sink.commit(&one.clock, one.request(&first.staged, false)),
                two.sink.commit(&two.clock, two.request(&second.staged, false))
            );
            assert_eq!((a.expect("commits"), b.expect("commits")), (CommitOutcome::Done, CommitOutcome::Done));
            (one.previous, two.previous) = (Some(one.epoch), Some(two.epoch));
        }
        let rows = world.ask("SELECT count(*), count(DISTINCT id) FROM {orders}").await;
        assert_eq!(rows, ["5|5"], "{:?}", world.kind);
    }
}

#[tokio::test]
async fn a_new_owner_on_another_connection_shuts_the_old_one_out() {
    for world in apart() {
        let mut old = Load::new(world.table(Disposition::Append), columns());
        old.load("{\"id\":1}").await.expect("loads");
        let late = old.stage("{\"id\":7}").await.expect("stages").0.expect("rows").staged;
        let mut new = Load::new(world.table_in(&world.apart(), Disposition::Append), columns());
        (new.generation, new.epoch, new.previous) = (2, 5, Some(1));
        new.load("{\"id\":2}").await.expect("loads");
        assert_eq!(old.commit(&late, false).await.expect("answers"), CommitOutcome::Fenced { generation: 2 });
        assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2"], "{:?}", world.kind);
        assert_eq!(old.sink.mark(&shard()).await.expect("reads").map(|m| (m.generation, m.epoch)), Some((2, 6)));
    }
}

/// A connection of somebody else.
fn stranger(world: &World) -> ManagedConnection {
    let driver = std::env::var("LANDFALL_TEST_ADBC_SQLITE").expect("is there");
    let mut driver = ManagedDriver::load_dynamic_from_filename(driver, None, AdbcVersion::V110).expect("loads");
    let file = world.folder.path().join("x.sqlite").display().to_string();
    driver
        .new_database_with_opts([(OptionDatabase::Uri, file.into())])
        .expect("opens")
        .new_connection()
        .expect("connects")
}

fn tell(connection: &mut ManagedConnection, statement: &str) {
    let mut prepared = connection.new_statement().expect("makes a statement");
    prepared.set_sql_query(statement).expect("takes it");
    prepared.execute_update().expect("runs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_busy_is_waited_for_within_a_budget() {
    let Some(world) = World::new(Kind::Sqlite) else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("rows").staged;

    let mut other = stranger(&world);
    tell(&mut other, "BEGIN IMMEDIATE");
    let patient = landfall::testkit::test_env(1);
    let error = load.sink.commit(&patient, load.request(&staged, false)).await.expect_err("it stays locked");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_transient() && error.to_string().contains("locked"), "{error}");

    let committing = load.sink.commit(&load.clock, load.request(&staged, false));
    let releasing = async {
        load.clock.sleep(std::time::Duration::from_millis(300)).await;
        tell(&mut other, "COMMIT");
    };
    let (outcome, ()) = tokio::join!(committing, releasing);
    assert_eq!(outcome.expect("it is free in the end"), CommitOutcome::Done);
    assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2"]);
}

#[tokio::test]
async fn a_file_of_duckdb_is_open_once_in_a_process_and_shared_by_those_configured_alike() {
    let Some(world) = World::new(Kind::DuckDb) else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");

    let alike = crate::support::reach(Kind::DuckDb, world.folder.path().to_str().expect("text")).expect("is there");
    load.sink = world.table_in(&alike, Disposition::Append).into();
    load.load("{\"id\":2}").await.expect("loads");

    let file = world.folder.path().join("x.duckdb");
    let roundabout =
        world.folder.path().join("..").join(world.folder.path().file_name().expect("a name")).join("x.duckdb");
    for path in [file, roundabout] {
        let other = Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_DUCKDB").expect("is there"))
            .entrypoint("duckdb_adbc_init")
            .option("path", path.display().to_string())
            .option("threads", "1");
        let table = world.table_in(&other, Disposition::Append);
        let context = landfall::sink::EpochContext::new(shard(), 1, 9, landfall::testkit::test_env(1));
        let error = table.open(context).await.map(drop).expect_err("it would lose rows");
        assert!(error.to_string().contains("other options"), "{error}");
    }
    assert_eq!(world.ask("SELECT id FROM {orders} ORDER BY id").await, ["1", "2"]);
}

#[tokio::test]
async fn a_file_of_duckdb_that_another_process_has_open_is_said_so() {
    let Some(world) = World::new(Kind::DuckDb) else { return };
    let mut holder = child(&world, Child::Hold, None).expect("starts");
    holder.wait_until_open();
    let table = world.table(Disposition::Append);
    let context = landfall::sink::EpochContext::new(shard(), 1, 1, landfall::testkit::test_env(1));
    let error = table.open(context).await.map(drop).expect_err("the other one has it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_transient() && error.to_string().contains("another process"), "{error}");
    holder.kill();
    let mut load = Load::new(table, columns());
    load.load("{\"id\":1}").await.expect("it is free now");
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
