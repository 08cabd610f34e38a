//! A token that is obtained when it is needed, once for all that wait for it, and again before it expires or when it is refused.

use super::{Answered, Endpoints, Reaction, Signature};
use crate::env::{Env, not_joined};
use crate::error::{Error, ErrorKind, Result, Status};
use async_trait::async_trait;
use secrecy::SecretString;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::Instrument;

/// How a token is obtained.
#[async_trait]
pub(super) trait Grant: Clone + Debug + Send + Sync + 'static {
    /// Asks for a token. Runs to its end even if nobody waits for it any more.
    async fn obtain(&self, endpoints: &Endpoints) -> Result<Issued>;
}

/// A token as it was given.
pub(super) struct Issued {
    pub(super) token: SecretString,
    pub(super) lifetime: Option<Duration>,
}

/// The token that all requests share.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    state: Arc<Mutex<State>>,
    /// How often it was tried to obtain one, to the end.
    tries: Arc<AtomicU64>,
    /// How long before it expires a token is replaced.
    pub(super) ahead: Duration,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    /// Why the last try failed.
    failure: Option<Failure>,
    /// Tokens in a row that the API refused without having taken them once.
    in_vain: u32,
}

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    status: Status,
    text: String,
    at: Duration,
}

impl Failure {
    fn error(&self) -> Error {
        Error::new(self.kind, "obtain token", self.text.clone()).with_status(self.status)
    }

    /// Whether the next try would fail like this one: a wrong password that is sent again and again locks an account.
    fn is_for_good(&self) -> bool {
        matches!(self.kind, ErrorKind::Auth | ErrorKind::Config | ErrorKind::Data)
    }
}

#[derive(Debug)]
struct Current {
    token: SecretString,
    /// When to replace it, and when it ends, on the monotonic clock.
    stale_at: Option<Duration>,
    ends_at: Option<Duration>,
    obtained_at: Duration,
    /// The API has taken it.
    taken: bool,
    refused: bool,
}

impl State {
    /// Whether another token may be asked for in place of the refused one: where new ones are refused too, they are not the
    /// reason, and each of many reads would ask for one.
    fn may_renew(&self, now: Duration) -> bool {
        let rested = self.current.as_ref().is_none_or(|current| now >= current.obtained_at.saturating_add(REST));
        self.in_vain < MOST_IN_VAIN || rested
    }
}

impl Tokens {
    /// A token that is valid now, obtained with `grant` if there is none.
    ///
    /// Cancel-safe: what was begun goes on, and the next call takes its result.
    pub(super) async fn token(&self, grant: &impl Grant, endpoints: &Endpoints) -> Result<SecretString> {
        let before = self.tries.load(Ordering::SeqCst);
        let state = Arc::clone(&self.state).lock_owned().await;
        let now = endpoints.env().monotonic();
        let usable = |current: &&Current| {
            if current.refused { !state.may_renew(now) } else { current.stale_at.is_none_or(|at| now < at) }
        };
        if let Some(current) = state.current.as_ref().filter(usable) {
            return Ok(current.token.clone());
        }
        // Whoever waited for a try that failed shares its failure; so do those who come soon after one that was for good.
        if let Some(failure) = &state.failure {
            let is_recent = failure.is_for_good() && now < failure.at.saturating_add(REST);
            if is_recent || self.tries.load(Ordering::SeqCst) != before {
                return Err(failure.error());
            }
        }
        let (this, grant, endpoints) = (self.clone(), grant.clone(), endpoints.clone());
        // In a task of its own: a refresh token that an answer brings must not be lost with a read that is stopped.
        let task = async move { this.obtain(state, &grant, &endpoints).await };
        tokio::spawn(task.in_current_span()).await.map_err(|e| not_joined("obtain token", e))?
    }

    async fn obtain(
        &self,
        mut state: OwnedMutexGuard<State>,
        grant: &impl Grant,
        endpoints: &Endpoints,
    ) -> Result<SecretString> {
        // From before it was asked for: it does not live longer than that.
        let asked_at = endpoints.env().monotonic();
        let obtained = grant.obtain(endpoints).await;
        self.tries.fetch_add(1, Ordering::SeqCst);
        match obtained {
            Ok(Issued { token, lifetime }) => {
                // Some say zero for no end.
                let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
                // A short life is used for the most part.
                let ahead = lifetime.map(|lifetime| self.ahead.min(lifetime / 4)).unwrap_or_default();
                let ends_at = lifetime.map(|lifetime| asked_at.saturating_add(lifetime));
                let stale_at = ends_at.map(|at| at.saturating_sub(ahead));
                let (copy, obtained_at) = (token.clone(), endpoints.env().monotonic());
                state.current =
                    Some(Current { token: copy, stale_at, ends_at, obtained_at, taken: false, refused: false });
                state.failure = None;
                metrics::counter!("landfall_http_tokens_obtained_total").increment(1);
                Ok(token)
            }
            Err(error) => {
                metrics::counter!("landfall_http_tokens_failed_total").increment(1);
                let now = endpoints.env().monotonic();
                let usable = state.current.as_mut().filter(|c| !c.refused && c.ends_at.is_none_or(|at| now < at));
                if let (Some(current), true) = (usable, error.kind() == ErrorKind::Unavailable) {
                    tracing::warn!(%error, "the token cannot be replaced yet, and is used while it lasts");
                    // Not tried before each request until then.
                    let again = now.saturating_add(AGAIN);
                    current.stale_at = Some(current.ends_at.map_or(again, |ends| ends.min(again)));
                    return Ok(current.token.clone());
                }
                let (kind, status, text) = (error.kind(), error.status(), error.to_string());
                state.failure = Some(Failure { kind, status, text, at: now });
                Err(error)
            }
        }
    }

    /// Hears of an answer to a request that was signed with a token.
    pub(super) async fn answered(&self, env: &Env, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        let was_taken = (200..300).contains(&answer.status());
        if !answer.is_refused() && !was_taken {
            return Ok(Reaction::Keep);
        }
        let mut state = self.state.lock().await;
        let State { current, in_vain, .. } = &mut *state;
        let Some(current) = current.as_mut().filter(|current| signature.holds(&current.token)) else {
            // It has been replaced meanwhile: the refusal is of the one before.
            return Ok(if answer.is_refused() { Reaction::Renewed } else { Reaction::Keep });
        };
        if !answer.is_refused() {
            current.taken = true;
            *in_vain = 0;
            return Ok(Reaction::Keep);
        }
        if !std::mem::replace(&mut current.refused, true) {
            *in_vain = if current.taken { 0 } else { in_vain.saturating_add(1) };
        }
        Ok(if state.may_renew(env.monotonic()) { Reaction::Renewed } else { Reaction::Keep })
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { state: Arc::default(), tries: Arc::default(), ahead: AHEAD }
    }
}

/// How long before it expires a token is replaced, at most.
const AHEAD: Duration = Duration::from_secs(60);
/// How long after a try that failed for good, or brought a token in vain, another one is made.
const REST: Duration = Duration::from_secs(60);
/// How long after a try that failed a token that lasts still is to be replaced again.
const AGAIN: Duration = Duration::from_secs(10);
const MOST_IN_VAIN: u32 = 2;
