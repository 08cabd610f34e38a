use super::signed::{hmac_is_right, jwt_is_right, sigv4_is_right};
use super::{Reply, Request};
use crate::env::Env;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use url::form_urlencoded;

/// Who may ask. What is good for so many requests is refused with 401 afterwards, whatever was said of its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Everybody; with TLS that asks for certificates ([`ApiScript::start_over`](super::ApiScript::start_over)), everybody who has shown one.
    #[default]
    Open,
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// `Authorization: Basic …` of a user and a password.
    Basic(String, String),
    /// A header and its value.
    Header(String, String),
    /// A parameter of the query and its value.
    Query(String, String),
    /// A cookie and its value.
    Cookie(String, String),
    /// One of several keys, in the header `X-Key`. Each is good for so many requests in a minute, and then refused with 429;
    /// `X-RateLimit-Remaining` and `X-RateLimit-Reset` say so.
    Keys(Vec<String>, u64),
    /// Tokens by OAuth 2.0 client credentials (RFC 6749, 4.4), from [`token_url`](super::ScriptedApi::token_url).
    ClientCredentials {
        /// The client.
        id: String,
        /// Its secret, as `Basic` or in the body.
        secret: String,
        /// Requests that a token is good for.
        requests: u64,
    },
    /// Tokens by an OAuth 2.0 refresh token (RFC 6749, 6) of a public client.
    RefreshToken {
        /// The first refresh token.
        token: String,
        /// Whether each answer brings another one, and the one before is not good any more.
        rotates: bool,
        /// Requests that a token is good for.
        requests: u64,
    },
    /// Tokens for a statement (RFC 7523, 2.1) that is signed with this key, by HMAC and SHA-256.
    JwtBearer {
        /// The key.
        key: String,
        /// Requests that a token is good for.
        requests: u64,
    },
    /// A statement (RFC 7519) that is signed with this key, by HMAC and SHA-256, as a bearer token. Its time is not looked at.
    Jwt(String),
    /// Tokens by a login, `{"user": …, "password": …}` to [`login_url`](super::ScriptedApi::login_url), which answers `{"token": …}`; sent as
    /// bearer tokens.
    Session {
        /// The user.
        user: String,
        /// The password.
        password: String,
        /// Requests that a token is good for.
        requests: u64,
    },
    /// The header `X-Signature`: HMAC with SHA-256 of this key, in hexadecimal, over the header `X-Timestamp`, the method, the target and
    /// the body. The time is not looked at.
    Hmac(String),
    /// AWS Signature Version 4, by this id and key, for the region `eu-central-1` and the service `execute-api`. The time is not looked at.
    SigV4(String, String),
}

/// Who is let in, and what was given out.
#[derive(Debug)]
pub(super) struct Door {
    access: Access,
    env: Env,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    /// How many tokens were given, and the requests that are left of the last one.
    tokens: u64,
    left: u64,
    /// Requests that are left of each key, and when there will be new ones, in seconds since 1970.
    keys: BTreeMap<String, (u64, i64)>,
}

impl Door {
    pub(super) fn new(access: Access, env: Env) -> Self {
        Self { access, env, given: Mutex::default() }
    }

