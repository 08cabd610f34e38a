//! How partitions come and go: listed one by one, listed twice, behind fences, parked.

use crate::odd::{Odd, Oddity, Refusing};
use crate::support::{PageNumber, Script, World};
use landfall::ErrorKind;
use landfall::env::Env;
use landfall::env::watch;
use landfall::model::{Page, Partition, PartitionId, Proof, StopReason, Timestamp};
use landfall::pipeline::{Event, Pipeline};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::store::Store;
use landfall::{Error, Result, async_trait};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the listing of a [`Tree`] does, step by step.
#[derive(Clone, Debug)]
enum Step {
    Child(&'static str),
    /// The parent stands after this step, once everything before it is proven.
    Fence,
    Fail,
}

use Step::{Child, Fail, Fence};

/// How a read ends.
#[derive(Clone, Debug)]
enum Fate {
    Fails,
    /// Waits until it is let go.
    Waits(watch::Receiver<bool>),
    /// The first reads are rate limited for so long.
    Limited {
        times: usize,
        wait: Option<Duration>,
    },
}

/// A parent and its children: each child has one record, the parent's position is the number of the step.
#[derive(Clone, Debug, Default)]
struct Tree {
    steps: Vec<Step>,
    fates: BTreeMap<&'static str, Fate>,
    /// Where the parent stood at each listing.
    began: Arc<Mutex<Vec<usize>>>,
    /// Children in the order of their reads.
    reads: Arc<Mutex<Vec<String>>>,
}

impl Tree {
    fn new(steps: &[Step]) -> Self {
        Self { steps: steps.to_vec(), ..Self::default() }
    }

    fn pipeline(&self, world: &World) -> Pipeline {
        world.builder_of(self.clone()).build().expect("complete")
    }

    fn began(&self) -> Vec<usize> {
        self.began.lock().expect("no panic").clone()
    }

