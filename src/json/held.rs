use bytes::Bytes;

/// Collects a body; a single piece is not copied.
#[derive(Debug, Default)]
pub(crate) struct Held {
    first: Bytes,
    all: Vec<u8>,
    capacity: usize,
}

impl Held {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(self.capacity);
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    /// Takes the first `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        if self.all.is_empty() {
            return self.first.split_to(len.min(self.first.len()));
        }
        // As much will come again.
        let mut rest = Vec::with_capacity(len.saturating_add(PIECE));
        rest.extend_from_slice(self.all.get(len..).unwrap_or_default());
        self.all.truncate(len);
        std::mem::replace(&mut self.all, rest).into()
    }

    pub(crate) fn take_all(&mut self) -> Bytes {
        let all = std::mem::take(&mut self.all);
        if all.is_empty() { std::mem::take(&mut self.first) } else { all.into() }
    }
}

/// Bytes that come at once, as a rule.
pub(crate) const PIECE: usize = 64 << 10;
