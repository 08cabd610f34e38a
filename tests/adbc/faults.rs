//! The connection to a server is cut at every message in turn, before it arrives or after it was answered: however often, each row is
//! there once.

use crate::cuts::{Cut, Proxy};
use crate::pipeline::pages;
use crate::support::{Kind, World, every};
use landfall::ErrorKind;
use landfall::checkpoint::MemoryCheckpoints;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::adbc::Adbc;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{Disposition, Quarantine, Replace};
use landfall::store::Store;

/// Cuts at each message, until a run needs fewer: at some of them, because all of them take minutes (see [`every`]).
async fn at_every_message(name: &str, disposition: impl Into<Disposition>) {
    let disposition = disposition.into();
    let (mut cuts, step) = (0, every(17));
    for cut in [Cut::Before, Cut::After] {
        for at in (if cut == Cut::Before { 5 } else { 11 }..).step_by(step) {
            let Some(world) = World::new(Kind::Postgres) else { return };
            let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
            let (proxy, url) = Proxy::start(&url, "", at, cut).await;
            let driver = std::env::var("LANDFALL_TEST_ADBC_POSTGRES").expect("is there");
            let (store, checkpoints) = (Store::memory(), MemoryCheckpoints::default());
            let mut complete = false;
            for _ in 0..4 {
                let database = Adbc::driver(&driver).option("uri", &url);
                let built = Pipeline::named("orders")
                    .source(pages(0..6, "a"))
                    .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(64))
                    .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
                    .sink(world.table_in(&database, disposition.clone()))
                    .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
                    .checkpoints(checkpoints.clone())
                    .settings(Settings::default().epoch_records(3))
                    .build()
                    .expect("complete");
                match built.run().await {
                    Ok(report) => {
                        assert!(report.is_complete(), "{name}, {cut:?} at {at}: {report}");
                        complete = true;
                        break;
                    }
                    Err(failure) => assert!(
                        matches!(failure.error().kind(), ErrorKind::Unavailable | ErrorKind::Ambiguous),
                        "{name}, {cut:?} at {at}: {failure}"
                    ),
                }
            }
            assert!(complete, "{name}, {cut:?} at {at}: it does not recover");
            let rows = world.ask("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {orders}").await;
            assert_eq!(rows, ["6|6|0|5"], "{name}, {cut:?} at {at}");
            if !proxy.has_cut() {
                break;
            }
            cuts += 1;
        }
    }
    println!("proof suite=single of=\"adbc postgres {name}, messages\" every={step} schedules={cuts} lost=0 doubled=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_rows_are_there_once_however_the_connection_is_cut() {
    at_every_message("append", Disposition::Append).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_rows_are_there_once_however_the_connection_is_cut() {
    at_every_message("replace", Replace::table()).await;
}
