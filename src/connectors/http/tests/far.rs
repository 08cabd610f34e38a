//! Long listings: pages side by side, limits of a listing, tokens that expire, and what is said of them in the end.

use super::*;
use crate::model::{Coverage, Drift, Proof, Validity};
use std::collections::BTreeSet;

/// 1 to `all`, in pages of 2 by `page` or by `offset`.
fn numbers(got: &Got, all: u64) -> Reply {
    let number = |name: &str| got.parameter(name).and_then(|n| n.parse::<u64>().ok());
    let from = number("offset").unwrap_or_else(|| (number("page").expect("a page") - 1) * 2);
    let size = number("limit").unwrap_or(2);
    let rows: Vec<_> = (from..(from + size).min(all)).map(|n| format!("{{\"id\":{}}}", n + 1)).collect();
    Reply::json(format!("{{\"data\":[{}],\"total\":{all},\"pages\":{}}}", rows.join(","), all.div_ceil(2)))
}

fn rest(server: &Server) -> RestBuilder {
    Rest::get(server.url("/r")).records("$.data[*]").limits(patient())
}

async fn read_all(builder: RestBuilder) -> Brought {
    read(&builder.build().expect("a source"), None).await
}

#[tokio::test]
async fn pages_are_asked_for_side_by_side_and_handed_over_in_order() {
    // The second page fails until those behind it have been asked for.
    let asked = Mutex::new(BTreeSet::new());
    let server = Server::start(move |got| {
        let page = got.parameter("page").expect("a page");
        let mut asked = asked.lock().expect("not poisoned");
        let waits = page == "2" && !(asked.contains("3") && asked.contains("4"));
        asked.insert(page);
        if waits { Reply::status(500, "not now") } else { numbers(got, 9) }
    })
    .await;
    let source = rest(&server).paginate(PageNumber::query("page").total_pages("$.pages")).parallel_pages(3);
    let brought = read_all(source.clone()).await;
    assert_eq!(brought.records(), ids(1..=9));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    let asked: Vec<_> = server.seen().iter().filter_map(|got| got.parameter("page")).collect();
    let others: Vec<_> = asked.iter().filter(|page| *page != "2").collect();
    assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len(), "each once: {asked:?}");
    // It goes on at any page.
    for n in 0..4 {
        let rest = read(&source.clone().build().expect("a source"), Some(brought.position(n))).await;
        assert_eq!(rest.records(), ids(2 * n as u64 + 3..=9));
    }
}

#[tokio::test]
async fn offsets_go_side_by_side_with_their_overlap_and_without() {
    for overlap in [0, 1] {
        let server = Server::start(|got| numbers(got, 17)).await;
        let by = Offset::query("offset").limit("limit", 4).total("$.total").overlap(overlap);
        let brought = read_all(rest(&server).paginate(by).parallel_pages(4)).await;
        assert_eq!(brought.records(), ids(1..=17));
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(17)));
        let asked: BTreeSet<_> = server.targets().into_iter().collect();
        assert_eq!(asked.len(), server.seen().len(), "none is asked for twice");
    }
}

#[tokio::test]
async fn what_was_asked_for_in_vain_is_dropped() {
    // The server gives three at most, though the first page had four: the places that were expected are not those that follow.
    let server = Server::start(|got| {
        let offset: u64 = got.parameter("offset").and_then(|n| n.parse().ok()).expect("an offset");
        let size = if offset == 0 { 4 } else { 3 };
        let rows: Vec<_> = (offset..(offset + size).min(20)).map(|n| format!("{{\"id\":{n}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":20}}", rows.join(",")))
    })
    .await;
    let by = Offset::query("offset").limit("limit", 4).total("$.total");
    assert_eq!(read_all(rest(&server).paginate(by).parallel_pages(3)).await.records(), ids(0..20));
}

