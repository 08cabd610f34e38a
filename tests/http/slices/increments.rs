use super::world::{Api, Asked, World, rows};
use landfall::columnar::Within;
use landfall::connectors::http::{Cursor, Rest, RestBuilder, RowOrder, Since, Window};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn source(api: &Api, since: Since) -> RestBuilder {
    Rest::get(api.url("/r")).records("$.data[*]").paginate(Cursor::at("$.next").query("cursor")).since(since)
}

fn since() -> Since {
    Since::field("t").query("since")
}

/// Letters a to g as numbers, with the time of each.
const FIRST: &[(i64, i64)] = &[(1, 1), (2, 2), (3, 3), (4, 3), (5, 3)];
const SECOND: &[(i64, i64)] = &[(3, 3), (4, 3), (5, 3), (6, 3), (7, 4)];

#[tokio::test]
async fn rows_at_the_boundary_come_again_and_are_loaded_once() {
    let run = Arc::new(AtomicUsize::new(0));
    let served = Arc::clone(&run);
    let api = Api::start(move |_| rows(if served.load(Ordering::SeqCst) == 0 { FIRST } else { SECOND }, None)).await;
    let world = World::new();
    world.run("letters", source(&api, since())).await.expect("complete");
    assert_eq!(world.column("id"), [1, 2, 3, 4, 5]);
    run.store(1, Ordering::SeqCst);
    for _ in 0..2 {
        world.run("letters", source(&api, since())).await.expect("complete");
        assert_eq!(world.column("id"), [1, 2, 3, 4, 5, 6, 7], "append, and each exactly once");
    }
    assert_eq!(api.take_asked(), ["/r", "/r?since=3", "/r?since=4"]);
}

#[tokio::test]
async fn a_newest_first_feed_loads_what_is_within_and_counts_the_rest_as_filtered() {
    let feed = |asked: &Asked| {
        let from = asked.number("cursor").unwrap_or(48);
        let page: Vec<(i64, i64)> = (0..=from).rev().take(5).map(|n| (n, n)).collect();
        let next = (from >= 5).then(|| (from - 5).to_string());
        rows(&page, next.as_deref())
    };
    let api = Api::start(feed).await;
    let world = World::new();
    let newest_first = Since::field("t").initial("10").row_order(RowOrder::Descending);
    let within = Within::range("t", 10..);
    let report = world.run_within("feed", source(&api, newest_first), Some(within)).await.expect("complete");
    assert_eq!(world.column("id"), (10..=48).collect::<Vec<_>>());
    assert_eq!(api.take_asked().len(), 8, "and no further request");
    let text = report.to_string();
    assert!(text.contains("within"), "{text}");
}

#[tokio::test]
async fn rows_without_a_cursor_are_loaded_refused_or_excluded_as_declared() {
    let api = Api::start(|_| (200, r#"{"data":[{"id":1,"t":5},{"id":2,"t":null},{"id":3}],"next":null}"#.into())).await;
    let world = World::new();
    world.run("included", source(&api, since())).await.expect("complete");
    assert_eq!(world.column("id"), [1, 2, 3]);
    world.run("included", source(&api, since())).await.expect("complete");
    assert_eq!(api.take_asked()[1], "/r?since=5", "they do not move the bound");

    let world = World::new();
    let excluded = Within::range("t", 0..).exclude_nulls();
    world.run_within("excluded", source(&api, since()), Some(excluded)).await.expect("complete");
    assert_eq!(world.column("id"), [1]);

    let world = World::new();
    let failing = since().without(landfall::connectors::http::Without::Fail);
    let error = world.run("refused", source(&api, failing)).await.expect_err("no values").to_string();
    assert!(error.contains("no value to compare"), "{error}");
    assert!(world.column("id").is_empty());
}

#[tokio::test]
async fn a_backfill_leaves_the_state_of_the_live_pipeline_alone() {
    let all: Vec<(i64, i64)> = (0..100).map(|n| (n, n)).collect();
    let api = Api::start(move |asked| {
        let (from, to) = (asked.number("since").unwrap_or(0), asked.number("until").unwrap_or(i64::MAX));
        rows(&all.iter().copied().filter(|(_, t)| (from..to).contains(t)).collect::<Vec<_>>(), None)
    })
    .await;
    let world = World::new();
    let live = || source(&api, since().initial("90"));
    world.run("live", live()).await.expect("complete");
    let backfill = since().until_query("until").initial("0").until("90").window(Window::numbers(30));
    world.run("backfill", source(&api, backfill).parallel_windows(2)).await.expect("complete");
    assert_eq!(world.column("id"), (0..100).collect::<Vec<_>>());
    api.take_asked();
    world.run("live", live()).await.expect("complete");
    assert_eq!(api.take_asked(), ["/r?since=99"]);
    assert_eq!(world.column("id").len(), 100);
}

#[tokio::test]
async fn windows_that_fail_are_filled_by_the_next_run_and_nothing_is_loaded_twice() {
    let broken = Arc::new(AtomicUsize::new(1));
    let breaks = Arc::clone(&broken);
    let api = Api::start(move |asked| {
        let (from, to) = (asked.number("since").expect("bounded"), asked.number("until").expect("bounded"));
        if from == 20 && breaks.load(Ordering::SeqCst) == 1 {
            return (200, "{\"error\":\"window\"}".to_owned());
        }
        rows(&(from..to).map(|n| (n, n)).collect::<Vec<_>>(), None)
    })
    .await;
    let world = World::new();
    let windows = || {
        let since = since().until_query("until").initial("0").until("50").window(Window::numbers(10));
        source(&api, since).parallel_windows(3)
    };
    world.run("windows", windows()).await.expect_err("one window failed");
    assert!(world.last_report().contains("20 to 30"), "what is missing: {}", world.last_report());
    assert_eq!(world.column("id"), (0..20).chain(30..50).collect::<Vec<_>>());
    broken.store(0, Ordering::SeqCst);
    api.take_asked();
    world.run("windows", windows()).await.expect("complete");
    assert!(!world.last_report().contains("20 to 30"), "{}", world.last_report());
    assert_eq!(api.take_asked(), ["/r?since=20&until=30"]);
    assert_eq!(world.column("id"), (0..50).collect::<Vec<_>>());
}
