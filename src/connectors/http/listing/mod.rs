//! One listing: from page to page, until something shows the end.

mod again;
mod ahead;
mod cover;
mod cut;
mod job;
mod moving;
mod take;

use super::export::{Job, Running};
use super::fetch::{Fetcher, Head, Outcome};
use super::incremental::{Bounds, CursorValue, Order, RowOrder};
use super::loop_guard::LoopGuard;
use super::pagination::{At, Claims};
use super::position::{Reading, RestPosition, Stand};
use super::read::Scope;
use super::request::Request;
use super::validators::Validators;
use super::windows::Interval;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::{Coverage, Page, Proof, StopReason, Tally};
use ahead::Ahead;
use job::Prepared;

/// A listing that is being read: the whole partition, or a window of it.
pub(super) struct Listing<'a> {
    scope: &'a Scope<'a>,
    fetcher: Fetcher<'a>,
    /// The bound that this read began with.
    since: Option<CursorValue>,
    reading: Reading,
    /// The read goes on where an earlier one stopped, and has not brought a page yet.
    resumed: bool,
    guard: LoopGuard,
    /// What is asked for ahead, and what the API claimed last.
    ahead: Ahead<'a>,
    claims: Claims,
    /// What was handed over by other fetchers.
    tally: Tally,
    /// It was said what is covered.
    covered: bool,
    /// A position is handed over that knows that this window was begun.
    is_known: bool,
    /// Hashes of the pages of the pass before and of this one, as far as this run has read them.
    passed: Vec<u64>,
    passing: Vec<u64>,
    /// The job whose files are the pages.
    export: Option<Running<'a>>,
    /// A job that is not gone on with: the API need not keep it.
    left: Option<Job>,
    /// The bound was too old, and the policy for that has been followed.
    moved: bool,
    /// What tells this response from the one that was read last.
    validators: Option<Validators>,
    /// How often the API has forgotten a page of this read.
    resets: u32,
    /// Pages of this run.
    pages: u64,
    /// The order of the cursor values of this run.
    order: Order,
    /// Records whose cursor value is later than the read; of the type of the bound; of another one.
    future: u64,
    of_type: u64,
    of_another: u64,
}

impl<'a> Listing<'a> {
    /// Begins, or goes on at `kept`. `since` is the bound that complete reads have left; of a window it has none.
    pub(super) fn begin(
        scope: &'a Scope<'a>,
        since: Option<CursorValue>,
        window: Option<Interval>,
        kept: Option<Reading>,
    ) -> Result<Self> {
        let mut listing = Self {
            scope,
            fetcher: Fetcher::new(scope)?,
            since,
            reading: Reading { window, ..Reading::default() },
            resumed: kept.is_some(),
            guard: LoopGuard::new(None, 0),
            ahead: Ahead::default(),
            claims: Claims::default(),
            tally: Tally::default(),
            covered: false,
            is_known: false,
            passed: Vec::new(),
            passing: Vec::new(),
            export: scope.rest.exports.as_ref().map(|exports| Running::new(scope, exports)),
            left: None,
            moved: false,
            validators: None,
            resets: 0,
            pages: 0,
            order: Order::default(),
            future: 0,
            of_type: 0,
            of_another: 0,
        };
        listing.is_known = kept.is_some();
        listing.reading = kept.unwrap_or_else(|| listing.beginning());
        listing.fetcher.window = listing.reading.window.map(Interval::told);
        if let Some(cut) = &listing.reading.cut {
            listing.since = Some(cut.clone());
        }
        let plan = listing.plan()?;
        if listing.reading.plan.is_some_and(|kept| kept != plan) {
            // Page 5 of 1,000 records each is not page 5 of 100.
            tracing::warn!(
                partition = %scope.partition.id, pages = listing.reading.pages,
                "the request or the pagination has changed in the middle of a read, begins again"
            );
            listing.resumed = false;
            listing.left = listing.reading.job.take();
            listing.reading = listing.beginning();
        }
        listing.set_out()?;
        Ok(listing)
    }

    /// Lets listings go first that keep data fresh.
    pub(super) fn giving_way(mut self) -> Self {
        self.fetcher.gives_way();
        self
    }

    /// The window that it lists, if not the whole partition.
    pub(super) fn window(&self) -> Option<Interval> {
        self.reading.window
    }

