use super::*;
use crate::model::{Position, Proof, Validity};
use crate::retry::Concurrency;
use std::collections::BTreeSet;

/// A record for each number in `from..to` (as asked for), two to a page.
fn numbers(got: &Got) -> Reply {
    let bound = |name| got.parameter(name).and_then(|n| n.parse::<u64>().ok()).expect("bounded");
    let at = got.parameter("cursor").map_or(0, |c| c.trim_start_matches('p').parse().expect("a page"));
    let records: Vec<u64> = (bound("from")..bound("to")).skip(at).take(2).collect();
    let more = bound("from") + (at as u64) + 2 < bound("to");
    page(records, &if more { format!("\"p{}\"", at + 2) } else { "null".to_owned() })
}

fn windowed(server: &Server, since: Since) -> RestBuilder {
    by_cursor(server).since(since.query("from").until_query("to"))
}

/// Windows of 10 numbers from 0 to 30.
fn thirty() -> Since {
    Since::field("id").initial("0").until("30").window(Window::numbers(10))
}

/// The bounds of the requests for first pages, in order.
fn asked(server: &Server) -> Vec<String> {
    let firsts = server.seen().into_iter().filter(|got| got.parameter("cursor").is_none());
    let name = |got: Got| format!("{}-{}", got.parameter("from").expect("lower"), got.parameter("to").expect("upper"));
    firsts.map(name).collect()
}

fn sorted(brought: &Brought) -> Vec<u64> {
    let mut ids: Vec<u64> = brought
        .records()
        .iter()
        .map(|r| r.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("an id"))
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn windows_are_read_one_after_the_other_and_cover_everything_once() {
    let server = Server::start(numbers).await;
    let rest = windowed(&server, thirty()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(asked(&server), ["0-10", "10-20", "20-30"]);
    assert_eq!(sorted(&brought), (0..30).collect::<Vec<_>>());
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::AllWindows(3)));
    assert_eq!(brought.last_position().validity(), Validity::Durable);
    let again = read(&rest, Some(brought.last_position())).await;
    assert_eq!((again.stopped(), again.pages().len()), (&StopReason::Exhausted(Proof::AllWindows(0)), 0));
}

#[tokio::test]
async fn whatever_the_moment_of_a_crash_the_next_run_brings_what_is_missing() {
    for (parallel, order) in
        [(1, WindowOrder::OldestFirst), (3, WindowOrder::OldestFirst), (2, WindowOrder::NewestFirst)]
    {
        let server = Server::start(numbers).await;
        let since = Since::field("id").initial("0").until("30").window(Window::numbers(10).order(order));
        let rest = windowed(&server, since).parallel_windows(parallel).build().expect("a source");
        let whole = read(&rest, None).await;
        let all: BTreeSet<String> = whole.records().into_iter().collect();
        for n in 0..whole.emitted.len() {
            let position = whole.position(n);
            assert!(position.reading.len() <= parallel, "{position:?}");
            let rest_of_it = read(&rest, Some(position)).await;
            let mut both: Vec<String> = rest_of_it.records();
            for emission in &whole.emitted[..=n] {
                let page = emission.item.as_ref().expect("a page");
                both.extend(
                    page.spans
                        .as_ref()
                        .expect("spans")
                        .iter()
                        .map(|s| String::from_utf8_lossy(s.of(&page.body).expect("inside")).into_owned()),
                );
            }
            assert_eq!(both.len(), 30, "nothing is read twice");
            assert_eq!(both.into_iter().collect::<BTreeSet<_>>(), all);
            assert!(rest_of_it.stopped().is_complete());
        }
    }
}

#[tokio::test]
async fn four_partitions_of_three_windows_make_twelve_requests_each_once() {
    let server = Server::start(|_| page([], "null")).await;
    let since = Since::field("at").initial("2023-12-29").window(Window::days());
    let rest = windowed(&server, since).query("of", "{p}").parallel_windows(3);
    let rest = (0..4).fold(rest, |rest, n| rest.partition(format!("p{n}"), [("p", n.to_string())]));
    let rest = rest.build().expect("a source");
    let partitions = listed(&rest).await;
    let reads = futures::future::join_all(partitions.iter().map(|p| read_partition(&rest, p, None))).await;
    assert!(reads.iter().all(|brought| brought.stopped() == &StopReason::Exhausted(Proof::AllWindows(3))));
    let targets: BTreeSet<String> = server.targets().into_iter().collect();
    assert_eq!((server.seen().len(), targets.len()), (12, 12));
    for n in 0..4 {
        for (from, to) in [(29, "2023-12-30"), (30, "2023-12-31"), (31, "2024-01-01")] {
            let target = format!("/r?of={n}&from=2023-12-{from}T00%3A00%3A00Z&to={to}T00%3A00%3A00Z");
            assert!(targets.contains(&target), "{target} in {targets:?}");
        }
    }
    // Windows with nothing in them are complete.
    let position = serde_json::to_value(reads[0].last_position()).expect("JSON");
    assert_eq!(
        position["windows"],
        serde_json::json!({"span": {"from": "2023-12-29T00:00:00Z", "to": "2024-01-01T00:00:00Z"}})
    );
}

