//! The table over seeds, over everything that was ever written, and over random changes of both. How much: `LANDFALL_FUZZ_CASES`
//! changed inputs for each decoder.
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

use super::*;
use crate::env::Entropy;
use crate::testkit::SeededEntropy;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

const CASES: u64 = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    files(folder).iter().map(|file| fs::read(file).expect("a file")).collect()
}

/// Changes that follow from a seed.
struct Random(SeededEntropy);

impl Random {
    fn next(&self) -> u64 {
        self.0.next_u64()
    }

    fn below(&self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// `bytes` with a few places changed, as damage and malice do it.
    fn change(&self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(7) {
                0 if !bytes.is_empty() => {
                    let at = at.min(bytes.len() - 1);
                    bytes[at] ^= 1 << self.below(8);
                }
                1 => bytes.truncate(at),
                2 => bytes.insert(at, self.next() as u8),
                3 => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()))),
                4 => {
                    let from = self.below(other.len());
                    let piece = other[from..(from + self.below(64)).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                5 => {
                    let odd: &[&[u8]] = &[
                        b"-1",
                        b"18446744073709551615",
                        b"1e999",
                        b"null",
                        b"\0",
                        b"\xff",
                        b"\\u0000",
                        b"../",
                        b"{",
                        b"]",
                    ];
                    bytes.splice(at..at, odd[self.below(odd.len())].iter().copied());
                }
                _ => {
                    let end = (at + 8).min(bytes.len());
                    let number = self.next().to_le_bytes();
                    bytes[at..end].copy_from_slice(&number[..end - at]);
                }
            }
        }
    }
}

#[test]
fn every_decoder_reads_or_refuses_whatever_it_is_given() {
    let fixtures = contents(&root().join("tests/fixtures"));
    let cases = std::env::var("LANDFALL_FUZZ_CASES");
    let cases = cases.map_or(CASES, |n| n.parse().expect("LANDFALL_FUZZ_CASES is a number"));
    let mut wrong = Vec::new();
    for decoder in decoders() {
        let seeds = contents(&root().join("fuzz/corpus").join(decoder.name()));
        let (mut given, mut read, before) = (0_u64, 0_u64, wrong.len());
        let mut give = |bytes: &[u8]| {
            given += 1;
            match catch_unwind(|| decoder.check(bytes)) {
                Ok(was_read) => read += u64::from(was_read),
                Err(_) => wrong.push(format!("{}: \"{}\"", decoder.name(), bytes.escape_ascii())),
            }
        };
        seeds.iter().chain(&fixtures).for_each(|bytes| give(bytes));
        let random = Random(SeededEntropy::new(xxhash_rust::xxh3::xxh3_64(decoder.name().as_bytes())));
        for _ in 0..cases {
            // Its own seeds more often than what was written for others.
            let all = if random.below(4) == 0 || seeds.is_empty() { &fixtures } else { &seeds };
            let mut bytes = all[random.below(all.len())].clone();
            bytes.truncate(16 << 10);
            let other = &seeds.get(random.below(seeds.len())).unwrap_or(&bytes).clone();
            random.change(&mut bytes, other);
            give(&bytes);
        }
        let crashes = wrong.len() - before;
        println!("proof suite=decoders of={} inputs={given} read={read} crashes={crashes}", decoder.name());
        if read == 0 {
            wrong.push(format!("{} reads none of its seeds", decoder.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_decoder_has_seeds_of_its_own_and_a_name_of_its_own() {
    let names: BTreeSet<&str> = decoders().iter().map(Decoder::name).collect();
    assert_eq!(names.len(), decoders().len());
    for name in &names {
        assert!(!files(&root().join("fuzz/corpus").join(name)).is_empty(), "fuzz/corpus/{name} is empty");
    }
    if cfg!(all(feature = "delta", feature = "http", feature = "postgres", feature = "adbc")) {
        let folders = fs::read_dir(root().join("fuzz/corpus")).expect("a folder");
        let folders = folders.map(|e| e.expect("an entry").file_name().into_string().expect("text"));
        assert_eq!(folders.collect::<BTreeSet<_>>(), names.iter().map(|name| (*name).to_owned()).collect());
    }
}

#[test]
fn a_decoder_that_breaks_its_word_is_noticed() {
    let broken: [fn(&[u8]) -> Result<()>; 3] = [
        |_| Err(Error::bug("decode", "it panicked beside")),
        |bytes| bytes.first().map(|_| ()).ok_or_else(|| panic!("nothing there")),
        |_| {
            let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            Err(keys.into_iter().fold(Error::data("decode", "long"), |e, key| e.with(key, "x".repeat(LONGEST))))
        },
    ];
    for decode in broken {
        let decoder = Decoder::new("broken", decode);
        assert!(catch_unwind(|| decoder.check(b"")).is_err());
    }
}
