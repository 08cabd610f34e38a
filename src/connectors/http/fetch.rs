//! One request until it has brought a whole response, or cannot.

use super::archive::Files;
use super::auth::{Reaction, Signature};
use super::body::{Body, end_is_known, too_large};
use super::client::{MOST_OTHERS, Reply, in_time};
use super::incremental::{CursorValue, Known};
use super::pace::{Tally, Waits};
use super::pagination::Counts;
use super::position::RestPosition;
use super::read::Scope;
use super::request::Request;
use super::rest::Rest;
use super::rules::{Rules, Told};
use super::scanned::{Look, Scanned};
use super::status::{self, Fault};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result, Status};
use crate::json::Held;
use crate::model::{Page, Partition, Timestamp, Window};
use crate::retry::{Entry, Next, Pass, Permit, Priority, Trial, WaitBudget};
use crate::source::{Emitter, Retry};
use bytes::Bytes;
use futures::FutureExt;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// How a request ended.
pub(super) enum Outcome<T> {
    Whole(Box<T>),
    /// The wait that is due is more than the budget holds.
    PutOff {
        until: Option<Timestamp>,
    },
    /// The API refuses this very request.
    Refused(Error),
    /// The API has forgotten the page.
    PageExpired(Error),
    /// The API does not keep changes back to the bound of the read.
    CursorTooOld(Error),
    /// A rule says that there are no records here, for this reason.
    Ignored(String),
    /// The API says that nothing has changed since it was read last.
    NotModified,
}

impl<T> Outcome<T> {
    fn and_then<U>(self, then: impl FnOnce(T) -> Result<U>) -> Result<Outcome<U>> {
        Ok(match self {
            Self::Whole(whole) => Outcome::Whole(Box::new(then(*whole)?)),
            Self::PutOff { until } => Outcome::PutOff { until },
            Self::Refused(error) => Outcome::Refused(error),
            Self::PageExpired(error) => Outcome::PageExpired(error),
            Self::CursorTooOld(error) => Outcome::CursorTooOld(error),
            Self::Ignored(why) => Outcome::Ignored(why),
            Self::NotModified => Outcome::NotModified,
        })
    }
}

/// What a response is read for.
#[derive(Clone, Copy)]
enum Wants<'a> {
    /// Its records; this is the highest cursor value before them.
    Page(Option<&'a CursorValue>),
    /// What it says, whatever that is.
    Answer,
}

enum Got {
    Page(Box<Fetched>),
    Answer(Box<Asked>),
}

/// A small response that is no page.
pub(super) struct Asked {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    pub(super) signature: Signature,
    pub(super) body: Bytes,
}

impl Asked {
    /// How long it says to wait before asking again.
    pub(super) fn wait(&self, rules: &Rules, now: Timestamp) -> Option<Duration> {
        rules.wait(&Told::new(self.status, &self.headers, &self.body), now)
    }
}

/// A whole response. Of one that was emitted in parts, the page is the last.
pub(super) struct Fetched {
    pub(super) page: Page,
    /// All of the response but the records, if it came in parts; else all of it.
    pub(super) around: Bytes,
    /// What the whole response told, without the spans: the page has them.
    pub(super) scanned: Scanned,
    /// Records of the whole response.
    pub(super) records: u64,
    pub(super) head: Head,
}

/// What is known of a response before its body.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) request: String,
    /// The request without its query, for errors.
    name: String,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    pub(super) signature: Signature,
    /// Whether a rule asks for the body.
    asks_for_body: bool,
}

/// Sends requests, one at a time, and holds what they need of memory and time.
pub(super) struct Fetcher<'a> {
    pub(super) rest: &'a Rest,
    pub(super) env: &'a Env,
    pub(super) partition: &'a Partition,
    pub(super) out: Emitter<Page, RestPosition>,
    pub(super) look: Look,
    pub(super) fields: Option<Arc<RawValue>>,
    /// The window that is read, if it is not the whole partition.
    pub(super) window: Option<Window>,
    waits: Waits,
    /// Responses are not emitted in parts.
    pub(super) holds_whole: bool,
    /// Hashes of the names that the first page has for its columns, if the pages say them; sorted.
    pub(super) columns: Vec<u64>,
    /// What the last request was signed with.
    signed: Option<Signature>,
    /// The right to make the call that is under way.
    pub(super) pass: Option<Pass>,
    /// Its place among the calls that run at the same time.
    permit: Option<Permit>,
    /// It brings a page that was asked for before its turn.
    is_ahead: bool,
    /// Bytes that the next page will probably take.
    pub(super) estimate: u64,
}

