//! The yardstick's whole job with every guarantee on: `bench_row <api-base-url> <cursor|windows|ndjson> <out-dir>`.
//!
//! Raw landing with syncs, validation with quarantine, exact dedup, checkpoints, atomic commit. The dataset is `<out-dir>/orders`;
//! everything else goes below `<out-dir>/_state`.

#![allow(clippy::print_stderr, clippy::disallowed_macros, reason = "it is a program")]

use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{Columns, Decode, Dedup, Validate};
use landfall::connectors::http::{Cursor, Rest, RestBuilder};
use landfall::connectors::parquet::ParquetDataset;
use landfall::landing::Landing;
use landfall::model::Timestamp;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::store::Store;
use landfall::{Error, Result};

const WINDOWS: i64 = 64;

fn columns() -> Result<Columns> {
    Ok(Columns::new()
        .utf8("id")
        .int64("number")
        .utf8("status")
        .utf8("currency")
        .decimal("total", 18, 2)
        .decimal("tax", 18, 2)
        .typed("customer", "struct<id: utf8, name: utf8, email: utf8, country: utf8>".parse()?)
        .list("items", "struct<sku: utf8, qty: int64, price: decimal(18,2)>".parse()?)
        .utf8("note")
        .utf8("coupon")
        .timestamp("created_at")
        .timestamp("updated_at"))
}

/// The time range of all records, as `/truth` tells it.
async fn time_range(api: &str) -> Result<(Timestamp, Timestamp)> {
    let failed = || Error::unavailable("ask for the time range", "the API does not tell it");
    let truth: serde_json::Value =
        async { reqwest::get(format!("{api}/truth")).await?.error_for_status()?.bytes().await }
            .await
            .map_err(|e| failed().with_source(e.without_url()))
            .and_then(|body| serde_json::from_slice(&body).map_err(|e| failed().with_source(e)))?;
    let bound = |name: &str| truth.get(name).and_then(|v| v.as_str()).ok_or_else(failed).and_then(Timestamp::parse);
    Ok((bound("updated_from")?, bound("updated_to")?))
}

/// Windows that touch each other, in milliseconds since 1970: each is a partition.
fn windows(mut source: RestBuilder, (from, to): (Timestamp, Timestamp)) -> RestBuilder {
    let (from, to) = (from.as_micros() / 1000, to.as_micros() / 1000 + 1);
    let edge = |n: i64| from + (to - from) * n / WINDOWS;
    for n in 0..WINDOWS {
        let bounds = [("from", edge(n).to_string()), ("to", edge(n + 1).to_string())];
        source = source.partition(format!("w{n:02}"), bounds);
    }
    source.query("from", "{from}").query("to", "{to}")
}

async fn run(api: &str, endpoint: &str, out: &str) -> Result<()> {
    let store = Store::local(out)?;
    let records = if endpoint == "ndjson" { "ndjson" } else { "$.data[*]" };
    let mut source = Rest::get(format!("{api}/{endpoint}")).records(records);
    if endpoint != "ndjson" {
        source = source.paginate(Cursor::at("$.next_cursor").query("cursor"));
    }
    if endpoint == "windows" {
        source = windows(source, time_range(api).await?);
    }
    let mut settings = Settings::default();
    settings.parallel_partitions = 16;
    let report = Pipeline::named("orders")
        .source(source.build()?)
        .land(Landing::in_store(&store, "_state/raw")?)
        .stage(Decode::pages().schema(columns()?))
        .stage(
            Validate::new()
                .required("id")
                .required("number")
                .required("total")
                .required("customer")
                .required("items")
                .required("created_at")
                .required("updated_at"),
        )
        .stage(Dedup::by(["id"]))
        .sink(
            ParquetDataset::in_store(&store, "orders")?
                .column_without_dictionary("id")
                .column_without_dictionary("number"),
        )
        .quarantine(Quarantine::in_store(&store, "_state/quarantine")?)
        .checkpoints(StoreCheckpoints::new(&store, "_state/checkpoints")?)
        .settings(settings)
        .build()?
        .run()
        .await?;
    eprintln!("{report}");
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [api, endpoint, out] = arguments.as_slice() else {
        eprintln!("usage: bench_row <api-base-url> <cursor|windows|ndjson> <out-dir>");
        return 2.into();
    };
    // The allocator keeps memory for each thread: few threads, little memory. CPU work takes half of these, files the rest.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(threads).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    match runtime.block_on(run(api, endpoint, out)) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("error: {error}");
            1.into()
        }
    }
}
