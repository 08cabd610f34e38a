use super::drift::Drift;
use super::export::Job;
use super::incremental::CursorValue;
use super::loop_guard::Mark;
use super::pagination::At;
use super::validators::Validators;
use super::windows::{Interval, Ledger};
use crate::model::{Position, Timestamp, Validity};
use serde::{Deserialize, Serialize};

/// Where a partition of a [`Rest`](super::Rest) source stands.
///
/// Between two reads it is the highest cursor value that a complete read has seen, or what of its windows is complete. Within
/// one it also names the next page of each listing that is under way, as the API wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestPosition {
    /// The cursor value that this read began with, or that the next one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<CursorValue>,
    /// The cursor field that these values are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// What is complete and what is not, if the partition is read in windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) windows: Option<Ledger>,
    /// What tells the response that was read last from another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) validators: Option<Validators>,
    /// Windows that were begun and not read to their end: a record says so of each. If they are cut in another way, it is taken back
    /// when others have filled their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) begun: Vec<Interval>,
    /// The listings that are under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reading: Vec<Reading>,
}

/// A listing that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reading {
    /// The window that it lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Interval>,
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
    /// Records of the largest page so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) largest: u64,
    /// Hashes of the names of its columns, if its pages say them: CSV. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<u64>,
    /// What a circle would come back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Mark>,
    /// Pages without records since the last one with some.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) empty: u64,
    /// When the API forgets the next page, if that is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    /// The cursor value at which the listing was cut last, because the API gives no more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<CursorValue>,
    /// What shows whether records come and go meanwhile.
    #[serde(default, skip_serializing_if = "is_still")]
    pub(super) drift: Drift,
    /// The records have come in another order than the declared one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) unordered: bool,
    /// Records within the bounds have come.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) within: bool,
    /// The job whose files are the pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<Job>,
}

/// Where a listing stands.
pub(super) enum Stand {
    /// Where it began: nothing of it counts as done.
    Start,
    /// At the page that it read last.
    Here,
    /// At its end; the next read begins with this bound.
    Done(Option<CursorValue>),
}

impl RestPosition {
    /// The listing `reading` now stands there. Gives the windows whose place others have filled with it.
    #[must_use]
    pub(super) fn put(&mut self, reading: &Reading, stand: Stand) -> Vec<Interval> {
        self.reading.retain(|other| other.window != reading.window);
        match (stand, reading.window) {
            (Stand::Start, _) => Vec::new(),
            (Stand::Here, _) => {
                self.reading.push(reading.clone());
                Vec::new()
            }
            (Stand::Done(_), Some(window)) => {
                self.begun.retain(|begun| *begun != window);
                let Some(ledger) = &mut self.windows else { return Vec::new() };
                ledger.complete(window);
                let (open, filled) = self.begun.iter().partition(|begun| ledger.is_open(**begun));
                self.begun = open;
                filled
            }
            (Stand::Done(since), None) => {
                self.since = since;
                std::mem::take(&mut self.begun)
            }
        }
    }

    /// The listing of `window` begins.
    pub(super) fn begin(&mut self, window: Interval) {
        if !self.begun.contains(&window) {
            self.begun.push(window);
        }
    }

    /// Gives the windows that lie within `window` and were begun before, by reads that cut in another way or did not reach as far:
    /// what is said of `window` is said of them too.
    #[must_use]
    pub(super) fn replaced_by(&mut self, window: Interval) -> Vec<Interval> {
        let (within, others) = self.begun.iter().partition(|begun| **begun != window && begun.is_within(window));
        self.begun = others;
        within
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_still(drift: &Drift) -> bool {
    *drift == Drift::default()
}

impl Position for RestPosition {
    fn validity(&self) -> Validity {
        let of = |reading: &Reading| match reading.at {
            _ if reading.job.is_some() => Validity::ShortLived { until: None },
            At::First | At::Key(_) => Validity::Durable,
            At::Token(_) | At::Json(_) | At::Link(_) => Validity::ShortLived { until: reading.expires },
            At::Number(_) | At::Offset(_) => Validity::Unstable,
        };
        // That of the one that lasts least.
        self.reading
            .iter()
            .map(of)
            .max_by_key(|validity| match validity {
                Validity::Durable => 0,
                Validity::Unstable => 1,
                Validity::ShortLived { .. } => 2,
            })
            .unwrap_or(Validity::Durable)
    }
}
