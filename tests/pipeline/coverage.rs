//! What is covered, what is missing, and that the next run fills it.

use crate::support::{Script, World};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{
    Account, Coverage, Drift, LoadCounts, Page, Part, Partition, PipelineName, Position, Proof, ShardKey, Span,
    StopReason, Tally, Timestamp, Validity, Window,
};
use landfall::pipeline::RunReport;
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::testkit::{Faults, Mode, Plan, test_env};
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Which windows are read, and which of those with gaps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Windows {
    next: u64,
    gaps: BTreeSet<u64>,
}

impl Position for Windows {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

/// Partitions with windows of ten records, of which some are broken.
#[derive(Clone, Debug)]
struct Calendar {
    partitions: u64,
    windows: u64,
    /// Partition, window, and how many of ten records it gives.
    broken: Vec<(u64, u64, u64)>,
    /// Says nothing about its windows.
    silent: bool,
    requests: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Calendar {
    fn new(partitions: u64, windows: u64) -> Self {
        Self { partitions, windows, broken: Vec::new(), silent: false, requests: Arc::default() }
    }

    async fn run(&self, world: &World) -> RunReport {
        world.builder_of(self.clone()).build().expect("complete").run().await.expect("no error")
    }

    fn asked(&self) -> Vec<(u64, u64)> {
        let mut asked = std::mem::take(&mut *self.requests.lock().expect("no panic"));
        asked.sort_unstable();
        asked
    }
}

fn day(number: u64) -> Window {
    Window::new(format!("2024-01-{:02}", number + 1), format!("2024-01-{:02}", number + 2))
}

#[async_trait]
impl Source for Calendar {
    type Item = Page;
    type Position = Windows;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<Windows>) -> Result<()> {
        out.add_all((0..self.partitions).map(|p| Partition::new(format!("c{p}"))).collect()).await
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<Windows>,
        out: &mut Emitter<Page, Windows>,
    ) -> Result<StopReason> {
        let p: u64 = partition.id.0[1..].parse().expect("a number");
        let mut at = from.unwrap_or_default();
        let open: Vec<u64> = at.gaps.iter().copied().chain(at.next..self.windows).collect();
        for window in open {
            self.requests.lock().expect("no panic").push((p, window));
            let broken = self.broken.iter().find(|(bp, bw, _)| (*bp, *bw) == (p, window));
            let records = broken.map_or(10, |(.., records)| *records);
            let lines: Vec<String> = (0..records).map(|n| (p * 1_000 + window * 100 + n).to_string()).collect();
            let mut start = 0;
            let spans = lines.iter().map(|line| {
                let len = u32::try_from(line.len()).expect("short");
                start += len + 1;
                Span { start: start - len - 1, len }
            });
            let mut page = Page::new(partition.id.clone(), lines.join("\n"), records, Timestamp::from_micros(1));
            page.spans = Some(spans.collect());
            page.window = Some(day(window));
            at.next = at.next.max(window + 1);
            if records < 10 {
                at.gaps.insert(window)
            } else {
                at.gaps.remove(&window)
            };
            if self.silent {
                out.emit(page, &at).await?;
                continue;
            }
            // The page and what is said of it go with the position after both.
            let part = Part { response: window, index: 0, last: true };
            out.emit(Page { part: Some(part), ..page }, &at).await?;
            let coverage = Coverage::of(partition.id.clone(), StopReason::Exhausted(Proof::NoNextPage));
            let coverage = coverage.window(day(window)).claimed(10).tally(out.tally()).drift(Drift::NoneSeen);
            out.cover(coverage);
            out.advance(&at).await?;
        }
        match at.gaps.len() {
            0 => Ok(StopReason::Exhausted(Proof::EndOfInput)),
            gaps => Ok(StopReason::LimitReached(format!("{gaps} windows with gaps"))),
        }
    }
}

async fn covered(world: &World) -> Vec<Coverage> {
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("valid"), shard: 0 };
    let landing = Landing::in_store(&world.raw, "raw").expect("a name");
    landing.coverage(&shard, &world.env).await.expect("opens").all().await.expect("readable")
}

