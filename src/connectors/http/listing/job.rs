//! A listing whose pages are the files of an export job.

use super::Listing;
use crate::connectors::http::export::{Running, Step as JobStep};
use crate::connectors::http::pagination::{At, differs};
use crate::connectors::http::position::Stand;
use crate::connectors::http::request::Request;
use crate::error::Result;
use crate::model::{Proof, StopReason};

/// What came of preparing the pages.
pub(super) enum Prepared {
    /// They are to be prepared further.
    Again,
    End(StopReason),
}

impl Listing<'_> {
    /// Moves the export on until its files can be read, if there is one.
    pub(super) async fn prepare(&mut self) -> Result<Option<Prepared>> {
        let Some(mut export) = self.export.take() else { return Ok(None) };
        let create = self.request(&At::First)?;
        if let Some(job) = self.left.take() {
            export.clean_up(&mut self.fetcher, &create, Some(&job)).await;
        }
        let step = export.step(&mut self.fetcher, &create, &mut self.reading.job).await;
        self.export = Some(export);
        Ok(Some(match step? {
            JobStep::Ready => return Ok(None),
            JobStep::Keep => {
                self.advance(Stand::Here).await?;
                Prepared::Again
            }
            JobStep::PutOff(until) => {
                self.advance(Stand::Here).await?;
                Prepared::End(StopReason::RateLimited { until })
            }
            JobStep::Nothing => {
                if let Some(rows) = self.export.as_ref().and_then(Running::rows).filter(|rows| *rows > 0) {
                    self.advance(Stand::Start).await?;
                    return Err(differs(rows, 0));
                }
                self.advance(Stand::Done(self.since.clone())).await?;
                self.leave_job(false).await;
                Prepared::End(StopReason::Exhausted(Proof::AllFiles(0)))
            }
            JobStep::Gone(error) if self.resumed => {
                self.reading.job = None;
                self.begin_again(&error)?;
                Prepared::Again
            }
            JobStep::Refused(error) if self.is_gone(&error) => {
                self.begin_where_the_api_can(error)?;
                Prepared::Again
            }
            JobStep::TooOld(error) => {
                self.begin_where_the_api_can(error)?;
                Prepared::Again
            }
            JobStep::Refused(error) | JobStep::Gone(error) => return Err(error),
            JobStep::GiveUp(error) => {
                self.advance(Stand::Start).await?;
                return Err(error);
            }
        }))
    }

    /// The job is not needed any more.
    pub(super) async fn leave_job(&mut self, is_running: bool) {
        let (Some(export), Ok(create)) = (&self.export, self.request(&At::First)) else { return };
        let job = self.reading.job.as_ref();
        if is_running {
            export.abort(&mut self.fetcher, &create, job).await;
        } else {
            export.clean_up(&mut self.fetcher, &create, job).await;
        }
    }

    /// The request of the page at `at`, after so many `pages`.
    pub(super) fn page_request(&self, at: &At, pages: u64) -> Result<Request> {
        match &self.export {
            Some(export) => export.file(&self.request(&At::First)?, self.reading.job.as_ref(), pages),
            None => self.request(at),
        }
    }
}
