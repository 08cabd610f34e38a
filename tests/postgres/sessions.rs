//! Sessions: whatever the role, the search path or a pooler say, and whoever holds a lock.

use crate::load::shard;
use crate::support::{Load, World};
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::columnar::Columns;
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
use landfall::sink::{CommitOutcome, Disposition, Replace, ReplacePartitions, Scd2, Sink, Upsert};
use landfall::store::Created;
use landfall::{ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::NoTls;

fn columns() -> Columns {
    Columns::new().int64("id").utf8("status")
}

/// A role that may log in, and the database as it reaches it. The schema is there, and it may do all in it.
async fn role(world: &World) -> (String, Postgres) {
    let role = format!("role_{}", world.schema.replace(['"', ' '], "_"));
    let schema = world.schema_name();
    world.ask(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; CREATE ROLE \"{role}\" LOGIN; GRANT ALL ON SCHEMA {schema} TO \"{role}\"")).await;
    let database = Postgres::connect(&world.url.replace("landfall@", &format!("{role}@"))).expect("a URL");
    (role, database.retry_for(Duration::ZERO))
}

async fn forget(world: &World, role: &str) {
    world.ask(&format!("DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\"")).await;
}

fn orders(world: &World, database: &Postgres, disposition: impl Into<Disposition>) -> PostgresTable {
    PostgresTable::at(database, &format!("{}.orders", world.schema)).expect("a name").disposition(disposition)
}

