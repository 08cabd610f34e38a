use std::collections::HashSet;

/// Notices what comes a second time in one read: a request, or the content of a page.
///
/// It remembers 64-bit keyed hashes, a million of each. Beyond that it goes on with the last of them as marks that move on at
/// powers of two: a cycle of any length still meets its mark, only later.
#[derive(Debug)]
pub(super) struct LoopGuard {
    seed: u64,
    requests: History,
    pages: History,
}

impl LoopGuard {
    /// A guard that has seen nothing, with a random seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, requests: History::default(), pages: History::default() }
    }

    /// The key of the hashes.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Remembers a request; `false` if it was there before.
    pub(super) fn request(&mut self, identity: &str) -> bool {
        self.requests.is_new(xxhash_rust::xxh3::xxh3_64_with_seed(identity.as_bytes(), self.seed))
    }

    /// Remembers the content of a page, given as its hash; `false` if it was there before.
    pub(super) fn page(&mut self, hash: u64) -> bool {
        self.pages.is_new(hash)
    }
}

#[derive(Debug, Default)]
struct History {
    seen: HashSet<u64>,
    /// Hashes seen after `seen` was full.
    beyond: u64,
    mark: Option<u64>,
}

impl History {
    fn is_new(&mut self, hash: u64) -> bool {
        if self.seen.len() < EXACT {
            return self.seen.insert(hash);
        }
        if self.mark == Some(hash) || self.seen.contains(&hash) {
            return false;
        }
        self.beyond += 1;
        if self.beyond.is_power_of_two() {
            self.mark = Some(hash);
        }
        true
    }
}

const EXACT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_a_repeat_however_far_back() {
        let mut guard = LoopGuard::new(7);
        for n in 0..1_000 {
            assert!(guard.request(&format!("/p?cursor={n}")));
        }
        assert!(!guard.request("/p?cursor=0"));
        assert!(guard.page(1) && guard.page(2) && !guard.page(1));
    }

    #[test]
    fn notices_a_cycle_that_begins_after_its_memory_is_full() {
        let mut history = History::default();
        assert!((0..EXACT as u64).all(|n| history.is_new(n)));
        assert!((0..3_000).all(|n| history.is_new(2_000_000 + n)));
        let steps = (0..100_000u64).take_while(|n| history.is_new(3_000_000 + n % 5_000)).count();
        assert!(steps < 20_000, "{steps}");
        assert_eq!(history.seen.len(), EXACT);
    }
}
