//! Where a source may send requests, through what, and what goes with them.

use super::authority::{Authority, server_with};
use super::*;
use crate::retry::Policy;

const CANARY: &str = "s3cret/canary+7";

/// Two pages, the second on another origin, and the third by a link relative to that.
async fn across(other: &Server) -> Server {
    let link = other.url("/second?x=1");
    Server::start(move |got| match got.path() {
        "/third" => Reply::json(r#"{"data":[4],"next":null}"#),
        _ => Reply::json(format!(r#"{{"data":[1],"next":"{link}"}}"#)),
    })
    .await
}

async fn second() -> Server {
    Server::start(|got| match got.path() {
        "/second" => Reply::json(r#"{"data":[2],"next":"/more?y=2"}"#),
        _ => Reply::json(r#"{"data":[3],"next":null}"#),
    })
    .await
}

fn by_link(server: &Server) -> RestBuilder {
    let source = Rest::get(server.url("/r")).paginate(NextUrl::at("$.next")).records("$.data[*]").limits(patient());
    source.auth(Bearer::new(CANARY)).header("x-tenant", "mine")
}

#[tokio::test]
async fn an_allowed_origin_gets_no_credentials_unless_it_is_said_so() {
    for with_credentials in [false, true] {
        let other = second().await;
        let server = across(&other).await;
        let allow = |source: RestBuilder| match with_credentials {
            true => source.allow_origin_with_credentials(other.url("")),
            false => source.allow_origin(other.url("")),
        };
        let source = allow(by_link(&server)).max_pages(1).build().expect("a source");
        let brought = read(&source, None).await;
        assert_eq!(brought.records(), ["1"]);
        // Goes on in the middle, on the other origin.
        let source = allow(by_link(&server)).build().expect("a source");
        let rest = read(&source, Some(brought.last_position())).await;
        assert_eq!(rest.records(), ["2", "3"], "{:?}", rest.end);
        assert_eq!(other.targets(), ["/second?x=1", "/more?y=2"]);
        for got in other.seen() {
            let sent = [got.headers.get("authorization"), got.headers.get("x-tenant")];
            assert_eq!(sent.map(|header| header.is_some()), [with_credentials; 2], "{:?}", got.headers);
            assert!(!got.headers.contains_key("referer") && got.headers.contains_key("accept"));
        }
    }
}

#[tokio::test]
async fn a_redirect_to_an_allowed_origin_carries_no_credentials() {
    let other = Server::start(|_| Reply::json(r#"{"data":[2],"next":null}"#)).await;
    let target = other.url("/file");
    let server = Server::start(move |_| Reply::status(302, "").header("location", &target)).await;
    let brought = read(&by_link(&server).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Config);
    assert!(other.seen().is_empty());
    let rest = by_link(&server).allow_origin(other.url("")).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ["2"]);
    assert!(!other.seen()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn what_a_post_carries_goes_to_no_origin_without_credentials() {
    let other = second().await;
    let server = across(&other).await;
    let post = || {
        let source = Rest::post(server.url("/r")).json(serde_json::json!({ "key": CANARY })).auth(Bearer::new(CANARY));
        source.paginate(NextUrl::at("$.next")).records("$.data[*]").limits(patient())
    };
    let brought = read(&post().allow_origin(other.url("")).build().expect("a source"), None).await;
    assert_eq!((brought.records(), brought.error().kind()), (vec!["1".to_owned()], ErrorKind::Config));
    assert!(brought.error().to_string().contains("only a GET"), "{}", brought.error());
    assert!(other.seen().is_empty(), "nothing was sent there");
    let rest = post().allow_origin_with_credentials(other.url("")).build().expect("a source");
    assert_eq!(read(&rest, None).await.records(), ["1", "2", "3"]);
}

#[tokio::test]
async fn links_from_data_never_lead_to_private_addresses() {
    let other = Server::start(|_| Reply::json(r#"{"data":[2],"next":null}"#)).await;
    let port = other.url("").rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "169.254.169.254", "localhost"] {
        let link = format!("https://{host}:{port}/x?token={CANARY}");
        let server = Server::start(move |_| Reply::json(format!(r#"{{"data":[1],"next":"{link}"}}"#))).await;
        let rest = by_link(&server).allow_public_origins().auth(Bearer::new("other")).build().expect("a source");
        let brought = read(&rest, None).await;
        let error = brought.error();
        assert!(error.to_string().contains("private address"), "{host}: {error}");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("canary"));
    }
    // Nor by http, nor without leave.
    for (link, public) in [("http://example.com/x", true), ("https://example.com/x", false)] {
        let server = Server::start(move |_| Reply::json(format!(r#"{{"data":[1],"next":"{link}"}}"#))).await;
        let rest = by_link(&server);
        let rest = if public { rest.allow_public_origins() } else { rest };
        let brought = read(&rest.build().expect("a source"), None).await;
        assert!(brought.error().to_string().contains("another origin"), "{}", brought.error());
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn credentials_of_a_proxy_go_to_the_proxy_only() {
    let server = Server::start(|_| Reply::json(r#"{"data":[1],"next":null}"#)).await;
    let origin = server.url("");
    // It forwards nothing, and answers itself.
    let proxy = Server::start(|_| Reply::json(r#"{"data":[2],"next":null}"#)).await;
    let through = Proxy::at(proxy.url("")).credentials("user", CANARY);
    let rest = by_link(&server).proxy(through.clone()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.records(), ["2"]);
    assert!(server.seen().is_empty());
    let got = proxy.seen().pop().expect("asked");
    assert_eq!(got.target, format!("{origin}/r"));
    assert_eq!(got.headers["proxy-authorization"], "Basic dXNlcjpzM2NyZXQvY2FuYXJ5Kzc=");
    assert!(!format!("{through:?} {rest:?}").contains("canary"));
    // Without it, nothing of it.
    assert_eq!(read(&by_link(&server).build().expect("a source"), None).await.records(), ["1"]);
    assert!(!server.seen()[0].headers.contains_key("proxy-authorization"));
    for wrong in ["ftp://h", "http://u:p@h", "nonsense"] {
        assert_eq!(by_link(&server).proxy(Proxy::at(wrong)).build().expect_err("refused").kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let reply = |headers: usize, bytes: usize| {
        (0..headers).fold(Reply::json("[1]"), |reply, n| reply.header(&format!("x-{n}"), &"v".repeat(bytes)))
    };
    for (headers, bytes, fits) in [(50, 100, true), (90, 100, true), (5, 30_000, false), (120, 10, false)] {
        let server = Server::start(move |_| reply(headers, bytes)).await;
        let rest = Rest::get(server.url("/r")).limits(patient()).retry(Policy::default().with_attempts(1));
        let brought = read(&rest.build().expect("a source"), None).await;
        assert_eq!(brought.end.is_ok(), fits, "{headers} {bytes}: {:?}", brought.end);
    }
    let server = Server::start(move |_| reply(20, 10)).await;
    let rest =
        Rest::get(server.url("/r")).limits(patient().with_head(1_000, 10)).retry(Policy::default().with_attempts(1));
    assert!(read(&rest.build().expect("a source"), None).await.end.is_err());
}

#[tokio::test]
async fn a_token_of_an_endpoint_is_hidden_in_each_way_of_writing() {
    use base64::Engine;
    let token = "t0ken/canary+7 of an endpoint";
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("Bearer {token}"));
    for written in
        [token.to_owned(), token.replace('/', "&#x2F;"), token.replace('+', "&#43;"), base64, token.replace('/', "%2f")]
    {
        let server = Server::start(move |got| match got.path() {
            "/token" => Reply::json(format!(r#"{{"access_token":"{token}"}}"#)),
            _ => Reply::status(400, format!("<p>{written}</p>")),
        })
        .await;
        let auth = OAuth2::client_credentials(server.url("/token"), "me", CANARY);
        let rest = Rest::get(server.url("/r")).limits(patient()).auth(auth).build().expect("a source");
        let brought = read(&rest, None).await;
        let text = format!("{} {rest:?}", brought.error());
        assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{text}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_own_origin() {
    let authority = Authority::named("ours");
    let (server, _) = server_with(authority.certify("127.0.0.1"), Some(&authority)).await;

    let (client, key) = authority.certify("client");
    let read_with = async |tls: Tls| {
        let rest = Rest::get(server.url("/r")).limits(patient()).retry(Policy::default().with_attempts(1)).tls(tls);
        read(&rest.build().expect("a source"), None).await
    };
    let trusting = || Tls::new().trust(authority.pem()).only();
    let brought = read_with(trusting().client(client.pem(), key.serialize_pem())).await;
    assert_eq!(brought.records(), ["1"], "{:?}", brought.end);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), client.pem() + &key.serialize_pem()).expect("written");
    let brought = read_with(Tls::new().trust(authority.pem()).client_pem(Secret::from_file(file.path()))).await;
    assert_eq!(brought.records(), ["1"], "{:?}", brought.end);
    // Without it, with one of another authority, and without trust there is no connection.
    let (other, other_key) = Authority::named("another").certify("client");
    for tls in [
        trusting(),
        trusting().client(other.pem(), other_key.serialize_pem()),
        Tls::new().client(client.pem(), key.serialize_pem()),
    ] {
        assert_eq!(read_with(tls).await.error().kind(), ErrorKind::Unavailable);
    }
    for wrong in [Tls::new().client_pem(CANARY), Tls::new().trust(CANARY), Tls::new().only()] {
        let error = Rest::get(server.url("/r")).tls(wrong).build().expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn a_server_that_never_completes_the_handshake_is_given_up() {
    // It takes the connection, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}/r", silent.local_addr().expect("bound"));
    let limits = patient().with_connect(Duration::from_millis(50)).with_idle(Duration::from_secs(600));
    let rest = Rest::get(url).limits(limits).retry(Policy::default().with_attempts(1)).build().expect("a source");
    // The clock of the system: the limit is that of the transport, which has no other.
    let (_, end) = read_in(&Env::system(), &rest, &listed(&rest).await[0].clone(), None).await;
    let error = end.expect_err("no handshake");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no connection in time"), "{error}");
}