/// A session of somebody else.
async fn other(world: &World) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&world.url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn the_defaults_of_the_role_do_not_matter() {
    let Some(world) = World::new().await else { return };
    let (role, database) = role(&world).await;
    for setting in [
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = 500",
        "lock_timeout = 1",
        "row_security = on",
    ] {
        world.ask(&format!("ALTER ROLE \"{role}\" SET {setting}")).await;
    }
    world.ask(&format!("CREATE TABLE {{said}} (name text, setting text); GRANT ALL ON {{said}} TO \"{role}\"; CREATE TABLE {{orders}} (id bigint, status text, _landfall_load text); \
        GRANT ALL ON {{orders}} TO \"{role}\"; CREATE FUNCTION {{tell}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM pg_sleep(0.7); INSERT INTO {{said}} SELECT name, setting || coalesce(unit, '') FROM pg_settings WHERE name IN ('synchronous_commit', 'transaction_isolation', \
        'statement_timeout', 'lock_timeout', 'row_security', 'idle_in_transaction_session_timeout', 'tcp_keepalives_idle', 'tcp_user_timeout'); RETURN new; END $$; \
        CREATE TRIGGER tell BEFORE INSERT ON {{orders}} FOR EACH ROW EXECUTE FUNCTION {{tell}}()")).await;
    let mut load = Load::new(orders(&world, &database, Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    let said = world.ask("SELECT name, setting FROM {said} ORDER BY name").await;
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
    assert_eq!(said, expected);
    forget(&world, &role).await;
}

/// A pooler that gives each transaction another session, as far as it can be had here: between two of them, the settings change.
#[tokio::test]
async fn a_commit_survives_a_power_loss_whatever_the_session_says() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    let database = Postgres::connect(&world.url).expect("a URL").pool_size(1).expect("a size");
    let chains = PostgresCheckpoints::in_schema(&database, &world.schema).expect("a name");
    let chain = ChainId::named("c").expect("a name");
    assert_eq!(chains.create(&chain, 1, "one".into()).await.expect("answers"), Created::New);
    let mut load = Load::new(orders(&world, &database, Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    // Each says what it finds at the end of its transaction, and turns the setting off for those that come after it.
    let tables = ["landfall_marks", "landfall_chain_records", "landfall_chain_boundaries"];
    let mut statements = "CREATE TABLE {said} (of text, setting text); CREATE FUNCTION {tell}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        INSERT INTO {said} VALUES (TG_TABLE_NAME, current_setting('synchronous_commit')); RETURN NULL; END $$; \
        CREATE FUNCTION {turn}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('synchronous_commit', 'off', false); RETURN NULL; END $$;"
        .to_owned();
    for table in tables {
        statements += &format!(
            "CREATE CONSTRAINT TRIGGER tell AFTER INSERT OR UPDATE ON {{{table}}} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {{tell}}();"
        );
    }
    statements +=
        "CREATE TRIGGER turn AFTER DELETE ON {landfall_chain_records} FOR EACH STATEMENT EXECUTE FUNCTION {turn}()";
    world.ask(&statements).await;
    chains.remove(&chain, 7).await.expect("nothing to remove: the setting is off now");
    assert_eq!(chains.create(&chain, 2, "two".into()).await.expect("answers"), Created::New);
    assert_eq!(chains.create(&chain, 2, "two".into()).await.expect("answers"), Created::Exists);
    chains.advance_boundary(&chain, 1).await.expect("advances");
    load.load("{\"id\":2}").await.expect("loads");
    let said = world.ask("SELECT of, setting, count(*) FROM {said} GROUP BY 1, 2 ORDER BY 1").await;
    assert_eq!(said, ["landfall_chain_boundaries|on|1", "landfall_chain_records|on|1", "landfall_marks|on|1"]);
}

#[tokio::test]
async fn functions_of_others_are_never_called() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    // They fit better than those of the server, which take wider types.
    let mut statements = String::new();
    for (name, arguments, answer) in [
        ("hashtextextended", "text, integer", "bigint"),
        ("obj_description", "oid, text", "text"),
        ("left", "name, integer", "text"),
        ("unnest", "int2vector", "SETOF smallint"),
        ("to_regclass", "name", "regclass"),
        ("set_config", "text, text, bool", "text"),
        ("set_config", "name, text, bool", "text"),
        ("to_timestamp", "numeric", "timestamptz"),
        ("lpad", "text, integer, varchar", "text"),
        ("length", "varchar", "integer"),
    ] {
        statements += &format!(
            "CREATE FUNCTION {{{name}}}({arguments}) RETURNS {answer} LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called: {name}'; END $$;"
        );
    }
    statements += "CREATE FUNCTION {fail}(text[], text) RETURNS text[] LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called: array_agg'; END $$; \
                   CREATE AGGREGATE {array_agg}(text) (sfunc = {fail}, stype = text[]); \
                   CREATE FUNCTION {fall}(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called: lag'; END $$; \
                   CREATE AGGREGATE {lag}(text) (sfunc = {fall}, stype = text)";
    world.ask(&statements).await;
    let path = world.schema_name().replace('"', "%22").replace(' ', "%5C%20");
    let database = Postgres::connect(&format!("{}&options=-csearch_path%3D{path}", world.url)).expect("a URL");
    let chains = PostgresCheckpoints::in_schema(&database, &world.schema).expect("a name");
    chains.create(&ChainId::named("c").expect("a name"), 1, "one".into()).await.expect("answers");
    let dispositions: [Disposition; 5] = [
        Disposition::Append,
        Upsert::by(["id"]).sweep(1.0).into(),
        Scd2::by(["id"]).sweep(1.0).into(),
        Replace::table().may_shrink_by(1.0).into(),
        ReplacePartitions::by(["id"]).into(),
    ];
    for disposition in dispositions {
        let table =
            PostgresTable::at(&database, &format!("{}.{}", world.schema, disposition.as_str())).expect("a name");
        let mut load = Load::new(table.disposition(disposition.clone()), columns());
        for number in 1..=2 {
            load.enumeration = (disposition != Disposition::Append).then_some(number);
            load.load("{\"id\":1,\"status\":\"a\"}\n{\"id\":2}")
                .await
                .unwrap_or_else(|e| panic!("{disposition:?}: {e}"));
            if load.enumeration.is_some() {
                load.whole().await.unwrap_or_else(|e| panic!("{disposition:?}: {e}"));
            }
        }
        load.sink.collect(&shard(), 9, &[]).await.unwrap_or_else(|e| panic!("{disposition:?}: {e}"));
    }
}

#[tokio::test]
async fn who_holds_a_lock_is_not_waited_for_for_ever() {
    let Some(world) = World::new().await else { return };
    let database = Postgres::connect(&world.url).expect("a URL").retry_for(Duration::ZERO);
    let mut load = Load::new(orders(&world, &database, Disposition::Append), columns());
    load.load("{\"id\":1}").await.expect("loads");
    let staged = load.stage("{\"id\":2}").await.expect("stages").0.expect("a row").staged;
    let holder = other(&world).await;
    holder
        .batch_execute(&format!("BEGIN; SELECT 1 FROM {} FOR UPDATE", world.name("landfall_marks")))
        .await
        .expect("locks");
    let error = load.commit(&staged, false).await.expect_err("the mark is held");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    holder.batch_execute("ROLLBACK").await.expect("gives up");
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
}

#[tokio::test]
async fn a_backup_does_not_stop_a_commit() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Disposition::Append), columns());
    let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
    let backup = other(&world).await;
    let name = world.name(staged.staging.as_deref().expect("a table"));
    backup.batch_execute(&format!("BEGIN; LOCK TABLE {name} IN ACCESS SHARE MODE")).await.expect("locks");
    assert_eq!(load.commit(&staged, false).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(world.ask("SELECT id FROM {orders}").await, ["1"]);
    assert_eq!(world.staged().await.len(), 1, "the backup reads it");
    backup.batch_execute("COMMIT").await.expect("ends");
    assert_eq!(load.sink.collect(&shard(), 2, &[]).await.expect("collects"), 1);
    assert!(world.staged().await.is_empty());
}

