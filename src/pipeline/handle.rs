//! A run as who started it sees it: watched, stopped, waited for.

use super::events::{Event, Events, Status};
use super::report::RunReport;
use super::task::Task;
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use std::fmt;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// A run that failed: the error, and what was done before.
#[derive(Debug)]
pub struct RunFailure {
    pub(super) error: Error,
    pub(super) others: Vec<Error>,
    pub(super) report: Box<RunReport>,
}

impl RunFailure {
    /// The first error, or that another instance has taken over.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What else failed.
    pub fn others(&self) -> &[Error] {
        &self.others
    }

    /// What was committed all the same.
    pub fn report(&self) -> &RunReport {
        &self.report
    }
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match self.others.len() {
            0 => Ok(()),
            n => write!(f, " (and {n} more errors)"),
        }
    }
}

impl std::error::Error for RunFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl From<RunFailure> for Error {
    fn from(failure: RunFailure) -> Self {
        failure.error
    }
}

/// A run that goes on in the background. Dropping it aborts the run, which is as safe as a crash.
pub struct RunHandle {
    pub(super) task: Task<Result<RunReport, RunFailure>>,
    pub(super) control: RunControl,
}

impl RunHandle {
    /// What watches and stops the run, to keep while another task waits for its end.
    pub fn control(&self) -> RunControl {
        self.control.clone()
    }

    /// As [`RunControl::status`].
    pub fn status(&self) -> Status {
        self.control.status()
    }

    /// As [`RunControl::events`].
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.control.events()
    }

    /// As [`RunControl::drain`].
    pub fn drain(&self) {
        self.control.drain();
    }

    /// As [`RunControl::abort`].
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What failed, with the report of what was committed.
    pub async fn wait(self) -> Result<RunReport, RunFailure> {
        let Self { task, control } = self;
        task.await.unwrap_or_else(|error| {
            let report = Box::new(control.report());
            Err(RunFailure { error, others: Vec::new(), report })
        })
    }
}

/// Watches and stops a run. Cheap to clone; it does not keep the run alive.
#[derive(Clone)]
pub struct RunControl {
    pub(super) stop: watch::Sender<bool>,
    pub(super) events: Events,
    pub(super) abort: AbortHandle,
    pub(super) env: Env,
    pub(super) promise: &'static str,
    pub(super) started_at: Timestamp,
}

impl RunControl {
    /// How far it has come.
    pub fn status(&self) -> Status {
        self.events.status()
    }

    /// Everything that happens from now on. A listener that is slow misses events (see
    /// [`broadcast::Receiver::recv`]); the run never waits for it.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Asks it to stop gracefully: reading ends, what was read is landed, loaded and committed. Safe to repeat. After
    /// the deadline of the settings it becomes an abort.
    pub fn drain(&self) {
        self.stop.send_replace(true);
    }

    /// Stops at once, like a crash: the next run recovers.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// What was done until it was aborted.
    fn report(&self) -> RunReport {
        RunReport::of(&self.events, self.promise, self.started_at, self.env.now(), true)
    }
}

impl fmt::Debug for RunControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunControl").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHandle").field("status", &self.status()).finish_non_exhaustive()
    }
}