    fn reads(&self) -> Vec<String> {
        self.reads.lock().expect("no panic").clone()
    }
}

fn parent() -> PartitionId {
    PartitionId("parent".into())
}

fn record(child: &str) -> u64 {
    child.bytes().fold(7, |n, byte| n * 31 + u64::from(byte))
}

#[async_trait]
impl Source for Tree {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        let from = out.position(&parent()).await?.map_or(0, |p| p.0);
        self.began.lock().expect("no panic").push(from);
        for (number, step) in self.steps.iter().enumerate().skip(from) {
            match step {
                Child(id) => out.add(Partition::new(*id)).await?,
                Fence => out.advance(&parent(), &PageNumber(number + 1)).await?,
                Fail => return Err(Error::data("list parents", "the API answers nonsense")),
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        let id = partition.id.0.as_str();
        let before = {
            let mut reads = self.reads.lock().expect("no panic");
            reads.push(id.to_owned());
            reads.iter().filter(|read| *read == id).count() - 1
        };
        if from.is_none() {
            let page = Page::new(partition.id.clone(), record(id).to_string(), 1, env.now());
            out.emit(page, &PageNumber(1)).await?;
        }
        match self.fates.get(id).cloned() {
            Some(Fate::Fails) => Err(Error::data("read child", "the API answers nonsense")),
            Some(Fate::Waits(mut go)) => {
                tokio::select! {
                    _gone = go.wait_for(|go| *go) => {}
                    () = out.cancelled() => return Ok(StopReason::Cancelled),
                }
                Ok(StopReason::Exhausted(Proof::EndOfInput))
            }
            Some(Fate::Limited { times, wait }) if before < times => {
                // Memory for the page that does not come: it must be free again while the partition is parked.
                out.reserve(1 << 19).await?;
                Ok(StopReason::RateLimited { until: wait.map(|wait| env.now().saturating_add(wait)) })
            }
            _ => Ok(StopReason::Exhausted(Proof::EndOfInput)),
        }
    }
}

fn world(shards: u32) -> World {
    let mut world = World::new(Script::new(0, 0, 0));
    world.settings.shards = shards;
    world
}

fn rows(world: &World, children: &[&str]) {
    let mut expected: Vec<u64> = children.iter().map(|child| record(child)).collect();
    expected.sort_unstable();
    assert_eq!(world.rows(), expected);
}

const FAMILY: [Step; 6] = [Child("a1"), Child("a2"), Fence, Child("b1"), Child("b2"), Fence];

#[tokio::test]
async fn a_parent_moves_only_when_all_its_children_have_ended_with_proof() {
    for shards in [1, 3] {
        let world = world(shards);
        let mut tree = Tree::new(&FAMILY);
        tree.fates.insert("a2", Fate::Fails);
        tree.pipeline(&world).run().await.expect_err("a child fails");
        tree.fates = BTreeMap::from([("b1", Fate::Fails)]);
        tree.pipeline(&world).run().await.expect_err("a child fails");
        tree.fates.clear();
        for _ in 0..2 {
            assert!(tree.pipeline(&world).run().await.expect("all end").is_complete());
        }
        // Nothing moved while the first page was open; then the first page; then all.
        assert_eq!(tree.began(), [0, 0, 3, 6], "{shards} shards");
        rows(&world, &["a1", "a2", "b1", "b2"]);
    }
}

#[tokio::test]
async fn a_crash_while_a_child_is_under_way_leaves_the_old_state() {
    for shards in [1, 3] {
        let world = world(shards);
        let (_go, waits) = watch::channel(false);
        let mut tree = Tree::new(&FAMILY);
        tree.fates.insert("a1", Fate::Waits(waits));
        let handle = tree.pipeline(&world).start();
        let mut events = handle.events();
        let mut ended = HashSet::new();
        while ended.len() < 3 {
            if let Event::PartitionEnded { partition, .. } = events.recv().await.expect("it goes on") {
                ended.insert(partition.partition.0);
            }
        }
        // The others are durable too.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        handle.abort();
        handle.wait().await.expect_err("aborted");
        tree.fates.clear();
        for _ in 0..2 {
            tree.pipeline(&world).run().await.expect("recovers");
        }
        assert_eq!(tree.began(), [0, 0, 6], "{shards} shards");
        rows(&world, &["a1", "a2", "b1", "b2"]);
    }
}

#[tokio::test]
async fn a_stop_keeps_what_was_proven_before_it() {
    let world = world(1);
    let (_go, waits) = watch::channel(false);
    let mut tree = Tree::new(&FAMILY);
    tree.fates.insert("b1", Fate::Waits(waits));
    let handle = tree.pipeline(&world).start();
    let mut events = handle.events();
    let mut ended = 0;
    while ended < 3 {
        ended += u64::from(matches!(events.recv().await.expect("it goes on"), Event::PartitionEnded { .. }));
    }
    handle.drain();
    assert!(handle.wait().await.expect("no error").stopped);
    tree.fates.clear();
    tree.pipeline(&world).run().await.expect("goes on");
    assert_eq!(tree.began(), [0, 3]);
    rows(&world, &["a1", "a2", "b1", "b2"]);
}

#[tokio::test]
async fn a_partition_that_is_listed_twice_is_read_once() {
    let world = world(1);
    let (go, waits) = watch::channel(false);
    let mut tree = Tree::new(&[Child("slow"), Child("slow"), Child("a"), Child("b"), Child("a"), Fence]);
    tree.fates.insert("slow", Fate::Waits(waits));
    let handle = tree.pipeline(&world).start();
    let mut events = handle.events();
    let mut ended = 0;
    while ended < 2 {
        ended += u64::from(matches!(events.recv().await.expect("it goes on"), Event::PartitionEnded { .. }));
    }
    go.send_replace(true);
    let report = handle.wait().await.expect("no error");
    assert_eq!((report.totals.ended, report.totals.repeated), (3, 2));
    assert!(report.is_complete(), "{report}");
    assert_eq!(tree.reads().len(), 3);
    rows(&world, &["slow", "a", "b"]);
    tree.pipeline(&world).run().await.expect("no error");
    assert_eq!(tree.began(), [0, 6], "the fence waits for the first of them, not for ever");
}

#[tokio::test]
async fn a_listing_that_fails_ends_itself_and_not_the_reads() {
    for shards in [1, 3] {
        let world = world(shards);
        let mut tree = Tree::new(&[Child("a"), Child("b"), Fence, Child("c"), Fail, Child("d"), Fence]);
        let failure = tree.pipeline(&world).run().await.expect_err("not all is listed");
        assert_eq!(failure.error().kind(), ErrorKind::Data);
        let report = failure.report();
        assert!(!report.is_complete() && report.unlisted.is_some(), "{report}");
        assert!(report.to_string().contains("not whole"), "{report}");
        assert_eq!((report.totals.ended, report.totals.complete), (3, 3));
        rows(&world, &["a", "b", "c"]);
        tree.steps[4] = Child("e");
        tree.pipeline(&world).run().await.expect("goes on");
        assert_eq!(tree.began(), [0, 3]);
        rows(&world, &["a", "b", "c", "d", "e"]);
    }
}

#[tokio::test]
async fn a_listing_that_hangs_is_given_up_by_a_stop() {
    let world = world(1);
    let odd = Odd(world.script.clone(), Oddity::HangsAtStart);
    let handle = world.builder_of(odd).build().expect("complete").start();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    handle.drain();
    let report = handle.wait().await.expect("it is no error to stop");
    assert!(report.stopped && !report.is_complete());
}

/// A rate limit of one partition costs the others nothing: there is one reader.
#[tokio::test]
async fn a_rate_limited_partition_is_parked_and_read_on_in_the_same_run() {
    let mut world = world(1);
    world.settings.parallel_partitions = 1;
    world.settings.memory_bytes = 1 << 20;
    let mut tree = Tree::new(&[Child("busy"), Child("b2"), Child("b3"), Child("a"), Child("b"), Fence]);
    let wait = Some(Duration::from_secs(300));
    tree.fates.insert("busy", Fate::Limited { times: 2, wait });
    // Together they would hold more than there is.
    tree.fates.insert("b2", Fate::Limited { times: 1, wait });
    tree.fates.insert("b3", Fate::Limited { times: 1, wait });
    let report = tree.pipeline(&world).run().await.expect("no error");
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.totals.ended, report.totals.parked), (5, 4));
    assert!(report.ended_at.saturating_since(report.started_at) >= Duration::from_secs(600));
    assert_eq!(tree.reads(), ["busy", "b2", "b3", "a", "b", "busy", "b2", "b3", "busy"]);
    rows(&world, &["busy", "b2", "b3", "a", "b"]);
    tree.pipeline(&world).run().await.expect("no error");
    assert_eq!(tree.began(), [0, 6], "parking is no end");
}

