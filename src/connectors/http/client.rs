//! The only place where a request leaves the machine: it signs, pins to the origin, and keeps the time.

use super::auth::{Auth, Signature};
use super::limits::Limits;
use super::origin;
use super::pace::{Pace, Waits};
use super::request::Request;
use super::status::Fault;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::retry::{Permit, RetryTokens};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response, Url};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::Instrument;

/// Talks to one origin, for all partitions of a source.
pub(super) struct Client {
    http: reqwest::Client,
    origin: Url,
    auth: Arc<dyn Auth>,
    limits: Limits,
    /// Retries that all reads share.
    pub(super) tokens: RetryTokens,
    /// Until when the API asked everyone to wait, on the monotonic clock.
    resume_at: Mutex<Duration>,
    pub(super) pace: Pace,
}

/// The head of a response, before its body.
pub(super) struct Reply {
    pub(super) response: Response,
    /// Where it came from, without credentials.
    pub(super) url: Url,
    pub(super) signature: Signature,
    /// When it was asked for, on the monotonic clock.
    pub(super) sent_at: Duration,
}

impl Client {
    pub(super) fn new(origin: Url, auth: Arc<dyn Auth>, limits: Limits, pace: Pace) -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(limits.connect)
            .build()
            .map_err(|e| {
                Error::config("build source", "the HTTP client cannot be made").with_source(e.without_url())
            })?;
        let tokens = RetryTokens::default();
        Ok(Self { http, origin, auth, limits, tokens, resume_at: Mutex::default(), pace })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// Sends `request` and gives the head of the response, after redirects. Each of these takes from the budget.
    ///
    /// Cancel-safe: the connection is closed.
    ///
    /// # Errors
    /// `Unavailable`, transient, if there is no response in time; `Config` if a redirect leads to another origin.
    /// [`Fault::PutOff`] if the budget has no room as long as the read would wait.
    pub(super) async fn send(
        &self,
        env: &Env,
        request: &Request,
        permit: &Permit,
        waits: &Waits,
    ) -> Result<Reply, Fault> {
        let mut url = request.url().clone();
        for _ in 0..=MOST_REDIRECTS {
            let reply = self.send_once(env, url, request, permit, waits).await?;
            let Some(target) = redirect(&reply)? else { return Ok(reply) };
            if *request.method() != Method::GET {
                // What a POST does is done where it was meant for, and once.
                return Err(Error::config("send request", "only a GET follows redirects")
                    .with("request", request.name())
                    .with_hint("set the URL to where the API redirects to")
                    .into());
            }
            url = reply.signature.stripped(origin::resolve(&reply.url, &target)?);
        }
        Err(Error::config("send request", "too many redirects")
            .with("request", request.name())
            .with("limit", MOST_REDIRECTS)
            .into())
    }

    async fn send_once(
        &self,
        env: &Env,
        url: Url,
        request: &Request,
        permit: &Permit,
        waits: &Waits,
    ) -> Result<Reply, Fault> {
        origin::check(&self.origin, &url)?;
        let mut signature = Signature::default();
        self.auth.sign(env, &mut signature).await?;
        let mut headers = request.headers().clone();
        for (name, value) in signature.headers() {
            headers.insert(name, value.clone());
        }
        let method = request.method();
        let span = tracing::debug_span!("request", %method, path = url.path(), status = tracing::field::Empty);
        let mut outgoing = self.http.request(method.clone(), signature.signed(&url)).headers(headers);
        if let Some((kind, body)) = request.body() {
            outgoing = outgoing.header(CONTENT_TYPE, kind).body(body);
        }
        let ticket = self.pace.turn(env, request, &url, waits).await?;
        let sent_at = env.monotonic();
        let sent = outgoing.send().instrument(span.clone());
        let sent = in_time(env, self.limits.idle, "send request", sent).await.inspect_err(|_| permit.overloaded(env));
        let response = sent?.map_err(|e| {
            waits.tally.request("none");
            failed("send request", e).with("request", format!("{method} {}", url.path()))
        })?;
        span.record("status", response.status().as_u16());
        waits.tally.request(response.status().as_str());
        if let Some(ticket) = ticket {
            let value = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            ticket.observe(env, value);
        }
        match response.status().as_u16() {
            429 | 503 | 504 => permit.overloaded(env),
            _ => permit.answered(env),
        }
        Ok(Reply { response, url, signature, sent_at })
    }

    /// How long the API wants everyone to wait still.
    pub(super) fn must_wait(&self, env: &Env) -> Duration {
        let resume_at = *self.resume_at.lock().unwrap_or_else(PoisonError::into_inner);
        resume_at.saturating_sub(env.monotonic())
    }

    /// The API asked to wait: all reads do.
    pub(super) fn hold_all(&self, env: &Env, wait: Duration) {
        let mut resume_at = self.resume_at.lock().unwrap_or_else(PoisonError::into_inner);
        *resume_at = (*resume_at).max(env.monotonic().saturating_add(wait));
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("auth", &self.auth).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Waits for `work`, but not longer than `limit`.
pub(super) async fn in_time<T>(
    env: &Env,
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = env.sleep(limit) => {
            Err(Error::unavailable(operation, "no answer in time").with("waited_seconds", limit.as_secs_f64()))
        }
    }
}

/// A fault of the transport: trying again may help.
pub(super) fn failed(operation: &'static str, e: reqwest::Error) -> Error {
    let what = if e.is_timeout() {
        "no connection in time"
    } else if e.is_connect() {
        "no connection"
    } else if e.is_body() || e.is_decode() {
        "the response broke off"
    } else {
        "the request failed"
    };
    // The URL may hold a secret.
    Error::unavailable(operation, what).with_source(e.without_url())
}

/// Where the response redirects to, if it does.
fn redirect(reply: &Reply) -> Result<Option<String>> {
    if !matches!(reply.response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let target = location(reply.response.headers())
        .ok_or_else(|| Error::data("send request", "a redirect without a target").with("path", reply.url.path()))?;
    Ok(Some(target.to_owned()))
}

fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(LOCATION)?.to_str().ok()
}

const MOST_REDIRECTS: u32 = 5;
