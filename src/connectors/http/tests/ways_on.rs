//! What leads on to the next page, and what ends a listing, in the ways that APIs have.

use super::*;
use crate::model::Proof;
use std::collections::BTreeSet;

fn rest(server: &Server, path: &str) -> RestBuilder {
    Rest::get(server.url(path)).records("$.data[*]").limits(patient())
}

async fn read_all(builder: RestBuilder) -> Brought {
    read(&builder.build().expect("a source"), None).await
}

fn refused(builder: RestBuilder) -> String {
    let error = builder.build().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn next_link_keys() {
    for (first, last, path) in [
        (r#"{"data":[1],"@odata.nextLink":"/r?p=2"}"#, r#"{"data":[2]}"#, "$['@odata.nextLink']"),
        (r#"{"data":[1],"next_page":{"url":"/r?p=2"}}"#, r#"{"data":[2],"next_page":{"url":null}}"#, "$.next_page.url"),
        (r#"{"data":[1],"next_page":{"url":"/r?p=2"}}"#, r#"{"data":[2],"next_page":null}"#, "$.next_page.url"),
    ] {
        let server =
            Server::start(move |got| Reply::json(if got.parameter("p").is_none() { first } else { last })).await;
        let brought = read_all(rest(&server, "/r").paginate(NextUrl::at(path))).await;
        assert_eq!(brought.records(), ["1", "2"]);
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    }
}

#[tokio::test]
async fn relative_next_keeps_port_and_percent_encoding() {
    let server = Server::start(|got| match got.target.as_str() {
        "/api/r" => page([1], "\"/api/r?page=2&query=%E3%81%82\""),
        _ => page([2], "null"),
    })
    .await;
    assert!(read_all(rest(&server, "/api/r").paginate(NextUrl::at("$.next"))).await.stopped().is_complete());
    assert_eq!(server.targets(), ["/api/r", "/api/r?page=2&query=%E3%81%82"]);
}

#[tokio::test]
async fn a_next_link_replaces_the_parameters() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r?page=1&limit=10" => page([1], "\"?sort=asc\""),
        _ => page([2], "null"),
    })
    .await;
    let source = rest(&server, "/r").query("page", "1").query("limit", "10").paginate(NextUrl::at("$.next"));
    assert!(read_all(source).await.stopped().is_complete());
    assert_eq!(server.targets(), ["/r?page=1&limit=10", "/r?sort=asc"]);
}

#[tokio::test]
async fn link_header_next_or_finished() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r" => page([1], "0").header("link", "</r?page=3>;rel=next,</r?page=2>;rel=back"),
        _ => page([2], "0").header("link", "</r?page=2>;rel=back"),
    })
    .await;
    assert_eq!(read_all(rest(&server, "/r").paginate(LinkHeader::new())).await.records(), ids([1, 2]));
    assert_eq!(server.targets(), ["/r", "/r?page=3"]);
    // Only `back` on the first page: finished. Another relation leads on where it is the one.
    assert_eq!(read_all(rest(&server, "/last").paginate(LinkHeader::new())).await.records(), ids([2]));
    let back = Server::start(|got| match got.target.as_str() {
        "/r" => page([1], "0").header("link", "</r?page=2>;rel=back"),
        _ => page([2], "0").header("link", "</r>;rel=next"),
    })
    .await;
    assert_eq!(read_all(rest(&back, "/r").paginate(LinkHeader::rel("back"))).await.records(), ids([1, 2]));
}

#[tokio::test]
async fn a_first_page_without_a_link_header_is_the_only_one_by_declaration() {
    let server = Server::start(|got| page(if got.path() == "/none" { 0..0 } else { 0..1 }, "0")).await;
    let brought = read_all(rest(&server, "/r").paginate(LinkHeader::new())).await;
    assert_eq!(brought.error().kind(), ErrorKind::Data);
    assert!(brought.error().to_string().contains(".optional()"), "{}", brought.error());
    assert!(read_all(rest(&server, "/r").paginate(LinkHeader::new().optional())).await.stopped().is_complete());
    assert!(read_all(rest(&server, "/none").paginate(LinkHeader::new())).await.stopped().is_complete());
}

