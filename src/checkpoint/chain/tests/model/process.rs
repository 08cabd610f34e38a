//! The processes of the model: each makes one request at a time and decides by the answer, as production does. Here are the walk to
//! the end of the chain, and the collection; an owner is in `owner`.

use super::owner::spend;
use super::rules::Mutation;
use super::state::{Loader, NUMBERS, Process, State, Store, WRITERS};
use super::world::World;
use crate::checkpoint::chain::decide::{self, End, Missing, ReadBack, Standing};

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    // The walk to the end of the chain.
    Boundary,
    Hint,
    First,
    Before,
    Forward,
    Broken,
    Above,
    Empty,
    Last,
    Data,
    Passed,
    Successor,
    Missing,
    // A create that is decided.
    Send,
    ReadBack,
    Created,
    Taken,
    // An owner.
    CheckMark,
    Commit,
    Explain,
    Owns,
    // A collection.
    Retained,
    Limit,
    Newest,
    Advance,
    Remove,
}

use Phase as P;

impl Phase {
    const ALL: [Self; 27] = [
        Self::Idle,
        Self::Boundary,
        Self::Hint,
        Self::First,
        Self::Before,
        Self::Forward,
        Self::Broken,
        Self::Above,
        Self::Empty,
        Self::Last,
        Self::Data,
        Self::Passed,
        Self::Successor,
        Self::Missing,
        Self::Send,
        Self::ReadBack,
        Self::Created,
        Self::Taken,
        Self::CheckMark,
        Self::Commit,
        Self::Explain,
        Self::Owns,
        Self::Retained,
        Self::Limit,
        Self::Newest,
        Self::Advance,
        Self::Remove,
    ];

    pub(super) fn of(process: &Process) -> Self {
        Self::ALL[usize::try_from(process.phase).expect("small")]
    }
}

/// Beyond every number.
pub(super) const ALL: u64 = 15;

