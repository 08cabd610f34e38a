//! What errors say of a server that cannot be reached.

use crate::load::shard;
use crate::support::World;
use landfall::ErrorKind;
use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::error::Status;
use landfall::sink::Sink;
use std::time::Duration;

#[tokio::test]
async fn errors_say_what_to_do_and_show_no_password() {
    let Some(world) = World::new().await else { return };
    let unreachable = Postgres::connect("postgresql://me:hunter2@127.0.0.1:1/x?sslmode=disable")
        .expect("a URL")
        .retry_for(Duration::ZERO);
    let table = PostgresTable::at(&unreachable, "t").expect("a name");
    let error = table.mark(&shard()).await.expect_err("nobody listens there");
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("127.0.0.1:1/x"), "{error}");
    assert!(!format!("{error} {error:?} {table:?}").contains("hunter2"));

    let tls = world.url.replace("disable", "require");
    let tls = Postgres::connect(&tls).expect("a URL");
    let table = PostgresTable::at(&tls, "t").expect("a name");
    let error = table.mark(&shard()).await.expect_err("the server speaks no TLS");
    assert_eq!(error.status(), Status::Permanent, "it will not speak it the next time either: {error}");
}
