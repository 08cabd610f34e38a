use super::{Answered, Auth, AuthContext, Reaction, Secret, Signature};
use crate::connectors::http::template::Template;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use async_trait::async_trait;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;

/// A signature over parts of the request (RFC 2104), as each API defines it: what is signed, how it is written, where it goes.
///
/// Texts have places: `{method}`, `{host}`, `{path}`, `{query}` (as sent, without `?`), `{target}` (path and query), `{url}`,
/// `{body}`, `{body.sha256}` and `{body.sha512}` (hexadecimal), `{body.sha256.base64}`, `{timestamp}`, `{nonce}`, `{header.NAME}`, and in
/// what is sent `{signature}`. Other braces are ordinary text.
///
/// ```
/// use landfall::connectors::http::{Hmac, Secret};
///
/// let auth = Hmac::sha256(Secret::from_env("API_SECRET"))
///     .over("{timestamp}{method}{target}{body}")
///     .header("x-key", "my-key-id")
///     .header("x-timestamp", "{timestamp}")
///     .header("x-signature", "{signature}");
/// # drop(auth);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Hmac {
    algorithm: hmac::Algorithm,
    key: Secret,
    key_in_base64: bool,
    over: String,
    encoding: HmacEncoding,
    time: HmacTime,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HmacEncoding {
    /// Hexadecimal, in lower case.
    Hex,
    /// Base64, with padding.
    Base64,
    /// Base64 for URLs, without padding.
    Base64Url,
}

/// How `{timestamp}` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HmacTime {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// `2024-01-01T00:00:00Z`.
    Rfc3339,
    /// `Mon, 01 Jan 2024 00:00:00 GMT`, as in the header `Date`.
    HttpDate,
}

impl Hmac {
    /// With SHA-256.
    pub fn sha256(key: impl Into<Secret>) -> Self {
        Self::new(hmac::HMAC_SHA256, key.into())
    }

    /// With SHA-512.
    pub fn sha512(key: impl Into<Secret>) -> Self {
        Self::new(hmac::HMAC_SHA512, key.into())
    }

