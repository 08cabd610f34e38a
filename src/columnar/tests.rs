//! The contract of a stage, for each of the stages on batches.

use super::{Batch, ColumnType, Columns, Decode, Dedup, Latest, Unnest, UnnestChild, Validate, Within};
use crate::model::{Page, PartitionId, Timestamp};
use crate::sink::Tables;
use crate::stage::{Output, Stage};
use crate::testkit::conformance::StageTrial;

/// Records of several kinds: good ones, repeated ones, and some that each stage refuses.
const RECORDS: [&str; 10] = [
    r#"{"id":1,"at":5,"name":"a","items":[{"sku":"x"},{"sku":"y"}]}"#,
    r#"{"id":2,"at":5,"name":"b","items":[]}"#,
    r#"{"id":1,"at":4,"name":"older"}"#,
    r#"{"id":3,"at":7,"name":null,"items":[{"sku":"z"}]}"#,
    r#"{"id":"four","at":1}"#,
    r#"{"id":2,"at":9,"name":"newer","items":[{"sku":"w"},{"sku":null}]}"#,
    r#"{"id":5,"at":900,"name":"out of range"}"#,
    r#"{"id":1,"at":5,"name":"a","items":[{"sku":"x"},{"sku":"y"}]}"#,
    r#"{"at":3}"#,
    r#"{"id":6,"at":8}"#,
];

/// How many records each item has.
const CUTS: [&[usize]; 4] = [&[10], &[1; 10], &[3, 0, 4, 3], &[0, 2, 8]];

fn page(records: &[&str]) -> Page {
    let body = format!("[{}]", records.join(","));
    Page::new(PartitionId("all".into()), body, records.len() as u64, Timestamp::from_micros(1))
}

fn pages() -> Vec<Vec<Page>> {
    let cut = |lengths: &&[usize]| {
        let mut rest = &RECORDS[..];
        let take = |length: &usize| {
            let (taken, left) = rest.split_at(*length);
            rest = left;
            page(taken)
        };
        lengths.iter().map(take).collect()
    };
    CUTS.iter().map(cut).collect()
}

fn columns() -> Columns {
    let item = ColumnType::Struct(Columns::new().utf8("sku"));
    Columns::new().int64("id").int64("at").utf8("name").list("items", item)
}

fn decode() -> Decode {
    Decode::pages().schema(columns())
}

/// What comes out of the decoder, for the stages behind it: without what it refuses.
fn batches() -> Vec<Vec<Batch>> {
    let mut decode = decode();
    let mut decoded = |page: Page| {
        let mut out = Output::new();
        decode.apply(page, &mut out).expect("decodes");
        out.into_parts().0
    };
    pages().into_iter().map(|cut| cut.into_iter().flat_map(&mut decoded).collect()).collect()
}

fn texts(batch: &Batch) -> Vec<String> {
    (0..batch.num_rows()).map(|row| format!("{:?}", batch.rows().slice(row, 1).columns())).collect()
}

struct Decoding;

impl StageTrial for Decoding {
    type Stage = Decode;
    fn stage(&self) -> Decode {
        decode()
    }
    fn cuts(&self) -> Vec<Vec<Page>> {
        pages()
    }
    fn records(&self, item: &Batch) -> Vec<String> {
        texts(item)
    }
}

struct Unnesting;

impl StageTrial for Unnesting {
    type Stage = Unnest;
    fn stage(&self) -> Unnest {
        Unnest::new("orders").child("items", UnnestChild::at("items").copy("id", "order_id"))
    }
    fn cuts(&self) -> Vec<Vec<Batch>> {
        batches()
    }
    /// Parents and children come table by table, so they are put in an order.
    fn records(&self, item: &Tables<Batch>) -> Vec<String> {
        item.iter()
            .flat_map(|(table, batch)| texts(batch).into_iter().map(move |text| format!("{table} {text}")))
            .collect()
    }
}

/// A stage from batches to batches.
struct Between<F>(F);

impl<S, F> StageTrial for Between<F>
where
    S: Stage<In = Batch, Out = Batch>,
    F: Fn() -> S,
{
    type Stage = S;
    fn stage(&self) -> S {
        (self.0)()
    }
    fn cuts(&self) -> Vec<Vec<Batch>> {
        batches()
    }
    fn records(&self, item: &Batch) -> Vec<String> {
        texts(item)
    }
}

macro_rules! conformance {
    ($($name:ident: $trial:expr;)+) => {
        $(mod $name {
            use super::*;

            crate::stage_conformance!($trial);
        })+
    };
}

conformance! {
    decode_pages: Decoding;
    validate: Between(|| Validate::new().required("id").range("at", 0..=100));
    within: Between(|| Within::range("at", 2..=100));
    dedup_first: Between(|| Dedup::by(["id"]));
    dedup_newest: Between(|| Dedup::by(["id"]).keep(Latest::of("at")));
    dedup_content: Between(Dedup::by_content);
    filter: Between(|| super::super::filter("some", |batch| batch.column("name").map(|c| arrow::compute::is_not_null(&c).expect("any column"))));
}

mod unnest {
    use super::*;

    // Table by table: how records are cut says in which order parents and children come.
    crate::stage_conformance! { Unnesting;
        g1_the_same_items_give_the_same_output
        g2_every_record_is_accounted_for
        g3_copies_give_what_one_gives
        its_configuration_is_stable
    }
}
