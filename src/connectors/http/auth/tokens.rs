//! A token that is obtained when it is needed, once for all that wait for it, and again before it expires or when it is refused.

use super::{Answered, Endpoints, Reaction, Signature};
use crate::env::not_joined;
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
    failure: Option<(ErrorKind, Status, String)>,
}

#[derive(Debug)]
struct Current {
    token: SecretString,
    /// When to replace it, and when it ends, on the monotonic clock.
    stale_at: Option<Duration>,
    ends_at: Option<Duration>,
    refused: bool,
}

impl Tokens {
    /// A token that is valid now, obtained with `grant` if there is none.
    ///
    /// Cancel-safe: what was begun goes on, and the next call takes its result.
    pub(super) async fn token(&self, grant: &impl Grant, endpoints: &Endpoints) -> Result<SecretString> {
        let before = self.tries.load(Ordering::SeqCst);
        let state = Arc::clone(&self.state).lock_owned().await;
        let now = endpoints.env().monotonic();
        if let Some(current) = state.current.as_ref().filter(|c| !c.refused && c.stale_at.is_none_or(|at| now < at)) {
            return Ok(current.token.clone());
        }
        // Whoever waited for a try that failed shares its failure.
        if let Some((kind, status, text)) = &state.failure {
            if self.tries.load(Ordering::SeqCst) != before {
                return Err(Error::new(*kind, "obtain token", text.clone()).with_status(*status));
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
                // A short life is used for the most part.
                let ahead = lifetime.map(|lifetime| self.ahead.min(lifetime / 4)).unwrap_or_default();
                let ends_at = lifetime.map(|lifetime| asked_at.saturating_add(lifetime));
                let stale_at = ends_at.map(|at| at.saturating_sub(ahead));
                state.current = Some(Current { token: token.clone(), stale_at, ends_at, refused: false });
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
                    return Ok(current.token.clone());
                }
                state.failure = Some((error.kind(), error.status(), error.to_string()));
                Err(error)
            }
        }
    }

    /// Hears of an answer to a request that was signed with a token.
    pub(super) async fn answered(&self, signature: &Signature, answer: &Answered<'_>) -> Result<Reaction> {
        if !answer.is_refused() {
            return Ok(Reaction::Keep);
        }
        let mut state = self.state.lock().await;
        // If it has been replaced meanwhile, the refusal is of the one before.
        if let Some(current) = state.current.as_mut().filter(|current| signature.holds(&current.token)) {
            current.refused = true;
        }
        Ok(Reaction::Renewed)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { state: Arc::default(), tries: Arc::default(), ahead: AHEAD }
    }
}

/// How long before it expires a token is replaced, at most.
const AHEAD: Duration = Duration::from_secs(60);
