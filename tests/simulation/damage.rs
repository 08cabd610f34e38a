//! An object that is damaged while nobody works, and put back from a copy.

use crate::chance::Chance;
use bytes::Bytes;
use landfall::store::{ObjectPath, Store};
use landfall::{Error, ErrorKind};
use std::fmt;

/// Where objects are damaged: checkpoints, the landing, rows.
pub const FOLDERS: [&str; 3] = ["state/", "raw/", "numbers/"];

/// What was done to an object.
#[derive(Debug)]
pub struct Damaged {
    path: ObjectPath,
    whole: Bytes,
    /// What is left of it.
    left: Option<Bytes>,
}

impl Damaged {
    /// Flips a bit of a record of a chain, or takes a record or a file of rows away; `None` if there is none. The newest record of a
    /// chain is never taken away: without it, a chain is what it was a moment before, as after a restore.
    pub async fn one(store: &Store, chance: &Chance) -> Option<Self> {
        let objects = store.list(&ObjectPath::root()).await.expect("in memory");
        let of = chance.pick(&FOLDERS);
        let needed = |path: &ObjectPath| {
            let name = path.as_str();
            name.starts_with(of) && [".rec", ".parquet", ".staged"].iter().any(|end| name.ends_with(end))
        };
        let mut paths: Vec<ObjectPath> = objects.into_iter().map(|object| object.path).filter(needed).collect();
        paths.sort_unstable();
        let mut path = paths.get(chance.index(paths.len()))?.clone();
        let mut taken = true;
        if let Some((chain, _)) = record(&path) {
            let of_chain = |path: &&ObjectPath| record(path).is_some_and(|(of, _)| of == chain);
            // Whoever comes next looks at the end.
            let records: Vec<&ObjectPath> = paths.iter().rev().filter(of_chain).take(3).collect();
            let back = chance.pick(&[0, 0, 1, 2]).min(records.len() - 1);
            taken = back > 0 && chance.per_mille(500);
            path = records[back].clone();
        }
        let whole = store.get(&path, None).await.expect("in memory")?;
        let left = (!taken).then(|| flipped(&whole, chance));
        match &left {
            Some(left) => store.put(&path, left.clone()).await.expect("in memory"),
            None => store.delete(&path).await.expect("in memory"),
        }
        Some(Self { path, whole, left })
    }

    /// Whether `error` says that this object is damaged or gone: a record by its number, a file by its name, with which it may wait for
    /// another folder.
    pub fn is_named_by(&self, error: &Error) -> bool {
        let name = match record(&self.path) {
            Some((_, number)) => format!("=`{number}`"),
            None => self.path.file_name().split('.').next().unwrap_or_default().to_owned(),
        };
        error.kind() == ErrorKind::Corrupt && error.to_string().contains(&name)
    }

    /// The folder that it is in.
    pub fn of(&self) -> &'static str {
        FOLDERS.into_iter().find(|folder| self.path.as_str().starts_with(folder)).expect("one of them")
    }

    /// Puts the object back, unless it was collected meanwhile; gives what is wrong if another one has taken its place.
    pub async fn put_back(&self, store: &Store) -> Option<String> {
        let there = store.get(&self.path, None).await.expect("in memory");
        match (&self.left, &there) {
            (None, Some(_)) => return Some(format!("{self}, and it was written again")),
            (Some(_), None) => return None,
            (left, there) => assert_eq!(left, there, "records are never changed"),
        }
        store.put(&self.path, self.whole.clone()).await.expect("in memory");
        None
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, if self.left.is_some() { "has a flipped bit" } else { "is gone" })
    }
}

/// The folder of a record's chain, and its number.
fn record(path: &ObjectPath) -> Option<(&str, u64)> {
    let (chain, number) = path.as_str().strip_suffix(".rec")?.rsplit_once('/')?;
    Some((chain, number.parse().ok()?))
}

/// With another digit in the place of one: all else of the record is as well formed as before, so that nothing but its checksum tells.
fn flipped(bytes: &Bytes, chance: &Chance) -> Bytes {
    let mut bytes = bytes.to_vec();
    let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
    bytes[digits[chance.index(digits.len())]] ^= 1;
    bytes.into()
}
