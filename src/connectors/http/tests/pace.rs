//! Budgets and limits of calls, and what waiting for them counts as.

use super::*;
use crate::checkpoint::StoreCheckpoints;
use crate::pipeline::Pipeline;
use crate::retry::rate::{Calls, Learn, Quota, Rate, RateBudget};
use crate::retry::{AdaptiveLimit, Concurrency, Policy, Priority};
use crate::sink::{MemorySink, MemoryTable};
use crate::store::Store;
use crate::testkit::{ManualClock, SeededEntropy};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn budget(quota: Quota) -> RateBudget {
    RateBudget::named("api").quota(quota).build().expect("a budget")
}

#[tokio::test]
async fn strictest_rate_wins() {
    let server = Server::start(three_pages).await;
    let rates = [Rate::new(10, 10 * MINUTE), Rate::new(3, 10 * SECOND), Rate::new(2, HOUR)];
    let budget = budget(Quota::new(rates).of(Calls::path("/r").method("GET").weight(2)));
    let rest = by_cursor(&server).budget(&budget).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!((brought.records(), brought.slept), (ids(1..=6), vec![HOUR, HOUR]));
    assert_eq!(rest.stats().waited(), 2 * HOUR);
}

#[tokio::test]
async fn sources_share_a_budget() {
    let (orders, users) = (Server::start(|_| Reply::json("[1]")).await, Server::start(|_| Reply::json("[1]")).await);
    let budget = budget(Quota::new([Rate::new(2, MINUTE)]));
    let clock = Arc::new(FastClock::default());
    for (server, waits) in [(&orders, false), (&users, false), (&orders, true), (&users, false)] {
        let rest = Rest::get(server.url("/r")).limits(patient()).budget(&budget).build().expect("a source");
        let before = clock.slept.lock().expect("not poisoned").len();
        let brought = read_at(&clock, &rest, &Partition::new("all"), None).await;
        assert!(brought.stopped().is_complete());
        assert_eq!(brought.slept.len() > before, waits);
    }
}

#[tokio::test]
async fn retries_and_redirects_take_from_the_budget_too() {
    let server = Server::start(|got| match (got.number, got.path()) {
        (0, _) => Reply::status(500, ""),
        (_, "/r") => Reply::status(302, "").header("location", "/there"),
        _ => Reply::json("[1]"),
    })
    .await;
    let rest = Rest::get(server.url("/r")).limits(patient()).budget(&budget(Quota::new([Rate::new(1, MINUTE)])));
    let brought = read(&rest.build().expect("a source"), None).await;
    assert_eq!((brought.records().len(), server.seen().len()), (1, 3));
    let slept: Duration = brought.slept.iter().sum();
    assert_eq!(slept.as_secs(), 120, "three calls: {:?}", brought.slept);
}

#[tokio::test]
async fn a_turn_that_is_too_long_in_coming_puts_the_read_off() {
    let server = Server::start(three_pages).await;
    let rest = by_cursor(&server).budget(&budget(Quota::new([Rate::new(1, HOUR)])));
    let rest = rest.retry(Policy::default().with_wait(MINUTE)).build().expect("a source");
    let brought = read(&rest, None).await;
    let until = Timestamp::from_micros(START).saturating_add(HOUR);
    assert_eq!(brought.stopped(), &StopReason::RateLimited { until: Some(until) });
    assert_eq!((brought.records(), brought.slept.len(), server.seen().len()), (ids(1..=2), 0, 1));
}

#[tokio::test]
async fn faults_far_apart_are_no_outage() {
    let server = Server::start(|_| Reply::status(500, "")).await;
    let rest = Rest::get(server.url("/r")).limits(patient()).budget(&budget(Quota::new([Rate::new(1, 10 * MINUTE)])));
    let rest = rest.build().expect("a source");
    let clock = Arc::new(FastClock::default());
    for _ in 0..5 {
        let brought = read_at(&clock, &rest, &Partition::new("all"), None).await;
        assert!(!brought.error().to_string().contains("down"), "{}", brought.error());
    }
    assert_eq!(server.seen().len(), 10, "each asks again after its turn");
}

#[tokio::test]
async fn what_a_response_says_is_left_is_kept_to() {
    let server = Server::start(|got| {
        let left = match got.number {
            0 => "0",
            _ => "5",
        };
        three_pages(got).header("x-ratelimit-remaining", left).header("x-ratelimit-reset", "30")
    })
    .await;
    let rest = by_cursor(&server).budget(&budget(Quota::learned(Learn::usual()))).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!((brought.records(), brought.slept), (ids(1..=6), vec![30 * SECOND]));
    assert_eq!(rest.stats().throttled(), 0);
}

