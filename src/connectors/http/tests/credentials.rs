//! Credentials that are obtained, renewed, signed and pooled, and how refusals are met.

use super::*;
use crate::retry::Policy;
use crate::store::Store;
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
async fn r05_a_refused_token_is_replaced_and_the_same_request_sent_again_in_mid_pagination() {
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
async fn r05_a_second_refusal_is_an_auth_error() {
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
async fn r05_a_post_is_sent_again_after_a_refusal_since_nothing_was_done() {
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
async fn r05_a_rule_can_say_that_credentials_are_refused() {
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
async fn r07_a_signature_is_made_anew_for_each_attempt() {
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

/// A token endpoint that gives a new refresh token for each one, and takes each once. It forgives a client that lost an answer: the last
/// used one is taken again as long as the new one was not.
async fn rotating() -> Server {
    let newest = AtomicU64::new(0);
    Server::start(move |got| {
        if got.path() != "/token" {
            return page([1], "null");
        }
        let n = newest.load(Ordering::SeqCst);
        let used = form(got).get("refresh_token").cloned().unwrap_or_default();
        if used != format!("r{n}") && (n == 0 || used != format!("r{}", n - 1)) {
            return Reply::status(400, r#"{"error":"invalid_grant"}"#);
        }
        let next = if used == format!("r{n}") { n + 1 } else { n };
        newest.store(next, Ordering::SeqCst);
        Reply::json(format!(r#"{{"access_token":"a{next}","refresh_token":"r{next}"}}"#))
    })
    .await
}

/// A store that fails when it is told to, before or after it has kept.
#[derive(Debug)]
struct Shaky {
    inner: KeptToken,
    fail: AtomicU64,
}

const BEFORE: u64 = 1;
const AFTER: u64 = 2;

#[async_trait::async_trait]
impl TokenStore for Shaky {
    async fn load(&self) -> Result<Option<SecretString>> {
        self.inner.load().await
    }

    async fn keep(&self, text: &SecretString) -> Result<()> {
        let fail = self.fail.load(Ordering::SeqCst);
        if fail == BEFORE {
            return Err(
                Error::new(ErrorKind::Unavailable, "keep token", "crash").with_status(crate::error::Status::Permanent)
            );
        }
        self.inner.keep(text).await?;
        if fail == AFTER {
            return Err(Error::new(ErrorKind::Ambiguous, "keep token", "crash"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_rotated_refresh_token_is_kept_before_what_came_with_it_is_used() {
    for fail in [BEFORE, AFTER] {
        let server = rotating().await;
        let store = Store::memory();
        let kept = || KeptToken::in_store(&store, "tokens/api").expect("a name");
        let auth = |shaky: u64| {
            let shaky = Shaky { inner: kept(), fail: AtomicU64::new(shaky) };
            OAuth2::refresh_token(server.url("/token"), "me", "r0").kept_in(shaky)
        };
        let run = async |shaky| read(&by_cursor(&server).auth(auth(shaky)).build().expect("a source"), None).await;
        // It crashes while the token is being kept: nothing was signed with what came.
        let brought = run(fail).await;
        assert!(brought.end.is_err());
        assert_eq!(server.targets(), ["/token"], "{fail}");
        // The next run goes on with what is there, and so does the one after.
        for _ in 0..2 {
            assert_eq!(run(0).await.records(), ids([1]));
        }
        let used: Vec<_> = server
            .seen()
            .iter()
            .filter(|got| got.path() == "/token")
            .map(|got| form(got)["refresh_token"].clone())
            .collect();
        match fail {
            BEFORE => assert_eq!(used, ["r0", "r0", "r1"]),
            _ => assert_eq!(used, ["r0", "r1", "r2"]),
        }
    }
}

#[tokio::test]
async fn what_could_not_be_kept_is_kept_before_the_next_use() {
    let server = rotating().await;
    let store = Store::memory();
    let kept = KeptToken::in_store(&store, "tokens/api").expect("a name");
    let shaky = Arc::new(Shaky { inner: kept.clone(), fail: AtomicU64::new(BEFORE) });
    #[derive(Debug)]
    struct Shared(Arc<Shaky>);
    #[async_trait::async_trait]
    impl TokenStore for Shared {
        async fn load(&self) -> Result<Option<SecretString>> {
            self.0.load().await
        }
        async fn keep(&self, text: &SecretString) -> Result<()> {
            self.0.keep(text).await
        }
    }
    let auth = OAuth2::refresh_token(server.url("/token"), "me", "r0").kept_in(Shared(Arc::clone(&shaky)));
    let rest = by_cursor(&server).auth(auth).build().expect("a source");
    assert!(read(&rest, None).await.end.is_err());
    shaky.fail.store(0, Ordering::SeqCst);
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    let used: Vec<_> = server
        .seen()
        .iter()
        .filter(|got| got.path() == "/token")
        .map(|got| form(got)["refresh_token"].clone())
        .collect();
    assert_eq!(used, ["r0", "r1"]);
}

#[tokio::test]
async fn another_process_may_have_used_the_refresh_token() {
    let server = rotating().await;
    let folder = tempfile::tempdir().expect("a folder");
    let new = || {
        let auth = OAuth2::refresh_token(server.url("/token"), "me", "r0")
            .kept_in(KeptToken::in_file(folder.path().join("token")));
        by_cursor(&server).auth(auth).build().expect("a source")
    };
    let (one, other) = (new(), new());
    for rest in [&one, &other, &other, &one] {
        assert_eq!(read(rest, None).await.records(), ids([1]));
    }
    // A new consent takes the place of what is kept.
    let auth = OAuth2::refresh_token(server.url("/token"), "me", "of another consent")
        .kept_in(KeptToken::in_file(folder.path().join("token")));
    let brought = read(&by_cursor(&server).auth(auth).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert_eq!(form(server.seen().last().expect("asked"))["refresh_token"], "of another consent");
}

#[tokio::test]
async fn a_signed_statement_is_exchanged_or_sent_by_itself() {
    let server = with_tokens("", |_, _| page([1], "null")).await;
    let ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let sent = |auth: JwtBearer| {
        let rest = by_cursor(&server).auth(auth).build().expect("a source");
        let server = &server;
        async move {
            assert_eq!(read(&rest, None).await.records(), ids([1]));
            let seen = server.seen();
            form(seen.iter().rfind(|got| got.path() == "/token").expect("asked"))
        }
    };
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let verified = |token: &str, key: &DecodingKey, algorithm| {
        let mut validation = Validation::new(algorithm);
        // The clock of the test stands in 2024.
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode::<serde_json::Value>(token, key, &validation).expect("signed with this key")
    };
    let jwt = Jwt::es256(ec.serialize_pem()).issuer("me").subject("you").key_id("k1").claim("admin", true);
    let form = sent(JwtBearer::exchange(server.url("/token"), jwt).scope("all")).await;
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(form["scope"], "all");
    let key = DecodingKey::from_ec_pem(ec.public_key_pem().as_bytes()).expect("a key");
    let token = verified(&form["assertion"], &key, Algorithm::ES256);
    assert_eq!(token.header.kid.as_deref(), Some("k1"));
    let expected = serde_json::json!({
        "iss": "me", "sub": "you", "admin": true, "aud": server.url("/token"),
        "iat": 1_704_067_190, "exp": 1_704_067_490,
    });
    assert_eq!(token.claims, expected);

    let file = serde_json::json!({
        "client_email": "robot@x", "private_key": rsa.serialize_pem(), "private_key_id": "k2", "token_uri": server.url("/token"),
    });
    let form = sent(JwtBearer::service_account(file.to_string()).scope("drive").on_behalf_of("boss")).await;
    let key = DecodingKey::from_rsa_pem(rsa.public_key_pem().as_bytes()).expect("a key");
    let claims = verified(&form["assertion"], &key, Algorithm::RS256).claims;
    assert_eq!(
        (&claims["iss"], &claims["scope"], &claims["sub"]),
        (&"robot@x".into(), &"drive".into(), &"boss".into())
    );

    let rest = by_cursor(&server).auth(Jwt::hs256(CANARY).issuer("me")).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    let sent = server.seen().last().expect("asked").headers["authorization"].clone();
    let key = DecodingKey::from_secret(CANARY.as_bytes());
    verified(sent.strip_prefix("Bearer ").expect("a bearer token"), &key, Algorithm::HS256);

    for wrong in [Jwt::rs256("no PEM"), Jwt::es256(rsa.serialize_pem()), Jwt::hs256("k").lifetime(Duration::ZERO)] {
        let error = by_cursor(&server).auth(wrong).build().expect_err("no such key");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("PRIVATE"));
    }
}

#[tokio::test]
async fn a_login_gives_a_token_in_its_body_a_header_or_a_cookie() {
    let server = Server::start(|got| match got.path() {
        "/login" => Reply::json(format!(r#"{{"session":{{"token":"b-{CANARY}","ttl":100}}}}"#))
            .header("x-token", "h-token")
            .header("set-cookie", "SID=c-token; Path=/; HttpOnly"),
        _ if got.number == 1 => Reply::status(429, "").header("retry-after", "80"),
        _ => page([1], "null"),
    })
    .await;
    let login = || Session::login(server.url("/login")).field("user.name", "me").field("user.password", CANARY);
    let read_with = async |session: Session| {
        let brought = read(&by_cursor(&server).auth(session).build().expect("a source"), None).await;
        assert_eq!(brought.records(), ids([1]), "{:?}", brought.end);
        assert!(!tells(&brought));
        server.seen().last().expect("asked").clone()
    };
    let session = login().token(TokenAt::body("$.session.token")).expires_in("$.session.ttl");
    let last = read_with(session.send_as(TokenTo::header_after("x-session", "Token "))).await;
    assert_eq!(last.headers["x-session"], format!("Token b-{CANARY}"));
    // After 80 of 100 seconds a new one.
    assert_eq!(server.targets(), ["/login", "/r", "/login", "/r"]);
    assert_eq!(server.seen()[0].json(), serde_json::json!({"user": {"name": "me", "password": CANARY}}));

    let last = read_with(login().token(TokenAt::header("x-token"))).await;
    assert_eq!(last.headers["authorization"], "Bearer h-token");
    let last = read_with(login().as_form().token(TokenAt::cookie("SID"))).await;
    assert_eq!(last.headers["cookie"], "SID=c-token");

    for missing in [TokenAt::body("$.nothing"), TokenAt::header("x-nothing"), TokenAt::cookie("nothing")] {
        let brought = read(&by_cursor(&server).auth(login().token(missing)).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        assert!(!tells(&brought));
    }
    assert!(by_cursor(&server).auth(login().token(TokenAt::body("nonsense"))).build().is_err());
}

#[tokio::test]
async fn a_refused_login_is_an_auth_error() {
    let server = Server::start(|got| Reply::status(403, got.body.clone())).await;
    let session = Session::login(server.url("/login")).field("password", CANARY);
    let brought = read(&by_cursor(&server).auth(session).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert!(!tells(&brought), "{}", brought.error());
}

#[tokio::test]
async fn a_signature_is_over_what_is_sent() {
    let server = Server::start(|_| page([1], "null")).await;
    // RFC 4231, test case 2.
    let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let hmac = Hmac::sha256("Jefe").over("what do ya want for nothing?").header("x-signature", "v0={signature}");
    let rest = by_cursor(&server).auth(hmac).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids([1]));
    assert_eq!(server.seen()[0].headers["x-signature"], format!("v0={known}"));

    let places =
        "{method}|{host}|{path}|{query}|{target}|{url}|{body}|{timestamp}|{header.x-version}|{header.x-none}|{other";
    let hmac = Hmac::sha512(CANARY).encoding(HmacEncoding::Base64).time(HmacTime::Rfc3339).over(places);
    let hmac = hmac.query("ts", "{timestamp}").query("sig", "{signature}");
    let source =
        Rest::post(server.url("/a/é")).query("q", "1 2").header("x-version", "3").json(serde_json::json!({"k": "v"}));
    let rest = source.records("$.data[*]").limits(patient()).auth(hmac).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids([1]));
    let got = server.seen().pop().expect("asked");
    let host = server.url("").replace("http://", "");
    let target = "/a/%C3%A9?q=1+2&ts=2024-01-01T00%3A00%3A00Z";
    let (path, query) = target.split_once('?').expect("a query");
    let text = format!(
        "POST|{host}|{path}|{query}|{target}|{}|{{\"k\":\"v\"}}|2024-01-01T00:00:00Z|3||{{other",
        server.url(target)
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA512, CANARY.as_bytes());
    use base64::Engine;
    let expected = base64::engine::general_purpose::STANDARD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
    assert_eq!(got.parameter("sig"), Some(expected));
    // What a signature adds is no part of what is kept.
    assert_eq!(brought.pages()[0].request, "POST /a/%C3%A9?q=1+2");

    for wrong in [
        Hmac::sha1("k").header("x", "{signature}"),
        Hmac::sha1("k").over("{body}").header("x", "{timestamp}"),
        Hmac::sha1("k").over("{signature}").header("x", "{signature}"),
        Hmac::sha1("k").over("{boddy}").header("x", "{signature}"),
    ] {
        assert_eq!(by_cursor(&server).auth(wrong).build().expect_err("refused").kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_request_to_aws_is_signed_as_it_is_sent() {
    let server = Server::start(|_| page([1], "null")).await;
    let credentials = Credentials::new("AKIDEXAMPLE", CANARY).session_token(format!("token-{CANARY}"));
    let source = Rest::get(server.url("/a b")).query("b", "1 2").query("a", "é").records("$.data[*]").limits(patient());
    let rest = source.auth(SigV4::new("eu-central-1", "s3", credentials)).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids([1]));
    assert!(!tells(&brought));
    let got = server.seen().pop().expect("asked");
    assert_eq!(got.target, "/a%20b?a=%C3%A9&b=1%202");
    assert_eq!(got.headers["x-amz-date"], "20240101T000000Z");
    assert_eq!(got.headers["x-amz-security-token"], format!("token-{CANARY}"));
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(got.headers["x-amz-content-sha256"], empty);
    let begins = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240101/eu-central-1/s3/aws4_request, \
                  SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=";
    assert!(got.headers["authorization"].starts_with(begins), "{}", got.headers["authorization"]);
}

#[tokio::test]
async fn cookies_and_pairs_of_credentials_go_with_each_request() {
    let server = Server::start(three_pages).await;
    let auth = (ApiKey::cookie("sid", "one"), (ApiKey::cookie("key", "two"), ApiKey::header("x-key", CANARY)));
    let rest = by_cursor(&server).auth(auth).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids(1..=6));
    let sent = |got: &Got| got.headers["cookie"] == "sid=one; key=two" && got.headers["x-key"] == CANARY;
    assert!(server.seen().iter().all(sent));
    let rest = by_cursor(&server).auth(ApiKey::cookie("sid", "a;b")).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_secret_may_come_from_a_provider_anew_each_time() {
    #[derive(Debug)]
    struct Vault(AtomicU64);
    #[async_trait::async_trait]
    impl SecretProvider for Vault {
        async fn secret(&self, _env: &Env) -> Result<SecretString> {
            Ok(format!("v{}", self.0.fetch_add(1, Ordering::SeqCst)).into())
        }
    }
    let server = Server::start(three_pages).await;
    let auth = Bearer::new(Secret::from_provider(Vault(AtomicU64::new(1))));
    let rest = by_cursor(&server).auth(auth).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids(1..=6));
    let sent: Vec<_> = server.seen().into_iter().map(|got| got.headers["authorization"].clone()).collect();
    assert_eq!(sent, ["Bearer v1", "Bearer v2", "Bearer v3"]);
}

/// Three pages; each token has two requests in a window of 100 s from the start.
async fn with_quotas() -> Server {
    let used = Mutex::new(BTreeMap::<String, u64>::new());
    Server::start(move |got| {
        let token = got.headers["authorization"].clone();
        let mut used = used.lock().expect("not poisoned");
        let used = used.entry(token).or_default();
        *used += 1;
        three_pages(got)
            .header("x-ratelimit-remaining", &2_u64.saturating_sub(*used).to_string())
            .header("x-ratelimit-reset", &(START / 1_000_000 + 100).to_string())
    })
    .await
}

fn tokens(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|got| got.headers["authorization"].replace("Bearer ", "")).collect()
}

#[tokio::test]
async fn r13_an_exhausted_token_makes_place_for_another_without_waiting() {
    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    // The one with the most left; of those that have the same, the first.
    assert_eq!(tokens(&server), ["a", "b", "a"]);
}

#[tokio::test]
async fn r13_a_token_that_is_told_to_be_used_up_makes_place_at_once() {
    let server = Server::start(|got| match got.headers["authorization"].as_str() {
        "Bearer a" => Reply::status(429, "").header("retry-after", "3600"),
        _ => three_pages(got),
    })
    .await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    assert_eq!(tokens(&server), ["a", "b", "b", "b"]);
}

#[tokio::test]
async fn r13_all_tokens_exhausted_waits_for_the_first_and_not_beyond_the_budget() {
    let pool = || TokenPool::of([Bearer::new("a")]);
    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(pool()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ids(1..=6));
    // Two pages, and a wait to the end of the window.
    assert_eq!(brought.slept, [Duration::from_secs(100)]);
    assert_eq!(tokens(&server), ["a", "a", "a"]);

    let server = with_quotas().await;
    let rest = by_cursor(&server).auth(pool()).retry(Policy::default().with_wait(Duration::from_secs(50)));
    let brought = read(&rest.build().expect("a source"), None).await;
    assert!(matches!(brought.stopped(), StopReason::RateLimited { until: Some(_) }), "{:?}", brought.end);
    assert_eq!(brought.records(), ids(1..=4));
    assert!(brought.slept.is_empty(), "{:?}", brought.slept);
    assert_eq!(tokens(&server), ["a", "a"]);
}

#[tokio::test]
async fn a_refused_token_of_a_pool_makes_place_for_good() {
    let server = Server::start(|got| match got.headers["authorization"].as_str() {
        "Bearer bad" => Reply::status(401, ""),
        _ => three_pages(got),
    })
    .await;
    let rest =
        by_cursor(&server).auth(TokenPool::of([Bearer::new("bad"), Bearer::new("good")])).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ids(1..=6));
    assert_eq!(tokens(&server), ["bad", "good", "good", "good"]);
    let server = Server::start(|_| Reply::status(401, "")).await;
    let rest = by_cursor(&server).auth(TokenPool::of([Bearer::new("a"), Bearer::new("b")])).build().expect("a source");
    assert_eq!(read(&rest, None).await.error().kind(), ErrorKind::Auth);
    assert_eq!(tokens(&server), ["a", "b"]);
}
