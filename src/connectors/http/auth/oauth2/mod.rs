//! OAuth 2.0 (RFC 6749): tokens by client credentials or by a refresh token.

mod answer;
mod grant;
mod kept;

pub(super) use answer::issued;
#[cfg(any(test, feature = "testkit"))]
pub(in crate::connectors::http) use kept::Record as KeptRecord;
pub use kept::{KeptToken, TokenStore};

use super::tokens::Tokens;
use super::{Answered, Auth, AuthContext, Exchange, Jwt, Reaction, Secret, Signature};
use crate::error::{Error, Result};
use async_trait::async_trait;
use grant::{ClientAuth, Kind, OAuth2Grant};
use std::sync::Arc;
use std::time::Duration;

/// An OAuth 2.0 access token as a bearer token (RFC 6749, 6750): obtained once for all partitions, replaced before it expires,
/// and when the API refuses it.
///
/// ```
/// use landfall::connectors::http::{OAuth2, KeptToken, Secret};
/// use landfall::store::Store;
///
/// let machine = OAuth2::client_credentials("https://id.example.com/token", "landfall", Secret::from_env("CLIENT_SECRET"))
///     .scope("orders.read");
///
/// // A refresh token that changes with each use is durable before what came with it is used.
/// let store = Store::memory();
/// let user = OAuth2::refresh_token("https://id.example.com/token", "landfall", Secret::from_env("REFRESH_TOKEN"))
///     .client_secret(Secret::from_env("CLIENT_SECRET"))
///     .kept_in(KeptToken::in_store(&store, "tokens/example")?);
/// # drop((machine, user));
/// # Ok::<(), landfall::Error>(())
/// ```
///
/// To share one token between sources, put it in an [`Arc`].
#[derive(Debug)]
#[must_use]
pub struct OAuth2 {
    grant: OAuth2Grant,
    tokens: Tokens,
}

impl OAuth2 {
    /// Tokens for this client itself (RFC 6749, 4.4).
    pub fn client_credentials(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::new(token_url.into(), client_id.into(), Kind::ClientCredentials).client_secret(client_secret)
    }

    /// Tokens for whoever consented and so gave a refresh token (RFC 6749, 6). Without [`client_secret`](Self::client_secret) the
    /// client is a public one.
    pub fn refresh_token(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        refresh_token: impl Into<Secret>,
    ) -> Self {
        Self::new(token_url.into(), client_id.into(), Kind::RefreshToken(refresh_token.into()))
    }

    fn new(token_url: String, client_id: String, kind: Kind) -> Self {
        let grant = OAuth2Grant {
            token_url,
            client_id,
            client: ClientAuth::Public,
            kind,
            parameters: Vec::new(),
            store: None,
            rotated: Arc::default(),
        };
        Self { grant, tokens: Tokens::default() }
    }

    /// Sets the secret of the client, sent as the password of HTTP basic authentication (RFC 6749, 2.3.1).
    pub fn client_secret(mut self, secret: impl Into<Secret>) -> Self {
        self.grant.client = ClientAuth::Basic(secret.into());
        self
    }

    /// Sends the id and the secret of the client in the body, for servers that take them only there.
    pub fn client_in_body(mut self) -> Self {
        if let ClientAuth::Basic(secret) = self.grant.client {
            self.grant.client = ClientAuth::Body(secret);
        }
        self
    }

    /// Shows a signed assertion of the client instead of a secret (`private_key_jwt`; RFC 7523, 2.2). Issuer and subject are the
    /// id of the client, and the audience is the token URL, where `jwt` does not say otherwise.
    pub fn client_assertion(mut self, jwt: Jwt) -> Self {
        let jwt = jwt.or_claim("iss", &self.grant.client_id).or_claim("sub", &self.grant.client_id);
        self.grant.client = ClientAuth::Assertion(Box::new(jwt.or_claim("aud", &self.grant.token_url)));
        self
    }

    /// Asks for these scopes, separated by spaces.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.parameter("scope", scope)
    }

    /// Adds a parameter to each request for a token, such as `audience` or `resource`. Not for secrets.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.grant.parameters.push((name.into(), value.into()));
        self
    }

    /// Keeps a refresh token that takes the place of the last one. Without this it is held in memory only, and the next run
    /// begins with the configured one.
    pub fn kept_in(mut self, store: impl TokenStore) -> Self {
        self.grant.store = Some(Arc::new(store));
        self
    }

    /// Sets how long before it expires a token is replaced, a quarter of its life at most. 60 s.
    pub fn refresh_ahead(mut self, ahead: Duration) -> Self {
        self.tokens.ahead = ahead;
        self
    }
}

#[async_trait]
impl Auth for OAuth2 {
    fn check(&self) -> Result<()> {
        let grant = &self.grant;
        Exchange::check(&grant.token_url)?;
        if grant.client_id.is_empty() {
            return Err(Error::config("build source", "the OAuth client has no id"));
        }
        match &grant.kind {
            Kind::RefreshToken(token) if grant.store.is_none() => token.check()?,
            Kind::ClientCredentials if grant.store.is_some() => {
                let what = "client credentials bring no refresh token to keep";
                return Err(Error::config("build source", what).with_hint("leave out .kept_in(…)"));
            }
            _ => {}
        }
        match &grant.client {
            ClientAuth::Basic(secret) | ClientAuth::Body(secret) => secret.check(),
            ClientAuth::Assertion(jwt) => jwt.check(),
            ClientAuth::Public => Ok(()),
        }
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let token = self.tokens.token(&self.grant, cx.endpoints()).await?;
        signature.bearer(&token)
    }

    async fn answered(&self, cx: &AuthContext<'_>, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        self.tokens.answered(cx.env(), signature, answer).await
    }
}
