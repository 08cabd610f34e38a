//! The one place where time, sleep, randomness and CPU work come from, so that a test can own them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::env::Env;
//! use std::time::Duration;
//!
//! let env = Env::system();
//! let began = env.monotonic();
//! env.sleep(Duration::from_millis(1)).await;
//! let sum = env.cpu("add up", || (1..=10).sum::<u64>()).await?; // beside the I/O
//! assert!(sum == 55 && env.monotonic() > began);
//! # Ok(())
//! # }
//! ```

pub mod watch;

use crate::defects::carried;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time and sleep.
pub trait Clock: Send + Sync + Debug + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point; never goes back. What several pipelines share (a rate budget, a limit of calls) takes
    /// the clocks of all of them for one: those of [`Env::system`] are.
    fn monotonic(&self) -> Duration;
    /// Completes when `duration` has passed. Dropping it is safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Randomness.
pub trait Entropy: Send + Sync + Debug + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}

/// Where CPU work runs.
#[derive(Clone)]
enum Cpu {
    Inline,
    Pool(Arc<tokio::sync::Semaphore>),
}

/// Time, randomness and CPU of a pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cpu: Cpu,
    cores: usize,
}

impl Env {
    /// The system's clock and randomness; CPU work on tokio's blocking threads, as many at a time as there are cores.
    pub fn system() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            cpu: Cpu::Pool(Arc::new(tokio::sync::Semaphore::new(cores))),
            cores,
        }
    }

    /// The given clock and randomness; CPU work runs inline, so that one seed gives one history.
    pub fn deterministic(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, cpu: Cpu::Inline, cores: 1 }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time since some fixed point; never goes back.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Waits. Cancel-safe.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// The next 64 random bits.
    pub fn random(&self) -> u64 {
        self.entropy.next_u64()
    }

    /// 128 random bits in 32 hexadecimal digits: a nonce or an incarnation.
    pub fn nonce(&self) -> String {
        format!("{:016x}{:016x}", self.random(), self.random())
    }

    /// How many pieces of CPU work can run at the same time; at least 1.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Runs CPU work beside the I/O. A panic in it becomes an error of kind `Bug` that says `operation`.
    ///
    /// Cancellation: if the future is dropped the work still runs to its end, and its result is dropped.
    pub async fn cpu<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match &self.cpu {
            Cpu::Inline => catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(operation, panic.as_ref())),
            Cpu::Pool(permits) => {
                let permit = Arc::clone(permits).acquire_owned().await;
                let (span, work) = (tracing::Span::current(), carried(work));
                let task = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    span.in_scope(work)
                });
                task.await.map_err(|e| not_joined(operation, e))
            }
        }
    }

    /// Runs work off the async threads at once, however many cores are busy (inline in deterministic environments): file
    /// system work, and short CPU work that a peer waits for. A panic in it becomes an error of kind `Bug` that says
    /// `operation`.
    pub async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match &self.cpu {
            Cpu::Inline => self.cpu(operation, work).await,
            Cpu::Pool(_) => tokio::task::spawn_blocking(carried(work)).await.map_err(|e| not_joined(operation, e)),
        }
    }
}

impl Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("clock", &self.clock).field("entropy", &self.entropy).finish_non_exhaustive()
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}

/// Why a task gave no result.
pub(crate) fn not_joined(operation: &'static str, error: tokio::task::JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => panicked(operation, panic.as_ref()),
        Err(_) => Error::cancelled(operation),
    }
}

/// What a panic said, as an error of kind `Bug`.
pub(crate) fn panicked(operation: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let said = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::bug(operation, "panicked").with("panic", said)
}

/// The machine's clock, and tokio's timer.
#[derive(Debug)]
struct SystemClock;

/// The moment that all system clocks of the process count from.
static START: OnceLock<tokio::time::Instant> = OnceLock::new();

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_system(std::time::SystemTime::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn monotonic(&self) -> Duration {
        START.get_or_init(tokio::time::Instant::now).elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// The operating system's randomness.
#[derive(Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the injected randomness")]
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("getrandom fails only where the machine has no randomness, and nothing is safe there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_panic_beside_the_async_threads_is_a_bug_that_says_where() {
        let work = || -> u32 { panic!("of course") };
        let env = Env::system();
        for error in [env.cpu("encode", work).await, env.blocking("sync file", work).await] {
            let error = error.expect_err("it panics");
            assert_eq!(error.kind(), ErrorKind::Bug);
            assert!(error.to_string().contains("of course"), "{error}");
        }
    }
}
