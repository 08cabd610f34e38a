//! Small files, and what to do about them: a pipeline with tiny epochs fills a dataset, `compact` puts its files together, and
//! `vacuum` deletes what was replaced, first as a dry run. A reader sees the same rows all the time.
//!
//! `cargo run --features parquet --example compact` keeps everything in a folder that is gone afterwards.

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

use futures::future::BoxFuture;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Columns, Decode, Transform};
use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
use landfall::env::{Clock, Entropy, Env};
use landfall::landing::Landing;
use landfall::model::{Page, Partition, PipelineName, Position, Proof, ShardKey, StopReason, Timestamp, Validity};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::store::Store;
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

const ORDERS: u64 = 2_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Orders of ten days, a page for every fifty of them.
#[derive(Debug)]
struct Orders;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OrdersRead(u64);

impl Position for OrdersRead {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

#[async_trait]
impl Source for Orders {
    type Item = Page;
    type Position = OrdersRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<OrdersRead>) -> Result<()> {
        out.add_all(vec![Partition::new("all")]).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<OrdersRead>,
        out: &mut Emitter<Page, OrdersRead>,
    ) -> Result<StopReason> {
        for first in (from.map_or(0, |p| p.0)..ORDERS).step_by(50) {
            let line = |n: u64| {
                let (day, customer) = (n % 10 + 1, n * 7919 % 97);
                format!(r#"{{"id":{n},"customer":{customer},"created_at":"2026-01-{day:02}T08:00:00Z"}}"#)
            };
            let body: Vec<_> = (first..first + 50).map(line).collect();
            out.emit(Page::new(partition.id.clone(), body.join("\n"), 50, env.now()), &OrdersRead(first + 50)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

fn dataset(store: &Store, folder: &str) -> Result<ParquetDataset> {
    Ok(ParquetDataset::in_store(store, folder)?
        .lanes(1)
        .partition_by([Transform::day("created_at")])?
        .sort_by(["customer", "id"]))
}

fn pipeline(store: &Store, name: &str, dataset: ParquetDataset) -> Result<Pipeline> {
    Pipeline::named(name)
        .source(Orders)
        .land(Landing::in_store(store, "raw")?.segment_bytes(4_000))
        .stage(Decode::pages().ndjson().schema(Columns::new().int64("id").int64("customer").timestamp("created_at")))
        .sink(dataset)
        .quarantine(Quarantine::in_store(store, &format!("quarantine/{name}"))?)
        .checkpoints(StoreCheckpoints::new(store, "state")?)
        // Far too small, so that there is something to put together.
        .settings(Settings::default().epoch_records(100))
        .build()
}

/// What a reader sees: how many files there are, and the ids in them.
async fn read(store: &Store, folder: &str) -> Result<(usize, Vec<i64>)> {
    let snapshot = DatasetReader::new(store, folder)?.snapshot().await?;
    let mut ids = Vec::new();
    for batch in snapshot.read_batches().await? {
        if let Some(column) = batch.column_by_name("id") {
            ids.extend(column.as_primitive::<Int64Type>().values());
        }
    }
    ids.sort_unstable();
    Ok((snapshot.files().count(), ids))
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|e| Error::unavailable("run example", "no folder").with_source(e))?;
    let store = Store::local(folder.path())?;
    let expected: Vec<i64> = (0..ORDERS).filter_map(|n| i64::try_from(n).ok()).collect();

    pipeline(&store, "orders", dataset(&store, "orders")?)?.run().await?;
    let (files, rows) = read(&store, "orders").await?;
    println!("loaded:     {} rows in {files} files", rows.len());
    assert_eq!(rows, expected);

    // A job of your own, as often as you like, beside the pipeline or without it.
    let (orders, now) = (dataset(&store, "orders")?, Env::system());
    println!("compact:    {}", orders.compact(&now).await?);
    let (files, rows) = read(&store, "orders").await?;
    println!("afterwards: {} rows in {files} files", rows.len());
    assert_eq!(rows, expected);
    println!("vacuum:     {}", orders.vacuum(&now, 24 * HOUR, false).await?);

    // Two days later nobody reads any more what was replaced.
    let later = in_two_days();
    println!("dry run:    {}", orders.vacuum(&later, 24 * HOUR, true).await?);
    println!("vacuum:     {}", orders.vacuum(&later, 24 * HOUR, false).await?);
    assert_eq!(read(&store, "orders").await?.1, expected);

    // Or the dataset does it by itself, between epochs.
    pipeline(&store, "tidy", dataset(&store, "tidy")?.compact_every(5))?.run().await?;
    let (files, rows) = read(&store, "tidy").await?;
    println!("tidy:       {} rows in {files} files", rows.len());
    assert_eq!(rows, expected);

    // What every load has committed may go from the landing too, if nobody wants to load it again.
    let (landing, shard) =
        (Landing::in_store(&store, "raw")?, ShardKey { pipeline: PipelineName::new("orders")?, shard: 0 });
    println!("landing:    {}", landing.vacuum(&shard, &now, true).await?);
    Ok(())
}

/// The same machine in two days.
fn in_two_days() -> Env {
    #[derive(Debug)]
    struct Later;

    impl Clock for Later {
        fn now(&self) -> Timestamp {
            Env::system().now().saturating_add(48 * HOUR)
        }
        fn monotonic(&self) -> Duration {
            Env::system().monotonic()
        }
        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(duration))
        }
    }

    impl Entropy for Later {
        fn next_u64(&self) -> u64 {
            Env::system().random()
        }
    }

    Env::deterministic(Arc::new(Later), Arc::new(Later))
}
