//! How a request is sent: signed anew each time, pinned to the origins of the source, through redirects.

use super::auth::{Answered, Auth, AuthContext, Endpoints, Reaction, Signature};
use super::egress::Egress;
use super::hosts::Hosts;
use super::origin::{Access, Origins};
use super::pace::{Pace, Waits};
use super::request::Request;
use super::status::Fault;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::{Pass, Permit, Policy, RetryTokens};
use crate::source::Retry;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, Url};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Talks to the origins of a source, for all of its partitions.
pub(super) struct Client {
    egress: Arc<Egress>,
    origins: Origins,
    auth: Arc<dyn Auth>,
    retry: Policy,
    /// Retries that all reads share.
    pub(super) tokens: Arc<RetryTokens>,
    /// Which hosts answer.
    pub(super) hosts: Arc<Hosts>,
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
    pub(super) fn new(origins: Origins, egress: Egress, auth: Arc<dyn Auth>, retry: Policy, pace: Pace) -> Self {
        Self {
            egress: Arc::new(egress),
            origins,
            auth,
            hosts: Arc::new(Hosts::new(&retry)),
            retry,
            tokens: Arc::default(),
            pace,
        }
    }

    /// Where requests may go.
    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Sends `request` and gives the head of the response, after redirects. Each of these takes from the budget. Credentials of a pool
    /// that cannot be used now make place for others.
    ///
    /// Cancel-safe: the connection is closed.
    ///
    /// # Errors
    /// `Unavailable`, transient, if there is no response in time; `Config` if a redirect leads to an origin that the source may not
    /// talk to; that of the credentials. [`Fault::PutOff`] if the budget has no room as long as the read would wait, and rate
    /// limited if no credentials can be used now.
    pub(super) async fn send(
        &self,
        env: &Env,
        request: &Request,
        permit: &Permit,
        pass: &mut Pass,
        waits: &Waits,
    ) -> Result<Reply, Fault> {
        let mut url = request.url().clone();
        let (mut redirects, mut others) = (0, 0);
        loop {
            let (reply, reaction) = self.send_once(env, url.clone(), request, permit, pass, waits).await?;
            if reaction == Reaction::Another && others < MOST_OTHERS {
                waits.tally.throttled();
                waits.tally.retry(Retry::RateLimited);
                others += 1;
                continue;
            }
            let Some(target) = redirect(&reply)? else { return Ok(reply) };
            url = self.follow(request, &reply, &target)?;
            redirects += 1;
            if redirects > MOST_REDIRECTS {
                return Err(Error::config("send request", "too many redirects")
                    .with("request", request.name())
                    .with("limit", MOST_REDIRECTS)
                    .into());
            }
        }
    }

    /// The API refused the credentials of `request`, which had `signature`: whether the next attempt has others.
    pub(super) async fn refused(
        &self,
        env: &Env,
        request: &Request,
        signature: &Signature,
        waits: &Waits,
    ) -> Result<Reaction> {
        let body = request.body().map(|(_, body)| body).unwrap_or_default();
        let endpoints = self.endpoints(env, waits);
        let cx = AuthContext {
            method: request.method(),
            url: request.url(),
            headers: request.headers(),
            body: &body,
            endpoints: &endpoints,
        };
        self.auth.answered(&cx, signature, &Answered { status: 401, headers: &HeaderMap::new(), refused: true }).await
    }

    fn follow(&self, request: &Request, reply: &Reply, target: &str) -> Result<Url> {
        if *request.method() != Method::GET {
            // What a POST does is done where it was meant for, and once.
            return Err(Error::config("send request", "only a GET follows redirects")
                .with("request", request.name())
                .with_hint("set the URL to where the API redirects to"));
        }
        let signature = &reply.signature;
        let url = self.origins.resolve(&reply.url, target).map_err(|e| signature.cleaned(e))?;
        let url = signature.stripped(url);
        if signature.is_in(url.as_str()) && !request.is_hidden() {
            let what = "where the API redirects to holds a secret of the request, and would be shown with it";
            return Err(Error::data("send request", what).with("request", request.name()));
        }
        Ok(url)
    }

