use super::*;
use crate::model::{Position, Proof, Validity};
use std::collections::BTreeSet;

/// Rows of `(time, id)` at or above the bound, two to a page.
fn rows(rows: &'static [(u64, char)]) -> impl Fn(&Got) -> Reply + Send + Sync {
    move |got| {
        let since = got.parameter("since").and_then(|s| s.parse().ok()).unwrap_or(0);
        let at: usize = got.parameter("cursor").and_then(|c| c.trim_start_matches('t').parse().ok()).unwrap_or(0);
        let found: Vec<_> = rows.iter().filter(|(t, _)| *t >= since).collect();
        let page: Vec<_> =
            found.iter().skip(at).take(2).map(|(t, id)| format!("{{\"t\":{t},\"id\":\"{id}\"}}")).collect();
        let next = if at + 2 < found.len() { format!("\"t{}\"", at + 2) } else { "null".to_owned() };
        Reply::json(format!("{{\"data\":[{}],\"next\":{next}}}", page.join(",")))
    }
}

fn since(server: &Server, since: Since) -> Rest {
    by_cursor(server).since(since.query("since")).build().expect("a source")
}

/// One page to a read.
fn limited(server: &Server, since: Since) -> Rest {
    by_cursor(server).since(since.query("since")).max_pages(1).build().expect("a source")
}

fn letters(brought: &Brought) -> String {
    brought.records().iter().filter_map(|r| r.chars().rev().nth(2)).collect()
}

#[tokio::test]
async fn the_next_read_begins_at_the_highest_value_and_keeps_ties_whole() {
    let server = Server::start(rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (3, 'd'), (3, 'e')])).await;
    let first = read(&since(&server, Since::field("t")), None).await;
    assert_eq!(letters(&first), "abcde");
    assert_eq!(first.last_position().validity(), Validity::Durable);

    let server = Server::start(rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (3, 'd'), (3, 'e'), (3, 'f'), (4, 'g')])).await;
    let second = read(&since(&server, Since::field("t")), Some(first.last_position())).await;
    assert_eq!(letters(&second), "cdefg");
    assert!(server.seen().iter().all(|got| got.parameter("since").as_deref() == Some("3")));
    let both: BTreeSet<_> = first.records().into_iter().chain(second.records()).collect();
    assert_eq!(both.len(), 7, "each row once after deduplication");
}

#[tokio::test]
async fn the_bound_moves_only_when_the_read_is_complete() {
    // Descending: the highest value comes first.
    let server = Server::start(rows(&[(9, 'a'), (8, 'b'), (7, 'c'), (6, 'd'), (5, 'e')])).await;
    let rest = since(&server, Since::field("t"));
    let whole = read(&rest, None).await;
    for n in 0..2 {
        let resumed = read(&rest, Some(whole.position(n))).await;
        assert_eq!(letters(&resumed), &"abcde"[2 * (n + 1)..]);
        assert_eq!(resumed.last_position(), whole.last_position(), "the value of the first page is kept");
        assert!(server.seen().iter().all(|got| got.parameter("since").is_none()));
    }
    read(&rest, Some(whole.last_position())).await;
    assert_eq!(server.seen().last().and_then(|got| got.parameter("since")).as_deref(), Some("9"));
}

#[tokio::test]
async fn a_read_without_news_keeps_the_bound() {
    let server = Server::start(rows(&[(3, 'c')])).await;
    let first = read(&since(&server, Since::field("t")), None).await;
    let server = Server::start(rows(&[(1, 'a')])).await;
    let nothing = read(&since(&server, Since::field("t")), Some(first.last_position())).await;
    assert_eq!((letters(&nothing).as_str(), nothing.last_position()), ("", first.last_position()));
    // With an overlap older rows come again; they do not move the bound back.
    let overlapping = read(&since(&server, Since::field("t").overlap_number(2)), Some(first.last_position())).await;
    assert_eq!((letters(&overlapping).as_str(), overlapping.last_position()), ("a", first.last_position()));
}

