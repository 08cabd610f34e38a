//! `[source.auth]`: how to log in. It says where secrets are, and never holds one.

mod jwt;
mod oauth;
mod session;
mod signing;

use crate::value::{Duration, NEVER_HERE, SecretPlace};
use crate::with::With;
use jwt::{Jwt, JwtBearer, ServiceAccount};
use landfall::connectors::http::{self, ApiKey, Basic, Bearer};
use landfall::{Error, Result};
use oauth::{ClientCredentials, RefreshToken};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess};
use session::Session;
use signing::{Hmac, Sigv4};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One credential, or several that go on each request together.
#[derive(Debug)]
pub(crate) enum Login {
    One(Box<Auth>),
    All(Vec<Self>),
}

impl Login {
    pub(super) fn build(&self) -> Result<Arc<dyn http::Auth>> {
        let all = match self {
            Self::One(auth) => return auth.build(),
            Self::All(all) => all.iter().map(Self::build).collect::<Result<Vec<_>>>()?,
        };
        all.into_iter().reduce(|one, other| Arc::new((one, other))).ok_or_else(|| {
            Error::config("read spec", "a login of nothing").with_hint("say how to log in; or leave out `auth`")
        })
    }
}

/// By hand: an untagged enum would not say what is wrong inside, and an error may not repeat a text that stands here.
impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Login;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as { by = \"bearer\", env = \"NAME\" }, or an array of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Login, A::Error> {
                Auth::deserialize(MapAccessDeserializer::new(table)).map(|auth| Login::One(Box::new(auth)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<Login, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(all)).map(Login::All)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Login, E> {
                Err(E::custom(NEVER_HERE))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// How to log in.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Auth {
    /// A token in the `Authorization` header.
    Bearer { env: Option<String>, file: Option<PathBuf> },
    /// A user and a password; or a key in the place of the user.
    Basic { user: Option<String>, password: Option<SecretPlace>, key: Option<SecretPlace> },
    /// A key in a header.
    Header { name: String, env: Option<String>, file: Option<PathBuf> },
    /// A key in a parameter of the query.
    Query { name: String, env: Option<String>, file: Option<PathBuf> },
    /// A key in a cookie.
    Cookie { name: String, env: Option<String>, file: Option<PathBuf> },
    /// OAuth 2: tokens for the client itself.
    ClientCredentials(ClientCredentials),
    /// OAuth 2: tokens for whoever consented.
    RefreshToken(RefreshToken),
    /// A signed statement, sent as the token itself.
    Jwt(Jwt),
    /// A signed statement, exchanged for a token.
    JwtBearer(JwtBearer),
    /// The JSON key file of a service account.
    ServiceAccount(ServiceAccount),
    /// A login that gives a token.
    Session(Session),
    /// A signature over the request.
    Hmac(Hmac),
    /// The signature of AWS.
    Sigv4(Sigv4),
    /// Several credentials, each with a quota of its own.
    Pool {
        of: Vec<Login>,
        /// The headers that say what is left of a quota, and when it is full again.
        remaining: Option<String>,
        reset: Option<String>,
        rest_for: Option<Duration>,
    },
}

impl Auth {
    fn build(&self) -> Result<Arc<dyn http::Auth>> {
        let of = |env: &Option<String>, file: &Option<PathBuf>| {
            SecretPlace::of(env.clone(), file.clone()).map(|place| place.secret()).map_err(|e| e.with("key", "auth"))
        };
        Ok(match self {
            Self::Bearer { env, file } => Arc::new(Bearer::new(of(env, file)?)),
            Self::Basic { user, password, key } => {
                Arc::new(match (user, password, key) {
                    (Some(user), Some(password), None) => Basic::new(user, password.secret()),
                    (None, None, Some(key)) => Basic::key(key.secret()),
                    _ => {
                        return Err(Error::config("read spec", "a basic login has a user and a password, or a key")
                        .with("key", "auth")
                        .with_hint("say both `user` and `password`; or `key`, if the API takes one in the place of the user"));
                    }
                })
            }
            Self::Header { name, env, file } => Arc::new(ApiKey::header(name, of(env, file)?)),
            Self::Query { name, env, file } => Arc::new(ApiKey::query(name, of(env, file)?)),
            Self::Cookie { name, env, file } => Arc::new(ApiKey::cookie(name, of(env, file)?)),
            Self::ClientCredentials(table) => Arc::new(table.build()?),
            Self::RefreshToken(table) => Arc::new(table.build()?),
            Self::Jwt(table) => Arc::new(table.build()),
            Self::JwtBearer(table) => Arc::new(table.build()),
            Self::ServiceAccount(table) => Arc::new(table.build()),
            Self::Session(table) => Arc::new(table.build()?),
            Self::Hmac(table) => Arc::new(table.build()),
            Self::Sigv4(table) => Arc::new(table.build()?),
            Self::Pool { of, remaining, reset, rest_for } => {
                let members = of.iter().map(Login::build).collect::<Result<Vec<_>>>()?;
                let pool = http::TokenPool::of(members).with_some(*rest_for, |pool, time| pool.rest_for(time.0));
                Arc::new(match (remaining, reset) {
                    (None, None) => pool,
                    (Some(remaining), Some(reset)) => pool.quota_headers(remaining, reset),
                    _ => {
                        return Err(Error::config("read spec", "a quota is told by two headers")
                            .with_hint("say both `remaining` and `reset`, or none of them"));
                    }
                })
            }
        })
    }
}
