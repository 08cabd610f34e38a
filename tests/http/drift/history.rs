use landfall::env::Entropy;
use landfall::testkit::SeededEntropy;
use std::collections::BTreeSet;

/// A sorted table, and what happens to it between two requests; all of it follows from one seed.
#[derive(Debug)]
pub struct History {
    rows: BTreeSet<u64>,
    /// The rows that have been there since the first request.
    throughout: BTreeSet<u64>,
    /// Rows that were deleted: none comes back.
    deleted: BTreeSet<u64>,
    newest_first: bool,
    dice: SeededEntropy,
    requests: u64,
    /// After so many requests nothing happens any more.
    lively_for: u64,
}

/// Ids lie in here, so that there is room between them.
const IDS: u64 = 100_000;
/// Requests after which every history is quiet, but those that never are.
const LIVELY: u64 = 25;

impl History {
    pub fn new(seed: u64) -> Self {
        let dice = SeededEntropy::new(seed);
        let size = 1 + dice.next_u64() % 60;
        let rows: BTreeSet<u64> = (0..size).map(|_| IDS / 3 + dice.next_u64() % (IDS / 3)).collect();
        // One in ten never comes to rest.
        let lively_for = if seed % 10 == 9 { u64::MAX } else { dice.next_u64() % LIVELY };
        let newest_first = dice.next_u64() % 2 == 0;
        Self { throughout: rows.clone(), rows, deleted: BTreeSet::new(), newest_first, dice, requests: 0, lively_for }
    }

    /// Another request comes; before it, but not before the first one, the table changes perhaps.
    pub fn request(&mut self) {
        self.requests += 1;
        if self.requests == 1 || self.requests > self.lively_for || self.dice.next_u64() % 2 == 0 {
            return;
        }
        for _ in 0..=self.dice.next_u64() % 3 {
            self.change();
        }
    }

    fn change(&mut self) {
        let (first, last) = (self.rows.first().copied(), self.rows.last().copied());
        match self.dice.next_u64() % 8 {
            // At either end, as new records come, or anywhere, as old ones come late.
            0 | 1 => self.insert(last.map_or(IDS / 2, |id| id + 1 + self.dice.next_u64() % 10)),
            2 => self.insert(first.map_or(IDS / 2, |id| id.saturating_sub(1 + self.dice.next_u64() % 10))),
            3 => self.insert(self.dice.next_u64() % IDS),
            // From either end, as retention and undoing do, or from anywhere.
            4 => self.delete(first),
            5 => self.delete(last),
            _ => {
                let nth = usize::try_from(self.dice.next_u64() % self.rows.len().max(1) as u64).expect("small");
                self.delete(self.rows.iter().nth(nth).copied());
            }
        }
    }

    fn insert(&mut self, id: u64) {
        if !self.deleted.contains(&id) {
            self.rows.insert(id);
        }
    }

    fn delete(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.rows.remove(&id);
            self.deleted.insert(id);
            self.throughout.remove(&id);
        }
    }

    fn listed(&self) -> Vec<u64> {
        match self.newest_first {
            true => self.rows.iter().rev().copied().collect(),
            false => self.rows.iter().copied().collect(),
        }
    }

    /// The rows from number `offset` on, `limit` of them at most.
    pub fn at_offset(&self, offset: usize, limit: usize) -> Vec<u64> {
        self.listed().into_iter().skip(offset).take(limit).collect()
    }

    /// The rows behind `id` in the order of the listing, whether it is still there or not.
    pub fn behind(&self, id: Option<u64>, limit: usize) -> Vec<u64> {
        let behind = |row: &u64| id.is_none_or(|id| if self.newest_first { *row < id } else { *row > id });
        self.listed().into_iter().filter(behind).take(limit).collect()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows of those that were always there that `came` lacks.
    pub fn missing(&self, came: &BTreeSet<u64>) -> usize {
        self.throughout.difference(came).count()
    }
}

/// How many rows of the history of `seed` a read loses that asks for one offset after the other and believes the first empty page.
pub fn lost_by_offsets(seed: u64, page: usize) -> usize {
    let (mut history, mut came) = (History::new(seed), BTreeSet::new());
    let mut offset = 0;
    loop {
        history.request();
        let rows = history.at_offset(offset, page);
        if rows.is_empty() {
            return history.missing(&came);
        }
        offset += rows.len();
        came.extend(rows);
    }
}
