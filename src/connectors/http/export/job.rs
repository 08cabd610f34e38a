use super::super::fetch::{Asked, Fetcher, Outcome};
use super::super::read::Scope;
use super::super::request::{Content, Request};
use super::super::template::{Template, path_segment};
use super::describe::Exports;
use super::words::State;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::{Proof, Timestamp};
use reqwest::header::LOCATION;
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The job of a read, as a part of its position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Job {
    /// What the API calls it; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// Jobs before it that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    failed: u32,
    /// When the next one may be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What an export needs next.
pub(in super::super) enum Step {
    /// Nothing: its files can be read.
    Ready,
    /// The job has changed: its position is to be kept, and then comes the next step.
    Keep,
    /// To be kept, and gone on with at that time.
    PutOff(Option<Timestamp>),
    /// Nothing: there are no rows.
    Nothing,
    /// The API refuses to make a job.
    Refused(Error),
    /// The API does not know the job any more.
    Gone(Error),
    /// The API does not go back to the bound of the read.
    TooOld(Error),
    /// No more jobs: nothing of this read counts as done.
    GiveUp(Error),
}

/// The export that one read makes.
pub(in super::super) struct Export<'a> {
    scope: &'a Scope<'a>,
    exports: &'a Exports,
    /// One of those jobs that may run at the same time is ours.
    slot: Option<OwnedSemaphorePermit>,
    files: Option<Files>,
    /// The links were asked for again, and no file was read since.
    renewed: bool,
}

struct Files {
    urls: Vec<Url>,
    rows: Option<u64>,
}

impl<'a> Export<'a> {
    pub(in super::super) fn new(scope: &'a Scope<'a>, exports: &'a Exports) -> Self {
        Self { scope, exports, slot: None, files: None, renewed: false }
    }

    /// Moves the job on: creates it with `create`, or polls it until its files can be read.
    pub(in super::super) async fn step(
        &mut self,
        fetcher: &mut Fetcher<'_>,
        create: &Request,
        job: &mut Option<Job>,
    ) -> Result<Step> {
        if self.files.is_some() {
            return Ok(Step::Ready);
        }
        let job = job.get_or_insert_default();
        if job.not_before.is_some_and(|at| at > self.scope.env.now()) {
            return Ok(Step::PutOff(job.not_before));
        }
        if self.slot.is_none() {
            let slots = Arc::clone(&self.exports.slots);
            let slot = fetcher.unless_stopped(async {
                slots.acquire_owned().await.map_err(|_| Error::bug("create job", "the slots are closed"))
            });
            self.slot = Some(slot.await?);
        }
        match job.id.clone() {
            None => self.create(fetcher, create, job).await,
            Some(id) => self.poll(fetcher, create, job, &id).await,
        }
    }

    async fn create(&mut self, fetcher: &mut Fetcher<'_>, create: &Request, job: &mut Job) -> Result<Step> {
        let asked = match fetcher.ask(create).await? {
            Outcome::Whole(asked) => *asked,
            Outcome::PutOff { until } => return Ok(Step::PutOff(until)),
            Outcome::Ignored(_) | Outcome::NotModified => return Ok(Step::Nothing),
            Outcome::CursorTooOld(error) => return Ok(Step::TooOld(error)),
            Outcome::Refused(error) | Outcome::PageExpired(error) => return Ok(Step::Refused(error)),
        };
        let id = match &self.exports.description.poll {
            Some(_) => self.exports.id(&asked.body)?,
            None => {
                let location = asked.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let location = location
                    .ok_or_else(|| Error::data("create job", "the answer has no `Location` to poll the job at"))?;
                let origins = self.scope.rest.client.origins();
                origins.kept(&asked.signature.stripped(origins.resolve(&asked.url, location)?))
            }
        };
        if asked.signature.is_in(&id) {
            return Err(Error::data("create job", "the id of the job holds a secret, and would be kept"));
        }
        tracing::debug!(partition = %self.scope.partition.id, job = %id, "export job created");
        *job = Job { id: Some(id), created: Some(self.scope.env.now()), failed: job.failed, not_before: None };
        Ok(Step::Keep)
    }