#[tokio::test]
async fn calls_at_the_same_time_stay_within_the_limit_and_refusals_lower_it() {
    let limit = AdaptiveLimit::from(Concurrency::fixed(2));
    let (watched, most) = (limit.clone(), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&most);
    let server = Server::start(move |_| {
        seen.fetch_max(watched.under_way().into(), Ordering::SeqCst);
        Reply::json("[1]")
    })
    .await;
    let rest = Rest::get(server.url("/{n}")).limits(patient()).concurrency(limit).priority(Priority::Backfill);
    let rest = (0..20).fold(rest, |rest, n| rest.partition(format!("{n}"), [("n", n.to_string())]));
    let rest = rest.build().expect("a source");
    let partitions = list_partitions(&rest, &Env::system()).await.expect("listed");
    let reads = partitions.iter().map(|partition| read_partition(&rest, partition, None));
    assert!(futures::future::join_all(reads).await.iter().all(|brought| brought.stopped().is_complete()));
    assert_eq!(most.load(Ordering::SeqCst), 2);

    let limit = AdaptiveLimit::default();
    let server = Server::start(|got| match got.number {
        0 => Reply::status(429, "").header("retry-after", "0"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).concurrency(limit.clone()).build().expect("a source");
    assert!(read(&rest, None).await.stopped().is_complete());
    assert!(limit.limit() < 16, "{limit:?}");
}

#[tokio::test]
async fn waiting_for_a_turn_is_not_taken_for_a_slow_api() {
    let server = Server::start(three_pages).await;
    let limit = AdaptiveLimit::new(Concurrency::between(1, 4).with_initial(2));
    let rest = by_cursor(&server).budget(&budget(Quota::new([Rate::new(1, MINUTE)]))).concurrency(limit.clone());
    assert!(read(&rest.build().expect("a source"), None).await.stopped().is_complete());
    assert!(limit.limit() >= 2, "{limit:?}");
}

#[tokio::test]
async fn the_report_says_how_often_it_was_throttled_and_how_long_it_waited() {
    let server = Server::start(|got| match got.number {
        0 | 1 => Reply::status(429, "").header("retry-after", "1"),
        _ => Reply::json("[1,2]"),
    })
    .await;
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let (table, store) = (MemoryTable::<Page>::new(), Store::memory());
    let pipeline = Pipeline::named("orders")
        .source(Rest::get(server.url("/r")).limits(patient()))
        .source_is_replayable()
        .sink(MemorySink::new(&table))
        .checkpoints(StoreCheckpoints::new(&store, "checkpoints").expect("a name"))
        .env(env)
        .build()
        .expect("a pipeline");
    let report = pipeline.run().await.expect("it runs");
    let traffic = report.traffic;
    assert_eq!((traffic.requests, traffic.throttled, traffic.rate_limit_retries), (3, 2, 2));
    assert!(traffic.waited >= 2 * SECOND && traffic.waited < 3 * SECOND, "{:?}", traffic.waited);
    assert_eq!(report.ledger.read, 2);
    let text = report.to_string();
    assert!(text.contains("throttled=2 waited=2.") && text.contains("rate_limited=2"), "{text}");
}

/// A read that waits is stopped after ten seconds of it: what it has counted then.
async fn stopped_while_waiting(rest: Rest) -> Duration {
    let clock = ManualClock::new();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
    let (queue, _emissions) = mpsc::channel(100);
    let (stop, stopped) = watch::channel(false);
    let all = Partition::new("all");
    let mut out = Emitter::new(all.clone(), Arc::new(Semaphore::new(1 << 28)), 1 << 28, queue, stopped);
    let traffic = out.traffic().clone();
    let reading = rest.read(&env, &all, None, &mut out);
    let stopping = async {
        // Once it does nothing on the network any more, the only sleeper is its wait.
        let mut quiet = 0;
        while quiet < 1_000 {
            tokio::task::yield_now().await;
            quiet = if traffic.requests() == 1 && clock.sleepers() == 1 { quiet + 1 } else { 0 };
        }
        clock.advance(10 * SECOND);
        stop.send_replace(true);
    };
    let (end, ()) = futures::join!(reading, stopping);
    assert!(matches!(end, Err(error) if error.kind() == ErrorKind::Cancelled));
    assert_eq!((traffic.requests(), rest.stats().waited()), (1, traffic.waited()));
    traffic.waited()
}

#[tokio::test]
async fn a_stopped_wait_counts_only_what_was_slept() {
    let server = Server::start(|_| Reply::status(429, "").header("retry-after", "30")).await;
    assert_eq!(stopped_while_waiting(by_cursor(&server).build().expect("a source")).await, 10 * SECOND);
    let server = Server::start(three_pages).await;
    let rest = by_cursor(&server).budget(&budget(Quota::new([Rate::new(1, 30 * SECOND)])));
    assert_eq!(stopped_while_waiting(rest.build().expect("a source")).await, 10 * SECOND);
}
