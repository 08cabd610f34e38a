use super::*;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::Priority::{self, Backfill, Incremental};
use crate::store::{MemoryStore, Store};
use crate::testkit::{Faults, ManualClock, Mode, Plan, SeededEntropy, test_env};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const NO_END: Duration = Duration::from_secs(1_000_000);

fn owned(clock: &ManualClock) -> Env {
    Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)))
}

fn get(path: &str) -> Call<'_> {
    Call::new("GET", path)
}

fn budget(rates: impl IntoIterator<Item = Rate>) -> RateBudget {
    RateBudget::named("api").quota(Quota::new(rates)).build().expect("a budget")
}

/// Takes without waiting.
fn at_once(budget: &RateBudget, env: &Env, path: &str) -> Option<Ticket> {
    match budget.acquire(env, &get(path), Incremental, Duration::ZERO).now_or_never()?.expect("no store") {
        Turn::Now(ticket) => Some(ticket),
        Turn::PutOff { .. } => None,
    }
}

/// The wait that would be due.
fn due(budget: &RateBudget, env: &Env, path: &str) -> Duration {
    let asked = budget.acquire(env, &get(path), Incremental, Duration::ZERO).now_or_never();
    match asked.expect("it never waits").expect("no store") {
        Turn::Now(_) => Duration::ZERO,
        Turn::PutOff { wait } => wait,
    }
}

#[tokio::test]
async fn strictest_rate_wins() {
    let env = owned(&ManualClock::new());
    let rates = [Rate::new(10, 10 * MINUTE), Rate::new(3, 10 * SECOND), Rate::new(2, HOUR)];
    let budget = RateBudget::named("api")
        .quota(Quota::new(rates).of(Calls::path("/light")).of(Calls::path("/heavy").weight(2)))
        .build()
        .expect("a budget");
    assert!(at_once(&budget, &env, "/heavy").is_some());
    assert_eq!(due(&budget, &env, "/light"), HOUR);
    // And it waits that long, if it may.
    let env = test_env(1);
    let hour = self::budget([Rate::new(1, HOUR)]);
    for _ in 0..2 {
        let turn = hour.acquire(&env, &get("/"), Incremental, NO_END).await.expect("no store");
        assert!(matches!(turn, Turn::Now(_)));
    }
    assert_eq!(env.monotonic(), HOUR);
}

#[test]
fn a_weight_above_a_limit_does_not_build() {
    let rates = [Rate::new(10, MINUTE), Rate::new(3, SECOND)];
    let built = |quota: Quota| RateBudget::named("api").quota(quota).build().map(|_| ());
    let error = built(Quota::new(rates).of(Calls::all().weight(4))).expect_err("4 of 3");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("weight=`4`"), "{error}");
    assert!(built(Quota::new(rates).of(Calls::all().weight(3))).is_ok());
    for quota in [
        Quota::new([]),
        Quota::new([Rate::new(0, SECOND)]),
        Quota::new([Rate::new(1, Duration::ZERO)]),
        Quota::new(rates).of(Calls::all().weight(0)),
    ] {
        assert_eq!(built(quota).expect_err("nothing").kind(), ErrorKind::Config);
    }
}

#[test]
fn two_endpoints_share_a_budget_with_different_weights() {
    let env = owned(&ManualClock::new());
    let shared = Quota::new([Rate::new(20, MINUTE)]).of(Calls::path("/dear").weight(10)).of(Calls::path("/cheap"));
    let budget = RateBudget::named("api").quota(shared).build().expect("a budget");
    assert!(at_once(&budget, &env, "/dear").is_some());
    for _ in 0..10 {
        assert!(at_once(&budget, &env, "/cheap").is_some());
    }
    assert!(at_once(&budget, &env, "/cheap").is_none() && at_once(&budget, &env, "/dear").is_none());
    assert!(at_once(&budget, &env, "/other").is_some(), "it is not counted");
}

#[test]
fn a_call_takes_from_all_quotas_that_count_it_or_from_none() {
    let env = owned(&ManualClock::new());
    let budget = RateBudget::named("api")
        .quota(Quota::new([Rate::new(3, MINUTE)]))
        .quota(Quota::new([Rate::new(1, HOUR)]).of(Calls::path("/search")))
        .build()
        .expect("a budget");
    assert!(at_once(&budget, &env, "/search").is_some());
    assert_eq!(due(&budget, &env, "/search"), HOUR);
    // What had to wait took nothing.
    assert!(at_once(&budget, &env, "/a").is_some() && at_once(&budget, &env, "/a").is_some());
    assert_eq!(due(&budget, &env, "/a"), MINUTE);
}