impl World {
    pub(super) fn process(&mut self, state: &State, who: usize) {
        let process = Process::unpack(if who < WRITERS { state.writers[who] } else { state.collectors[who - WRITERS] });
        let phase = Phase::of(&process);
        if phase != P::Idle && !self.rescuing {
            self.stop(state, who, process);
        }
        let (store, read) = (Store::unpack(state.store), |number| state.slot(number));
        match phase {
            P::Idle => {
                let most = if who < WRITERS { self.bounds.lives } else { self.bounds.runs };
                if process.lives < most {
                    let lives = process.lives + 1;
                    self.go(state, who, P::Hint, Process { lives, began: store.boundary, ..Process::default() });
                }
            }
            P::Boundary => {
                let lives = process.lives;
                self.go(state, who, P::Hint, Process { lives, began: store.boundary, ..Process::default() });
            }
            P::Hint => {
                let known: Vec<u64> = (process.began + 1..=NUMBERS).filter(|n| read(*n) > 0).collect();
                let plain = Process { at: decide::begin(process.began, &[]), ..process };
                if let Some(top) = known.last() {
                    self.go(
                        state,
                        who,
                        P::First,
                        Process { at: decide::begin(process.began, &known), top: *top, ..process },
                    );
                }
                if known.is_empty() || !self.rescuing {
                    self.go(state, who, P::Forward, plain);
                }
            }
            P::First => match read(process.at) {
                0 => self.go(state, who, P::Forward, Process { at: decide::begin(process.began, &[]), ..process }),
                found if process.at > process.began + 1 => {
                    self.go(state, who, P::Before, Process { next: found, ..process });
                }
                found => self.walked(state, who, process, found),
            },
            P::Before => match read(process.at - 1) {
                0 => self.go(state, who, P::Missing, Process { at: process.at - 1, ..process }),
                before => self.walked(state, who, Process { head: before, ..process }, process.next),
            },
            P::Forward => match read(process.at) {
                0 if process.top > process.at => self.go(state, who, P::Above, process),
                0 => self.ended(state, who, process),
                found => self.walked(state, who, process, found),
            },
            P::Broken => {
                let missing = self.rules.broken_link(process.at, process.began, store.boundary);
                self.again(state, who, process, missing, "a record does not follow from the one before");
            }
            P::Above => match read(process.top) {
                0 => self.ended(state, who, process),
                _ => self.go(state, who, P::Missing, process),
            },
            P::Empty => match decide::nothing_above(store.boundary) {
                End::Empty => self.found(state, who, Process { other: 0, ..process }),
                End::Hollow => self.go(state, who, P::Missing, process),
            },
            P::Last => match decide::standing(self.book.number(process.head), store.boundary) {
                Standing::Lost => self.again(state, who, process, Missing::Collected, ""),
                Standing::Holds => {
                    let made = self.book.made(process.head);
                    match made.newest_with_self() {
                        0 => self.found(state, who, Process { other: 0, ..process }),
                        newest if newest == made.number => {
                            self.found(state, who, Process { other: process.head, ..process })
                        }
                        newest => self.go(state, who, P::Data, Process { at: newest, ..process }),
                    }
                }
            },
            P::Data => match read(process.at) {
                0 => self.go(state, who, P::Missing, process),
                found => self.go(state, who, P::Passed, Process { next: found, ..process }),
            },
            P::Passed => match decide::standing(process.at, store.boundary) {
                Standing::Lost => self.go(state, who, P::Successor, Process { began: store.boundary, ..process }),
                Standing::Holds => self.found(state, who, Process { other: process.next, next: 0, ..process }),
            },
            P::Successor => {
                let head = self.book.number(process.head);
                let missing = decide::passed_data(head, process.began, read(head + 1) > 0);
                self.again(state, who, process, missing, "the boundary has passed the newest data record");
            }
            P::Missing => {
                let missing = self.rules.missing(process.at, store.boundary);
                self.again(state, who, process, missing, "a record is missing");
            }
            P::Send => self.send(state, who, process, &store),
            P::ReadBack => {
                let found = read(self.book.number(process.next));
                let read_back = match found {
                    0 => ReadBack::Absent,
                    found if found == process.next => ReadBack::Same,
                    _ => ReadBack::Other,
                };
                self.settled(state, who, process, read_back, found);
                if store.faults > 0 && !self.rescuing {
                    let state = spend(state, &store);
                    self.settled(&state, who, process, ReadBack::Failed, 0);
                }
            }
            P::Created => {
                let number = self.book.number(process.next);
                match self.rules.created(number, process.began, store.boundary) {
                    Standing::Lost => self.fenced(state, who, process),
                    Standing::Holds => self.acknowledged(state, who, process, &store),
                }
            }
            P::Taken => match self.rules.taken(self.book.number(process.next), store.boundary) {
                Standing::Lost => self.fenced(state, who, process),
                Standing::Holds => self.taken(state, who, process),
            },
            P::CheckMark => self.check_mark(state, who, process),
            P::Commit => self.committing(state, who, process, &store),
            P::Explain => {
                let (number, mine) = (self.book.number(process.head) + 1, self.book.made(process.head).nonce);
                let next = read(number);
                let moved = next > 0 && self.book.made(next).nonce != mine;
                if moved || decide::standing(number, store.boundary) == Standing::Lost {
                    self.fenced(state, who, process);
                } else {
                    self.alarm(state, who, process, "the destination does not fit the chain");
                }
            }
            P::Owns => self.owns(state, who, process, &store),
            P::Retained => {
                let loads = state.loads.iter().take(self.bounds.loads).map(|load| Loader::unpack(*load).published);
                let base = if process.other > 0 { self.book.made(process.other).base } else { 0 };
                let top = self.rules.through(loads, base).min(ALL);
                self.go(state, who, P::Limit, Process { top, ..process });
            }
            P::Limit => {
                let newest = Some(self.book.number(process.other)).filter(|n| *n > 0);
                let before = store.boundary;
                let limit = self.rules.limit(process.top, newest, self.book.number(process.head), before);
                let process = Process { began: before, top: limit, at: 1, ..process };
                if limit > before && !self.rules.without(Mutation::DeletedBeforeBoundary) {
                    self.go(state, who, P::Newest, process);
                } else {
                    self.remove(state, who, process);
                }
            }
            P::Newest if store.boundary >= process.top && !self.rules.without(Mutation::BoundaryGoesBack) => {
                self.remove(state, who, Process { at: 1, ..process });
            }
            P::Newest => self.go(state, who, P::Advance, Process { at: store.boundary, ..process }),
            P::Advance if store.boundary == process.at || self.rules.without(Mutation::BoundaryGoesBack) => {
                let mut to = *state;
                to.store = Store { boundary: process.top, ..store }.pack();
                self.check(state, &to);
                self.remove(&to, who, Process { at: 1, ..process });
            }
            P::Advance => self.go(state, who, P::Newest, process),
            P::Remove => {
                if process.at > store.boundary {
                    self.violated("a record above the boundary was deleted");
                }
                let mut to = *state;
                to.set_slot(process.at, 0);
                self.check(state, &to);
                self.remove(&to, who, Process { at: process.at + 1, ..process });
            }
        }
    }

