//! How many bytes of JSON a second does one thread turn into typed Arrow columns?
//!
//! `spans`: the source has marked the records, as it does when it lands a page. `scan`: they are found first, as when a
//! page is read back from the log. `infer`: as `spans`, with inferred columns. `bad`: as `spans`, where one record in a
//! hundred is refused. All with provenance columns; the records are like those of an order API.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use landfall::columnar::{Batch, Columns, Decode};
use landfall::json::{Query, scan};
use landfall::model::{Page, PartitionId, Timestamp};
use landfall::stage::{Output, Stage};
use std::fmt::Write;

const RECORDS: u64 = 1000;
const NAMES: [&str; 4] = ["Anna Schmidt", "محمد علي", "李小龙", "Zoë O'Hara"];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn order(body: &mut String, number: u64, dice: &mut Dice, bad: bool) -> std::fmt::Result {
    let quoted = |some: bool, text: String| if some { format!("\"{text}\"") } else { "null".to_owned() };
    let name = NAMES[dice.roll(4) as usize];
    let cents = 100 + dice.roll(500_000);
    let tax = quoted(dice.roll(4) > 0, format!("{}.{:02}", cents / 500, cents % 100));
    let email = quoted(dice.roll(5) > 0, format!("user{}@example.com", dice.roll(100_000)));
    let note = quoted(dice.roll(4) == 0, "línea 1\\nlínea 2".to_owned());
    let total = if bad { "[]".to_owned() } else { format!("\"{}.{:02}\"", cents / 100, cents % 100) };
    write!(body, r#"{{"id":"ord_{:013}","number":{number},"status":"shipped","currency":"JPY","#, dice.roll(1 << 30))?;
    write!(body, r#""total":{total},"tax":{tax},"customer":{{"id":"cus_{:08}","name":"{name}","#, dice.roll(50_000))?;
    write!(body, r#""email":{email},"country":"GB"}},"items":["#)?;
    for item in 0..=dice.roll(3) {
        let comma = if item > 0 { "," } else { "" };
        let (sku, qty, price) = (dice.roll(20_000), 1 + dice.roll(5), dice.roll(10_000));
        write!(body, r#"{comma}{{"sku":"SKU-{sku:06}","qty":{qty},"price":"{}.{:02}"}}"#, price / 100, price % 100)?;
    }
    let (day, millis) = (1 + dice.roll(28), dice.roll(1000));
    write!(body, r#"],"note":{note},"coupon":null,"created_at":"2023-12-{day:02}T15:59:25.{millis:03}Z","#)?;
    write!(body, r#""updated_at":"2024-01-{day:02}T00:00:07.{millis:03}Z"}}"#)
}

fn page(bad_every: u64) -> Page {
    let mut dice = Dice(42);
    let mut body = String::from("{\"data\":[");
    for number in 0..RECORDS {
        if number > 0 {
            body.push(',');
        }
        let bad = bad_every > 0 && number % bad_every == bad_every - 1;
        order(&mut body, 1_000_000 + number, &mut dice, bad).expect("a string takes everything");
    }
    body.push_str("],\"next_cursor\":\"c3e8\"}");
    Page::new(PartitionId::from("orders"), body, RECORDS, Timestamp::from_micros(1_700_000_000_000_000))
}

fn marked(mut page: Page) -> Page {
    let path = Query::parse("$.data[*]").expect("a path");
    page.records_path = Some(path.as_str().into());
    page.spans = Some(scan(&page.body, &path, &[]).expect("JSON").spans.into());
    page
}

fn orders() -> Columns {
    Columns::parse([
        ("id", "utf8"),
        ("number", "int64"),
        ("status", "utf8"),
        ("currency", "utf8"),
        ("total", "decimal(18,2)"),
        ("tax", "decimal(18,2)"),
        ("customer", "struct<id: utf8, name: utf8, email: utf8, country: utf8>"),
        ("items", "list<struct<sku: utf8, qty: int64, price: decimal(18,2)>>"),
        ("note", "utf8"),
        ("coupon", "utf8"),
        ("created_at", "timestamp(ms)"),
        ("updated_at", "timestamp(ms)"),
    ])
    .expect("columns")
}

fn decode(c: &mut Criterion) {
    let stage = || Decode::pages().records("$.data[*]").provenance();
    let cases = [
        ("spans", marked(page(0)), stage().schema(orders())),
        ("scan", page(0), stage().schema(orders())),
        ("infer", marked(page(0)), stage().infer()),
        ("bad", marked(page(100)), stage().schema(orders())),
    ];
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes(page(0).body.len() as u64));
    for (name, page, mut stage) in cases {
        group.bench_function(name, |b| {
            let run = |page| {
                let mut out: Output<Batch> = Output::new();
                stage.apply(page, &mut out).expect("decodes");
                out
            };
            b.iter_batched(|| page.clone(), run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
