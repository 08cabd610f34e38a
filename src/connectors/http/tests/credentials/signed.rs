//! Statements, logins and signatures; secrets that are sent as they are.

use super::*;

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
