use super::oauth2::issued;
use super::tokens::{Grant, Issued, Tokens};
use super::{Answered, Auth, AuthContext, Endpoints, Exchange, Jwt, Reaction, Secret, Signature};
use crate::error::{Error, Result};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;

/// A signed statement, exchanged for an access token (RFC 7523, 2.1): what service accounts do.
///
/// ```
/// use landfall::connectors::http::{Jwt, JwtBearer, Secret};
///
/// let signed = Jwt::rs256(Secret::from_file("/run/secrets/key.pem")).issuer("client-1").subject("user@example.com");
/// let auth = JwtBearer::exchange("https://login.example.com/token", signed);
///
/// // The key file of a Google service account says all of that itself.
/// let google = JwtBearer::service_account(Secret::from_env("GOOGLE_KEY")).scope("https://www.googleapis.com/auth/drive.readonly");
/// # drop((auth, google));
/// ```
#[derive(Debug)]
#[must_use]
pub struct JwtBearer {
    grant: JwtGrant,
    tokens: Tokens,
}

#[derive(Clone, Debug)]
struct JwtGrant {
    from: Statement,
    scope: Option<String>,
    parameters: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Statement {
    Jwt { token_url: String, jwt: Box<Jwt> },
    ServiceAccount { key: Secret, subject: Option<String> },
}

impl JwtBearer {
    /// Exchanges `jwt` at `token_url`, which is its audience where it does not say otherwise.
    pub fn exchange(token_url: impl Into<String>, jwt: Jwt) -> Self {
        let token_url = token_url.into();
        let jwt = Box::new(jwt.or_claim("aud", &token_url));
        Self::new(Statement::Jwt { token_url, jwt })
    }

    /// The service account of a JSON key file, as Google gives them: `client_email`, `private_key`, `private_key_id`, `token_uri`.
    pub fn service_account(key: impl Into<Secret>) -> Self {
        Self::new(Statement::ServiceAccount { key: key.into(), subject: None })
    }

    fn new(from: Statement) -> Self {
        Self { grant: JwtGrant { from, scope: None, parameters: Vec::new() }, tokens: Tokens::default() }
    }

    /// Asks for these scopes, separated by spaces: as a claim for a service account, else as a parameter.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.grant.scope = Some(scope.into());
        self
    }

    /// Sets the user on whose behalf a service account acts; a [`Jwt`] says it itself.
    pub fn on_behalf_of(mut self, user: impl Into<String>) -> Self {
        if let Statement::ServiceAccount { subject, .. } = &mut self.grant.from {
            *subject = Some(user.into());
        }
        self
    }

    /// Adds a parameter to each exchange. Not for secrets.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.grant.parameters.push((name.into(), value.into()));
        self
    }

    /// Sets how long before it expires a token is replaced, a quarter of its life at most. 60 s.
    pub fn refresh_ahead(mut self, ahead: Duration) -> Self {
        self.tokens.ahead = ahead;
        self
    }
}

/// What matters of a key file.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl KeyFile {
    fn parse(text: &SecretString) -> Result<Self> {
        serde_json::from_str(text.expose_secret())
            .map_err(|_| Error::config("read secret", "this is no key file of a service account"))
    }

    fn jwt(&self, scope: Option<&str>, subject: Option<&str>) -> Jwt {
        let mut jwt = Jwt::rs256(self.private_key.as_str()).issuer(&self.client_email).audience(&self.token_uri);
        jwt = self.private_key_id.iter().fold(jwt, |jwt, id| jwt.key_id(id));
        jwt = scope.into_iter().fold(jwt, |jwt, scope| jwt.claim("scope", scope));
        subject.into_iter().fold(jwt, Jwt::subject).lifetime(Duration::from_secs(3_600))
    }
}

impl JwtGrant {
    fn of_key_file(&self, text: &SecretString, subject: Option<&str>) -> Result<(String, Jwt)> {
        let file = KeyFile::parse(text)?;
        let jwt = file.jwt(self.scope.as_deref(), subject);
        Ok((file.token_uri, jwt))
    }
}

#[async_trait]
impl Grant for JwtGrant {
    async fn obtain(&self, endpoints: &Endpoints) -> Result<Issued> {
        const TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        let env = endpoints.env();
        let (token_url, jwt, scope) = match &self.from {
            Statement::Jwt { token_url, jwt } => (token_url.clone(), (**jwt).clone(), self.scope.clone()),
            Statement::ServiceAccount { key, subject } => {
                let (token_url, jwt) = self.of_key_file(&key.reveal(env).await?, subject.as_deref())?;
                (token_url, jwt, None)
            }
        };
        let mut exchange =
            Exchange::post(token_url).field("grant_type", TYPE.to_owned()).field("assertion", jwt.signed(env).await?);
        if let Some(scope) = scope {
            exchange = exchange.field("scope", scope);
        }
        for (name, value) in &self.parameters {
            exchange = exchange.field(name, value.clone());
        }
        Ok(issued(&endpoints.exchange(&exchange).await?)?.0)
    }
}

#[async_trait]
impl Auth for JwtBearer {
    fn check(&self) -> Result<()> {
        match &self.grant.from {
            Statement::Jwt { token_url, jwt } => {
                Exchange::check(token_url)?;
                jwt.check()
            }
            Statement::ServiceAccount { key, subject } => {
                key.check()?;
                let Ok(text) = key.read() else { return Ok(()) };
                let (token_url, jwt) = self.grant.of_key_file(&text, subject.as_deref())?;
                Exchange::check(&token_url)?;
                jwt.check()
            }
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
