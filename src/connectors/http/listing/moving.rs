//! What a listing does about records that come and go: it finds its place again, or is read again.

use super::Listing;
use crate::connectors::http::drift::{Drift, Next, never_still};
use crate::connectors::http::pagination::{At, Counts};
use crate::connectors::http::position::Stand;
use crate::connectors::http::request::Request;
use crate::connectors::http::scanned::Scanned;
use crate::error::{Error, Result};
use crate::model::{Page, StopReason};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Listing<'_> {
    /// Whether records that come again can be cut off.
    pub(super) fn cuts_off(&self) -> bool {
        matches!(self.scope.rest.counts(), Counts::Records { .. })
    }

    /// Takes the first `again` records from what a page brings: they came with the one before.
    pub(super) fn cut_off(&mut self, again: u64, page: &mut Page, scanned: &mut Scanned) -> Result<()> {
        let spans = page.spans.take().unwrap_or_default();
        let new = spans.get(usize::try_from(again).unwrap_or(usize::MAX)..).unwrap_or_default();
        if page.part.is_some() {
            return Err(Error::data("read page", "a page that overlaps with the one before is too large to be held")
                .with_hint("ask for smaller pages, or for pages that do not overlap"));
        }
        scanned.content = scanned.content.and(self.fetcher.look.content(&page.body, new));
        page.records = new.len() as u64;
        page.records_path = Some(self.scope.rest.records_after(again));
        page.spans = Some(new.into());
        if again != self.reading.drift.lead() {
            tracing::info!(
                partition = %self.scope.partition.id, expected = self.reading.drift.lead(), found = again,
                "records were added or taken before the place of the read: it goes on behind the last one that came"
            );
            metrics::counter!("landfall_http_drift_healed_total").increment(1);
        }
        self.reading.drift.took(again);
        Ok(())
    }

    /// The place of the read is not in the page that should begin with it: it must stand before that.
    pub(super) async fn look_further_back(&mut self) -> Result<Option<StopReason>> {
        let At::Offset(offset) = self.reading.at else {
            return Err(Error::bug("read page", "a place was lost that is not counted"));
        };
        let (lead, page) = (self.reading.drift.lead(), self.reading.drift.largest());
        if offset == 0 || lead > page.saturating_mul(MOST_PAGES_BACK) {
            return self.begin_pass().await;
        }
        // Further and further, but never over more than a page.
        let back = lead.max(page / 2).min(page.saturating_sub(1)).max(1).min(offset);
        self.reading.at = At::Offset(offset - back);
        self.reading.drift.expect(lead + back);
        Ok(None)
    }

    /// Where to ask for the page behind `offset`, of which `again` and `records` of the page before are a part.
    pub(super) fn overlapping(&mut self, offset: u64, again: u64, records: u64) -> u64 {
        let lead = match self.scope.rest.counts() {
            // Something new must have come, and something new must fit, or the request would be the same again.
            Counts::Records { overlap } if records > 0 => overlap.min((again + records).saturating_sub(1)),
            _ => 0,
        };
        self.reading.drift.expect(lead);
        offset.saturating_sub(lead)
    }

    /// What tells a request from those before. Where the listing has moved, the same request asks for other records.
    pub(super) fn identity(&self, request: &Request) -> String {
        let drift = &self.reading.drift;
        match drift.lead() + drift.healed() {
            0 => request.identity(),
            _ => format!("{}\n{} {}", request.identity(), drift.lead(), drift.healed()),
        }
    }

    pub(super) fn pass_ended(&mut self, in_conflict: bool) -> Next {
        let rest = self.scope.rest;
        if rest.accept_drift { Next::Done } else { self.reading.drift.ended(rest.confirm, in_conflict) }
    }

    /// The evidence contradicts itself: if the API has claimed different totals meanwhile, the listing has moved.
    pub(super) async fn end_in_conflict(&mut self, page: Option<Page>, error: Error) -> Result<Option<StopReason>> {
        if self.reading.drift.claims_changed() && self.pass_ended(true) == Next::Again {
            return self.read_again(page).await;
        }
        self.contradicted(page, error).await
    }

    /// Hands over the last page of a pass, and begins another one.
    pub(super) async fn read_again(&mut self, page: Option<Page>) -> Result<Option<StopReason>> {
        tracing::info!(
            partition = %self.scope.partition.id, pass = self.reading.drift.passes() + 2,
            "the listing may have moved while it was read, or is to be confirmed: reads it again"
        );
        metrics::counter!("landfall_http_passes_total").increment(1);
        let drift = self.reading.drift.again();
        self.start_over(drift)?;
        self.emit(page, Stand::Here).await?;
        Ok(self.scope.limit())
    }

    /// The place of the read is lost: all is read again, and what comes again is for the dedup stage.
    async fn begin_pass(&mut self) -> Result<Option<StopReason>> {
        match self.reading.drift.ended(self.scope.rest.confirm, true) {
            Next::GiveUp => {
                self.advance(Stand::Start).await?;
                Err(never_still(self.reading.drift.passes()))
            }
            _ => {
                tracing::warn!(partition = %self.scope.partition.id, "nothing is where it was in the listing: reads it again");
                self.start_over(self.reading.drift.again())?;
                self.advance(Stand::Here).await?;
                Ok(None)
            }
        }
    }

    pub(super) fn start_over(&mut self, drift: Drift) -> Result<()> {
        self.passed = std::mem::take(&mut self.passing);
        let reading = &mut self.reading;
        (reading.at, reading.drift, reading.records, reading.mark, reading.empty) = (At::First, drift, 0, None, 0);
        self.set_out()
    }

    /// The page, unless the one in its place of the pass before brought the same records.
    pub(super) fn unless_known(&mut self, page: Page, prints: &[u64]) -> Option<Page> {
        let hash = prints.iter().fold(0, |hash, print| xxh3_64_with_seed(&print.to_le_bytes(), hash));
        let known = self.passed.get(self.passing.len()) == Some(&hash);
        self.passing.push(hash);
        let was_looked_at = prints.len() as u64 >= page.records;
        (!known || !was_looked_at || page.part.is_some()).then_some(page)
    }
}

/// Pages that are looked through for the place where a read stood, before all is read again.
const MOST_PAGES_BACK: u64 = 16;
