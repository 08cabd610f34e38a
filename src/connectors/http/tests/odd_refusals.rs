//! What odd and hostile APIs do with credentials, refusals and budgets, and what must not come of it.

use super::*;
use crate::checkpoint::StoreCheckpoints;
use crate::landing::Landing;
use crate::pipeline::{Pipeline, Settings};
use crate::retry::rate::{Calls, Quota, Rate, RateBudget};
use crate::retry::{Concurrency, Policy};
use crate::sink::{MemorySink, MemoryTable, Quarantine};
use crate::store::Store;
use crate::testkit::{ManualClock, SeededEntropy};
use futures::future::join_all;
use std::collections::BTreeMap;

const MINUTE: Duration = Duration::from_secs(60);

/// A source of `n` partitions at `/0` and so on.
fn parts(server: &Server, n: usize) -> RestBuilder {
    let source = Rest::get(server.url("/{n}")).records("$.data[*]").limits(patient());
    (0..n).fold(source, |source, n| source.partition(n.to_string(), [("n", n.to_string())]))
}

/// Reads all partitions, one after the other or at the same time, on one clock.
async fn read_all(rest: &Rest, at_once: bool) -> Vec<Brought> {
    let (clock, partitions) = (Arc::new(FastClock::default()), listed(rest).await);
    if at_once {
        return join_all(partitions.iter().map(|partition| read_at(&clock, rest, partition, None))).await;
    }
    let mut all = Vec::new();
    for partition in &partitions {
        all.push(read_at(&clock, rest, partition, None).await);
    }
    all
}

fn count(server: &Server, path: &str) -> usize {
    server.seen().iter().filter(|got| got.path() == path).count()
}

/// A token endpoint at `/token` that answers by `token` and the number of the call, beside an API.
async fn with_endpoint(
    token: impl Fn(usize) -> Reply + Send + Sync + 'static,
    api: impl Fn(&Got) -> Reply + Send + Sync + 'static,
) -> Server {
    let calls = AtomicU64::new(0);
    Server::start(move |got| match got.path() {
        "/token" => token(usize::try_from(calls.fetch_add(1, Ordering::SeqCst)).expect("few")),
        _ => api(got),
    })
    .await
}