    /// The process goes on with `phase`.
    pub(super) fn go(&mut self, state: &State, who: usize, phase: Phase, process: Process) {
        let mut to = *state;
        let word = Process { phase: phase as u64, ..process }.pack();
        if who < WRITERS {
            to.writers[who] = word;
        } else {
            to.collectors[who - WRITERS] = word;
        }
        self.emit(state, to);
    }

    /// The process ends, or is killed: it forgets everything.
    pub(super) fn stop(&mut self, state: &State, who: usize, process: Process) {
        self.go(state, who, P::Idle, Process { lives: process.lives, ..Process::default() });
    }

    /// The process halts for what it takes for damage.
    pub(super) fn alarm(&mut self, state: &State, who: usize, process: Process, what: &str) {
        if Store::unpack(state.store).damaged == 0 {
            self.violated(&format!("a sound world is taken for a damaged one: {what}"));
        }
        self.stop(state, who, process);
    }

    pub(super) fn fenced(&mut self, state: &State, who: usize, process: Process) {
        let end = Store::unpack(state.store).end;
        let mine = if process.next > 0 { process.next } else { process.head };
        if end == 0 || self.book.made(end).nonce == self.book.made(mine).nonce {
            self.violated("an owner is told that it was fenced out, and nobody has");
        }
        self.stop(state, who, process);
    }

    pub(super) fn again(&mut self, state: &State, who: usize, process: Process, missing: Missing, what: &str) {
        match missing {
            Missing::Collected => {
                self.go(state, who, P::Boundary, Process { lives: process.lives, ..Process::default() })
            }
            Missing::Hole => self.alarm(state, who, process, what),
        }
    }

    /// A walk has read the next record.
    pub(super) fn walked(&mut self, state: &State, who: usize, process: Process, found: u64) {
        if process.head > 0 || process.at == 1 {
            let follows = self.rules.follows(self.book.link(process.head), self.book.record(found).0);
            if follows.is_err() {
                return self.go(state, who, P::Broken, process);
            }
        }
        self.go(state, who, P::Forward, Process { head: found, next: 0, at: process.at + 1, ..process });
    }

    pub(super) fn ended(&mut self, state: &State, who: usize, process: Process) {
        self.go(state, who, if process.head > 0 { P::Last } else { P::Empty }, process);
    }

    /// A walk has found the end, and the newest data record.
    pub(super) fn found(&mut self, state: &State, who: usize, process: Process) {
        let Process { lives, began, head, other, .. } = process;
        let process = Process { lives, began, head, other, ..Process::default() };
        if who >= WRITERS {
            let phase = if self.bounds.loads > 0 { P::Retained } else { P::Limit };
            return self.go(state, who, phase, Process { top: ALL, ..process });
        }
        if other > 0 && !self.book.made(other).data || other != self.book.newest_data(head) {
            self.violated("an owner recovers what is not the newest epoch");
        }
        self.fence(state, who, process);
    }

    /// The collection goes on with the next record that it deletes.
    fn remove(&mut self, state: &State, who: usize, process: Process) {
        // What earlier collections have left is deleted if it is there, what lies above in any case.
        let next = (process.at..=process.top).find(|n| *n > process.began || state.slot(*n) > 0);
        match next {
            Some(at) => self.go(state, who, P::Remove, Process { at, ..process }),
            None if who >= WRITERS => self.stop(state, who, process),
            None => {
                let Process { lives, head, .. } = process;
                self.go(state, who, P::Owns, Process { lives, head, ..Process::default() });
            }
        }
    }
}
