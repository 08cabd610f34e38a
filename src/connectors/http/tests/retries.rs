use super::*;
use crate::error::Status;
use crate::retry::{Entry, Policy, Priority, WaitBudget};

/// Faults first, then three pages.
async fn faulty(faults: Vec<Reply>) -> Server {
    Server::start(move |got| faults.get(got.number).cloned().unwrap_or_else(|| three_pages(got))).await
}

#[tokio::test]
async fn one_fault_costs_less_than_50_ms_and_no_record() {
    let cut = page([1, 2], "\"a\"").cut_at(10);
    for fault in [Reply::status(503, ""), Reply::status(521, ""), cut, page([1], "null").chunked(false)] {
        let server = faulty(vec![fault]).await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!(brought.records(), ids(1..=6));
        assert_eq!(server.seen().len(), 4);
        assert!(brought.slept.iter().sum::<Duration>() <= Duration::from_millis(50), "{:?}", brought.slept);
    }
}

#[tokio::test]
async fn gives_up_after_five_attempts_and_says_why() {
    let server = Server::start(|_| Reply::status(503, "maintenance")).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!(server.seen().len(), 5);
    let error = brought.error();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted));
    let text = error.to_string();
    assert!(text.contains("503") && text.contains("maintenance") && text.contains("attempts=`5`"), "{text}");
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/r", listener.local_addr().expect("bound"));
    drop(listener);
    let brought = read(&Rest::get(url).limits(patient()).build().expect("a source"), None).await;
    assert_eq!((brought.error().kind(), brought.error().status()), (ErrorKind::Unavailable, Status::Exhausted));
}

#[tokio::test]
async fn partitions_share_the_retries_in_an_outage() {
    let server = Server::start(|_| Reply::status(500, "")).await;
    let rest = Rest::get(server.url("/{id}")).limits(patient());
    let rest = (0..200).fold(rest, |rest, n| rest.partition(format!("{n}"), [("id", n.to_string())]));
    let rest = rest.build().expect("a source");
    for partition in list_partitions(&rest, &Env::system()).await.expect("listed") {
        assert!(read_partition(&rest, &partition, None).await.end.is_err());
    }
    // One after the other probes; when it has lasted longer than a read would wait, they do not ask any more.
    assert!(server.seen().len() <= 30, "{}", server.seen().len());
}

#[tokio::test]
async fn a_server_that_fails_half_of_the_time_is_read_to_the_end() {
    let server = Server::start(|got| {
        let n: u64 = got.parameter("page").and_then(|p| p.parse().ok()).expect("a page");
        let reply = Reply::json(format!("{{\"data\":[{n}],\"pages\":500}}"));
        if got.number < 2 { Reply::status(500, "") } else { reply }
    })
    .await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let rest = rest.paginate(PageNumber::query("page").total_pages("$.pages")).build().expect("a source");
    assert_eq!(read(&rest, None).await.records().len(), 500);
}

#[tokio::test]
async fn a_date_to_wait_for_is_one_by_the_clock_of_the_server() {
    // Whose clock is ten years ahead, or a day behind.
    for (now, then) in [
        ("Sun, 01 Jan 2034 00:00:00 GMT", "Sun, 01 Jan 2034 00:00:07 GMT"),
        ("Sun, 31 Dec 2023 00:00:00 GMT", "Sun, 31 Dec 2023 00:00:07 GMT"),
    ] {
        let server = faulty(vec![Reply::status(429, "").header("retry-after", then).header("date", now)]).await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!((brought.records(), brought.slept.as_slice()), (ids(1..=6), &[Duration::from_secs(7)][..]));
    }
}

#[tokio::test]
async fn waits_as_long_as_the_api_asks() {
    let server = faulty(vec![Reply::status(429, "").header("retry-after", "4")]).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!((brought.records(), brought.slept), (ids(1..=6), vec![Duration::from_secs(4)]));

    let date = "Mon, 01 Jan 2024 00:00:07 GMT";
    let server = faulty(vec![Reply::status(503, "").header("retry-after", date)]).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!((brought.records(), brought.slept), (ids(1..=6), vec![Duration::from_secs(7)]));
}

#[tokio::test]
async fn being_asked_to_come_back_at_once_costs_nothing() {
    let server = faulty(vec![Reply::status(429, "").header("retry-after", "0")]).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!((brought.records(), brought.slept.len()), (ids(1..=6), 0));
}

#[tokio::test]
async fn waiting_does_not_use_up_the_attempts() {
    let server = faulty(vec![Reply::status(429, "").header("retry-after", "1"); 20]).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids(1..=6));
}

