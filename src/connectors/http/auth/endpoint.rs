use crate::connectors::http::client::in_time;
use crate::connectors::http::egress::Egress;
use crate::connectors::http::hosts::Hosts;
use crate::connectors::http::origin::Access;
use crate::connectors::http::pace::{Pace, Tally, Waits};
use crate::connectors::http::rules::{Rules, Told};
use crate::connectors::http::status::Fault;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::retry::{Entry, Next, Pass, Policy, RetryTokens, Trial, WaitBudget};
use crate::source::Retry;
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
    pub(in super::super) env: Env,
    pub(in super::super) egress: Arc<Egress>,
    pub(in super::super) retry: Policy,
    pub(in super::super) tokens: Arc<RetryTokens>,
    pub(in super::super) hosts: Arc<Hosts>,
    pub(in super::super) pace: Pace,
    pub(in super::super) tally: Tally,
}

impl Endpoints {
    /// Time and randomness.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Sends `exchange` and gives the answer, whatever it says. Faults, statuses 408, 429 and 5xx are tried again by the policy of the
    /// source, and each call takes from its budget. Redirects are not followed: what is sent holds secrets.
    ///
    /// Cancel-safe: the connection is closed; the endpoint may have acted.
    ///
    /// # Errors
    /// `Unavailable`, exhausted, if the endpoint does not answer, or may not be asked as soon as the source would wait; `Config` for
    /// a URL that is none, or a redirect. None shows what was sent or answered.
    pub async fn exchange(&self, exchange: &Exchange) -> Result<Exchanged> {
        let env = &self.env;
        let mut trial = Trial::new(&self.retry);
        let budget = WaitBudget::new(self.retry.wait);
        let mut waits = Waits { budget, priority: self.pace.priority, tally: self.tally.clone() };
        loop {
            let mut pass = self.enter(exchange, &mut waits).await?;
            let (error, next, why) = match self.tried(exchange, &waits, &mut pass).await? {
                Tried::Answered(answer) => {
                    pass.succeeded();
                    self.tokens.give();
                    return Ok(answer);
                }
                Tried::Failed(error) => {
                    pass.failed(env);
                    (error, trial.fault(env, &self.tokens), Retry::Fault)
                }
                Tried::Refused { demanded, error } => {
                    waits.tally.throttled();
                    let next = trial.rate_limited(env, &mut waits.budget, demanded);
                    if let Next::Again { after: wait } | Next::PutOff { wait } = next {
                        pass.refused(env, wait);
                    }
                    (error, next, Retry::RateLimited)
                }
            };
            drop(pass);
            let after = match next {
                Next::Again { after } => after,
                Next::GiveUp(what) => {
                    return Err(error
                        .with("attempts", trial.faults())
                        .with("used_up", what)
                        .with_status(Status::Exhausted));
                }
                Next::PutOff { wait } => return Err(put_off(error, wait)),
            };
            waits.tally.retry(why);
            if !after.is_zero() {
                let _timed = waits.timed(env);
                env.sleep(after).await;
            }
        }
    }

    /// Waits until the endpoint may be asked.
    async fn enter(&self, exchange: &Exchange, waits: &mut Waits) -> Result<Pass> {
        let error = |what| Error::unavailable("exchange credentials", what).with("endpoint", exchange.name());
        let _timed = waits.timed(&self.env);
        // Not that of its host: a call that waits for this one may be what others wait for there.
        let breaker = self.hosts.named(&exchange.name());
        match breaker.enter(&self.env, waits.priority, &mut waits.budget).await {
            Entry::Go(pass) => Ok(pass),
            Entry::PutOff { wait } => Err(put_off(error("the endpoint wants nobody to ask now"), wait)),
            Entry::Down { since } => Err(error("the endpoint is down: it is not asked by every read")
                .with("down_seconds", since.as_secs())
                .with_status(Status::Exhausted)),
        }
    }

    /// # Errors
    /// Those that trying again does not help.
    async fn tried(&self, exchange: &Exchange, waits: &Waits, pass: &mut Pass) -> Result<Tried> {
        let answer = match self.attempt(exchange, waits, pass).await {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => return Ok(Tried::Failed(error)),
            Err(error) => return Err(error),
        };
        let error = || {
            Error::unavailable("exchange credentials", "the endpoint cannot answer now")
                .with("endpoint", exchange.name())
                .with("status", answer.status)
        };
        if !matches!(answer.status, 408 | 429 | 500..=599) {
            return Ok(Tried::Answered(answer));
        }
        let told = Told::new(answer.status, &answer.headers, &answer.body);
        let demanded = Rules::compile(&[], &[])?.wait(&told, self.env.now());
        Ok(match (answer.status, demanded) {
            (429, _) | (_, Some(_)) => Tried::Refused { demanded, error: error() },
            _ => Tried::Failed(error()),
        })
    }

    async fn attempt(&self, exchange: &Exchange, waits: &Waits, pass: &mut Pass) -> Result<Exchanged> {
        let request = exchange.request()?;
        // A query may hold secrets.
        let mut shown = request.url().clone();
        shown.set_query(None);
        let ticket = match self.pace.turn(&self.env, exchange.method.as_str(), &shown, waits).await {
            Ok(ticket) => ticket,
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::PutOff { wait }) => {
                let what = "the budget has no room for the endpoint as soon as the source would wait";
                let error = Error::unavailable("exchange credentials", what).with("endpoint", exchange.name());
                return Err(put_off(error, wait));
            }
            Err(_) => return Err(Error::bug("exchange credentials", "a budget answers like an API")),
        };
        pass.begins(&self.env);
        let sent = self.egress.send(&self.env, Access::Credentials, request).await;
        let status = sent.as_ref().map(|response| response.status());
        waits.tally.request(status.as_ref().map_or("none", |status| status.as_str()));
        let mut response = sent.map_err(|e| {
            // What is sent may be in what a transport says of it.
            Error::new(e.kind(), "exchange credentials", "the endpoint does not answer")
                .with_status(e.status())
                .with("endpoint", exchange.name())
        })?;
        if let Some(ticket) = ticket {
            ticket.observe(&self.env, |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned()));
        }
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

/// What came of asking an endpoint once.
enum Tried {
    Answered(Exchanged),
    /// It asks to come more slowly, after this time if it says one.
    Refused {
        demanded: Option<Duration>,
        error: Error,
    },
    /// Trying again may help.
    Failed(Error),
}

/// The error of a wait that is longer than the source would wait.
fn put_off(error: Error, wait: Duration) -> Error {
    error.with("wait_seconds", wait.as_secs()).with_status(Status::Exhausted)
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
    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn said(status: u16, headers: HeaderMap, body: &[u8]) -> Self {
        Self { endpoint: "https://login.example.com".to_owned(), status, headers, body: body.to_vec() }
    }

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