    /// Gives how it ended, and whether it is said what is covered of it.
    pub(super) async fn run(mut self) -> (Result<StopReason>, bool) {
        let end = self.read().await;
        let is_said = self.cover_open_window(&end).await;
        (end, is_said)
    }

    async fn read(&mut self) -> Result<StopReason> {
        loop {
            if self.fetcher.is_cancelled() {
                return Ok(StopReason::Cancelled);
            }
            match self.prepare().await {
                Ok(None) => {}
                Ok(Some(Prepared::Again)) => continue,
                Ok(Some(Prepared::End(reason))) => return Ok(reason),
                Err(error) => {
                    let error = self.fetcher.cleaned(error);
                    return Err(self.told(error).await);
                }
            }
            if self.reading.expires.is_some_and(|expires| expires <= self.scope.env.now()) && self.resets < MOST_RESETS
            {
                self.resets += 1;
                self.begin_again(&Error::unavailable("go on", "the token of the next page has expired"))?;
            }
            let mut request = match self.page_request(&self.reading.at, self.reading.pages) {
                Ok(request) => request,
                // The job is not what it was.
                Err(error) if self.resumed && self.export.is_some() => {
                    self.begin_again(&error)?;
                    continue;
                }
                Err(error) => return Err(self.told(error).await),
            };
            if let Some(validators) = &self.validators {
                validators.put_on(&mut request)?;
            }
            let error = match self.fetch(&request).await {
                Ok(Outcome::PutOff { until }) => return Ok(StopReason::RateLimited { until }),
                Ok(Outcome::Whole(fetched)) => match self.take(*fetched, &request).await {
                    Ok(Some(reason)) => return Ok(reason),
                    Ok(None) => {
                        self.resumed = false;
                        continue;
                    }
                    Err(error) => self.fetcher.cleaned(error),
                },
                Ok(Outcome::Refused(error)) if self.resumed && self.export.is_none() => {
                    self.begin_again(&error)?;
                    continue;
                }
                Ok(Outcome::CursorTooOld(error)) => {
                    self.begin_where_the_api_can(error)?;
                    continue;
                }
                Ok(Outcome::Refused(error)) if self.is_gone(&error) => {
                    self.begin_where_the_api_can(error)?;
                    continue;
                }
                Ok(Outcome::PageExpired(error)) if self.reading.at != At::First && self.resets < MOST_RESETS => {
                    self.resets += 1;
                    self.begin_again(&error)?;
                    continue;
                }
                Ok(Outcome::NotModified) => return Ok(StopReason::Exhausted(Proof::NotModified)),
                Ok(Outcome::Ignored(why)) => {
                    // The bound stays: what turns up here later is not passed over.
                    self.advance(Stand::Start).await?;
                    return Ok(StopReason::Ignored(why));
                }
                // What follows a page is refused: some APIs end a listing like this.
                Ok(Outcome::Refused(error)) if self.reading.pages > 0 && error.hint().is_none() => error.with_hint(
                    "if the API means that the listing has ended, say so with a rule that ignores this status",
                ),
                Ok(Outcome::Refused(error) | Outcome::PageExpired(error)) | Err(error) => error,
            };
            if self.export.as_mut().is_some_and(|export| export.renews(&error)) {
                tracing::debug!(%error, "the link of a file is refused; the links are asked for again");
                continue;
            }
            // Some APIs say with status 200 that they have forgotten a page.
            if !(self.resumed && error.kind() == ErrorKind::Data && error.status() == Status::Permanent) {
                return Err(self.told(error).await);
            }
            self.begin_again(&error)?;
        }
    }

    /// The error that the read ends with. A job that nobody goes on with is aborted.
    async fn told(&mut self, error: Error) -> Error {
        if error.status() == Status::Permanent && error.kind() != ErrorKind::Cancelled {
            self.leave_job(true).await;
        }
        let error =
            error.with("api", self.scope.rest.client.origins().own()).with("partition", &self.scope.partition.id);
        error.with("pages_before", self.reading.pages)
    }

    fn request(&self, at: &At) -> Result<Request> {
        let mut request = self.scope.rest.request(self.scope.partition, &self.bounds())?;
        self.scope.rest.paginate.request(at, &mut request)?;
        Ok(request)
    }

    /// Asks only for what has changed since `kept`, if the request is still the same.
    pub(super) fn unless_matching(mut self, kept: Option<Validators>) -> Self {
        self.validators = kept.filter(|kept| self.scope.rest.conditional && self.reading.plan == Some(kept.plan));
        self
    }

