use super::super::template::Template;
use super::words::Words;
use crate::error::{Error, Result};
use crate::json::{ValuePath, json_path};
use crate::retry::Backoff;
use reqwest::Url;
use serde_json_path::JsonPath;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How an API makes an export: the request of the source creates a job, which is polled until its files can be read.
///
/// 1. *One job*: the id of a job that was created is a part of the position. After a crash it is polled on, not made again.
/// 2. *Bounded*: no more jobs than [`slots`](Self::slots) run at the same time; one that runs longer than
///    [`timeout`](Self::timeout) is aborted, and makes room.
/// 3. *Tried again*: a job that failed or took too long is made anew after a [`cooldown`](Self::cooldown), which is not waited for:
///    the read is put off. After so many [`attempts`](Self::attempts) the read fails.
/// 4. *Links are not kept*: they may hold a secret, and may not last. They are asked for again, and so is a link that is refused.
/// 5. *Cleaned up*: a job whose files were read, that took too long, or that is given up for an error for good is deleted, if it is said how.
///    A job that runs when the pipeline stops goes on: the next run polls it.
///
/// ```
/// use landfall::connectors::http::{Export, Rest};
/// use std::time::Duration;
///
/// let orders = Rest::post("https://api.example.com/v1/exports")
///     .json(serde_json::json!({"object": "orders", "format": "ndjson"}))
///     .export(
///         Export::poll("/v1/exports/{id}")
///             .id_at("$.export.id")
///             .status_at("$.export.state")
///             .download_at("$.export.files[*].url")
///             .download_origin("https://files.example.com")
///             .delete("/v1/exports/{id}")
///             .slots(2)
///             .timeout(Duration::from_secs(1_800)),
///     )
///     .records("ndjson")
///     .build()?;
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Export {
    pub(super) poll: Option<String>,
    pub(super) id: String,
    pub(super) status: Option<String>,
    pub(super) words: Words,
    pub(super) files: Option<String>,
    pub(super) rows: Option<String>,
    pub(super) download: Option<String>,
    pub(super) origins: Vec<String>,
    pub(super) delete: Option<String>,
    pub(super) abort: Option<(String, String)>,
    pub(super) slots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    pub(super) cooldown: Duration,
    pub(super) every: Backoff,
}

impl Export {
    /// A job is asked about at `url`, relative to that of the source: `{id}` stands for its id, `{name}` for a value of the
    /// partition.
    pub fn poll(url: impl Into<String>) -> Self {
        Self::new(Some(url.into()))
    }

    /// A job is asked about at the `Location` that the API answers when it is created.
    pub fn at_location() -> Self {
        Self::new(None)
    }

    fn new(poll: Option<String>) -> Self {
        Self {
            poll,
            id: "$.id".to_owned(),
            status: None,
            words: Words::default(),
            files: None,
            rows: None,
            download: None,
            origins: Vec::new(),
            delete: None,
            abort: None,
            slots: 1,
            timeout: Duration::from_secs(3_600),
            attempts: 3,
            cooldown: Duration::from_secs(60),
            every: Backoff { first: Duration::from_secs(1), factor: 2, max: Duration::from_secs(30) },
        }
    }

    /// Where the id of a job is in the answer to its creation. `$.id` by default.
    pub fn id_at(mut self, path: impl Into<String>) -> Self {
        self.id = path.into();
        self
    }

    /// Where the state of a job is in the answer to a poll. Without it the status of HTTP tells: 202 is running, 200 is done.
    pub fn status_at(mut self, path: impl Into<String>) -> Self {
        self.status = Some(path.into());
        self
    }

    /// States in which a job runs. What APIs usually say is known, until something is declared.
    pub fn running<W: Into<String>>(mut self, states: impl IntoIterator<Item = W>) -> Self {
        self.words.running.extend(states.into_iter().map(Into::into));
        self
    }

    /// States in which the files of a job can be read.
    pub fn done<W: Into<String>>(mut self, states: impl IntoIterator<Item = W>) -> Self {
        self.words.done.extend(states.into_iter().map(Into::into));
        self
    }

    /// States in which a job has failed.
    pub fn failed<W: Into<String>>(mut self, states: impl IntoIterator<Item = W>) -> Self {
        self.words.failed.extend(states.into_iter().map(Into::into));
        self
    }

    /// States that say that there was nothing to export: no rows, and no error.
    pub fn skipped<W: Into<String>>(mut self, states: impl IntoIterator<Item = W>) -> Self {
        self.words.skipped.extend(states.into_iter().map(Into::into));
        self
    }

    /// Where the links of the files, or the names that [`download`](Self::download) takes, are in the answer that says that the job is
    /// done: an RFC 9535 path to text, or to a list of it. An empty list is no rows; nothing there is an error.
    pub fn download_at(mut self, path: impl Into<String>) -> Self {
        self.files = Some(path.into());
        self
    }

    /// Reads files at `url`, relative to that of the source: `{id}` stands for the id of the job, and `{file}` for what
    /// [`download_at`](Self::download_at) finds. Without `download_at` there is one file.
    pub fn download(mut self, url: impl Into<String>) -> Self {
        self.download = Some(url.into());
        self
    }