#[tokio::test]
async fn what_would_be_parked_for_too_long_is_put_off() {
    for (times, wait, reads) in [
        (1, Some(Duration::from_secs(3_600)), 1),
        (1, None, 1),
        // 400 s and 400 s of 900 s; then there is no more.
        (9, Some(Duration::from_secs(400)), 3),
        // An API that says "now" all the time: a second each.
        (9_999, Some(Duration::ZERO), 901),
    ] {
        let world = world(1);
        let mut tree = Tree::new(&[Child("busy"), Child("a"), Fence]);
        tree.fates.insert("busy", Fate::Limited { times, wait });
        let report = tree.pipeline(&world).run().await.expect("to be put off is no error");
        assert!(!report.is_complete());
        assert_eq!(report.totals.reasons, BTreeMap::from([("exhausted".into(), 1), ("rate limited".into(), 1)]));
        assert_eq!(tree.reads().iter().filter(|read| *read == "busy").count(), reads, "{wait:?}");
        let named = &report.partitions[0];
        assert!(named.partition.0 == "busy" && named.records == 1, "those without proof first: {named:?}");
        tree.fates.clear();
        tree.pipeline(&world).run().await.expect("goes on");
        assert_eq!(tree.began(), [0, 0], "the fence has not passed");
        rows(&world, &["busy", "a"]);
    }
}

