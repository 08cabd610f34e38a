//! What responses are taken for.

use super::*;
use crate::error::Status;
use std::ops::RangeInclusive;

/// What a read of one response brings, with `rules`.
async fn with(reply: Reply, rules: impl IntoIterator<Item = Rule>) -> (Brought, usize) {
    let server = Server::start(move |_| reply.clone()).await;
    let rest = rules.into_iter().fold(Rest::get(server.url("/r")).limits(patient()), RestBuilder::rule);
    let brought = read(&rest.build().expect("a source"), None).await;
    (brought, server.seen().len())
}

#[tokio::test]
async fn a_521_is_tried_again_and_a_refusal_is_told_with_its_body() {
    let (brought, requests) = with(Reply::status(521, "down"), []).await;
    assert_eq!((requests, brought.error().status()), (5, Status::Exhausted));
    for status in [400, 403] {
        let body = format!("no such field: amuont {}", "x".repeat(10_000));
        let (brought, requests) = with(Reply::status(status, body), []).await;
        let text = brought.error().to_string();
        assert_eq!((requests, brought.error().status()), (1, Status::Permanent));
        assert!(text.contains("no such field: amuont") && text.len() < 1_000, "{text}");
    }
}

#[tokio::test]
async fn an_error_with_status_200_fails_by_a_rule() {
    let reply = || Reply::json(r#"{"status":"ERROR","reason":"quota of the plan"}"#);
    for condition in ["@.status == 'ERROR'", "$[?@.status == 'ERROR']"] {
        let rule = On::body(condition).fail(ErrorKind::Data).message("the API reports an error");
        let (brought, requests) = with(reply(), [rule]).await;
        let text = brought.error().to_string();
        assert_eq!((requests, brought.error().kind()), (1, ErrorKind::Data), "{text}");
        assert!(text.contains("the API reports an error") && text.contains("quota of the plan"), "{text}");
    }
    // Good pages pass the same rule.
    let (brought, _) = with(Reply::json("[1,2]"), [On::body("@.status == 'ERROR'").fail(ErrorKind::Data)]).await;
    assert_eq!(brought.records(), ["1", "2"]);
}

#[tokio::test]
async fn the_body_in_an_error_is_without_secrets() {
    let server = Server::start(|_| Reply::json(r#"{"status":"ERROR","key":"s3cret-canary"}"#)).await;
    let rest = Rest::get(server.url("/r")).auth(Bearer::new("s3cret-canary")).limits(patient());
    let rest = rest.rule(On::body("@.status == 'ERROR'").fail(ErrorKind::Auth)).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert!(!format!("{:?} {}", brought.error(), brought.error()).contains("s3cret-canary"));
}

#[tokio::test]
async fn a_404_that_is_ignored_brings_nothing_and_the_rest_goes_on() {
    let server = Server::start(|got| match got.path() {
        "/b" => Reply::status(404, "no such shop"),
        path => Reply::json(format!("[\"{}\"]", &path[1..])),
    })
    .await;
    let shops = |rule: Option<Rule>| {
        let rest = Rest::get(server.url("/{id}")).limits(patient());
        let rest = ["a", "b", "c"].into_iter().fold(rest, |rest, id| rest.partition(id, [("id", id)]));
        rule.into_iter().fold(rest, RestBuilder::rule).build().expect("a source")
    };
    let rest = shops(Some(On::status(404).ignore().message("a shop without orders")));
    for (n, records) in [(0, vec!["\"a\""]), (1, vec![]), (2, vec!["\"c\""])] {
        let partition = list_partitions(&rest, &Env::system()).await.expect("listed")[n].clone();
        let brought = read_partition(&rest, &partition, None).await;
        assert_eq!(brought.records(), records);
        assert!(brought.stopped().is_complete());
        if n == 1 {
            let reason = brought.stopped().to_string();
            assert_eq!(reason, "ignored: a shop without orders (status 404, by the rule: status 404)");
        }
    }
    // The default raises.
    let partition = list_partitions(&shops(None), &Env::system()).await.expect("listed")[1].clone();
    assert_eq!(read_partition(&shops(None), &partition, None).await.error().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_422_is_ignored_in_either_order_of_the_rules() {
    let reply = Reply::status(422, r#"{"code":"archived"}"#);
    let one = || On::status(404).fail(ErrorKind::Config);
    let other = || On::status(422).and(On::body("@.code == 'archived'")).ignore();
    for rules in [vec![one(), other()], vec![other(), one()]] {
        let (brought, requests) = with(reply.clone(), rules).await;
        assert_eq!((requests, brought.emitted.len()), (1, 1), "a position, and no page");
        assert!(matches!(brought.stopped(), StopReason::Ignored(_)));
        assert!(brought.pages().is_empty());
    }
    // Another body is the failure that it was.
    let (brought, _) = with(Reply::status(422, "{}"), [other()]).await;
    assert_eq!(brought.error().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_is_ignored_does_not_move_the_bound() {
    let server = Server::start(|got| match got.number {
        0 => Reply::json(r#"[{"at":"2024-01-01T00:00:00Z"}]"#),
        1 => Reply::status(404, ""),
        _ => Reply::json("[]"),
    })
    .await;
    let since = Since::field("at").query("since").overlap(Duration::ZERO);
    let rest = Rest::get(server.url("/r")).limits(patient()).since(since);
    let rest = rest.rule(On::status(404).ignore()).build().expect("a source");
    let first = read(&rest, None).await;
    let second = read(&rest, Some(first.last_position())).await;
    assert_eq!(first.last_position(), second.last_position());
    read(&rest, Some(second.last_position())).await;
    assert_eq!(server.targets()[1], server.targets()[2]);
}

#[tokio::test]
async fn the_first_rule_that_holds_decides_before_the_status() {
    let reply = || Reply::status(400, r#"{"error":"busy"}"#);
    let busy = || On::body("@.error == 'busy'").retry().message("busy");
    let any = || On::status(400).fail(ErrorKind::Data).message("bad request");
    let (brought, requests) = with(reply(), [busy(), any()]).await;
    assert_eq!((requests, brought.error().kind()), (5, ErrorKind::Unavailable));
    let (brought, requests) = with(reply(), [any(), busy()]).await;
    assert_eq!((requests, brought.error().kind()), (1, ErrorKind::Data));
    // A predicate beats the default mapping, both ways.
    let (_, requests) = with(reply(), [busy()]).await;
    assert_eq!(requests, 5);
    let (brought, requests) =
        with(Reply::status(503, "maintenance"), [On::text("maintenance").fail(ErrorKind::Unavailable)]).await;
    assert_eq!(
        (requests, brought.error().kind(), brought.error().status()),
        (1, ErrorKind::Unavailable, Status::Exhausted)
    );
    // A kind of one's own for what a retry ends with.
    let (brought, _) = with(reply(), [busy().kind(ErrorKind::Data)]).await;
    assert_eq!((brought.error().kind(), brought.error().status()), (ErrorKind::Data, Status::Exhausted));
}

#[tokio::test]
async fn a_header_may_be_there_equal_or_match() {
    let reply = || Reply::json("[]").header("x-error", "Quota-17");
    for (on, holds) in [
        (On::header("X-Error"), true),
        (On::header("x-other"), false),
        (On::header_equals("x-error", "quota-17"), true),
        (On::header_equals("x-error", "quota"), false),
        (On::header_matches("x-error", "^Quota-[0-9]+$"), true),
        (On::header_matches("x-error", "^[0-9]+$"), false),
        (On::header("x-error").and(On::status(200)).and(On::text("[]")), true),
        (On::header("x-error").and(On::status(500..=599)), false),
    ] {
        let (brought, _) = with(reply(), [on.clone().fail(ErrorKind::Data)]).await;
        assert_eq!(brought.end.is_err(), holds, "{on}");
    }
}

#[tokio::test]
async fn a_rule_can_make_a_page_of_another_status_or_type() {
    let (brought, _) = with(Reply::status(206, "[1]"), [On::status(206).success()]).await;
    assert_eq!(brought.records(), ["1"]);
    let found = On::status(404).and(On::body("@[0]")).success();
    let (brought, _) = with(Reply::status(404, "[1]"), [found.clone()]).await;
    assert_eq!(brought.records(), ["1"]);
    assert_eq!(with(Reply::status(404, "[]"), [found]).await.0.error().kind(), ErrorKind::Config);
    // A page for people is recognised by a rule before its type is refused.
    let html = Reply::json("<html>maintenance</html>").header("content-type", "text/html");
    let (brought, requests) = with(html.clone(), [On::text("maintenance").retry()]).await;
    assert_eq!((requests, brought.error().status()), (5, Status::Exhausted));
    assert!(with(html, [On::text("other").retry()]).await.0.error().to_string().contains("not JSON"));
}

#[tokio::test]
async fn a_body_of_too_many_values_for_a_tree_is_refused_where_a_rule_asks_for_one() {
    let page = || Reply::json(format!("[{}1]", "1,".repeat(1 << 20)));
    let asks = || On::body("@.status == 'ERROR'");
    let (brought, requests) = with(page(), [asks().fail(ErrorKind::Data), On::text("1").retry()]).await;
    assert_eq!((requests, brought.error().kind(), brought.error().status()), (1, ErrorKind::Data, Status::Permanent));
    assert!(brought.error().to_string().contains("1,048,576 values"), "{}", brought.error());
    // A rule before it that holds, and one that is about other responses, ask for none.
    for rules in [
        vec![On::text("1").success(), asks().retry()],
        vec![On::text("x").retry(), asks().and(On::status(500)).retry()],
    ] {
        let (brought, _) = with(page(), rules).await;
        assert_eq!(brought.pages()[0].records, (1 << 20) + 1);
    }
}

#[tokio::test]
async fn an_error_in_place_of_lines_is_recognised() {
    let server = Server::start(|_| Reply::json("{\"error\":\"no\"}\n")).await;
    let lines = Rest::get(server.url("/r")).records("ndjson").limits(patient());
    let rest = lines.rule(On::body("$.error").fail(ErrorKind::Data)).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_page_that_the_api_has_forgotten_begins_the_listing_again() {
    let server = Server::start(|got| match got.parameter("cursor").as_deref() {
        Some("b") if got.number < 4 => Reply::json(r#"{"error":"expired"}"#),
        _ => three_pages(got),
    })
    .await;
    let rule = || On::body("@.error == 'expired'").page_expired();
    let brought = read(&by_cursor(&server).rule(rule()).build().expect("a source"), None).await;
    assert!(brought.stopped().is_complete());
    assert_eq!(brought.records(), [ids(1..=4), ids(1..=6)].concat());

    // Not for ever.
    let server = Server::start(|got| match got.parameter("cursor") {
        Some(_) => Reply::json(r#"{"error":"expired"}"#),
        None => three_pages(got),
    })
    .await;
    let brought = read(&by_cursor(&server).rule(rule()).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert_eq!(server.seen().len(), 8);
}

#[tokio::test]
async fn a_bound_that_the_api_does_not_reach_back_to_is_incomplete() {
    let (brought, requests) = with(Reply::status(410, ""), [On::status(410).cursor_too_old()]).await;
    assert_eq!((requests, brought.error().kind()), (1, ErrorKind::Incomplete));
}

#[test]
fn rules_that_cannot_be_meant_do_not_build() {
    for (rule, says) in [
        (On::status(200).ignore(), "never be one"),
        (On::status(200..=299).retry(), "never be one"),
        (On::status([]).ignore(), "no status"),
        (On::status(RangeInclusive::new(499, 400)).retry(), "no status"),
        (On::status(42).retry(), "no status"),
        (On::header("not a name").retry(), "header"),
        (On::header_matches("x", "(").retry(), "regular expression"),
        (On::body("status == 'ERROR'").retry(), "@.status"),
        (On::text("").retry(), "empty text"),
    ] {
        let text = Rest::get("http://127.0.0.1/").rule(rule).build().expect_err(says).to_string();
        assert!(text.contains(says), "{text}");
    }
    assert!(Rest::get("http://127.0.0.1/").rule(On::status(200).success()).build().is_ok());
}