    /// Links may also lead to this origin (scheme, host and port). Credentials and headers of the source are not sent there.
    pub fn download_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Where the answer that says that the job is done claims how many rows there are: fewer or more in the files are an error.
    pub fn rows_at(mut self, path: impl Into<String>) -> Self {
        self.rows = Some(path.into());
        self
    }

    /// Deletes a job that is no longer needed, by `DELETE` of this URL.
    pub fn delete(mut self, url: impl Into<String>) -> Self {
        self.delete = Some(url.into());
        self
    }

    /// Ends a job that still runs in another way than by [`delete`](Self::delete).
    pub fn abort(mut self, method: impl Into<String>, url: impl Into<String>) -> Self {
        self.abort = Some((method.into(), url.into()));
        self
    }

    /// Sets how many jobs of the source may run at the same time. 1 by default.
    pub fn slots(mut self, jobs: usize) -> Self {
        self.slots = jobs;
        self
    }

    /// Sets how long a job may run. 1 h by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many jobs are made at most where they fail. 3 by default.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets how long after a job that failed the next one is made. 1 min by default.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets when to poll: from 1 s on, longer each time up to 30 s, by default. An answer with `Retry-After` says it itself.
    pub fn every(mut self, backoff: Backoff) -> Self {
        self.every = backoff;
        self
    }

    /// For the record of the configuration.
    pub(in super::super) fn recorded(&self) -> serde_json::Value {
        serde_json::json!({
            "poll": self.poll, "id": self.id, "status": self.status, "states": self.words, "files": self.files,
            "rows": self.rows, "download": self.download, "origins": self.origins, "delete": self.delete, "abort": self.abort,
        })
    }

    /// The names of the places of its URLs, apart from those that it fills itself.
    pub(in super::super) fn places(&self) -> BTreeSet<String> {
        let abort = self.abort.as_ref().map(|(_, url)| url);
        let urls = [self.poll.as_ref(), self.download.as_ref(), self.delete.as_ref(), abort];
        let places = urls
            .into_iter()
            .flatten()
            .flat_map(|url| Template::parse(url).names().into_iter().map(str::to_owned).collect::<Vec<_>>());
        places.filter(|name| name != "id" && name != "file").collect()
    }

    /// Checks and prepares it.
    pub(in super::super) fn build(&self) -> Result<Exports> {
        self.words.check()?;
        if self.files.is_none() && self.download.is_none() {
            return Err(wrong("nothing says where the files of an export job are")
                .with_hint("say so with .download_at(…) or .download(…)"));
        }
        if self.slots == 0 || self.attempts == 0 || self.timeout.is_zero() {
            return Err(wrong("export jobs without a slot, an attempt or time never end"));
        }
        let names = |url: &Option<String>, name: &str| url.as_ref().is_some_and(|url| url.contains(name));
        if self.poll.is_some() && !names(&self.poll, "{id}") {
            return Err(wrong("the URL to poll an export job at does not name the job").with_hint("put {id} into it"));
        }
        if self.files.is_some() && self.download.is_some() && !names(&self.download, "{file}") {
            return Err(wrong("the URL of the files does not name the file").with_hint("put {file} into it"));
        }
        let value = |path: &String| ValuePath::parse(path);
        let json = |path: &str| {
            json_path(path).map_err(|e| wrong("the path of the files cannot be read").with("path", path).with_source(e))
        };
        let files = match &self.files {
            Some(path) => {
                let list = path.split_once("[*]").map_or(path.as_str(), |(list, _)| list);
                Some((json(path)?, json(list)?))
            }
            None => None,
        };
        let abort = match &self.abort {
            Some((method, _)) if !method.bytes().all(|b| b.is_ascii_uppercase()) || method.is_empty() => {
                return Err(wrong("the method that aborts an export job is not one of HTTP").with("method", method));
            }
            Some(abort) => Some(abort.clone()),
            None => self.delete.clone().map(|url| ("DELETE".to_owned(), url)),
        };
        Ok(Exports {
            id: value(&self.id)?,
            status: self.status.as_ref().map(value).transpose()?,
            rows: self.rows.as_ref().map(value).transpose()?,
            files,
            origins: self.origins.iter().map(|text| origin(text)).collect::<Result<_>>()?,
            abort,
            slots: Arc::new(Semaphore::new(self.slots)),
            description: self.clone(),
        })
    }
}

/// The exports of a source.
#[derive(Debug)]
pub(in super::super) struct Exports {
    pub(super) id: ValuePath,
    pub(super) status: Option<ValuePath>,
    pub(super) rows: Option<ValuePath>,
    /// The paths of the files, and of the list that may be empty.
    pub(super) files: Option<(JsonPath, JsonPath)>,
    /// Where files may be besides the origin of the source.
    pub(in super::super) origins: Vec<Url>,
    pub(super) abort: Option<(String, String)>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) description: Export,
}

impl Exports {
    /// For the record of the configuration.
    pub(in super::super) fn recorded(&self) -> serde_json::Value {
        self.description.recorded()
    }
}

fn origin(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|e| wrong("an origin of files cannot be read").with_source(e))?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
    if !plain || url.password().is_some() || url.path() != "/" || url.query().is_some() {
        return Err(wrong("an origin of files is a scheme, a host and perhaps a port"));
    }
    Ok(url)
}

fn wrong(what: &'static str) -> Error {
    Error::config("build source", what)
}
