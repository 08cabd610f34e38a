//! What is there, as somebody sees it from outside.

use super::{Destination, delta};
use landfall::Result;
use landfall::columnar::arrow::array::{AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::connectors::parquet::DatasetReader;
use landfall::landing::{Landing, LandingReader};
use landfall::model::{Page, PipelineName, Rows, ShardKey};
use landfall::sink::{MemoryTable, Quarantine};
use landfall::store::Store;
use landfall::testkit::test_env;
use std::collections::HashSet;

/// The numbers at their destination.
pub async fn rows(store: &Store, into: Destination, table: &MemoryTable<Rows<u64>>) -> Vec<u64> {
    read_rows(store, into, table).await.expect("readable")
}

/// The numbers at a destination that may be damaged.
pub async fn read_rows(store: &Store, into: Destination, table: &MemoryTable<Rows<u64>>) -> Result<Vec<u64>> {
    Ok(match into {
        Destination::Memory => table.rows(),
        Destination::Parquet | Destination::Tables => {
            let snapshot = DatasetReader::new(store, "numbers")?.snapshot().await?;
            let rows = numbers(&snapshot.read_batches().await?);
            assert_eq!(rows.len() as u64, snapshot.rows(), "rows, and what the commits tell");
            rows
        }
        Destination::Delta | Destination::DeltaUpsert => numbers(&delta(store, into).read_batches().await?),
    })
}

/// The numbers of children.
pub async fn children(store: &Store) -> Vec<u64> {
    numbers(&delta(store, Destination::Tables).read_batches().await.expect("readable"))
}

fn numbers(batches: &[RecordBatch]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for batch in batches {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        numbers.extend(column.values().iter().map(|n| u64::try_from(*n).expect("positive")));
    }
    numbers
}

/// The records that a pipeline has refused, as they were landed.
pub async fn quarantined(store: &Store, pipeline: &str) -> Vec<String> {
    let quarantine = Quarantine::in_store(store, "quarantine").expect("a name");
    let records = quarantine.read_all().await.expect("readable").into_iter();
    let records = records.filter(|record| record.pipeline.as_str() == pipeline);
    records.map(|record| String::from_utf8_lossy(&record.raw).into_owned()).collect()
}

/// Every line that the landing holds, but for the parts of responses that never became whole.
pub async fn landed(store: &Store, shards: u32) -> Vec<String> {
    let landing = Landing::in_store(store, "raw").expect("a name");
    let mut pages = Vec::new();
    for shard in 0..shards {
        let key = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard };
        let reader = LandingReader::new(&landing, &key, &test_env(0));
        let mut number = 1;
        while let Some(segment) = reader.read(number).await.expect("readable") {
            pages.extend(segment.pages);
            number += 1;
        }
    }
    let whole: HashSet<u64> =
        pages.iter().filter_map(|page| page.part.filter(|part| part.last).map(|part| part.response)).collect();
    let counts = |page: &&Page| page.part.is_none_or(|part| whole.contains(&part.response));
    let bodies = pages.iter().filter(counts).map(|page| String::from_utf8_lossy(&page.body).into_owned());
    bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The number in a line, as text or as JSON, if it is a good one.
pub fn number(line: &str) -> Option<u64> {
    line.strip_prefix("{\"n\":").map_or(line, |rest| rest.split([',', '}']).next().unwrap_or_default()).parse().ok()
}
