//! AWS Signature Version 4. Checked against the vectors of AWS.

mod canonical;
#[cfg(test)]
mod tests;

use super::hmac::{hex, strftime};
use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::error::{Error, Result};
use async_trait::async_trait;
use aws_lc_rs::{digest, hmac};
use canonical::{canonical_path, canonical_query, canonical_request};
use secrecy::{ExposeSecret, SecretString};

/// Signs requests as AWS wants it (Signature Version 4, in the header `Authorization`): API Gateway, S3, and what speaks their
/// protocol.
///
/// Signed are the method, the path, the query, the host, the date, the type and the bytes of the body. Where the query has more than
/// one way of writing it is sent in the one that is signed.
///
/// ```
/// use landfall::connectors::http::{Credentials, Rest, SigV4};
///
/// let orders = Rest::get("https://abc123.execute-api.eu-central-1.amazonaws.com/prod/orders")
///     .auth(SigV4::new("eu-central-1", "execute-api", Credentials::from_env()));
/// # drop(orders);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SigV4 {
    region: String,
    service: String,
    credentials: Credentials,
}

/// An access key of AWS. Each part is looked at anew for each attempt.
#[derive(Clone, Debug)]
#[must_use]
pub struct Credentials {
    access_key_id: Secret,
    secret_access_key: Secret,
    session_token: Token,
}

#[derive(Clone, Debug)]
enum Token {
    None,
    Given(Secret),
    /// In this environment variable, if it is set.
    Variable(&'static str),
}

impl Credentials {
    /// A long-term key.
    pub fn new(access_key_id: impl Into<Secret>, secret_access_key: impl Into<Secret>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: Token::None,
        }
    }

    /// Sets the session token of a temporary key.
    pub fn session_token(mut self, token: impl Into<Secret>) -> Self {
        self.session_token = Token::Given(token.into());
        self
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where it is set, `AWS_SESSION_TOKEN`.
    pub fn from_env() -> Self {
        Self {
            access_key_id: Secret::from_env("AWS_ACCESS_KEY_ID"),
            secret_access_key: Secret::from_env("AWS_SECRET_ACCESS_KEY"),
            session_token: Token::Variable("AWS_SESSION_TOKEN"),
        }
    }

    fn check(&self) -> Result<()> {
        self.access_key_id.check()?;
        self.secret_access_key.check()?;
        match &self.session_token {
            Token::Given(token) => token.check(),
            _ => Ok(()),
        }
    }
}

impl SigV4 {
    /// For a service of a region, by their short names.
    pub fn new(region: impl Into<String>, service: impl Into<String>, credentials: Credentials) -> Self {
        Self { region: region.into(), service: service.into(), credentials }
    }
}

#[async_trait]
impl Auth for SigV4 {
    fn check(&self) -> Result<()> {
        if self.region.is_empty() || self.service.is_empty() {
            return Err(Error::config("build source", "the region or the service of the signature is empty"));
        }
        self.credentials.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let env = cx.env();
        let key = self.credentials.secret_access_key.reveal(env).await?;
        let id = self.credentials.access_key_id.reveal(env).await?;
        let token = match &self.credentials.session_token {
            Token::None => None,
            Token::Given(token) => Some(token.reveal(env).await?),
            Token::Variable(name) if std::env::var_os(name).is_none_or(|value| value.is_empty()) => None,
            Token::Variable(name) => Some(Secret::from_env(*name).reveal(env).await?),
        };
        signature.hide(&key);

        let is_s3 = self.service == "s3";
        let date = strftime(env.now(), "%Y%m%dT%H%M%SZ");
        let payload = hex(digest::digest(&digest::SHA256, cx.body()).as_ref());
        let query = canonical_query(cx.query().unwrap_or_default());
        let mut headers = vec![("host", cx.host()), ("x-amz-date", date.clone())];
        headers.extend(cx.header("content-type").map(|kind| ("content-type", kind.to_owned())));
        if is_s3 {
            headers.push(("x-amz-content-sha256", payload.clone()));
            signature.plain_header("x-amz-content-sha256", &payload)?;
        }
        if let Some(token) = &token {
            headers.push(("x-amz-security-token", token.expose_secret().to_owned()));
            signature.header("x-amz-security-token", token)?;
        }
        signature.plain_header("x-amz-date", &date)?;
        let path = canonical_path(cx.path(), is_s3);
        let (request, names) = canonical_request(cx.method(), &path, &query, &mut headers, &payload);
        signature.rewrite_query(query);
        let value = self.authorization(&date, &request, &names, &id, &key);
        signature.header("authorization", &value)
    }

    async fn answered(
        &self,
        _cx: &AuthContext<'_>,
        _signature: &Signature,
        _answer: &Answered<'_>,
    ) -> Result<Reaction> {
        Ok(Reaction::Keep)
    }
}

impl SigV4 {
    /// The value of the header `Authorization` for a canonical request whose signed headers are `names`.
    fn authorization(
        &self,
        date: &str,
        canonical: &str,
        names: &str,
        id: &SecretString,
        key: &SecretString,
    ) -> SecretString {
        let day = date.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", key.expose_secret()).as_bytes());
        let steps = [day, &self.region, &self.service, "aws4_request"];
        let signing = steps
            .iter()
            .fold(first, |key, step| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref()));
        let signature = hex(hmac::sign(&signing, text.as_bytes()).as_ref());
        let id = id.expose_secret();
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}").into()
    }
}
