use super::held::{Held, PIECE};
use super::skip::mask;
use crate::model::Span;
use bytes::Bytes;

/// Where each line of `body` lies that is not blank, without its line end, and without the mark of UTF-8 that may stand before each of
/// them: files that were put together have one in the middle. The last one needs no line end.
pub(crate) fn lines(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut line = |mut start: usize, end: usize| {
        let mut text = body.get(start..end).unwrap_or_default();
        if let Some(marked) = text.strip_prefix(super::walk::MARK) {
            (text, start) = (marked, start + super::walk::MARK.len());
        }
        let trimmed = text.trim_ascii();
        if let (false, Some(first)) = (trimmed.is_empty(), text.iter().position(|b| !b.is_ascii_whitespace())) {
            spans.push(super::scan::span(start + first, trimmed.len()));
        }
    };
    let blocks = body.chunks_exact(64);
    let rest = blocks.remainder();
    for (i, block) in blocks.filter_map(|b| b.first_chunk::<64>()).enumerate() {
        let mut ends = mask(block, |b| b == b'\n');
        while ends != 0 {
            let end = i * 64 + ends.trailing_zeros() as usize;
            ends &= ends - 1;
            line(start, end);
            start = end + 1;
        }
    }
    let tail = body.len() - rest.len();
    for end in rest.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| tail + i) {
        line(start, end);
        start = end + 1;
    }
    line(start, body.len());
    spans
}

/// Cuts a stream of lines into parts of whole lines while it comes: each at the first line end at or behind the wanted
/// length. So the parts depend on the lines alone, not on the pieces in which they came.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    /// Bytes of a part.
    wanted: usize,
    held: Held,
    /// Bytes of `held` in which no line ends where a part may.
    seen: usize,
    /// Bytes of `held` up to the end of its last whole line.
    whole: usize,
}

impl LineSplitter {
    /// A splitter into parts of about `wanted` bytes.
    pub(crate) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            held: Held::with_capacity(wanted.saturating_add(PIECE)),
            seen: wanted.saturating_sub(1),
            whole: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if let Some(last) = piece.iter().rposition(|b| *b == b'\n') {
            self.whole = self.held.len() + last + 1;
        }
        self.held.push(piece);
    }

    /// Bytes of the line that has begun.
    pub(crate) fn begun(&self) -> usize {
        self.held.len() - self.whole
    }

    /// Takes the next part, if it is complete. The rest of the stream is not in it.
    pub(crate) fn take_part(&mut self) -> Option<Bytes> {
        if self.whole <= self.seen {
            return None;
        }
        let unseen = self.held.as_slice().get(self.seen..).unwrap_or_default();
        let cut = self.seen + unseen.iter().position(|b| *b == b'\n')? + 1;
        (self.seen, self.whole) = (self.wanted.saturating_sub(1), self.whole - cut);
        Some(self.held.take(cut))
    }

    /// Gives what is left, at the end of the stream.
    pub(crate) fn finish(mut self) -> Bytes {
        self.held.take_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &[u8]) -> Vec<&[u8]> {
        lines(body).iter().map(|s| s.of(body).expect("inside")).collect()
    }

    #[test]
    fn finds_lines_and_leaves_out_blank_ones() {
        assert_eq!(texts(b"{\"a\":1}\r\n\n  \n{\"b\":2}\n"), [b"{\"a\":1}", b"{\"b\":2}"]);
        assert_eq!(texts(b"1\n2"), [b"1", b"2"]);
        assert_eq!(texts(b"\xEF\xBB\xBF1\n2\n"), [b"1", b"2"]);
        assert_eq!(texts(b"1\n\xEF\xBB\xBF2\n\xEF\xBB\xBF\n"), [b"1", b"2"]);
        assert!(texts(b"").is_empty());
    }

    #[test]
    fn finds_line_ends_in_every_place_of_a_block() {
        for len in 0..140 {
            let body = [vec![b'x'; len], b"\ny\n".to_vec(), vec![b'z'; 70]].concat();
            let found = lines(&body);
            assert_eq!(found.len(), if len == 0 { 2 } else { 3 }, "{len}");
            assert!(found.iter().any(|s| s.of(&body) == Some(b"y")), "{len}");
        }
    }

    #[test]
    fn cuts_a_stream_at_the_same_line_ends_whatever_the_pieces() {
        let text = b"{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}\n{\"d\":4444}";
        let cut = |wanted: usize, size: usize| {
            let mut splitter = LineSplitter::new(wanted);
            let mut parts = Vec::new();
            for piece in text.chunks(size) {
                splitter.push(Bytes::from_static(piece));
                parts.extend(std::iter::from_fn(|| splitter.take_part()));
            }
            assert!(parts.iter().all(|p| p.ends_with(b"\n") && p.len() >= wanted));
            parts.push(splitter.finish());
            assert_eq!(parts.concat(), text);
            parts
        };
        for wanted in 1..text.len() + 2 {
            let parts = cut(wanted, text.len());
            assert!((1..text.len()).all(|size| cut(wanted, size) == parts), "{wanted}");
        }
        assert_eq!(cut(1, 3).len(), 5);
    }
}
