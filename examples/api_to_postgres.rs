//! Loads a flaky API into a table of PostgreSQL, exactly once, and shows what the database says of it:
//!
//! `scripts/with-postgres cargo run --release --features postgres --example api_to_postgres` (a private server, gone afterwards), or
//! `WAREHOUSE_URL=postgresql://… cargo run …` for a database of your own: it gets a schema `landfall_example`.
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
use landfall::columnar::{Columns, Decode, Validate};
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::sink::{Quarantine, Upsert};
use landfall::store::Store;
use std::time::Duration;

fn pipeline(api: &str, store: &Store, warehouse: &Postgres) -> Result<Pipeline> {
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
            PostgresTable::at(warehouse, "landfall_example.orders")?
                .disposition(Upsert::by(["id"]).newest("updated_at"))
                .record_provenance(),
        )
        .quarantine(Quarantine::in_store(store, "quarantine")?)
        .checkpoints(PostgresCheckpoints::in_schema(warehouse, "landfall_example")?.with_objects(store, "state")?)
        .build()
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("WAREHOUSE_URL").or_else(|_| std::env::var("LANDFALL_TEST_POSTGRES"));
    let url = url.map_err(|_| "set WAREHOUSE_URL, or run it with scripts/with-postgres")?;
    let warehouse = Postgres::connect(&url)?;
    let folder = tempfile::tempdir()?;
    let store = Store::local(folder.path())?;
    let faults = Faults { throttle_every: 15, retry_after: 1, unavailable: 60, cut: 60, ..Faults::default() };
    let api = DemoApi::start(demo_api::Settings { faults, ..demo_api::Settings::default() }).await?;

    // A database that an earlier start has filled belongs to an API that is gone.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute("DROP SCHEMA IF EXISTS landfall_example CASCADE").await?;

    let orders = pipeline(api.base_url(), &store, &warehouse)?;
    println!("First load: everything that the API holds.\n");
    println!("{}", progress::watch(orders.start()).await?);
    api.grow(500);
    println!("The API has 500 more records. Second load: what changed, and a minute of overlap.\n");
    println!("{}", progress::watch(orders.start()).await?);

    println!("The ledger of loads in the database:\n");
    let loads =
        "SELECT load_id, rows_staged, rows_inserted, rows_updated FROM landfall_example.landfall_loads ORDER BY epoch";
    for row in client.query(loads, &[]).await? {
        let (id, staged, inserted, updated): (String, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        println!("  {id}: {staged} staged, {inserted} inserted, {updated} updated");
    }
    let sums = "SELECT count(*), (sum(amount) * 100)::bigint FROM landfall_example.orders";
    let row = client.query_one(sums, &[]).await?;
    let (rows, cents): (i64, i64) = (row.get(0), row.get(1));
    let truth = api.truth();
    println!(
        "\nThe API holds {} good orders worth {} cents; the table holds {rows} worth {cents}.",
        truth.orders, truth.cents
    );
    drop(client);
    connection.await??;
    if u64::try_from(rows)? != truth.orders || i128::from(cents) != i128::from(truth.cents) {
        return Err("the table is not what the API served".into());
    }
    Ok(())
}