#[tokio::test]
async fn each_window_of_each_partition_is_asked_for_once_and_a_gap_is_filled_by_the_next_run() {
    let world = World::new(Script::new(0, 0, 0));
    let mut calendar = Calendar::new(4, 3);
    calendar.broken = vec![(1, 2, 7), (3, 0, 0)];
    let report = calendar.run(&world).await;
    let all: Vec<(u64, u64)> = (0..4).flat_map(|p| (0..3).map(move |w| (p, w))).collect();
    assert_eq!(calendar.asked(), all);
    assert!(!report.is_complete());
    assert_eq!((report.missing.total, report.missing.records, report.missing.gaps.len()), (2, 3 + 10, 2));
    let gap = &report.missing.gaps.iter().find(|gap| gap.partition.0 == "c1").expect("is named");
    assert_eq!((gap.window.clone(), gap.claimed, gap.came), (Some(day(2)), Some(10), 7));
    let text = report.to_string();
    assert!(text.contains("missing  2 partitions or windows, 13 records"), "{text}");
    assert!(text.contains("partition c1, 2024-01-03 to 2024-01-04: 7 came of 10"), "{text}");
    let json = serde_json::to_string(&report).expect("serialises");
    assert_eq!(serde_json::from_str::<RunReport>(&json).expect("parses"), report);
    let before = covered(&world).await;
    assert_eq!((before.len(), before.iter().filter(|c| c.missing().is_some()).count()), (12, 2));

    calendar.broken.clear();
    let report = calendar.run(&world).await;
    assert_eq!(calendar.asked(), [(1, 2), (3, 0)], "the gaps, and nothing else");
    assert!(report.is_complete() && report.missing.total == 0, "{report}");
    let after = covered(&world).await;
    assert!(after.len() == 12 && after.iter().all(|c| c.missing().is_none()), "{after:?}");
    let rows = world.rows();
    assert_eq!(rows.len(), 120, "what came twice is there once");
    let sum = |of: &[Coverage], p: &str| {
        let mut tally = Tally::default();
        of.iter().filter(|c| c.partition.0 == p).for_each(|c| tally.add(&c.tally));
        tally
    };
    assert_eq!(sum(&after, "c0"), sum(&before, "c0"), "what was not read again is still covered");
    assert_ne!(sum(&after, "c1").content, sum(&before, "c1").content);
}

/// The accounts of what `calendar` brings, by partition and window.
async fn accounts(world: &World, calendar: &Calendar) -> Vec<Account> {
    let pipeline = world.builder_of(calendar.clone()).build().expect("complete");
    pipeline.accounts().await.expect("opens").all().await.expect("readable")
}

#[tokio::test]
async fn each_window_says_what_became_of_its_records() {
    let mut world = World::new(Script::new(0, 0, 0));
    world.settings.shards = 2;
    let mut calendar = Calendar::new(3, 2);
    calendar.broken = vec![(1, 1, 7)];
    assert_eq!(accounts(&world, &calendar).await, []);
    calendar.run(&world).await;
    let before = accounts(&world, &calendar).await;
    assert_eq!(before.len(), 6);
    for account in &before {
        let came = if (account.partition.0.as_str(), account.window.clone()) == ("c1", Some(day(1))) { 7 } else { 10 };
        assert_eq!(account.load, LoadCounts { read: came, loaded: came, ..LoadCounts::default() }, "{account}");
        assert_eq!(account.missing().is_some(), came == 7, "{account}");
        let coverage = account.coverage.as_ref().expect("is covered");
        assert_eq!((coverage.tally.records, coverage.claimed), (came, Some(10)));
        assert!(coverage.tally.content.is_some());
    }
    // The gap is read again: what is there already is a repeat.
    calendar.broken.clear();
    calendar.run(&world).await;
    let after = accounts(&world, &calendar).await;
    assert!(after.iter().all(|account| account.missing().is_none()), "{after:?}");
    let filled = after.iter().find(|a| a.partition.0 == "c1" && a.window == Some(day(1))).expect("is there");
    let expected = LoadCounts { read: 17, loaded: 10, deduplicated: 7, ..LoadCounts::default() };
    assert_eq!(filled.load, expected);
    let text = filled.to_string();
    assert!(text.contains("partition c1, 2024-01-02 to 2024-01-03: 10 claimed, 10 came ("), "{text}");
    assert!(text.contains("17 read = 10 loaded + 7 repeated + 0 filtered + 0 quarantined"), "{text}");
}

#[tokio::test]
async fn the_accounts_of_partitions_add_up_to_the_ledger_and_a_response_that_broke_off_is_superseded() {
    let mut script = Script::new(3, 4, 9);
    script.parts = vec!["p1".to_owned()];
    script.broken.store(1, std::sync::atomic::Ordering::SeqCst);
    let world = World::new(script);
    let pipeline = world.pipeline();
    let first = pipeline.run().await.expect_err("it breaks off");
    let second = pipeline.run().await.expect("the rest");
    let reported = second.partitions.iter().find(|p| p.partition.0 == "p1").expect("is named");
    assert_eq!(reported.load.map(|load| load.read), Some(36), "{second}");
    assert!(second.to_string().contains("partition p1: 36 records in 4 pages; exhausted: whole response; 36 read = "));
    let mut ledger = first.report().ledger.clone();
    ledger.add(&second.ledger);
    let all = pipeline.accounts().await.expect("opens").all().await.expect("readable");
    let mut sum = LoadCounts::default();
    for account in &all {
        assert_eq!((account.load.read, account.missing()), (36, None), "{account}");
        assert!(account.load.quarantined > 0 && account.load.loaded > 0 && account.window.is_none());
        assert_eq!(account.load.superseded > 0, account.partition.0 == "p1", "{account}");
        sum.add(&account.load);
    }
    assert!(sum.deduplicated > 0 && sum.agree_with(&ledger), "{sum}, {ledger:?}");
}

