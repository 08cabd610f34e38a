//! What a test gives that no check can work with, and the words for it: none of them names a guarantee.

use super::{Destination, SourceTrial, StageTrial, checkpoints, rates, sink, source, stage, store, told};
use crate::checkpoint::{ChainId, CheckpointStore, MemoryCheckpoints};
use crate::model::Rows;
use crate::pipeline::Pipeline;
use crate::retry::rate::StoreRates;
use crate::sink::{Demand, FnSink, MemorySink, MemoryTable, from_fn};
use crate::source::IterSource;
use crate::stage::{FnStage, Output};
use crate::store::{ObjectPath, Store};
use crate::testkit::{Faults, test_env};
use async_trait::async_trait;
use futures::FutureExt;
use std::collections::BTreeMap;
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
    StagesNothingOutside,
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

    fn stages_outside(&self) -> bool {
        self.mistake != Mistake::StagesNothingOutside
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

/// Hands on what it is given, at least once.
struct Handed;

#[async_trait]
impl Destination for Handed {
    type Sink = FnSink<Rows<u64>>;

    fn sink(&self) -> Self::Sink {
        from_fn(|_: Rows<u64>| async { Ok(()) })
    }

    async fn reached_by(&self, _faults: &Faults) -> Option<Self::Sink> {
        None
    }

    fn item(&self, numbers: Range<u64>) -> Rows<u64> {
        Rows(numbers.collect())
    }

    fn bad_item(&self, _numbers: Range<u64>) -> Option<Rows<u64>> {
        None
    }

    fn stages_outside(&self) -> bool {
        false
    }

    async fn read(&self) -> Vec<u64> {
        Vec::new()
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
async fn a_sink_that_promises_less() {
    let words = said(sink::is_fit(&Handed, Demand::Increments)).await;
    assert!(words.contains("the sink promises at least once"), "{words}");
}

#[tokio::test]
async fn a_sink_that_stages_outside_and_is_said_not_to() {
    let table = Table::with(Mistake::StagesNothingOutside);
    let words = said(sink::collection_takes_only_what_nobody_commits(&table)).await;
    assert!(words.contains("`stages_outside` says that nothing is"), "{words}");
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

/// Two partitions, each of which is one item.
struct Numbers {
    /// Whether there is an API that is said to refuse the key, and does not.
    is_let_in: bool,
}

#[async_trait]
impl SourceTrial for Numbers {
    type Source = IterSource<u64>;

    fn source(&self) -> IterSource<u64> {
        IterSource::new(1..=3).with_partition("more", 4..=6)
    }

    fn records(&self, item: &Rows<u64>) -> Vec<String> {
        item.0.iter().map(u64::to_string).collect()
    }

    async fn all(&self) -> BTreeMap<String, Vec<String>> {
        let texts = |numbers: Range<u64>| numbers.map(|n| n.to_string()).collect();
        BTreeMap::from([("all".to_owned(), texts(1..4)), ("more".to_owned(), texts(4..7))])
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec!["a key that it never needs".to_owned()]
    }

    async fn refused(&self) -> Option<IterSource<u64>> {
        self.is_let_in.then(|| self.source())
    }
}

#[tokio::test]
async fn a_source_of_single_items() {
    let words = said(source::g2_reading_from_a_position_gives_the_rest(&Numbers { is_let_in: true })).await;
    assert!(words.contains("no partition gives more than one item"), "{words}");
}

#[tokio::test]
async fn a_source_that_nobody_refuses() {
    let words = said(source::g6_secrets_appear_nowhere(&Numbers { is_let_in: true })).await;
    assert!(words.contains("nobody has refused it"), "{words}");
    let words = said(source::g6_secrets_appear_nowhere(&Numbers { is_let_in: false })).await;
    assert!(words.contains("say by `refused` how it fails"), "{words}");
}

/// Ways to cut records, into one item each.
struct Cuts(Vec<Vec<u64>>);

type Pass = fn(Rows<u64>, &mut Output<Rows<u64>>) -> crate::error::Result<()>;

impl StageTrial for Cuts {
    type Stage = FnStage<Rows<u64>, Rows<u64>, Pass>;

    fn stage(&self) -> Self::Stage {
        crate::stage::from_fn("pass", |rows, out| {
            out.emit(rows);
            Ok(())
        })
    }

    fn cuts(&self) -> Vec<Vec<Rows<u64>>> {
        self.0.iter().map(|rows| vec![Rows(rows.clone())]).collect()
    }

    fn records(&self, item: &Rows<u64>) -> Vec<String> {
        item.0.iter().map(u64::to_string).collect()
    }
}

#[tokio::test]
async fn ways_to_cut_that_cannot_be_compared() {
    for (cuts, expected) in [
        (Cuts(vec![vec![1, 2]]), "one way to cut the records shows nothing"),
        (Cuts(vec![vec![], vec![]]), "the ways to cut hold no records"),
        (Cuts(vec![vec![1, 2], vec![1]]), "the ways to cut hold different records"),
    ] {
        let words = said(async { stage::g1_the_same_items_give_the_same_output(&cuts) }).await;
        assert!(words.contains(expected), "{words}");
    }
}

#[tokio::test]
async fn an_accounting_of_which_something_is_taken() {
    let env = test_env(1);
    let accounting = StoreRates::in_store(&Store::memory(), "rates").expect("a name");
    rates::g1_instances_stay_within_the_rates_together(&env, &accounting, &accounting).await;
    let words = said(rates::g1_instances_stay_within_the_rates_together(&env, &accounting, &accounting)).await;
    assert!(words.contains("give each test an empty accounting of its own"), "{words}");
}
