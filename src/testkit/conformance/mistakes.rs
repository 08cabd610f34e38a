//! What a test gives that no check can work with, and the words for it: none of them names a guarantee.

use super::{Destination, checkpoints, sink, store, told};
use crate::checkpoint::{ChainId, CheckpointStore, MemoryCheckpoints};
use crate::model::Rows;
use crate::pipeline::Pipeline;
use crate::sink::{Demand, MemorySink, MemoryTable};
use crate::source::IterSource;
use crate::store::{ObjectPath, Store};
use crate::testkit::{Faults, test_env};
use async_trait::async_trait;
use futures::FutureExt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    Replaces,
    GivesOneRowMore,
    GivesNoBadRow,
    ReadsBackwards,
    ReachesItWithoutFaults,
}

struct Table {
    mistake: Mistake,
    rows: MemoryTable<Rows<u64>>,
}

impl Table {
    fn with(mistake: Mistake) -> Self {
        Self { mistake, rows: MemoryTable::new() }
    }
}

#[async_trait]
impl Destination for Table {
    type Sink = MemorySink<Rows<u64>>;

    fn sink(&self) -> Self::Sink {
        let sink = MemorySink::new(&self.rows);
        if self.mistake == Mistake::Replaces { sink.replace() } else { sink }
    }

    async fn reached_by(&self, _faults: &Faults) -> Option<Self::Sink> {
        (self.mistake == Mistake::ReachesItWithoutFaults).then(|| self.sink())
    }

    fn item(&self, numbers: Range<u64>) -> Rows<u64> {
        let more = u64::from(self.mistake == Mistake::GivesOneRowMore);
        Rows((numbers.start..numbers.end + more).collect())
    }

    fn bad_item(&self, numbers: Range<u64>) -> Option<Rows<u64>> {
        (self.mistake == Mistake::GivesNoBadRow).then(|| Rows(numbers.collect()))
    }

    async fn read(&self) -> Vec<u64> {
        let mut rows = self.rows.rows();
        rows.sort_unstable();
        if self.mistake == Mistake::ReadsBackwards {
            rows.reverse();
        }
        rows
    }
}

/// What a check panics with. What is told of it afterwards names no guarantee.
async fn said(check: impl Future<Output = ()>) -> String {
    let told = told("Sink", "g1_a_check");
    let panic = AssertUnwindSafe(check).catch_unwind().await.expect_err("it must not pass");
    assert!(!told.words().contains("guarantee"), "{}", told.words());
    panic.downcast_ref::<String>().cloned().expect("a text")
}

#[tokio::test]
async fn a_destination_that_is_not_empty() {
    let table = Table::with(Mistake::None);
    sink::is_fit(&table, Demand::Increments).await;
    sink::g3_the_same_commit_again_changes_nothing(&table).await;
    let words = said(sink::is_fit(&table, Demand::Increments)).await;
    assert!(
        words.contains("holds a mark") && words.contains("give each test an empty destination of its own"),
        "{words}"
    );
}

#[tokio::test]
async fn a_destination_with_rows_of_others() {
    let table = Table::with(Mistake::None);
    // Another pipeline's: its marks are not those of the check.
    let pipeline = Pipeline::named("others")
        .source(IterSource::new(1..=3))
        .sink(table.sink())
        .checkpoints(MemoryCheckpoints::default())
        .env(test_env(1));
    pipeline.build().expect("it fits").run().await.expect("it runs");
    let words = said(sink::is_fit(&table, Demand::Increments)).await;
    assert!(words.contains("holds rows, [1, 2, 3]: give each test an empty destination of its own"), "{words}");
}

#[tokio::test]
async fn a_sink_of_the_other_demand() {
    let words = said(sink::is_fit(&Table::with(Mistake::Replaces), Demand::Increments)).await;
    assert!(words.contains("use `enumeration_conformance!`"), "{words}");
    let words = said(sink::is_fit(&Table::with(Mistake::None), Demand::Enumerations)).await;
    assert!(words.contains("use `sink_conformance!`"), "{words}");
}

#[tokio::test]
async fn items_of_other_numbers_of_rows() {
    let words = said(sink::is_fit(&Table::with(Mistake::GivesOneRowMore), Demand::Increments)).await;
    assert!(words.contains("`item(0..1)` must give 1 rows, and gives 2"), "{words}");
    let words = said(sink::is_fit(&Table::with(Mistake::GivesNoBadRow), Demand::Increments)).await;
    assert!(words.contains("`bad_item(0..1)` must give 2 rows, and gives 1"), "{words}");
}

#[tokio::test]
async fn rows_that_are_read_in_another_order() {
    let words = said(sink::g2_an_epoch_is_seen_with_its_mark(&Table::with(Mistake::ReadsBackwards))).await;
    assert!(words.contains("`read` must give the numbers in ascending order"), "{words}");
}

#[tokio::test]
async fn a_process_that_passes_its_faults_to_nothing() {
    let words = said(sink::g6_doubt_is_told(&Table::with(Mistake::ReachesItWithoutFaults))).await;
    assert!(words.contains("nothing of it can fail, so nothing was tried"), "{words}");
}

#[tokio::test]
async fn a_store_that_is_not_empty() {
    let store = Store::memory();
    store::is_fit(&store).await;
    store.put(&ObjectPath::parse("a/x").expect("a name"), "x".into()).await.expect("put");
    let words = said(store::is_fit(&store)).await;
    assert!(words.contains("[\"a/x\"]: give each test an empty store of its own"), "{words}");
}

#[tokio::test]
async fn a_checkpoint_store_that_is_not_empty() {
    let chain = ChainId::named("orders/checkpoints/0000").expect("a name");
    let (records, boundary) = (MemoryCheckpoints::default(), MemoryCheckpoints::default());
    for empty in [&records, &boundary] {
        checkpoints::is_fit(empty).await;
    }
    records.create(&chain, 3, "x".into()).await.expect("create");
    boundary.advance_boundary(&chain, 7).await.expect("advance");
    for (store, holds) in
        [(&records, "the records [3] and the boundary 0"), (&boundary, "the records [] and the boundary 7")]
    {
        let words = said(checkpoints::is_fit(store)).await;
        assert!(words.contains(holds) && words.contains("give each test an empty store of its own"), "{words}");
    }
}
