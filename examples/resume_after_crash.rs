//! A load that is torn off in the middle, and started again: it goes on where it was, and the result is the same as if
//! nothing had happened. What was landed is not asked for again.
//!
//! `cargo run --example resume_after_crash`
//!
//! `abort` ends a run as a crash does: nothing is finished, nothing is cleaned up. (`scripts/kill-loop` does the same to a real
//! process, with SIGKILL.)

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]

#[allow(dead_code, reason = "the quickstart uses the rest of it")]
mod demo_api;

use demo_api::DemoApi;
use landfall::Result;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{Columns, Decode, Dedup, Validate};
use landfall::connectors::http::{Cursor, Rest};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::landing::Landing;
use landfall::pipeline::{Event, Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;

fn pipeline(api: &str, store: &Store) -> Result<Pipeline> {
    Pipeline::named("orders")
        .source(
            Rest::get(format!("{api}/orders"))
                .paginate(Cursor::at("$.next_cursor").query("cursor"))
                .records("$.data[*]"),
        )
        .land(Landing::in_store(store, "raw")?.segment_bytes(64 << 10))
        .stage(
            Decode::pages()
                .schema(Columns::new().utf8("id").int64("quantity").decimal("amount", 12, 2).timestamp("updated_at")),
        )
        .stage(Validate::new().required("id").range("quantity", 1..))
        .stage(Dedup::by(["id"]))
        .sink(ParquetDataset::in_store(store, "orders")?)
        .quarantine(Quarantine::in_store(store, "quarantine")?)
        .checkpoints(StoreCheckpoints::new(store, "checkpoints")?)
        .settings(Settings::default().epoch_records(1_000)) // small epochs, so that there is something to tear apart
        .build()
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::local(folder.path())?;
    let api = DemoApi::start(demo_api::Settings { records: 30_000, ..demo_api::Settings::default() }).await?;

    let mut crashes = 0;
    let report = loop {
        // A new pipeline each time, as in a new process: it knows only what is on disk.
        let run = pipeline(api.base_url(), &store)?.start();
        let mut events = run.events();
        let mut committed = 0;
        let torn_off = loop {
            match events.recv().await {
                Ok(Event::EpochCommitted { epoch, ledger, .. }) => {
                    committed += 1;
                    println!("epoch {epoch}: {} rows committed", ledger.staged);
                    if crashes < 3 && committed == 2 {
                        break true;
                    }
                }
                Ok(Event::PartitionEnded { .. }) if crashes >= 3 => break false,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        if torn_off {
            crashes += 1;
            let (requests, _) = api.stats();
            println!("-- crash {crashes}, after {requests} requests --");
            drop(run);
        } else {
            break run.wait().await?;
        }
    };
    println!("\n{report}");

    let (requests, _) = api.stats();
    let rows = DatasetReader::new(&store, "orders")?.snapshot().await?.rows();
    println!("{rows} rows in the dataset, {} good orders in the API.", api.truth().orders);
    println!("{requests} requests for a listing of 300 pages, in spite of {crashes} crashes.");
    if rows != api.truth().orders {
        return Err("the dataset is not what the API served".into());
    }
    Ok(())
}