#[tokio::test]
async fn a_listing_at_the_limit_of_the_api_is_cut_at_the_last_cursor_value() {
    // A search over 1 to 25, which gives ten hits at most of one listing, and refuses to go on behind them.
    let search = |got: &Got| {
        let number = |name: &str| got.parameter(name).and_then(|n| n.parse::<u64>().ok());
        let (page, from) = (number("page").expect("a page"), number("from").unwrap_or(1));
        if page * 4 > 10 {
            return Reply::status(400, "result window is too large");
        }
        let rows: Vec<_> = (from..=25).skip(usize::try_from((page - 1) * 4).expect("small")).take(4).collect();
        let rows: Vec<_> = rows.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":{}}}", rows.join(","), 26 - from))
    };
    let server = Server::start(search).await;
    let since = || Since::field("id").query("from").row_order(RowOrder::Ascending);
    let source = rest(&server).paginate(PageNumber::query("page").total("$.total")).since(since()).window_limit(10);
    let brought = read_all(source.clone()).await;
    let unique: BTreeSet<_> = brought.records().into_iter().collect();
    assert_eq!(unique, ids(1..=25).into_iter().collect());
    assert!(brought.stopped().is_complete());
    assert!(server.targets().contains(&"/r?from=8&page=1".to_owned()), "{:?}", server.targets());
    // It goes on inside of any cut.
    let whole = brought.records().len();
    for n in 0..brought.pages().len() - 1 {
        let rest = read(&source.clone().build().expect("a source"), Some(brought.position(n))).await;
        assert!(rest.stopped().is_complete() && rest.records().len() < whole, "{n}: {:?}", rest.end);
        assert!(rest.records().contains(&"{\"id\":25}".to_owned()));
    }
    // If one value fills what the API gives, it cannot shrink.
    let same = Server::start(|got| {
        let page: u64 = got.parameter("page").and_then(|n| n.parse().ok()).expect("a page");
        let first = if got.parameter("from").is_none() { page * 4 } else { page * 4 + 100 };
        let rows: Vec<_> = (first..first + 4).map(|n| format!("{{\"id\":7,\"n\":{n}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":100}}", rows.join(",")))
    })
    .await;
    let source = rest(&same).paginate(PageNumber::query("page").total("$.total")).since(since()).window_limit(10);
    let brought = read_all(source).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert!(brought.error().to_string().contains("window_limit=`10`"), "{}", brought.error());
}

#[tokio::test]
async fn a_listing_that_has_come_below_the_limit_is_not_cut() {
    let server = Server::start(|got| numbers(got, 9)).await;
    let since = Since::field("id").query("from").row_order(RowOrder::Ascending);
    let source = rest(&server).paginate(PageNumber::query("page").total("$.total")).since(since).window_limit(10);
    let brought = read_all(source).await;
    assert_eq!(brought.records(), ids(1..=9));
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_total_that_is_clamped_to_the_limit_is_no_proof_of_the_end() {
    let search = |got: &Got| {
        let number = |name: &str| got.parameter(name).and_then(|n| n.parse::<u64>().ok());
        let (offset, from) = (number("offset").expect("an offset"), number("from").unwrap_or(1));
        let hits: Vec<_> = (from..=15).take(8).collect();
        let rows: Vec<_> = hits.iter().skip(usize::try_from(offset).expect("small")).take(4).collect();
        let rows: Vec<_> = rows.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":{}}}", rows.join(","), hits.len()))
    };
    let server = Server::start(search).await;
    let since = Since::field("id").query("from").row_order(RowOrder::Ascending);
    let by = Offset::query("offset").limit("limit", 4).total("$.total").overlap(0);
    let source = rest(&server).paginate(by).since(since);
    assert_eq!(read_all(source.clone()).await.records().len(), 8, "it looks complete");
    let unique: BTreeSet<_> = read_all(source.window_limit(8)).await.records().into_iter().collect();
    assert_eq!(unique, ids(1..=15).into_iter().collect());
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_asked_for() {
    let server = Server::start(three_pages).await;
    let source = by_cursor(&server).token_lives(Duration::from_secs(60)).build().expect("a source");
    let begun = read(&source, None).await;
    let kept = begun.position(0);
    let until = Timestamp::from_micros(START + 60_000_000);
    assert_eq!(crate::model::Position::validity(&kept), Validity::ShortLived { until: Some(until) });
    // In time it goes on; later it begins again.
    assert_eq!(read(&source, Some(kept.clone())).await.records(), ids(3..=6));
    let mut old = serde_json::to_value(&kept).expect("JSON");
    old["reading"][0]["expires"] = serde_json::to_value(Timestamp::from_micros(START)).expect("JSON");
    let late = read(&source, Some(serde_json::from_value(old).expect("a position"))).await;
    assert_eq!(late.records(), ids(1..=6));
    assert!(late.stopped().is_complete());
    // The number of a page does not expire.
    let server = Server::start(|got| numbers(got, 5)).await;
    let by_number = rest(&server).paginate(PageNumber::query("page").total("$.total"));
    let kept = read_all(by_number.token_lives(Duration::from_secs(60))).await.position(0);
    let kept = serde_json::to_value(kept).expect("JSON");
    assert!(kept["reading"][0]["at"].is_object() && kept["reading"][0].get("expires").is_none(), "{kept}");
}