#[tokio::test]
async fn a_window_cut_short_leaves_its_gap_and_withholds_the_watermark() {
    let server = Server::start(|got| match got.parameter("from").as_deref() {
        Some("10") if got.parameter("cursor").is_some() => Reply::json("{\"oops\":true}"),
        _ => numbers(got),
    })
    .await;
    let rest = windowed(&server, thirty()).build().expect("a source");
    let cut = read(&rest, None).await;
    assert_eq!(cut.error().kind(), ErrorKind::Data);
    assert_eq!(asked(&server), ["0-10", "10-20", "20-30"], "the others are read");
    let position = cut.last_position();
    assert_eq!(
        serde_json::to_value(&position).expect("JSON")["windows"],
        serde_json::json!({
            "span": {"from": 0, "to": 30}, "gaps": [{"from": 10, "to": 20}]
        })
    );
    let server = Server::start(numbers).await;
    let rest = windowed(&server, thirty()).build().expect("a source");
    let filled = read(&rest, Some(position)).await;
    assert!(filled.stopped().is_complete());
    assert!(server.seen().iter().all(|got| got.parameter("from").as_deref() == Some("10")));
    let both: BTreeSet<u64> = sorted(&cut).into_iter().chain(sorted(&filled)).collect();
    assert_eq!(both.len(), 30);
    // Without windows the next read begins at the watermark.
    let server = Server::start(|got| page([], if got.number > 9 { "1" } else { "null" })).await;
    let one = by_cursor(&server).since(Since::field("id").query("from")).build().expect("a source");
    read(&one, Some(cut.last_position())).await;
    assert_eq!(server.seen()[0].parameter("from").as_deref(), Some("10"));
}

#[tokio::test]
async fn an_api_that_fails_is_not_asked_for_all_its_windows() {
    let server = Server::start(|_| Reply::status(403, "no")).await;
    let since = Since::field("id").initial("0").until("1000").window(Window::numbers(1));
    let rest = windowed(&server, since).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Auth);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn inclusive_ends_do_not_overlap() {
    let server = Server::start(|_| page([], "null")).await;
    let rest = windowed(&server, thirty().upper(Edge::Inclusive)).build().expect("a source");
    read(&rest, None).await;
    assert_eq!(asked(&server), ["0-9", "10-19", "20-29"]);
    let server = Server::start(|_| page([], "null")).await;
    let rest = windowed(&server, thirty().lower(Edge::Exclusive)).build().expect("a source");
    read(&rest, None).await;
    assert_eq!(asked(&server), ["-1-10", "9-20", "19-30"]);
    let server = Server::start(|_| page([], "null")).await;
    let dates = Since::field("day").initial("2023-12-01").format(CursorFormat::Date).window(Window::months());
    read(&windowed(&server, dates.upper(Edge::Inclusive)).build().expect("a source"), None).await;
    assert_eq!(asked(&server), ["2023-12-01-2023-12-31"]);
}

#[tokio::test]
async fn the_end_of_the_windows_is_set_when_the_read_begins_less_the_lag() {
    let server = Server::start(|_| page([], "null")).await;
    let since = Since::field("at").initial("2023-12-31T23:00:00Z").lag(Duration::from_secs(60));
    let since = since.window(Window::of(Duration::from_secs(3_600)));
    let rest = windowed(&server, since).build().expect("a source");
    let first = read(&rest, None).await;
    assert_eq!(asked(&server), ["2023-12-31T23:00:00Z-2023-12-31T23:59:00Z"]);
    // What the clock has gone on since then is read next, and the overlap with it.
    let later = serde_json::json!({"field": "at", "windows": {"span": {"from": "2023-12-31T23:00:00Z", "to": "2023-12-31T23:30:00Z"}}});
    read(&rest, Some(serde_json::from_value(later).expect("a position"))).await;
    assert_eq!(asked(&server)[1..], ["2023-12-31T23:25:00Z-2023-12-31T23:59:00Z"]);
    let again = read(&rest, Some(first.last_position())).await;
    assert_eq!(again.pages().len(), 0, "no time has passed");
}

