//! Signatures over requests.

use crate::source::request::Texts;
use crate::value::SecretPlace;
use crate::with::With;
use landfall::connectors::http::{self, Credentials, HmacEncoding};
use landfall::{Error, Result};
use serde::Deserialize;

/// An HMAC. In texts `{signature}`, `{timestamp}`, `{method}`, `{target}`, `{body}` and others stand for what is signed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hmac {
    key: SecretPlace,
    #[serde(default)]
    key_in_base64: bool,
    #[serde(default)]
    algorithm: Algorithm,
    /// What is signed.
    over: Option<String>,
    encoding: Option<Written>,
    time: Option<Time>,
    #[serde(default)]
    headers: Texts,
    #[serde(default)]
    query: Texts,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    Sha1,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Hex,
    Base64,
    Base64Url,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Time {
    Seconds,
    Millis,
    Rfc3339,
    HttpDate,
}

impl Hmac {
    pub(super) fn build(&self) -> http::Hmac {
        let key = self.key.secret();
        let hmac = match self.algorithm {
            Algorithm::Sha256 => http::Hmac::sha256(key),
            Algorithm::Sha512 => http::Hmac::sha512(key),
            Algorithm::Sha1 => http::Hmac::sha1(key),
        };
        hmac.with_flag(self.key_in_base64, http::Hmac::key_in_base64)
            .with_some(self.over.as_ref(), |hmac, text| hmac.over(text))
            .with_some(self.encoding, |hmac, written| {
                hmac.encoding(match written {
                    Written::Hex => HmacEncoding::Hex,
                    Written::Base64 => HmacEncoding::Base64,
                    Written::Base64Url => HmacEncoding::Base64Url,
                })
            })
            .with_some(self.time, |hmac, time| {
                hmac.time(match time {
                    Time::Seconds => http::HmacTime::Seconds,
                    Time::Millis => http::HmacTime::Millis,
                    Time::Rfc3339 => http::HmacTime::Rfc3339,
                    Time::HttpDate => http::HmacTime::HttpDate,
                })
            })
            .with_all(&self.headers, |hmac, (name, text)| hmac.header(name, &text.0))
            .with_all(&self.query, |hmac, (name, text)| hmac.query(name, &text.0))
    }
}

/// The signature of AWS, version 4. Without keys: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sigv4 {
    region: String,
    service: String,
    access_key_id: Option<SecretPlace>,
    secret_access_key: Option<SecretPlace>,
    session_token: Option<SecretPlace>,
}

impl Sigv4 {
    pub(super) fn build(&self) -> Result<http::SigV4> {
        let credentials = match (&self.access_key_id, &self.secret_access_key) {
            (None, None) => Credentials::from_env(),
            (Some(id), Some(key)) => Credentials::new(id.secret(), key.secret()),
            _ => return Err(Error::config("read spec", "a key of AWS has an id and a secret")),
        };
        let credentials = credentials
            .with_some(self.session_token.as_ref(), |credentials, token| credentials.session_token(token.secret()));
        Ok(http::SigV4::new(&self.region, &self.service, credentials))
    }
}