#[tokio::test]
async fn total_as_string_or_error() {
    for (body, outcome) in [
        (r#"{"data":[1],"total":"1"}"#, Ok(())),
        (r#"{"data":[1],"total":1}"#, Ok(())),
        (r#"{"data":[1],"total":"abc"}"#, Err("$.total")),
        (r#"{"data":[1],"total":null}"#, Err("$.total")),
        (r#"{"data":[1],"total":-1}"#, Err("$.total")),
        (r#"{"data":[1]}"#, Err("$.total")),
    ] {
        let server = Server::start(move |_| Reply::json(body)).await;
        for source in [
            rest(&server, "/r").paginate(PageNumber::query("p").total("$.total")),
            rest(&server, "/r").paginate(Offset::query("o").total("$.total")),
            rest(&server, "/r").total("$.total"),
        ] {
            let brought = read_all(source).await;
            match outcome {
                Ok(()) => assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(1))),
                Err(path) => {
                    assert_eq!(brought.error().kind(), ErrorKind::Data, "{body}");
                    assert!(brought.error().to_string().contains(path), "{}", brought.error());
                }
            }
        }
    }
}

#[tokio::test]
async fn totals_in_headers() {
    let server = Server::start(|got| {
        let reply = Reply::json(format!("[{}]", got.number));
        match got.path() {
            "/none" => reply,
            "/odd" => reply.header("x-total-count", "many"),
            _ => reply.header("X-Total-Count", "2"),
        }
    })
    .await;
    let by = || PageNumber::query("p").total(Place::header("x-total-count"));
    let source = |path| Rest::get(server.url(path)).limits(patient());
    let brought = read_all(source("/r").paginate(by())).await;
    assert_eq!((brought.records().len(), brought.stopped()), (2, &StopReason::Exhausted(Proof::TotalMatched(2))));
    for path in ["/none", "/odd"] {
        let brought = read_all(source(path).paginate(by())).await;
        assert!(brought.error().to_string().contains("x-total-count"), "{}", brought.error());
    }
    let brought = read_all(source("/r").total(Place::header("x-total-count"))).await;
    assert!(brought.error().to_string().contains("claimed=`2`"), "{}", brought.error());
}

#[tokio::test]
async fn has_more_as_string_or_error() {
    for (more, outcome) in [
        (r#","more":"false""#, Some(true)),
        (r#","more":false"#, Some(true)),
        (r#","more":"False""#, Some(true)),
        (r#","more":"maybe""#, None),
        (r#","more":1"#, None),
        (r#","more":null"#, None),
        ("", None),
    ] {
        let server = Server::start(move |_| Reply::json(format!("{{\"data\":[1],\"next\":\"x\"{more}}}"))).await;
        for source in [
            rest(&server, "/r").paginate(PageNumber::query("p").has_more("$.more")),
            rest(&server, "/r").paginate(Offset::query("o").has_more("$.more")),
            rest(&server, "/r").paginate(Cursor::at("$.next").query("c").has_more("$.more")),
            rest(&server, "/r").paginate(NextUrl::at("$.next").has_more("$.more")),
            rest(&server, "/r").paginate(Keyset::of("$").query("after").has_more("$.more")),
        ] {
            let brought = read_all(source).await;
            match outcome {
                Some(complete) => assert_eq!(brought.stopped().is_complete(), complete),
                None => assert!(brought.error().to_string().contains("$.more"), "{more}: {}", brought.error()),
            }
        }
    }
}

#[tokio::test]
async fn more_that_nothing_leads_to_is_an_error() {
    let server = Server::start(|_| Reply::json(r#"{"data":[1],"next":null,"more":true}"#)).await;
    for source in [
        rest(&server, "/r").paginate(Cursor::at("$.next").query("c").has_more("$.more")),
        rest(&server, "/r").paginate(NextUrl::at("$.next").has_more("$.more")),
    ] {
        let brought = read_all(source).await;
        assert!(brought.error().to_string().contains("there is more"), "{}", brought.error());
    }
}

#[tokio::test]
async fn empty_pages_go_on_or_stop_as_declared() {
    // The API says that there is more behind an empty page.
    let server = Server::start(|got| match got.parameter("p").as_deref() {
        Some("1") => Reply::json(r#"{"data":[1],"more":true}"#),
        Some("2") => Reply::json(r#"{"data":[],"more":true}"#),
        _ => Reply::json(r#"{"data":[3],"more":false}"#),
    })
    .await;
    let brought = read_all(rest(&server, "/r").paginate(PageNumber::query("p").has_more("$.more"))).await;
    assert_eq!(brought.records(), ["1", "3"]);
    // A cursor on an empty page.
    let cursor = || Cursor::at("$.next").query("cursor");
    let script = |got: &Got| match got.parameter("cursor").as_deref() {
        None => page([1], "\"a\""),
        Some("a") => page([], "\"b\""),
        _ => page([2], "null"),
    };
    let server = Server::start(script).await;
    assert_eq!(read_all(rest(&server, "/r").paginate(cursor())).await.records(), ids([1, 2]));
    let server = Server::start(script).await;
    let stopped = read_all(rest(&server, "/r").paginate(cursor().until_empty())).await;
    assert_eq!(stopped.records(), ids([1]));
    assert_eq!((stopped.stopped(), server.seen().len()), (&StopReason::Exhausted(Proof::EmptyPage), 2));
}

#[tokio::test]
async fn an_empty_or_null_cursor_stops() {
    for end in ["\"\"", "null", "false"] {
        let server =
            Server::start(move |got| page([got.number as u64], if got.number == 0 { "\"a\"" } else { end })).await;
        let query = rest(&server, "/r").paginate(Cursor::at("$.next").query("c"));
        assert_eq!(read_all(query).await.records(), ids([0, 1]), "{end}");
        let server =
            Server::start(move |got| page([got.number as u64], if got.number == 0 { "[7,\"a\"]" } else { end })).await;
        let body = Rest::post(server.url("/r")).json(serde_json::json!({})).records("$.data[*]").limits(patient());
        let body = body.paginate(Cursor::at("$.next").body("$.search.after"));
        assert_eq!(read_all(body).await.records(), ids([0, 1]), "{end}");
        assert_eq!(server.seen()[1].json(), serde_json::json!({"search": {"after": [7, "a"]}}));
    }
}

#[test]
fn what_cannot_end_does_not_build() {
    let rest = || Rest::get("http://h/r");
    for never in [
        rest().paginate(Offset::query("o").limit("l", 10)),
        rest().paginate(PageNumber::query("p").size("s", 10)),
        rest().paginate(PageNumber::header("x-page")),
    ] {
        assert!(refused(never).contains("never end"));
    }
    assert!(refused(rest().paginate(Keyset::of("id").query("after").inclusive())).contains("last page"));
    for ends in [
        Offset::query("o").total("$.t"),
        Offset::query("o").maximum(5),
        Offset::query("o").has_more("$.m"),
        Offset::query("o").until_empty(),
        Offset::query("o").stop_when("$[?@.status == 'done']"),
    ] {
        assert!(rest().paginate(ends).build().is_ok());
    }
}

#[test]
fn both_places_or_neither_do_not_build() {
    let rest = || Rest::get("http://h/r");
    let post = || Rest::post("http://h/r").json(serde_json::json!({}));
    assert!(refused(rest().paginate(Cursor::at("$.n"))).contains("exactly one"));
    assert!(refused(post().paginate(Cursor::at("$.n").query("c").body("$.c"))).contains("exactly one"));
    assert!(refused(rest().paginate(Keyset::of("id"))).contains("exactly one"));
    assert!(refused(post().paginate(Keyset::of("id").query("a").body("$.a"))).contains("exactly one"));
    assert!(refused(rest().paginate(Keyset::of("a").query("a").and("b"))).contains("exactly one"));
    // An offset has one place by its type; that one must be there.
    assert!(refused(rest().paginate(Offset::query("").until_empty())).contains("no name"));
    assert!(refused(rest().paginate(Offset::body("$.from").until_empty())).contains("has none"));
    assert!(refused(post().paginate(Offset::body("$.o").limit("$.o", 5).until_empty())).contains("twice"));
    assert!(refused(rest().header("X-Page", "1").paginate(PageNumber::header("x-page").maximum(2))).contains("twice"));
    assert!(refused(rest().paginate(Cursor::at("$.n").query("c").stop_when("$[?"))).contains("condition"));
}

#[tokio::test]
async fn a_final_page_of_null_is_an_empty_page() {
    let script = |got: &Got| match got.parameter("p").as_deref() {
        Some("1") => Reply::json(r#"{"data":[1],"total":1}"#),
        _ => Reply::json(r#"{"data":null,"total":1}"#),
    };
    let server = Server::start(script).await;
    let brought = read_all(rest(&server, "/r").paginate(PageNumber::query("p").until_empty())).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::EmptyPage));
    assert_eq!((brought.records(), brought.pages().len()), (vec!["1".to_owned()], 2));
}

#[tokio::test]
async fn links_to_other_origins_are_refused_before_anything_is_sent() {
    let other = Server::start(|_| page([9], "null")).await;
    let elsewhere = other.url("/r");
    let server = Server::start(move |_| {
        page([1], &format!("{elsewhere:?}")).header("link", &format!("<{elsewhere}>; rel=next"))
    })
    .await;
    let source = || rest(&server, "/r").auth(Bearer::new("s3cret"));
    for source in [source().paginate(NextUrl::at("$.next")), source().paginate(LinkHeader::new())] {
        let brought = read_all(source).await;
        assert!(brought.error().to_string().contains("another origin"), "{}", brought.error());
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_keyset_goes_on_from_the_last_record() {
    let server = Server::start(|got| {
        let after: u64 = got.parameter("after").map_or(0, |id| id.parse().expect("a number"));
        page((after + 1)..=(after + 2).min(5), "0")
    })
    .await;
    let source = rest(&server, "/r").paginate(Keyset::of("id").query("after").size("limit", 2));
    let brought = read(&source.clone().build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids(1..=5));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::EmptyPage));
    assert_eq!(server.targets()[..2], ["/r?limit=2", "/r?limit=2&after=2"]);
    assert_eq!(crate::model::Position::validity(&brought.position(1)), crate::model::Validity::Durable);
    let again = read(&source.build().expect("a source"), Some(brought.position(1))).await;
    assert_eq!(again.records(), ids([5]));
}

#[tokio::test]
async fn a_keyset_of_several_fields_goes_into_a_body_with_its_types() {
    let server = Server::start(|got| match got.number {
        0 => Reply::json(r#"{"data":[{"t":"a","k":[1]},{"t":"b","k":[2,"x"]}]}"#),
        _ => Reply::json(r#"{"data":[]}"#),
    })
    .await;
    let source = Rest::post(server.url("/r")).json(serde_json::json!({"q": 1})).records("$.data[*]").limits(patient());
    let source = source.paginate(Keyset::of("t").body("$.after.t").and("$.k").body("$.after.k").size("$.size", 2));
    assert_eq!(read_all(source).await.records().len(), 2);
    assert_eq!(server.seen()[1].json(), serde_json::json!({"q": 1, "size": 2, "after": {"t": "b", "k": [2, "x"]}}));
}

#[tokio::test]
async fn a_keyset_without_its_field_or_with_more_ties_than_fit_is_an_error() {
    let server = Server::start(|_| Reply::json(r#"{"data":[{"id":1},{"id":null}]}"#)).await;
    let brought = read_all(rest(&server, "/r").paginate(Keyset::of("id").query("after"))).await;
    assert!(brought.error().to_string().contains("field=`id`"), "{}", brought.error());

    // From the bound on: the last ones come again.
    let from = |got: &Got| {
        let from: u64 = got.parameter("from").map_or(0, |t| t.parse().expect("a number"));
        let all = [1, 2, 2, 3, 3, 3, 4];
        let records: Vec<_> = all.iter().filter(|t| **t >= from).take(3).enumerate().collect();
        let records: Vec<_> = records.iter().map(|(n, t)| format!("{{\"t\":{t},\"n\":{n},\"at\":{from}}}")).collect();
        Reply::json(format!("{{\"data\":[{}]}}", records.join(",")))
    };
    let by = |size| Keyset::of("t").query("from").size("limit", size).inclusive();
    let server = Server::start(from).await;
    let brought = read_all(rest(&server, "/r").paginate(by(3))).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete, "three records of 3 fill a page of three");
    let server = Server::start(|got| match got.parameter("from") {
        None => Reply::json(r#"{"data":[{"t":1},{"t":2}]}"#),
        Some(_) => Reply::json(r#"{"data":[{"t":2}]}"#),
    })
    .await;
    let brought = read_all(rest(&server, "/r").paginate(by(2))).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
}

#[tokio::test]
async fn a_keyset_from_the_bound_on_ends_where_only_the_records_at_the_bound_come_again() {
    // The API gives no more than `most` records to a page, whatever it is asked for.
    let serve = |all: &'static [u64], most: usize| {
        move |got: &Got| {
            let from: u64 = got.parameter("from").map_or(0, |t| t.parse().expect("a number"));
            let records = all.iter().enumerate().filter(|(_, t)| **t >= from).take(most);
            let records: Vec<_> = records.map(|(n, t)| format!("{{\"n\":{n},\"t\":{t}}}")).collect();
            Reply::json(format!("{{\"data\":[{}]}}", records.join(",")))
        }
    };
    let by = || Keyset::of("t").query("from").size("limit", 4).inclusive();
    for all in [&[1][..], &[1, 2], &[1, 1, 2, 2], &[1, 2, 3, 4, 4]] {
        let server = Server::start(serve(all, 4)).await;
        let brought = read_all(rest(&server, "/r").paginate(by())).await;
        let came: BTreeSet<_> = brought.records().into_iter().collect();
        assert_eq!((came.len(), brought.stopped()), (all.len(), &StopReason::Exhausted(Proof::NoNextPage)), "{all:?}");
    }
    // A page that is full of equal records as far as this API goes hides those behind it; a first one too, which looks like all.
    for all in [&[1, 2, 2, 2, 3][..], &[2, 2, 2, 3], &[5, 5]] {
        let server = Server::start(serve(all, 2)).await;
        let brought = read_all(rest(&server, "/r").paginate(by())).await;
        assert!(brought.error().to_string().contains("full of equal records"), "{}", brought.error());
        // A read that goes on knows how large the pages were.
        let server = Server::start(serve(all, 2)).await;
        let first = read_all(rest(&server, "/r").paginate(by()).max_pages(1)).await;
        let resumed = rest(&server, "/r").paginate(by()).build().expect("a source");
        let resumed = read(&resumed, Some(first.last_position())).await;
        assert_eq!(resumed.error().kind(), ErrorKind::Incomplete, "{}", resumed.error());
    }
    assert!(refused(Rest::get("http://h/r").paginate(by().total("$.total"))).contains("count in a total"));
}

#[tokio::test]
async fn what_does_not_move_is_no_end_where_the_api_says_that_there_is_more() {
    for more in [true, false] {
        let server = Server::start(move |got| {
            let first = got.parameter("from").is_none();
            let records = if first { r#"{"t":1},{"t":2}"# } else { r#"{"t":2}"# };
            Reply::json(format!(r#"{{"data":[{records}],"next":"a","more":{}}}"#, first || more))
        })
        .await;
        let by_key = Keyset::of("t").query("from").size("limit", 4).inclusive().has_more("$.more");
        let by_token = Cursor::at("$.next").query("from").until_repeated().has_more("$.more");
        for rest in [rest(&server, "/r").paginate(by_key), rest(&server, "/r").paginate(by_token)] {
            let brought = read_all(rest).await;
            match &brought.end {
                Err(error) => assert!(more && error.to_string().contains("there is more"), "{error}"),
                Ok(reason) => assert!(!more && reason.is_complete(), "{reason:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_repeats_is_the_end_where_it_is_declared() {
    let script = |got: &Got| match got.parameter("since").as_deref() {
        None => page([1], "\"7-x\""),
        _ => page([], "\"7-x\""),
    };
    let server = Server::start(script).await;
    let cursor = Cursor::at("$.next").query("since");
    let brought = read_all(rest(&server, "/r").paginate(cursor.clone().until_repeated())).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    assert_eq!(read_all(rest(&server, "/r").paginate(cursor)).await.error().kind(), ErrorKind::Incomplete);
    // It is no way out of a longer circle.
    let circle = Server::start(|got| page([got.number as u64], ["\"a\"", "\"b\""][got.number % 2])).await;
    let cursor = Cursor::at("$.next").query("since").until_repeated();
    assert_eq!(read_all(rest(&circle, "/r").paginate(cursor)).await.error().kind(), ErrorKind::Incomplete);
}

#[tokio::test]
async fn an_expression_or_a_header_stops_the_listing() {
    let script = |got: &Got| {
        let state = if got.number == 2 { "done" } else { "running" };
        let body =
            format!("{{\"data\":[{}],\"next\":\"{}\",\"job\":{{\"status\":{state:?}}}}}", got.number, got.number);
        Reply::json(body).header("x-last", if got.number == 2 { "True" } else { "false" })
    };
    for stop in [Stop::query("$[?@.status == 'done']"), Stop::header("x-last", "true")] {
        let server = Server::start(script).await;
        let by_token = rest(&server, "/r").paginate(Cursor::at("$.next").query("c").stop_when(stop.clone()));
        let brought = read_all(by_token).await;
        assert_eq!(brought.records(), ["0", "1", "2"]);
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
        let server = Server::start(script).await;
        let by_number = rest(&server, "/r").paginate(PageNumber::query("p").stop_when(stop));
        assert_eq!(read_all(by_number).await.records(), ["0", "1", "2"]);
    }
}

#[tokio::test]
async fn a_body_of_too_many_values_for_a_tree_is_refused_where_an_expression_asks_for_one() {
    let body = format!("{{\"data\":[{}1],\"next\":\"a\",\"last\":true}}", "1,".repeat(1 << 20));
    let server = Server::start(move |_| Reply::json(body.clone()).header("x-last", "true")).await;
    let by_token = |stop: Stop| rest(&server, "/r").paginate(Cursor::at("$.next").query("c").stop_when(stop));
    let brought = read_all(by_token(Stop::query("$.last"))).await;
    assert_eq!(brought.error().kind(), ErrorKind::Data);
    assert!(brought.error().to_string().contains("1,048,576 values"), "{}", brought.error());
    assert!(read_all(by_token(Stop::header("x-last", "true"))).await.stopped().is_complete());
}

#[tokio::test]
async fn numbers_go_into_a_body_or_a_header() {
    let server = Server::start(|got| {
        let page = match got.headers.get("x-page") {
            Some(page) => page.parse().expect("a number"),
            None if got.headers["content-type"].contains("form") => {
                assert_eq!(got.body, format!("q=x&size=2&page={}", got.number + 1).as_bytes());
                got.number as u64 + 1
            }
            None => got.json()["page"]["number"].as_u64().expect("a number"),
        };
        Reply::json(format!("{{\"data\":[{page}],\"pages\":2}}"))
    })
    .await;
    let post = || Rest::post(server.url("/r")).records("$.data[*]").limits(patient());
    let form = post().form([("q", "x"), ("page", "0")]);
    let by_form = form.paginate(PageNumber::body("page").size("size", 2).total_pages("$.pages"));
    assert_eq!(read_all(by_form).await.records(), ["1", "2"]);
    let json = post().json(serde_json::json!({"page": {"size": 1}}));
    let by_json = json.paginate(PageNumber::body("$.page.number").total_pages("$.pages"));
    assert_eq!(read_all(by_json).await.records(), ["1", "2"]);
    assert_eq!(server.seen()[3].json(), serde_json::json!({"page": {"size": 1, "number": 2}}));
    let by_header = rest(&server, "/r").paginate(PageNumber::header("x-page").total_pages("$.pages"));
    assert_eq!(read_all(by_header).await.records(), ["1", "2"]);
}

#[tokio::test]
async fn a_number_in_a_body_never_changes_on_its_way() {
    let server =
        Server::start(|got| page([got.number as u64], if got.number == 0 { "12345678901234567890123" } else { "3e8" }))
            .await;
    let source = Rest::post(server.url("/r")).json(serde_json::json!({})).records("$.data[*]").limits(patient());
    let brought = read_all(source.paginate(Cursor::at("$.next").body("$.after"))).await;
    assert!(brought.error().to_string().contains("would change"), "{}", brought.error());
}

#[tokio::test]
async fn graphql_errors_in_a_200_are_a_failure() {
    let server = Server::start(|got| {
        let body = got.json();
        assert!(body["query"].as_str().expect("a query").contains("{shop}"), "braces of a query stay as they are");
        match body["variables"]["after"].as_str() {
            None => Reply::json(
                r#"{"data":{"orders":{"nodes":[1,2],"pageInfo":{"hasNextPage":true,"endCursor":"c2"}}},"errors":[]}"#,
            ),
            Some("c2") if body["variables"]["shop"] == "good" => Reply::json(
                r#"{"data":{"orders":{"nodes":[3],"pageInfo":{"hasNextPage":false,"endCursor":"c3"}}}}"#,
            ),
            _ => Reply::json(
                r#"{"data":{"orders":{"nodes":[],"pageInfo":{"hasNextPage":false,"endCursor":null}}},"errors":[{"message":"too complex"}]}"#,
            ),
        }
    })
    .await;
    let source = Rest::graphql(server.url("/graphql"), "query($after: String) { orders(after: $after) {shop} }")
        .variables(serde_json::json!({"shop": "{shop}"}))
        .partition("good", [("shop", "good")])
        .partition("bad", [("shop", "bad")])
        .paginate(Cursor::connection("$.data.orders", "after"))
        .records("$.data.orders.nodes[*]")
        .limits(patient());
    let source = source.build().expect("a source");
    let partitions: Vec<Partition> = ["good", "bad"]
        .map(|id| Partition::new(id).with_params(serde_json::json!({"values": {"shop": id}})))
        .into_iter()
        .collect();
    let good = read_partition(&source, &partitions[0], None).await;
    assert_eq!((good.records().len(), good.stopped()), (3, &StopReason::Exhausted(Proof::NoNextPage)));
    let bad = read_partition(&source, &partitions[1], None).await;
    assert_eq!(bad.records().len(), 2);
    assert!(bad.error().to_string().contains("too complex"), "{}", bad.error());
    assert!(refused(Rest::get("http://h/r").variables(serde_json::json!({}))).contains("GraphQL"));
}
