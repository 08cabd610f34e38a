//! The world of the model: what can happen next besides the processes, and what holds in every state, whatever they believe.

use super::process::Phase;
use super::rules::{Mutation, Rules};
use super::search::Seen;
use super::state::{Book, COLLECTORS, LOADS, Loader, NUMBERS, Process, Sink, State, Store, WRITERS};
use std::fmt::Write;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) writers: usize,
    pub(super) collectors: usize,
    /// Loads of a landing; without any, the chain is of checkpoints, and there is a sink.
    pub(super) loads: usize,
    /// How often each writer is started.
    pub(super) lives: u64,
    /// How often each collector is started.
    pub(super) runs: u64,
    /// Epochs to commit, or segments to land.
    pub(super) items: u64,
    /// The highest number that is written.
    pub(super) numbers: u64,
    /// Answers that go wrong.
    pub(super) faults: u64,
    /// Whether owners collect too.
    pub(super) owners_collect: bool,
    pub(super) restored: Restored,
}

/// What is restored from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    Nothing,
    Sink,
    Checkpoints,
}

pub(super) struct World {
    pub(super) bounds: Bounds,
    pub(super) rules: Rules,
    pub(super) book: Book,
    /// A new owner that is alone, and that nothing happens to.
    pub(super) rescuing: bool,
    rescued: Seen,
    /// What the last state may become.
    pub(super) next: Vec<State>,
    pub(super) wrong: Option<String>,
}

impl World {
    pub(super) fn new(bounds: Bounds, rules: Rules) -> Self {
        assert!(bounds.writers <= WRITERS && bounds.collectors <= COLLECTORS && bounds.loads <= LOADS, "{bounds:?}");
        assert!(bounds.numbers + 2 + bounds.items <= NUMBERS, "the rescue finds room: {bounds:?}");
        let (book, rescued) = (Book::default(), Seen::new());
        Self { bounds, rules, book, rescuing: false, rescued, next: Vec::new(), wrong: None }
    }

    pub(super) fn initial(&self) -> State {
        let mut state =
            State { store: Store { faults: self.bounds.faults, ..Store::default() }.pack(), ..State::default() };
        for (number, load) in state.loads.iter_mut().take(self.bounds.loads).enumerate() {
            // The first one has been announced; the others are on their way.
            *load = Loader { committed: 1, published: u64::from(number == 0) }.pack();
        }
        state
    }

    pub(super) fn steps(&mut self, state: &State) {
        for who in 0..self.bounds.writers {
            self.process(state, who);
        }
        for who in 0..self.bounds.collectors {
            self.process(state, WRITERS + who);
        }
        for load in 0..self.bounds.loads {
            self.load(state, load);
        }
        self.arrivals(state);
        if self.bounds.restored != Restored::Nothing {
            self.restore(state);
        }
    }

    /// From every state some run commits everything: that of a new owner which is alone.
    pub(super) fn rescue(&mut self, state: &State) {
        let rest = state.at_rest();
        if Store::unpack(state.store).damaged == 1 || !self.rescued.add(rest) {
            return;
        }
        self.rescuing = true;
        let mut now = rest;
        for _ in 0..200 {
            self.process(&now, 0);
            let Some(next) = self.next.pop() else { break };
            assert!(self.next.is_empty(), "nothing but the one thing can happen");
            now = next;
        }
        self.rescuing = false;
        let process = Process::unpack(now.writers[0]);
        let items = self.bounds.items;
        let landed = Phase::of(&process) == Phase::Owns && self.book.item(process.head) == items;
        if !landed || self.bounds.loads == 0 && Sink::unpack(now.sink).applied != items {
            self.violated("nobody can commit the rest any more");
        }
    }

    pub(super) fn violated(&mut self, what: &str) {
        self.wrong.get_or_insert_with(|| what.to_owned());
    }

    pub(super) fn emit(&mut self, from: &State, to: State) {
        if !from.same_chain(&to) || from.loads != to.loads {
            self.check(from, &to);
        }
        self.next.push(to);
    }

