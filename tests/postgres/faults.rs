//! The connection is cut at every message in turn, before it arrives or after it was answered: however often, each row is
//! there once.

use crate::cuts::{Cut, Proxy};
use crate::pipeline::{Pages, pages};
use crate::support::World;
use landfall::checkpoint::CheckpointStore;
use landfall::checkpoint::MemoryCheckpoints;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, RunReport, Settings};
use landfall::sink::{Disposition, Quarantine, Replace, Upsert};
use landfall::store::Store;
use std::sync::Arc;

/// One process: what it holds in memory is gone when it ends.
struct Process<'a> {
    world: &'a World,
    store: &'a Store,
    database: Postgres,
    checkpoints: Arc<dyn CheckpointStore>,
    disposition: Disposition,
}

impl Process<'_> {
    async fn run(self, source: Pages) -> Result<RunReport, landfall::Error> {
        let table = PostgresTable::at(&self.database, &format!("{}.orders", self.world.schema))?;
        let built = Pipeline::named("orders")
            .source(source)
            .land(Landing::in_store(self.store, "raw")?.segment_bytes(64))
            .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
            .sink(table.disposition(self.disposition))
            .quarantine(Quarantine::in_store(self.store, "quarantine")?)
            .checkpoints(self.checkpoints)
            .accept_quarantined()
            .settings(Settings::default().epoch_records(6))
            .env(landfall::testkit::test_env(7))
            .build()?;
        Ok(built.run().await?)
    }
}

/// Cuts at each message, until a run needs fewer; at some of them if there is no `LANDFALL_EVERY_CUT`, because all of them take minutes.
async fn at_every_message(name: &str, disposition: impl Into<Disposition>, in_postgres: bool, expected: &str) {
    let disposition = disposition.into();
    let mut cuts = 0;
    for cut in [Cut::Before, Cut::After] {
        let step = if std::env::var_os("LANDFALL_EVERY_CUT").is_some() { 1 } else { 7 };
        for at in (if cut == Cut::Before { 0 } else { 3 }..).step_by(step) {
            let Some(world) = World::new().await else { return };
            let (proxy, url) = Proxy::start(&world.url, "", at, cut).await;
            let store = Store::memory();
            let memory = MemoryCheckpoints::default();
            let mut complete = false;
            for _ in 0..4 {
                let database = Postgres::connect(&url).expect("a URL").pool_size(4).expect("a size");
                let checkpoints: Arc<dyn CheckpointStore> = match in_postgres {
                    true => Arc::new(PostgresCheckpoints::in_schema(&database, &world.schema).expect("a name")),
                    false => Arc::new(memory.clone()),
                };
                let process =
                    Process { world: &world, store: &store, database, checkpoints, disposition: disposition.clone() };
                match process.run(pages(0..6, "a")).await {
                    Ok(report) => {
                        assert!(report.is_complete(), "{name}, {cut:?} at {at}: {report}");
                        complete = true;
                        break;
                    }
                    Err(error) => assert!(
                        matches!(error.kind(), landfall::ErrorKind::Unavailable | landfall::ErrorKind::Ambiguous),
                        "{name}, {cut:?} at {at}: {error}"
                    ),
                }
            }
            assert!(complete, "{name}, {cut:?} at {at}: it does not recover");
            let rows = world.ask("SELECT count(*), count(DISTINCT id), sum(id) FROM {orders}").await;
            assert_eq!(rows, [expected], "{name}, {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
            cuts += 1;
        }
    }
    eprintln!("{name}: cuts={cuts} lost=0 doubled=0");
}

#[tokio::test]
async fn appended_rows_are_there_once() {
    at_every_message("append", Disposition::Append, false, "6|6|15").await;
}

#[tokio::test]
async fn upserted_rows_are_there_once_with_checkpoints_in_the_same_database() {
    at_every_message("upsert", Upsert::by(["id"]), true, "6|6|15").await;
}

#[tokio::test]
async fn replaced_rows_are_there_once() {
    at_every_message("replace", Replace::table(), false, "6|6|15").await;
}
