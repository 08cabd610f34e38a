use crate::model::Reject;

/// Takes what a stage gives for one item, and the counts of what it does not give.
#[derive(Debug)]
pub struct Output<T> {
    items: Vec<T>,
    rejects: Vec<Reject>,
    filtered: u64,
    deduplicated: u64,
    fanned_out: u64,
}

impl<T> Output<T> {
    /// An empty output.
    pub fn new() -> Self {
        Self { items: Vec::new(), rejects: Vec::new(), filtered: 0, deduplicated: 0, fanned_out: 0 }
    }

    /// Gives an item to the next step.
    pub fn emit(&mut self, item: T) {
        self.items.push(item);
    }

    /// Refuses a record: it goes to the quarantine, in the same commit.
    pub fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    /// Counts records dropped on purpose.
    pub fn filtered(&mut self, records: u64) {
        self.filtered += records;
    }

    /// Counts records dropped because they were there before.
    pub fn deduplicated(&mut self, records: u64) {
        self.deduplicated += records;
    }

    /// Counts records that came into being here: those given beyond the ones taken.
    pub fn fanned_out(&mut self, records: u64) {
        self.fanned_out += records;
    }

    /// Takes it apart: items, rejects, and the counts filtered, deduplicated, fanned out.
    pub fn into_parts(self) -> (Vec<T>, Vec<Reject>, [u64; 3]) {
        (self.items, self.rejects, [self.filtered, self.deduplicated, self.fanned_out])
    }
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Self::new()
    }
}
