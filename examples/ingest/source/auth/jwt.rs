//! Signed statements (JSON Web Tokens).

use crate::source::request::Texts;
use crate::value::{Duration, SecretPlace};
use crate::with::With;
use landfall::connectors::http;
use serde::Deserialize;

/// What is stated, and the key that signs it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwt {
    algorithm: Algorithm,
    key: SecretPlace,
    #[serde(default)]
    key_in_base64: bool,
    key_id: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    claims: Texts,
    /// With an id that no other has.
    #[serde(default)]
    unique: bool,
    lifetime: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Algorithm {
    RS256,
    ES256,
    HS256,
}

impl Jwt {
    pub(super) fn build(&self) -> http::Jwt {
        let key = self.key.secret();
        let jwt = match self.algorithm {
            Algorithm::RS256 => http::Jwt::rs256(key),
            Algorithm::ES256 => http::Jwt::es256(key),
            Algorithm::HS256 => http::Jwt::hs256(key),
        };
        jwt.with_flag(self.key_in_base64, http::Jwt::key_in_base64)
            .with_some(self.key_id.as_ref(), |jwt, id| jwt.key_id(id))
            .with_some(self.issuer.as_ref(), |jwt, who| jwt.issuer(who))
            .with_some(self.subject.as_ref(), |jwt, whom| jwt.subject(whom))
            .with_some(self.audience.as_ref(), |jwt, whom| jwt.audience(whom))
            .with_all(&self.claims, |jwt, (name, value)| jwt.claim(name, value.0.clone()))
            .with_flag(self.unique, http::Jwt::unique)
            .with_some(self.lifetime, |jwt, time| jwt.lifetime(time.0))
    }
}

/// A statement that is exchanged for a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JwtBearer {
    token_url: String,
    jwt: Jwt,
    scope: Option<String>,
    #[serde(default)]
    parameters: Texts,
    refresh_ahead: Option<Duration>,
}

impl JwtBearer {
    pub(super) fn build(&self) -> http::JwtBearer {
        http::JwtBearer::exchange(&self.token_url, self.jwt.build())
            .with_some(self.scope.as_ref(), |auth, scope| auth.scope(scope))
            .with_all(&self.parameters, |auth, (name, value)| auth.parameter(name, &value.0))
            .with_some(self.refresh_ahead, |auth, time| auth.refresh_ahead(time.0))
    }
}

/// The JSON key file of a service account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceAccount {
    key: SecretPlace,
    scope: Option<String>,
    on_behalf_of: Option<String>,
    refresh_ahead: Option<Duration>,
}

impl ServiceAccount {
    pub(super) fn build(&self) -> http::JwtBearer {
        http::JwtBearer::service_account(self.key.secret())
            .with_some(self.scope.as_ref(), |auth, scope| auth.scope(scope))
            .with_some(self.on_behalf_of.as_ref(), |auth, user| auth.on_behalf_of(user))
            .with_some(self.refresh_ahead, |auth, time| auth.refresh_ahead(time.0))
    }
}
