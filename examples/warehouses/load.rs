//! A whole pipeline from the demo API, to be killed at any time.

use crate::target::Target;
use landfall::Result;
use landfall::checkpoint::{CheckpointStore, StoreCheckpoints};
use landfall::columnar::{Batch, Columns, Decode, Dedup, Validate};
use landfall::connectors::http::{Cursor, Rest, Since};
use landfall::connectors::postgres::PostgresCheckpoints;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{ExactlyOnce, Quarantine, Sink};
use landfall::store::Store;
use std::time::Duration;

/// Epochs are small, so that a kill meets all steps of one.
const EPOCH_RECORDS: u64 = 400;

pub(crate) async fn load(target: Target, appends: bool, api: &str, state: &str) -> Result<()> {
    let state = Store::from_uri(state)?;
    let beside = || StoreCheckpoints::new(&state, "checkpoints");
    let pipeline = match target {
        Target::Delta(table) => pipeline(api, &state, appends, table, beside()?)?,
        Target::Parquet(dataset) => pipeline(api, &state, appends, dataset, beside()?)?,
        Target::Adbc(table) => pipeline(api, &state, appends, table, beside()?)?,
        Target::Postgres(table, database) => {
            let chains = PostgresCheckpoints::in_schema(&database, "etl")?.with_objects(&state, "stages")?;
            pipeline(api, &state, appends, table, chains)?
        }
    };
    let report = pipeline.run().await?;
    println!("{report}");
    Ok(())
}

/// Where the sink appends, the stage before it knows every key: a record that is loaded twice is in the table twice.
fn pipeline<S>(api: &str, state: &Store, appends: bool, sink: S, checkpoints: impl CheckpointStore) -> Result<Pipeline>
where
    S: Sink<Item = Batch, Promise: ExactlyOnce>,
{
    let columns = Columns::new()
        .utf8("id")
        .int64("number")
        .utf8("status")
        .int64("quantity")
        .decimal("amount", 12, 2)
        .typed("customer", "struct<id: utf8, country: utf8>".parse()?)
        .utf8("note")
        .timestamp("updated_at");
    let mut builder = Pipeline::named("orders")
        .source(
            Rest::get(format!("{api}/orders"))
                .query("limit", "40")
                .paginate(Cursor::at("$.next_cursor").query("cursor"))
                .records("$.data[*]")
                .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(10))),
        )
        .land(Landing::in_store(state, "raw")?)
        .stage(Decode::pages().schema(columns))
        .stage(
            Validate::new()
                .required("id")
                .required("quantity")
                .required("amount")
                .required("updated_at")
                .range("quantity", 1..)
                .one_of("status", ["placed", "paid", "shipped", "returned"]),
        );
    if appends {
        builder = builder.stage(Dedup::by(["id"]));
    }
    builder
        .sink(sink)
        .quarantine(Quarantine::in_store(state, "quarantine")?)
        .checkpoints(checkpoints)
        .settings(Settings::default().epoch_records(EPOCH_RECORDS))
        .build()
}