/// Who got a turn, in order.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Order {
    fn waiting<'a>(
        &self,
        budget: &'a RateBudget,
        env: &'a Env,
        name: &'static str,
        path: &'static str,
        priority: Priority,
    ) -> BoxFuture<'a, ()> {
        let order = Arc::clone(&self.0);
        let mut waiting = async move {
            let turn = budget.acquire(env, &get(path), priority, NO_END).await.expect("no store");
            assert!(matches!(turn, Turn::Now(_)));
            order.lock().expect("not poisoned").push(name);
        }
        .boxed();
        assert!((&mut waiting).now_or_never().is_none(), "{name} waits");
        waiting
    }

    fn seen(&self) -> Vec<&'static str> {
        self.0.lock().expect("not poisoned").clone()
    }
}

#[tokio::test]
async fn first_come_first_served_and_incremental_work_before_backfill() {
    let clock = ManualClock::new();
    let (env, budget, order) = (owned(&clock), budget([Rate::new(1, SECOND)]), Order::default());
    assert!(at_once(&budget, &env, "/").is_some());
    let waiting = vec![
        order.waiting(&budget, &env, "old 1", "/", Backfill),
        order.waiting(&budget, &env, "old 2", "/", Backfill),
        order.waiting(&budget, &env, "new 1", "/", Incremental),
        order.waiting(&budget, &env, "new 2", "/", Incremental),
    ];
    let mut all = futures::future::join_all(waiting.into_iter().rev()).boxed();
    for n in 1..=4 {
        clock.advance(SECOND);
        let done = (&mut all).now_or_never().is_some();
        assert_eq!((order.seen().len(), done), (n, n == 4));
    }
    assert_eq!(order.seen(), ["new 1", "new 2", "old 1", "old 2"]);
}

#[tokio::test]
async fn a_heavy_call_is_not_overtaken_and_holds_up_only_who_is_counted_with_it() {
    let clock = ManualClock::new();
    let (env, order) = (owned(&clock), Order::default());
    let calls = Quota::new([Rate::new(3, MINUTE)]).of(Calls::path("/heavy").weight(3)).of(Calls::path("/light"));
    let budget = RateBudget::named("api")
        .quota(calls)
        .quota(Quota::new([Rate::new(1, MINUTE)]).of(Calls::path("/other")))
        .build()
        .expect("a budget");
    assert!(at_once(&budget, &env, "/light").is_some());
    let mut heavy = order.waiting(&budget, &env, "heavy", "/heavy", Incremental);
    let mut light = order.waiting(&budget, &env, "light", "/light", Incremental);
    assert!(at_once(&budget, &env, "/light").is_none(), "there would be room, but not in turn");
    assert!(at_once(&budget, &env, "/other").is_some());
    clock.advance(MINUTE);
    assert!((&mut light).now_or_never().is_none());
    assert!((&mut heavy).now_or_never().is_some());
    clock.advance(MINUTE);
    assert!((&mut light).now_or_never().is_some());
}

#[tokio::test]
async fn a_wait_that_is_dropped_takes_nothing_and_lets_the_next_move_up() {
    let clock = ManualClock::new();
    let (env, budget, order) = (owned(&clock), budget([Rate::new(1, SECOND)]), Order::default());
    assert!(at_once(&budget, &env, "/").is_some());
    let gone = order.waiting(&budget, &env, "gone", "/", Incremental);
    let mut next = order.waiting(&budget, &env, "next", "/", Incremental);
    drop(gone);
    assert!((&mut next).now_or_never().is_none(), "it sleeps now");
    clock.advance(SECOND);
    assert!((&mut next).now_or_never().is_some());
    clock.advance(SECOND);
    assert!(at_once(&budget, &env, "/").is_some());
}

#[tokio::test]
async fn nobody_waits_longer_than_it_said_and_is_told_when_there_is_room() {
    let clock = ManualClock::new();
    let (env, budget) = (owned(&clock), budget([Rate::new(1, MINUTE)]));
    assert!(at_once(&budget, &env, "/").is_some());
    let call = get("/");
    let mut first = budget.acquire(&env, &call, Incremental, 2 * MINUTE).boxed();
    assert!((&mut first).now_or_never().is_none());
    // Behind the first there is room only a minute later.
    let second = budget.acquire(&env, &call, Incremental, 119 * SECOND).now_or_never().expect("at once");
    assert!(matches!(second, Ok(Turn::PutOff { wait }) if wait == 2 * MINUTE));
    clock.advance(MINUTE);
    assert!(matches!((&mut first).now_or_never(), Some(Ok(Turn::Now(_)))));
}