    /// What holds in every state, whatever the processes believe.
    pub(super) fn check(&mut self, from: &State, to: &State) {
        let (before, now) = (Store::unpack(from.store), Store::unpack(to.store));
        if now.boundary < before.boundary {
            self.violated("the boundary went back");
        }
        let data = self.book.newest_data(now.end);
        let needed = match (data, self.bounds.loads) {
            (0, _) => 1,
            (_, 0) => self.book.number(data),
            (_, _) => self.book.made(data).base,
        };
        self.check_kept(to, needed, "what a recovery needs is gone");
        for load in 0..self.bounds.loads {
            self.check_kept(to, Loader::unpack(to.loads[load]).committed, "what a load needs is gone");
        }
    }

    /// Every record from `first` on is there, and counts.
    pub(super) fn check_kept(&mut self, state: &State, first: u64, message: &str) {
        let store = Store::unpack(state.store);
        let mut at = store.end;
        while at > 0 && self.book.number(at) >= first {
            if state.slot(self.book.number(at)) != at {
                self.violated(message);
            }
            at = self.book.made(at).parent;
        }
        if first <= self.book.number(store.end) && store.boundary >= first {
            self.violated(message);
        }
    }

    /// Puts and commits whose answer was lost arrive after all.
    pub(super) fn arrivals(&mut self, state: &State) {
        let store = Store::unpack(state.store);
        for (flying, later) in [(store.flying, store.later), (store.later, store.flying)] {
            if flying > 0 {
                let mut to = *state;
                to.store = Store { flying: later, later: 0, ..store }.pack();
                self.create(&mut to, flying);
                self.emit(state, to);
            }
        }
        let sink = Sink::unpack(state.sink);
        if sink.flying > 0 {
            let mut to = *state;
            to.sink = Sink { flying: 0, flying_generation: 0, ..sink }.pack();
            self.commit(&mut to, sink.flying, sink.flying_generation);
            self.emit(state, to);
        }
    }

    /// A backup that is a record old takes the place of the destination, or of the checkpoints.
    pub(super) fn restore(&mut self, state: &State) {
        let (store, sink) = (Store::unpack(state.store), Sink::unpack(state.sink));
        if store.damaged == 1 {
            return;
        }
        let mut to = *state;
        to.store = Store { damaged: 1, ..store }.pack();
        if self.bounds.restored == Restored::Sink && sink.mark > 0 {
            let mark = self.book.ancestor(sink.mark, self.book.made(sink.mark).newest);
            let generation = if mark > 0 { self.book.made(mark).generation } else { 0 };
            to.sink = Sink { mark, generation, applied: sink.applied - 1, ..sink }.pack();
            self.next.push(to);
        }
        let idle = state.writers.iter().all(|writer| Process::unpack(*writer).phase == 0);
        if self.bounds.restored == Restored::Checkpoints && idle && store.flying == 0 && sink.flying == 0 {
            // Back to each record above the boundary, as far as it can be begun there.
            let mut end = store.end;
            while end > 0 {
                to.set_slot(self.book.number(end), 0);
                end = self.book.made(end).parent;
                let begins = self.book.number(self.book.newest_data(end)).max(1);
                if end > 0 && begins > store.boundary {
                    to.store = Store { damaged: 1, end, ..store }.pack();
                    self.next.push(to);
                }
            }
        }
    }

    pub(super) fn load(&mut self, state: &State, load: usize) {
        let loader = Loader::unpack(state.loads[load]);
        let mut to = *state;
        let published =
            if self.rules.without(Mutation::PublishedTooEarly) { loader.committed + 1 } else { loader.committed };
        if loader.published < published {
            to.loads[load] = Loader { published, ..loader }.pack();
            self.emit(state, to);
        }
        let record = state.slot(loader.committed);
        if record > 0 {
            if self.book.ancestor(Store::unpack(state.store).end, loader.committed) != record {
                self.violated("a load reads what was not landed");
            }
            to.loads[load] = Loader { committed: loader.committed + 1, ..loader }.pack();
            self.emit(state, to);
        }
    }

    /// A state in words.
    pub(super) fn tell(&self, state: &State) -> String {
        let (store, sink) = (Store::unpack(state.store), Sink::unpack(state.sink));
        let mut text = format!("{store:?} {sink:?} slots");
        for number in 1..=NUMBERS {
            write!(text, " {}", state.slot(number)).expect("into memory");
        }
        for word in state.writers.iter().chain(&state.collectors).filter(|word| **word > 0) {
            let process = Process::unpack(*word);
            write!(text, "\n    {:?} {process:?}", Phase::of(&process)).expect("into memory");
        }
        text
    }
}
