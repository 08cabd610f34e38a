//! Loads a flaky API into a file of DuckDB, exactly once, and asks the file about it:
//!
//! `scripts/with-adbc cargo run --release --features adbc --example api_to_duckdb`, or with a library of your own:
//! `DUCKDB_LIBRARY=/usr/lib/libduckdb.so cargo run … -- warehouse.duckdb`.
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
use landfall::columnar::arrow::util::display::array_value_to_string;
use landfall::columnar::{Columns, Decode, Validate};
use landfall::connectors::adbc::{Adbc, AdbcTable};
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::sink::{Quarantine, Upsert};
use landfall::store::Store;
use std::time::Duration;

fn pipeline(api: &str, store: &Store, warehouse: &Adbc) -> Result<Pipeline> {
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
        .land(Landing::in_store(store, "raw")?)
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
            AdbcTable::at(warehouse, "sales.orders")?
                .disposition(Upsert::by(["id"]).newest("updated_at"))
                .record_provenance(),
        )
        .quarantine(Quarantine::in_store(store, "quarantine")?)
        .checkpoints(StoreCheckpoints::new(store, "checkpoints")?)
        .build()
}

/// The rows that a query gives, as text.
async fn ask(warehouse: &Adbc, query: &str) -> std::result::Result<Vec<Vec<String>>, Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    for batch in warehouse.query(query).await? {
        for row in 0..batch.num_rows() {
            let texts = batch.columns().iter().map(|column| array_value_to_string(column, row));
            rows.push(texts.collect::<std::result::Result<Vec<_>, _>>()?);
        }
    }
    Ok(rows)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let library = std::env::var("DUCKDB_LIBRARY").or_else(|_| std::env::var("LANDFALL_TEST_ADBC_DUCKDB"));
    let library = library.map_err(|_| "set DUCKDB_LIBRARY, or run it with scripts/with-adbc")?;
    let folder = tempfile::tempdir()?;
    let file = std::env::args().nth(1).unwrap_or_else(|| folder.path().join("warehouse.duckdb").display().to_string());
    let warehouse = Adbc::driver(library).entrypoint("duckdb_adbc_init").option("path", &file);
    let store = Store::local(folder.path().join("landfall"))?;
    let faults = Faults { throttle_every: 15, retry_after: 1, unavailable: 60, cut: 60, ..Faults::default() };
    let api = DemoApi::start(demo_api::Settings { faults, ..demo_api::Settings::default() }).await?;

    let orders = pipeline(api.base_url(), &store, &warehouse)?;
    println!("First load: everything that the API holds.\n");
    println!("{}", progress::watch(orders.start()).await?);
    api.grow(500);
    println!("The API has 500 more records. Second load: what changed, and a minute of overlap.\n");
    println!("{}", progress::watch(orders.start()).await?);

    println!("The ledger of loads in {file}:\n");
    let loads = "SELECT load_id, rows_staged, rows_inserted, rows_updated FROM sales.landfall_loads ORDER BY epoch";
    for row in ask(&warehouse, loads).await? {
        let [id, staged, inserted, updated] = &row[..] else { return Err("four columns".into()) };
        println!("  {id}: {staged} staged, {inserted} inserted, {updated} updated");
    }
    let sums = "SELECT count(*), CAST(sum(amount) * 100 AS BIGINT) FROM sales.orders";
    let sums = ask(&warehouse, sums).await?.concat();
    let truth = api.truth();
    println!(
        "\nThe API holds {} good orders worth {} cents; the table holds {}.",
        truth.orders,
        truth.cents,
        sums.join(" worth ")
    );
    if sums != [truth.orders.to_string(), truth.cents.to_string()] {
        return Err("the table is not what the API served".into());
    }
    Ok(())
}