impl<'a> Fetcher<'a> {
    /// # Errors
    /// `Config` if the partition is not one of this source.
    pub(super) fn new(scope: &Scope<'a>) -> Result<Self> {
        let Scope { rest, env, partition, out, .. } = *scope;
        let look = Look {
            values: Arc::clone(&rest.values),
            cursor: rest.since.as_ref().map(|(_, path)| Arc::clone(path)),
            known: Known::default(),
            seed: 0,
            prints: rest.prints(),
        };
        let tally = Tally { source: rest.traffic.clone(), run: out.traffic().clone() };
        let (budget, priority) = (WaitBudget::new(rest.retry.wait), rest.client.pace.priority);
        let waits = Waits { budget, priority, tally };
        let fields = rest.fields_of(partition)?;
        let holds_whole = matches!(rest.counts(), Counts::Records { .. }) || rest.parallel_pages > 1;
        let out = out.fork();
        let (window, signed, pass, permit) = (None, None, None, None);
        let estimate = FIRST_ESTIMATE;
        Ok(Self {
            rest,
            env,
            partition,
            out,
            look,
            fields,
            window,
            waits,
            holds_whole,
            columns: Vec::new(),
            signed,
            pass,
            permit,
            is_ahead: false,
            estimate,
        })
    }

    /// Holds a place among the calls and memory for a page, if there are both right now, until the page has come whole.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops.
    pub(super) fn goes_ahead(&mut self) -> Result<bool> {
        self.permit = self.rest.client.pace.permit(self.env, self.waits.priority).now_or_never();
        self.is_ahead = self.permit.is_some();
        Ok(self.is_ahead && self.out.reserve(self.estimate).now_or_never().transpose()?.is_some())
    }

    /// Bytes from which on a response is emitted in parts. Where the first records may have to be cut off, or others come first,
    /// it is held whole.
    pub(super) fn part_size(&self) -> u64 {
        if self.holds_whole { u64::MAX } else { self.rest.limits.part }
    }

    /// What it went ahead for has come, or will not come.
    pub(super) fn has_gone_ahead(&mut self) {
        self.is_ahead = false;
        if self.permit.is_some() {
            self.step_back();
        }
    }

    /// Lets others go first that keep data fresh.
    pub(super) fn gives_way(&mut self) {
        self.waits.priority = Priority::Backfill;
    }

    /// Whether the pipeline stops.
    pub(super) fn is_cancelled(&self) -> bool {
        self.out.is_cancelled()
    }

    /// Asks until there is a whole response, within the budgets. `before` is the highest cursor value so far.
    pub(super) async fn fetch(&mut self, request: &Request, before: Option<&CursorValue>) -> Result<Outcome<Fetched>> {
        self.tried(request, Wants::Page(before)).await?.and_then(|got| match got {
            Got::Page(fetched) => Ok(*fetched),
            Got::Answer(_) => Err(Error::bug("read page", "the response was not read as a page")),
        })
    }

