//! Loads a flaky API into a table of Delta Lake, exactly once, and shows what a fresh reader finds in it:
//!
//! `cargo run --release --features delta --example api_to_delta`, with a folder to keep the table, or with a bucket (and the feature
//! `s3`): `… --features delta,s3 --example api_to_delta -- s3://bucket/folder`. Credentials come from the usual environment, see
//! `docs/stores.md`. It makes a folder of its own there, with everything in it: table, landing, checkpoints, quarantine.
//!
//! The API runs in this process. It pages, limits its rate, fails, cuts bodies, repeats records and serves bad ones; and it
//! knows what is right, so that the table can be compared.

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

#[allow(dead_code, reason = "the kill loop uses the rest of it")]
mod demo_api;
mod progress;

use demo_api::{DemoApi, Faults};
use landfall::Result;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Decimal128Type;
use landfall::columnar::{Columns, Decode, Validate};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::sink::{Quarantine, Upsert};
use landfall::store::Store;
use std::time::Duration;

fn pipeline(api: &str, store: &Store, folder: &str) -> Result<Pipeline> {
    let columns = Columns::new()
        .utf8("id")
        .int64("number")
        .utf8("status")
        .int64("quantity")
        .decimal("amount", 12, 2)
        .typed("customer", "struct<id: utf8, country: utf8>".parse()?)
        .utf8("note")
        .timestamp("updated_at");
    Pipeline::named("orders")
        .source(
            Rest::get(format!("{api}/orders"))
                .paginate(Cursor::at("$.next_cursor").query("cursor"))
                .records("$.data[*]")
                .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(60))),
        )
        .land(Landing::in_store(store, &format!("{folder}/raw"))?)
        .stage(Decode::pages().schema(columns))
        .stage(
            Validate::new()
                .required("id")
                .required("updated_at")
                .range("quantity", 1..)
                .one_of("status", ["placed", "paid", "shipped", "returned"]),
        )
        // The table keeps the newest version of each order: a repeat changes nothing.
        .sink(
            DeltaTable::in_store(store, &format!("{folder}/orders"))?
                .disposition(Upsert::by(["id"]).newest("updated_at")),
        )
        .quarantine(Quarantine::in_store(store, &format!("{folder}/quarantine"))?)
        .checkpoints(StoreCheckpoints::new(store, &format!("{folder}/checkpoints"))?)
        .build()
}

/// The rows that a fresh reader finds, and the sum of their amounts.
async fn read(store: &Store, table: &str) -> Result<(u64, i128)> {
    let (mut rows, mut cents) = (0, 0);
    for batch in DeltaTable::in_store(store, table)?.read_batches().await? {
        rows += batch.num_rows() as u64;
        let amounts = batch.column_by_name("amount").map(|amounts| amounts.as_primitive::<Decimal128Type>());
        cents += amounts.into_iter().flatten().flatten().sum::<i128>();
    }
    Ok((rows, cents))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let place = std::env::args().nth(1).unwrap_or_else(|| temporary.path().display().to_string());
    let store = Store::from_uri(&place)?;
    // Rows of an earlier start belong to an API that is gone.
    let folder = format!("landfall-example-{}", Env::system().nonce());
    let faults = Faults { throttle_every: 15, retry_after: 1, unavailable: 60, cut: 60, ..Faults::default() };
    let api = DemoApi::start(demo_api::Settings { faults, ..demo_api::Settings::default() }).await?;

    let orders = pipeline(api.base_url(), &store, &folder)?;
    println!("First load: everything that the API holds.\n");
    println!("{}", progress::watch(orders.start()).await?);
    api.grow(500);
    println!("The API has 500 more records. Second load: what changed, and a minute of overlap.\n");
    println!("{}", progress::watch(orders.start()).await?);

    let (rows, cents) = read(&store, &format!("{folder}/orders")).await?;
    println!("The table is {}/{folder}/orders: any reader of Delta Lake can open it.", place.trim_end_matches('/'));
    let truth = api.truth();
    println!(
        "The API holds {} good orders worth {} cents; the table holds {rows} worth {cents}.",
        truth.orders, truth.cents
    );
    if rows != truth.orders || cents != i128::from(truth.cents) {
        return Err("the table is not what the API served".into());
    }
    Ok(())
}
