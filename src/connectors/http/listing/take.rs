//! What a page makes of the listing that it is of: it goes on, ends, or is read again.

use super::{Listing, later};
use crate::connectors::http::drift::{Next, Place, never_still};
use crate::connectors::http::export::Running;
use crate::connectors::http::fetch::{Fetched, Head};
use crate::connectors::http::incremental::{CursorValue, Highest, RowOrder};
use crate::connectors::http::pagination::{Answer, At, Claims, Step, differs};
use crate::connectors::http::position::Stand;
use crate::connectors::http::request::Request;
use crate::connectors::http::status;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Page, Proof, StopReason};

impl Listing<'_> {
    /// Emits a page and moves on; gives the reason if the read ends with it.
    pub(super) async fn take(&mut self, fetched: Fetched, request: &Request) -> Result<Option<StopReason>> {
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
            largest: self.reading.largest,
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
        let total = total.or_else(|| self.export.as_ref().and_then(Running::rows));
        self.order = std::mem::take(&mut self.order).followed_by(scanned.highest.order.clone());
        self.reading.within |= scanned.highest.within > 0;
        let has_passed = self.has_passed(&scanned.highest);
        let next = if has_passed { Ok(Step::End(Proof::PassedBound)) } else { next };
        self.reading.drift.page(self.scope.rest.counts(), &scanned.prints, again, claims);
        let page = self.unless_known(page, &scanned.prints);
        self.count(records, again, scanned.highest);
        if !has_passed && self.is_at_window_limit(so_far, &next) {
            return self.cut_again(page).await;
        }
        match next {
            Ok(Step::Next(at)) => {
                let at = self.place_to_keep(at, &head, again, records)?;
                self.go_on(page, at, scanned.content).await
            }
            Ok(Step::End(proof)) => {
                let total = total.filter(|_| !has_passed);
                if let Some(total) = total.filter(|total| *total != so_far) {
                    return self.end_in_conflict(page, differs(total, so_far)).await;
                }
                let proof = total.map_or(proof, Proof::TotalMatched);
                self.finish(page, proof, claims.records.or(total), &head).await
            }
            Ok(Step::Limit(limit)) => {
                self.emit(page, Stand::Start).await?;
                Ok(Some(StopReason::LimitReached(limit)))
            }
            Err(error) => self.end_in_conflict(page, error).await,
        }
    }

    /// Counts a page, of whose records the first `again` came before.
    fn count(&mut self, records: u64, again: u64, highest: Highest) {
        let reading = &mut self.reading;
        reading.pages += 1;
        reading.records += records;
        reading.columns.clone_from(&self.fetcher.columns);
        reading.largest = reading.largest.max(again + records);
        reading.empty = if records == 0 { reading.empty + 1 } else { 0 };
        if !reading.drift.has_gained() {
            // A page that was asked for ahead does not know of those before it.
            if let Ok(highest) = later(reading.highest.clone(), highest.value) {
                reading.highest = highest;
            }
        }
        self.future += highest.future;
        self.of_type += highest.of_type;
        self.of_another += highest.of_another;
        self.pages += 1;
        self.scope.came(records);
    }

    /// The place of the next page, as it is kept: without what signed the request.
    fn place_to_keep(&mut self, at: At, head: &Head, again: u64, records: u64) -> Result<At> {
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
        Ok(at)
    }

    /// Hands over a page with content of that hash, after which the listing goes on at `at`.
    async fn go_on(&mut self, page: Option<Page>, at: At, content: Option<u64>) -> Result<Option<StopReason>> {
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
        self.reading.mark = self.guard.marked(self.reading.pages, &identity, content);
        let lives = self.scope.rest.token_lives.filter(|_| matches!(at, At::Token(_) | At::Json(_) | At::Link(_)));
        self.reading.expires = lives.map(|lives| self.scope.env.now().saturating_add(lives));
        self.reading.at = at;
        self.emit(page, Stand::Here).await?;
        Ok(self.scope.limit())
    }

    /// Hands over the last page. The read ends with it, unless the listing is to be read again.
    async fn finish(
        &mut self,
        page: Option<Page>,
        proof: Proof,
        claimed: Option<u64>,
        head: &Head,
    ) -> Result<Option<StopReason>> {
        match self.pass_ended(false) {
            Next::Done => {}
            Next::Again => return self.read_again(page).await,
            Next::GiveUp => {
                let error = never_still(self.reading.drift.passes());
                return self.contradicted(page, error).await;
            }
        }
        if self.future > 0 {
            tracing::warn!(
                partition = %self.scope.partition.id, records = self.future,
                "cursor values later than the read: the records are taken, but do not move the bound"
            );
        }
        let since = match self.bound_of_next_read() {
            Ok(since) => since,
            Err(error) => return self.contradicted(page, error).await,
        };
        let reason = StopReason::Exhausted(proof);
        self.cover(&reason, claimed, page.as_ref());
        self.validators = self.validators_of(head)?;
        self.emit(page, Stand::Done(since)).await?;
        self.leave_job(false).await;
        Ok(Some(reason))
    }

    /// # Errors
    /// If no read could begin there, or what this read brought is no continuation of the bound that it began with.
    fn bound_of_next_read(&self) -> Result<Option<CursorValue>> {
        let bound = later(self.since.clone(), self.reading.highest.clone())?;
        if let Some(((since, _), bound)) = self.scope.rest.since.as_ref().zip(bound.as_ref()) {
            since.begin_at(bound)?;
        }
        match self.since.as_ref().filter(|_| self.has_other_type()) {
            Some(since) => Err(since.changed_type().with("records", self.of_another)),
            None => Ok(bound),
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
                let error = Error::data("read page", "the GraphQL server answers with errors");
                Err(match status::excerpt(&head.signature, errors.as_bytes(), true) {
                    Some(text) => error.with("errors", text),
                    None => error,
                })
            }
        }
    }

    /// Whether this read shows that the cursor field has another type now: many values, and none like the bound.
    fn has_other_type(&self) -> bool {
        self.pages == self.reading.pages && self.of_type == 0 && self.of_another >= ENOUGH_TO_TELL
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
}

fn circle(what: &'static str, request: &Request) -> Error {
    Error::new(ErrorKind::Incomplete, "read partition", what).with("request", request.name())
}

/// Pages without records, one after the other, that may still lead to some.
const MOST_EMPTY_PAGES: u64 = 1_000;
/// Cursor values that are not a few bad ones any more.
const ENOUGH_TO_TELL: u64 = 100;
