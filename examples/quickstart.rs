//! Loads a flaky API into Parquet, exactly once, and shows the accounts. Needs no service and no flag:
//!
//! `cargo run --release --example quickstart`
//!
//! The API runs in this process. It pages, limits its rate, fails, cuts bodies, repeats records and serves bad ones; and it
//! knows what is right, so that the result can be compared.

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

#[allow(dead_code, reason = "the kill loop uses the rest of it")]
mod demo_api;
mod progress;

use demo_api::{Content, DemoApi, Faults};
use landfall::Result;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::{ArrayRef, AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::Decimal128Type;
use landfall::columnar::arrow::util::display::{ArrayFormatter, FormatOptions};
use landfall::columnar::{Columns, Decode, Dedup, Validate};
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::sink::Quarantine;
use landfall::store::Store;
use std::time::Duration;

type AnyError = Box<dyn std::error::Error>;

fn pipeline(api: &str, store: &Store) -> Result<Pipeline> {
    Pipeline::named("orders")
        .source(
            Rest::get(format!("{api}/orders"))
                .paginate(Cursor::at("$.next_cursor").query("cursor"))
                .records("$.data[*]")
                .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(60))),
        )
        .land(Landing::in_store(store, "raw")?)
        .stage(
            Decode::pages().schema(
                Columns::new()
                    .utf8("id")
                    .int64("number")
                    .utf8("status")
                    .int64("quantity")
                    .decimal("amount", 12, 2)
                    .typed("customer", "struct<id: utf8, country: utf8>".parse()?)
                    .utf8("note")
                    .timestamp("updated_at"),
            ),
        )
        .stage(
            Validate::new()
                .required("id")
                .required("updated_at")
                .range("quantity", 1..)
                .one_of("status", ["placed", "paid", "shipped", "returned"]),
        )
        .stage(Dedup::by(["id"]))
        .sink(ParquetDataset::in_store(store, "orders")?)
        .quarantine(Quarantine::in_store(store, "quarantine")?)
        .checkpoints(StoreCheckpoints::new(store, "checkpoints")?)
        .build()
}

#[tokio::main]
async fn main() -> std::result::Result<(), AnyError> {
    // A folder of its own, which stays: so that the files can be looked at.
    let folder = tempfile::Builder::new().prefix("landfall-quickstart-").tempdir()?.keep();
    println!("Everything is kept in {}\n", folder.display());
    let store = Store::local(&folder)?;
    let api = DemoApi::start(demo_api::Settings {
        faults: Faults { throttle_every: 15, retry_after: 1, unavailable: 60, cut: 60, ..Faults::default() },
        content: Content::default(),
        ..demo_api::Settings::default()
    })
    .await?;
    let orders = pipeline(api.base_url(), &store)?;

    println!("First load: everything that the API holds.\n");
    println!("{}", progress::watch(orders.start()).await?);

    api.grow(500);
    println!("The API has 500 more records. Second load: what changed, and a minute of overlap.\n");
    println!("{}", progress::watch(orders.start()).await?);

    println!("Quarantine: each refused record, with its bytes and the reason.\n");
    let refused = Quarantine::in_store(&store, "quarantine")?.read_all().await?;
    for record in refused.iter().take(5) {
        println!("  {} · {} · {}", record.code, record.reason, String::from_utf8_lossy(&record.raw));
    }
    println!("  … {} in all\n", refused.len());

    println!("The first rows of the dataset, read back from Parquet:\n");
    let batches = DatasetReader::new(&store, "orders")?.snapshot().await?.read_batches().await?;
    if let Some(first) = batches.first() {
        print_rows(&first.slice(0, first.num_rows().min(5)))?;
    }

    let (requests, faults) = api.stats();
    let truth = api.truth();
    let rows: u64 = batches.iter().map(|b| b.num_rows() as u64).sum();
    let cents: i128 = batches.iter().filter_map(|b| b.column_by_name("amount")).flat_map(cents_of).sum();
    println!("\nThe API answered {requests} requests, {faults} of them badly.");
    println!(
        "It holds {} good orders worth {} cents; the dataset holds {rows} worth {cents}.",
        truth.orders, truth.cents
    );
    println!("Look at it in {}, and delete it when you like.", folder.display());
    if rows != truth.orders || cents != i128::from(truth.cents) {
        return Err("the dataset is not what the API served".into());
    }
    Ok(())
}

fn cents_of(amounts: &ArrayRef) -> Vec<i128> {
    amounts.as_primitive::<Decimal128Type>().iter().flatten().collect()
}

fn print_rows(batch: &RecordBatch) -> std::result::Result<(), AnyError> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<std::result::Result<_, _>>()?;
    let schema = batch.schema();
    println!("  {}", schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(" | "));
    for row in 0..batch.num_rows() {
        let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string().replace('\n', "⏎")).collect();
        println!("  {}", values.join(" | "));
    }
    Ok(())
}