#[tokio::test]
async fn a_kept_page_that_the_api_has_forgotten_begins_the_slice_again_once() {
    let script = rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')]);
    let server = Server::start(move |got| match got.parameter("cursor") {
        Some(_) if got.number == 1 => Reply::status(410, "expired"),
        _ => script(got),
    })
    .await;
    let begun = read(&limited(&server, Since::field("t")), None).await;
    let again = read(&since(&server, Since::field("t")), Some(begun.last_position())).await;
    assert_eq!(letters(&again), "abcde");
    assert!(again.stopped().is_complete());

    // Declared ascending, the slice begins again at the highest value instead.
    let script = rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')]);
    let server = Server::start(move |got| match got.parameter("cursor") {
        Some(_) if got.number == 1 => Reply::status(400, "expired"),
        _ => script(got),
    })
    .await;
    let begun = read(&limited(&server, Since::field("t").row_order(RowOrder::Ascending)), None).await;
    let again =
        read(&since(&server, Since::field("t").row_order(RowOrder::Ascending)), Some(begun.last_position())).await;
    assert_eq!(letters(&again), "bcde");

    let script = rows(&[(1, 'a'), (2, 'b'), (3, 'c')]);
    let gone = move |got: &Got| if got.number == 0 { script(got) } else { Reply::status(410, "gone") };
    let server = Server::start(gone).await;
    let begun = read(&limited(&server, Since::field("t")), None).await;
    let refused = read(&since(&server, Since::field("t")), Some(begun.last_position())).await;
    assert_eq!((refused.error().kind(), server.seen().len()), (ErrorKind::Config, 3));
}

#[tokio::test]
async fn a_kept_page_that_is_forgotten_with_status_200_begins_again_once_too() {
    for forgotten in [r#"{"error":"cursor expired"}"#, r#"{"error":"cursor expired","data":[],"next":{}}"#] {
        let script = rows(&[(1, 'a'), (2, 'b'), (3, 'c')]);
        let server = Server::start(move |got| match got.parameter("cursor") {
            Some(_) if got.number == 1 => Reply::json(forgotten),
            _ => script(got),
        })
        .await;
        let begun = read(&limited(&server, Since::field("t")), None).await;
        let rest = since(&server, Since::field("t"));
        let again = read(&rest, Some(begun.last_position())).await;
        assert_eq!((letters(&again).as_str(), again.stopped().is_complete()), ("abc", true));
    }
    let script = rows(&[(1, 'a'), (2, 'b'), (3, 'c')]);
    let closed = move |got: &Got| if got.number == 0 { script(got) } else { Reply::json(r#"{"error":"closed"}"#) };
    let server = Server::start(closed).await;
    let begun = read(&limited(&server, Since::field("t")), None).await;
    let refused = read(&since(&server, Since::field("t")), Some(begun.last_position())).await;
    assert_eq!((refused.error().kind(), server.seen().len()), (ErrorKind::Data, 3));
}

#[tokio::test]
async fn records_out_of_the_declared_order_are_all_read() {
    let server = Server::start(rows(&[(1, 'a'), (3, 'b'), (2, 'c'), (4, 'd')])).await;
    let ordered = Since::field("t").row_order(RowOrder::Ascending).until("4");
    let brought = read(&since(&server, ordered), None).await;
    assert_eq!((letters(&brought).as_str(), brought.stopped().is_complete()), ("abcd", true));
    assert_eq!(serde_json::to_value(brought.last_position()).expect("JSON")["since"]["number"], "3", "4 is not within");
}

/// Rows by id in the order given, three to a page, without end if there are enough; `seen` counts pages.
fn feed(ids: impl Iterator<Item = u64> + Clone + Send + Sync + 'static) -> impl Fn(&Got) -> Reply + Send + Sync {
    move |got| {
        let at: usize = got.parameter("cursor").map_or(0, |c| c.trim_start_matches('t').parse().expect("a page"));
        let records: Vec<u64> = ids.clone().skip(at).take(3).collect();
        let more = ids.clone().nth(at + 3).is_some();
        page(records, &if more { format!("\"t{}\"", at + 3) } else { "null".to_owned() })
    }
}

fn within(brought: &Brought, from: u64, to: u64) -> usize {
    let number = |r: &String| r.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().expect("an id");
    brought.records().iter().map(number).filter(|id| (from..to).contains(id)).count()
}

#[tokio::test]
async fn a_feed_in_order_ends_where_it_leaves_the_bounds() {
    let newest_first = || Since::field("id").initial("10").row_order(RowOrder::Descending);
    let server = Server::start(feed((0..=48).rev())).await;
    let brought = read(&by_cursor(&server).since(newest_first()).build().expect("a source"), None).await;
    assert_eq!((within(&brought, 10, 100), server.seen().len()), (39, 14));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::PassedBound));

    let endless = Server::start(feed(22..)).await;
    let oldest_first = Since::field("id").until("45").row_order(RowOrder::Ascending);
    let brought = read(&by_cursor(&endless).since(oldest_first).build().expect("a source"), None).await;
    assert_eq!((within(&brought, 0, 45), endless.seen().len()), (23, 8));
    assert!(brought.stopped().is_complete());
}

