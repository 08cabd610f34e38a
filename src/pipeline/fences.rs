//! Which partitions of a run have ended, and what may move because of it: positions behind a fence pass once everything that
//! was listed before is durable and proven.

use super::extract::shard_of;
use crate::defects::{Defect, on};
use crate::env::watch;
use crate::model::{PartitionId, PositionValue};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Fences that wait; when there are more, each second one is left out that a later one of the same partition includes.
const MOST_WAITING: usize = 1_024;

/// Numbers partitions as they are listed, and holds fences back. Shared by the listing and all shards of a run; holds as much
/// as there are partitions under way.
#[derive(Debug)]
pub(super) struct Fences {
    shards: u32,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// The number of the next partition.
    next: u64,
    /// Numbers that were given and have not ended.
    open: BTreeSet<u64>,
    waiting: VecDeque<Fence>,
    /// What has passed, for the shard that the partition belongs to.
    due: Vec<BTreeMap<PartitionId, PositionValue>>,
    /// The lowest number that ended without proof: no fence behind it passes.
    unproven: Option<u64>,
    listed: Option<Listed>,
}

/// How the list of partitions ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Whole,
    InPart,
}

/// Passes when all numbers below `behind` have ended with proof.
#[derive(Debug)]
struct Fence {
    behind: u64,
    partition: PartitionId,
    to: PositionValue,
}

impl Fences {
    pub(super) fn new(shards: u32) -> Self {
        let state = State {
            next: 0,
            open: BTreeSet::new(),
            waiting: VecDeque::new(),
            due: vec![BTreeMap::new(); shards as usize],
            unproven: None,
            listed: None,
        };
        Self { shards, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// Gives the next partition its number; it is under way from now on.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        number
    }

    /// A fence behind everything that has begun.
    pub(super) fn fence(&self, partition: PartitionId, to: PositionValue) {
        self.update(|state| {
            let behind = state.next;
            // Without anything listed in between, the later one says it all.
            match state.waiting.back_mut() {
                Some(last) if last.behind == behind && last.partition == partition => last.to = to,
                _ => state.waiting.push_back(Fence { behind, partition, to }),
            }
            state.thin();
        });
    }

    /// Partitions have ended, and that is durable: with proof, or without.
    pub(super) fn ended(&self, ends: impl IntoIterator<Item = (u64, bool)>) {
        self.update(|state| {
            for (number, proven) in ends {
                state.open.remove(&number);
                if !proven {
                    state.unproven = Some(state.unproven.map_or(number, |lowest| lowest.min(number)));
                }
            }
        });
    }

    /// Nothing more will be listed; whether that is all.
    pub(super) fn close(&self, whole: bool) {
        self.update(|state| state.listed = Some(if whole { Listed::Whole } else { Listed::InPart }));
    }

    /// Whether all partitions were listed, and have ended with proof; `None` if that is not known yet.
    pub(super) fn whole(&self) -> Option<bool> {
        let state = self.lock();
        match state.listed? {
            _ if state.unproven.is_some() && !on(Defect::FailedReadIsWhole) => Some(false),
            Listed::InPart => Some(false),
            Listed::Whole => state.open.is_empty().then_some(true),
        }
    }

    /// What has begun and has not ended never will: a shard failed, or the run stops. No fence behind it passes.
    pub(super) fn give_up(&self) {
        self.update(|state| {
            let lowest = state.open.first().copied().unwrap_or(state.next);
            state.unproven = Some(state.unproven.map_or(lowest, |unproven| unproven.min(lowest)));
            state.open.clear();
        });
    }

    /// Positions of shard `number` that have passed their fences since it was asked.
    pub(super) fn take_due(&self, number: u32) -> BTreeMap<PartitionId, PositionValue> {
        self.lock().due.get_mut(number as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Whether no position of shard `number` will pass any more.
    pub(super) fn is_settled(&self, number: u32) -> bool {
        let state = self.lock();
        state.listed.is_some()
            && state.waiting.is_empty()
            && state.due.get(number as usize).is_none_or(BTreeMap::is_empty)
    }

    /// Tells when something has changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.settle(self.shards);
        drop(state);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self, shards: u32) {
        if let Some(unproven) = self.unproven.filter(|_| !on(Defect::ParentsAreAhead)) {
            self.waiting.retain(|fence| fence.behind <= unproven);
        }
        while let Some(fence) = self.waiting.front() {
            if self.open.first().is_some_and(|open| *open < fence.behind) && !on(Defect::ParentsAreAhead) {
                break;
            }
            if let Some(Fence { partition, to, .. }) = self.waiting.pop_front() {
                if let Some(due) = self.due.get_mut(shard_of(&partition, shards) as usize) {
                    due.insert(partition, to);
                }
            }
        }
    }

    fn thin(&mut self) {
        if self.waiting.len() <= MOST_WAITING {
            return;
        }
        let mut newest: BTreeMap<PartitionId, u64> = BTreeMap::new();
        for fence in &self.waiting {
            newest.insert(fence.partition.clone(), fence.behind);
        }
        let mut odd = false;
        self.waiting.retain(|fence| {
            odd = !odd;
            odd || newest.get(&fence.partition) == Some(&fence.behind)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Validity;

    fn at(value: u64) -> PositionValue {
        PositionValue::new(value, Validity::Durable)
    }

    fn due(fences: &Fences) -> Option<u64> {
        fences.take_due(0).get(&"parent".into()).and_then(|p| p.value.as_u64())
    }

    #[test]
    fn a_fence_passes_when_all_before_it_have_ended_with_proof_in_whatever_order() {
        let fences = Fences::new(1);
        let [a, b] = [fences.begin(), fences.begin()];
        fences.fence("parent".into(), at(1));
        let c = fences.begin();
        fences.fence("parent".into(), at(2));
        fences.ended([(b, true), (c, true)]);
        assert_eq!(due(&fences), None, "the first is still under way");
        fences.ended([(a, true)]);
        assert_eq!(due(&fences), Some(2));
        assert!(!fences.is_settled(0), "more may be listed");
        fences.close(true);
        assert!(fences.is_settled(0));
    }

    #[test]
    fn nothing_passes_a_partition_that_ended_without_proof() {
        let fences = Fences::new(1);
        let a = fences.begin();
        fences.fence("parent".into(), at(1));
        let b = fences.begin();
        fences.fence("parent".into(), at(2));
        fences.ended([(b, false)]);
        fences.ended([(a, true)]);
        assert_eq!(due(&fences), Some(1), "what was before it passes");
        let c = fences.begin();
        fences.fence("parent".into(), at(3));
        fences.ended([(c, true)]);
        fences.close(true);
        assert_eq!((due(&fences), fences.is_settled(0)), (None, true));
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let fences = Fences::new(2);
        let a = fences.begin();
        fences.fence("parent".into(), at(1));
        fences.begin();
        fences.fence("parent".into(), at(2));
        fences.ended([(a, true)]);
        fences.give_up();
        fences.close(true);
        let shard = shard_of(&"parent".into(), 2);
        assert_eq!(fences.take_due(shard).len(), 1);
        assert!(fences.is_settled(0) && fences.is_settled(1));
    }

    #[test]
    fn fences_behind_a_slow_partition_stay_few_and_the_last_one_counts() {
        let fences = Fences::new(1);
        let slow = fences.begin();
        for n in 0..100_000 {
            let child = fences.begin();
            fences.fence("parent".into(), at(n));
            fences.ended([(child, true)]);
        }
        assert!(fences.lock().waiting.len() <= MOST_WAITING + 1);
        fences.ended([(slow, true)]);
        assert_eq!(due(&fences), Some(99_999));
    }
}