    /// As [`fetch`](Self::fetch), for a small response that is no page.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Outcome<Asked>> {
        self.tried(request, Wants::Answer).await?.and_then(|got| match got {
            Got::Answer(asked) => Ok(*asked),
            Got::Page(_) => Err(Error::bug("read answer", "the response was read as a page")),
        })
    }

    async fn tried(&mut self, request: &Request, wants: Wants<'_>) -> Result<Outcome<Got>> {
        let client = &self.rest.client;
        let mut trial = Trial::new(&self.rest.retry);
        // How often in a row the credentials were refused and others took their place.
        let (mut renewed, mut others) = (false, 0);
        loop {
            let got = self.attempt(request, wants).await.map_err(|fault| match fault {
                Fault::Failed(error) => Fault::Failed(self.cleaned(error)),
                // What these quote was searched when it was read.
                fault => fault,
            });
            let mut pass = self.pass.take();
            if got.is_ok() {
                self.permit = None;
            } else {
                self.step_back();
            }
            if let Some(pass) = pass.as_mut().filter(|_| shows_that_it_answers(&got)) {
                pass.succeeded();
            }
            renewed &= matches!(got, Err(Fault::Unauthorized(_)));
            let next = match got {
                Ok(got) => {
                    client.tokens.give();
                    return Ok(Outcome::Whole(Box::new(got)));
                }
                Err(Fault::NotModified) => return Ok(Outcome::NotModified),
                Err(Fault::Refused(error)) => return Ok(Outcome::Refused(error)),
                Err(Fault::PageExpired(error)) => return Ok(Outcome::PageExpired(error)),
                Err(Fault::CursorTooOld(error)) => return Ok(Outcome::CursorTooOld(error)),
                Err(Fault::Ignored(why)) => return Ok(Outcome::Ignored(why)),
                Err(Fault::Unauthorized(error)) => {
                    match self.refused(request).await? {
                        Reaction::Renewed if !renewed => renewed = true,
                        Reaction::Another if others < MOST_OTHERS => others += 1,
                        _ => return Err(error),
                    }
                    self.waits.tally.retry(Retry::Auth);
                    tracing::debug!(%error, "trying again with other credentials");
                    continue;
                }
                Err(Fault::PutOff { wait }) => {
                    return Ok(Outcome::PutOff { until: Some(self.env.now().saturating_add(wait)) });
                }
                Err(Fault::Failed(error)) if !error.is_transient() => return Err(error),
                Err(Fault::Failed(error)) => {
                    if let Some(pass) = &mut pass {
                        pass.failed(self.env);
                    }
                    if !self.may_repeat(request) {
                        return Err(not_repeated(error));
                    }
                    match trial.fault(self.env, &client.tokens) {
                        Next::GiveUp(what) => {
                            return Err(error
                                .with("attempts", trial.faults())
                                .with("used_up", what)
                                .with_status(Status::Exhausted));
                        }
                        next => {
                            self.waits.tally.retry(Retry::Fault);
                            tracing::debug!(%error, "trying again");
                            next
                        }
                    }
                }
                Err(Fault::RateLimited { demanded, may_have_acted, error }) => {
                    let next = trial.rate_limited(self.env, &mut self.waits.budget, demanded);
                    self.waits.tally.throttled();
                    tracing::debug!(%error, ?next, "rate limited");
                    if let (Next::Again { after: wait } | Next::PutOff { wait }, Some(pass)) = (next, &mut pass) {
                        pass.refused(self.env, wait);
                    }
                    if may_have_acted && !self.may_repeat(request) {
                        return Err(not_repeated(error));
                    }
                    if matches!(next, Next::PutOff { .. }) {
                        let until = demanded.map(|wait| self.env.now().saturating_add(wait));
                        return Ok(Outcome::PutOff { until });
                    }
                    self.waits.tally.retry(Retry::RateLimited);
                    next
                }
            };
            // Without a word, as far as none was said: others need not wait for this read's wait.
            drop(pass);
            if let Next::Again { after } = next {
                self.pause(after).await?;
            }
        }
    }

    /// Waits until a call to the host of `request` may be made, with all that it needs: others may wait for how it ends.
    async fn enter(&mut self, request: &Request, wants: Wants<'_>) -> Result<(), Fault> {
        let (rest, env, priority) = (self.rest, self.env, self.waits.priority);
        let breaker = rest.client.hosts.of(request.url());
        loop {
            if self.permit.is_none() {
                // Not of a page that could not be used either.
                self.out.give_up();
            }
            let timed = self.waits.timed(env);
            let ready = breaker.ready(env, priority, &mut self.waits.budget);
            let ready = unless_stopped(&mut self.out, async { Ok::<_, Error>(ready.await) }).await?;
            drop(timed);
            match ready {
                Err(Entry::PutOff { wait }) => return Err(Fault::PutOff { wait }),
                Err(Entry::Down { since }) => {
                    return Err(Error::unavailable("send request", "the API is down: it is not asked by every read")
                        .with("request", request.name())
                        .with("down_seconds", since.as_secs())
                        .with_status(Status::Exhausted)
                        .into());
                }
                _ => {}
            }
            // Before the memory, and without any: who has a call under way may wait for what others hold of it. It is held until
            // the body is read.
            if self.permit.is_none() {
                let permit = async { Ok::<_, Error>(rest.client.pace.permit(env, priority).await) };
                self.permit = Some(self.unless_stopped(permit).await?);
            }
            if matches!(wants, Wants::Page(_)) {
                self.out.reserve(self.estimate).await?;
            }
            self.pass = breaker.try_enter(env);
            if self.pass.is_some() {
                return Ok(());
            }
            self.step_back();
        }
    }

    /// Gives up what others may need during a wait. Not the place among the calls of who has handed over parts: others that wait
    /// with theirs for this response to end may have all the other places. Nor that of a page that was asked for ahead, and no
    /// memory: those behind it that have come keep theirs until its turn has passed.
    fn step_back(&mut self) {
        if self.is_ahead {
            return;
        }
        self.out.release();
        if !self.out.has_parts() {
            self.permit = None;
        }
    }

    /// `error` without the secrets of the last request, which the API may have said back in what it quotes.
    pub(super) fn cleaned(&self, error: Error) -> Error {
        match &self.signed {
            Some(signature) => signature.cleaned(error),
            None => error,
        }
    }

    /// The API refuses the credentials of `request`: what they make of it.
    async fn refused(&mut self, request: &Request) -> Result<Reaction> {
        let Some(signature) = self.signed.take() else { return Ok(Reaction::Keep) };
        let (client, env, waits) = (&self.rest.client, self.env, &self.waits);
        unless_stopped(&mut self.out, client.refused(env, request, &signature, waits)).await
    }

    /// Whether sending `request` twice does no more than sending it once (RFC 9110, section 9.2.2).
    fn may_repeat(&self, request: &Request) -> bool {
        self.rest.idempotent || matches!(*request.method(), Method::GET | Method::PUT | Method::DELETE)
    }

    /// Waits for something else than to be let in: it does not count as such. Ends at once if the pipeline stops.
    pub(super) async fn sleep(&mut self, wait: Duration) -> Result<()> {
        let env = self.env;
        self.unless_stopped(async move {
            env.sleep(wait).await;
            Ok(())
        })
        .await
    }

    /// Waits; ends at once if the pipeline stops.
    async fn pause(&mut self, wait: Duration) -> Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let env = self.env;
        let timed = self.waits.timed(env);
        self.unless_stopped(async move {
            env.sleep(wait).await;
            drop(timed);
            Ok(())
        })
        .await
    }

    /// Does `work`, but ends at once if the pipeline stops.
    pub(super) async fn unless_stopped<T, E: From<Error>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        unless_stopped(&mut self.out, work).await
    }

    async fn attempt(&mut self, request: &Request, wants: Wants<'_>) -> Result<Got, Fault> {
        let (rest, env) = (self.rest, self.env);
        self.enter(request, wants).await?;
        let (Some(permit), Some(pass)) = (&self.permit, &mut self.pass) else {
            return Err(Error::bug("send request", "without a place").into());
        };
        let waits = &self.waits;
        let signed = &mut self.signed;
        let answer = async {
            let reply = rest.client.send(env, request, permit, pass, waits).await?;
            *signed = Some(reply.signature.clone());
            if matches!(wants, Wants::Answer) && reply.response.status().is_success() {
                return Ok((reply, false));
            }
            if reply.response.status() == StatusCode::NOT_MODIFIED && rest.conditional && is_conditional(request) {
                return Err(Fault::NotModified);
            }
            status::check(env, &rest.rules, &request.name(), reply, &rest.limits).await
        };
        let (Reply { response, url, signature, sent_at }, asks_for_body) =
            unless_stopped(&mut self.out, answer).await?;
        let deadline = sent_at.saturating_add(rest.limits.total);
        let Wants::Page(before) = wants else {
            let asked = self.answer(response, url, signature, deadline).await?;
            return Ok(Got::Answer(Box::new(asked)));
        };
        let headers = response.headers().clone();
        if !asks_for_body {
            status::check_type(&headers, &rest.records)?;
        }
        let head = Head {
            status: response.status().as_u16(),
            request: signature.redacted(&request.described()).unwrap_or_else(|| request.name()),
            name: request.name(),
            headers,
            url,
            signature,
            asks_for_body,
        };
        if rest.records.needs_known_end() && !end_is_known(&response) && !on(Defect::CutBodiesAreWhole) {
            let what = "nothing shows where the records end, so a cut response would look whole";
            return Err(Error::data("read page", what).with_hint("the server must send a length, or chunks").into());
        }
        let announced = announced(&response);
        let open = Body::open(response, &rest.limits, u64::MAX, &rest.files);
        let body = self.unless_stopped(in_time(env, rest.limits.idle, "read body", open)).await??;
        Ok(Got::Page(Box::new(self.receive(body, head, announced, deadline, before).await?)))
    }

    async fn answer(
        &mut self,
        response: Response,
        url: Url,
        signature: Signature,
        deadline: Duration,
    ) -> Result<Asked> {
        let (env, limits) = (self.env, &self.rest.limits);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let read = async {
            let mut held = Held::with_capacity(0);
            let mut body = Body::open(response, limits, LONGEST_ANSWER, &Files::default()).await?;
            while let Some(piece) = body.piece().await? {
                if (held.len() + piece.len()) as u64 > LONGEST_ANSWER {
                    return Err(too_large("an answer that is no page is larger than its limit", LONGEST_ANSWER));
                }
                held.push(piece);
            }
            Ok(held.take_all())
        };
        let left = deadline.saturating_sub(env.monotonic()).min(limits.idle);
        let body = self.unless_stopped(in_time(env, left, "read body", read)).await??;
        Ok(Asked { status, headers, url, signature, body })
    }

    /// What the rules say of `body`, if one asks for it: beside the I/O, if it is large.
    pub(super) async fn judge(&self, head: &Head, body: Bytes) -> Result<(), Fault> {
        if !head.asks_for_body {
            return Ok(());
        }
        let (rules, now) = (Arc::clone(&self.rest.rules), self.env.now());
        let (status, headers, looked_at) = (head.status, head.headers.clone(), body.clone());
        let judge = move || status::judge(&rules, &Told::new(status, &headers, &looked_at), now);
        let verdict = if body.len() >= LARGE { self.env.blocking("look at page", judge).await? } else { judge() };
        if let Some((verdict, demanded)) = verdict {
            let excerpt = status::excerpt(&head.signature, &body, true);
            return Err(status::fault(verdict, demanded, head.status, &head.name, excerpt));
        }
        status::check_type(&head.headers, &self.rest.records)?;
        Ok(())
    }

    /// Whether the values of the cursor field are as declared.
    pub(super) fn check_cursor(&self, scanned: &Scanned) -> Result<()> {
        let Some((since, _)) = &self.rest.since else { return Ok(()) };
        let found = &scanned.highest;
        if found.without > 0 {
            if since.fails_without() {
                return Err(Error::data("read page", "records have no value to compare in the cursor field")
                    .with("field", since.name())
                    .with("records", found.without));
            }
            metrics::counter!("landfall_http_records_without_cursor_total").increment(found.without);
        }
        // Now rather than when the next read asks with it; text may be a bad record's that counts until others come.
        let value = found.value.as_ref().filter(|value| !matches!(value, CursorValue::Text(_)));
        value.map(|value| since.begin_at(value)).transpose()?;
        Ok(())
    }
}

