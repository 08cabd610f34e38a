//! Trying again while the server is away: it restarts, fails over, refuses connections, or ends a transaction for the sake of another.
//! What is tried again has had no effect, or may be done twice. Decision: docs/adr/0029-postgres-retries.md.

use super::Postgres;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::retry::Backoff;
use std::time::Duration;

/// The first pause is soon over; while a server restarts, it is asked every few seconds.
const BACKOFF: (Duration, u32, Duration) = (Duration::from_millis(25), 4, Duration::from_secs(5));

impl Postgres {
    /// Repeats `attempt`, which is told how often it was tried before, while it fails with what may pass.
    ///
    /// # Errors
    /// The last one, when the database has been away for too long; and any other.
    ///
    /// # Cancellation
    /// Dropped, it drops the attempt under way.
    pub(super) async fn again<T, R>(&self, env: &Env, attempt: impl FnMut(u32) -> R + Send) -> Result<T>
    where
        R: Future<Output = Result<T>> + Send,
    {
        self.repeat(env, attempt, Error::is_transient).await
    }

    /// As [`again`](Self::again), also while it is not known what came of an attempt: for what has no more effect the second time.
    pub(super) async fn again_in_doubt<T, R>(&self, env: &Env, attempt: impl FnMut(u32) -> R + Send) -> Result<T>
    where
        R: Future<Output = Result<T>> + Send,
    {
        self.repeat(env, attempt, |e| e.is_transient() || e.kind() == ErrorKind::Ambiguous).await
    }

    async fn repeat<T, R>(
        &self,
        env: &Env,
        mut attempt: impl FnMut(u32) -> R + Send,
        may_pass: impl Fn(&Error) -> bool + Send + Sync,
    ) -> Result<T>
    where
        R: Future<Output = Result<T>> + Send,
    {
        let mut backoff = Backoff::default();
        (backoff.first, backoff.factor, backoff.max) = BACKOFF;
        let (mut tried, mut away_since) = (0, None);
        loop {
            let error = match attempt(tried).await {
                Ok(done) => return Ok(done),
                Err(e) if may_pass(&e) => e,
                Err(e) => return Err(e),
            };
            let now = env.monotonic();
            let away = now.saturating_sub(*away_since.get_or_insert(now));
            let pause = backoff.wait_at_least_half(tried, env.random());
            if away + pause > self.patience() {
                return Err(error.with("tries", tried + 1).with_status(Status::Exhausted));
            }
            metrics::counter!("landfall_postgres_retries_total").increment(1);
            tracing::warn!(%error, tried = tried + 1, "the database is asked again");
            env.sleep(pause).await;
            tried += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::test_env;

    /// Tries of an attempt that always fails in this way, and how long they took.
    async fn tries(patience: Duration, error: impl Fn() -> Error + Send + Sync) -> (Error, u32, Duration) {
        let database = Postgres::connect("postgresql://db/x?sslmode=disable").expect("a URL").retry_for(patience);
        database.has_answered();
        let (env, mut tried) = (test_env(3), 0);
        let failed = database.again(&env, |n| {
            tried = n + 1;
            std::future::ready(Err::<(), _>(error()))
        });
        let error = failed.await.expect_err("it always fails");
        (error, tried, env.monotonic())
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_asked_until_patience_ends_and_no_longer() {
        let away = || Error::unavailable("connect to database", "it restarts");
        let (error, tried, took) = tries(Duration::from_secs(120), away).await;
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted));
        assert!(took <= Duration::from_secs(120) && took > Duration::from_secs(110), "{took:?}");
        assert!((25..60).contains(&tried), "{tried}");
        let (_, tried, took) = tries(Duration::ZERO, away).await;
        assert_eq!((tried, took), (1, Duration::ZERO));
    }

    #[tokio::test]
    async fn what_does_not_pass_is_tried_once_and_what_is_in_doubt_only_where_it_may_be() {
        for kind in [ErrorKind::Config, ErrorKind::Auth, ErrorKind::Ambiguous] {
            let (error, tried, _) = tries(Duration::from_secs(120), || Error::new(kind, "commit rows", "no")).await;
            assert_eq!((error.kind(), tried), (kind, 1));
        }
        let database = Postgres::connect("postgresql://db/x?sslmode=disable").expect("a URL");
        let doubt = |n| async move {
            match n {
                0 => Err(Error::new(ErrorKind::Ambiguous, "commit rows", "no answer")),
                n => Ok(n),
            }
        };
        assert_eq!(database.again_in_doubt(&test_env(3), doubt).await.expect("the second try"), 1);
    }

    #[tokio::test]
    async fn the_first_retry_comes_within_50_milliseconds() {
        let (_, tried, took) =
            tries(Duration::from_millis(50), || Error::unavailable("connect to database", "it restarts")).await;
        assert!(tried >= 2 && took <= Duration::from_millis(50), "{tried} in {took:?}");
    }
}