#[tokio::test]
async fn a_wrong_declared_order_loses_no_rows() {
    for size_one in [false, true] {
        for (order, initial, until) in [(RowOrder::Descending, "10", "100"), (RowOrder::Ascending, "0", "45")] {
            // Each order declared of a feed in the other one.
            let ids: Vec<u64> = match order {
                RowOrder::Descending => (0..=48).collect(),
                _ => (0..=48).rev().collect(),
            };
            let script = feed(ids.clone().into_iter());
            let server = Server::start(move |got| {
                if !size_one {
                    return script(got);
                }
                let at: usize =
                    got.parameter("cursor").map_or(0, |c| c.trim_start_matches('t').parse().expect("a page"));
                page([ids[at]], &if at + 1 < ids.len() { format!("\"t{}\"", at + 1) } else { "null".to_owned() })
            })
            .await;
            let since = Since::field("id").initial(initial).until(until).row_order(order);
            let brought = read(&by_cursor(&server).since(since).build().expect("a source"), None).await;
            assert_eq!(within(&brought, 0, 100), 49, "{order:?} {size_one}");
        }
    }
}

#[tokio::test]
async fn a_feed_that_begins_again_is_still_in_order() {
    let script = feed((0..=20).rev());
    let server = Server::start(move |got| match got.parameter("cursor") {
        Some(_) if got.number == 1 => Reply::status(410, "expired"),
        _ => script(got),
    })
    .await;
    let newest_first = || Since::field("id").initial("10").row_order(RowOrder::Descending);
    let begun = by_cursor(&server).since(newest_first()).max_pages(1).build().expect("a source");
    let begun = read(&begun, None).await;
    let again =
        read(&by_cursor(&server).since(newest_first()).build().expect("a source"), Some(begun.last_position())).await;
    assert_eq!(again.stopped(), &StopReason::Exhausted(Proof::PassedBound));
    assert_eq!((within(&again, 10, 100), server.seen().len()), (11, 6), "it ends where it leaves the bounds");
}

#[tokio::test]
async fn a_newest_first_feed_ends_at_the_first_page_with_a_known_record() {
    let pages = |got: &Got, newest: &str| {
        let row = |t: &str| format!("{{\"t\":\"{t}\"}}");
        let rows = match got.parameter("cursor") {
            None => [row("2999-01-01T00:00:00Z"), row(newest), row("2020-06-01T00:00:00Z")],
            Some(_) => [row("2020-05-01T00:00:00Z"), row("2020-04-01T00:00:00Z"), row("2020-03-01T00:00:00Z")],
        };
        let next = if got.parameter("cursor").is_none() { "\"2\"" } else { "null" };
        Reply::json(format!("{{\"data\":[{}],\"next\":{next}}}", rows.join(",")))
    };
    let server = Server::start(move |got| {
        let newest =
            if got.parameter("of").as_deref() == Some("a") { "2021-02-01T00:00:00Z" } else { "2020-07-01T00:00:00Z" };
        pages(got, newest)
    })
    .await;
    let rest = by_cursor(&server).query("of", "{p}").since(Since::field("t").row_order(RowOrder::Descending));
    let rest = rest.partition("a", [("p", "a")]).partition("b", [("p", "b")]).build().expect("a source");
    let position = |time: &str| {
        let position = serde_json::json!({"field": "t", "since": {"time": time}});
        Some(serde_json::from_value::<RestPosition>(position).expect("a position"))
    };
    let [a, b] = &listed(&rest).await[..] else { panic!("two partitions") };
    let brought = read_partition(&rest, a, position("2021-01-01T00:00:00Z")).await;
    assert_eq!((server.seen().len(), brought.records().len()), (1, 3), "the record of the future is kept too");
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::PassedBound));
    let since = serde_json::to_value(brought.last_position()).expect("JSON")["since"]["time"].clone();
    assert_eq!(since, "2021-02-01T00:00:00Z");
    // The other partition has a cursor of its own, and needs more pages for it.
    let brought = read_partition(&rest, b, position("2020-04-01T00:00:00Z")).await;
    assert_eq!((server.seen().len(), brought.records().len()), (3, 6));
    // The record that set the bound is gone: nothing shows that the order holds, so all is read.
    let gone = read_partition(&rest, b, position("2020-12-01T00:00:00Z")).await;
    assert_eq!(gone.pages().len(), 2);
}