#[tokio::test]
async fn a_wait_beyond_the_budget_ends_the_read_as_rate_limited_and_keeps_the_position() {
    let slow_down = |got: &Got| match got.parameter("cursor").as_deref() {
        Some("a") if got.number == 1 => Reply::status(429, "").header("retry-after", "7200"),
        _ => three_pages(got),
    };
    let server = Server::start(slow_down).await;
    let rest = by_cursor(&server).build().expect("a source");
    let brought = read(&rest, None).await;
    let until = Timestamp::from_micros(START).saturating_add(Duration::from_secs(7_200));
    assert_eq!(brought.stopped(), &StopReason::RateLimited { until: Some(until) });
    assert!(brought.slept.is_empty());
    let rest = by_cursor(&server).build().expect("a source of the next run");
    assert_eq!(read(&rest, Some(brought.last_position())).await.records(), ids(3..=6));

    let server = Server::start(|_| Reply::status(429, "").header("retry-after", "1")).await;
    let rest = by_cursor(&server).retry(Policy::default().with_wait(Duration::ZERO)).build().expect("a source");
    assert!(matches!(read(&rest, None).await.stopped(), StopReason::RateLimited { .. }));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_429_without_end_ends() {
    for header in ["-5", "61,60", "0", "9e99", "Mon, 01 Jan 2400 00:00:00 GMT"] {
        let server = Server::start(move |_| Reply::status(429, "").header("retry-after", header)).await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert!(matches!(brought.stopped(), StopReason::RateLimited { .. }), "{header}");
        assert!(server.seen().len() < 300, "{header}: {}", server.seen().len());
    }
}

#[tokio::test]
async fn all_partitions_wait_when_one_is_asked_to() {
    let server = Server::start(|got| match got.number {
        0 => Reply::status(429, "").header("retry-after", "3"),
        _ => Reply::json("[1]"),
    })
    .await;
    let rest = Rest::get(server.url("/{id}")).partition("a", [("id", "a")]).partition("b", [("id", "b")]);
    let rest = rest.limits(patient()).build().expect("a source");
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let breaker = rest.client.hosts.named(server.url("/").trim_end_matches('/'));
    match breaker.enter(&env, Priority::Incremental, &mut WaitBudget::new(Duration::ZERO)).await {
        Entry::Go(mut pass) => pass.refused(&env, Duration::from_secs(30)),
        shut => panic!("{shut:?}"),
    }
    let partition = list_partitions(&rest, &env).await.expect("listed")[1].clone();
    let brought = read_partition(&rest, &partition, None).await;
    assert_eq!(brought.slept.first(), Some(&Duration::from_secs(30)), "before its first request");
    assert!(brought.stopped().is_complete());
}

#[tokio::test]
async fn all_wait_for_what_a_request_was_told_that_may_not_be_repeated() {
    let server = Server::start(|got| match got.number {
        0 => Reply::status(503, "").header("retry-after", "30"),
        _ => Reply::json("[1]"),
    })
    .await;
    let rest = Rest::post(server.url("/r")).json(serde_json::json!({})).limits(patient()).build().expect("a source");
    let clock = Arc::new(FastClock::default());
    let all = Partition::new("all");
    let brought = read_at(&clock, &rest, &all, None).await;
    assert!(brought.error().to_string().contains("idempotent") && brought.slept.is_empty());
    assert_eq!(rest.stats().throttled(), 1);
    let brought = read_at(&clock, &rest, &all, None).await;
    assert_eq!((brought.records().len(), brought.slept), (1, vec![Duration::from_secs(30)]));
}

#[tokio::test]
async fn a_quota_that_is_full_again_in_a_month_is_asked_for_tomorrow() {
    let server = Server::start(|_| {
        Reply::status(429, "").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "2592000")
    })
    .await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    let until = Timestamp::from_micros(START).saturating_add(Duration::from_secs(86_400));
    assert_eq!(brought.stopped(), &StopReason::RateLimited { until: Some(until) });
}

#[tokio::test]
async fn refusals_are_permanent_and_told_by_what_to_do() {
    for (status, kind) in [
        (400, ErrorKind::Config),
        (401, ErrorKind::Auth),
        (403, ErrorKind::Auth),
        (404, ErrorKind::Config),
        (422, ErrorKind::Config),
        (204, ErrorKind::Data),
        (205, ErrorKind::Data),
        (206, ErrorKind::Data),
        (304, ErrorKind::Data),
    ] {
        let server = Server::start(move |_| Reply::status(status, "")).await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), kind, "{status}: {}", brought.error());
        assert!(brought.error().to_string().contains(&status.to_string()));
        assert_eq!(server.seen().len(), 1, "{status}");
        assert!(brought.emitted.is_empty());
    }
}

