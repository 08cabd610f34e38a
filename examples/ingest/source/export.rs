//! `[source.export]`: the request makes a job, which is polled until its files can be read.

use crate::value::Duration;
use crate::with::With;
use landfall::connectors::http;
use landfall::retry::Backoff;
use serde::Deserialize;

/// How the API makes an export. In URLs `{id}` stands for the id of the job, `{name}` for a value of the partition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Export {
    /// Where to ask about the job; without it, at the `Location` of the answer to its creation.
    poll: Option<String>,
    /// Where the id is in the answer to the creation.
    id_at: Option<String>,
    /// Where the state is in the answer to a poll; without it the status of HTTP tells.
    status_at: Option<String>,
    /// What the API calls the states; the usual words are known.
    #[serde(default)]
    running: Vec<String>,
    #[serde(default)]
    done: Vec<String>,
    #[serde(default)]
    failed: Vec<String>,
    #[serde(default)]
    skipped: Vec<String>,
    /// Where the links or the names of the files are in the answer that says that the job is done.
    download_at: Option<String>,
    /// Where to read a file; `{file}` stands for what is at `download_at`.
    download: Option<String>,
    /// Origins that links may lead to beside that of the source. Credentials are not sent there.
    #[serde(default)]
    download_origins: Vec<String>,
    /// Where the number of rows is in the answer that says that the job is done.
    rows_at: Option<String>,
    /// What to delete once the job is not needed.
    delete: Option<String>,
    /// How to end a job that runs, if not by `delete`.
    abort: Option<Abort>,
    /// Jobs at the same time.
    slots: Option<usize>,
    /// How long a job may run.
    timeout: Option<Duration>,
    /// Jobs that are made at most where they fail.
    attempts: Option<u32>,
    /// How long after a job that failed the next one is made.
    cooldown: Option<Duration>,
    /// How soon to ask first, and how long to wait at most between.
    every: Option<Every>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Abort {
    method: String,
    url: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Every {
    first: Option<Duration>,
    factor: Option<u32>,
    max: Option<Duration>,
}

impl Export {
    pub(super) fn build(&self) -> http::Export {
        let polled = self.poll.as_ref().map_or_else(http::Export::at_location, http::Export::poll);
        polled
            .running(&self.running)
            .done(&self.done)
            .failed(&self.failed)
            .skipped(&self.skipped)
            .with_some(self.id_at.as_ref(), |export, path| export.id_at(path))
            .with_some(self.status_at.as_ref(), |export, path| export.status_at(path))
            .with_some(self.download_at.as_ref(), |export, path| export.download_at(path))
            .with_some(self.download.as_ref(), |export, url| export.download(url))
            .with_all(&self.download_origins, |export, origin| export.download_origin(origin))
            .with_some(self.rows_at.as_ref(), |export, path| export.rows_at(path))
            .with_some(self.delete.as_ref(), |export, url| export.delete(url))
            .with_some(self.abort.as_ref(), |export, abort| export.abort(&abort.method, &abort.url))
            .with_some(self.slots, http::Export::slots)
            .with_some(self.timeout, |export, time| export.timeout(time.0))
            .with_some(self.attempts, http::Export::attempts)
            .with_some(self.cooldown, |export, time| export.cooldown(time.0))
            .with_some(self.every, |export, every| export.every(every.build()))
    }
}

impl Every {
    fn build(self) -> Backoff {
        let mut backoff = Backoff::default();
        backoff.first = self.first.map_or(std::time::Duration::from_secs(1), |time| time.0);
        backoff.factor = self.factor.unwrap_or(2);
        backoff.max = self.max.map_or(backoff.max, |time| time.0);
        backoff
    }
}