#[tokio::test]
async fn a_stop_ends_parking_at_once() {
    let world = world(1);
    let mut tree = Tree::new(&[Child("busy"), Child("a")]);
    tree.fates.insert("busy", Fate::Limited { times: 1, wait: Some(Duration::from_secs(600)) });
    let handle = tree.pipeline(&world).start();
    let mut events = handle.events();
    let began = world.env.now();
    while !matches!(events.recv().await.expect("it goes on"), Event::PartitionParked { .. }) {}
    handle.drain();
    let report = handle.wait().await.expect("it is no error to stop");
    assert!(report.stopped);
    assert!(report.ended_at.saturating_since(began) < Duration::from_secs(600), "{report}");
    assert!(report.partitions.iter().any(|p| matches!(p.reason, StopReason::RateLimited { until: Some(_) })));
}

/// Lists so many partitions of one record each, without holding them.
#[derive(Clone, Debug)]
struct Many {
    partitions: usize,
    records: usize,
}

#[async_trait]
impl Source for Many {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        for number in 0..self.partitions {
            out.add(Partition::new(format!("p{number}"))).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        let number: usize = partition.id.0[1..].parse().expect("a number");
        for record in from.map_or(0, |p| p.0)..self.records {
            let body = (number * 10 + record).to_string();
            let page = Page::new(partition.id.clone(), body, 1, Timestamp::from_micros(1));
            out.emit(page, &PageNumber(record + 1)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[tokio::test]
async fn ten_thousand_partitions_keep_their_own_state_and_a_later_one_gets_its_history() {
    let mut world = world(2);
    (world.settings.epoch_records, world.segment_bytes) = (5_000, 1 << 20);
    let mut many = Many { partitions: 10_001, records: 2 };
    let run =
        async |many: &Many| world.builder_of(many.clone()).build().expect("complete").run().await.expect("no error");
    let report = run(&many).await;
    assert_eq!((report.totals.complete, report.ledger.read), (10_001, 20_002));
    assert_eq!(report.partitions.len(), 1_000, "the report does not grow");
    assert!(report.to_string().contains("and 9981 more partitions, 9981 of them complete"), "{report}");
    assert_eq!(run(&many).await.ledger.read, 0, "nothing is asked for again");
    many.partitions += 1;
    assert_eq!(run(&many).await.ledger.read, 2, "the new one from its beginning, and it alone");
    many.records += 1;
    assert_eq!(run(&many).await.ledger.read, 10_002);
}

/// A listing that waits for its API must not keep a run alive that has nowhere to land.
#[tokio::test]
async fn a_landing_that_fails_ends_the_listing() {
    let mut world = world(1);
    // The fence is landed, and nothing after it.
    let (below, spare) = ("raw/numbers/segments".to_owned(), 1.into());
    world.raw = Store::new(Refusing { inner: world.store.clone(), below, spare, panics: false });
    let listing = Odd(Tree::new(&[Child("a")]), Oddity::HangsAfterListing);
    let failure = world.builder_of(listing).build().expect("complete").run().await.expect_err("nowhere to land");
    assert_eq!(failure.error().kind(), ErrorKind::Auth, "{failure:?}");
    assert!(failure.others().is_empty(), "{failure:?}");
}

/// What one shard has begun, the others wait for.
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "who waits for ever does so in real time")]
async fn a_panic_in_what_lands_one_shard_ends_the_run() {
    let mut bugs = 0;
    for shard in 0..3 {
        let mut world = world(3);
        // The fence is landed, and nothing after it.
        let (below, spare) = (format!("raw/numbers/segments/{shard:04}"), 1.into());
        world.raw = Store::new(Refusing { inner: world.store.clone(), below, spare, panics: true });
        let pipeline = Tree::new(&FAMILY).pipeline(&world);
        let ended = tokio::time::timeout(Duration::from_secs(60), pipeline.run()).await.expect("nobody waits for ever");
        bugs += u64::from(ended.is_err_and(|failure| failure.error().kind() == ErrorKind::Bug));
    }
    assert!(bugs > 0, "each child is in a shard");
}