#[tokio::test]
async fn the_body_of_an_error_is_shown_shortened_and_in_one_line() {
    let server = Server::start(|_| Reply::status(400, format!("no\n\x1b[31m{}", "é".repeat(10_000)))).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    let body = brought.error().context().iter().find(|(key, _)| *key == "body").map(|(_, v)| v.clone()).expect("shown");
    assert!(body.len() <= 512 && body.starts_with("no  [31mé"), "{body}");
}

#[derive(Debug)]
struct SlowClock;

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(START)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Only the limit of silence passes.
        if duration == Duration::from_secs(7) {
            return futures::future::ready(()).boxed();
        }
        futures::future::pending().boxed()
    }
}

#[tokio::test]
async fn silence_and_a_part_that_takes_too_long_are_faults() {
    let server = Server::start(|_| page([1], "null").silent_at(5)).await;
    let seconds = Duration::from_secs(7);
    let silent = by_cursor(&server).limits(patient().with_idle(seconds));
    let dripping = Rest::get(server.url("/r")).records("ndjson").limits(patient().with_total(seconds));
    for rest in [silent, dripping] {
        let rest = rest.retry(Policy::default().with_attempts(1)).build().expect("a source");
        let env = Env::deterministic(Arc::new(SlowClock), Arc::new(Dice::default()));
        let (queue, _emissions) = mpsc::channel(10);
        let (_stop, stopped) = watch::channel(false);
        let mut out = Emitter::new(Partition::new("all"), Arc::new(Semaphore::new(1 << 20)), 1 << 20, queue, stopped);
        let error = rest.read(&env, &Partition::new("all"), None, &mut out).await.expect_err("silent");
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted));
        assert!(error.to_string().contains("no answer in time"), "{error}");
    }
}

#[tokio::test]
async fn a_stop_ends_a_wait_and_a_silent_request_at_once() {
    let waiting = Server::start(|_| Reply::status(429, "").header("retry-after", "30")).await;
    let silent = Server::start(|_| page([1], "null").silent_at(5)).await;
    for server in [waiting, silent] {
        let rest = by_cursor(&server).build().expect("a source");
        let env = Env::deterministic(Arc::new(SlowClock), Arc::new(Dice::default()));
        let (queue, _emissions) = mpsc::channel(10);
        let (stop, stopped) = watch::channel(false);
        let all = Partition::new("all");
        let mut out = Emitter::new(all.clone(), Arc::new(Semaphore::new(1 << 20)), 1 << 20, queue, stopped);
        let reading = rest.read(&env, &all, None, &mut out);
        let stopping = async {
            while server.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.send_replace(true);
        };
        let (end, ()) = futures::join!(reading, stopping);
        match end {
            Ok(reason) => assert_eq!(reason, StopReason::Cancelled),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        }
    }
}

#[tokio::test]
async fn a_post_carries_its_body_and_is_sent_again_only_if_that_does_no_harm() {
    let ask = |url: String| {
        let body = serde_json::json!({"filter": {"region": "{region}"}, "size": 2});
        Rest::post(url).json(body).partition("eu", [("region", "eu")]).limits(patient())
    };
    let server = Server::start(|got| {
        assert_eq!((got.method.as_str(), got.headers["content-type"].as_str()), ("POST", "application/json"));
        assert_eq!(got.json(), serde_json::json!({"filter": {"region": "eu"}, "size": 2}));
        if got.number < 2 { Reply::status(503, "down") } else { Reply::json(r#"[{"id":1}]"#) }
    })
    .await;
    let source = ask(server.url("/search")).build().expect("sound");
    let brought = read(&source, None).await;
    assert!(brought.error().to_string().contains("idempotent"), "{}", brought.error());
    assert_eq!(server.seen().len(), 1);

    let source = ask(server.url("/search")).idempotent().build().expect("sound");
    assert_eq!(read(&source, None).await.records(), ids([1]));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_post_says_once_what_its_body_is() {
    let server = Server::start(|_| Reply::json("[1]")).await;
    let source = Rest::post(server.url("/scan")).json(serde_json::json!({})).limits(patient());
    let source = source.header("Content-Type", "application/x-amz-json-1.0").build().expect("sound");
    assert_eq!(read(&source, None).await.records(), ["1"]);
    assert_eq!(server.seen()[0].headers["content-type"], "application/x-amz-json-1.0");
}
