//! Several tokens with a quota each.

use super::*;

/// Three pages; each token has two requests in a window of 100 s from the start.
async fn with_quotas() -> Server {
    let used = Mutex::new(BTreeMap::<String, u64>::new());
    Server::start(move |got| {
        let token = got.headers["authorization"].clone();
        let mut used = used.lock().expect("not poisoned");
        let used = used.entry(token).or_default();
        *used += 1;
        three_pages(got)
            .header("x-ratelimit-remaining", &2_u64.saturating_sub(*used).to_string())
            .header("x-ratelimit-reset", &(START / 1_000_000 + 100).to_string())
    })
    .await
}

fn tokens(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|got| got.headers["authorization"].replace("Bearer ", "")).collect()
}

#[tokio::test]
async fn an_exhausted_token_makes_place_for_another_without_waiting() {
    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    // The one with the most left; of those that have the same, the first.
    assert_eq!(tokens(&server), ["a", "b", "a"]);
}

#[tokio::test]
async fn a_token_that_is_told_to_be_used_up_makes_place_at_once() {
    let server = Server::start(|got| match got.headers["authorization"].as_str() {
        "Bearer a" => Reply::status(429, "").header("retry-after", "3600"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    assert_eq!(tokens(&server), ["a", "b", "b", "b"]);
}

#[tokio::test]
async fn all_tokens_exhausted_waits_for_the_first_and_not_beyond_the_budget() {
    let pool = || TokenPool::of([Bearer::new("a")]);
    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(pool()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    // Two pages, and a wait to the end of the window.
    assert_eq!(brought.slept, [Duration::from_secs(100)]);
    assert_eq!(tokens(&server), ["a", "a", "a"]);

    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(pool()).retry(Policy::default().with_wait(Duration::from_secs(50)));
    let brought = read(&rest.build().expect("a source"), None).await;
    assert!(matches!(brought.stopped(), StopReason::RateLimited { until: Some(_) }), "{:?}", brought.end);
    assert_eq!(brought.records(), ids(1..=4));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    assert_eq!(tokens(&server), ["a", "a"]);
}

#[tokio::test]
async fn a_quota_comes_back_when_the_api_says_though_our_clock_is_a_little_off() {
    // Seconds by which the clock of the API is behind ours, or before it.
    for (date, reset) in [("Sun, 31 Dec 2023 23:59:40 GMT", -10), ("Mon, 01 Jan 2024 00:00:20 GMT", 30)] {
        let server = Server::start(move |got| {
            match got.number {
                0 => Reply::status(403, "").header("x-ratelimit-remaining", "0"),
                _ => three_pages(got).header("x-ratelimit-remaining", "9"),
            }
            .header("date", date)
            .header("x-ratelimit-reset", &(START / 1_000_000 + reset).to_string())
        })
        .await;
        let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a")])).build().expect("a source");
        let brought = read(&rest, None).await;
        assert_eq!((brought.records(), brought.slept), (ids(1..=6), vec![Duration::from_secs(10)]), "{date}");
    }
}

#[tokio::test]
async fn a_refused_token_of_a_pool_makes_place_for_good() {
    let server = Server::start(|got| match got.headers["authorization"].as_str() {
        "Bearer bad" => Reply::status(401, ""),
        _ => three_pages(got),
    })
    .await;
    let rest =
        by_cursor(&server).auth(TokenPool::of([Bearer::new("bad"), Bearer::new("good")])).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids(1..=6));
    assert_eq!(tokens(&server), ["bad", "good", "good", "good"]);
    let server = Server::start(|_| Reply::status(401, "")).await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Auth);
    assert_eq!(tokens(&server), ["a", "b"]);
}