#[tokio::test]
async fn a_page_that_the_api_has_forgotten_is_gone_on_from_the_highest_value() {
    // The token is forgotten once, in the middle of the read.
    let forgotten = AtomicU64::new(0);
    let server = Server::start(move |got| {
        let from: u64 = got.parameter("from").map_or(1, |n| n.parse().expect("a number"));
        match got.parameter("cursor").as_deref() {
            None => page([from, from + 1], &format!("\"{}\"", from + 2)),
            Some("5") if forgotten.fetch_add(1, Ordering::SeqCst) == 0 => Reply::status(410, "gone"),
            Some(token) => {
                let at: u64 = token.parse().expect("a number");
                page([at, at + 1], &if at < 7 { format!("\"{}\"", at + 2) } else { "null".to_owned() })
            }
        }
    })
    .await;
    let source = by_cursor(&server).rule(On::status(410).page_expired());
    let split = source.clone().since(Since::field("id").query("from").row_order(RowOrder::Ascending));
    assert_eq!(read_all(split).await.records(), ids((1..=4).chain(4..=9)));
}

/// What a read says is covered.
fn covered(brought: &Brought) -> Vec<Coverage> {
    brought.emitted.iter().flat_map(|emission| emission.coverage.clone()).collect()
}

#[tokio::test]
async fn the_coverage_says_what_was_claimed_what_came_and_whether_it_moved() {
    let moved = |got: &Got| numbers(got, if got.number == 0 { 9 } else { 8 });
    for (source, drift) in [
        (Offset::query("offset").limit("limit", 4).total("$.total"), Drift::NoneSeen),
        (Offset::query("offset").limit("limit", 4).total("$.total").overlap(0), Drift::Unchecked),
    ] {
        let server = Server::start(|got| numbers(got, 9)).await;
        let brought = read_all(rest(&server).paginate(source)).await;
        let said = covered(&brought);
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].claimed, said[0].tally.records, said[0].drift), (Some(9), 9, drift));
        assert!(said[0].tally.content.is_some() && said[0].missing().is_none());
    }
    let by_page = PageNumber::query("page").total("$.total");
    let server = Server::start(moved).await;
    let healed = covered(&read_all(rest(&server).paginate(by_page.clone())).await);
    assert!(matches!(healed[0].drift, Drift::Healed(_)), "{healed:?}");
    let server = Server::start(|got| numbers(got, 9)).await;
    let confirmed = covered(&read_all(rest(&server).paginate(by_page.clone()).confirm()).await);
    assert_eq!((confirmed[0].drift, confirmed[0].tally.records), (Drift::NoneSeen, 9));
    let server = Server::start(moved).await;
    let accepted = covered(&read_all(rest(&server).paginate(by_page).accept_drift()).await);
    assert_eq!(accepted[0].drift, Drift::Open);
}

#[test]
fn refuses_what_cannot_be_asked_for_ahead_or_cut() {
    let refused = |builder: RestBuilder| builder.build().expect_err("refused").to_string();
    let rest = || Rest::get("http://h/r");
    assert!(refused(rest().paginate(Cursor::at("$.n").query("c")).parallel_pages(2)).contains("same time"));
    assert!(refused(rest().paginate(PageNumber::query("p").total("$.t")).parallel_pages(0)).contains("nothing"));
    assert!(refused(rest().paginate(PageNumber::query("p").total("$.t")).window_limit(10)).contains("ascending"));
    let lines = rest().records("ndjson").paginate(PageNumber::query("p").total(Place::header("x-total")));
    assert!(refused(lines.parallel_pages(2)).contains("same time"));
    assert!(refused(rest().confirm().accept_drift()).contains("confirmed"));
    assert!(refused(rest().confirm().allow_repeated_pages()).contains("confirmed"));
}
