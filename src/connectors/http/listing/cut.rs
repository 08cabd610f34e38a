//! Listings of which the API gives no more than so many records.

use super::Listing;
use crate::connectors::http::drift::Drift;
use crate::connectors::http::incremental::CursorValue;
use crate::connectors::http::pagination::Step;
use crate::connectors::http::position::Stand;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Page, StopReason};

impl Listing<'_> {
    /// Whether the API gives no more of this listing than it has given, or another page of the same size would reach beyond what it
    /// gives. A total below the limit that has come is the end.
    pub(super) fn is_at_window_limit(&self, so_far: u64, next: &Result<Step>) -> bool {
        let Some(limit) = self.scope.rest.window_limit else { return false };
        let has_come = self.claims.records.is_some_and(|total| total < limit && total == so_far);
        let is_limit = matches!(next, Ok(Step::Limit(_)));
        !has_come && !is_limit && so_far.saturating_add(self.reading.largest) > limit
    }

    /// Cuts the listing at the highest cursor value: from there on it is a listing of its own.
    pub(super) async fn cut_again(&mut self, page: Option<Page>) -> Result<Option<StopReason>> {
        let highest = self.reading.highest.clone();
        if self.reading.unordered || highest.is_none() || highest == self.reading.cut || highest == self.since {
            let error = Error::new(ErrorKind::Incomplete, "read partition", "the API gives no more of a listing, and it cannot be cut")
                .with("window_limit", self.scope.rest.window_limit.unwrap_or_default())
                .with("cursor_value", highest.as_ref().map_or("none", CursorValue::text))
                .with_hint("more records have one cursor value, or lie within the overlap, than the API gives; or they do not come in ascending order");
            return self.contradicted(page, error).await;
        }
        tracing::info!(partition = %self.scope.partition.id, pages = self.reading.pages, "at the API's limit of a listing, cuts it");
        metrics::counter!("landfall_http_cuts_total").increment(1);
        (self.since, self.reading.cut) = (highest.clone(), highest);
        let drift = Drift::default();
        self.start_over(drift)?;
        self.emit(page, Stand::Here).await?;
        Ok(self.scope.limit())
    }
}