    fn validators_of(&self, head: &Head) -> Result<Option<Validators>> {
        if !self.scope.rest.conditional {
            return Ok(None);
        }
        let validators = Validators::of(&head.headers, self.plan()?);
        Ok(validators.filter(|validators| !validators.texts().any(|text| head.signature.is_in(text))))
    }

    fn bounds(&self) -> Bounds {
        Bounds { since: self.since.clone(), window: self.reading.window, until: self.reading.until }
    }

    fn beginning(&self) -> Reading {
        let now = self.scope.env.now();
        let window = self.reading.window;
        let since = self.scope.rest.since.as_ref().filter(|_| window.is_none());
        Reading {
            window,
            began: Some(now),
            until: since.and_then(|(since, _)| since.frozen(now)),
            ..Reading::default()
        }
    }

    /// The first request, with the bounds of this read, and how the listing is cut into pages.
    fn plan(&self) -> Result<u64> {
        let first = self.request(&At::First)?.identity();
        let pages = match &self.scope.rest.exports {
            Some(exports) => exports.recorded(),
            None => self.scope.rest.paginate.describe(),
        };
        let plan = format!("{first}\n{pages}");
        Ok(xxhash_rust::xxh3::xxh3_64(plan.as_bytes()))
    }

    /// Hands over a page, and where the listing stands after it.
    async fn emit(&mut self, page: impl Into<Option<Page>>, stand: Stand) -> Result<()> {
        let Some(page) = page.into() else { return self.advance(stand).await };
        let scope = self.scope;
        let mut position = scope.position.lock().await;
        if matches!(stand, Stand::Done(_)) {
            position.validators = self.validators.take();
        }
        self.stand(&mut position, stand);
        self.fetcher.out.emit(page, &position).await?;
        self.is_known = true;
        Ok(())
    }

    /// Moves the listing without a page.
    async fn advance(&mut self, stand: Stand) -> Result<()> {
        let scope = self.scope;
        let mut position = scope.position.lock().await;
        self.stand(&mut position, stand);
        self.fetcher.out.advance(&position).await?;
        self.is_known = true;
        Ok(())
    }

    /// Moves the listing in `position`, and says what follows for the windows of the partition.
    fn stand(&mut self, position: &mut RestPosition, stand: Stand) {
        let partition = || self.scope.partition.id.clone();
        let is_done = matches!(stand, Stand::Done(_)) && self.reading.window.is_some();
        for window in position.put(&self.reading, stand) {
            self.fetcher.out.cover(Coverage::withdrawn(partition(), window.told()));
        }
        if is_done {
            let windows = self.scope.completed();
            if position.windows.as_ref().is_some_and(|ledger| ledger.gaps.is_empty()) {
                let reason = StopReason::Exhausted(Proof::AllWindows(windows));
                self.fetcher.out.cover(Coverage::windows(partition(), reason, Vec::new()));
            }
        }
    }

    /// Prepares for the first request of this run.
    fn set_out(&mut self) -> Result<()> {
        // What comes again from the first page on is no sign of another order.
        self.order = Order::default();
        (self.ahead, self.claims) = (Ahead::default(), Claims::default());
        self.reading.plan = Some(self.plan()?);
        self.guard = LoopGuard::new(self.reading.mark, self.scope.env.random());
        self.fetcher.look.seed = self.guard.seed();
        self.fetcher.columns.clone_from(&self.reading.columns);
        if let Some((since, _)) = &self.scope.rest.since {
            self.fetcher.look.known = since.known(&self.bounds(), self.reading.began)?;
        }
        let first = self.request(&self.reading.at)?;
        let identity = self.identity(&first);
        self.guard.request(&identity);
        Ok(())
    }

    fn row_order(&self) -> Option<RowOrder> {
        self.scope.rest.since.as_ref().and_then(|(since, _)| since.order())
    }

    /// The API contradicts itself: what came is landed, and the next read begins again.
    async fn contradicted(&mut self, page: impl Into<Option<Page>>, error: Error) -> Result<Option<StopReason>> {
        self.emit(page, Stand::Start).await?;
        Err(error)
    }
}

/// The later of two cursor values.
fn later(one: Option<CursorValue>, other: Option<CursorValue>) -> Result<Option<CursorValue>> {
    match (one, other) {
        (Some(one), Some(other)) => one.later(other).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// Times that a listing begins again because the API has forgotten a page.
const MOST_RESETS: u32 = 3;
