//! What upkeep did: the same words for every place where data is kept.

use std::collections::BTreeMap;
use std::fmt;

/// What a compaction did: rows, their order and marks are as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Files that were put together.
    pub files_before: u64,
    /// Files that hold their rows now.
    pub files_after: u64,
    /// The size of the files before, in bytes.
    pub bytes_before: u64,
    /// The size of the files after, in bytes.
    pub bytes_after: u64,
    /// Rows that were written again.
    pub rows: u64,
}

impl Compacted {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            files_before: self.files_before + other.files_before,
            files_after: self.files_after + other.files_after,
            bytes_before: self.bytes_before + other.bytes_before,
            bytes_after: self.bytes_after + other.bytes_after,
            rows: self.rows + other.rows,
        }
    }
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files_before, files_after, bytes_before, bytes_after, rows } = self;
        write!(f, "{files_before} files became {files_after}, {bytes_before} bytes became {bytes_after}, {rows} rows")
    }
}

/// Why an object is deleted, or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Deleted: others hold its rows, for longer than readers of older states are given.
    Replaced,
    /// Deleted: it was staged and can never be committed.
    Lost,
    /// Deleted: no state of the table that readers are given names it.
    Unnamed,
    /// Deleted: every load has committed what is in it.
    Loaded,
    /// Kept: it is in the table, or in the landing and needed to go on.
    InUse,
    /// Kept: readers of older states, or writers under way, may need it for some time yet.
    Recent,
    /// Kept: an epoch that is not committed yet may name it.
    Uncommitted,
    /// Kept: a load has not committed what is in it.
    Unloaded,
    /// Kept: nothing of this library wrote it.
    Foreign,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replaced => "replaced",
            Self::Lost => "lost",
            Self::Unnamed => "unnamed",
            Self::Loaded => "loaded",
            Self::InUse => "in use",
            Self::Recent => "recent",
            Self::Uncommitted => "uncommitted",
            Self::Unloaded => "unloaded",
            Self::Foreign => "foreign",
        })
    }
}

/// An object that was deleted, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Its name, below the folder that was looked at.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// Objects that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// How many.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// What a vacuum deleted or, in a dry run, would delete; and what it kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vacuumed {
    /// Whether it only looked.
    pub dry_run: bool,
    /// What was deleted, or would be.
    pub deleted: Vec<Deleted>,
    /// What stays, by why.
    pub kept: BTreeMap<Why, Kept>,
}

impl Vacuumed {
    pub(crate) fn new(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    pub(crate) fn delete(&mut self, path: impl Into<String>, bytes: u64, why: Why) {
        self.deleted.push(Deleted { path: path.into(), bytes, why });
    }

    pub(crate) fn keep(&mut self, bytes: u64, why: Why) {
        let kept = self.kept.entry(why).or_default();
        kept.objects += 1;
        kept.bytes += bytes;
    }

    /// The size of what was deleted, or would be, in bytes.
    pub fn bytes(&self) -> u64 {
        self.deleted.iter().map(|deleted| deleted.bytes).sum()
    }
}

/// Counts by why. The names of the objects are in [`deleted`](Vacuumed::deleted).
impl fmt::Display for Vacuumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut deleted = BTreeMap::<Why, Kept>::new();
        for one in &self.deleted {
            let count = deleted.entry(one.why).or_default();
            count.objects += 1;
            count.bytes += one.bytes;
        }
        f.write_str(if self.dry_run { "would delete:" } else { "deleted:" })?;
        counts(f, &deleted)?;
        f.write_str("; kept:")?;
        counts(f, &self.kept)
    }
}

fn counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<Why, Kept>) -> fmt::Result {
    if counts.is_empty() {
        return f.write_str(" nothing");
    }
    for (number, (why, Kept { objects, bytes })) in counts.iter().enumerate() {
        write!(f, "{} {objects} {why} ({bytes} bytes)", if number == 0 { "" } else { "," })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_much_and_why() {
        let mut report = Vacuumed::new(true);
        assert_eq!(report.to_string(), "would delete: nothing; kept: nothing");
        report.delete("a", 10, Why::Replaced);
        report.delete("b", 5, Why::Lost);
        report.delete("c", 1, Why::Replaced);
        report.keep(7, Why::InUse);
        assert_eq!(report.bytes(), 16);
        let text = "would delete: 2 replaced (11 bytes), 1 lost (5 bytes); kept: 1 in use (7 bytes)";
        assert_eq!(report.to_string(), text);
    }
}