#[tokio::test]
async fn the_lag_and_the_edges_of_a_range_with_equal_values() {
    let server = Server::start(rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (3, 'd')])).await;
    let begun = read(&since(&server, Since::field("t")), None).await.last_position();
    let asked = |since: Since| {
        let rest = by_cursor(&server).since(since.query("since")).build().expect("a source");
        let (begun, server) = (begun.clone(), &server);
        async move {
            let brought = read(&rest, Some(begun)).await;
            (letters(&brought), server.seen().last().and_then(|got| got.parameter("since")).expect("bounded"))
        }
    };
    assert_eq!(asked(Since::field("t")).await, ("cd".to_owned(), "3".to_owned()));
    assert_eq!(asked(Since::field("t").overlap_number(1)).await, ("bcd".to_owned(), "2".to_owned()));
    // To an API that leaves out the bound itself one less is sent: equal values come again, and none is lost.
    assert_eq!(asked(Since::field("t").lower(Edge::Exclusive)).await.1, "2");
    let text = serde_json::json!({"field": "t", "since": {"text": "c"}});
    let exclusive = by_cursor(&server).since(Since::field("t").query("since").lower(Edge::Exclusive));
    let refused =
        read(&exclusive.build().expect("a source"), Some(serde_json::from_value(text).expect("a position"))).await;
    assert!(refused.error().to_string().contains("just below"), "{}", refused.error());
}

#[tokio::test]
async fn another_cursor_field_starts_over_explicitly() {
    let server = Server::start(rows(&[(1, 'a'), (2, 'b')])).await;
    let begun = read(&since(&server, Since::field("t")), None).await.last_position();
    let refused = read(&since(&server, Since::field("id")), Some(begun.clone())).await;
    assert_eq!((refused.error().kind(), refused.emitted.len()), (ErrorKind::Config, 0));
    assert!(refused.error().to_string().contains("start_over_on_key_change"), "{}", refused.error());
    let over = read(&since(&server, Since::field("id").start_over_on_key_change()), Some(begun)).await;
    assert_eq!(letters(&over), "ab");
    assert_eq!(server.seen().last().and_then(|got| got.parameter("since")), None);
    let kept = read(&since(&server, Since::field("id")), Some(over.last_position())).await;
    assert!(kept.stopped().is_complete(), "once");
}

#[tokio::test]
async fn a_bound_that_the_api_does_not_go_back_to_follows_the_policy() {
    let server = Server::start(|got| match got.parameter("since") {
        Some(since) if since.starts_with("2023-01") => Reply::status(410, "too old"),
        _ => Reply::json(r#"{"data":[{"t":"2023-12-31T00:00:00Z","id":"a"}],"next":null}"#),
    })
    .await;
    let old = || {
        let position = serde_json::json!({"field": "t", "since": {"time": "2023-01-01T00:00:00Z"}});
        Some(serde_json::from_value::<RestPosition>(position).expect("a position"))
    };
    let exact = || Since::field("t").overlap(Duration::ZERO);
    let refused = read(&since(&server, exact()), old()).await;
    assert!(refused.error().to_string().contains("too_old"), "{}", refused.error());
    let full = read(&since(&server, exact().too_old(CursorTooOld::FullRefresh)), old()).await;
    assert_eq!((letters(&full).as_str(), server.seen().last().and_then(|got| got.parameter("since"))), ("a", None));
    let day = Duration::from_secs(86_400);
    let bounded = read(&since(&server, exact().too_old(CursorTooOld::From(day))), old()).await;
    assert!(bounded.stopped().is_complete());
    assert_eq!(server.seen().last().and_then(|got| got.parameter("since")).as_deref(), Some("2023-12-31T00:00:00Z"));

    // One that does not go back that far either is not asked for ever.
    let server = Server::start(|got| {
        assert!(got.number < 10, "it is asked again and again");
        Reply::status(410, "too old")
    })
    .await;
    let refused = read(&since(&server, exact().too_old(CursorTooOld::From(day))), old()).await;
    assert!(refused.error().to_string().contains("410"), "{}", refused.error());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_bounded_load_ends_at_its_value() {
    let server = Server::start(rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (9, 'd')])).await;
    let bounded = Since::field("t").until_query("until").until("3");
    let brought = read(&since(&server, bounded), None).await;
    assert!(server.seen().iter().all(|got| got.parameter("until").as_deref() == Some("3")));
    assert_eq!(serde_json::to_value(brought.last_position()).expect("JSON")["since"]["number"], "2");
}

