//! The world of the model: a store with one chain, a sink, loads that read a landing, and processes. A state is a few words of
//! bits, so that millions fit into memory.

use crate::checkpoint::{Record, RecordKind};
use crate::model::{Incarnation, Timestamp};
use bytes::Bytes;
use std::collections::HashMap;

/// Numbers that a chain may have here. Owners stop long before, so that whoever comes to the rescue finds room.
pub(super) const NUMBERS: u64 = 10;
const PER_WORD: u64 = 5;
const ID_BITS: u32 = 12;
pub(super) const WRITERS: usize = 3;
pub(super) const COLLECTORS: usize = 2;
pub(super) const LOADS: usize = 2;

/// A state, packed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// The id of the record at each number; 0 is none.
    pub(super) slots: [u64; 2],
    pub(super) store: u64,
    pub(super) sink: u64,
    pub(super) loads: [u64; LOADS],
    pub(super) writers: [u64; WRITERS],
    pub(super) collectors: [u64; COLLECTORS],
}

impl State {
    pub(super) fn slot(&self, number: u64) -> u64 {
        let at = (number - 1) % PER_WORD * u64::from(ID_BITS);
        self.slots[usize::from(number > PER_WORD)] >> at & ((1 << ID_BITS) - 1)
    }

    pub(super) fn set_slot(&mut self, number: u64, id: u64) {
        let at = (number - 1) % PER_WORD * u64::from(ID_BITS);
        let word = &mut self.slots[usize::from(number > PER_WORD)];
        *word = *word & !(((1 << ID_BITS) - 1) << at) | id << at;
    }

    /// Whether the chain is as in `other`.
    pub(super) fn same_chain(&self, other: &Self) -> bool {
        self.slots == other.slots && self.store == other.store
    }

    /// What a new owner finds, without processes: no put and no commit is under way, and nothing goes wrong any more.
    pub(super) fn at_rest(&self) -> Self {
        let (mut store, mut sink) = (Store::unpack(self.store), Sink::unpack(self.sink));
        (store.flying, store.later, store.faults) = (0, 0, 0);
        (sink.flying, sink.flying_generation) = (0, 0);
        Self { slots: self.slots, store: store.pack(), sink: sink.pack(), loads: self.loads, ..Self::default() }
    }

    pub(super) fn hash(&self) -> u64 {
        let mut sum = 0_u64;
        let mut mix = |word: u64| sum = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        mix(self.slots[0]);
        mix(self.slots[1]);
        mix(self.store);
        mix(self.sink);
        mix(self.loads[0]);
        mix(self.loads[1]);
        mix(self.writers[0]);
        mix(self.writers[1]);
        mix(self.writers[2]);
        mix(self.collectors[0]);
        mix(self.collectors[1]);
        sum ^ sum >> 32
    }
}

