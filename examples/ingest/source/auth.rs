//! `[source.auth]`: how to log in. It says where secrets are, and never holds one.

use crate::value::SecretPlace;
use landfall::Result;
use landfall::connectors::http::{ApiKey, Basic, Bearer, RestBuilder};
use serde::Deserialize;
use std::path::PathBuf;

/// How to log in.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Auth {
    /// A token in the `Authorization` header.
    Bearer { env: Option<String>, file: Option<PathBuf> },
    /// A user and a password.
    Basic { user: String, password: SecretPlace },
    /// A key in a header.
    Header { name: String, env: Option<String>, file: Option<PathBuf> },
    /// A key in a cookie.
    Cookie { name: String, env: Option<String>, file: Option<PathBuf> },
    /// A key in a parameter of the query.
    Query { name: String, env: Option<String>, file: Option<PathBuf> },
}

impl Auth {
    pub(super) fn add(&self, source: RestBuilder) -> Result<RestBuilder> {
        let of = |env: &Option<String>, file: &Option<PathBuf>| {
            SecretPlace::of(env.clone(), file.clone()).map(|place| place.secret())
        };
        Ok(match self {
            Self::Bearer { env, file } => source.auth(Bearer::new(of(env, file)?)),
            Self::Basic { user, password } => source.auth(Basic::new(user, password.secret())),
            Self::Header { name, env, file } => source.auth(ApiKey::header(name, of(env, file)?)),
            Self::Cookie { name, env, file } => source.auth(ApiKey::cookie(name, of(env, file)?)),
            Self::Query { name, env, file } => source.auth(ApiKey::query(name, of(env, file)?)),
        })
    }
}