#[tokio::test]
async fn a_backup_does_not_stop_an_enumeration() {
    let Some(world) = World::new().await else { return };
    let mut load = Load::new(world.table(Upsert::by(["id"]).sweep(1.0)), columns());
    load.enumeration = Some(1);
    load.load("{\"id\":1}").await.expect("loads");
    let backup = other(&world).await;
    let waiting = world.staged().await;
    let name = world.name(waiting.iter().find(|name| name.ends_with("aside_1")).expect("keys wait"));
    backup.batch_execute(&format!("BEGIN; LOCK TABLE {name} IN ACCESS SHARE MODE")).await.expect("locks");
    load.load("{\"id\":2}").await.expect("loads");
    load.whole().await.expect("is whole");
    load.enumeration = Some(2);
    load.load("{\"id\":2}").await.expect("loads");
    backup.batch_execute("COMMIT").await.expect("ends");
    load.whole().await.expect("is whole");
    assert_eq!(world.ask("SELECT id FROM {orders}").await, ["2"]);
    assert!(world.staged().await.is_empty(), "nothing is left of either");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_asked() {
    let Some(world) = World::new().await else { return };
    let (role, database) = role(&world).await;
    world.ask(&format!("ALTER ROLE \"{role}\" SET default_transaction_read_only = on")).await;
    let error = orders(&world, &database, Disposition::Append).mark(&shard()).await.expect_err("it would lag");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replica"), "{error}");
    forget(&world, &role).await;
}

#[tokio::test]
async fn versions_need_no_right_to_temporary_tables() {
    let Some(world) = World::new().await else { return };
    let (role, database) = role(&world).await;
    world.ask(&format!("CREATE DATABASE \"{role}\"")).await;
    world
        .ask(&format!(
            "REVOKE TEMP ON DATABASE \"{role}\" FROM PUBLIC; GRANT CREATE ON DATABASE \"{role}\" TO \"{role}\""
        ))
        .await;
    let url = world.url.replace("landfall@", &format!("{role}@")).replace("/postgres?", &format!("/{role}?"));
    let hardened = Postgres::connect(&url).expect("a URL");
    let mut load = Load::new(orders(&world, &hardened, Scd2::by(["id"])), columns());
    load.load("{\"id\":1,\"status\":\"a\"}").await.expect("loads");
    load.clock.sleep(Duration::from_secs(60)).await;
    load.load("{\"id\":1,\"status\":\"b\"}").await.expect("loads");
    drop((load, hardened, database));
    world.ask(&format!("DROP DATABASE \"{role}\" WITH (FORCE)")).await;
    forget(&world, &role).await;
}

#[tokio::test]
async fn a_checkpoint_that_was_refused_is_not_in_doubt() -> Result<()> {
    let Some(world) = World::new().await else { return Ok(()) };
    let owner = PostgresCheckpoints::in_schema(&world.database, &world.schema)?;
    let chain = ChainId::named("c")?;
    owner.create(&chain, 1, "one".into()).await?;
    let (role, database) = role(&world).await;
    // The tables are there: no right to make them is needed.
    world.ask(&format!("REVOKE CREATE ON SCHEMA {} FROM \"{role}\"; GRANT ALL ON {{landfall_chain_records}}, {{landfall_chain_boundaries}} TO \"{role}\"", world.schema_name())).await;
    let chains = PostgresCheckpoints::in_schema(&database, &world.schema)?;
    assert_eq!(chains.create(&chain, 2, "two".into()).await?, Created::New);
    world
        .ask(&format!("REVOKE INSERT ON {{landfall_chain_records}}, {{landfall_chain_boundaries}} FROM \"{role}\""))
        .await;
    let refused = [chains.create(&chain, 3, "three".into()).await.map(drop), chains.advance_boundary(&chain, 2).await];
    for error in refused.map(|outcome| outcome.expect_err("it may not")) {
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    }
    assert_eq!(owner.numbers(&chain).await?, [1, 2]);
    world.ask(&format!("REVOKE ALL ON {{landfall_chain_records}} FROM \"{role}\"; GRANT SELECT ON {{landfall_chain_records}} TO \"{role}\"")).await;
    let reader = PostgresCheckpoints::in_schema(&database, &world.schema)?;
    assert_eq!(reader.numbers(&chain).await?, [1, 2], "who reads needs no other right");
    world.ask("DROP TABLE {landfall_chain_records}").await;
    let error = owner.create(&chain, 3, "three".into()).await.expect_err("somebody dropped it");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    forget(&world, &role).await;
    Ok(())
}

/// Change data capture publishes all tables, unless it is told otherwise.
#[tokio::test]
async fn a_publication_of_all_tables_does_not_stop_a_chunk_that_is_sent_again() {
    let Some(world) = World::new().await else { return };
    let name = format!("published_{}", world.schema.replace(['"', ' '], "_"));
    world.ask(&format!("CREATE DATABASE \"{name}\"")).await;
    let url = world.url.replace("/postgres?", &format!("/{name}?"));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client.batch_execute("CREATE PUBLICATION everything FOR ALL TABLES").await.expect("publishes");
    let database = Postgres::connect(&url).expect("a URL");
    let mut load = Load::new(orders(&world, &database, Disposition::Append), columns());
    let staged = load.stage("{\"id\":1}").await.expect("stages").0.expect("a row").staged;
    let staging = world.name(staged.staging.as_deref().expect("a table"));
    client.batch_execute(&format!("DELETE FROM {staging} WHERE false")).await.expect("rows have an identity");
    load.commit(&staged, false).await.expect("commits");
    drop((load, database, client));
    world.ask(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
}