/// A struct of small numbers that fits a word: the bits of each field.
macro_rules! packed {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $bits:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct $name { $($(#[$field_doc])* pub(super) $field: u64,)* }

        impl $name {
            pub(super) fn unpack(word: u64) -> Self {
                let mut rest = word;
                $(let $field = rest & ((1 << $bits) - 1); rest >>= $bits;)*
                let _empty = rest;
                Self { $($field,)* }
            }

            #[allow(clippy::int_plus_one, reason = "a sum of widths")]
            pub(super) fn pack(self) -> u64 {
                const { assert!(0 $(+ $bits)* <= 64, "it fits a word") };
                let (mut word, mut at) = (0, 0);
                $(debug_assert!(self.$field < 1 << $bits, stringify!($field)); word |= self.$field << at; at += $bits;)*
                let _end = at;
                word
            }
        }
    };
}

packed!(
    /// The store besides its records.
    Store {
        boundary: 4,
        /// Outside of the model's processes: the last record that was ever decided, removed or not.
        end: 12,
        /// Puts whose answer was lost before they arrived. They arrive any time later.
        flying: 12,
        later: 12,
        /// How much may still go wrong.
        faults: 3,
        /// Whether a backup was restored.
        damaged: 1,
    }
);

packed!(
    /// The destination.
    Sink {
        /// The record of the mark; 0 is no mark.
        mark: 12,
        generation: 4,
        /// Outside of the model's processes: items that were applied.
        applied: 3,
        /// A commit whose answer was lost before it arrived.
        flying: 12,
        flying_generation: 4,
    }
);

packed!(
    /// A load of the landing.
    Loader {
        /// Everything before this segment is committed.
        committed: 4,
        /// What it has published of that; 0 is nothing.
        published: 4,
    }
);

packed!(
    /// A process: an owner or a collector, with what it keeps in memory.
    Process {
        phase: 5,
        /// How often it was started.
        lives: 2,
        /// The boundary that was read first.
        began: 4,
        at: 4,
        /// The last number of the hint; or how far to collect.
        top: 4,
        /// The record at the end of the chain, as far as it knows.
        head: 12,
        /// The record that it reads or writes next.
        next: 12,
        /// The record that was in its place, or the newest data record.
        other: 12,
        answer: 3,
        doubted: 1,
        left: 1,
    }
);

/// What a record holds. Its payload is an item: the number of epochs up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) data: bool,
    pub(super) generation: u64,
    pub(super) nonce: u64,
    /// The id of the record before, which is its digest too.
    pub(super) parent: u64,
    /// The number of the newest data record before; 0 is none.
    pub(super) newest: u64,
    pub(super) item: u64,
    /// The newest segment with a base, this one included.
    pub(super) base: u64,
}

impl Made {
    pub(super) fn newest_with_self(&self) -> u64 {
        if self.data { self.number } else { self.newest }
    }
}

/// All records that were ever made, by id from 1.
#[derive(Debug, Default)]
pub(super) struct Book {
    made: Vec<Made>,
    records: Vec<(Record, String)>,
    ids: HashMap<Made, u64>,
}

impl Book {
    pub(super) fn id(&mut self, made: Made) -> u64 {
        if let Some(id) = self.ids.get(&made) {
            return *id;
        }
        let record = Record {
            number: made.number,
            kind: if made.data { RecordKind::Data } else { RecordKind::Fence },
            incarnation: Incarnation("life".to_owned()),
            generation: made.generation,
            nonce: format!("n{}", made.nonce),
            parent: (made.parent > 0).then(|| format!("d{}", made.parent)),
            newest_data: (made.newest > 0).then_some(made.newest),
            written_at: Timestamp::from_micros(0),
            payload: Bytes::new(),
        };
        self.made.push(made);
        let id = self.made.len() as u64;
        assert!(id < 1 << ID_BITS, "more records than ids");
        self.records.push((record, format!("d{id}")));
        self.ids.insert(made, id);
        id
    }

    pub(super) fn made(&self, id: u64) -> Made {
        self.made[index(id)]
    }

    /// The record as the decisions want it, and its digest.
    pub(super) fn record(&self, id: u64) -> (&Record, &str) {
        let (record, digest) = &self.records[index(id)];
        (record, digest)
    }

    pub(super) fn link(&self, id: u64) -> Option<(&Record, &str)> {
        (id > 0).then(|| self.record(id))
    }

    /// The record of `number` in the history that ends with `id`; 0 if it has none.
    pub(super) fn ancestor(&self, mut id: u64, number: u64) -> u64 {
        while id > 0 && self.made(id).number > number {
            id = self.made(id).parent;
        }
        if id > 0 && self.made(id).number == number { id } else { 0 }
    }

    /// The number of a record; 0 for none.
    pub(super) fn number(&self, id: u64) -> u64 {
        if id > 0 { self.made(id).number } else { 0 }
    }

    /// The newest data record of the history that ends with `id`; 0 is none.
    pub(super) fn newest_data(&self, id: u64) -> u64 {
        if id > 0 { self.ancestor(id, self.made(id).newest_with_self()) } else { 0 }
    }

    pub(super) fn item(&self, id: u64) -> u64 {
        if id > 0 { self.made(id).item } else { 0 }
    }
}

fn index(id: u64) -> usize {
    usize::try_from(id - 1).expect("ids are small")
}
