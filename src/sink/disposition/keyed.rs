use super::names;
use serde::{Deserialize, Serialize};

/// One row of a key: see [`Disposition::Upsert`](super::Disposition::Upsert).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upsert {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
    /// The column whose greatest value makes a row the newest; null is before everything. `None`: what was landed last.
    pub newest: Option<String>,
    /// The column that says that the row is to be deleted: by `true`, or by any value if it is no bool.
    pub deleted: Option<String>,
    /// Whether rows that a whole enumeration did not give are deleted: the part of the rows that may go in one sweep.
    pub sweep: Option<f64>,
    /// Whether a deleted row stays, and says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_deleted: bool,
}

impl Upsert {
    /// Rows are told apart by these columns.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), newest: None, deleted: None, sweep: None, keep_deleted: false }
    }

    /// Of several rows of a key, the one with the greatest value here is kept, and of equal ones the one that was landed last; a
    /// row older than the one in the table changes nothing. Without it, what was landed last is the newest.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// Deletes the row of the key where this column of the newest one is `true`, or, if it is no bool, not null. A deleted row leaves
    /// nothing behind: an older version that comes in a later epoch is a row again.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Keeps a deleted row and marks it: the column of [`deleted_when`](Self::deleted_when), and that of [`newest`](Self::newest), become what
    /// the deletion says, and the others stay as they were. So an older version that comes in a later epoch changes nothing, and a newer one
    /// is a row as any other again. A deletion of a row that is not there is kept too. Not every sink can do it.
    #[must_use]
    pub fn keep_deleted(self) -> Self {
        Self { keep_deleted: true, ..self }
    }

    /// Deletes rows of this pipeline that an enumeration did not give, once it is whole; refuses to if these are more than the part
    /// `at_most` (from 0 to 1) of its rows. Each run then reads everything from the beginning.
    #[must_use]
    pub fn sweep(self, at_most: f64) -> Self {
        Self { sweep: Some(at_most), ..self }
    }
}

/// The first row of a key stays: see [`Disposition::InsertOnly`](super::Disposition::InsertOnly).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertOnly {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
}

impl InsertOnly {
    /// Rows are told apart by these columns.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key) }
    }
}

/// All versions of a key: see [`Disposition::Scd2`](super::Disposition::Scd2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scd2 {
    /// The columns that tell rows apart. None of them may be null.
    pub key: Vec<String>,
    /// The column of time from which a version holds; null is refused. `None`: the time at which its epoch was staged.
    pub since: Option<String>,
    /// The column that says that the key exists no more: by `true`, or by any value if it is no bool.
    pub deleted: Option<String>,
    /// Whether keys that a whole enumeration did not give are closed: the part of the current versions that may be in one sweep.
    pub sweep: Option<f64>,
    /// The column of the time from which a version holds.
    pub valid_from: String,
    /// The column of the time at which it stopped to hold; null in the current version.
    pub valid_to: String,
}

impl Scd2 {
    /// Rows are told apart by these columns. A row that differs from the current version of its key in no other column is no
    /// new version.
    pub fn by<C: Into<String>>(key: impl IntoIterator<Item = C>) -> Self {
        let (valid_from, valid_to) = ("_landfall_valid_from".to_owned(), "_landfall_valid_to".to_owned());
        Self { key: names(key), since: None, deleted: None, sweep: None, valid_from, valid_to }
    }

    /// A version holds from the time in this column on; one that is older than the current version changes nothing. Without it,
    /// it holds from when its epoch was staged.
    #[must_use]
    pub fn since(self, column: impl Into<String>) -> Self {
        Self { since: Some(column.into()), ..self }
    }

    /// Closes the current version of the key where this column is `true`, or, if it is no bool, not null. Of a key that has no current
    /// version it leaves no trace: an older version that comes later is current then.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Closes versions of this pipeline whose key an enumeration did not give, once it is whole; refuses to if these are more than
    /// the part `at_most` (from 0 to 1) of its current versions. Each run then reads everything from the beginning.
    #[must_use]
    pub fn sweep(self, at_most: f64) -> Self {
        Self { sweep: Some(at_most), ..self }
    }

    /// Names the columns of the time for which a version holds. `_landfall_valid_from` and `_landfall_valid_to` by default.
    #[must_use]
    pub fn columns(self, valid_from: impl Into<String>, valid_to: impl Into<String>) -> Self {
        Self { valid_from: valid_from.into(), valid_to: valid_to.into(), ..self }
    }
}
