//! The server is killed in the middle of a run, and comes back: the run goes on to its end.

use crate::api::{Answer, Api, Gate, Place};
use crate::warehouse::Server as Shared;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
use landfall::env::Env;
use landfall::error::{ErrorKind, Status};
use landfall::sink::Upsert;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A server that nobody else uses. It comes back when it is killed, and ends when this is dropped.
struct Mortal {
    url: String,
    pid: PathBuf,
    script: Child,
}

impl Mortal {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/with-postgres");
        let tell = "echo \"$LANDFALL_TEST_POSTGRES $LANDFALL_TEST_POSTGRES_PID\"; read -r _";
        let mut script = Command::new(script)
            .args(["bash", "-c", tell])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let mut said = BufReader::new(script.stdout.take().expect("piped")).lines();
        let said = said.next_line().await.expect("readable").expect("a line");
        let (url, pid) = said.split_once(' ').expect("two words");
        Self { url: url.to_owned(), pid: pid.into(), script }
    }

    async fn kill(&self) {
        let pid = tokio::fs::read_to_string(&self.pid).await.expect("it runs");
        let killed = Command::new("kill").args(["-9", pid.lines().next().expect("a line")]).status().await;
        assert!(killed.expect("kill runs").success(), "it was killed");
    }

    async fn until_loaded(&self, rows: u64) {
        while self.loaded().await.is_none_or(|(loaded, _)| loaded < rows) {}
    }

    /// How many rows, and how many of different numbers; `None` while there is no server, or no table.
    async fn loaded(&self) -> Option<(u64, u64)> {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        let row = client.query_one("SELECT count(*), count(DISTINCT id) FROM shop.orders", &[]).await.ok()?;
        Some((u64::try_from(row.get::<_, i64>(0)).ok()?, u64::try_from(row.get::<_, i64>(1)).ok()?))
    }

    async fn stop(mut self) {
        drop(self.script.stdin.take());
        self.script.wait().await.expect("ends");
    }
}

fn columns() -> Decode {
    Decode::pages().schema(Columns::new().int64("id"))
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_does_not_end_the_run() {
    if Shared::new().await.is_none() {
        return;
    }
    let server = Mortal::start().await;
    let database = Postgres::connect(&server.url).expect("a URL");
    // Pages of ten records; at two of them the server dies.
    let gates = [(15, Gate::new()), (40, Gate::new())];
    let pages = (0..60).map(|page| {
        let records = (page * 10..page * 10 + 10).map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>().join(",");
        match gates.iter().find(|(at, _)| *at == page) {
            Some((_, gate)) => Answer::Waits(gate.clone(), records),
            None => Answer::Records(records),
        }
    });
    let (place, api) = (Place::new(), Api::pages(pages));
    let sink = PostgresTable::at(&database, "shop.orders").expect("a name").disposition(Upsert::by(["id"]));
    let pipeline = place
        .builder("orders", &api, columns(), 50, sink)
        .checkpoints(PostgresCheckpoints::in_schema(&database, "shop").expect("a name"))
        .env(Env::system())
        .build()
        .expect("complete");
    let kills = async {
        for (page, gate) in &gates {
            gate.until_somebody_waits().await;
            server.until_loaded(page * 10 - 100).await;
            server.kill().await;
            gate.open();
        }
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = pipeline.run() => report.expect("one run"),
        () = kills => unreachable!("it waits for the run"),
    };
    assert!(report.is_complete(), "{report}");
    report.ledger.check().expect("balances");
    assert_eq!(server.loaded().await, Some((600, 600)), "it is back");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answered_ends_the_run_soon() {
    let Some(shared) = Shared::new().await else { return };
    // Nobody listens on port 1.
    let nobody =
        format!("{}127.0.0.1:1/postgres?sslmode=disable", shared.url.split_once("127.0.0.1").expect("a host").0);
    let env = landfall::testkit::test_env(1);
    let database = Postgres::connect(&nobody).expect("a URL").env(env.clone());
    let before = env.monotonic();
    let (place, api) = (Place::new(), Api::pages(["{\"id\":1}", "{\"id\":2}"]));
    let sink = PostgresTable::at(&database, "orders").expect("a name");
    let pipeline = place.builder("orders", &api, columns(), 1_000, sink).env(env.clone()).build().expect("complete");
    let failure = pipeline.run().await.expect_err("nobody is there");
    assert_eq!(failure.error().kind(), ErrorKind::Unavailable, "{failure}");
    assert_eq!(failure.error().status(), Status::Exhausted, "{failure}");
    // One that has never answered may not be there at all.
    let took = env.monotonic().saturating_sub(before);
    assert!((10..=15).contains(&took.as_secs()), "{took:?}");
}
