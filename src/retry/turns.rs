//! Who waits for something scarce, and in which order.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// What goes first where many wait for the same.
///
/// The order is strict: while incremental work waits, a backfill does not begin another call. Within one priority, first
/// come is first served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Priority {
    /// Work that keeps data fresh. The default.
    #[default]
    Incremental,
    /// Work that fills in the past.
    Backfill,
}

/// A place in the queue.
pub(super) type Place = (Priority, u64);

/// The queue. Each who waits wants some things (a set of at most 64), and goes ahead of none that came earlier and wants
/// one of the same; who wants others does not wait behind it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeMap<Place, Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    wants: u64,
    weights: Vec<(usize, u32)>,
    wake: Arc<Notify>,
}

impl Turns {
    /// Takes a place at the end of `priority`. `weights` are how much of which thing is wanted.
    pub(super) fn enter(&mut self, priority: Priority, weights: &[(usize, u32)]) -> (Place, Arc<Notify>) {
        let place = (priority, self.next);
        self.next += 1;
        let wake = Arc::new(Notify::new());
        let wants = weights.iter().fold(0, |wants, (thing, _)| wants | 1 << thing);
        self.waiting.insert(place, Waiting { wants, weights: weights.to_vec(), wake: Arc::clone(&wake) });
        (place, wake)
    }

    /// Whether nobody before `place` wants one of the same things.
    pub(super) fn is_first(&self, place: Place) -> bool {
        let Some(own) = self.waiting.get(&place) else { return false };
        self.waiting.range(..place).all(|(_, earlier)| earlier.wants & own.wants == 0)
    }

    /// How much of `thing` those before `place` want.
    pub(super) fn ahead(&self, place: Place, thing: usize) -> u64 {
        let earlier = self.waiting.range(..place).flat_map(|(_, earlier)| &earlier.weights);
        earlier.filter(|(other, _)| *other == thing).map(|(_, weight)| u64::from(*weight)).sum()
    }

    /// Gives the place up, and wakes who is first now.
    pub(super) fn leave(&mut self, place: Place) {
        if self.waiting.remove(&place).is_some() {
            self.wake();
        }
    }

    /// Wakes all who are first: what they wait for has changed.
    pub(super) fn wake(&self) {
        let mut wanted = 0;
        for waiting in self.waiting.values() {
            if waiting.wants & wanted == 0 {
                // It keeps for one who is not listening yet.
                waiting.wake.notify_one();
            }
            wanted |= waiting.wants;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_is_who_came_first_among_those_that_want_the_same() {
        let mut turns = Turns::default();
        let (backfill, _) = turns.enter(Priority::Backfill, &[(0, 1)]);
        let (other, _) = turns.enter(Priority::Backfill, &[(1, 1)]);
        let (both, _) = turns.enter(Priority::Backfill, &[(0, 2), (1, 1)]);
        assert!(turns.is_first(backfill) && turns.is_first(other) && !turns.is_first(both));
        let (incremental, _) = turns.enter(Priority::Incremental, &[(0, 5)]);
        assert!(turns.is_first(incremental) && !turns.is_first(backfill) && turns.is_first(other));
        assert_eq!(turns.ahead(both, 0), 6);
        for place in [backfill, other, incremental] {
            assert!(!turns.is_first(both));
            turns.leave(place);
        }
        assert!(turns.is_first(both) && !turns.is_first(other));
    }
}
