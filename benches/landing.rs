//! What does landing cost per MB of response bodies, and what does each way of compression add to it or save?
//!
//! * `landing/append`: CPU of one core for a segment of 8 MiB in memory: compression, checksums, manifest, chain record.
//! * `landing/read`: the same for reading it back, as a load does that is behind.
//! * `landing/durable`: wall time of the same segment on a local file system, with all fsyncs, on all cores.
//!
//! The bodies are pages of 1,000 orders of about 430 bytes of JSON.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;
use futures::future::BoxFuture;
use landfall::env::{Clock, Entropy, Env};
use landfall::landing::{Compression, Landing, LandingReader, LandingWriter, SegmentDraft};
use landfall::model::{Page, PipelineName, ShardKey, Timestamp};
use landfall::store::Store;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WAYS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("lz4", Compression::Lz4),
    ("zstd-3", Compression::Zstd(-3)),
    ("zstd-1", Compression::Zstd(-1)),
    ("zstd1", Compression::Zstd(1)),
];

/// One core: CPU work runs where it is asked for.
#[derive(Debug, Default)]
struct OneCore(AtomicU64);

impl Clock for OneCore {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

impl Entropy for OneCore {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

fn one_core() -> Env {
    Env::deterministic(Arc::new(OneCore::default()), Arc::new(OneCore::default()))
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d) ^ (n >> 33)
}

fn order(out: &mut String, n: u64) {
    let (a, b, c) = (mix(n), mix(n ^ 0xabcd_ef01), mix(n ^ 0x1234_5678_9abc));
    let status = ["open", "paid", "shipped", "cancelled", "refunded"][(a % 5) as usize];
    let country = ["DE", "FR", "US", "JP", "BR", "IN"][(a >> 8) as usize % 6];
    let customer = (a >> 16) % 90_000;
    write!(
        out,
        r#"{{"id":"ord_{}","number":{},"status":"{status}","currency":"EUR","total":"{}.{:02}","tax":"{}.{:02}","#,
        a >> 16,
        1_000_000 + n,
        b % 5_000,
        (b >> 16) % 100,
        b % 900,
        (b >> 24) % 100
    )
    .expect("a string takes any text");
    write!(
        out,
        r#""customer":{{"id":"cus_{customer:08}","name":"Ada Lovelace","email":"user{customer}@example.com","country":"{country}"}},"items":["#
    )
    .expect("a string takes any text");
    for item in 0..=(b >> 40) % 3 {
        let d = mix(c ^ item);
        let comma = if item == 0 { "" } else { "," };
        write!(
            out,
            r#"{comma}{{"sku":"SKU-{:06}","qty":{},"price":"{}.{:02}"}}"#,
            d % 20_000,
            1 + (d >> 20) % 9,
            (d >> 24) % 300,
            (d >> 40) % 100
        )
        .expect("a string takes any text");
    }
    let second = n * 3 % 86_400;
    write!(
        out,
        r#"],"note":null,"coupon":null,"created_at":"2024-03-0{}T{:02}:{:02}:{:02}.{:03}Z","updated_at":"2024-03-10T{:02}:{:02}:{:02}.{:03}Z"}}"#,
        1 + c % 9, (c >> 8) % 24, (c >> 16) % 60, (c >> 24) % 60, (c >> 32) % 1_000,
        second / 3_600, second / 60 % 60, second % 60, (c >> 44) % 1_000
    )
    .expect("a string takes any text");
}

/// Pages of 1,000 orders, 8 MiB together.
fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    let (mut bytes, mut number) = (0, 0);
    while bytes < 8 << 20 {
        let mut body = String::from(r#"{"data":["#);
        for n in 0..1_000 {
            if n > 0 {
                body.push(',');
            }
            order(&mut body, number);
            number += 1;
        }
        write!(body, r#"],"next_cursor":"c{number:x}"}}"#).expect("a string takes any text");
        bytes += body.len();
        pages.push(Page::new("all".into(), body, 1_000, Timestamp::from_micros(1_700_000_000_000_000)));
    }
    pages
}

fn draft(pages: &[Page]) -> SegmentDraft {
    SegmentDraft { pages: pages.to_vec(), ..SegmentDraft::default() }
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("a valid name"), shard: 0 }
}

fn landing(store: &Store, compression: Compression) -> Landing {
    Landing::in_store(store, "raw").expect("a valid prefix").compression(compression)
}

fn bench(c: &mut Criterion) {
    let pages = pages();
    let bytes: usize = pages.iter().map(|p| p.body.len()).sum();
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");

    let writer = |env: &Env, store: &Store, compression| {
        let landing = landing(store, compression);
        runtime.block_on(LandingWriter::open(&landing, &shard(), env)).expect("a fresh store").0
    };

    let mut group = c.benchmark_group("landing/append");
    group.throughput(Throughput::Bytes(bytes as u64));
    for (name, compression) in WAYS {
        let env = one_core();
        let landed = runtime.block_on(writer(&env, &Store::memory(), compression).append(draft(&pages)));
        let stored = landed.expect("lands").stored_bytes;
        let ratio = format!("{name} ({:.1}x smaller)", bytes as f64 / stored as f64);
        group.bench_function(BenchmarkId::from_parameter(ratio), |b| {
            b.iter_batched(
                || (writer(&env, &Store::memory(), compression), draft(&pages)),
                |(mut writer, draft)| runtime.block_on(async { (writer.append(draft).await.expect("lands"), writer) }),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();

    let mut group = c.benchmark_group("landing/read");
    group.throughput(Throughput::Bytes(bytes as u64));
    for (name, compression) in WAYS {
        let (env, store) = (one_core(), Store::memory());
        let number = runtime.block_on(writer(&env, &store, compression).append(draft(&pages))).expect("lands").number;
        let reader = LandingReader::new(&landing(&store, compression), &shard(), &env);
        group.bench_function(name, |b| {
            b.iter(|| black_box(runtime.block_on(reader.read(number)).expect("reads").expect("is there")));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("landing/durable");
    group.throughput(Throughput::Bytes(bytes as u64));
    for (name, compression) in WAYS {
        let env = Env::system();
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    let folder = tempfile::tempdir().expect("a place for files");
                    let store = Store::local(folder.path()).expect("a fresh folder");
                    (writer(&env, &store, compression), draft(&pages), folder)
                },
                |(mut writer, draft, folder)| {
                    (runtime.block_on(async { (writer.append(draft).await.expect("lands"), writer) }), folder)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = bench
}
criterion_main!(benches);
