//! Credentials that are obtained and renewed, and how refusals are met.

mod kept;
mod pools;
mod signed;

use super::*;
use crate::retry::Policy;
use futures::future::join_all;
use std::collections::BTreeMap;

const CANARY: &str = "s3cret/canary+7";

/// A token endpoint beside an API that takes only the newest token: `t1`, `t2` and so on.
async fn with_tokens(lifetime: &'static str, api: impl Fn(&Got, &str) -> Reply + Send + Sync + 'static) -> Server {
    let issued = AtomicU64::new(0);
    Server::start(move |got| {
        if got.path() == "/token" {
            let n = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::json(format!(r#"{{"access_token":"t{n}-{CANARY}","token_type":"bearer"{lifetime}}}"#));
        }
        let token = got.headers.get("authorization").cloned().unwrap_or_default();
        api(got, token.trim_start_matches("Bearer ").split('-').next().unwrap_or_default())
    })
    .await
}

fn client(server: &Server) -> OAuth2 {
    OAuth2::client_credentials(server.url("/token"), "me", CANARY)
}

fn form(got: &Got) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&got.body).into_owned().collect()
}

fn tells(brought: &Brought) -> bool {
    let mut text = format!("{:?}", brought.end);
    for emission in &brought.emitted {
        text.push_str(&format!("{:?}", emission.position));
        text.push_str(
            &emission.item.as_ref().map(|page| format!("{} {:?}", page.request, page.headers)).unwrap_or_default(),
        );
    }
    text.contains("canary")
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_same_request_sent_again_in_mid_pagination() {
    let server = with_tokens("", |got, token| match (got.parameter("cursor").as_deref(), token) {
        (Some("b"), "t1") => Reply::status(401, "expired"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).auth(client(&server)).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    assert!(brought.stopped().is_complete());
    assert_eq!(server.targets(), ["/token", "/r", "/r?cursor=a", "/r?cursor=b", "/token", "/r?cursor=b"]);
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    assert!(!tells(&brought));
}

#[tokio::test]
async fn a_second_refusal_is_an_auth_error() {
    let server = with_tokens("", |got, _| Reply::status(401, format!("{:?}", got.headers))).await;
    let rest = by_cursor(&server).auth(client(&server)).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert_eq!(server.targets(), ["/token", "/r", "/token", "/r"]);
    assert!(!tells(&brought), "{}", brought.error());
    // Credentials that cannot be renewed are not tried again.
    let server = with_tokens("", |_, _| Reply::status(401, "")).await;
    let rest = by_cursor(&server).auth(Bearer::new(CANARY)).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Auth);
    assert_eq!(server.targets(), ["/r"]);
}

#[tokio::test]
async fn a_post_is_sent_again_after_a_refusal_since_nothing_was_done() {
    let server = with_tokens("", |_, token| match token {
        "t1" => Reply::status(401, ""),
        _ => page([1], "null"),
    })
    .await;
    let rest = Rest::post(server.url("/r")).json(serde_json::json!({"q": 1})).records("$.data[*]").limits(patient());
    let rest = rest.auth(client(&server)).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    let bodies: Vec<_> = server.seen().into_iter().filter(|got| got.path() == "/r").map(|got| got.json()).collect();
    assert_eq!(bodies, [serde_json::json!({"q": 1}), serde_json::json!({"q": 1})]);
}

#[tokio::test]
async fn a_rule_can_say_that_credentials_are_refused() {
    let server = with_tokens("", |_, token| match token {
        "t1" => Reply::status(403, r#"{"code":"token_expired"}"#),
        _ => page([1], "null"),
    })
    .await;
    let rule = On::status(403).and(On::text("token_expired")).refresh();
    let rest = by_cursor(&server).auth(client(&server)).rule(rule).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    assert_eq!(server.targets(), ["/token", "/r", "/token", "/r"]);
}

#[tokio::test]
async fn a_signature_is_made_anew_for_each_attempt() {
    let server = Server::start(|got| match got.number {
        0 => Reply::status(503, "").header("retry-after", "7"),
        _ => page([1], "null"),
    })
    .await;
    let hmac =
        Hmac::sha256("key").over("{timestamp}").header("x-time", "{timestamp}").header("x-signature", "{signature}");
    let rest = by_cursor(&server).auth(hmac).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    let header = |name: &str| server.seen().into_iter().map(|got| got.headers[name].clone()).collect::<Vec<_>>();
    assert_eq!(header("x-time"), ["1704067200", "1704067207"]);
    assert_ne!(header("x-signature")[0], header("x-signature")[1]);
}

#[tokio::test]
async fn many_reads_at_the_same_time_share_one_token_and_one_refresh() {
    let server = with_tokens("", |got, token| match (got.path(), token) {
        // All of them meet the refusal of the first token.
        (_, "t1") => Reply::status(401, ""),
        _ => page([1], "null"),
    })
    .await;
    let source = Rest::get(server.url("/{n}")).records("$.data[*]").limits(patient()).auth(client(&server));
    let source = (0..8).fold(source, |source, n| source.partition(n.to_string(), [("n", n.to_string())]));
    let rest = source.build().expect("a source");
    let partitions = listed(&rest).await;
    let brought = join_all(partitions.iter().map(|partition| read_partition(&rest, partition, None))).await;
    assert!(brought.iter().all(|brought| brought.stopped().is_complete()));
    assert_eq!(server.targets().iter().filter(|target| *target == "/token").count(), 2);
}

#[tokio::test]
async fn many_reads_at_the_same_time_share_one_failure() {
    let server = Server::start(|_| Reply::status(400, r#"{"error":"invalid_client"}"#)).await;
    let source = Rest::get(server.url("/{n}")).limits(patient()).auth(client(&server));
    let source = (0..8).fold(source, |source, n| source.partition(n.to_string(), [("n", n.to_string())]));
    let rest = source.build().expect("a source");
    let partitions = listed(&rest).await;
    let brought = join_all(partitions.iter().map(|partition| read_partition(&rest, partition, None))).await;
    assert!(brought.iter().all(|brought| brought.error().kind() == ErrorKind::Auth));
    assert_eq!(server.targets(), ["/token"]);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let server = with_tokens(r#","expires_in":"100""#, |got, _| match got.number {
        // The clock moves on by 80 s: 20 s are left, fewer than a quarter.
        2 => Reply::status(429, "").header("retry-after", "80"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).auth(client(&server)).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids(1..=6));
    assert_eq!(server.targets(), ["/token", "/r", "/r?cursor=a", "/token", "/r?cursor=a", "/r?cursor=b"]);
}

#[tokio::test]
async fn a_token_is_used_while_it_lasts_if_there_is_no_new_one_yet() {
    let calls = AtomicU64::new(0);
    let server = Server::start(move |got| match (got.path(), got.number) {
        ("/token", _) if calls.fetch_add(1, Ordering::SeqCst) > 0 => Reply::status(500, ""),
        ("/token", _) => Reply::json(r#"{"access_token":"t1","expires_in":100}"#),
        (_, 2) => Reply::status(429, "").header("retry-after", "80"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).auth(client(&server)).retry(Policy::default().with_attempts(2));
    assert_eq!(read(&rest.build().expect("a source"), None).await.records(), ids(1..=6));
}

#[tokio::test]
async fn faults_of_a_token_endpoint_are_tried_again_and_its_refusals_are_told_without_secrets() {
    // Faults and rate limits.
    let server = Server::start(|got| match (got.path(), got.number) {
        ("/token", 0) => Reply::status(500, CANARY),
        ("/token", 1) => Reply::status(429, "").header("retry-after", "3"),
        ("/token", 2) => Reply::json("{}").cut_at(1),
        ("/token", _) => Reply::json(r#"{"access_token":"t"}"#),
        _ => page([1], "null"),
    })
    .await;
    let brought = read(&by_cursor(&server).auth(client(&server)).build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids([1]));
    assert!(brought.slept.contains(&Duration::from_secs(3)), "{:?}", brought.slept);

    for (status, body, kind, calls) in [
        (400, r#"{"error":"invalid_grant","error_description":"BODY"}"#, ErrorKind::Auth, 1),
        (401, r#"{"error":"invalid_client"}"#, ErrorKind::Auth, 1),
        (400, r#"{"error":"invalid_scope"}"#, ErrorKind::Config, 1),
        (200, r#"{"error":"access_denied"}"#, ErrorKind::Auth, 1),
        (200, r#"{"error":"BODY"}"#, ErrorKind::Auth, 1),
        (200, r#"{"token_type":"bearer"}"#, ErrorKind::Data, 1),
        (200, "BODY", ErrorKind::Data, 1),
        (404, "BODY", ErrorKind::Config, 1),
        (302, "BODY", ErrorKind::Config, 1),
        (503, "BODY", ErrorKind::Unavailable, 2),
    ] {
        let reply = body.replace("BODY", CANARY);
        let server =
            Server::start(move |_| Reply::status(status, reply.clone()).header("location", "/elsewhere")).await;
        let rest = by_cursor(&server).auth(client(&server)).retry(Policy::default().with_attempts(2)).build();
        let brought = read(&rest.expect("a source"), None).await;
        assert_eq!(brought.error().kind(), kind, "{status} {body}: {}", brought.error());
        assert!(!brought.error().is_transient());
        assert_eq!(server.seen().len(), calls, "{status} {body}");
        assert!(!tells(&brought), "{}", brought.error());
    }
}

#[tokio::test]
async fn a_client_shows_itself_as_the_server_wants_it() {
    let server = with_tokens("", |_, _| page([1], "null")).await;
    let url = server.url("/token");
    let new = || OAuth2::client_credentials(url.as_str(), "a b", "c:d/é").scope("read all").parameter("audience", "x");
    for auth in [new(), new().client_in_body(), new().client_assertion(Jwt::hs256("key").unique())] {
        let rest = by_cursor(&server).auth(auth).build().expect("a source");
        assert_eq!(read(&rest, None).await.records(), ids([1]));
    }
    let seen: Vec<_> = server.seen().into_iter().filter(|got| got.path() == "/token").collect();
    // Form-encoded, then base64 (RFC 6749, 2.3.1).
    assert_eq!(seen[0].headers["authorization"], "Basic YStiOmMlM0FkJTJGJUMzJUE5");
    assert_eq!(form(&seen[0])["grant_type"], "client_credentials");
    assert_eq!((form(&seen[0])["scope"].as_str(), form(&seen[0])["audience"].as_str()), ("read all", "x"));
    assert!(!seen[1].headers.contains_key("authorization"));
    assert_eq!((form(&seen[1])["client_id"].as_str(), form(&seen[1])["client_secret"].as_str()), ("a b", "c:d/é"));
    let claims = claims(&form(&seen[2])["client_assertion"]);
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&"a b".into(), &"a b".into(), &url.as_str().into()));
    assert!(claims["jti"].is_string());
}

/// The claims of a token, whoever signed it.
fn claims(token: &str) -> serde_json::Value {
    use base64::Engine;
    let part = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64"))
        .expect("JSON")
}
