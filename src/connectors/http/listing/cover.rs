//! What is said of a listing at its end.

use super::Listing;
use crate::connectors::http::pagination::Counts;
use crate::model::{Coverage, Drift as Moved, Page, StopReason, Tally, Window};

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
            coverage = coverage.window(Window::new(window.from.to_string(), window.to.to_string()));
        }
        self.fetcher.out.cover(coverage);
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
}