#[tokio::test]
async fn the_upper_bound_stays_as_it_was_when_the_read_began() {
    let server = Server::start(rows(&[(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')])).await;
    let bounds = Since::field("t").until_query("until").lag(Duration::from_secs(60));
    let brought = read(&since(&server, bounds.clone()), None).await;
    let until = |n: usize| server.seen()[n].parameter("until").expect("bounded");
    assert_eq!((until(0), until(2)), ("2023-12-31T23:59:00Z".to_owned(), until(0)));
    let kept = serde_json::to_value(brought.position(0)).expect("JSON").to_string();
    assert!(kept.contains("2023-12-31T23:59:00Z"), "{kept}");
}

#[tokio::test]
async fn records_without_a_value_are_taken_or_refused_as_declared() {
    let server =
        Server::start(|_| Reply::json(r#"{"data":[{"t":5,"id":"a"},{"t":null,"id":"b"},{"id":"c"}],"next":null}"#))
            .await;
    let taken = read(&since(&server, Since::field("t")), None).await;
    assert_eq!(letters(&taken), "abc");
    let refused = read(&since(&server, Since::field("t").without(Without::Fail)), None).await;
    assert_eq!(refused.error().kind(), ErrorKind::Data);
    assert!(refused.error().to_string().contains("records=`2`"));
    assert!(refused.emitted.is_empty());
}

#[tokio::test]
async fn a_field_that_changed_its_type_is_not_compared() {
    let server = Server::start(rows(&[(5, 'a')])).await;
    let first = read(&since(&server, Since::field("t")), None).await;
    let row = |n: u32| format!("{{\"t\":\"2023-01-01T00:{:02}:{:02}Z\",\"id\":\"a\"}}", n / 60, n % 60);
    let changed = (0..100).map(row).collect::<Vec<_>>().join(",");
    let server = Server::start(move |_| Reply::json(format!("{{\"data\":[{changed}],\"next\":null}}"))).await;
    let changed = read(&since(&server, Since::field("t")), Some(first.last_position())).await;
    assert_eq!(changed.error().kind(), ErrorKind::Config);
    assert_eq!((changed.records().len(), changed.last_position()), (100, first.last_position()), "what came is landed");
}

#[tokio::test]
async fn a_read_that_brings_only_bad_values_keeps_the_bound() {
    let time = r#"{"data":[{"t":"2024-01-01T00:00:00Z","id":"a"}],"next":null}"#;
    for bad in [
        r#"{"data":[{"t":"yesterday","id":"b"}],"next":null}"#,
        r#"{"data":[{"t":7,"id":"b"},{"t":8,"id":"c"}],"next":null}"#,
    ] {
        let server = Server::start(move |got| Reply::json(if got.number == 1 { bad } else { time })).await;
        let rest = since(&server, Since::field("t"));
        let first = read(&rest, None).await;
        let second = read(&rest, Some(first.last_position())).await;
        assert!(second.stopped().is_complete());
        assert_eq!(second.last_position(), first.last_position());
    }
}

#[tokio::test]
async fn an_overlap_that_does_not_fit_the_field_is_told_by_the_first_read() {
    let server = Server::start(rows(&[(3, 'a'), (4, 'b'), (5, 'c')])).await;
    let overlap = Since::field("t").overlap(Duration::from_secs(300));
    let refused = read(&since(&server, overlap.clone()), None).await;
    assert_eq!((refused.error().kind(), refused.emitted.len()), (ErrorKind::Config, 0));
    assert!(refused.error().to_string().contains("overlap"), "{}", refused.error());
    assert!(read(&since(&server, overlap.clone().unit(Unit::Seconds)), None).await.stopped().is_complete());
    let server = Server::start(|_| Reply::json(r#"{"data":[{"t":"v2024","id":"a"}],"next":null}"#)).await;
    let refused = read(&since(&server, overlap), None).await;
    assert_eq!((refused.error().kind(), letters(&refused).as_str()), (ErrorKind::Config, "a"));
}

#[tokio::test]
async fn a_time_that_is_counted_in_a_string_overlaps_as_well() {
    let server = Server::start(|_| Reply::json(r#"{"data":[{"t":"1700000000","id":"a"}],"next":null}"#)).await;
    let rest = since(&server, Since::field("t").unit(Unit::Seconds));
    let first = read(&rest, None).await;
    let second = read(&rest, Some(first.last_position())).await;
    assert!(second.stopped().is_complete());
    assert!(server.targets()[1].contains("1699999700"), "{:?}", server.targets());
}

#[tokio::test]
async fn an_overlap_is_no_descent() {
    let server = Server::start(rows(&[(3, 'a'), (4, 'b'), (5, 'c')])).await;
    let ordered = since(&server, Since::field("t").row_order(RowOrder::Ascending).overlap_number(2));
    let first = read(&ordered, None).await;
    let second = read(&ordered, Some(first.last_position())).await;
    assert_eq!((letters(&second).as_str(), second.last_position()), ("abc", first.last_position()));
}

#[tokio::test]
async fn one_record_of_the_future_does_not_end_all_reading() {
    let server = Server::start(|got| {
        let rows = r#"{"t":"2999-01-01T00:00:00Z","id":"a"},{"t":"2023-12-31T12:00:00Z","id":"b"}"#;
        match got.parameter("cursor") {
            None => Reply::json(format!("{{\"data\":[{rows}],\"next\":\"p\"}}")),
            Some(_) => Reply::json(r#"{"data":[{"t":"2023-12-31T13:00:00Z","id":"c"}],"next":null}"#),
        }
    })
    .await;
    let rest = since(&server, Since::field("t"));
    let first = read(&rest, None).await;
    assert_eq!(letters(&first), "abc");
    let resumed = read(&rest, Some(first.position(0))).await;
    assert_eq!(resumed.last_position(), first.last_position());
    read(&rest, Some(first.last_position())).await;
    let sent = server.seen().last().and_then(|got| got.parameter("since"));
    assert_eq!(sent.as_deref(), Some("2023-12-31T12:55:00Z"));
}

#[test]
fn positions_have_a_frozen_form() {
    let text = r#"{"since":{"time":"2024-01-01T00:00:00Z"},"field":"at","reading":[{"at":{"token":"3e8"},"until":"2024-02-01T00:00:00Z","highest":{"number":"7"},"pages":3,"records":30}]}"#;
    let position: RestPosition = serde_json::from_str(text).expect("the form of version 1");
    assert_eq!(serde_json::to_string(&position).expect("JSON"), text);
    let whole = r#"{"reading":[{"at":"first","plan":18446744073709551615,"began":"2024-02-01T00:00:00Z","pages":1,"records":0,"largest":2,"columns":[7,18446744073709551615],"mark":{"seed":1,"request":2,"content":3},"empty":1,"unordered":true,"within":true}]}"#;
    let position: RestPosition = serde_json::from_str(whole).expect("the form of version 1");
    assert_eq!(serde_json::to_string(&position).expect("JSON"), whole);
    let windows = r#"{"field":"at","windows":{"span":{"from":"2024-01-01T00:00:00Z","to":"2024-03-01T00:00:00Z"},"gaps":[{"from":"2024-02-01T00:00:00Z","to":"2024-02-02T00:00:00Z"}]},"reading":[{"window":{"from":1,"to":9},"at":"first","pages":0,"records":0}]}"#;
    let position: RestPosition = serde_json::from_str(windows).expect("the form of version 1");
    assert_eq!(serde_json::to_string(&position).expect("JSON"), windows);
    let conditional = r#"{"validators":{"plan":7,"etag":"\"a\"","last_modified":"Mon, 01 Jan 2024 00:00:00 GMT"}}"#;
    let position: RestPosition = serde_json::from_str(conditional).expect("the form of version 1");
    assert_eq!(serde_json::to_string(&position).expect("JSON"), conditional);
    assert_eq!(serde_json::to_string(&RestPosition::default()).expect("JSON"), "{}");
    for at in [r#""first""#, r#"{"number":2}"#, r#"{"offset":3}"#, r#"{"link":"/r?a"}"#] {
        let at: At = serde_json::from_str(at).expect("the form of version 1");
        assert_ne!(at, At::Token(String::new()));
    }
}
