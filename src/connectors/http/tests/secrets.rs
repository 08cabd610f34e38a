use super::*;
use std::fmt::Write;

const CANARY: &str = "s3cret/canary+7";

/// Everything that a read shows or keeps.
fn shown(rest: &Rest, brought: &Brought) -> String {
    let mut text = format!("{rest:?} {:?}", rest.config().expect("valid"));
    for emission in &brought.emitted {
        write!(text, "{:?}", emission.position).expect("in memory");
        if let Some(page) = &emission.item {
            write!(text, "{} {:?}", page.request, page.headers).expect("in memory");
        }
    }
    match &brought.end {
        Ok(reason) => write!(text, "{reason:?}").expect("in memory"),
        Err(error) => write!(text, "{error} {error:?}").expect("in memory"),
    }
    text
}

fn tells(text: &str) -> bool {
    let encoded: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    [CANARY, &encoded, "c2VjcmV0", "dXNlcjpz"].iter().any(|secret| text.contains(secret))
}

fn auths() -> Vec<fn(RestBuilder) -> RestBuilder> {
    vec![
        |rest| rest.auth(Bearer::new(CANARY)),
        |rest| rest.auth(Basic::new("user", CANARY)),
        |rest| rest.auth(ApiKey::header("x-api-key", CANARY)),
        |rest| rest.auth(ApiKey::query("api_key", CANARY)),
    ]
}

fn sent(got: &Got) -> bool {
    let authorization = got.headers.get("authorization").map(String::as_str);
    authorization == Some("Bearer s3cret/canary+7")
        || authorization == Some("Basic dXNlcjpzM2NyZXQvY2FuYXJ5Kzc=")
        || got.headers.get("x-api-key").map(String::as_str) == Some(CANARY)
        || got.parameter("api_key").as_deref() == Some(CANARY)
}

#[tokio::test]
async fn credentials_go_with_every_attempt_and_are_kept_nowhere() {
    for auth in auths() {
        // The server repeats everything it got in links, and fails once in the middle.
        let server = Server::start(|got| match (got.number, got.parameter("page").as_deref()) {
            (1, _) => Reply::status(500, format!("{} {:?}", got.target, got.headers)),
            (_, None) => {
                Reply::json("[1]").header("link", &format!("<{}{}page=2>; rel=next", got.target, sep(&got.target)))
            }
            (_, Some("2")) => Reply::json("[2]").header("link", &format!("</r?page=3&t={CANARY}>; rel=next")),
            _ => Reply::json("[3]"),
        })
        .await;
        let rest =
            auth(Rest::get(server.url("/r"))).paginate(LinkHeader::new()).limits(patient()).build().expect("a source");
        let brought = read(&rest, None).await;
        assert_eq!(brought.records(), ["1", "2", "3"]);
        assert_eq!(server.seen().len(), 4);
        assert!(server.seen().iter().all(sent), "{:?}", server.seen());
        assert!(server.seen().iter().all(|got| got.target.matches("api_key").count() <= 1), "{:?}", server.targets());
        assert!(!tells(&shown(&rest, &brought)), "{}", shown(&rest, &brought));
    }
}

fn sep(target: &str) -> &'static str {
    if target.contains('?') { "&" } else { "?" }
}

#[tokio::test]
async fn errors_do_not_repeat_what_the_server_repeats() {
    for auth in auths() {
        for status in [400, 401, 403, 429, 500] {
            let server = Server::start(move |got| {
                let authorization = got.headers.get("authorization").cloned().unwrap_or_default();
                Reply::status(status, format!("{authorization} {} {CANARY} {:?}", got.target, got.headers))
            })
            .await;
            let rest = auth(Rest::get(server.url("/r"))).limits(patient());
            let rest = rest.retry(crate::retry::Policy::default().with_attempts(2)).build().expect("a source");
            let brought = read(&rest, None).await;
            assert!(!tells(&shown(&rest, &brought)), "{}", shown(&rest, &brought));
        }
        let rest = auth(Rest::get("http://127.0.0.1:1/r")).limits(patient()).build().expect("a source");
        let brought = read(&rest, None).await;
        assert!(!tells(&shown(&rest, &brought)), "{}", shown(&rest, &brought));
    }
}

#[tokio::test]
async fn a_secret_in_another_way_of_writing_is_not_shown_either() {
    for written in [r"s3cret\/canary\u002B7", "s3cret%2fcanary%2b7", "s3cret%252Fcanary%252B7"] {
        let server = Server::start(move |_| Reply::status(400, format!("{{\"key\":\"{written}\"}}"))).await;
        let rest = Rest::get(server.url("/r")).auth(Bearer::new(CANARY)).limits(patient()).build().expect("a source");
        let brought = read(&rest, None).await;
        assert!(!brought.error().to_string().contains("s3cret"), "{}", brought.error());
    }
}

