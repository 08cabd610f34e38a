mod commits;
mod compactions;
mod conformance;
mod crashes;
mod disk;
mod files;
mod layout;
mod store;

use super::*;
use crate::columnar::Batch;
use crate::env::Env;
use crate::error::Result;
use crate::model::{Incarnation, PipelineName, ShardKey};
use crate::sink::{CommitOutcome, CommitRequest, EpochContext, Mark, Sink, Writer};
use crate::store::{ObjectPath, Store};
use crate::testkit::{Conditionless, Faults, Mode, Plan, test_env};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

const PREFIX: &str = "data/orders";

fn env() -> Env {
    test_env(1)
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 0 }
}

fn context(generation: u64, epoch: u64) -> EpochContext {
    EpochContext::new(shard(), generation, epoch, env())
}

fn dataset(store: &Store) -> ParquetDataset {
    ParquetDataset::in_store(store, PREFIX).expect("valid").lanes(1)
}

/// Rows with the given ids, and `country` = their last digit.
fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<_> = ids.into_iter().collect();
    let countries = StringArray::from_iter_values(ids.iter().map(|id| format!("c{}", id % 10)));
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as _), ("country", Arc::new(countries) as _)])
        .expect("fits")
}

async fn try_stage(
    dataset: &ParquetDataset,
    generation: u64,
    epoch: u64,
    batches: Vec<RecordBatch>,
) -> Result<StagedFiles> {
    let mut writer = dataset.open(context(generation, epoch)).await?;
    let expected: usize = batches.iter().map(RecordBatch::num_rows).sum();
    for batch in batches {
        writer.write(Batch::new(batch)).await?;
    }
    let output = writer.finish().await?.expect("there are rows");
    assert_eq!(output.records, expected as u64);
    Ok(output.staged)
}

async fn stage(dataset: &ParquetDataset, generation: u64, epoch: u64, batch: RecordBatch) -> StagedFiles {
    try_stage(dataset, generation, epoch, vec![batch]).await.expect("stages")
}

fn request(generation: u64, epoch: u64, previous: Option<u64>, staged: &StagedFiles) -> CommitRequest<StagedFiles> {
    let digest = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&serde_json::to_vec(staged).expect("plain data")));
    let mark = Mark { incarnation: Incarnation("life".into()), generation, epoch, digest };
    CommitRequest::new(shard(), mark, previous, staged.clone())
}

async fn commit(
    dataset: &ParquetDataset,
    generation: u64,
    epoch: u64,
    previous: Option<u64>,
    staged: &StagedFiles,
) -> Result<CommitOutcome> {
    dataset.commit(&env(), request(generation, epoch, previous, staged)).await
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let column =
        |b: &RecordBatch| b.column_by_name("id").expect("is there").as_primitive::<Int64Type>().values().to_vec();
    let mut ids: Vec<_> = batches.iter().flat_map(column).collect();
    ids.sort_unstable();
    ids
}

async fn snapshot(store: &Store) -> Snapshot {
    DatasetReader::new(store, PREFIX).expect("valid").snapshot().await.expect("reads")
}

/// What a reader that follows the commits sees.
async fn followed(store: &Store) -> Vec<i64> {
    followed_in(&snapshot(store).await).await
}

async fn followed_in(snapshot: &Snapshot) -> Vec<i64> {
    let batches = snapshot.read_batches().await.expect("reads");
    let ids = ids(&batches);
    assert_eq!(ids.len() as u64, snapshot.rows());
    ids
}

/// The objects that a reader that lists `**/*.parquet` takes for data.
async fn visible(store: &Store) -> Vec<ObjectPath> {
    let objects = store.list(&ObjectPath::parse(PREFIX).expect("valid")).await.expect("lists");
    objects.into_iter().map(|o| o.path).filter(|path| path.as_str().ends_with(".parquet")).collect()
}

async fn read(store: &Store, path: &ObjectPath) -> Vec<RecordBatch> {
    let bytes = store.get(path, None).await.expect("reads").expect("is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").build().expect("Parquet");
    reader.map(|b| b.expect("rows")).collect()
}

/// What a reader that lists the folder sees.
async fn listed(store: &Store) -> Vec<i64> {
    let mut all = Vec::new();
    for path in visible(store).await {
        all.extend(ids(&read(store, &path).await));
    }
    all.sort_unstable();
    all
}
