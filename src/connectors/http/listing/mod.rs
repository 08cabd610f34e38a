//! One listing: from page to page, until something shows the end.

mod again;
mod ahead;
mod cover;
mod cut;
mod job;
mod moving;

use super::drift::{Next, Place, never_still};
use super::export::Running;
use super::fetch::{Fetched, Fetcher, Head, Outcome};
use super::incremental::{Bounds, CursorValue, Highest, Order, RowOrder};
use super::loop_guard::LoopGuard;
use super::pagination::{Answer, At, Claims, Step, differs};
use super::position::{Reading, Stand};
use super::read::Scope;
use super::request::Request;
use super::validators::Validators;
use super::windows::Interval;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::{Page, Proof, StopReason, Tally};
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
    /// Records of the largest page of this run.
    largest: u64,
    /// Hashes of the pages of the pass before and of this one, as far as this run has read them.
    passed: Vec<u64>,
    passing: Vec<u64>,
    /// The job whose files are the pages.
    export: Option<Running<'a>>,
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
            largest: 0,
            passed: Vec::new(),
            passing: Vec::new(),
            export: scope.rest.exports.as_ref().map(|exports| Running::new(scope, exports)),
            moved: false,
            validators: None,
            resets: 0,
            pages: 0,
            order: Order::default(),
            future: 0,
            of_type: 0,
            of_another: 0,
        };
        listing.reading = kept.unwrap_or_else(|| listing.beginning());
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

    pub(super) async fn run(mut self) -> Result<StopReason> {
        let end = self.read().await;
        self.cover_open_window(&end);
        end
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
                Err(error) => return Err(self.told(error).await),
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
                    Err(error) => error,
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

    /// Emits a page and moves on; gives the reason if the read ends with it.
    async fn take(&mut self, fetched: Fetched, request: &Request) -> Result<Option<StopReason>> {
        let Fetched { mut page, around, mut scanned, mut records, head } = fetched;
        self.check_graphql(&scanned.values, &head)?;
        let again = match self.reading.drift.place(&scanned.prints) {
            Place::Behind(again) if self.cuts_off() => again,
            Place::Behind(_) => 0,
            Place::Lost => return self.look_further_back().await,
        };
        if again > 0 {
            self.cut_off(again, &mut page, &mut scanned)?;
            records = page.records;
            if records == 0 && self.reading.drift.lead() == 0 {
                let error = circle("the API gives records again that it gave before", request);
                return self.contradicted(page, error).await;
            }
        }
        let repeats = scanned.content.is_some_and(|content| !self.guard.page(content));
        let answer = Answer {
            places: &self.scope.rest.places,
            values: &scanned.values,
            around: &around,
            last: scanned.last.as_deref(),
            headers: &head.headers,
            is_first: self.reading.at == At::First,
            records,
            again,
            largest: if repeats { 0 } else { self.largest },
            so_far: self.reading.drift.index(self.reading.records + records),
        };
        let claims = self.claims(&answer)?;
        let next = match &mut self.export {
            Some(export) => {
                export.was_read();
                Ok(export.end(self.reading.pages + 1).map_or(Step::Next(At::First), Step::End))
            }
            None => self.scope.rest.paginate.next(&self.reading.at, &answer),
        };
        self.claims = claims;
        // Where records come from a key on, a page may rightly be what the one before has ended with: the pagination tells.
        let is_told = matches!(self.reading.at, At::Key(_)) && !matches!(next, Ok(Step::Next(_)));
        if repeats && !is_told && !self.scope.rest.repeated_pages {
            // The parts of a response need an end; a whole page that came before needs not come again.
            match page.part {
                Some(_) => self.emit(page, Stand::Start).await?,
                None => self.advance(Stand::Start).await?,
            }
            let error = circle("a page brings the same records as an earlier one", request)
                .with_hint("if pages may rightly be equal, say so with .allow_repeated_pages()");
            return Err(error);
        }
        let next = match next {
            Err(error) if error.kind() != ErrorKind::Incomplete => return Err(error),
            next => next,
        };
        let so_far = answer.so_far();
        let total = claims.records.filter(|_| self.scope.rest.has_total);
        self.order = std::mem::take(&mut self.order).followed_by(scanned.highest.order.clone());
        self.reading.within |= scanned.highest.within > 0;
        let has_passed = self.has_passed(&scanned.highest);
        let next = if has_passed { Ok(Step::End(Proof::PassedBound)) } else { next };
        let total = total.or_else(|| self.export.as_ref().and_then(Running::rows));
        self.reading.drift.page(self.scope.rest.counts(), &scanned.prints, again, claims);
        let page = self.unless_known(page, &scanned.prints);

        self.reading.pages += 1;
        self.reading.records += records;
        self.reading.empty = if records == 0 { self.reading.empty + 1 } else { 0 };
        if !self.reading.drift.has_gained() {
            // A page that was asked for ahead does not know of those before it.
            if let Ok(highest) = later(self.reading.highest.clone(), scanned.highest.value) {
                self.reading.highest = highest;
            }
        }
        self.future += scanned.highest.future;
        self.of_type += scanned.highest.of_type;
        self.of_another += scanned.highest.of_another;
        self.pages += 1;
        self.largest = self.largest.max(again + records);
        self.scope.came(records);
        if !has_passed && self.is_at_window_limit(so_far, &next) {
            return self.cut_again(page).await;
        }
        let step = match next {
            Ok(step) => step,
            Err(error) => return self.end_in_conflict(page, error).await,
        };
        match step {
            Step::Next(at) => {
                let at = match at {
                    At::Link(link) => {
                        let origins = self.scope.rest.client.origins();
                        At::Link(origins.kept(&head.signature.stripped(origins.resolve(&head.url, &link)?)))
                    }
                    At::Offset(offset) => At::Offset(self.overlapping(offset, again, records)),
                    at => at,
                };
                if at.texts().iter().any(|text| head.signature.is_in(text)) {
                    let what = "what leads to the next page holds a secret of the request, and would be kept with it";
                    return Err(Error::data("read page", what));
                }
                let next = self.page_request(&at, self.reading.pages)?;
                if self.reading.empty >= MOST_EMPTY_PAGES {
                    let error = circle("the API leads from page to page without records", &next)
                        .with("pages_without_records", self.reading.empty);
                    return self.contradicted(page, error).await;
                }
                let identity = self.identity(&next);
                if !self.guard.request(&identity) {
                    let error = circle("the API leads to a request that was made before", &next);
                    return self.contradicted(page, error).await;
                }
                self.reading.mark = self.guard.marked(self.reading.pages, &identity, scanned.content);
                let lives =
                    self.scope.rest.token_lives.filter(|_| matches!(at, At::Token(_) | At::Json(_) | At::Link(_)));
                self.reading.expires = lives.map(|lives| self.scope.env.now().saturating_add(lives));
                self.reading.at = at;
                self.emit(page, Stand::Here).await?;
                Ok(self.scope.limit())
            }
            Step::End(proof) => {
                let total = total.filter(|_| !has_passed);
                if let Some(total) = total.filter(|total| *total != so_far) {
                    return self.end_in_conflict(page, differs(total, so_far)).await;
                }
                match self.pass_ended(false) {
                    Next::Done => {}
                    Next::Again => return self.read_again(page).await,
                    Next::GiveUp => {
                        let error = never_still(self.reading.drift.passes());
                        return self.contradicted(page, error).await;
                    }
                }
                let proof = total.map_or(proof, Proof::TotalMatched);
                if self.future > 0 {
                    tracing::warn!(
                        partition = %self.scope.partition.id, records = self.future,
                        "cursor values later than the read: the records are taken, but do not move the bound"
                    );
                }
                let since = match later(self.since.clone(), self.reading.highest.clone()) {
                    Ok(since) => since,
                    Err(error) => return self.contradicted(page, error).await,
                };
                if let Some(Err(error)) =
                    self.scope.rest.since.as_ref().zip(since.as_ref()).map(|((s, _), v)| s.begin_at(v))
                {
                    return self.contradicted(page, error).await;
                }
                if let Some(since) = self.since.as_ref().filter(|_| self.has_other_type()) {
                    let error = since.changed_type().with("records", self.of_another);
                    return self.contradicted(page, error).await;
                }
                let reason = StopReason::Exhausted(proof);
                self.cover(&reason, claims.records.or(total), page.as_ref());
                self.validators = self.validators_of(&head)?;
                self.emit(page, Stand::Done(since)).await?;
                self.leave_job(false).await;
                Ok(Some(reason))
            }
            Step::Limit(limit) => {
                self.emit(page, Stand::Start).await?;
                Ok(Some(StopReason::LimitReached(limit)))
            }
        }
    }

    /// What the API claims, by what the pagination or the source was told of it.
    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        let rest = self.scope.rest;
        let mut claims = rest.paginate.claims(answer)?;
        if rest.has_total {
            claims.records = Some(answer.count(rest.places.len().saturating_sub(1))?);
        }
        Ok(claims)
    }

    /// A GraphQL server tells failures with status 200.
    fn check_graphql(&self, values: &[Option<String>], head: &Head) -> Result<()> {
        if !self.scope.rest.is_graphql() {
            return Ok(());
        }
        match values.last().and_then(Option::as_deref) {
            None | Some("null" | "[]") => Ok(()),
            Some(errors) => {
                let begin: String = errors.chars().take(500).collect();
                let error = Error::data("read page", "the GraphQL server answers with errors");
                Err(match head.signature.redacted(&begin) {
                    Some(text) => error.with("errors", text),
                    None => error,
                })
            }
        }
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
        let mut position = self.scope.position.lock().await;
        if matches!(stand, Stand::Done(_)) {
            position.validators = self.validators.take();
        }
        position.put(&self.reading, stand);
        self.fetcher.out.emit(page, &position).await
    }

    /// Moves the listing without a page.
    async fn advance(&mut self, stand: Stand) -> Result<()> {
        let mut position = self.scope.position.lock().await;
        position.put(&self.reading, stand);
        self.fetcher.out.advance(&position).await
    }

    /// Prepares for the first request of this run.
    fn set_out(&mut self) -> Result<()> {
        // What comes again from the first page on is no sign of another order.
        self.order = Order::default();
        (self.ahead, self.claims) = (Ahead::default(), Claims::default());
        self.reading.plan = Some(self.plan()?);
        self.guard = LoopGuard::new(self.reading.mark, self.scope.env.random());
        self.fetcher.look.seed = self.guard.seed();
        if let Some((since, _)) = &self.scope.rest.since {
            self.fetcher.look.known = since.known(&self.bounds(), self.reading.began)?;
        }
        let first = self.request(&self.reading.at)?;
        let identity = self.identity(&first);
        self.guard.request(&identity);
        Ok(())
    }

    /// Whether this read shows that the cursor field has another type now: many values, and none like the bound.
    fn has_other_type(&self) -> bool {
        self.pages == self.reading.pages && self.of_type == 0 && self.of_another >= ENOUGH_TO_TELL
    }

    fn row_order(&self) -> Option<RowOrder> {
        self.scope.rest.since.as_ref().and_then(|(since, _)| since.order())
    }

    /// Whether the declared order shows that nothing more of this listing is within its bounds.
    ///
    /// Only if it has held so far, and records within the bounds came before the first one outside: else a listing in another
    /// order, whose first page lies outside, would end with it.
    fn has_passed(&mut self, page: &Highest) -> bool {
        let (is_broken, outside) = match self.row_order() {
            None => return false,
            Some(RowOrder::Ascending) => (self.order.descends, page.beyond),
            Some(RowOrder::Descending) => (self.order.ascends, page.below),
        };
        if is_broken && !self.reading.unordered {
            tracing::warn!(
                partition = %self.scope.partition.id,
                "the records are not in the declared order of the cursor field: the whole listing is read"
            );
            self.reading.unordered = true;
        }
        outside > 0 && self.reading.within && !self.reading.unordered && self.export.is_none()
    }

    /// The API contradicts itself: what came is landed, and the next read begins again.
    async fn contradicted(&mut self, page: impl Into<Option<Page>>, error: Error) -> Result<Option<StopReason>> {
        self.emit(page, Stand::Start).await?;
        Err(error)
    }
}

fn circle(what: &'static str, request: &Request) -> Error {
    Error::new(ErrorKind::Incomplete, "read partition", what).with("request", request.name())
}

/// The later of two cursor values.
fn later(one: Option<CursorValue>, other: Option<CursorValue>) -> Result<Option<CursorValue>> {
    match (one, other) {
        (Some(one), Some(other)) => one.later(other).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// Pages without records, one after the other, that may still lead to some.
const MOST_EMPTY_PAGES: u64 = 1_000;
/// Times that a listing begins again because the API has forgotten a page.
const MOST_RESETS: u32 = 3;
/// Cursor values that are not a few bad ones any more.
const ENOUGH_TO_TELL: u64 = 100;