    /// With SHA-1, for APIs that have nothing better.
    pub fn sha1(key: impl Into<Secret>) -> Self {
        Self::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.into())
    }

    fn new(algorithm: hmac::Algorithm, key: Secret) -> Self {
        Self {
            algorithm,
            key,
            key_in_base64: false,
            over: String::new(),
            encoding: HmacEncoding::Hex,
            time: HmacTime::Seconds,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }

    /// The key is base64 of its bytes.
    pub fn key_in_base64(mut self) -> Self {
        self.key_in_base64 = true;
        self
    }

    /// Sets what is signed. Parameters that [`query`](Self::query) adds without a signature in them are a part of the query by then.
    pub fn over(mut self, text: impl Into<String>) -> Self {
        self.over = text.into();
        self
    }

    /// Sets how the signature is written. [`HmacEncoding::Hex`] by default.
    pub fn encoding(mut self, encoding: HmacEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets how the time is written. [`HmacTime::Seconds`] by default.
    pub fn time(mut self, time: HmacTime) -> Self {
        self.time = time;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.headers.push((name.into(), text.into()));
        self
    }

    /// Adds a parameter to the query.
    pub fn query(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.query.push((name.into(), text.into()));
        self
    }

    fn sign_text(&self, key: &SecretString, text: &str) -> Result<String> {
        let key = key.expose_secret();
        let bytes = if self.key_in_base64 {
            let bytes = STANDARD.decode(key.trim());
            bytes.map_err(|_| Error::config("sign request", "the key is not base64"))?
        } else {
            key.as_bytes().to_vec()
        };
        let tag = hmac::sign(&hmac::Key::new(self.algorithm, &bytes), text.as_bytes());
        Ok(match self.encoding {
            HmacEncoding::Hex => hex(tag.as_ref()),
            HmacEncoding::Base64 => STANDARD.encode(tag.as_ref()),
            HmacEncoding::Base64Url => URL_SAFE_NO_PAD.encode(tag.as_ref()),
        })
    }

    /// The values of the places in a text.
    fn values(&self, cx: &AuthContext<'_>, query: &str) -> BTreeMap<String, String> {
        let target = if query.is_empty() { cx.path().to_owned() } else { format!("{}?{query}", cx.path()) };
        let mut url = cx.url.clone();
        url.set_query((!query.is_empty()).then_some(query));
        let body = cx.body();
        let mut values: BTreeMap<String, String> = [
            ("method", cx.method().to_owned()),
            ("host", cx.host()),
            ("path", cx.path().to_owned()),
            ("query", query.to_owned()),
            ("target", target),
            ("url", url.to_string()),
            ("body", String::from_utf8_lossy(body).into_owned()),
            ("body.sha256", hex(digest::digest(&digest::SHA256, body).as_ref())),
            ("body.sha512", hex(digest::digest(&digest::SHA512, body).as_ref())),
            ("body.sha256.base64", STANDARD.encode(digest::digest(&digest::SHA256, body).as_ref())),
            ("timestamp", self.time.written(cx.env().now())),
            ("nonce", cx.env().nonce()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for (name, value) in cx.headers {
            values.insert(format!("header.{name}"), value.to_str().unwrap_or_default().to_owned());
        }
        values
    }
}

impl HmacTime {
    fn written(self, now: Timestamp) -> String {
        match self {
            Self::Seconds => now.as_micros().div_euclid(1_000_000).to_string(),
            Self::Millis => now.as_micros().div_euclid(1_000).to_string(),
            Self::Rfc3339 => strftime(now, "%Y-%m-%dT%H:%M:%SZ"),
            Self::HttpDate => strftime(now, "%a, %d %b %Y %H:%M:%S GMT"),
        }
    }
}

/// `time` in UTC.
pub(super) fn strftime(time: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or_default().strftime(format).to_string()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Auth for Hmac {
    fn check(&self) -> Result<()> {
        let wrong = |what| Error::config("build source", what);
        if self.over.is_empty() {
            return Err(wrong("nothing says what is signed").with_hint("set it with Hmac::over(…)"));
        }
        let sent = || self.headers.iter().chain(&self.query);
        if !sent().any(|(_, text)| Template::parse(text).names().contains("signature")) {
            return Err(wrong("the signature is not sent").with_hint("put {signature} in a header or in the query"));
        }
        if Template::parse(&self.over).names().contains("signature") {
            return Err(wrong("the signature cannot be a part of what is signed"));
        }
        let texts = sent().map(|(_, text)| text).chain([&self.over]);
        for name in
            texts.flat_map(|text| Template::parse(text).names().into_iter().map(str::to_owned).collect::<Vec<_>>())
        {
            if !PLACES.contains(&name.as_str()) && !name.starts_with("header.") {
                return Err(wrong("there is no such place to fill").with("place", name));
            }
        }
        self.key.check()
    }

    async fn sign(&self, cx: &AuthContext<'_>, signature: &mut Signature) -> Result<()> {
        let key = self.key.reveal(cx.env()).await?;
        signature.hide(&key);
        let mut values = self.values(cx, cx.query().unwrap_or_default());
        let fill = |text: &str, values: &BTreeMap<String, String>| {
            let template = Template::parse(text);
            // A header that the request has not is signed as nothing.
            let mut values = values.clone();
            for name in template.names().into_iter().filter(|name| name.starts_with("header.")) {
                let value = values.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default();
                values.insert(name.to_owned(), value);
            }
            template.fill(&values, str::to_owned)
        };
        // What holds no signature may be a part of what is signed.
        let is_signed = |text: &str| !Template::parse(text).names().contains("signature");
        let mut url = cx.url.clone();
        for (name, text) in self.query.iter().filter(|(_, text)| is_signed(text)) {
            let value = fill(text, &values)?;
            url.query_pairs_mut().append_pair(name, &value);
            signature.plain_query(name, &value);
        }
        let query = url.query().unwrap_or_default();
        values.insert("query".to_owned(), query.to_owned());
        let target = if query.is_empty() { cx.path().to_owned() } else { format!("{}?{query}", cx.path()) };
        values.insert("target".to_owned(), target);
        values.insert("url".to_owned(), url.to_string());
        let signed = self.sign_text(&key, &fill(&self.over, &values)?)?;
        signature.hide(&signed.clone().into());
        values.insert("signature".to_owned(), signed);
        for (name, text) in self.query.iter().filter(|(_, text)| !is_signed(text)) {
            signature.query(name, &fill(text, &values)?.into());
        }
        for (name, text) in &self.headers {
            let value = fill(text, &values)?;
            if is_signed(text) {
                signature.plain_header(name, &value)?;
            } else {
                signature.header(name, &value.into())?;
            }
        }
        Ok(())
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

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hmac").field("key", &self.key).field("over", &self.over).finish_non_exhaustive()
    }
}

const PLACES: [&str; 13] = [
    "method",
    "host",
    "path",
    "query",
    "target",
    "url",
    "body",
    "body.sha256",
    "body.sha512",
    "body.sha256.base64",
    "timestamp",
    "nonce",
    "signature",
];
