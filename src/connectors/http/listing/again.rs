//! A listing that begins again: the API has forgotten a page, or what lies at the bound.

use super::{Listing, later};
use crate::connectors::http::export::Running;
use crate::connectors::http::incremental::{CursorTooOld, RowOrder};
use crate::connectors::http::pagination::At;
use crate::error::{Error, Result};

impl Listing<'_> {
    /// The API does not know the kept page any more: what was read since the bound is read again, and deduplicated.
    pub(super) fn begin_again(&mut self, error: &Error) -> Result<()> {
        tracing::warn!(partition = %self.scope.partition.id, %error, "cannot go on at the kept page, begins again");
        self.resumed = false;
        if self.row_order() == Some(RowOrder::Ascending) && !self.reading.unordered {
            self.since = later(self.since.take(), self.reading.highest.take())?;
        }
        self.left = self.reading.job.take();
        self.reading = self.beginning();
        self.export = self.scope.rest.exports.as_ref().map(|exports| Running::new(self.scope, exports));
        self.set_out()
    }

    /// Whether the API says that what lies at the bound is gone.
    pub(super) fn is_gone(&self, error: &Error) -> bool {
        let is_gone = error.context().iter().any(|(key, value)| *key == "status" && value == "410");
        is_gone && self.since.is_some() && !self.moved && self.reading.at == At::First
    }

    /// Follows the policy for a bound that is too old.
    pub(super) fn begin_where_the_api_can(&mut self, error: Error) -> Result<()> {
        // Once: an API that does not go back as far as the policy says either is asked no more.
        let Some((since, _)) = self.scope.rest.since.as_ref().filter(|_| !self.moved) else {
            return Err(error.with("partition", &self.scope.partition.id));
        };
        self.moved = true;
        self.resumed = false;
        self.since = match since.policy_if_too_old() {
            CursorTooOld::Fail => {
                return Err(error.with("partition", &self.scope.partition.id).with_hint(
                    "the API does not go back as far as the last read: say with .too_old(…) what to do then",
                ));
            }
            CursorTooOld::FullRefresh => None,
            CursorTooOld::From(lookback) => Some(since.at(self.scope.env.now().saturating_sub(lookback))),
        };
        tracing::warn!(
            partition = %self.scope.partition.id, policy = ?since.policy_if_too_old(), %error,
            "the API does not go back as far as the last read: begins where it can"
        );
        metrics::counter!("landfall_http_cursors_too_old_total").increment(1);
        self.reading = self.beginning();
        self.set_out()
    }
}