    async fn poll(&mut self, fetcher: &mut Fetcher<'_>, create: &Request, job: &mut Job, id: &str) -> Result<Step> {
        let env = self.scope.env;
        let request = match &self.exports.description.poll {
            Some(url) => self.request(create, Method::GET, url, id, "")?,
            None => self.at(create, Method::GET, self.scope.rest.client.origins().resolve(create.url(), id)?),
        };
        for polls in 0.. {
            let asked = match fetcher.ask(&request).await? {
                Outcome::Whole(asked) => *asked,
                Outcome::PutOff { until } => return Ok(Step::PutOff(until)),
                Outcome::Ignored(_) | Outcome::NotModified => return Ok(Step::Nothing),
                Outcome::Refused(error) | Outcome::PageExpired(error) | Outcome::CursorTooOld(error) => {
                    return Ok(Step::Gone(error));
                }
            };
            let report = self.exports.report(asked.status, &asked.body)?;
            match report.state {
                State::Running => {
                    let age = job.created.map(|created| env.now().saturating_since(created)).unwrap_or_default();
                    let left = self.exports.description.timeout.saturating_sub(age);
                    if left.is_zero() {
                        let error = Error::unavailable("poll job", "the export job takes too long")
                            .with("timeout_seconds", self.exports.description.timeout.as_secs_f64());
                        self.abort(fetcher, create, Some(job)).await;
                        return Ok(self.failed(job, error.with("job", id)));
                    }
                    let every = self.exports.description.every;
                    let told = asked.wait(&self.scope.rest.rules, env.now());
                    let wait = told.unwrap_or_else(|| every.wait_at_least_half(polls, env.random()));
                    fetcher.sleep(wait.min(left)).await?;
                }
                State::Failed => {
                    let error = Error::unavailable("poll job", "the export job failed").with("job", id);
                    return Ok(self.failed(job, error));
                }
                State::Skipped => {
                    self.slot = None;
                    return Ok(Step::Nothing);
                }
                State::Done => {
                    self.slot = None;
                    let urls = self.urls(create, &asked, id, &report.files)?;
                    let is_empty = urls.is_empty();
                    self.files = Some(Files { urls, rows: report.rows });
                    return Ok(if is_empty { Step::Nothing } else { Step::Ready });
                }
            }
        }
        Err(Error::bug("poll job", "polled without end"))
    }

    /// The job failed: another one later, if there may be one.
    fn failed(&mut self, job: &mut Job, error: Error) -> Step {
        self.slot = None;
        let description = &self.exports.description;
        let failed = job.failed + 1;
        if failed >= description.attempts {
            return Step::GiveUp(error.with("jobs", failed).with_status(Status::Exhausted));
        }
        let not_before = Some(self.scope.env.now().saturating_add(description.cooldown));
        tracing::warn!(partition = %self.scope.partition.id, %error, "another export job is made later");
        *job = Job { failed, not_before, ..Job::default() };
        Step::PutOff(not_before)
    }

    fn urls(&self, create: &Request, asked: &Asked, id: &str, files: &[String]) -> Result<Vec<Url>> {
        let url = |file: &String| match &self.exports.description.download {
            Some(url) => self.url(create, url, id, file),
            None => self.scope.rest.client.origins().resolve(&asked.url, file),
        };
        files.iter().map(url).collect()
    }

    /// The request of the file `number`, from 0.
    ///
    /// # Errors
    /// `Data` if there are not so many.
    pub(in super::super) fn file(&self, create: &Request, job: Option<&Job>, number: u64) -> Result<Request> {
        let url = self.files.as_ref().and_then(|files| files.urls.get(usize::try_from(number).ok()?));
        let url = url.ok_or_else(|| {
            Error::data("read page", "the job has fewer files than were read of it").with("files", number)
        })?;
        let id = job.and_then(|job| job.id.as_deref()).unwrap_or_default();
        // A link may be a secret by itself.
        let shown = format!("GET file {number} of job {id}");
        Ok(self.at(create, Method::GET, url.clone()).shown_as(shown))
    }

