use super::Csv;
use super::rows::RowEnds;
use crate::json::{Held, MARK, PIECE};
use bytes::Bytes;

/// Cuts a stream of rows into parts of whole rows while it comes: each at the first row end at or behind the wanted length.
#[derive(Debug)]
pub(crate) struct CsvSplitter {
    ends: RowEnds,
    /// Bytes of a part.
    wanted: usize,
    held: Held,
    /// Bytes of `held` that have been looked at, and those of whole rows.
    seen: usize,
    whole: usize,
    /// The end of the row behind which to cut.
    cut: Option<usize>,
    is_first: bool,
}

impl CsvSplitter {
    pub(crate) fn new(csv: &Csv, wanted: usize) -> Self {
        let held = Held::with_capacity(wanted.saturating_add(PIECE));
        Self { ends: RowEnds::new(csv), wanted, held, seen: 0, whole: 0, cut: None, is_first: true }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        self.held.push(piece);
    }

    /// Bytes of the row that has begun.
    pub(crate) fn begun(&self) -> usize {
        self.held.len() - self.whole
    }

    pub(crate) fn unseen(&self) -> usize {
        if self.is_small() { 0 } else { self.held.len() - self.seen }
    }

    /// Whether there is nothing to cut yet, and nothing to look for.
    fn is_small(&self) -> bool {
        self.held.len() < self.wanted
    }

    pub(crate) fn take_part(&mut self) -> Option<Bytes> {
        if self.is_small() {
            return None;
        }
        if self.is_first && self.held.len() >= MARK.len() {
            self.is_first = false;
            self.seen = if self.held.as_slice().starts_with(MARK) { MARK.len() } else { 0 };
        }
        while !self.is_first && self.cut.is_none() && self.seen < self.held.len() {
            let body = self.held.as_slice();
            let Some(end) = self.ends.next(body, self.seen) else {
                self.seen = body.len();
                break;
            };
            (self.seen, self.whole) = (end, end);
            self.cut = Some(end).filter(|end| *end >= self.wanted);
        }
        let cut = self.cut?;
        // A row ends with either half of CR LF; the other half belongs to it.
        let cut = match self.held.as_slice().get(cut - 1..)? {
            [b'\r'] => return None,
            [b'\r', b'\n', ..] => cut + 1,
            _ => cut,
        };
        (self.seen, self.whole, self.cut) = (0, 0, None);
        Some(self.held.take(cut))
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.held.take_all()
    }
}
