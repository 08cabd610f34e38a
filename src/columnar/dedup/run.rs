//! Runs of fingerprints as they are persisted; see `docs/formats.md`.

use super::Memory;
use super::table::Table;
use super::version::Class;
use crate::error::{Error, Result};
use bytes::Bytes;

const MAGIC: &[u8; 4] = b"LFDD";
/// Format 1 has no kinds.
const FORMAT: u8 = 2;
/// Size of the header and of a fingerprint.
const BLOCK: usize = 16;

/// The classes of versions and their numbers in the header; 0 is none.
const CLASSES: [(u8, Class); 4] = [(1, Class::Integer), (3, Class::Float), (4, Class::Time), (5, Class::Text)];
const DECIMAL: u8 = 2;

/// Writes what is known of `changed` (ascending, all of it known), or of everything. `kinds` are those of the columns of
/// the key.
pub(super) fn write(memory: &Memory, kinds: &[u8], changed: Option<Vec<u128>>) -> Result<Bytes> {
    let known = match memory {
        Memory::First(table) => table.len(),
        Memory::Undecided => 0,
        Memory::Numbers(_, table) => table.len(),
        Memory::Text(table) => table.len(),
    };
    let count = changed.as_ref().map_or(known, Vec::len);
    let (kind, class, scale) = match memory {
        Memory::First(_) => (0, 0, 0),
        Memory::Undecided => (1, 0, 0),
        Memory::Numbers(Class::Decimal(scale), _) => (1, DECIMAL, scale.to_le_bytes()[0]),
        Memory::Numbers(class, _) => (1, number_of(*class), 0),
        Memory::Text(_) => (1, number_of(Class::Text), 0),
    };
    let columns = u16::try_from(kinds.len())
        .map_err(|_| Error::config("deduplicate", "a key has too many columns").with("columns", kinds.len()))?;
    let width = if matches!(memory, Memory::First(_)) { BLOCK } else { 2 * BLOCK };
    let mut run = Vec::with_capacity(BLOCK + 2 + kinds.len() + count * width);
    run.extend_from_slice(MAGIC);
    run.extend_from_slice(&[FORMAT, kind, class, scale]);
    run.extend_from_slice(&(count as u64).to_le_bytes());
    run.extend_from_slice(&columns.to_le_bytes());
    run.extend_from_slice(kinds);
    match memory {
        Memory::First(table) => entries(&mut run, table, changed, |_, ()| {}),
        Memory::Undecided => {}
        Memory::Numbers(_, table) => {
            entries(&mut run, table, changed, |run, v| run.extend_from_slice(&v.to_be_bytes()))
        }
        Memory::Text(table) => entries(&mut run, table, changed, |run, text| {
            // A record is shorter than 4 GiB.
            run.extend_from_slice(&(text.len() as u32).to_le_bytes());
            run.extend_from_slice(text);
        }),
    }
    Ok(run.into())
}

fn entries<V>(run: &mut Vec<u8>, table: &Table<V>, changed: Option<Vec<u128>>, version: impl Fn(&mut Vec<u8>, &V)) {
    let mut entry = |print: u128, value: &V| {
        run.extend_from_slice(&print.to_be_bytes());
        version(run, value);
    };
    match changed {
        Some(changed) => {
            for print in changed {
                if let Some(value) = table.get(print) {
                    entry(print, value);
                }
            }
        }
        None => table.sorted().flatten().for_each(|(print, value)| entry(print, value)),
    }
}

fn number_of(class: Class) -> u8 {
    CLASSES.iter().find(|(_, c)| *c == class).map_or(0, |(number, _)| *number)
}

/// A run whose header has been read.
pub(super) struct Run<'a> {
    first: bool,
    class: Option<Class>,
    count: u64,
    kinds: &'a [u8],
    entries: &'a [u8],
}

/// What is kept of a key.
pub(super) enum Version<'a> {
    None,
    Number(i128),
    Text(&'a [u8]),
}

impl<'a> Run<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// `Corrupt` if it is none, `Config` if a newer version has written it.
    pub(super) fn read(run: &'a [u8]) -> Result<Self> {
        let Some((header, entries)) = run.split_first_chunk::<BLOCK>() else {
            return Err(corrupt("a run is shorter than its header"));
        };
        let [m1, m2, m3, m4, format, kind, class, scale, count @ ..] = *header;
        if [m1, m2, m3, m4] != *MAGIC {
            return Err(corrupt("this is no run"));
        }
        if !(1..=FORMAT).contains(&format) {
            let (operation, message) = ("restore dedup", "a run has a format that this version does not know");
            return Err(match format {
                0 => Error::corrupt(operation, message),
                _ => Error::config(operation, message).with_hint("use a newer version of landfall"),
            }
            .with("format", format));
        }
        let (kinds, entries) = if format == 1 { (&[][..], entries) } else { split_kinds(entries)? };
        let known = CLASSES.iter().find(|(number, _)| *number == class).map(|(_, class)| *class);
        let count = u64::from_le_bytes(count);
        let class = match (kind, class) {
            (0, 0) => None,
            // Nothing had been seen.
            (1, 0) if count == 0 => None,
            (1, DECIMAL) => Some(Class::Decimal(i8::from_le_bytes([scale]))),
            (1, _) if known.is_some() => known,
            _ => return Err(corrupt("a run is of an unknown kind").with("kind", kind).with("class", class)),
        };
        Ok(Self { first: kind == 0, class, count, kinds, entries })
    }

    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// Those of the columns of the key; none if no key has been seen, or in the first format.
    pub(super) fn kinds(&self) -> &'a [u8] {
        self.kinds
    }

    pub(super) fn class(&self) -> Option<Class> {
        self.class
    }

    /// Gives all entries.
    ///
    /// # Errors
    /// `Corrupt` if there are not as many as the header says, or they do not ascend.
    pub(super) fn each(&self, mut take: impl FnMut(u128, Version<'a>)) -> Result<()> {
        let cut = || corrupt("a run ends too early");
        let mut rest = self.entries;
        let mut before = None;
        for _ in 0..self.count {
            let (print, after) = rest.split_first_chunk::<BLOCK>().ok_or_else(cut)?;
            let print = u128::from_be_bytes(*print);
            if before.is_some_and(|before| before >= print) {
                return Err(corrupt("the keys of a run do not ascend"));
            }
            before = Some(print);
            let (version, after) = match self.class {
                None => (Version::None, after),
                Some(Class::Text) => {
                    let (len, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
                    let (text, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(cut)?;
                    (Version::Text(text), after)
                }
                Some(_) => {
                    let (number, after) = after.split_first_chunk::<BLOCK>().ok_or_else(cut)?;
                    (Version::Number(i128::from_be_bytes(*number)), after)
                }
            };
            take(print, version);
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(corrupt("a run is longer than its header says")) }
    }
}

fn split_kinds(run: &[u8]) -> Result<(&[u8], &[u8])> {
    let cut = || corrupt("a run is shorter than its header");
    let (columns, run) = run.split_first_chunk::<2>().ok_or_else(cut)?;
    run.split_at_checked(u16::from_le_bytes(*columns).into()).ok_or_else(cut)
}

fn corrupt(message: &'static str) -> Error {
    Error::corrupt("restore dedup", message)
}