#[tokio::test]
async fn the_newest_windows_come_first_and_the_history_after_them() {
    let server = Server::start(numbers).await;
    let newest = |until: &str| {
        let since =
            Since::field("id").initial("0").until(until).window(Window::numbers(10).order(WindowOrder::NewestFirst));
        windowed(&server, since).max_pages(7).build().expect("a source")
    };
    let first = read(&newest("30"), None).await;
    assert_eq!(asked(&server), ["20-30", "10-20"]);
    assert_eq!(first.stopped(), &StopReason::LimitReached("7 pages".to_owned()));
    // What is new goes before the history; a window under way goes on first.
    let second = read(&newest("40"), Some(first.last_position())).await;
    assert_eq!(asked(&server)[2..], ["30-40"]);
    let third = read(&newest("40"), Some(second.last_position())).await;
    assert_eq!(asked(&server)[3..], ["0-10"]);
    assert!(third.stopped().is_complete());
    assert_eq!([first, second, third].iter().flat_map(sorted).collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn the_history_of_one_partition_gives_way_to_the_news_of_another() {
    let server = Server::start(|_| page([], "null")).await;
    let newest_first = Window::numbers(10).order(WindowOrder::NewestFirst);
    let since = Since::field("id").initial("0").until("30").window(newest_first);
    let rest = windowed(&server, since).query("of", "{p}").parallel_windows(3).concurrency(Concurrency::fixed(1));
    let rest = ["a", "b"].into_iter().fold(rest, |rest, p| rest.partition(p, [("p", p)])).build().expect("a source");
    let partitions = listed(&rest).await;
    futures::future::join_all(partitions.iter().map(|p| read_partition(&rest, p, None))).await;
    let news = server.targets().iter().take(2).filter(|target| target.contains("from=20")).count();
    assert_eq!(news, 2, "{:?}", server.targets());
}

#[tokio::test]
async fn a_source_that_was_read_as_a_whole_goes_on_in_windows() {
    let server = Server::start(numbers).await;
    let whole = windowed(&server, Since::field("id").initial("0").until("15")).build().expect("a source");
    let first = read(&whole, None).await;
    assert_eq!(sorted(&first), (0..15).collect::<Vec<_>>());
    let rest = windowed(&server, thirty()).build().expect("a source");
    let second = read(&rest, Some(first.last_position())).await;
    assert_eq!(asked(&server)[1..], ["14-24", "24-30"]);
    assert!(second.stopped().is_complete());
}

#[tokio::test]
async fn bounds_go_into_places_of_the_path_and_the_body_too() {
    let server = Server::start(|_| page([], "null")).await;
    let rest = Rest::post(server.url("/r/{since}")).idempotent().records("$.data[*]").limits(patient());
    let rest = rest.json(serde_json::json!({"filter": "id >= {since} and id < {until}"})).since(thirty());
    read(&rest.build().expect("a source"), None).await;
    assert_eq!(server.targets(), ["/r/0", "/r/10", "/r/20"]);
    assert_eq!(server.seen()[1].json()["filter"], "id >= 10 and id < 20");
}

#[tokio::test]
async fn the_record_of_a_window_that_fails_for_good_replaces_those_of_the_shorter_ones_before() {
    let server = Server::start(|_| Reply::json("{}")).await;
    let source = |until: &str| {
        let since = Since::field("id").initial("0").until(until).overlap_number(1).window(Window::numbers(100));
        windowed(&server, since).build().expect("a source")
    };
    let mut position = None;
    // The record of a window is handed over together with the position that forgets those that it replaces.
    for (until, replaced) in [("10", None), ("20", Some("10")), ("30", Some("20"))] {
        let brought = read(&source(until), position).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        let said = brought.emitted.iter().flat_map(|emission| emission.coverage.clone());
        let said: Vec<_> = said.map(|of| (of.window.and_then(|window| window.to), of.withdrawn)).collect();
        let end = |to: &str, withdrawn: bool| (Some(to.to_owned()), withdrawn);
        let expected = replaced.map(|before| vec![end(before, true), end(until, false)]);
        assert_eq!(said, expected.unwrap_or_default());
        let last = brought.last_position();
        assert_eq!(last.begun.len(), 1, "{:?}", last.begun);
        position = Some(last);
    }
}

#[test]
fn windows_that_cannot_work_do_not_build() {
    let rest = |since: Since| Rest::get("http://h/r").since(since.query("from").until_query("to")).build().map(drop);
    let numbers = || Since::field("id").window(Window::numbers(10));
    let days = || Since::field("at").window(Window::days());
    rest(numbers().initial("0").until("10")).expect("fine");
    rest(days().initial("2024-01-01")).expect("fine");
    for (since, says) in [
        (numbers().until("10"), "beginning"),
        (numbers().initial("0"), "need an end"),
        (numbers().initial("soon").until("10"), "does not fit"),
        (days().initial("17"), "does not fit"),
        (days().initial("2024-01-01").lower(Edge::Exclusive), "granularity"),
        (
            Since::field("at")
                .initial("2024-01-01")
                .format(CursorFormat::Date)
                .window(Window::of(Duration::from_secs(60))),
            "multiple",
        ),
        (days().initial("2024-01-01").too_old(CursorTooOld::FullRefresh), "begin anywhere else"),
        (Since::field("at").initial("2024-01-01").window(Window::days().zone("Mars/Olympus")), "time zone"),
    ] {
        let error = rest(since).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let one_bound = Rest::get("http://h/r").since(numbers().initial("0").until("10").query("from")).build();
    assert!(one_bound.is_err());
    assert!(Rest::get("http://h/r").parallel_windows(2).build().is_err());
}
