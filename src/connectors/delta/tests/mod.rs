mod append;
mod children;
mod conformance;
mod crashes;
mod expiry;
mod foreign;
mod formats;
mod history;
mod layout;
mod ledger;
mod maintain;
mod merge;
mod prepared;
mod replace;
mod sweep;
mod torture;
mod vacuum;

use super::*;
use crate::columnar::Batch;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::model::{Incarnation, PipelineName, Reject, ShardKey, Timestamp};
use crate::sink::{CommitOutcome, CommitRequest, EpochContext, Mark, Sink, Writer};
use crate::sink::{Disposition, InsertOnly, Upsert};
use crate::store::{ObjectPath, Store};
use crate::testkit::{Faults, ManualClock, Mode, Plan, SeededEntropy, test_env};
use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

const PREFIX: &str = "lake/orders";

fn env() -> Env {
    test_env(1)
}

/// Another time of day.
fn env_at(time: Timestamp) -> Env {
    let clock = ManualClock::auto();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(2)));
    clock.advance(time.saturating_since(env.now()));
    env
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 0 }
}

fn context(generation: u64, epoch: u64) -> EpochContext {
    EpochContext::new(shard(), generation, epoch, env())
}

fn table(store: &Store) -> DeltaTable {
    DeltaTable::in_store(store, PREFIX).expect("valid").lanes(1)
}

/// Rows with the given ids, and `country` = their last digit.
fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<_> = ids.into_iter().collect();
    let countries = StringArray::from_iter_values(ids.iter().map(|id| format!("c{}", id % 10)));
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as _), ("country", Arc::new(countries) as _)])
        .expect("fits")
}

async fn try_stage(
    table: &DeltaTable,
    context: EpochContext,
    batches: Vec<RecordBatch>,
) -> Result<(DeltaStaged, Vec<Reject>)> {
    let mut writer = table.open(context).await?;
    let mut rejects = Vec::new();
    for batch in batches {
        rejects.extend(writer.write(Batch::new(batch)).await?);
    }
    Ok((writer.finish().await?.expect("there are rows").staged, rejects))
}

async fn stage(table: &DeltaTable, generation: u64, epoch: u64, batch: RecordBatch) -> DeltaStaged {
    try_stage(table, context(generation, epoch), vec![batch]).await.expect("stages").0
}

fn request(generation: u64, epoch: u64, previous: Option<u64>, staged: &DeltaStaged) -> CommitRequest<DeltaStaged> {
    let digest = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&serde_json::to_vec(staged).expect("plain data")));
    let mark = Mark { incarnation: Incarnation("life".into()), generation, epoch, digest };
    CommitRequest::new(shard(), mark, previous, staged.clone())
}

async fn commit(
    table: &DeltaTable,
    generation: u64,
    epoch: u64,
    previous: Option<u64>,
    staged: &DeltaStaged,
) -> Result<CommitOutcome> {
    table.commit(&env(), request(generation, epoch, previous, staged)).await
}

/// The files that are in the table now.
async fn files(store: &Store) -> Vec<actions::Add> {
    let log = table(store).log;
    let newest = log.newest(None, log::Keep::All).await.expect("reads");
    newest.map(|s| s.files.values().cloned().collect()).unwrap_or_default()
}

/// The rows of the table.
async fn batches(store: &Store) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for add in files(store).await {
        let path = file::object(&ObjectPath::parse(PREFIX).expect("valid"), &add.path).expect("valid");
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").build().expect("Parquet");
        all.extend(reader.map(|b| b.expect("rows")));
    }
    all
}

async fn ids(store: &Store) -> Vec<i64> {
    let batches = batches(store).await;
    let column = |b: &RecordBatch| b.column_by_name("id").expect("there").as_primitive::<Int64Type>().values().to_vec();
    let mut ids: Vec<_> = batches.iter().flat_map(column).collect();
    ids.sort_unstable();
    ids
}
