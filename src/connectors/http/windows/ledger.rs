use super::interval::{Bound, Interval};
use serde::{Deserialize, Serialize};

/// What of a partition has been read completely, window by window, and what has not: the gaps.
///
/// Everything in the span outside of the gaps is complete, so there are never more gaps than windows under way or left
/// behind, however many windows have been read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Ledger {
    pub(in super::super) span: Interval,
    /// In ascending order, disjoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) gaps: Vec<Interval>,
}

impl Ledger {
    /// Nothing of `span` has been read.
    pub(in super::super) fn new(span: Interval) -> Self {
        Self { span, gaps: vec![span] }
    }

    /// Everything of `span` has been read.
    pub(in super::super) fn complete_over(span: Interval) -> Self {
        Self { span, gaps: Vec::new() }
    }

    /// Wants everything of `wanted` to be read, and the last `overlap` of what was read already once more.
    ///
    /// Only the latest end is looked at again: what a gap in the middle needs is known exactly.
    pub(in super::super) fn extend(&mut self, wanted: Interval, overlap: i64) {
        let Interval { from, to } = self.span;
        self.span = Interval { from: from.min(wanted.from), to: to.max(wanted.to) };
        let earlier = Interval::new(wanted.from, from);
        // What has not grown has nothing new to find at its end.
        let later = Interval::new(to.plus(-overlap).max(self.span.from), wanted.to).filter(|_| wanted.to > to);
        for gap in earlier.into_iter().chain(later) {
            self.open(gap);
        }
    }

    /// `window` has been read to its end.
    pub(in super::super) fn complete(&mut self, window: Interval) {
        self.gaps = self.gaps.iter().flat_map(|gap| gap.without(window)).collect();
    }

    /// Whether something of `window` has not been read.
    pub(in super::super) fn is_open(&self, window: Interval) -> bool {
        self.gaps.iter().any(|gap| gap.from < window.to && window.from < gap.to)
    }

    /// Everything below this has been read.
    pub(in super::super) fn watermark(&self) -> Bound {
        self.gaps.first().map_or(self.span.to, |gap| gap.from)
    }

    fn open(&mut self, mut new: Interval) {
        // Gaps that only touch stay apart: each has its own windows.
        let (over, mut apart): (Vec<_>, Vec<_>) =
            self.gaps.drain(..).partition(|gap| gap.from < new.to && new.from < gap.to);
        for gap in over {
            new = Interval { from: new.from.min(gap.from), to: new.to.max(gap.to) };
        }
        apart.push(new);
        apart.sort_by_key(|gap| gap.from);
        self.gaps = apart;
    }
}