#[tokio::test]
async fn patience_ends_when_others_come_first() {
    let clock = ManualClock::new();
    let (env, budget) = (owned(&clock), budget([Rate::new(1, MINUTE)]));
    assert!(at_once(&budget, &env, "/").is_some());
    let call = get("/");
    let mut backfill = budget.acquire(&env, &call, Backfill, 2 * MINUTE).boxed();
    assert!((&mut backfill).now_or_never().is_none());
    let fresh = (0..5).map(|_| budget.acquire(&env, &call, Incremental, NO_END).boxed());
    let mut fresh = futures::future::join_all(fresh).boxed();
    assert!((&mut fresh).now_or_never().is_none());
    clock.advance(MINUTE);
    assert!((&mut fresh).now_or_never().is_none());
    // Four are still before it: it need not wait to know.
    let put_off = (&mut backfill).now_or_never();
    assert!(matches!(put_off, Some(Ok(Turn::PutOff { wait })) if wait == 5 * MINUTE));
}

/// Headers of a response.
fn left(remaining: u64, reset_seconds: u64) -> impl Fn(&str) -> Option<String> {
    move |name| match name {
        "x-ratelimit-remaining" => Some(remaining.to_string()),
        "x-ratelimit-reset" => Some(reset_seconds.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn headers_lower_the_budget_and_never_raise_it_in_a_window() {
    let clock = ManualClock::new();
    let env = owned(&clock);
    let quota = Quota::new([Rate::new(100, HOUR)]).learn(Learn::usual());
    let budget = RateBudget::named("api").quota(quota).build().expect("a budget");
    let take = || at_once(&budget, &env, "/");
    // Others use the key too: of 100 there are 2.
    take().expect("room").observe(&env, left(2, 60));
    let late = take().expect("room");
    take().expect("room").observe(&env, left(0, 60));
    // Overtaken on its way, it says that 50 are left.
    late.observe(&env, left(50, 60));
    assert_eq!(due(&budget, &env, "/"), MINUTE);
    clock.advance(MINUTE);
    assert!(take().is_some(), "a new window");
}

#[tokio::test]
async fn a_late_response_of_an_old_window_is_ignored() {
    let clock = ManualClock::new();
    let env = owned(&clock);
    let budget = RateBudget::named("api").quota(Quota::learned(Learn::usual())).build().expect("a budget");
    let take = || at_once(&budget, &env, "/").expect("room");
    take().observe(&env, left(5, 10));
    let late = take();
    clock.advance(11 * SECOND);
    take().observe(&env, left(5, 10));
    late.observe(&env, left(0, 1));
    assert_eq!(due(&budget, &env, "/"), Duration::ZERO);
}

#[tokio::test]
async fn what_is_told_makes_waiting_calls_wait_longer_or_put_off() {
    let env = test_env(1);
    let budget = RateBudget::named("api").quota(Quota::learned(Learn::usual())).build().expect("a budget");
    let first = budget.acquire(&env, &get("/"), Incremental, MINUTE).await.expect("no store");
    let Turn::Now(ticket) = first else { panic!("nothing is known yet") };
    ticket.observe(&env, left(0, 3_600));
    let second = budget.acquire(&env, &get("/"), Incremental, MINUTE).await.expect("no store");
    assert!(matches!(second, Turn::PutOff { wait } if wait == HOUR));
    assert_eq!(env.monotonic(), Duration::ZERO, "nothing was slept");
    let third = budget.acquire(&env, &get("/"), Incremental, HOUR).await.expect("no store");
    assert!(matches!(third, Turn::Now(_)));
    assert_eq!(env.monotonic(), HOUR);
}

#[tokio::test]
async fn two_instances_stay_within_the_shared_budget_together() {
    let env = test_env(1);
    let store = Store::new(MemoryStore::new(&env));
    let instance = || {
        let rates = [Rate::new(5, 10 * SECOND), Rate::new(12, MINUTE)];
        let shared = StoreRates::in_store(&store, "rates").expect("a name");
        RateBudget::named("api key 1").quota(Quota::new(rates)).shared(shared).build().expect("a budget")
    };
    let made = Arc::new(Mutex::new(Vec::new()));
    let worker = |budget: RateBudget| {
        let (env, made) = (env.clone(), Arc::clone(&made));
        async move {
            for _ in 0..20 {
                let turn = budget.acquire(&env, &get("/"), Incremental, NO_END).await.expect("reached");
                assert!(matches!(turn, Turn::Now(_)));
                made.lock().expect("not poisoned").push(env.monotonic());
            }
        }
    };
    futures::join!(worker(instance()), worker(instance()));
    let made = made.lock().expect("not poisoned").clone();
    assert_eq!(made.len(), 40);
    for at in &made {
        let within = |length: Duration| made.iter().filter(|other| *other >= at && **other < *at + length).count();
        assert!(within(10 * SECOND) <= 5 && within(MINUTE) <= 12, "{made:?}");
    }
    // 40 calls at 12 per minute: the fourth minute is begun, and hardly more than what was needed was waited.
    let last = made.last().copied().expect("made");
    assert!(last >= 3 * MINUTE && last < 4 * MINUTE, "{last:?}");
}

mod conformance {
    use super::*;

    crate::rates_conformance!(|env: &Env| {
        let store = Faults::waiting().store(&Store::new(MemoryStore::new(env)));
        let instance = || StoreRates::in_store(&store, "rates").expect("a name");
        (instance(), instance())
    });
}

#[tokio::test]
async fn a_lost_answer_of_the_store_never_makes_room() {
    for at in 0..12 {
        for mode in [Mode::LostResponse, Mode::Fail] {
            let env = test_env(at);
            let disk = Store::new(MemoryStore::new(&env));
            let faults = Faults::of([Plan { at, mode }]);
            let instance = |store: &Store| StoreRates::in_store(store, "rates").expect("a name");
            let rates = [Rate::new(3, HOUR)];
            let (faulty, other) = (instance(&faults.store(&disk)), instance(&disk));
            let mut taken = 0;
            for _ in 0..5 {
                for accounting in [&faulty, &other] {
                    match accounting.take(&env, "a", &rates, 1).await {
                        Ok(Grant::Taken) => taken += 1,
                        Ok(Grant::Wait(_)) => {}
                        Err(error) => assert!(error.is_transient() || error.kind() == ErrorKind::Ambiguous, "{error}"),
                    }
                }
            }
            assert!(taken <= 3, "{taken} of 3, fault {mode:?} at {at}");
            assert!(taken >= 2, "one fault costs one call at most: {taken}, fault {mode:?} at {at}");
        }
    }
}

/// A shared accounting that cannot be reached.
#[derive(Debug)]
struct Down;

#[async_trait]
impl SharedRates for Down {
    async fn take(&self, _: &Env, _: &str, _: &[Rate], _: u32) -> Result<Grant> {
        Err(Error::unavailable("take rate", "no connection"))
    }
}

#[tokio::test]
async fn no_call_is_made_while_the_shared_accounting_is_down() {
    let (env, quota) = (test_env(1), Quota::new([Rate::new(5, SECOND)]));
    let budget = RateBudget::named("api").quota(quota).shared(Down).build().expect("a budget");
    let error = budget.acquire(&env, &get("/"), Incremental, NO_END).await.expect_err("down");
    assert!(error.is_transient());
    // Who failed does not stand in the way.
    assert!(budget.acquire(&env, &get("/"), Incremental, NO_END).now_or_never().is_some());
}

/// What a response says at `written` seconds, of a window that ends at `ends`.
fn written(remaining: u64, written: u64, ends: u64) -> impl Fn(&str) -> Option<String> {
    const START: u64 = 1_704_067_200;
    move |name| match name {
        "x-ratelimit-remaining" => Some(remaining.to_string()),
        "x-ratelimit-reset" => Some((START + ends).to_string()),
        "date" => Some(format!("Mon, 01 Jan 2024 00:00:{written:02} GMT")),
        _ => None,
    }
}

#[tokio::test]
async fn a_late_response_never_raises_the_budget_whatever_it_says_of_the_time() {
    let clock = ManualClock::new();
    let env = owned(&clock);
    let budget = RateBudget::named("api").quota(Quota::learned(Learn::usual())).build().expect("a budget");
    let (early, late) = (at_once(&budget, &env, "/").expect("free"), at_once(&budget, &env, "/").expect("free"));
    early.observe(&env, written(1, 0, 60));
    assert!(at_once(&budget, &env, "/").is_none(), "the other call may take the last one");
    clock.advance(30 * SECOND);
    // It was written 30 seconds ago, in the same window.
    late.observe(&env, written(50, 0, 60));
    assert!(at_once(&budget, &env, "/").is_none());
    assert_eq!(due(&budget, &env, "/"), 30 * SECOND);
}
