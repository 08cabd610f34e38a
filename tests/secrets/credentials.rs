use crate::keys::Keys;
use crate::search::SECRET;
use landfall::ErrorKind;
use landfall::connectors::http::{
    ApiKey, Basic, Bearer, Credentials, Hmac, Jwt, JwtBearer, KeptToken, OAuth2, Proxy, RestBuilder, Secret, Session,
    SigV4, Tls, TokenAt, TokenPool, TokenTo,
};
use std::path::PathBuf;

/// What credentials are made of.
pub struct Means {
    /// Where the API is.
    pub api: String,
    /// Where it is over TLS.
    pub tls_api: String,
    /// A file with the secret.
    pub file: PathBuf,
    /// A file in which a token is kept; it holds the secret by intention.
    pub kept: PathBuf,
}

impl Means {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }
}

/// A kind of credentials, and how a source gets them.
pub struct Kind {
    pub name: &'static str,
    pub give: fn(RestBuilder, &Means) -> RestBuilder,
    /// How every run ends, if these credentials cannot be had.
    pub fails: Option<ErrorKind>,
    /// They are shown in the handshake of TLS.
    pub over_tls: bool,
}

const fn kind(name: &'static str, give: fn(RestBuilder, &Means) -> RestBuilder) -> Kind {
    Kind { name, give, fails: None, over_tls: false }
}

/// Every kind. Token endpoints get the secret in what they are asked, and give it as the token.
pub const KINDS: &[Kind] = &[
    kind("bearer", |rest, _| rest.auth(Bearer::new(SECRET))),
    kind("bearer from a file", |rest, means| rest.auth(Bearer::from_file(&means.file))),
    kind("basic", |rest, _| rest.auth(Basic::new("a user", SECRET))),
    kind("basic, a key", |rest, _| rest.auth(Basic::key(SECRET))),
    kind("key in a header", |rest, _| rest.auth(ApiKey::header("x-key", SECRET))),
    kind("key in the query", |rest, means| rest.auth(ApiKey::query("key", Secret::from_file(&means.file)))),
    kind("key in a cookie", |rest, _| rest.auth(ApiKey::cookie("key", SECRET))),
    kind("client credentials", |rest, means| {
        rest.auth(OAuth2::client_credentials(means.url("/token"), "client", SECRET).scope("rows"))
    }),
    kind("client credentials in the body", |rest, means| {
        rest.auth(OAuth2::client_credentials(means.url("/token"), "client", SECRET).client_in_body())
    }),
    kind("refresh token, kept", |rest, means| {
        let oauth = OAuth2::refresh_token(means.url("/token"), "client", SECRET).client_secret(SECRET);
        rest.auth(oauth.kept_in(KeptToken::in_file(&means.kept)))
    }),
    kind("a JWT for a token", |rest, means| {
        rest.auth(JwtBearer::exchange(means.url("/token"), Jwt::hs256(SECRET).issuer("client")))
    }),
    kind("login, bearer", |rest, means| {
        let login = Session::login(means.url("/login")).field("user", "a user").field("password", SECRET);
        rest.auth(login.token(TokenAt::body("$.access_token")))
    }),
    kind("login, form and cookie", |rest, means| {
        let login = Session::login(means.url("/login")).field("password", SECRET).as_form();
        rest.auth(login.token(TokenAt::cookie("session")).send_as(TokenTo::cookie("session")))
    }),
    kind("login, header and query", |rest, means| {
        let login = Session::login(means.url("/login")).basic("a user", SECRET).header("x-login", SECRET);
        rest.auth(login.token(TokenAt::header("x-session")).send_as(TokenTo::query("key")))
    }),
    kind("HMAC", |rest, _| {
        rest.auth(Hmac::sha256(SECRET).over("{method}{target}").header("x-signature", "{signature}"))
    }),
    kind("Signature Version 4", |rest, _| {
        let credentials = Credentials::new("AKIDEXAMPLE", SECRET).session_token(SECRET);
        rest.auth(SigV4::new("us-east-1", "execute-api", credentials))
    }),
    kind("service account", |rest, means| {
        rest.auth(JwtBearer::service_account(Keys::all().account_file(&means.url("/token"))).scope("rows"))
    }),
    kind("a JWT by itself", |rest, _| {
        let jwt = Jwt::rs256(Keys::all().account_key.as_str()).issuer("app");
        rest.auth((jwt, ApiKey::header("x-key", SECRET)))
    }),
    kind("proxy", |rest, means| rest.proxy(Proxy::at(&means.api).credentials("a user", SECRET))),
    kind("proxy and a token", |rest, means| {
        let through = Proxy::at(&means.api).credentials("a user", Secret::from_file(&means.file));
        rest.proxy(through).auth(OAuth2::client_credentials(means.url("/token"), "client", SECRET))
    }),
    Kind {
        over_tls: true,
        ..kind("mutual TLS", |rest, _| {
            let Keys { client, client_key, authority, .. } = Keys::all();
            rest.tls(Tls::new().client(client.as_str(), client_key.as_str()).trust(authority.as_str()).only())
                .auth(Bearer::new(SECRET))
        })
    },
    kind("a pool", |rest, _| rest.auth(TokenPool::of([Bearer::new(SECRET)]).and(ApiKey::header("x-key", SECRET)))),
    Kind {
        fails: Some(ErrorKind::Auth),
        ..kind("client credentials, refused", |rest, means| {
            rest.auth(OAuth2::client_credentials(means.url("/no-token"), "client", SECRET))
        })
    },
    Kind {
        fails: Some(ErrorKind::Auth),
        ..kind("service account, refused", |rest, means| {
            rest.auth(JwtBearer::service_account(Keys::all().account_file(&means.url("/no-token"))))
        })
    },
    Kind {
        fails: Some(ErrorKind::Config),
        ..kind("a key that is none", |rest, means| {
            // The marks of PEM are missing.
            let key: String = Keys::all().account_key.lines().filter(|line| !line.starts_with('-')).collect();
            rest.auth(JwtBearer::exchange(means.url("/token"), Jwt::rs256(key)))
        })
    },
    Kind {
        fails: Some(ErrorKind::Config),
        ..kind("a certificate without its key's marks", |rest, _| {
            let key: String = Keys::all().client_key.lines().filter(|line| !line.starts_with('-')).collect();
            rest.tls(Tls::new().client(Keys::all().client.as_str(), key))
        })
    },
    Kind {
        fails: Some(ErrorKind::Config),
        ..kind("a proxy with a password in its URL", |rest, _| {
            let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
            rest.proxy(Proxy::at(format!("http://user:{encoded}@proxy.invalid:3128")))
        })
    },
    Kind {
        fails: Some(ErrorKind::Unavailable),
        ..kind("client credentials, the endpoint is down", |rest, means| {
            rest.auth(OAuth2::client_credentials(means.url("/down"), "client", SECRET))
        })
    },
    Kind {
        fails: Some(ErrorKind::Auth),
        ..kind("login, refused", |rest, means| {
            rest.auth(Session::login(means.url("/denied")).field("password", SECRET))
        })
    },
];