    /// Headers of the answer for who is let in, or the refusal.
    pub(super) fn pass(&self, request: &Request) -> Result<Vec<(&'static str, String)>, Box<Reply>> {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        let is = |name: &str, value: &str| header(name) == Some(value);
        let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let let_in = match &self.access {
            Access::Open => true,
            Access::Bearer(token) => bearer() == Some(token),
            Access::Basic(user, password) => is("authorization", &basic(user, password)),
            Access::Header(name, value) => is(&name.to_lowercase(), value),
            Access::Query(name, value) => request.parameter(name).as_ref() == Some(value),
            Access::Cookie(name, value) => {
                header("cookie").is_some_and(|all| all.split("; ").any(|one| one == format!("{name}={value}")))
            }
            Access::Keys(keys, quota) => match header("x-key").filter(|key| keys.iter().any(|k| k == key)) {
                Some(key) => return self.count(key, *quota),
                None => false,
            },
            Access::Jwt(key) => bearer().is_some_and(|token| jwt_is_right(token, key)),
            Access::Hmac(key) => hmac_is_right(request, key),
            Access::SigV4(id, key) => sigv4_is_right(request, id, key),
            Access::ClientCredentials { .. }
            | Access::RefreshToken { .. }
            | Access::JwtBearer { .. }
            | Access::Session { .. } => {
                let mut given = self.given();
                let good = bearer() == Some(&format!("token-{}", given.tokens)) && given.left > 0;
                given.left = given.left.saturating_sub(u64::from(good));
                good
            }
        };
        let refusal = || Reply::status(401, r#"{"error":"who are you?"}"#).header("www-authenticate", "Bearer");
        if let_in { Ok(Vec::new()) } else { Err(Box::new(refusal())) }
    }

    /// A request with a key that is known.
    fn count(&self, key: &str, quota: u64) -> Result<Vec<(&'static str, String)>, Box<Reply>> {
        let now = self.env.now().as_micros() / 1_000_000;
        let mut given = self.given();
        let (left, until) = given.keys.entry(key.to_owned()).or_insert((quota, now + MINUTE));
        if now >= *until {
            (*left, *until) = (quota, now + MINUTE);
        }
        let spent = *left == 0;
        *left = left.saturating_sub(1);
        let told = [("x-ratelimit-remaining", left.to_string()), ("x-ratelimit-reset", until.to_string())];
        let refusal = || told.iter().fold(Reply::status(429, ""), |reply, (name, value)| reply.header(name, value));
        if spent { Err(Box::new(refusal())) } else { Ok(told.into()) }
    }

    /// The answer to a request for a token: the one before is not good any more.
    pub(super) fn token(&self, request: &Request) -> Reply {
        let form: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
        let said = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let mut given = self.given();
        let rotated = |token: &str, n: u64| if n == 0 { token.to_owned() } else { format!("{token}-{n}") };
        let mut refresh = None;
        let (requests, right) = match &self.access {
            Access::ClientCredentials { id, secret, requests } => {
                let by_header = request.headers.get("authorization") == Some(&basic(id, secret));
                let by_body = said("client_id") == Some(id) && said("client_secret") == Some(secret);
                (requests, said("grant_type") == Some("client_credentials") && (by_header || by_body))
            }
            Access::RefreshToken { token, rotates, requests } => {
                let turn = |n: u64| rotated(token, if *rotates { n } else { 0 });
                refresh = rotates.then(|| turn(given.tokens + 1));
                let shown = said("refresh_token") == Some(&turn(given.tokens));
                (requests, said("grant_type") == Some("refresh_token") && shown)
            }
            Access::JwtBearer { key, requests } => {
                let signed = said("assertion").is_some_and(|statement| jwt_is_right(statement, key));
                (requests, said("grant_type") == Some("urn:ietf:params:oauth:grant-type:jwt-bearer") && signed)
            }
            _ => return Reply::status(404, ""),
        };
        if request.method != "POST" || !right {
            return Reply::json(r#"{"error":"invalid_grant"}"#).with_status(400);
        }
        let mut answer = given.give(*requests);
        if let Some(refresh) = refresh {
            answer["refresh_token"] = refresh.into();
        }
        Reply::json(answer.to_string())
    }

    /// The answer to a login: the token before is not good any more.
    pub(super) fn login(&self, request: &Request) -> Reply {
        let Access::Session { user, password, requests } = &self.access else { return Reply::status(404, "") };
        let said: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.method != "POST" || said["user"] != user.as_str() || said["password"] != password.as_str() {
            return Reply::status(403, "");
        }
        let mut answer = self.given().give(*requests);
        Reply::json(json!({ "token": answer["access_token"].take() }).to_string())
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Given {
    /// The next token (RFC 6749, 5.1).
    fn give(&mut self, requests: u64) -> serde_json::Value {
        (self.tokens, self.left) = (self.tokens + 1, requests);
        json!({ "access_token": format!("token-{}", self.tokens), "token_type": "Bearer", "expires_in": 3600 })
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

const MINUTE: i64 = 60;