    async fn send_once(
        &self,
        env: &Env,
        url: Url,
        request: &Request,
        permit: &Permit,
        pass: &mut Pass,
        waits: &Waits,
    ) -> Result<(Reply, Reaction), Fault> {
        let access = self.origins.access(&url)?;
        let method = request.method();
        if access != Access::Credentials && *method != Method::GET {
            // What a request carries may hold secrets, and what it does is meant for the API.
            return Err(Error::config("send request", "only a GET goes to an origin that gets no credentials")
                .with("request", request.name())
                .with_hint("if it is the API too, say so with .allow_origin_with_credentials(…)")
                .into());
        }
        let (kind, body) = request.body().unzip();
        let body: Bytes = body.unwrap_or_default();
        let mut headers = request.headers().clone();
        if let Some(kind) = kind {
            // Unless the source says it in another way, as AWS wants it.
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        }
        if access != Access::Credentials {
            headers = representation(&headers);
        }
        let endpoints = self.endpoints(env, waits);
        let cx = AuthContext { method, url: &url, headers: &headers, body: &body, endpoints: &endpoints };
        let mut signature = Signature::default();
        self.egress.hide(&mut signature);
        if access == Access::Credentials {
            self.auth.sign(&cx, &mut signature).await?;
        }
        if let Some(wait) = signature.wait() {
            let what = "the quotas of all credentials are used up";
            let error = Error::new(ErrorKind::Unavailable, "sign request", what).with("request", request.name());
            return Err(Fault::RateLimited { demanded: Some(wait), may_have_acted: false, error });
        }
        let mut outgoing = reqwest::Request::new(method.clone(), signature.signed(&url));
        *outgoing.headers_mut() = headers.clone();
        signature.put_on(outgoing.headers_mut())?;
        *outgoing.body_mut() = kind.map(|_| body.clone().into());

        if request.is_hidden() {
            hide_all(&mut signature, &url);
        }
        let path = if request.is_hidden() { "a link" } else { url.path() };
        let span = tracing::debug_span!("request", %method, path, status = tracing::field::Empty);
        let ticket = self.pace.turn(env, method.as_str(), &url, waits).await?;
        pass.begins(env);
        let sent_at = env.monotonic();
        let sent = self.egress.send(env, access, outgoing).instrument(span.clone()).await;
        let response = sent.map_err(|e| {
            if e.is_transient() {
                permit.overloaded(env);
            }
            waits.tally.request("none");
            e.with("request", request.name_at(&url))
        })?;
        let status = response.status();
        span.record("status", status.as_u16());
        waits.tally.request(status.as_str());
        if let Some(ticket) = ticket {
            let value = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            ticket.observe(env, value);
        }
        match status.as_u16() {
            429 | 503 | 504 => permit.overloaded(env),
            _ => permit.answered(env.monotonic().saturating_sub(sent_at)),
        }
        let reaction = if access == Access::Credentials {
            let answer = Answered { status: status.as_u16(), headers: response.headers(), refused: false };
            self.auth.answered(&cx, &signature, &answer).await?
        } else {
            Reaction::Keep
        };
        Ok((Reply { response, url, signature, sent_at }, reaction))
    }

    fn endpoints(&self, env: &Env, waits: &Waits) -> Endpoints {
        Endpoints {
            env: env.clone(),
            egress: Arc::clone(&self.egress),
            retry: self.retry,
            tokens: Arc::clone(&self.tokens),
            hosts: Arc::clone(&self.hosts),
            pace: Pace { priority: waits.priority, ..self.pace.clone() },
            tally: waits.tally.clone(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("auth", &self.auth).field("egress", &self.egress).finish_non_exhaustive()
    }
}

/// The headers that ask for a representation: all that goes to an origin that takes no credentials. Any other may hold some.
fn representation(headers: &HeaderMap) -> HeaderMap {
    let asks = |name: &str| {
        name.starts_with("accept") || name.starts_with("if-") || matches!(name, "range" | "content-type" | "user-agent")
    };
    headers.iter().filter(|(name, _)| asks(name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}
/// Keeps what may be a secret in `url` out of everything that is shown.
fn hide_all(signature: &mut Signature, url: &Url) {
    let values = url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= 8);
    let segments = url.path_segments().into_iter().flatten().filter(|segment| segment.len() >= 20).map(str::to_owned);
    values.chain(segments).for_each(|secret| signature.hide(&secret.into()));
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
/// Credentials of a pool that are tried for one request.
pub(super) const MOST_OTHERS: u32 = 100;
