use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Remembers a value for each fingerprint, in 256 tables of different sizes.
///
/// A hash table doubles when it is full, and needs both sizes while it does. One of 256 parts does that at a time; and
/// because their shares of the keys lie between 1 and 2, they do it one after the other, so that memory grows evenly
/// with the keys.
///
/// Where a fingerprint lies in its table is drawn for each process: whoever sends keys knows their fingerprints, and must not know
/// which of them meet there.
#[derive(Clone)]
pub(super) struct Table<V> {
    parts: Vec<HashTable<(u128, V)>>,
    /// The part of the first 12 bits of a fingerprint, in ascending order.
    shares: Box<[u8]>,
    salt: u64,
    len: usize,
}

const PARTS: usize = 256;
const SHARES: usize = 4096;

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        // Part i ends where 2^(i/256) - 1 of the whole ends.
        let part = |share: usize| ((1.0 + share as f64 / SHARES as f64).log2() * PARTS as f64) as u8;
        Self {
            parts: (0..PARTS).map(|_| HashTable::new()).collect(),
            shares: (0..SHARES).map(part).collect(),
            // Nothing that is written depends on it.
            salt: RandomState::new().hash_one(PARTS),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn part(&self, print: u128) -> usize {
        let share = usize::try_from(print >> 116).expect("12 bits");
        usize::from(self.shares.get(share).copied().unwrap_or(0))
    }

    fn entry(&mut self, print: u128) -> Entry<'_, (u128, V)> {
        let (part, salt) = (self.part(print), self.salt);
        let table = self.parts.get_mut(part).expect("there are 256 parts");
        table.entry(hash(print, salt), |(other, _)| *other == print, |(other, _)| hash(*other, salt))
    }

    pub(super) fn get(&self, print: u128) -> Option<&V> {
        let table = self.parts.get(self.part(print))?;
        table.find(hash(print, self.salt), |(other, _)| *other == print).map(|(_, value)| value)
    }

    /// Remembers a value, whatever was remembered before.
    pub(super) fn set(&mut self, print: u128, value: V) {
        match self.entry(print) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            Entry::Vacant(entry) => {
                entry.insert((print, value));
                self.len += 1;
            }
        }
    }

    /// All fingerprints and values, by fingerprint, in pieces of a 256th.
    pub(super) fn sorted(&self) -> impl Iterator<Item = Vec<(u128, &V)>> {
        // The parts are in the order of their fingerprints.
        self.parts.iter().map(|part| {
            let mut entries: Vec<(u128, &V)> = part.iter().map(|(print, value)| (*print, value)).collect();
            entries.sort_unstable_by_key(|(print, _)| *print);
            entries
        })
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }
}

impl Table<()> {
    /// Whether it was not known.
    pub(super) fn insert(&mut self, print: u128) -> bool {
        match self.entry(print) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert((print, ()));
                self.len += 1;
                true
            }
        }
    }
}

impl<V: Ord> Table<V> {
    /// Whether `value` is greater than the one that is known, or the first one.
    pub(super) fn raise(&mut self, print: u128, value: V) -> bool {
        match self.entry(print) {
            Entry::Occupied(mut entry) => {
                let newer = value > entry.get().1;
                if newer {
                    entry.get_mut().1 = value;
                }
                newer
            }
            Entry::Vacant(entry) => {
                entry.insert((print, value));
                self.len += 1;
                true
            }
        }
    }
}

/// A fingerprint is a hash already; the part was chosen by its upper end. Both halves are salted and
/// multiplied, and the product is folded.
fn hash(print: u128, salt: u64) -> u64 {
    let product = u128::from(print as u64 ^ salt) * u128::from((print >> 64) as u64 ^ salt.rotate_left(32));
    (product >> 64) as u64 ^ product as u64
}

impl<V> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_below_40_bytes_per_key_at_every_size() {
        let mut table: Table<()> = Table::new();
        let mut print = 1u128;
        let mut worst = 0.0f64;
        for n in 1..=600_000usize {
            // A fixed sequence that looks random.
            print = print.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(n as u128);
            assert!(table.insert(print ^ (print << 64)));
            if n >= 100_000 && n % 1000 == 0 {
                worst = worst.max(table.allocated() as f64 / n as f64);
            }
        }
        assert!(worst < 34.0, "{worst} bytes per key");
        assert_eq!(table.len(), 600_000);
    }

    #[test]
    fn keys_that_were_chosen_to_meet_do_not() {
        // Equal in all of the lower half, and in the part that they go to; and in all but the middle.
        let chosen = [|n: u128| n << 64 | 7, |n: u128| n << 32 | 7];
        for prints in chosen {
            let places: std::collections::HashSet<u64> = (0..4096).map(|n| hash(prints(n), 0x5eed) & 0xffff).collect();
            assert!(places.len() > 3_500, "{} places for 4,096 keys", places.len());
            let other: std::collections::HashSet<u64> = (0..4096).map(|n| hash(prints(n), 0xca11) & 0xffff).collect();
            assert_ne!(places, other, "the salt says where");
        }
        assert_ne!(Table::<()>::new().salt, Table::<()>::new().salt);
    }

    #[test]
    fn gives_everything_in_order() {
        let mut table = Table::new();
        let prints: Vec<u128> = (0..2000u128).map(|n| n.wrapping_mul(u128::MAX / 1999)).collect();
        for print in prints.iter().rev() {
            table.set(*print, *print);
        }
        let sorted: Vec<u128> = table.sorted().flatten().map(|(print, _)| print).collect();
        assert_eq!(sorted, prints);
        assert_eq!(table.get(prints[7]), Some(&prints[7]));
    }
}
