//! Sessions of PostgreSQL: whatever the defaults of the role are, and whoever holds a lock.

use crate::load::shard;
use crate::support::{Kind, Load, World};
use landfall::columnar::Columns;
use landfall::connectors::adbc::Adbc;
use landfall::sink::{CommitOutcome, Disposition, Replace, Sink, Upsert};

#[tokio::test]
async fn the_defaults_of_the_session_do_not_matter() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
    let weak = ["synchronous_commit=off", "statement_timeout=500", "lock_timeout=1", "row_security=on"];
    let weak = weak.map(|setting| format!("-c%20{}", setting.replace('=', "%3D"))).join("%20");
    let driver = Adbc::driver(std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there"));
    let database = driver.option("uri", format!("{url}&options={weak}"));
    world.with_schema().await;
    world.ask("CREATE TABLE {said} (name text, setting text)").await;
    world.ask("CREATE TABLE {orders} (id bigint, _landfall_load text)").await;
    let tell = "CREATE FUNCTION {tell}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        INSERT INTO {said} SELECT name, setting || coalesce(unit, '') FROM pg_settings WHERE name IN ('synchronous_commit', \
        'transaction_isolation', 'statement_timeout', 'lock_timeout', 'row_security', 'idle_in_transaction_session_timeout', \
        'tcp_keepalives_idle', 'tcp_user_timeout'); RETURN new; END $$";
    world.ask(tell).await;
    world.ask("CREATE TRIGGER tell BEFORE INSERT ON {orders} FOR EACH ROW EXECUTE FUNCTION {tell}()").await;
    let mut load = Load::new(world.table_in(&database, Disposition::Append), Columns::new().int64("id"));
    load.load("{\"id\":1}").await.expect("loads");
    let expected = [
        "idle_in_transaction_session_timeout|60000ms",
        "lock_timeout|30000ms",
        "row_security|off",
        "statement_timeout|0ms",
        "synchronous_commit|on",
        "tcp_keepalives_idle|30s",
        "tcp_user_timeout|60000ms",
        "transaction_isolation|read committed",
    ];
    assert_eq!(world.ask("SELECT name, setting FROM {said} ORDER BY name").await, expected);
}

#[tokio::test]
async fn a_commit_survives_a_power_loss_where_a_pooler_has_put_it_into_another_session() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    world.with_schema().await;
    world.ask("CREATE TABLE {said} (setting text)").await;
    world.ask("CREATE TABLE {orders} (id bigint, _landfall_load text)").await;
    world
        .ask("CREATE FUNCTION {tell}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO {said} SELECT current_setting('synchronous_commit'); RETURN new; END $$")
        .await;
    world.ask("CREATE TRIGGER tell BEFORE INSERT ON {orders} FOR EACH ROW EXECUTE FUNCTION {tell}()").await;
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id"));
    let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
    world.ask("SET synchronous_commit = off").await;
    load.commit(&staged, false).await.expect("commits");
    assert_eq!(world.ask("SELECT setting FROM {said}").await, ["on"]);
}

#[tokio::test]
async fn a_backup_stops_no_commit_no_enumeration_and_no_collection() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    for disposition in [Disposition::from(Upsert::by(["id"])), Replace::table().into()] {
        let whole = matches!(disposition, Disposition::Replace(_));
        world.ask("DROP TABLE IF EXISTS {orders}").await;
        let mut load = Load::new(world.table(disposition), Columns::new().int64("id"));
        load.epoch = 10 * u64::from(whole);
        load.previous = whole.then_some(1);
        load.enumeration = whole.then_some(1);
        let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
        let backup = world.apart();
        backup.query("BEGIN").await.expect("begins");
        let held = world.staged().await;
        for table in &held {
            backup.query(&format!("SELECT 1 FROM {}", world.name(table))).await.expect("reads");
        }
        assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
        if whole {
            load.whole().await.expect("is whole");
        }
        assert_eq!(
            load.sink.collect(&shard(), 9, &[]).await.expect("collects"),
            0,
            "it is left to the next collection"
        );
        assert_eq!(world.ask("SELECT id FROM {orders}").await, ["1"]);
        assert_eq!(world.staged().await, held);
        backup.query("ROLLBACK").await.expect("ends");
        assert_eq!(load.sink.collect(&shard(), 9, &[]).await.expect("collects"), 1);
    }
}
