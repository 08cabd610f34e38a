use super::incremental::CursorValue;
use super::loop_guard::Mark;
use super::pagination::At;
use crate::model::{Position, Timestamp, Validity};
use serde::{Deserialize, Serialize};

/// Where a partition of a [`Rest`](super::Rest) source stands.
///
/// Between two reads it is the highest cursor value that a complete read has seen. Within one it also names the next
/// page, as the API wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestPosition {
    /// The cursor value that this read began with, or that the next one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<CursorValue>,
    /// The read that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reading: Option<Reading>,
}

/// A read that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reading {
    /// The next page.
    pub(super) at: At,
    /// A hash of the request and the pagination that the read began with: what `at` and the counts are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<u64>,
    /// When the read began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) began: Option<Timestamp>,
    /// The upper bound that was set when the read began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    /// The highest cursor value so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) highest: Option<CursorValue>,
    /// Pages so far.
    pub(super) pages: u64,
    /// Records so far.
    pub(super) records: u64,
    /// What a circle would come back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Mark>,
    /// Pages without records since the last one with some.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) empty: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Position for RestPosition {
    fn validity(&self) -> Validity {
        match self.reading.as_ref().map(|r| &r.at) {
            None | Some(At::First) => Validity::Durable,
            Some(At::Token(_) | At::Link(_)) => Validity::ShortLived { until: None },
            Some(At::Number(_) | At::Offset(_)) => Validity::Unstable,
        }
    }
}