fn issued(n: usize) -> Reply {
    Reply::json(format!(r#"{{"access_token":"t{n}"}}"#))
}

fn client(server: &Server) -> OAuth2 {
    OAuth2::client_credentials(server.url("/token"), "me", "secret")
}

#[tokio::test]
async fn an_api_that_refuses_every_token_is_not_answered_with_a_storm_of_renewals() {
    for at_once in [false, true] {
        let server = with_endpoint(issued, |_| Reply::status(401, "")).await;
        let rest = parts(&server, 50).auth(client(&server)).build().expect("a source");
        for brought in read_all(&rest, at_once).await {
            assert_eq!(brought.error().kind(), ErrorKind::Auth);
        }
        assert!(count(&server, "/token") <= 2, "{}", count(&server, "/token"));
        assert!(server.seen().len() <= 50 * 2 + 2);
    }
}

#[tokio::test]
async fn tokens_that_are_revoked_again_and_again_are_renewed_each_time() {
    // Each token is good for two requests.
    let used = Mutex::new(BTreeMap::<String, u64>::new());
    let server = with_endpoint(issued, move |got| {
        let mut used = used.lock().expect("not poisoned");
        let used = used.entry(got.headers["authorization"].clone()).or_default();
        *used += 1;
        if *used > 2 { Reply::status(401, "revoked") } else { page([1], "null") }
    })
    .await;
    let rest = parts(&server, 20).auth(client(&server)).build().expect("a source");
    assert!(read_all(&rest, false).await.iter().all(|brought| brought.stopped().is_complete()));
    assert_eq!(count(&server, "/token"), 10);
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_tried_by_every_read() {
    let server = with_endpoint(|_| Reply::status(401, "wrong password"), |_| page([1], "null")).await;
    let login = Session::login(server.url("/token")).field("password", "wrong");
    let rest = parts(&server, 30).auth(login).build().expect("a source");
    for brought in read_all(&rest, false).await {
        assert_eq!(brought.error().kind(), ErrorKind::Auth);
    }
    assert_eq!(server.targets(), ["/token"], "an account is locked after some of these");
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_not_asked_by_every_read() {
    for at_once in [false, true] {
        let server = with_endpoint(|_| Reply::status(502, ""), |_| page([1], "null")).await;
        let rest = parts(&server, 100).auth(client(&server)).build().expect("a source");
        for brought in read_all(&rest, at_once).await {
            assert_eq!(brought.error().kind(), ErrorKind::Unavailable);
        }
        assert!(server.seen().len() <= 30, "{}", server.seen().len());
    }
}

#[tokio::test]
async fn a_token_without_a_life_is_used_until_it_is_refused() {
    for lifetime in ["0", "\"0\"", "-1", "null", "\"soon\"", "1e300"] {
        let token = move |_| Reply::json(format!(r#"{{"access_token":"t","expires_in":{lifetime}}}"#));
        let server = with_endpoint(token, three_pages).await;
        let rest = by_cursor(&server).auth(client(&server)).build().expect("a source");
        assert_eq!(read(&rest, None).await.records(), ids(1..=6), "{lifetime}");
        assert_eq!(count(&server, "/token"), 1, "{lifetime}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_replaced_yet_is_not_asked_for_before_each_page() {
    let token = |n| match n {
        0 => Reply::json(r#"{"access_token":"t","expires_in":1000}"#),
        _ => Reply::status(400, r#"{"error":"temporarily_unavailable"}"#),
    };
    let server =
        with_endpoint(token, |got| match got.parameter("page").and_then(|n| n.parse().ok()).unwrap_or(1_u64) {
            1 if got.number < 2 => Reply::status(429, "").header("retry-after", "960"),
            n => Reply::json(format!(r#"{{"data":[{n}],"pages":30}}"#)),
        })
        .await;
    let rest =
        Rest::get(server.url("/r")).records("$.data[*]").paginate(PageNumber::query("page").total_pages("$.pages"));
    let rest = rest.limits(patient()).auth(client(&server)).build().expect("a source");
    assert_eq!(read(&rest, None).await.records().len(), 30);
    assert_eq!(count(&server, "/token"), 2);
}

#[tokio::test]
async fn a_token_expires_during_a_parallel_fetch_and_is_renewed_once() {
    let asked = AtomicU64::new(0);
    let server = with_endpoint(issued, move |got| {
        let n: u64 = got.parameter("page").and_then(|n| n.parse().ok()).unwrap_or(1);
        let is_old = asked.fetch_add(1, Ordering::SeqCst) >= 4 && got.headers["authorization"] == "Bearer t0";
        if is_old { Reply::status(401, "") } else { Reply::json(format!(r#"{{"data":[{n}],"pages":12}}"#)) }
    })
    .await;
    let rest =
        Rest::get(server.url("/r")).records("$.data[*]").paginate(PageNumber::query("page").total_pages("$.pages"));
    let rest = rest.parallel_pages(4).limits(patient()).auth(client(&server)).build().expect("a source");
    let expected: Vec<String> = (1..=12).map(|n: u64| n.to_string()).collect();
    assert_eq!(read(&rest, None).await.records(), expected);
    assert_eq!(count(&server, "/token"), 2);
}

/// Gives what is kept only to who looks for the `at`th time: another process is about to keep it.
#[derive(Debug)]
struct Late {
    inner: KeptToken,
    looks: AtomicU64,
    at: u64,
}

#[async_trait::async_trait]
impl TokenStore for Late {
    async fn load(&self) -> Result<Option<SecretString>> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        if look < self.at { Ok(None) } else { self.inner.load().await }
    }

    async fn keep(&self, text: &SecretString) -> Result<()> {
        self.inner.keep(text).await
    }
}

#[tokio::test]
async fn a_refresh_token_that_another_process_is_about_to_keep_is_waited_for() {
    let taken = Mutex::new(Vec::<String>::new());
    let server = Server::start(move |got| {
        if got.path() != "/token" {
            return page([1], "null");
        }
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&got.body).into_owned().collect();
        let mut taken = taken.lock().expect("not poisoned");
        if taken.contains(&form["refresh_token"]) {
            return Reply::status(400, r#"{"error":"invalid_grant"}"#);
        }
        taken.push(form["refresh_token"].clone());
        Reply::json(format!(r#"{{"access_token":"a","refresh_token":"r{}"}}"#, taken.len()))
    })
    .await;
    let store = Store::memory();
    let kept = || KeptToken::in_store(&store, "token").expect("a name");
    let auth = |at| {
        let late = Late { inner: kept(), looks: AtomicU64::new(0), at };
        OAuth2::refresh_token(server.url("/token"), "me", "r0").kept_in(late)
    };
    let source = |at| by_cursor(&server).auth(auth(at)).build().expect("a source");
    assert_eq!(read(&source(0), None).await.records(), ids([1]));
    // It looks before it uses one, and three times after the refusal.
    assert_eq!(read(&source(3), None).await.records(), ids([1]));
    // One that never comes is an error, and not waited for without end.
    let brought = read(&source(u64::MAX), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_403_for_the_rate_is_waited_for_and_one_for_good_is_not() {
    // 2024-01-01T00:01:40Z; the clock begins at 00:00:00.
    let epoch = "1704067300";
    let used_up =
        |reset: &str| Reply::status(403, "").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", reset);
    for (refusal, wait) in [
        (used_up(epoch), 100),
        (used_up("1704067300000"), 100),
        (used_up("100"), 100),
        (used_up("2024-01-01T00:01:40Z"), 100),
        (used_up("Mon, 01 Jan 2024 00:01:40 GMT"), 100),
        (Reply::status(403, "abuse").header("retry-after", "30").header("x-ratelimit-remaining", "57"), 30),
        (Reply::status(429, "").header("ratelimit", "\"a\";r=0;t=20, \"b\";r=5;t=900"), 20),
        (Reply::status(429, "").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", epoch), 100),
    ] {
        let first = refusal.clone();
        let server = Server::start(move |got| if got.number == 0 { first.clone() } else { three_pages(got) }).await;
        let brought = read(&by_cursor(&server).auth(Bearer::new("t")).build().expect("a source"), None).await;
        assert_eq!(brought.records(), ids(1..=6), "{refusal:?}");
        assert_eq!(brought.slept, [Duration::from_secs(wait)], "{refusal:?}");
    }
    for refusal in [Reply::status(403, ""), Reply::status(403, "").header("x-ratelimit-remaining", "3")] {
        let server = Server::start(move |_| refusal.clone()).await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!((brought.error().kind(), server.seen().len()), (ErrorKind::Auth, 1));
    }
}

#[tokio::test]
async fn a_post_that_may_have_acted_is_not_sent_again_because_the_answer_says_when() {
    let post = |server: &Server| Rest::post(server.url("/r")).json(serde_json::json!({})).limits(patient());
    for (status, calls) in [(429, 2), (500, 1), (502, 1), (503, 1), (504, 1)] {
        let server = Server::start(move |got| match got.number {
            0 => Reply::status(status, "").header("retry-after", "1"),
            _ => Reply::json("[1]"),
        })
        .await;
        let brought = read(&post(&server).build().expect("a source"), None).await;
        assert_eq!((brought.end.is_ok(), server.seen().len()), (calls == 2, calls), "{status}");
        // Where it only asks, it is.
        let server = Server::start(move |got| match got.number {
            0 => Reply::status(status, "").header("retry-after", "1"),
            _ => Reply::json("[1]"),
        })
        .await;
        let brought = read(&post(&server).idempotent().build().expect("a source"), None).await;
        assert_eq!((brought.end.is_ok(), server.seen().len()), (true, 2), "{status}");
    }
}

#[tokio::test]
async fn a_pool_counts_what_it_is_refused_and_knows_clocks_and_dates_that_are_off() {
    // The clock of the API is a day ahead of ours.
    let (ahead, reset) = ("Tue, 02 Jan 2024 00:00:00 GMT", "1704153610");
    for reset in [reset, "10", "2024-01-02T00:00:10Z"] {
        let server = Server::start(move |got| {
            match (got.headers["authorization"].as_str(), got.number) {
                ("Bearer a", 0) => Reply::status(403, "").header("x-ratelimit-remaining", "0"),
                ("Bearer b", 1) => Reply::status(429, "").header("x-ratelimit-remaining", "0"),
                _ => three_pages(got),
            }
            .header("date", ahead)
            .header("x-ratelimit-reset", reset)
        })
        .await;
        let pool = TokenPool::of([Bearer::new("a"), Bearer::new("b")]);
        let rest = by_cursor(&server).auth(pool).build().expect("a source");
        let brought = read(&rest, None).await;
        assert_eq!(brought.records(), ids(1..=6));
        assert_eq!(brought.slept, [Duration::from_secs(10)], "{reset}");
        let counts = rest.stats().counts();
        // Both refusals, and that none is left.
        assert_eq!((counts.throttled, counts.rate_limit_retries, counts.requests), (3, 3, 5), "{counts}");
    }
}

#[tokio::test]
async fn calls_for_tokens_and_of_parents_and_exports_take_from_the_budget_they_match() {
    let server = Server::start(|got| match (got.method.as_str(), got.path()) {
        (_, "/token") => Reply::json(r#"{"access_token":"t"}"#),
        (_, "/shops") => Reply::json(r#"[{"id":1},{"id":2}]"#),
        _ => Reply::json(r#"{"data":[{"id":1}]}"#),
    })
    .await;
    let quota = |pattern: &str| Quota::new([Rate::new(1, MINUTE)]).of(Calls::path(pattern));
    let budget = |pattern: &str| RateBudget::named("api").quota(quota(pattern)).build().expect("a budget");
    // One call of each kind fits; the second waits.
    let tokens = budget("/token");
    for slept in [0, 60] {
        let rest = by_cursor(&server).paginate(Single).auth(client(&server)).budget(&tokens).build().expect("a source");
        let clock = Arc::new(FastClock::default());
        clock.micros.store(0, Ordering::SeqCst);
        let brought = read_at(&clock, &rest, &listed(&rest).await[0], None).await;
        assert_eq!(brought.slept.iter().sum::<Duration>().as_secs(), slept, "{:?}", brought.end);
        assert_eq!(rest.stats().requests(), 2, "one for the token");
    }
    let shops = budget("/shops");
    let children = |budget: &RateBudget| {
        let parent = Parent::of(Rest::get(server.url("/shops")).limits(patient())).bind("shop", "$.id");
        let rest = Rest::get(server.url("/shops/{shop}")).records("$.data[*]").limits(patient()).parent(parent);
        rest.budget(budget).build().expect("a source")
    };
    let clock = ManualClock::auto();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
    for waited in [0, 60] {
        let store = Store::memory();
        let (before, table) = (clock.monotonic(), MemoryTable::<Page>::new());
        let pipeline = Pipeline::named("orders")
            .source(children(&shops))
            .source_is_replayable()
            .sink(MemorySink::new(&table))
            .checkpoints(StoreCheckpoints::new(&store, "checkpoints").expect("a name"))
            .env(env.clone())
            .build()
            .expect("a pipeline");
        let report = pipeline.run().await.expect("it runs");
        assert_eq!(report.traffic.requests, 3, "the parent's too");
        assert_eq!((clock.monotonic() - before).as_secs(), waited);
    }
}

/// A retry must not wait for a call of another read that waits for the parts of the first.
#[tokio::test]
async fn a_large_response_that_breaks_off_does_not_stand_in_the_way_of_the_one_call_that_may_run() {
    let lines = |n: u64| (0..2_000).map(|id| format!("{{\"id\":{}}}\n", n * 10_000 + id)).collect::<String>();
    let server = Server::start(move |got| {
        let n = if got.path() == "/0" { 0 } else { 1 };
        let reply = Reply::json(lines(n)).header("content-type", "application/x-ndjson");
        if got.number < 2 { reply.cut_at(15_000) } else { reply }
    })
    .await;
    let rest = parts(&server, 2)
        .records("ndjson")
        .limits(patient().with_part(4_000))
        .concurrency(Concurrency::fixed(1))
        .retry(Policy::default());
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let (table, store) = (MemoryTable::<Page>::new(), Store::memory());
    let pipeline = Pipeline::named("orders")
        .source(rest)
        .land(Landing::in_store(&store, "raw").expect("a name"))
        .sink(MemorySink::new(&table))
        .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(&store, "checkpoints").expect("a name"))
        .settings(Settings::default().parallel_partitions(2))
        .env(env)
        .build()
        .expect("a pipeline");
    let report = pipeline.run().await.expect("it runs");
    assert!(report.is_complete());
    assert_eq!(report.ledger.read, 4_000);
}

#[tokio::test]
async fn an_api_that_recovers_is_read_as_fast_as_before() {
    // Ten refusals for load at first: the limit goes down to one.
    let limit = crate::retry::AdaptiveLimit::from(Concurrency::between(1, 8));
    let server = Server::start(|got| match got.number {
        0..10 => Reply::status(503, "").header("retry-after", "1"),
        _ => page([1], "null"),
    })
    .await;
    let rest = parts(&server, 200).concurrency(limit.clone()).build().expect("a source");
    let brought = read_all(&rest, true).await;
    assert!(brought.iter().all(|brought| brought.stopped().is_complete()));
    assert_eq!(limit.limit(), 8, "{limit:?}");
    // Nobody asked again before one had been let in.
    assert!(server.seen().len() <= 210, "{}", server.seen().len());
}
