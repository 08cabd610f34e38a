//! Waits that a response asks for, and what is done where it asks for too much.

use super::*;
use crate::error::Status;
use crate::retry::Policy;

/// One refusal, then three pages.
async fn refusing_once(refusal: Reply) -> Server {
    Server::start(move |got| if got.number == 0 { refusal.clone() } else { three_pages(got) }).await
}

async fn slept(rest: RestBuilder) -> Vec<Duration> {
    let brought = read(&rest.build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids(1..=6));
    brought.slept
}

#[tokio::test]
async fn waits_as_asked_and_gives_up_after_five_attempts() {
    let server = refusing_once(Reply::status(429, "").header("retry-after", "4")).await;
    assert_eq!(slept(by_cursor(&server)).await, [Duration::from_secs(4)]);

    let server = Server::start(|_| Reply::status(503, "")).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert_eq!((server.seen().len(), brought.error().status()), (5, Status::Exhausted));
}

#[tokio::test]
async fn a_regex_finds_the_wait_in_a_header() {
    let refusal = || Reply::status(429, "").header("x-retry", "61,60");
    let backoff = Duration::from_millis(25);

    let server = refusing_once(refusal()).await;
    let without = slept(by_cursor(&server).wait(WaitFrom::header("x-retry"))).await;
    assert!(without.len() == 1 && without[0] <= backoff, "{without:?}");

    let server = refusing_once(refusal()).await;
    let by_regex = by_cursor(&server).wait(WaitFrom::header("x-retry").regex(r"([-+]?\d+)"));
    assert_eq!(slept(by_regex).await, [Duration::from_secs(61)]);

    let server = refusing_once(refusal()).await;
    let no_match = slept(by_cursor(&server).wait(WaitFrom::header("x-retry").regex("^wait (.*)$"))).await;
    assert!(no_match.len() == 1 && no_match[0] <= backoff, "{no_match:?}");
}

#[tokio::test]
async fn the_first_place_that_says_a_wait_decides() {
    let refusal = Reply::status(429, r#"{"error":{"ms":2500}}"#).header("x-a", "soon").header("retry-after", "9");
    let server = refusing_once(refusal.clone()).await;
    let rest = by_cursor(&server).wait(WaitFrom::header("x-a")).wait(WaitFrom::body("$.error.ms").millis());
    assert_eq!(slept(rest).await, [Duration::from_millis(2_500)]);
    let server = refusing_once(refusal).await;
    assert_eq!(slept(by_cursor(&server).wait(WaitFrom::header("x-a"))).await, [Duration::from_secs(9)]);
}

#[tokio::test]
async fn an_epoch_is_read_by_the_clock_of_the_server() {
    // 2024-01-01T00:00:37Z; the clock of the test begins at 00:00:00.
    let refusal = || Reply::status(403, "").header("x-ratelimit-reset", "1704067237").header("x-left", "0");
    let limited = |server: &Server| {
        by_cursor(server)
            .rule(On::status(403).and(On::header_equals("x-left", "0")).rate_limited())
            .wait(WaitFrom::header("x-ratelimit-reset").epoch().at_least(Duration::from_secs(60)))
    };
    let server = refusing_once(refusal()).await;
    assert_eq!(slept(limited(&server)).await, [Duration::from_secs(60)]);

    // The clock of the server is ten minutes behind ours.
    let server = refusing_once(refusal().header("date", "Sun, 31 Dec 2023 23:50:00 GMT")).await;
    assert_eq!(slept(limited(&server)).await, [Duration::from_secs(637)]);
}

#[tokio::test]
async fn a_wait_above_the_cap_ends_the_read_as_rate_limited() {
    let refuse_second = |got: &Got| match got.parameter("cursor") {
        Some(_) if got.number == 1 => Reply::status(503, r#"{"wait":61}"#),
        _ => three_pages(got),
    };
    let server = Server::start(refuse_second).await;
    let by_body = |wait| {
        let policy = Policy::default().with_wait(Duration::from_secs(wait));
        by_cursor(&server).wait(WaitFrom::body("$.wait")).retry(policy).build().expect("a source")
    };
    let brought = read(&by_body(60), None).await;
    let until = Timestamp::from_micros(START).saturating_add(Duration::from_secs(61));
    assert_eq!(brought.stopped(), &StopReason::RateLimited { until: Some(until) });
    assert!(brought.slept.is_empty());
    assert_eq!(brought.records(), ids(1..=2));
    // The state is kept: the next read goes on.
    assert_eq!(read(&by_body(60), Some(brought.last_position())).await.records(), ids(3..=6));

    let server = Server::start(|_| Reply::status(503, r#"{"wait":1}"#)).await;
    let policy = Policy::default().with_wait(Duration::ZERO);
    let never = by_cursor(&server).wait(WaitFrom::body("$.wait")).retry(policy).build().expect("a source");
    assert!(matches!(read(&never, None).await.stopped(), StopReason::RateLimited { .. }));
    assert_eq!(server.seen().len(), 1);
}
