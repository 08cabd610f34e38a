//! The server is killed in the middle of a run, and comes back: the run goes on to its end.

use crate::support::World;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Partition, Proof, StopReason, Timestamp};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Upsert;
use landfall::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use landfall::store::Store;
use landfall::{Result, async_trait};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A server that nobody else uses. It comes back when it is killed, and ends when this is dropped.
struct Server {
    url: String,
    pid: PathBuf,
    script: Child,
}

impl Server {
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

    async fn stop(mut self) {
        drop(self.script.stdin.take());
        self.script.wait().await.expect("ends");
    }
}

/// Pages of ten records; at some of them the server dies.
struct Deadly {
    url: String,
    pid: PathBuf,
    kills: Arc<AtomicU64>,
}

const PAGES: u64 = 60;

impl Deadly {
    async fn until_loaded(&self, rows: u64) {
        while self.loaded().await.is_none_or(|loaded| loaded < rows) {}
    }

    /// `None` while there is no server, or no table.
    async fn loaded(&self) -> Option<u64> {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        let row = client.query_one("SELECT count(*) FROM shop.orders", &[]).await.ok()?;
        u64::try_from(row.get::<_, i64>(0)).ok()
    }
}

#[async_trait]
impl Source for Deadly {
    type Item = Page;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<RowsRead>) -> Result<()> {
        out.add(Partition::new("all")).await
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<RowsRead>,
        out: &mut Emitter<Page, RowsRead>,
    ) -> Result<StopReason> {
        for page in from.map_or(0, |RowsRead(n)| n)..PAGES {
            if page == 15 || page == 40 {
                self.until_loaded(page * 10 - 100).await;
                let pid = tokio::fs::read_to_string(&self.pid).await;
                let pid = pid.ok().and_then(|text| Some(text.lines().next()?.to_owned())).expect("it runs");
                let killed = Command::new("kill").args(["-9", &pid]).status().await.expect("kill runs");
                self.kills.fetch_add(u64::from(killed.success()), Ordering::SeqCst);
            }
            let records: Vec<_> = (0..10).map(|n| format!("{{\"id\":{}}}", page * 10 + n)).collect();
            let body = format!("[{}]", records.join(","));
            out.emit(Page::new(partition.id.clone(), body, 10, Timestamp::from_micros(1)), &RowsRead(page + 1)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_does_not_end_the_run() {
    if World::new().await.is_none() {
        return;
    }
    let server = Server::start().await;
    let database = Postgres::connect(&server.url).expect("a URL");
    let kills = Arc::new(AtomicU64::new(0));
    let store = Store::memory();
    let pipeline = Pipeline::named("orders")
        .source(Deadly { url: server.url.clone(), pid: server.pid.clone(), kills: Arc::clone(&kills) })
        .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(1))
        .stage(Decode::pages().schema(Columns::new().int64("id")))
        .sink(PostgresTable::at(&database, "shop.orders").expect("a name").disposition(Upsert::by(["id"])))
        .checkpoints(PostgresCheckpoints::in_schema(&database, "shop").expect("a name"))
        .settings(Settings::default().epoch_records(50))
        .build()
        .expect("complete");
    let report = pipeline.run().await.expect("one run");
    assert!(report.is_complete(), "{report}");
    assert_eq!(kills.load(Ordering::SeqCst), 2, "it was killed");
    report.ledger.check().expect("balances");
    let (client, connection) = tokio_postgres::connect(&server.url, tokio_postgres::NoTls).await.expect("it is back");
    tokio::spawn(connection);
    let row = client.query_one("SELECT count(*), count(DISTINCT id) FROM shop.orders", &[]).await.expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (600, 600));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answered_ends_the_run_soon() {
    let Some(world) = World::new().await else { return };
    let store = Store::memory();
    // Nobody listens on port 1.
    let nobody =
        format!("{}127.0.0.1:1/postgres?sslmode=disable", world.url.split_once("127.0.0.1").expect("a host").0);
    let env = landfall::testkit::test_env(1);
    let database = Postgres::connect(&nobody).expect("a URL").env(env.clone());
    let before = env.monotonic();
    let pipeline = Pipeline::named("orders")
        .source(crate::pipeline::pages(0..3, "a"))
        .land(Landing::in_store(&store, "raw").expect("a name"))
        .stage(Decode::pages().schema(Columns::new().int64("id")))
        .sink(PostgresTable::at(&database, "orders").expect("a name"))
        .checkpoints(landfall::checkpoint::MemoryCheckpoints::default())
        .env(env.clone())
        .build()
        .expect("complete");
    let failure = pipeline.run().await.expect_err("nobody is there");
    assert_eq!(failure.error().kind(), landfall::ErrorKind::Unavailable, "{failure}");
    assert_eq!(failure.error().status(), landfall::error::Status::Exhausted, "{failure}");
    let took = env.monotonic().saturating_sub(before);
    // One that has never answered may not be there at all.
    let seconds = took.as_secs();
    assert!((10..=15).contains(&seconds), "{took:?}");
}
