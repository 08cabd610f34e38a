//! What does a checkpoint cost? To a local folder with every sync, and to memory: the difference is the disk's, the rest is ours.
//!
//! `cargo bench --bench checkpoint`

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use landfall::checkpoint::chain::Chain;
use landfall::checkpoint::{ChainId, StoreCheckpoints};
use landfall::env::Env;
use landfall::model::{PipelineName, ShardKey};
use landfall::store::Store;
use std::hint::black_box;
use std::sync::Arc;

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("bench").expect("a valid name"), shard: 0 }
}

fn stores(folder: &tempfile::TempDir) -> [(&'static str, Store); 2] {
    [("memory", Store::memory()), ("folder", Store::local(folder.path()).expect("the folder is there"))]
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
    targets = checkpoint_create
}
criterion_main!(benches);
