use crate::connectors::http::client::in_time;
use crate::connectors::http::egress::Egress;
use crate::connectors::http::origin::Access;
use crate::connectors::http::rules::{Rules, Told};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::retry::{Next, Policy, RetryTokens, Trial, WaitBudget};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::form_urlencoded;

/// The way to endpoints that give credentials. Cheap to clone.
#[derive(Clone)]
pub struct Endpoints {
    env: Env,
    egress: Arc<Egress>,
    retry: Policy,
    tokens: Arc<RetryTokens>,
}

impl Endpoints {
    pub(in super::super) fn new(env: &Env, egress: &Arc<Egress>, retry: Policy, tokens: &Arc<RetryTokens>) -> Self {
        Self { env: env.clone(), egress: Arc::clone(egress), retry, tokens: Arc::clone(tokens) }
    }

    /// Time and randomness.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Sends `exchange` and gives the answer, whatever it says. Faults, statuses 408, 429 and 5xx are tried again by the policy of the
    /// source. Redirects are not followed: what is sent holds secrets.
    ///
    /// Cancel-safe: the connection is closed; the endpoint may have acted.
    ///
    /// # Errors
    /// `Unavailable`, exhausted, if the endpoint does not answer; `Config` for a URL that is none, or a redirect. None shows what was
    /// sent or answered.
    pub async fn exchange(&self, exchange: &Exchange) -> Result<Exchanged> {
        let mut trial = Trial::new(&self.retry);
        let mut waits = WaitBudget::new(self.retry.wait);
        loop {
            let (error, next) = match self.attempt(exchange).await {
                Ok(answer) => {
                    let error = Error::unavailable("exchange credentials", "the endpoint cannot answer now")
                        .with("endpoint", exchange.name())
                        .with("status", answer.status);
                    match answer.status {
                        429 => {
                            let told = Told::new(answer.status, &answer.headers, &answer.body);
                            let demanded = Rules::compile(&[], &[])?.wait(&told, self.env.now());
                            (error, trial.rate_limited(&self.env, &mut waits, demanded))
                        }
                        408 | 500..=599 => (error, trial.fault(&self.env, &self.tokens)),
                        _ => return Ok(answer),
                    }
                }
                Err(error) if error.is_transient() => (error, trial.fault(&self.env, &self.tokens)),
                Err(error) => return Err(error),
            };
            match next {
                Next::Again { after } => self.env.sleep(after).await,
                Next::GiveUp(what) => {
                    return Err(error
                        .with("attempts", trial.faults())
                        .with("used_up", what)
                        .with_status(Status::Exhausted));
                }
                _ => return Err(error.with_status(Status::Exhausted)),
            }
        }
    }

    async fn attempt(&self, exchange: &Exchange) -> Result<Exchanged> {
        let request = exchange.request()?;
        let mut response = self.egress.send(&self.env, Access::Credentials, request).await.map_err(|e| {
            // What is sent may be in what a transport says of it.
            Error::new(e.kind(), "exchange credentials", "the endpoint does not answer")
                .with_status(e.status())
                .with("endpoint", exchange.name())
        })?;
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            return Err(Error::config("exchange credentials", "the endpoint redirects, and secrets do not follow")
                .with("endpoint", exchange.name())
                .with_hint("set its URL to where it redirects to"));
        }
        let broken =
            || Error::unavailable("exchange credentials", "the answer broke off").with("endpoint", exchange.name());
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(piece) =
            in_time(&self.env, SILENCE, "exchange credentials", response.chunk()).await?.map_err(|_| broken())?
        {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST {
                return Err(Error::data("exchange credentials", "the answer is too large")
                    .with("endpoint", exchange.name())
                    .with("limit", LARGEST));
            }
        }
        Ok(Exchanged { endpoint: exchange.name(), status, headers, body })
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

/// A request to an endpoint that gives credentials. All values in it are secrets.
#[derive(Clone)]
#[must_use]
pub struct Exchange {
    method: Method,
    url: String,
    headers: Vec<(String, SecretString)>,
    fields: Vec<(String, SecretString)>,
    json: bool,
}

impl Exchange {
    /// A POST to `url` with a form of the fields.
    pub fn post(url: impl Into<String>) -> Self {
        Self { method: Method::POST, url: url.into(), headers: Vec::new(), fields: Vec::new(), json: false }
    }

