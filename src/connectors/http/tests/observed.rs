use super::*;
use crate::testkit::conformance::logged::logged;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::BTreeMap;

const CANARY: &str = "s3cret-canary";

/// Counters by name and labels.
fn counted(recorder: &DebuggingRecorder) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        if let DebugValue::Counter(n) = value {
            counters.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), n);
        }
    }
    counters
}

#[tokio::test]
async fn counts_requests_retries_waits_and_bytes() {
    let server = Server::start(|got| match got.number {
        0 | 1 => Reply::status(429, "").header("retry-after", "0.75"),
        2 => Reply::status(500, ""),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).build().expect("a source");
    let recorder = DebuggingRecorder::new();
    let guard = metrics::set_default_local_recorder(&recorder);
    let brought = read(&rest, None).await;
    drop(guard);
    assert_eq!(brought.records(), ids(1..=6));
    let bytes: usize = brought.pages().iter().map(|p| p.body.len()).sum();
    let expected = [
        ("landfall_http_body_bytes_total{}", bytes as u64),
        ("landfall_http_requests_total{status=200}", 3),
        ("landfall_http_requests_total{status=429}", 2),
        ("landfall_http_requests_total{status=500}", 1),
        ("landfall_http_retries_total{reason=fault}", 1),
        ("landfall_http_retries_total{reason=rate_limited}", 2),
        ("landfall_http_throttled_total{}", 2),
        ("landfall_http_wait_seconds_total{}", 1),
    ];
    let stats = rest.stats();
    assert_eq!((stats.requests(), stats.throttled()), (6, 2));
    assert_eq!((stats.fault_retries(), stats.rate_limit_retries()), (1, 2));
    assert_eq!(stats.waited().as_micros(), brought.slept.iter().map(Duration::as_micros).sum());
    assert_eq!(counted(&recorder), expected.map(|(name, n)| (name.to_owned(), n)).into());
}

#[tokio::test]
async fn a_wait_that_is_put_off_is_no_retry() {
    let server = Server::start(|_| Reply::status(429, "").header("retry-after", "7200")).await;
    let rest = by_cursor(&server).build().expect("a source");
    let stats = rest.stats();
    assert!(matches!(read(&rest, None).await.stopped(), StopReason::RateLimited { .. }));
    assert_eq!((stats.throttled(), stats.rate_limit_retries(), stats.waited()), (1, 0, Duration::ZERO));
}

#[tokio::test]
async fn logs_at_every_level_hold_no_secret() {
    let server = Server::start(|got| match got.number {
        0 => Reply::status(500, format!("{} {:?}", got.target, got.headers)),
        1 => Reply::status(429, format!("{} {:?}", got.target, got.headers)).header("retry-after", "1"),
        2 => Reply::json("[1]").header("link", &format!("<{}&page=2>; rel=next", got.target)),
        _ => Reply::status(400, format!("{} {:?}", got.target, got.headers)),
    })
    .await;
    let rest = Rest::get(server.url("/r")).auth(ApiKey::query("key", CANARY)).paginate(LinkHeader::new());
    let rest = rest.limits(patient()).build().expect("a source");
    let (brought, log) = logged(read(&rest, None)).await;
    assert!(brought.end.is_err());
    assert!(log.contains("trying again") && log.contains("rate limited") && log.contains("status=200"), "{log}");
    assert!(!log.contains(CANARY), "{log}");
}
