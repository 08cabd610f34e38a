use super::answer::issued;
use super::kept::{Record, TokenStore};
use crate::connectors::http::auth::tokens::{Grant, Issued};
use crate::connectors::http::auth::{Endpoints, Exchange, Jwt, Secret};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::form_urlencoded;

/// How an access token is obtained.
#[derive(Clone, Debug)]
pub(super) struct OAuth2Grant {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client: ClientAuth,
    pub(super) kind: Kind,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) store: Option<Arc<dyn TokenStore>>,
    /// The refresh token that came last.
    pub(super) rotated: Arc<Mutex<Option<Rotated>>>,
}

#[derive(Clone, Debug)]
pub(super) enum ClientAuth {
    Public,
    Basic(Secret),
    Body(Secret),
    Assertion(Box<Jwt>),
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    ClientCredentials,
    RefreshToken(Secret),
}

/// A refresh token that took the place of another one.
#[derive(Clone, Debug)]
pub(super) struct Rotated {
    token: SecretString,
    is_kept: bool,
}

#[async_trait]
impl Grant for OAuth2Grant {
    async fn obtain(&self, endpoints: &Endpoints) -> Result<Issued> {
        let Kind::RefreshToken(configured) = &self.kind else {
            let exchange = Exchange::post(&self.token_url).field("grant_type", "client_credentials".to_owned());
            return Ok(self.ask(endpoints, exchange).await?.0);
        };
        let configured = configured.reveal(endpoints.env()).await?;
        let token = self.newest(&configured).await?;
        match self.refresh(&configured, &token, endpoints).await {
            Err(error) if error.kind() == ErrorKind::Auth => {
                match self.kept_by_another(&configured, &token, endpoints.env()).await? {
                    Some(other) => self.refresh(&configured, &other, endpoints).await,
                    None => Err(error),
                }
            }
            done => done,
        }
    }
}

impl OAuth2Grant {
    async fn refresh(&self, configured: &SecretString, token: &SecretString, endpoints: &Endpoints) -> Result<Issued> {
        let exchange = Exchange::post(&self.token_url)
            .field("grant_type", "refresh_token".to_owned())
            .field("refresh_token", token.clone());
        let (issued, next) = self.ask(endpoints, exchange).await?;
        if let Some(next) = next.filter(|next| next.expose_secret() != token.expose_secret()) {
            if self.store.is_none() {
                tracing::warn!("the refresh token was replaced and is kept nowhere: set .kept_in(…)");
            }
            // In memory first: if it cannot be kept now, the next try keeps it before anything else.
            self.set_rotated(Rotated { token: next.clone(), is_kept: false });
            self.keep(configured, &next).await?;
        }
        Ok(issued)
    }

    /// The refresh token to use: the one that came last, durable by then.
    async fn newest(&self, configured: &SecretString) -> Result<SecretString> {
        let rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match rotated {
            Some(Rotated { token, is_kept: false }) => {
                self.keep(configured, &token).await?;
                Ok(token)
            }
            rotated => {
                let kept = self.kept(configured).await?;
                Ok(kept.or(rotated.map(|rotated| rotated.token)).unwrap_or_else(|| configured.clone()))
            }
        }
    }

    /// What is kept in place of the configured token.
    async fn kept(&self, configured: &SecretString) -> Result<Option<SecretString>> {
        let Some(store) = &self.store else { return Ok(None) };
        let Some(text) = store.load().await? else { return Ok(None) };
        Ok(Record::parse(&text)?.of(configured))
    }

    /// Another process may have used `token`, and kept the one that came then, or be about to.
    async fn kept_by_another(
        &self,
        configured: &SecretString,
        token: &SecretString,
        env: &Env,
    ) -> Result<Option<SecretString>> {
        if self.store.is_none() {
            return Ok(None);
        }
        for wait in KEEPING {
            env.sleep(wait).await;
            let kept = self.kept(configured).await?;
            if let Some(other) = kept.filter(|kept| kept.expose_secret() != token.expose_secret()) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    async fn keep(&self, configured: &SecretString, token: &SecretString) -> Result<()> {
        if let Some(store) = &self.store {
            store.keep(&Record::new(configured, token).to_text()).await?;
        }
        self.set_rotated(Rotated { token: token.clone(), is_kept: true });
        Ok(())
    }

    fn set_rotated(&self, rotated: Rotated) {
        *self.rotated.lock().unwrap_or_else(PoisonError::into_inner) = Some(rotated);
    }

    async fn ask(&self, endpoints: &Endpoints, mut exchange: Exchange) -> Result<(Issued, Option<SecretString>)> {
        match &self.client {
            ClientAuth::Public => exchange = exchange.field("client_id", self.client_id.clone()),
            ClientAuth::Basic(secret) => {
                // Both are form-encoded first (RFC 6749, 2.3.1).
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let secret = secret.reveal(endpoints.env()).await?;
                exchange = exchange.basic(&encode(&self.client_id), &encode(secret.expose_secret()).into());
            }
            ClientAuth::Body(secret) => {
                let secret = secret.reveal(endpoints.env()).await?;
                exchange = exchange.field("client_id", self.client_id.clone()).field("client_secret", secret);
            }
            ClientAuth::Assertion(jwt) => {
                const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                exchange = exchange
                    .field("client_id", self.client_id.clone())
                    .field("client_assertion_type", TYPE.to_owned())
                    .field("client_assertion", jwt.signed(endpoints.env()).await?);
            }
        }
        for (name, value) in &self.parameters {
            exchange = exchange.field(name, value.clone());
        }
        let answer = endpoints.exchange(&exchange).await?;
        issued(&answer).map_err(|e: Error| e.with("client_id", &self.client_id))
    }
}

/// When to look again for what another process keeps.
const KEEPING: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