fn not_repeated(error: Error) -> Error {
    error
        .with_status(Status::Exhausted)
        .with_hint("if sending it again does no harm, say so with .idempotent(): then it is retried")
}

/// Whether the host answered, whatever it said of the request.
fn shows_that_it_answers(got: &Result<Got, Fault>) -> bool {
    !matches!(got, Err(Fault::Failed(_) | Fault::RateLimited { .. } | Fault::PutOff { .. }))
}

/// Does `work`, but ends at once if the pipeline stops.
async fn unless_stopped<T, E: From<Error>>(
    out: &mut Emitter<Page, RestPosition>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        () = out.cancelled() => Err(Error::cancelled("read page").into()),
        done = work => done,
    }
}

/// Whether the request asks for a page only if it has changed.
fn is_conditional(request: &Request) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|header| request.headers().contains_key(header))
}

/// The length that the body will have in memory, if its head tells; else 0.
fn announced(response: &Response) -> u64 {
    if response.headers().contains_key(CONTENT_ENCODING) { 0 } else { response.content_length().unwrap_or_default() }
}

/// Bytes of a response that is no page.
const LONGEST_ANSWER: u64 = 8 << 20;
/// Parsing this many bytes takes longer than handing them over to another core.
const LARGE: usize = 256 << 10;
const FIRST_ESTIMATE: u64 = 256 << 10;
