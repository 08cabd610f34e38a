//! OAuth 2.

use super::jwt::Jwt;
use crate::source::request::Texts;
use crate::value::{Duration, SecretPlace};
use crate::with::With;
use landfall::connectors::http::{KeptToken, OAuth2};
use landfall::store::Store;
use landfall::{Error, Result};
use serde::Deserialize;

/// Tokens for the client itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCredentials {
    token_url: String,
    client_id: String,
    client_secret: Option<SecretPlace>,
    /// A signed statement of the client instead of a secret.
    client_assertion: Option<Jwt>,
    /// The server takes the id and the secret in the body only.
    #[serde(default)]
    client_in_body: bool,
    scope: Option<String>,
    #[serde(default)]
    parameters: Texts,
    refresh_ahead: Option<Duration>,
}

/// Tokens for whoever consented.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshToken {
    token_url: String,
    client_id: String,
    client_secret: Option<SecretPlace>,
    client_assertion: Option<Jwt>,
    #[serde(default)]
    client_in_body: bool,
    refresh_token: SecretPlace,
    /// Where a token is kept that takes the place of the last one: a file, `file:///…` or an object (`s3://…`, `az://…`, `gs://…`).
    kept_in: Option<String>,
    scope: Option<String>,
    #[serde(default)]
    parameters: Texts,
    refresh_ahead: Option<Duration>,
}

impl ClientCredentials {
    pub(super) fn build(&self) -> Result<OAuth2> {
        let client = match (&self.client_secret, &self.client_assertion) {
            (Some(secret), None) => OAuth2::client_credentials(&self.token_url, &self.client_id, secret.secret()),
            // The assertion takes the place of the secret.
            (None, Some(jwt)) => {
                OAuth2::client_credentials(&self.token_url, &self.client_id, "").client_assertion(jwt.build())
            }
            _ => {
                return Err(Error::config("read spec", "the client shows one thing")
                    .with_hint("say `client_secret` or `client_assertion`"));
            }
        };
        Ok(asks(client, self.client_in_body, self.scope.as_ref(), &self.parameters, self.refresh_ahead))
    }
}

impl RefreshToken {
    pub(super) fn build(&self) -> Result<OAuth2> {
        let mut client = OAuth2::refresh_token(&self.token_url, &self.client_id, self.refresh_token.secret())
            .with_some(self.client_secret.as_ref(), |client, secret| client.client_secret(secret.secret()))
            .with_some(self.client_assertion.as_ref(), |client, jwt| client.client_assertion(jwt.build()));
        if let Some(place) = &self.kept_in {
            client = client.kept_in(kept(place)?);
        }
        Ok(asks(client, self.client_in_body, self.scope.as_ref(), &self.parameters, self.refresh_ahead))
    }
}

fn asks(
    client: OAuth2,
    in_body: bool,
    scope: Option<&String>,
    parameters: &Texts,
    refresh_ahead: Option<Duration>,
) -> OAuth2 {
    client
        .with_flag(in_body, OAuth2::client_in_body)
        .with_some(scope, |client, scope| client.scope(scope))
        .with_all(parameters, |client, (name, value)| client.parameter(name, &value.0))
        .with_some(refresh_ahead, |client, time| client.refresh_ahead(time.0))
}

/// A file, or an object of a store.
fn kept(place: &str) -> Result<KeptToken> {
    if !place.contains("://") {
        return Ok(KeptToken::in_file(place));
    }
    let (folder, name) = place.rsplit_once('/').unwrap_or((place, ""));
    KeptToken::in_store(&Store::from_uri(folder)?, name)
}
