//! How fast does one thread turn landed JSON into rows, check them, and drop repeats? Read it as MB of JSON per second.
//!
//! `cargo bench --bench hot_path`

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use landfall::columnar::{Batch, Columns, Decode, Dedup, Validate};
use landfall::model::{Page, PartitionId, Timestamp};
use landfall::stage::{Output, Stage};
use std::hint::black_box;

const RECORDS: u64 = 1_000;
const PAGES: u64 = 64;

/// Page `number` of orders of about 430 bytes.
fn page(number: u64) -> Page {
    let record = |n: u64| {
        format!(
            r#"{{"id":"ord_{:013}","number":{n},"status":"shipped","currency":"JPY","total":"{}.{:02}","tax":{},"customer":{{"id":"cus_{:08}","name":"محمد علي","email":"m{}@example.com","country":"GB"}},"items":[{{"sku":"SKU-{:06}","qty":3,"price":"28.66"}},{{"sku":"SKU-{:06}","qty":1,"price":"5.10"}}],"note":{},"coupon":null,"created_at":"2023-12-24T15:59:25.093Z","updated_at":"2024-01-01T00:00:{:02}.919Z"}}"#,
            n * 7_919_731 % 9_999_999_999_973,
            n % 4_000,
            n % 100,
            if n % 3 == 0 { "null" } else { "\"546.26\"" },
            n * 31 % 100_000,
            n % 1_000,
            n % 30_000,
            n * 7 % 30_000,
            if n % 2 == 0 { "null" } else { "\"línea 1\\nlínea 2\"" },
            n % 60
        )
    };
    let records = (number * RECORDS..(number + 1) * RECORDS).map(record).collect::<Vec<_>>().join(",");
    Page::new(PartitionId::from("all"), format!(r#"{{"data":[{records}]}}"#), RECORDS, Timestamp::default())
}

fn decoder() -> Decode {
    let customer = "struct<id: utf8, name: utf8, email: utf8, country: utf8>".parse().expect("a type");
    let item = "struct<sku: utf8, qty: int64, price: decimal(18,2)>".parse().expect("a type");
    Decode::json().records("$.data[*]").schema(
        Columns::new()
            .utf8("id")
            .int64("number")
            .utf8("status")
            .utf8("currency")
            .decimal("total", 18, 2)
            .decimal("tax", 18, 2)
            .typed("customer", customer)
            .list("items", item)
            .utf8("note")
            .utf8("coupon")
            .timestamp("created_at")
            .timestamp("updated_at"),
    )
}

fn run<S: Stage>(stage: &mut S, item: S::In) -> Vec<S::Out> {
    let mut out = Output::new();
    stage.apply(item, &mut out).expect("the stage works");
    let (items, rejects, _) = out.into_parts();
    assert!(rejects.is_empty(), "{:?}", rejects.first());
    items
}

fn batches() -> Vec<Batch> {
    let mut decode = decoder();
    (0..PAGES).flat_map(|n| run(&mut decode, page(n))).collect()
}

fn hot_path(c: &mut Criterion) {
    let bytes = page(0).body.len() as u64;
    let mut group = c.benchmark_group("hot path");

    group.throughput(Throughput::Bytes(bytes));
    let mut decode = decoder();
    group.bench_function("decode", |b| {
        b.iter_batched(|| page(0), |page| black_box(run(&mut decode, page)), BatchSize::LargeInput);
    });

    let batches = batches();
    let first = batches.first().expect("there is a batch").clone();
    let mut validate =
        Validate::new().required("id").required("total").range("number", 0..).one_of("status", ["shipped"]);
    group.bench_function("validate", |b| {
        b.iter_batched(|| first.clone(), |batch| black_box(run(&mut validate, batch)), BatchSize::LargeInput);
    });

    group.throughput(Throughput::Bytes(PAGES * bytes));
    group.bench_function("dedup, all new", |b| {
        b.iter_batched(
            || (Dedup::by(["id"]), batches.clone()),
            |(mut dedup, batches)| {
                for batch in batches {
                    black_box(run(&mut dedup, batch));
                }
                dedup
            },
            BatchSize::LargeInput,
        );
    });
    let mut full = Dedup::by(["id"]);
    for batch in batches.clone() {
        run(&mut full, batch);
    }
    group.bench_function("dedup, all repeats", |b| {
        b.iter_batched(
            || batches.clone(),
            |batches| {
                for batch in batches {
                    black_box(run(&mut full, batch));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = hot_path
}
criterion_main!(benches);