#[tokio::test]
async fn a_stage_that_loses_a_record_of_one_page_and_invents_one_of_another_is_stopped() {
    let world = World::new(Script::new(2, 1, 5));
    let cheat = landfall::stage::from_fn(
        "cheat",
        |rows: landfall::model::Rows<u64>, out: &mut landfall::stage::Output<landfall::model::Rows<u64>>| {
            let mut rows = rows.0;
            // Of all pages together, as many go in as come out.
            if rows.iter().all(|n| *n < 1_000_000) {
                rows.pop()
            } else {
                Some(rows[0]).inspect(|n| rows.push(*n))
            };
            out.emit(landfall::model::Rows(rows));
            Ok(())
        },
    );
    let pipeline = landfall::pipeline::Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name"))
        .stage(crate::support::parse())
        .stage(cheat)
        .sink(landfall::sink::MemorySink::new(&world.table))
        .checkpoints(landfall::checkpoint::StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .env(world.env.clone());
    let failure = pipeline.build().expect("complete").run().await.expect_err("noticed");
    assert_eq!(failure.error().kind(), landfall::ErrorKind::Bug, "{failure}");
}

#[tokio::test]
async fn a_source_that_says_nothing_is_covered_by_its_ends_with_the_hash_of_its_records() {
    let world = World::new(Script::new(0, 0, 0));
    let mut spoken = Calendar::new(2, 3);
    spoken.run(&world).await;
    let windows = covered(&world).await;
    let silent_world = World::new(Script::new(0, 0, 0));
    spoken.silent = true;
    let report = spoken.run(&silent_world).await;
    assert!(report.is_complete());
    let ends = covered(&silent_world).await;
    assert_eq!(ends.len(), 2);
    for end in &ends {
        let mut tally = Tally::default();
        windows.iter().filter(|c| c.partition == end.partition).for_each(|c| tally.add(&c.tally));
        assert_eq!((end.window.clone(), end.tally), (None, tally), "the same records, however they were cut");
        assert_eq!(end.tally.records, 30);
        assert!(end.tally.content.is_some());
    }
}

#[tokio::test]
async fn a_partition_that_fails_is_missing_until_a_run_reads_it() {
    struct Failing(Calendar);

    #[async_trait]
    impl Source for Failing {
        type Item = Page;
        type Position = Windows;
        fn config(&self) -> Result<ComponentConfig> {
            self.0.config()
        }
        async fn partitions(&self, env: &Env, out: &mut Listing<Windows>) -> Result<()> {
            self.0.partitions(env, out).await
        }
        async fn read(
            &self,
            env: &Env,
            partition: &Partition,
            from: Option<Windows>,
            out: &mut Emitter<Page, Windows>,
        ) -> Result<StopReason> {
            self.0.read(env, partition, from, out).await?;
            Err(Error::data("read", "nonsense at the end"))
        }
    }

    let world = World::new(Script::new(0, 0, 0));
    let mut calendar = Calendar::new(2, 1);
    calendar.silent = true;
    let failing = world.builder_of(Failing(calendar.clone())).build().expect("complete");
    let failure = failing.run().await.expect_err("both fail");
    assert_eq!(failure.report().missing.total, 2);
    assert!(covered(&world).await.iter().all(|c| matches!(c.reason, StopReason::Failed(_))));
    assert!(calendar.run(&world).await.is_complete());
    assert!(covered(&world).await.iter().all(|c| c.missing().is_none()));
}

/// A process may die between the last page of a partition and the end of its read, and the next one before it has said anything.
#[tokio::test]
async fn two_crashes_leave_no_partition_without_coverage() {
    let run = async |world: &mut World, plans: Option<Plan>, seed: u64| {
        let faults = Faults::of(plans);
        (world.raw, world.env) = (faults.store(&world.store), test_env(seed));
        // So that a page and the end of its read are not landed together.
        world.segment_bytes = 1;
        let ended = world.builder().build().expect("complete").run().await;
        (faults.count(), ended.is_ok())
    };
    let script = || Script::new(1, 1, 2);
    let (points, _) = run(&mut World::new(script()), None, 1).await;
    for first in 0..points {
        for second in 0..points {
            let mut world = World::new(script());
            let plan = |at, mode| Some(Plan { at, mode });
            run(&mut world, plan(first, Mode::AfterLostResponse), 1).await;
            run(&mut world, plan(second, Mode::Before), 2).await;
            assert!(run(&mut world, None, 3).await.1, "{first}, then {second}: the last run fails");
            let pipeline = world.builder().build().expect("complete");
            let accounts = pipeline.accounts().await.expect("readable").all().await.expect("readable");
            let missing: Vec<_> = accounts.iter().filter(|account| account.missing().is_some()).collect();
            assert!(accounts.len() == 1 && missing.is_empty(), "{first}, then {second}: {missing:?}");
        }
    }
}