#[tokio::test]
async fn a_token_or_a_path_that_holds_a_secret_is_not_kept() {
    const LONG: &str = "s3cret/canary+7 of 16 bytes or more";
    let server = Server::start(|got| match got.path() {
        "/token" => page([1], &format!("\"{LONG}:2\"")),
        _ => page([1], "\"/s3cret%2fcanary%2b7%20of%2016%20bytes%20or%20more/2\""),
    })
    .await;
    let rest = |path: &str| {
        Rest::get(server.url(path)).auth(ApiKey::query("key", LONG)).records("$.data[*]").limits(patient())
    };
    for rest in
        [rest("/token").paginate(Cursor::at("$.next").query("cursor")), rest("/link").paginate(NextUrl::at("$.next"))]
    {
        let rest = rest.build().expect("a source");
        let brought = read(&rest, None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        assert!(!shown(&rest, &brought).contains("canary"), "{}", shown(&rest, &brought));
    }
}

#[tokio::test]
async fn a_secret_that_is_cut_at_the_end_of_what_is_read_is_not_shown_in_part() {
    // All of it is secrets: redaction makes it short enough for its end to be shown.
    let server = Server::start(|_| Reply::status(400, CANARY.repeat(20_000))).await;
    for auth in auths() {
        let rest = auth(Rest::get(server.url("/r"))).limits(patient()).build().expect("a source");
        let brought = read(&rest, None).await;
        assert!(!brought.error().to_string().contains("s3"), "{}", brought.error());
    }
}

#[tokio::test]
async fn a_secret_where_the_errors_of_graphql_are_cut_is_not_shown_in_part() {
    let server = Server::start(|got| {
        let message = format!("{}{CANARY}", "x".repeat(460 + got.number));
        Reply::json(format!(r#"{{"data":{{"orders":[]}},"errors":[{{"message":"{message}"}}]}}"#))
    })
    .await;
    let rest = Rest::graphql(server.url("/graphql"), "{ orders { id } }").records("$.data.orders[*]").limits(patient());
    let rest = rest.auth(Bearer::new(CANARY)).build().expect("a source");
    for _ in 0..60 {
        let text = read(&rest, None).await.error().to_string();
        assert!(text.contains("xxx") && !text.contains("s3"), "{text}");
    }
}

#[tokio::test]
async fn what_an_error_quotes_of_an_answer_is_without_secrets() {
    // Hosts and types are kept in small letters.
    const MIXED: &str = "S3cretCanaryOfAnApi";
    for kind in ["type", "encoding", "total", "flag", "link", "redirect", "state", "location"] {
        let server = Server::start(move |got| match (kind, got.method.as_str()) {
            ("type", _) => page([1], "null").header("content-type", &format!("text/{MIXED}")),
            ("encoding", _) => page([1], "null").header("content-encoding", MIXED),
            ("link", _) => page([1], &format!("\"http://{MIXED}.invalid/\"")),
            ("redirect", _) => Reply::status(302, "").header("location", &format!("http://{MIXED}.invalid/")),
            ("location", _) => Reply::json("{}").header("location", &format!("http://{MIXED}.invalid/")),
            ("state", "POST") => Reply::json(r#"{"id":7}"#),
            ("state", _) => Reply::json(format!(r#"{{"status":"{MIXED}"}}"#)),
            _ => Reply::json(format!(r#"{{"data":[1],"total":"{MIXED}","more":"{MIXED}"}}"#)),
        })
        .await;
        let get = || Rest::get(server.url("/r")).records("$.data[*]");
        let exporting = |export| {
            let post = Rest::post(server.url("/r")).json(serde_json::json!({}));
            post.export(export).records("ndjson")
        };
        let rest = match kind {
            "total" => get().paginate(PageNumber::query("p").total("$.total")),
            "flag" => get().paginate(PageNumber::query("p").has_more("$.more")),
            "link" => get().paginate(NextUrl::at("$.next")),
            "state" => exporting(Export::poll("/jobs/{id}").status_at("$.status").download_at("$.urls[*]")),
            "location" => exporting(Export::at_location().download_at("$.urls[*]")),
            _ => get(),
        };
        let rest = rest.auth(Bearer::new(MIXED)).limits(patient()).build().expect("a source");
        let brought = read(&rest, None).await;
        assert!(brought.error().to_string().contains("***"), "{kind}: {}", brought.error());
        let text = shown(&rest, &brought).to_lowercase();
        assert!(!text.contains("canary"), "{kind}: {text}");
    }
}

#[tokio::test]
async fn what_is_too_long_to_be_searched_whole_is_not_quoted() {
    // Of one that is cut, nothing would be found.
    let long = CANARY.repeat(5);
    let server = Server::start(move |_| page([1], "null").header("content-type", &format!("text/{long}"))).await;
    let rest = Rest::get(server.url("/r")).records("$.data[*]").auth(Bearer::new(CANARY.repeat(5)));
    let rest = rest.limits(patient()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert!(brought.error().to_string().contains("too long") && !tells(&shown(&rest, &brought)), "{}", brought.error());
}

#[tokio::test]
async fn a_redirect_to_a_path_that_holds_a_secret_is_not_followed() {
    const LONG: &str = "s3cret-canary-of-an-api";
    let server = Server::start(|got| match got.path() {
        "/r" => Reply::status(302, "").header("location", &format!("/p/{LONG}")),
        _ => Reply::status(302, ""),
    })
    .await;
    let rest = Rest::get(server.url("/r")).auth(Bearer::new(LONG)).limits(patient()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!((brought.error().kind(), server.seen().len()), (ErrorKind::Data, 1));
    assert!(!shown(&rest, &brought).contains("canary"), "{}", brought.error());
}

#[tokio::test]
async fn links_and_redirects_to_another_origin_are_refused_before_anything_is_sent() {
    let other = Arc::new(Server::start(|_| Reply::json("[1]")).await);
    for auth in auths() {
        for kind in ["link", "body", "redirect"] {
            let target = other.url("/steal");
            let server = Server::start(move |_| match kind {
                "link" => Reply::json("[1]").header("link", &format!("<{target}>; rel=next")),
                "body" => Reply::json(format!("{{\"data\":[1],\"next\":\"{target}\"}}")),
                _ => Reply::status(302, "").header("location", &target),
            })
            .await;
            let rest = auth(Rest::get(server.url("/r"))).limits(patient());
            let rest = match kind {
                "body" => rest.paginate(NextUrl::at("$.next")).records("$.data[*]"),
                _ => rest.paginate(LinkHeader::new()),
            };
            let rest = rest.build().expect("a source");
            let brought = read(&rest, None).await;
            assert_eq!(brought.error().kind(), ErrorKind::Config, "{kind}: {}", brought.error());
            assert!(brought.error().to_string().contains("another origin"));
            assert!(!tells(&shown(&rest, &brought)));
            assert_eq!(server.seen().len(), 1);
        }
    }
    assert!(other.seen().is_empty(), "nothing was sent there");
}

#[tokio::test]
async fn a_kept_link_to_another_origin_is_refused_too() {
    let other = Server::start(|_| Reply::json("[1]")).await;
    let server = Server::start(|_| Reply::json("[1]")).await;
    let rest = Rest::get(server.url("/r")).auth(Bearer::new(CANARY)).paginate(LinkHeader::new()).limits(patient());
    let rest = rest.build().expect("a source");
    for link in [other.url("/steal"), format!("//{}", other.url("/steal").trim_start_matches("http://"))] {
        let kept = serde_json::json!({"reading": [{"at": {"link": link}, "pages": 1, "records": 1}]});
        let position: RestPosition = serde_json::from_value(kept).expect("a position");
        assert_eq!(read(&rest, Some(position)).await.error().kind(), ErrorKind::Config);
    }
    assert!(other.seen().is_empty() && server.seen().is_empty());
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_up_to_a_limit() {
    let server = Server::start(|got| match got.path() {
        "/r" => Reply::status(307, "").header("location", "/moved?x=1"),
        "/moved" => Reply::json("[1]").header("link", "<next>; rel=next"),
        "/next" => Reply::json("[2]"),
        _ => Reply::status(301, "").header("location", &format!("/loop{}", got.number)),
    })
    .await;
    let rest = Rest::get(server.url("/r")).auth(Bearer::new(CANARY)).paginate(LinkHeader::new()).limits(patient());
    assert_eq!(read(&rest.build().expect("a source"), None).await.records(), ["1", "2"]);
    assert_eq!(server.targets(), ["/r", "/moved?x=1", "/next"]);
    assert!(server.seen().iter().all(sent));

    let rest = Rest::get(server.url("/loop")).limits(patient()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert!(brought.error().to_string().contains("too many redirects"), "{}", brought.error());
    assert_eq!(server.seen().len(), 3 + 6);
}

#[tokio::test]
async fn a_secret_in_a_file_may_be_renewed_between_attempts() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "first\n").expect("written");
    let path = file.path().to_owned();
    let server = Server::start(move |got| {
        if got.number == 0 {
            std::fs::write(&path, "second").expect("written");
            return Reply::status(503, "");
        }
        Reply::json("[1]")
    })
    .await;
    let rest = Rest::get(server.url("/r")).auth(Bearer::from_file(file.path())).limits(patient());
    assert!(read(&rest.build().expect("a source"), None).await.stopped().is_complete());
    let tokens: Vec<_> = server.seen().into_iter().map(|got| got.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
}

#[test]
fn a_secret_that_is_not_there_is_told_at_once_by_its_place() {
    let missing = Rest::get("http://h/r").auth(Bearer::from_env("LANDFALL_TEST_NO_SUCH_VARIABLE")).build();
    let error = missing.expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("LANDFALL_TEST_NO_SUCH_VARIABLE"));
}
