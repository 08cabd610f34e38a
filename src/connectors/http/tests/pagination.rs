use super::*;
use crate::model::{Position, Proof, Validity};

fn config_error(builder: RestBuilder) -> String {
    let error = builder.build().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn follows_a_cursor_to_its_end_and_lands_each_page_as_it_came() {
    let server = Server::start(three_pages).await;
    let rest = by_cursor(&server).query("k", "v w").header("x-mine", "1").build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    assert_eq!(brought.records(), ids(1..=6));
    assert_eq!(server.targets(), ["/r?k=v+w", "/r?k=v+w&cursor=a", "/r?k=v+w&cursor=b"]);
    let first = brought.pages()[0];
    assert_eq!(first.body, r#"{"data":[{"id":1},{"id":2}],"next":"a"}"#);
    assert_eq!((first.request.as_str(), first.status), ("GET /r?k=v+w", 200));
    assert_eq!(first.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    assert!(server.seen().iter().all(|got| got.headers.get("x-mine").is_some_and(|v| v == "1")));
    assert!(server.seen().iter().all(|got| !got.headers.contains_key("referer")));
    assert_eq!(brought.position(0).validity(), Validity::ShortLived { until: None });
    assert_eq!(brought.last_position(), RestPosition::default());
}

#[tokio::test]
async fn tokens_are_opaque_and_keep_their_own_text() {
    let tokens = ["3e8", "9007199254740993", "\"3e8\"", "1.0", "\"a\\u0026b=\""];
    let server = Server::start(move |got| page([got.number as u64], tokens.get(got.number).unwrap_or(&"\"\""))).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    // The string and the number are the same token: that is a circle.
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    let sent: Vec<_> = server.seen().iter().filter_map(|g| g.parameter("cursor")).collect();
    assert_eq!(sent, ["3e8", "9007199254740993"]);

    let tokens = ["3e8", "1.0", "\"a\\u0026b=\""];
    let server = Server::start(move |got| page([got.number as u64], tokens.get(got.number).unwrap_or(&"\"\""))).await;
    let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
    assert!(brought.stopped().is_complete());
    let sent: Vec<_> = server.seen().iter().filter_map(|g| g.parameter("cursor")).collect();
    assert_eq!(sent, ["3e8", "1.0", "a&b="]);
}

#[tokio::test]
async fn an_absent_cursor_ends_the_listing_unless_the_path_may_be_wrong() {
    for (first, ends) in [
        (r#"{"data":[1],"meta":{"next":null}}"#, true),
        (r#"{"data":[1],"meta":{"next":""}}"#, true),
        (r#"{"data":[1],"meta":null}"#, true),
        (r#"{"data":[]}"#, true),
        (r#"{"data":[],"meta":{}}"#, true),
        (r#"{"data":[1],"meta":{"nxt":"a"}}"#, false),
        (r#"{"data":[1]}"#, false),
        (r#"{"data":[],"meta":{"next":{}}}"#, false),
    ] {
        let server = Server::start(move |_| Reply::json(first)).await;
        let cursor = Cursor::at("$.meta.next").query("cursor");
        let brought = read(&by_cursor(&server).paginate(cursor.clone()).build().expect("a source"), None).await;
        match &brought.end {
            Ok(reason) => assert!(ends && reason.is_complete(), "{first}"),
            Err(error) => assert!(!ends && error.to_string().contains("$.meta.next"), "{first}: {error}"),
        }
        assert!(!first.contains("nxt") || brought.error().to_string().contains("names_there=`nxt`"));
        let optional = read(&by_cursor(&server).paginate(cursor.optional()).build().expect("a source"), None).await;
        assert_eq!(optional.end.is_ok(), !first.contains("\"next\":{}"), "{first}");
        let link = by_cursor(&server).paginate(NextUrl::at("$.meta.next")).build().expect("a source");
        assert_eq!(read(&link, None).await.end.is_ok(), ends, "{first}");
    }
    // On a page that a token led to, also in another run.
    let server = Server::start(|got| match got.parameter("cursor") {
        None => Reply::json(r#"{"data":[1],"meta":{"next":"a"}}"#),
        Some(_) => Reply::json(r#"{"data":[2]}"#),
    })
    .await;
    let rest = by_cursor(&server).paginate(Cursor::at("$.meta.next").query("cursor")).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!((brought.records().len(), brought.stopped()), (2, &StopReason::Exhausted(Proof::NoNextPage)));
    assert!(read(&rest, Some(brought.position(0))).await.stopped().is_complete());
}

#[tokio::test]
async fn a_cursor_travels_in_headers_too() {
    let server = Server::start(|got| match got.headers.get("x-page").map(String::as_str) {
        None => Reply::json("[1]").header("x-next", "t1"),
        Some("t1") => Reply::json("[2]"),
        _ => Reply::status(400, ""),
    })
    .await;
    let rest = Rest::get(server.url("/r")).paginate(Cursor::in_header("x-next").header("x-page")).limits(patient());
    assert_eq!(read(&rest.build().expect("a source"), None).await.records(), ["1", "2"]);
    let elsewhere = Cursor::in_header("x-nxt").header("x-page");
    let rest = Rest::get(server.url("/r")).paginate(elsewhere.clone()).limits(patient()).build().expect("a source");
    assert!(read(&rest, None).await.error().to_string().contains("x-nxt"));
    let rest = Rest::get(server.url("/r")).paginate(elsewhere.optional()).limits(patient()).build().expect("a source");
    assert!(read(&rest, None).await.stopped().is_complete());
}

#[tokio::test]
async fn follows_a_next_url_with_only_its_own_parameters() {
    let server = Server::start(|got| match got.target.as_str() {
        "/api/r?page=1&limit=10" => page([1], "\"?sort=asc\""),
        "/api/r?sort=asc" => page([2], "\"/api/r?page=2&query=%E3%81%82\""),
        "/api/r?page=2&query=%E3%81%82" => page([3], &format!("\"http://{}/api/x\"", got.headers["host"])),
        "/api/x" => Reply::json(r#"{"data":null}"#),
        other => Reply::status(404, other.to_owned()),
    })
    .await;
    let rest = Rest::get(server.url("/api/r")).query("page", "1").query("limit", "10").limits(patient());
    let rest = rest.paginate(NextUrl::at("$.next")).records("$.data[*]").build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    assert_eq!(brought.records(), ids(1..=3));
    assert_eq!(brought.pages().len(), 4, "the empty last page is landed too");
}

#[tokio::test]
async fn follows_the_link_header_by_its_relation() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r" => {
            Reply::json("[1]").header("link", "</r?page=0>; rel=first").header("link", "</r?page=2>; rel=\"last next\"")
        }
        "/r?page=2" => Reply::json("[2]").header("link", "</r?page=3>;rel=next,</r?page=1>;rel=back"),
        _ => Reply::json("[3]").header("link", "</r?page=2>;rel=back"),
    })
    .await;
    let rest = Rest::get(server.url("/r")).paginate(LinkHeader::new()).limits(patient()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ["1", "2", "3"]);
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
}

#[tokio::test]
async fn a_header_beyond_ascii_leads_on_and_one_that_is_not_text_is_an_error() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r" => Reply::json("[1]").header("link", "</r?q=é>; rel=next; title=\"é\"").header("x-next", "é"),
        "/r?q=%C3%A9" => Reply::json("[2]"),
        "/r?cursor=%C3%A9" => Reply::json("[3]").header("x-next", ""),
        _ => Reply::json("[4]").raw_header("link", b"</r?q=\xe9>; rel=next").raw_header("x-next", b"\xe9"),
    })
    .await;
    let rest = |path: &str| Rest::get(server.url(path)).limits(patient());
    let linked = rest("/r").paginate(LinkHeader::new()).build().expect("a source");
    assert_eq!(read(&linked, None).await.records(), ["1", "2"]);
    let token = || Cursor::in_header("x-next").query("cursor");
    let by_token = rest("/r").paginate(token()).build().expect("a source");
    assert_eq!(read(&by_token, None).await.records(), ["1", "3"]);
    for rest in [rest("/latin").paginate(LinkHeader::new()), rest("/latin").paginate(token().optional())] {
        let brought = read(&rest.build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        assert!(brought.error().to_string().contains("not UTF-8"), "{}", brought.error());
    }
}

#[tokio::test]
async fn counts_pages_from_any_number_to_the_end_that_was_declared() {
    let server = Server::start(|got| {
        let n: u64 = got.parameter("page").and_then(|p| p.parse().ok()).expect("a page");
        let records = if n < 3 { format!("[{n}]") } else { "[]".to_owned() };
        Reply::json(format!("{{\"data\":{records},\"pages\":\"3\",\"more\":\"{}\",\"total\":\"3\"}}", n < 2))
    })
    .await;
    let read_by = |paginate: PageNumber| {
        let rest = Rest::get(server.url("/r")).paginate(paginate).records("$.data[*]").limits(patient());
        async move { read(&rest.build().expect("a source"), None).await }
    };
    let from_0 = PageNumber::query("page").starting_at(0).size("per_page", 1);
    for (paginate, proof) in [
        (from_0.clone().total_pages("$.pages"), Proof::NoNextPage),
        (from_0.clone().until_empty(), Proof::EmptyPage),
        (from_0.clone().has_more("$.more"), Proof::NoNextPage),
        (from_0.clone().total("$.total"), Proof::TotalMatched(3)),
    ] {
        let brought = read_by(paginate).await;
        assert_eq!(brought.stopped(), &StopReason::Exhausted(proof));
        assert_eq!(brought.records(), ["0", "1", "2"]);
    }
    let limited = read_by(PageNumber::query("page").maximum(2)).await;
    assert!(matches!(limited.stopped(), StopReason::LimitReached(_)));
    assert_eq!(limited.records(), ["1", "2"]);
    assert_eq!(limited.last_position(), RestPosition::default(), "a listing cut short does not count as read");
}

#[tokio::test]
async fn offsets_go_on_by_the_records_that_came() {
    // It gives two at most, whatever it is asked for.
    let server = Server::start(|got| {
        let offset: u64 = got.parameter("offset").and_then(|p| p.parse().ok()).expect("an offset");
        let records: Vec<_> = (offset..(offset + 2).min(5)).map(|n| n.to_string()).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":5}}", records.join(",")))
    })
    .await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let brought = read(
        &rest.paginate(Offset::query("offset").limit("limit", 100).total("$.total")).build().expect("a source"),
        None,
    )
    .await;
    assert_eq!(brought.records(), ["0", "1", "2", "3", "4"]);
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(5)));
    assert_eq!(brought.position(0).validity(), Validity::Unstable);
}

#[tokio::test]
async fn an_empty_page_is_not_the_end_if_the_api_says_that_there_is_more() {
    let server = Server::start(|got| match got.parameter("offset").as_deref() {
        Some("0") => Reply::json(r#"{"data":[1],"more":true}"#),
        Some("1") => Reply::json(r#"{"data":[],"more":true}"#),
        Some("3") => Reply::json(r#"{"data":[2],"more":false}"#),
        other => Reply::status(400, format!("{other:?}")),
    })
    .await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let paginate = Offset::query("offset").limit("limit", 2).has_more("$.more");
    assert_eq!(read(&rest.paginate(paginate).build().expect("a source"), None).await.records(), ["1", "2"]);
}

#[tokio::test]
async fn pages_without_records_do_not_go_on_for_ever() {
    let server = Server::start(|got| match got.number {
        900 => page([1], "\"n\""),
        n => page([], &format!("\"{n}\"")),
    })
    .await;
    let brought = read(&by_cursor(&server).max_pages(1_500).build().expect("a source"), None).await;
    assert!(matches!(brought.stopped(), StopReason::LimitReached(_)));
    let goes_on = read(&by_cursor(&server).build().expect("a source"), Some(brought.last_position())).await;
    assert_eq!(goes_on.error().kind(), ErrorKind::Incomplete);
    assert!(goes_on.error().to_string().contains("pages_without_records=`1000`"), "{}", goes_on.error());
    assert_eq!((server.seen().len(), goes_on.last_position()), (1_901, RestPosition::default()));
}

#[tokio::test]
async fn a_total_or_a_flag_that_is_not_one_is_an_error_that_names_the_path() {
    for (body, path) in [
        (r#"{"data":[1],"total":"abc"}"#, "$.total"),
        (r#"{"data":[1]}"#, "$.total"),
        (r#"{"data":[1],"total":1.5}"#, "$.total"),
    ] {
        let server = Server::start(move |_| Reply::json(body)).await;
        let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
        let brought = read(&rest.paginate(Offset::query("o").total("$.total")).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        assert!(brought.error().to_string().contains(path), "{}", brought.error());
    }
    for body in [r#"{"data":[1],"more":"maybe"}"#, r#"{"data":[1]}"#] {
        let server = Server::start(move |_| Reply::json(body)).await;
        let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
        let paginate = PageNumber::query("p").has_more("$.more");
        let brought = read(&rest.paginate(paginate).build().expect("a source"), None).await;
        assert!(brought.error().to_string().contains("$.more"), "{}", brought.error());
    }
}

#[tokio::test]
async fn fewer_records_than_the_api_claims_are_an_error_that_names_both() {
    let server = Server::start(|got| {
        let next = if got.parameter("cursor").is_none() { "\"a\"" } else { "null" };
        Reply::json(format!("{{\"data\":[{}],\"next\":{next},\"total\":1000}}", got.number))
    })
    .await;
    let brought = read(&by_cursor(&server).total("$.total").build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    let text = brought.error().to_string();
    assert!(text.contains("claimed=`1000`") && text.contains("came=`2`"), "{text}");
    assert_eq!(brought.pages().len(), 2, "what came is landed");
    assert_eq!(brought.last_position(), RestPosition::default());

    let server = Server::start(|got| match got.parameter("offset").as_deref() {
        Some("0") => Reply::json(r#"{"data":[1],"total":3}"#),
        _ => Reply::json(r#"{"data":[],"total":3}"#),
    })
    .await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").paginate(Offset::query("offset").total("$.total"));
    let brought = read(&rest.limits(patient()).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert_eq!(brought.last_position(), RestPosition::default(), "the next read begins again");
}

#[tokio::test]
async fn evidence_that_conflicts_with_the_end_is_an_error() {
    let server = Server::start(|got| {
        let last = got.parameter("page").as_deref() == Some("3");
        Reply::json(format!("{{\"data\":[{}],\"total\":9,\"pages\":3,\"more\":{}}}", got.number, !last))
    })
    .await;
    let by = PageNumber::query("page");
    for by in [by.clone().has_more("$.more").total("$.total"), by.clone().total_pages("$.pages").total("$.total")] {
        let rest = Rest::get(server.url("/r")).records("$.data[*]").paginate(by).limits(patient());
        let brought = read(&rest.build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
        assert_eq!((brought.records().len(), brought.last_position()), (3, RestPosition::default()));
    }
    // The number of pages for the number of records.
    let by = by.total("$.pages");
    let server = Server::start(|_| Reply::json(r#"{"data":[1,2,3,4],"pages":3}"#)).await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").paginate(by).limits(patient());
    let brought = read(&rest.build().expect("a source"), None).await;
    assert!(brought.error().to_string().contains("more records came than the API claims"), "{}", brought.error());
}

#[tokio::test]
async fn notices_circles_of_tokens_and_repeated_pages() {
    // The same token for ever, and A, B, A.
    for tokens in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        let tokens = tokens.to_vec();
        let count = tokens.len();
        let server =
            Server::start(move |got| page([got.number as u64], &format!("\"{}\"", tokens[got.number % tokens.len()])))
                .await;
        let brought = read(&by_cursor(&server).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
        assert!(brought.error().to_string().contains("GET /r"), "{}", brought.error());
        assert_eq!(server.seen().len(), count + 1);
        assert_eq!(brought.records().len(), count + 1, "what came is landed");
        assert_eq!(brought.last_position(), RestPosition::default());
    }
    // A page past the end that is the last page again, told apart by nothing but its records.
    let clamped = |got: &Got| {
        let n = got.parameter("page").and_then(|p| p.parse::<u64>().ok()).expect("a page");
        Reply::json(format!("{{\"data\":[{}],\"page\":{n}}}", n.min(3)))
    };
    let server = Server::start(clamped).await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let rest = rest.paginate(PageNumber::query("page").until_empty().maximum(5));
    let brought = read(&rest.clone().build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert_eq!(brought.records(), ["1", "2", "3"]);
    let allowed = read(&rest.allow_repeated_pages().build().expect("a source"), None).await;
    assert_eq!(allowed.records(), ["1", "2", "3", "3", "3"]);
}

#[tokio::test]
async fn notices_circles_that_are_longer_than_one_run() {
    let tokens = |got: &Got| page([got.number as u64], &format!("\"{}\"", got.number % 15));
    let records = |got: &Got| page([got.number as u64 % 15], &format!("\"{}\"", got.number));
    for server in [Server::start(tokens).await, Server::start(records).await] {
        let rest = by_cursor(&server).max_pages(10).build().expect("a source");
        let mut position = None;
        let mut error = None;
        for _ in 0..10 {
            let brought = read(&rest, position).await;
            position = Some(brought.last_position());
            if let Err(e) = brought.end {
                error = Some(e);
                break;
            }
        }
        assert_eq!(error.expect("noticed").kind(), ErrorKind::Incomplete);
        assert!(server.seen().len() <= 60, "{}", server.seen().len());
        assert_eq!(position, Some(RestPosition::default()));
    }
}

#[tokio::test]
async fn a_link_to_the_page_itself_is_a_circle() {
    let server = Server::start(|got| page([got.number as u64], "\"/r\"")).await;
    let rest = Rest::get(server.url("/r")).paginate(NextUrl::at("$.next")).records("$.data[*]").limits(patient());
    let brought = read(&rest.build().expect("a source"), None).await;
    assert_eq!((brought.error().kind(), server.seen().len()), (ErrorKind::Incomplete, 1));
}

#[tokio::test]
async fn a_read_under_way_does_not_go_on_under_another_pagination_or_query() {
    let server = Server::start(|got| {
        let number = |name: &str| got.parameter(name).and_then(|p| p.parse::<u64>().ok());
        let (page, size) = (number("page").expect("a page"), number("size").expect("a size"));
        let first = (page - 1) * size;
        let records: Vec<_> = (first..(first + size).min(40)).map(|n| n.to_string()).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":40}}", records.join(",")))
    })
    .await;
    let rest = || Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let by = |size| PageNumber::query("page").size("size", size).total("$.total");
    let begun = read(&rest().paginate(by(10)).max_pages(2).build().expect("a source"), None).await;
    let goes_on = read(&rest().paginate(by(10)).build().expect("a source"), Some(begun.last_position())).await;
    assert_eq!(goes_on.records().len(), 20);
    for changed in [
        rest().paginate(by(5)),
        rest().paginate(by(10)).query("kind", "new"),
        rest().paginate(by(10)).since(Since::field("t").query("since").initial("2020")),
    ] {
        let again = read(&changed.build().expect("a source"), Some(begun.last_position())).await;
        assert_eq!(again.records().len(), 40);
        assert!(again.stopped().is_complete());
    }
}

#[tokio::test]
async fn limits_of_a_read_keep_the_position_for_the_next() {
    let server = Server::start(three_pages).await;
    let rest = by_cursor(&server).max_pages(1).build().expect("a source");
    let mut position = None;
    let mut records = Vec::new();
    for _ in 0..2 {
        let brought = read(&rest, position).await;
        assert!(matches!(brought.stopped(), StopReason::LimitReached(_)));
        records.extend(brought.records());
        position = Some(brought.last_position());
    }
    let last = read(&rest, position).await;
    assert!(last.stopped().is_complete());
    records.extend(last.records());
    assert_eq!(records, ids(1..=6));
    let brought = read(&by_cursor(&server).max_records(3).build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids(1..=4));
}

#[tokio::test]
async fn partitions_fill_the_places_of_path_and_query() {
    let server = Server::start(|got| Reply::json(format!("[{:?}]", got.target))).await;
    let rest = Rest::get(server.url("/o/{org}/r")).query("from", "{from}").limits(patient());
    let rest = rest
        .partition("one", [("org", "a/b"), ("from", "2024-01-01T00:00:00+01:00")])
        .partition("two", [("org", "..."), ("from", "")])
        .build()
        .expect("a source");
    let partitions = list_partitions(&rest, &Env::system()).await.expect("listed");
    assert_eq!(partitions.iter().map(|p| p.id.0.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    for partition in &partitions {
        let brought = read_partition(&rest, partition, None).await;
        assert!(brought.stopped().is_complete());
        assert!(brought.pages().iter().all(|p| p.partition == partition.id));
    }
    assert_eq!(server.targets()[0], "/o/a%2Fb/r?from=2024-01-01T00%3A00%3A00%2B01%3A00");
}

#[tokio::test]
async fn reads_of_several_partitions_at_once_do_not_disturb_each_other() {
    let server = Server::start(|got| {
        let id = got.path().rsplit('/').next().and_then(|id| id.parse::<u64>().ok()).expect("a number");
        match got.parameter("cursor") {
            None => page([id * 10], "\"x\""),
            Some(_) => page([id * 10 + 1], "null"),
        }
    })
    .await;
    let rest = Rest::get(server.url("/p/{id}")).paginate(Cursor::at("$.next").query("cursor")).records("$.data[*]");
    let rest = (1..=3).fold(rest.limits(patient()), |rest, n| rest.partition(format!("p{n}"), [("id", n.to_string())]));
    let rest = rest.build().expect("a source");
    let partitions = list_partitions(&rest, &Env::system()).await.expect("listed");
    let reads = partitions.iter().map(|p| read_partition(&rest, p, None));
    for (n, brought) in (1..).zip(futures::future::join_all(reads).await) {
        assert_eq!(brought.records(), ids([n * 10, n * 10 + 1]));
    }
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_value_that_would_name_another_resource_is_refused() {
    let server = Server::start(|_| Reply::json("[]")).await;
    for value in ["", ".", ".."] {
        let rest = Rest::get(server.url("/shops/{shop}/orders")).partition("p", [("shop", value)]).limits(patient());
        let refused = read(&rest.build().expect("a source"), None).await;
        assert_eq!(refused.error().kind(), ErrorKind::Data, "{value:?}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.targets());
}

#[tokio::test]
async fn a_token_with_a_number_that_would_change_is_refused_wherever_it_stands() {
    for (token, goes) in [
        (r#"{"a":[9007199254740993,"x"],"b":1.5}"#, true),
        (r#"[12345678901234567890123]"#, false),
        (r#"{"a":[{"b":12345678901234567890123}]}"#, false),
        (r#"["12345678901234567890123"]"#, true),
    ] {
        let server =
            Server::start(move |got| page([got.number as u64], if got.number == 0 { token } else { "null" })).await;
        let post = Rest::post(server.url("/r")).json(serde_json::json!({})).idempotent().limits(patient());
        let source = post.records("$.data[*]").paginate(Cursor::at("$.next").body("$.c")).build().expect("a source");
        let brought = read(&source, None).await;
        assert_eq!(brought.end.is_ok(), goes, "{token}: {:?}", brought.end);
        if goes {
            assert_eq!(server.seen()[1].json()["c"], serde_json::from_str::<serde_json::Value>(token).expect("JSON"));
        } else {
            assert!(brought.error().to_string().contains("would change"), "{}", brought.error());
        }
    }
}

#[tokio::test]
async fn headers_that_contradict_each_other_or_the_configuration_are_errors() {
    let rest = |server: &Server| Rest::get(server.url("/r")).limits(patient());
    // One response that leads to another is not the only one.
    let server = Server::start(|_| Reply::json("[{\"id\":1}]").header("link", "</r?p=2>; rel=\"next\"")).await;
    let brought = read(&rest(&server).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert!(brought.error().to_string().contains("header link"), "{}", brought.error());
    // Other links, and what is no link at all, are none of its business.
    for link in ["</r>; rel=self", "garbage"] {
        let server = Server::start(move |_| Reply::json("[{\"id\":1}]").header("link", link)).await;
        assert!(read(&rest(&server).build().expect("a source"), None).await.stopped().is_complete(), "{link}");
    }
    let server = Server::start(|_| {
        Reply::json("[{\"id\":1}]").header("link", "</r?p=2>; rel=next").header("link", "</r?p=3>; rel=next")
    })
    .await;
    let brought = read(&rest(&server).paginate(LinkHeader::new()).build().expect("a source"), None).await;
    assert!(brought.error().to_string().contains("different pages"), "{}", brought.error());
    let server =
        Server::start(|_| Reply::json("[{\"id\":1}]").raw_header("x-total", b"1").raw_header("x-total", b"5")).await;
    let brought = read(&rest(&server).total(Place::header("x-total")).build().expect("a source"), None).await;
    assert!(brought.error().to_string().contains("different things"), "{}", brought.error());
}

#[tokio::test]
async fn more_without_a_way_on_is_an_error_and_no_more_needs_none() {
    let rest = |server: &Server| Rest::get(server.url("/r")).records("$.data[*]").limits(patient());
    let cursor = || Cursor::at("$.next").query("c").has_more("$.more");
    let link = || NextUrl::at("$.next").has_more("$.more");
    let more = Server::start(|_| Reply::json(r#"{"data":[{"id":1}],"more":true,"next":null}"#)).await;
    let none = Server::start(|_| Reply::json(r#"{"data":[{"id":1}],"more":false}"#)).await;
    for (more, none) in [
        (rest(&more).paginate(cursor()), rest(&none).paginate(cursor())),
        (rest(&more).paginate(link()), rest(&none).paginate(link())),
    ] {
        let brought = read(&more.build().expect("a source"), None).await;
        assert!(brought.error().to_string().contains("nothing leads to it"), "{}", brought.error());
        let brought = read(&none.build().expect("a source"), None).await;
        assert_eq!((brought.records(), brought.stopped().is_complete()), (ids([1]), true));
    }
}

#[tokio::test]
async fn a_listing_that_is_an_array_is_detected_too() {
    let server = Server::start(|_| Reply::json("[{\"id\":1}]").header("link", "</r?p=2>; rel=\"next\"")).await;
    let env = Env::deterministic(Arc::new(FastClock::default()) as _, Arc::new(Dice::default()));
    let code = Rest::get(server.url("/r")).limits(patient()).detect(&env).await.expect("detected").code();
    assert!(code.contains("LinkHeader::new()") && !code.contains("say where"), "{code}");
}

#[test]
fn refuses_what_contradicts_itself_or_would_never_end() {
    let rest = || Rest::get("http://h/r");
    assert!(config_error(rest().paginate(Offset::query("o").limit("l", 10))).contains("never end"));
    assert!(config_error(rest().paginate(PageNumber::query("p"))).contains("never end"));
    assert!(config_error(rest().paginate(Offset::query("o").limit("l", 0).until_empty())).contains("no records"));
    assert!(config_error(rest().paginate(PageNumber::query("p").size("s", 0).until_empty())).contains("no records"));
    assert!(config_error(rest().paginate(Cursor::at("$.n").query("c").size("s", 0))).contains("no records"));
    let overlapping = Offset::query("o").until_empty().overlap(2);
    assert!(config_error(rest().paginate(overlapping.limit("l", 2))).contains("overlap"));
    assert!(config_error(rest().paginate(Cursor::at("$.n"))).contains("exactly one"));
    assert!(config_error(rest().paginate(Cursor::at("$.n").query("c").header("c"))).contains("exactly one"));
    assert!(config_error(rest().paginate(Cursor::at("n").query("c"))).contains("path"));
    assert!(config_error(rest().query("c", "1").paginate(Cursor::at("$.n").query("c"))).contains("twice"));
    assert!(config_error(rest().records("$.data[")).contains("path"));
    assert!(config_error(rest().records("ndjson").paginate(NextUrl::at("$.n"))).contains("lines"));
    assert!(config_error(rest().since(Since::field("t"))).contains("sent nowhere"));
    assert!(config_error(rest().partition("p", [("unused", "1")])).contains("no place"));
    assert!(config_error(Rest::get("http://h/{id}")).contains("no value"));
    assert!(config_error(rest().partition("p", [("", ""); 0]).partition("p", [("", ""); 0])).contains("twice"));
    assert!(config_error(rest().header("Authorization", "Bearer x")).contains("credentials"));
    assert!(config_error(rest().max_pages(0)).contains("nothing"));
    assert!(config_error(Rest::get("ftp://h/r")).contains("http"));
    assert!(config_error(Rest::get("http://{host}/r").partition("p", [("host", "x")])).contains("host"));
    assert!(config_error(Rest::get("http://u:p@h/r")).contains("user"));
    assert!(config_error(rest().limits(Limits::default().with_body(1, 5 << 30))).contains("4 GiB"));
    // The URL has its parameters, too.
    let by_page = || PageNumber::query("page").until_empty();
    assert!(config_error(Rest::get("http://h/r?page=7").paginate(by_page())).contains("twice"));
    assert!(config_error(Rest::get("http://h/r?from=7").since(Since::field("t").query("from"))).contains("twice"));
    assert!(config_error(rest().paginate(by_page().starting_at(2).maximum(1))).contains("before the first"));
    assert!(config_error(rest().paginate(Offset::query("o").until_empty().maximum(0))).contains("maximum"));
    // What no response and no request can have.
    for rel in ["", "next page"] {
        assert!(config_error(rest().paginate(LinkHeader::rel(rel))).contains("relation"));
    }
    assert!(config_error(rest().paginate(Cursor::in_header("x next").query("c"))).contains("header"));
    assert!(config_error(rest().paginate(Cursor::at("$.n").header("x next"))).contains("header"));
    assert!(config_error(rest().paginate(LinkHeader::new().stop_when(Stop::header("x last", "1")))).contains("header"));
    assert!(config_error(rest().total(Place::header("x\ntotal"))).contains("header"));
    let post = |body| Rest::post("http://h/r").json(body).paginate(Cursor::at("$.n").body("$.page.after"));
    assert!(config_error(post(serde_json::json!([1]))).contains("not an object"));
    assert!(config_error(post(serde_json::json!({"page": 1}))).contains("not an object"));
    let graphql = Rest::graphql("http://h/r", "{ a }").paginate(Cursor::at("$.n").body("$.after"));
    assert!(config_error(graphql).contains("variables"));
    let two = Rest::graphql("http://h/r", "{ a }").json(serde_json::json!({}));
    assert!(config_error(two).contains("carries one of"));
    let two = Rest::post("http://h/r").json(serde_json::json!({})).form([("a", "b")]);
    assert!(config_error(two).contains("carries one of"));
    // No time, no name.
    assert!(config_error(rest().token_lives(Duration::ZERO)).contains("no time"));
    assert!(config_error(rest().zip_file("")).contains("no name"));
    let between = |from: &str, to: &str| Since::field("t").query("from").until_query("to").initial(from).until(to);
    for (from, to) in [("2025-01-01", "2024-01-01"), ("2024-01-01T00:00:00+01:00", "2023-12-31T22:59:59Z"), ("10", "9")]
    {
        assert!(config_error(rest().since(between(from, to))).contains("before it begins"), "{from} {to}");
    }
    assert!(rest().since(between("2024-01-01", "2024-01-01")).build().is_ok());
    assert!(rest().since(between("b", "a")).build().is_ok(), "of texts the API knows the order");
}
