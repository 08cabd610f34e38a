//! An owner in the model: it writes its fence, finishes what was prepared, prepares and commits. Every create and every commit may
//! go wrong in every way.

use super::process::{ALL, Phase as P};
use super::rules::Mutation;
use super::state::{Made, NUMBERS, Process, Sink, State, Store};
use super::world::World;
use crate::checkpoint::chain::decide::{self, Answer, Outcome, ReadBack, Slot};
use crate::model::Incarnation;
use crate::sink::{CommitDecision, CommitOutcome, Mark};

const ANSWERS: [Answer; 4] =
    [Answer::Exists, Answer::Doubt, Answer::Refused { transient: true }, Answer::Refused { transient: false }];
const EXISTS: u64 = 0;
const DOUBT: u64 = 1;

impl World {
    /// A new owner writes its fence after the head.
    pub(super) fn fence(&mut self, state: &State, who: usize, process: Process) {
        let Process { lives, began, head, .. } = process;
        let generation = match process.next {
            0 => self.rules.next_generation(self.book.link(head).map(|(record, _)| record)),
            mine => self.book.made(mine).generation,
        };
        let place = decide::place_after(self.book.link(head)).expect("numbers are left");
        let forgets = self.rules.without(Mutation::FenceForgetsData);
        let made = Made {
            number: place.number,
            data: false,
            generation,
            nonce: if self.rescuing { ALL } else { who as u64 * 4 + lives },
            parent: head,
            newest: place.newest_data.filter(|_| !forgets).unwrap_or(0),
            item: self.book.item(head),
            base: if head > 0 { self.book.made(head).base } else { 0 },
        };
        if made.number > if self.rescuing { NUMBERS } else { self.bounds.numbers } {
            return;
        }
        let next = self.book.id(made);
        self.go(state, who, P::Send, Process { lives, began, head, next, left: 1, ..Process::default() });
    }

    pub(super) fn send(&mut self, state: &State, who: usize, process: Process, store: &Store) {
        let mut to = *state;
        if self.create(&mut to, process.next) {
            self.go_from(state, &to, who, P::Created, Process { answer: 0, doubted: 0, left: 0, ..process });
        } else {
            self.go(state, who, P::ReadBack, Process { answer: EXISTS, ..process });
        }
        if store.faults == 0 || self.rescuing {
            return;
        }
        let spent = spend(state, store);
        // It happens; the answer is lost, or the client has tried twice.
        let mut to = spent;
        self.create(&mut to, process.next);
        for answer in [DOUBT, EXISTS] {
            self.go_from(state, &to, who, P::ReadBack, Process { answer, ..process });
        }
        // It does not happen: there is a conflict, or a refusal that may pass, or one that does not.
        for answer in [EXISTS, 2, 3] {
            self.go_from(state, &spent, who, P::ReadBack, Process { answer, ..process });
        }
        // It happens later, or never.
        let now = Store::unpack(spent.store);
        if now.later == 0 {
            let (flying, later) = (now.flying.max(process.next), now.flying.min(process.next));
            let mut to = spent;
            to.store = Store { flying, later, ..now }.pack();
            self.go_from(state, &to, who, P::ReadBack, Process { answer: DOUBT, ..process });
        }
    }

    /// As [`go`](Self::go), where the world has changed too.
    pub(super) fn go_from(&mut self, from: &State, to: &State, who: usize, phase: P, process: Process) {
        self.check(from, to);
        self.go(to, who, phase, process);
    }

    /// The effect of a create; says whether there was one.
    pub(super) fn create(&mut self, state: &mut State, id: u64) -> bool {
        let made = self.book.made(id);
        if state.slot(made.number) > 0 {
            return false;
        }
        state.set_slot(made.number, id);
        let mut store = Store::unpack(state.store);
        let last = self.book.number(store.end);
        if made.number <= last {
            // A leftover.
            if made.number > store.boundary {
                self.violated("a number was decided twice");
            }
            return true;
        }
        let (generation, nonce, item) = match store.end {
            0 => (0, 0, 0),
            end => {
                let end = self.book.made(end);
                (end.generation, end.nonce, end.item)
            }
        };
        let owner = if made.data {
            made.generation == generation && made.nonce == nonce && made.item == item + 1
        } else {
            made.generation > generation && made.item == item
        };
        if made.number != last + 1 || made.parent != store.end || !owner {
            self.violated("the chain has forked");
        }
        store.end = id;
        state.store = store.pack();
        true
    }

