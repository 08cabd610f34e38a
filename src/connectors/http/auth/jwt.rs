use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::env::Env;
use crate::error::{Error, Result};
use async_trait::async_trait;
use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::time::Duration;

/// A signed statement (RFC 7519). By itself it is sent as a bearer token, signed anew for each request, as GitHub Apps and App Store
/// Connect want it; [`JwtBearer`](super::JwtBearer) exchanges it for a token.
///
/// ```
/// use landfall::connectors::http::{Jwt, Secret};
///
/// let app = Jwt::rs256(Secret::from_file("/run/secrets/app.pem")).issuer("12345");
/// # drop(app);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Jwt {
    algorithm: Algorithm,
    key: Secret,
    key_is_base64: bool,
    key_id: Option<String>,
    claims: Map<String, Value>,
    lifetime: Duration,
    unique: bool,
}

impl Jwt {
    /// Signs with RSA and SHA-256; the key is PEM.
    pub fn rs256(pem: impl Into<Secret>) -> Self {
        Self::new(Algorithm::RS256, pem.into())
    }

    /// Signs with ECDSA over P-256; the key is PEM in PKCS #8.
    pub fn es256(pem: impl Into<Secret>) -> Self {
        Self::new(Algorithm::ES256, pem.into())
    }

    /// Signs with HMAC and SHA-256; the key is the bytes of the text.
    pub fn hs256(key: impl Into<Secret>) -> Self {
        Self::new(Algorithm::HS256, key.into())
    }

    fn new(algorithm: Algorithm, key: Secret) -> Self {
        Self {
            algorithm,
            key,
            key_is_base64: false,
            key_id: None,
            claims: Map::new(),
            lifetime: LIFETIME,
            unique: false,
        }
    }

    /// The key of [`hs256`](Self::hs256) is base64 of its bytes.
    pub fn key_in_base64(mut self) -> Self {
        self.key_is_base64 = true;
        self
    }

    /// Sets which key signs (`kid`, in the header).
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Sets who states this (`iss`).
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        self.claim("iss", issuer.into())
    }

    /// Sets whom it is about (`sub`).
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.claim("sub", subject.into())
    }

    /// Sets whom it is for (`aud`).
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.claim("aud", audience.into())
    }

    /// Sets another claim. Not for secrets.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Adds an id that no other has (`jti`).
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Sets how long it is valid. 5 min.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets a claim that is not set yet.
    pub(super) fn or_claim(mut self, name: &str, value: &str) -> Self {
        self.claims.entry(name).or_insert_with(|| value.into());
        self
    }

    /// Says at once if the key is not there or none, as far as that can be told without asking anyone.
    pub(super) fn check(&self) -> Result<()> {
        self.key.check()?;
        if self.lifetime.is_zero() {
            return Err(Error::config("build source", "a signed token without a lifetime is never valid"));
        }
        match self.key.read() {
            Ok(key) => self.encoding_key(&key).map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    /// The statement as of now, signed.
    pub(super) async fn signed(&self, env: &Env) -> Result<SecretString> {
        let key = self.key.reveal(env).await?;
        let now = env.now().as_micros() / 1_000_000;
        let mut claims = self.claims.clone();
        // Clocks differ: for one that is behind ours, this was signed a little ago.
        claims.insert("iat".to_owned(), (now - SKEW).into());
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        claims.insert("exp".to_owned(), (now - SKEW).saturating_add(lifetime).into());
        if self.unique {
            claims.insert("jti".to_owned(), env.nonce().into());
        }
        let header = Header { kid: self.key_id.clone(), ..Header::new(self.algorithm) };
        let this = self.clone();
        // An RSA signature takes a millisecond.
        let token = env.blocking("sign token", move || {
            let key = this.encoding_key(&key)?;
            jsonwebtoken::encode(&header, &claims, &key)
                .map_err(|e| Error::config("sign token", "the key does not sign").with("cause", kind_of(&e)))
        });
        token.await?.map(Into::into)
    }

    fn encoding_key(&self, key: &SecretString) -> Result<EncodingKey> {
        let wrong = |what, e: &jsonwebtoken::errors::Error| Error::config("sign token", what).with("cause", kind_of(e));
        let text = key.expose_secret();
        match self.algorithm {
            Algorithm::RS256 => {
                EncodingKey::from_rsa_pem(text.as_bytes()).map_err(|e| wrong("the key is no RSA key in PEM", &e))
            }
            Algorithm::ES256 => EncodingKey::from_ec_pem(text.as_bytes())
                .map_err(|e| wrong("the key is no EC key in PEM of PKCS #8", &e)),
            _ if self.key_is_base64 => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
                Ok(EncodingKey::from_secret(&bytes.map_err(|_| Error::config("sign token", "the key is not base64"))?))
            }
            _ => Ok(EncodingKey::from_secret(text.as_bytes())),
        }
    }
}

/// What went wrong, without what it went wrong with.
fn kind_of(e: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match e.kind() {
        Kind::InvalidKeyFormat => "the format of the key",
        Kind::InvalidEcdsaKey => "not a key of this curve",
        Kind::InvalidRsaKey(_) => "not a usable RSA key",
        Kind::Base64(_) => "not base64",
        _ => "the key",
    }
}

#[async_trait]
impl Auth for Jwt {
    fn check(&self) -> Result<()> {
        self.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let token = self.signed(cx.env()).await?;
        signature.bearer(&token)
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

const LIFETIME: Duration = Duration::from_secs(300);
/// Seconds by which the other side's clock may be behind.
const SKEW: i64 = 10;
