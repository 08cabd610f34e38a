//! What is said of a listing at its end.

use super::Listing;
use crate::connectors::http::pagination::Counts;
use crate::connectors::http::position::Stand;
use crate::connectors::http::read::told;
use crate::error::Result;
use crate::model::{Coverage, Drift as Moved, Page, StopReason, Tally};

impl Listing<'_> {
    /// Says what is known of the listing at its end, which `page` is.
    pub(super) fn cover(&mut self, reason: &StopReason, total: Option<u64>, page: Option<&Page>) {
        let drift = &self.reading.drift;
        let mut tally = self.tally;
        let out = &self.fetcher.out;
        tally.add(&page.map_or_else(|| out.tally(), |page| out.tally_with(page)));
        if self.pages != self.reading.pages {
            // Earlier runs have brought some of it.
            tally = Tally { pages: self.reading.pages, records: self.reading.records, content: None };
        }
        let mut coverage =
            Coverage::of(self.scope.partition.id.clone(), reason.clone()).tally(tally).drift(self.drift());
        // Of a listing that was cut, the API claims what is behind the last cut.
        if let Some(total) = total.filter(|_| self.reading.cut.is_none()) {
            coverage = coverage.claimed(drift.records_of(total));
        }
        if let Some(window) = self.reading.window {
            coverage = coverage.window(window.told());
        }
        self.fetcher.out.cover(coverage);
        self.covered = true;
    }

    /// Whether the listing moved while it was read.
    fn drift(&self) -> Moved {
        let (rest, drift) = (self.scope.rest, &self.reading.drift);
        match rest.counts() {
            _ if rest.accept_drift && drift.is_open() => Moved::Open,
            _ if drift.times_healed() > 0 && !drift.is_open() => Moved::Healed(drift.times_healed()),
            _ if drift.is_confirmed() || self.reading.pages == 1 => Moved::NoneSeen,
            Counts::Records { .. } if drift.is_linked() => Moved::NoneSeen,
            _ => Moved::Unchecked,
        }
    }

    /// Says what is covered of a window that was not read to its end page by page; of the whole partition its end says it. Gives
    /// whether it is said, by whatever end.
    pub(super) async fn cover_open_window(&mut self, end: &Result<StopReason>) -> bool {
        let Some(window) = self.reading.window.filter(|_| !self.covered) else { return self.covered };
        if !self.is_known && self.advance(Stand::Start).await.is_err() {
            // What nobody remembers to take back is not said: the window is one that was not begun.
            return false;
        }
        // What earlier runs brought of it counts too; only its hash is not known any more.
        let mut tally = self.tally;
        tally.add(&self.fetcher.out.tally());
        let content = tally.content.filter(|_| self.pages == self.reading.pages);
        let tally = Tally { pages: self.reading.pages, records: self.reading.records, content };
        let partition = &self.scope.partition.id;
        let scope = self.scope;
        let mut position = scope.position.lock().await;
        let replaced = position.replaced_by(window);
        for window in &replaced {
            self.fetcher.out.cover(Coverage::withdrawn(partition.clone(), window.told()));
        }
        self.fetcher.out.cover(Coverage::of(partition.clone(), told(end)).window(window.told()).tally(tally));
        // Together, or a position would forget windows of which it still is said that they are missing.
        if !replaced.is_empty() && self.fetcher.out.advance(&position).await.is_err() {
            position.begun.extend(replaced);
        }
        true
    }
}