    /// A GET of `url`, with the fields in its query.
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, ..Self::post(url) }
    }

    /// Adds a field.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets user and password (RFC 7617), written as they are.
    pub fn basic(self, user: &str, password: &SecretString) -> Self {
        use base64::Engine;
        let both = format!("{user}:{}", password.expose_secret());
        let encoded = base64::engine::general_purpose::STANDARD.encode(both);
        self.header(AUTHORIZATION.as_str(), format!("Basic {encoded}"))
    }

    /// Sends the fields as a JSON object instead of a form; a name such as `user.name` stands for an object in it.
    pub fn as_json(mut self) -> Self {
        self.json = true;
        self
    }

    /// Scheme, host, port and path, for errors.
    pub(super) fn name(&self) -> String {
        let name = |url: Url| format!("{}{}", url.origin().ascii_serialization(), url.path());
        Url::parse(&self.url).map_or_else(|_| "not a URL".to_owned(), name)
    }

    /// Says at once whether `url` can be an endpoint.
    pub(super) fn check(url: &str) -> Result<()> {
        let wrong = |what| Error::config("build source", what);
        let url = Url::parse(url).map_err(|e| wrong("the URL of an endpoint cannot be read").with_source(e))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("the URL of an endpoint is not one of http or https").with("scheme", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the URL of an endpoint carries a user or a password"));
        }
        Ok(())
    }

    fn request(&self) -> Result<reqwest::Request> {
        Self::check(&self.url)?;
        let mut url =
            Url::parse(&self.url).map_err(|e| Error::config("exchange credentials", "not a URL").with_source(e))?;
        url.set_fragment(None);
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
        let content = if self.method == Method::GET {
            url.query_pairs_mut().extend_pairs(fields);
            None
        } else if self.json {
            Some(("application/json", nested(fields).to_string()))
        } else {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            Some(("application/x-www-form-urlencoded", form))
        };
        let mut request = reqwest::Request::new(self.method.clone(), url);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &self.headers {
            let wrong = || Error::config("exchange credentials", "a header cannot hold this").with("header", name);
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        if let Some((kind, body)) = content {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Exchange").field("endpoint", &self.name()).field("fields", &names).finish_non_exhaustive()
    }
}

/// The answer of an endpoint. It may hold secrets: `Debug` shows only its status.
pub struct Exchanged {
    endpoint: String,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Exchanged {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a cookie that the answer sets (RFC 6265, 4.1).
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let set = self.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|text| text.split(';').next()?.split_once('='))
            .find(|(found, _)| found.trim() == name)
            .map(|(_, value)| value.trim().trim_matches('"'))
            .filter(|value| !value.is_empty())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `Data` if it is not JSON; the error does not show it.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).map_err(|_| self.wrong(ErrorKind::Data, "the answer is not JSON"))
    }

    /// What is said at `path`, an RFC 9535 path to one text or number.
    ///
    /// # Errors
    /// `Data` if nothing is there.
    pub(super) fn at(&self, path: &serde_json_path::JsonPath) -> Result<String> {
        let json = self.json()?;
        let found = path.query(&json).all().into_iter().next();
        let text = found.and_then(|value| match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| self.wrong(ErrorKind::Data, "the answer has no such value").with("path", path))
    }

    /// An error of `kind` about this answer: with its status, and without its content.
    pub fn wrong(&self, kind: ErrorKind, what: &'static str) -> Error {
        Error::new(kind, "exchange credentials", what)
            .with_status(Status::Permanent)
            .with("endpoint", &self.endpoint)
            .with("status", self.status)
    }
}

impl fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanged").field("status", &self.status).finish_non_exhaustive()
    }
}

/// An object of `fields`, whose names are paths.
fn nested<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> serde_json::Value {
    use serde_json::{Map, Value};
    let mut root = Value::Object(Map::new());
    for (path, text) in fields {
        let mut place = &mut root;
        for name in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = Value::String(text.to_owned());
    }
    root
}

/// Bytes of an answer.
const LARGEST: usize = 1 << 20;
/// The longest silence within an answer.
const SILENCE: Duration = Duration::from_secs(60);