    pub(super) fn settled(&mut self, state: &State, who: usize, process: Process, read_back: ReadBack, found: u64) {
        let answer = ANSWERS[usize::try_from(process.answer).expect("small")];
        let left = u32::try_from(process.left).expect("small");
        let store = Store::unpack(state.store);
        match self.rules.settle(answer, read_back, process.doubted == 1, left) {
            Outcome::Mine => self.go(state, who, P::Created, Process { answer: 0, doubted: 0, left: 0, ..process }),
            Outcome::Lost if found == 0 => self.fenced(state, who, process),
            Outcome::Lost => {
                let process = Process { other: found, answer: 0, doubted: 0, left: 0, ..process };
                if self.book.made(process.next).data {
                    self.taken(state, who, process);
                } else {
                    self.go(state, who, P::Taken, process);
                }
            }
            Outcome::Retry => {
                let doubted = process.doubted | u64::from(decide::may_have_happened(answer));
                self.go(state, who, P::Send, Process { answer: 0, doubted, left: process.left - 1, ..process });
            }
            Outcome::Refused => {
                let number = self.book.number(process.next);
                let happened = self.book.ancestor(store.end, number) == process.next;
                if happened || store.flying == process.next || store.later == process.next {
                    self.violated("a writer is told that nothing happened, and it did, or may");
                }
                self.stop(state, who, process);
            }
            Outcome::Unknown => self.stop(state, who, process),
        }
    }

    /// The number that was wanted holds another record.
    pub(super) fn taken(&mut self, state: &State, who: usize, process: Process) {
        let (mine, theirs) = (self.book.record(process.next).0, self.book.record(process.other).0);
        let follows = self.rules.follows(self.book.link(process.head), theirs);
        let (slot, older) = (self.rules.slot(mine, theirs), theirs.generation < mine.generation);
        let fence = !self.book.made(process.next).data;
        match slot {
            _ if follows.is_err() => self.alarm(state, who, process, "a record does not follow from the one before"),
            Slot::Lost if older => self.violated("an older owner shuts a new one out"),
            Slot::Lost => self.fenced(state, who, process),
            Slot::TakeAsHead if fence => self.fence(state, who, Process { head: process.other, ..process }),
            Slot::TakeAsHead | Slot::Mine => self.alarm(state, who, process, "a stranger's record"),
        }
    }

    /// The writer is told that its record counts.
    pub(super) fn acknowledged(&mut self, state: &State, who: usize, process: Process, store: &Store) {
        let made = self.book.made(process.next);
        if self.book.ancestor(store.end, made.number) != process.next {
            self.violated("a writer is told that its record counts, and it does not");
        }
        let Process { lives, began, next, .. } = process;
        let owner = Process { lives, began, head: next, ..Process::default() };
        if self.bounds.loads > 0 {
            self.go(state, who, P::Owns, owner);
        } else if made.data {
            let early = self.rules.without(Mutation::PreparedTooEarly) && made.item < self.bounds.items;
            self.go(
                state,
                who,
                if early { P::Owns } else { P::Commit },
                Process { next: if early { 0 } else { next }, ..owner },
            );
        } else {
            let skipped = self.rules.without(Mutation::RecoverySkipped);
            self.go(state, who, if skipped { P::Owns } else { P::CheckMark }, owner);
        }
    }

    pub(super) fn check_mark(&mut self, state: &State, who: usize, process: Process) {
        let data = self.book.newest_data(process.head);
        let life = Incarnation("life".to_owned());
        let newest = (data > 0).then(|| (&life, self.book.number(data)));
        let previous = if data > 0 { self.book.made(data).newest } else { 0 };
        let fitting = [newest.map(|(_, number)| number), Some(previous).filter(|n| *n > 0)];
        let sink = Sink::unpack(state.sink);
        let held = self.mark(sink.mark, sink.generation);
        if !self.rules.fits(held.as_ref(), newest, &fitting) {
            self.go(state, who, P::Explain, process);
        } else if data > 0 {
            self.go(state, who, P::Commit, Process { next: data, ..process });
        } else {
            self.go(state, who, P::Owns, process);
        }
    }

