use super::skip::mask;
use crate::model::Span;

/// Where each line of `body` lies that is not blank, without its line end. The last one needs no line end.
pub fn lines(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let body_start = if body.starts_with(super::scan::BOM) { super::scan::BOM.len() } else { 0 };
    let mut line = |start: usize, end: usize| {
        let text = body.get(start.max(body_start)..end).unwrap_or_default();
        let trimmed = text.trim_ascii();
        if let (false, Some(first)) = (trimmed.is_empty(), text.iter().position(|b| !b.is_ascii_whitespace())) {
            spans.push(super::scan::span(start.max(body_start) + first, trimmed.len()));
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

/// Cuts a stream of lines into chunks of whole lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    held: Vec<u8>,
    /// Bytes of `held` up to the end of its last whole line.
    whole: usize,
}

impl LineSplitter {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.iter().rposition(|b| *b == b'\n') {
            self.whole = self.held.len() + last + 1;
        }
        self.held.extend_from_slice(bytes);
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes of whole lines that are held.
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// Gives the whole lines, and keeps the begun one.
    pub fn take_whole(&mut self) -> Vec<u8> {
        let begun = self.held.split_off(self.whole);
        self.whole = 0;
        std::mem::replace(&mut self.held, begun)
    }

    /// Gives everything, at the end of the stream.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.whole = 0;
        std::mem::take(&mut self.held)
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
    fn splits_a_stream_at_line_ends_whatever_the_chunks() {
        let text = b"{\"a\":1}\n{\"b\":2}\n{\"c\":3}";
        for size in 1..text.len() {
            let mut splitter = LineSplitter::default();
            let mut parts = Vec::new();
            for chunk in text.chunks(size) {
                splitter.push(chunk);
                if splitter.whole() > 0 {
                    parts.push(splitter.take_whole());
                }
            }
            assert!(parts.iter().all(|p| p.ends_with(b"\n")));
            parts.push(splitter.take_rest());
            assert_eq!(parts.concat(), text);
            assert!(splitter.is_empty());
        }
    }
}
