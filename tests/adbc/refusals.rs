//! What cannot be reached, or does not hold what it is given, is refused, with words that say why.

use crate::load::shard;
use crate::support::{Kind, World};
use landfall::ErrorKind;
use landfall::connectors::adbc::{Adbc, AdbcTable};
use landfall::sink::{EpochContext, Sink};
use landfall::testkit::test_env;

#[tokio::test]
async fn errors_say_what_to_do_and_show_no_password() {
    let Some(world) = World::new(Kind::Postgres) else { return };
    let driver = std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there");
    let unreachable = Adbc::driver(driver).option("uri", "postgresql://me:hunter2@127.0.0.1:1/x?sslmode=disable");
    let table = AdbcTable::at(&unreachable, "t").expect("a name");
    let error = table.open(EpochContext::new(shard(), 1, 1, test_env(1))).await;
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
    let Some(world) = World::new(Kind::Sqlite) else { return };
    let table = AdbcTable::at(&world.database, "sales.orders").expect("a name");
    let error = table.mark(&shard()).await.expect_err("no schemas");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