    pub(super) fn mark(&self, id: u64, generation: u64) -> Option<Mark> {
        let (record, digest) = self.book.link(id)?;
        let incarnation = record.incarnation.clone();
        Some(Mark { incarnation, generation, epoch: record.number, digest: digest.to_owned() })
    }

    pub(super) fn committing(&mut self, state: &State, who: usize, process: Process, store: &Store) {
        let generation = self.book.made(process.head).generation;
        let mut to = *state;
        let outcome = self.commit(&mut to, process.next, generation);
        match outcome {
            CommitOutcome::Done | CommitOutcome::AlreadyCommitted => {
                let mark = Sink::unpack(to.sink).mark;
                if self.book.ancestor(mark, self.book.number(process.next)) != process.next {
                    self.violated("an owner is told that its epoch is committed, and it is not");
                }
                self.go(&to, who, P::Owns, Process { next: 0, ..process });
            }
            CommitOutcome::Fenced { .. } => self.fenced(&to, who, Process { next: 0, ..process }),
            CommitOutcome::Gap { .. } | CommitOutcome::Fork { .. } => {
                self.go(&to, who, P::Explain, Process { next: 0, ..process });
            }
        }
        if store.faults > 0 && !self.rescuing {
            // The answer is lost, after the effect or before it; then it happens later, or never.
            let spent = spend(state, store);
            self.go(&State { sink: to.sink, ..spent }, who, P::Commit, process);
            let sink = Sink::unpack(spent.sink);
            if sink.flying == 0 {
                let sink = Sink { flying: process.next, flying_generation: generation, ..sink };
                self.go(&State { sink: sink.pack(), ..spent }, who, P::Commit, process);
            }
        }
    }

    /// The effect of a commit.
    pub(super) fn commit(&mut self, state: &mut State, id: u64, generation: u64) -> CommitOutcome {
        let sink = Sink::unpack(state.sink);
        let made = self.book.made(id);
        let held = self.mark(sink.mark, sink.generation);
        let Some(wanted) = self.mark(id, generation) else { return CommitOutcome::Gap { found: None } };
        match self.rules.commit(held.as_ref(), &wanted, Some(made.newest).filter(|n| *n > 0)) {
            CommitDecision::Answer(outcome) => outcome,
            CommitDecision::Apply => {
                if self.book.number(sink.mark) >= made.number {
                    self.violated("the mark went back");
                }
                if made.item != sink.applied + 1 {
                    self.violated("an epoch was applied twice, or out of order");
                }
                if self.book.ancestor(Store::unpack(state.store).end, made.number) != id {
                    self.violated("an epoch was applied that is not in the chain");
                }
                state.sink = Sink { mark: id, generation, applied: made.item, ..sink }.pack();
                CommitOutcome::Done
            }
        }
    }

    pub(super) fn owns(&mut self, state: &State, who: usize, process: Process, store: &Store) {
        let head = self.book.made(process.head);
        let numbers = if self.rescuing { NUMBERS } else { self.bounds.numbers };
        if head.item < self.bounds.items && head.number < numbers {
            let place = decide::place_after(self.book.link(process.head)).expect("numbers are left");
            let item = head.item + 1;
            let made = Made {
                number: place.number,
                data: true,
                parent: process.head,
                newest: place.newest_data.unwrap_or(0),
                item,
                // Every other segment has a base.
                base: if item % 2 == 1 { place.number } else { head.base },
                ..head
            };
            let next = self.book.id(made);
            self.go(state, who, P::Send, Process { next, left: 1, ..process });
        }
        let data = self.book.newest_data(process.head);
        if self.bounds.owners_collect && !self.rescuing && self.book.number(data) > store.boundary + 1 {
            let phase = if self.bounds.loads > 0 { P::Retained } else { P::Limit };
            self.go(state, who, phase, Process { other: data, top: ALL, ..process });
        }
    }
}

/// One more answer goes wrong.
pub(super) fn spend(state: &State, store: &Store) -> State {
    State { store: Store { faults: store.faults - 1, ..*store }.pack(), ..*state }
}
