use crate::defects::{Defect, on};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Notices what comes a second time in one read: a request, or the content of a page.
///
/// It remembers 64-bit keyed hashes: a million of each of this run, and those at a mark that moves on at powers of two and is
/// kept in the position. So a cycle of any length meets its mark, however many runs it takes (Brent's algorithm).
#[derive(Debug)]
pub(super) struct LoopGuard {
    seed: u64,
    mark: Option<Mark>,
    requests: HashSet<u64>,
    pages: HashSet<u64>,
}

/// What came at one page of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// The key of the hashes.
    seed: u64,
    /// The hash of the request that the page led to.
    request: u64,
    /// The hash of its records, if it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<u64>,
}

impl LoopGuard {
    /// A guard that knows no more than the mark of an earlier run; without one, with a random seed.
    pub(super) fn new(mark: Option<Mark>, seed: u64) -> Self {
        let seed = mark.map_or(seed, |mark| mark.seed);
        Self { seed, mark, requests: HashSet::new(), pages: HashSet::new() }
    }

    /// The key of the hashes.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Remembers a request; `false` if it was there before.
    pub(super) fn request(&mut self, identity: &str) -> bool {
        let hash = self.hash(identity);
        self.mark.is_none_or(|mark| mark.request != hash) && is_new(&mut self.requests, hash)
            || on(Defect::CirclesAreFollowed)
    }

    /// Remembers the content of a page, given as its hash; `false` if it was there before.
    pub(super) fn page(&mut self, hash: u64) -> bool {
        self.mark.is_none_or(|mark| mark.content != Some(hash)) && is_new(&mut self.pages, hash)
            || on(Defect::CirclesAreFollowed)
    }

    /// Page number `n` of the read had this content, and led to this request: the mark to keep.
    pub(super) fn marked(&mut self, n: u64, identity: &str, content: Option<u64>) -> Option<Mark> {
        if n.is_power_of_two() {
            self.mark = Some(Mark { seed: self.seed, request: self.hash(identity), content });
        }
        self.mark
    }

    fn hash(&self, identity: &str) -> u64 {
        xxh3_64_with_seed(identity.as_bytes(), self.seed)
    }
}

fn is_new(seen: &mut HashSet<u64>, hash: u64) -> bool {
    if seen.len() < EXACT { seen.insert(hash) } else { !seen.contains(&hash) }
}

const EXACT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until a request comes again of `tail` pages that lead into a cycle of `cycle`, in runs of `run` pages.
    fn steps(tail: u64, cycle: u64, run: u64) -> u64 {
        let mut guard = LoopGuard::new(None, 7);
        let mut mark = None;
        for n in 1.. {
            let identity = if n < tail { n.to_string() } else { (tail + (n - tail) % cycle).to_string() };
            if !guard.request(&identity) {
                return n;
            }
            mark = guard.marked(n, &identity, None).or(mark);
            if n % run == 0 {
                guard = LoopGuard::new(mark, n);
            }
        }
        unreachable!("it goes on until it is noticed")
    }

    #[test]
    fn notices_a_repeat_however_far_back() {
        assert_eq!(steps(1, 1_000, u64::MAX), 1_001);
        let mut guard = LoopGuard::new(None, 7);
        assert!(guard.page(1) && guard.page(2) && !guard.page(1));
    }

    #[test]
    fn notices_a_cycle_that_is_longer_than_each_run() {
        for (tail, cycle, run) in [(1, 15, 10), (100, 15, 10), (3, 1_000, 1), (1, 3, 1)] {
            let steps = steps(tail, cycle, run);
            assert!(steps <= 4 * (tail + cycle), "{tail} {cycle} {run}: {steps}");
        }
    }

    #[test]
    fn notices_a_cycle_that_begins_after_its_memory_is_full() {
        let tail = EXACT as u64 + 3_000;
        assert!(steps(tail, 5_000, u64::MAX) < 2 * tail + 10_000);
    }
}
