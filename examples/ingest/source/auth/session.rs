//! A login that gives a token.

use crate::value::{Duration, SecretPlace};
use crate::with::With;
use landfall::connectors::http::{self, Secret, TokenAt, TokenTo};
use landfall::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A login that gives a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    url: String,
    /// Fields of the login; those that are secrets say where they are.
    #[serde(default)]
    fields: BTreeMap<String, Field>,
    /// Sends the fields as a form.
    #[serde(default)]
    form: bool,
    #[serde(default)]
    headers: BTreeMap<String, Field>,
    user: Option<String>,
    password: Option<SecretPlace>,
    /// Where the answer has the token; `$.token` without it.
    token: Option<Holder>,
    /// How the token goes with each request; as a bearer token without it.
    send_as: Option<Carrier>,
    valid_for: Option<Duration>,
    /// Where the answer says for how many seconds the token is valid.
    expires_in: Option<String>,
    refresh_ahead: Option<Duration>,
}

/// A text that is no secret, or the place of one.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a text that is no secret, or { env = \"NAME\" }, or { file = \"path\" }"
)]
enum Field {
    Text(String),
    Secret(SecretPlace),
}

impl Field {
    fn secret(&self) -> Secret {
        match self {
            Self::Text(text) => Secret::new(text),
            Self::Secret(place) => place.secret(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a path of the body, { header = \"NAME\" }, or { cookie = \"NAME\" }"
)]
enum Holder {
    Body(String),
    Header { header: String },
    Cookie { cookie: String },
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "{ header = \"NAME\" } with `before` or without, { query = \"NAME\" }, or { cookie = \"NAME\" }"
)]
enum Carrier {
    Header { header: String, before: Option<String> },
    Query { query: String },
    Cookie { cookie: String },
}

impl Session {
    pub(super) fn build(&self) -> Result<http::Session> {
        let login = http::Session::login(&self.url)
            .with_all(&self.fields, |login, (name, field)| login.field(name, field.secret()))
            .with_flag(self.form, http::Session::as_form)
            .with_all(&self.headers, |login, (name, field)| login.header(name, field.secret()));
        let login = match (&self.user, &self.password) {
            (None, None) => login,
            (Some(user), Some(password)) => login.basic(user, password.secret()),
            _ => return Err(Error::config("read spec", "a login has a user and a password, or none of them")),
        };
        Ok(login
            .with_some(self.token.as_ref(), |login, at| {
                login.token(match at {
                    Holder::Body(path) => TokenAt::body(path),
                    Holder::Header { header } => TokenAt::header(header),
                    Holder::Cookie { cookie } => TokenAt::cookie(cookie),
                })
            })
            .with_some(self.send_as.as_ref(), |login, to| {
                login.send_as(match to {
                    Carrier::Header { header, before: None } => TokenTo::header(header),
                    Carrier::Header { header, before: Some(before) } => TokenTo::header_after(header, before),
                    Carrier::Query { query } => TokenTo::query(query),
                    Carrier::Cookie { cookie } => TokenTo::cookie(cookie),
                })
            })
            .with_some(self.valid_for, |login, time| login.valid_for(time.0))
            .with_some(self.expires_in.as_ref(), |login, path| login.expires_in(path))
            .with_some(self.refresh_ahead, |login, time| login.refresh_ahead(time.0)))
    }
}