    /// How the read ends, if `read` files were read of those that there are.
    pub(in super::super) fn end(&self, read: u64) -> Option<Proof> {
        let files = self.files.as_ref().map_or(0, |files| files.urls.len() as u64);
        (read >= files).then_some(Proof::AllFiles(files))
    }

    /// How many rows the API claims.
    pub(in super::super) fn rows(&self) -> Option<u64> {
        self.files.as_ref().and_then(|files| files.rows)
    }

    /// A file was read.
    pub(in super::super) fn was_read(&mut self) {
        self.renewed = false;
    }

    /// Whether `error` may come of a link that does not last: then the links are asked for again, once.
    pub(in super::super) fn renews(&mut self, error: &Error) -> bool {
        let refused = matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config);
        let renews = self.files.is_some() && refused && !self.renewed;
        if renews {
            self.files = None;
            self.renewed = true;
        }
        renews
    }

    /// Its files were read: the API need not keep it.
    pub(in super::super) async fn clean_up(&self, fetcher: &mut Fetcher<'_>, create: &Request, job: Option<&Job>) {
        let Some(url) = &self.exports.description.delete else { return };
        self.tell(fetcher, create, job, &Method::DELETE, url).await;
    }

    /// Nobody waits for it any more.
    pub(in super::super) async fn abort(&self, fetcher: &mut Fetcher<'_>, create: &Request, job: Option<&Job>) {
        let Some((method, url)) = &self.exports.abort else { return };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
        self.tell(fetcher, create, job, &method, url).await;
    }

    /// What comes of it changes nothing for the rows.
    async fn tell(&self, fetcher: &mut Fetcher<'_>, create: &Request, job: Option<&Job>, method: &Method, url: &str) {
        let Some(id) = job.and_then(|job| job.id.as_deref()) else { return };
        let told = match self.request(create, method.clone(), url, id, "") {
            Ok(request) => fetcher.ask(&request).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(Outcome::Whole(_)) => {}
            Ok(Outcome::PutOff { .. }) => tracing::warn!(job = id, "the export job is left to the API"),
            Ok(Outcome::Ignored(_) | Outcome::NotModified) => {}
            Ok(Outcome::Refused(error) | Outcome::PageExpired(error) | Outcome::CursorTooOld(error)) | Err(error) => {
                tracing::warn!(job = id, %error, "the export job is left to the API");
            }
        }
    }

    fn request(&self, create: &Request, method: Method, url: &str, id: &str, file: &str) -> Result<Request> {
        Ok(self.at(create, method, self.url(create, url, id, file)?))
    }

    fn at(&self, create: &Request, method: Method, url: Url) -> Request {
        Request::new(method, url, create.headers().clone(), Content::None)
    }

    fn url(&self, create: &Request, url: &str, id: &str, file: &str) -> Result<Url> {
        let mut values = self.scope.rest.values_of(self.scope.partition)?;
        values.insert("id".to_owned(), id.to_owned());
        values.insert("file".to_owned(), file.to_owned());
        let url = Template::parse(url).fill(&values, path_segment)?;
        self.scope.rest.client.origins().resolve(create.url(), &url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_frozen() {
        let at = |text| Some(Timestamp::parse(text).expect("a time"));
        let running = Job { id: Some("a/1".into()), created: at("2024-01-01T00:00:00Z"), failed: 0, not_before: None };
        let failed = Job { id: None, created: None, failed: 2, not_before: at("2024-01-01T00:01:00Z") };
        for (job, frozen) in [
            (Job::default(), "{}"),
            (running, r#"{"id":"a/1","created":"2024-01-01T00:00:00Z"}"#),
            (failed, r#"{"failed":2,"not_before":"2024-01-01T00:01:00Z"}"#),
        ] {
            assert_eq!(serde_json::to_string(&job).expect("JSON"), frozen);
            assert_eq!(serde_json::from_str::<Job>(frozen).expect("a job"), job);
        }
    }
}
