//! What does exact deduplication cost for each record, while its memory grows to a million keys, and what does a delta of
//! its state cost?
//!
//! `first`: the first of each key passes. `latest`: newer ones do too. `content`: whole records are compared. One record in
//! fifty is a repeat. `delta`: the state of 1,000 new keys among a million.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use landfall::columnar::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use landfall::columnar::{Batch, Dedup, Latest};
use landfall::stage::{Output, Stage, StageState};
use std::sync::Arc;

const ROWS: u64 = 1000;
const BATCHES: u64 = 1000;

fn batch(number: u64) -> Batch {
    let key = |row: u64| if row % 50 == 49 { number * ROWS + row - 1 } else { number * ROWS + row };
    let ids = StringArray::from_iter_values((0..ROWS).map(|row| format!("ord_{:013}", key(row).wrapping_mul(7919))));
    let versions = Int64Array::from_iter_values((0..ROWS).map(|row| row as i64));
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("version", Arc::new(versions))];
    Batch::new(RecordBatch::try_from_iter(columns).expect("two columns"))
}

fn feed(mut dedup: Dedup, batches: &[Batch]) -> Dedup {
    for batch in batches {
        let mut out = Output::new();
        dedup.apply(batch.clone(), &mut out).expect("deduplicates");
    }
    dedup
}

fn dedup(c: &mut Criterion) {
    let batches: Vec<Batch> = (0..BATCHES).map(batch).collect();
    let mut group = c.benchmark_group("dedup");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS * BATCHES));
    group.bench_function("first", |b| {
        b.iter_batched(|| Dedup::by(["id"]), |stage| feed(stage, &batches), BatchSize::PerIteration);
    });
    group.bench_function("latest", |b| {
        let stage = || Dedup::by(["id"]).keep(Latest::of("version"));
        b.iter_batched(stage, |stage| feed(stage, &batches), BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(ROWS * 50));
    group.bench_function("content", |b| {
        let fifty = batches.get(..50).unwrap_or_default();
        b.iter_batched(Dedup::by_content, |stage| feed(stage, fifty), BatchSize::PerIteration);
    });
    let mut full = feed(Dedup::by(["id"]), &batches);
    full.base().expect("the state is written");
    let mut next = BATCHES;
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("delta", |b| {
        b.iter(|| {
            next += 1;
            let mut out = Output::new();
            full.apply(batch(next), &mut out).expect("deduplicates");
            full.delta().expect("the state is written")
        });
    });
    group.finish();
}

criterion_group!(benches, dedup);
criterion_main!(benches);
