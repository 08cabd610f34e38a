//! What does durability cost? Landing a segment, and writing a checkpoint, to a local folder with every sync, and to memory:
//! the difference is the disk's, the rest is ours.
//!
//! `cargo bench --bench durable`

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use landfall::checkpoint::chain::Chain;
use landfall::checkpoint::{ChainId, StoreCheckpoints};
use landfall::env::Env;
use landfall::landing::{Compression, Landing, LandingWriter, SegmentDraft};
use landfall::model::{Page, PartitionId, PipelineName, ShardKey, Timestamp};
use landfall::store::Store;
use std::hint::black_box;
use std::sync::Arc;

/// About what an API answers: 1,000 records of 430 bytes.
fn body() -> String {
    let record = |n: u64| {
        format!(
            r#"{{"id":"ord_{:013}","number":{n},"status":"shipped","total":"{}.{:02}","customer":{{"id":"cus_{:08}","name":"A. Customer"}},"note":"{}","updated_at":"2024-01-01T00:00:{:02}.919Z"}}"#,
            n * 7_919_731 % 9_999_999_999_973,
            n % 4_000,
            n % 100,
            n * 31 % 100_000,
            "left at the door ".repeat(usize::try_from(n % 16).unwrap_or(0)),
            n % 60
        )
    };
    format!("[{}]", (0..1_000).map(record).collect::<Vec<_>>().join(","))
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("bench").expect("a valid name"), shard: 0 }
}

fn stores(folder: &tempfile::TempDir) -> [(&'static str, Store); 2] {
    [("memory", Store::memory()), ("folder", Store::local(folder.path()).expect("the folder is there"))]
}

fn landing_append(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let body = body();
    let page = Page::new(PartitionId::from("all"), body.clone(), 1_000, Timestamp::default());
    let mut group = c.benchmark_group("landing append");
    for pages in [1, 16] {
        group.throughput(Throughput::Bytes(pages as u64 * body.len() as u64));
        for (name, store) in stores(&folder) {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
                let landing = Landing::in_store(&store, &format!("{compression:?}-{pages}").replace(['(', ')'], "-"))
                    .expect("a valid name")
                    .compression(compression);
                let (mut writer, _) =
                    runtime.block_on(LandingWriter::open(&landing, &shard(), &Env::system())).expect("opens");
                let id = BenchmarkId::new(format!("{name}, {compression:?}"), format!("{pages} pages"));
                group.bench_function(id, |b| {
                    b.iter_batched(
                        || SegmentDraft { pages: vec![page.clone(); pages], ..SegmentDraft::default() },
                        |draft| black_box(runtime.block_on(writer.append(draft)).expect("lands")),
                        BatchSize::PerIteration,
                    );
                });
            }
        }
    }
    group.finish();
}

fn checkpoint_create(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("checkpoint create");
    for size in [2 << 10, 64 << 10] {
        for (name, store) in stores(&folder) {
            let checkpoints = Arc::new(StoreCheckpoints::new(&store, &format!("c{size}")).expect("a valid name"));
            let id = ChainId::checkpoints(&shard());
            let mut chain = runtime.block_on(Chain::open(checkpoints, id, Env::system())).expect("opens").chain;
            let payload = bytes::Bytes::from(vec![b'x'; size]);
            group.bench_function(BenchmarkId::new(name, format!("{} KiB", size >> 10)), |b| {
                b.iter(|| black_box(runtime.block_on(chain.append(payload.clone())).expect("is written")));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = landing_append, checkpoint_create
}
criterion_main!(benches);
