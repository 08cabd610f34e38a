use super::names;
use serde::{Deserialize, Serialize};

/// Rows of a parent: see [`Disposition::Children`](super::Disposition::Children).
///
/// 1. *Group*: the rows that come from one record of the landing and have one parent key. All of them come in one batch;
///    `Batch::records` tells the rows of one record from those of the next.
/// 2. *Winner*: of several groups of a parent key, the one whose greatest value of [`newest`](Self::newest) is the greatest, and of
///    equal ones the one that was landed last. Without `newest`, the one that was landed last.
/// 3. *Replacement*: the rows of the winner take the place of all rows that the table has for the parent key. If one of these has a
///    greater `newest` than the winner, nothing changes.
/// 4. *Markers*: a row whose [`index`](Self::index) is null says that the parent is there, and is never written into the table. A
///    group of a marker alone empties the parent. It counts as a record that was staged.
/// 5. *Deletion*: a group with a row whose [`deleted`](Self::deleted) is `true` (or, if it is no bool, not null) empties the parent.
/// 6. *No trace*: a parent that was emptied leaves nothing behind: an older group that comes in a later epoch has rows again.
/// 7. *Refused*: a row whose parent key is null goes to the quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Children {
    /// The columns that hold the parent's key. None of them may be null.
    pub parent: Vec<String>,
    /// The column that says how new the parent is, by which groups are compared; null is before everything.
    pub newest: Option<String>,
    /// The column that says that the parent is deleted.
    pub deleted: Option<String>,
    /// The column of the row's place among its siblings; null in a marker.
    pub index: String,
}

impl Children {
    /// The name of the column [`index`](Self::index), unless another one is given.
    pub const INDEX: &str = "_index";

    /// Rows belong to the parent whose key is in these columns.
    pub fn of<C: Into<String>>(parent: impl IntoIterator<Item = C>) -> Self {
        Self { parent: names(parent), newest: None, deleted: None, index: Self::INDEX.to_owned() }
    }

    /// Compares groups by the greatest value of their rows in this column; older ones than the rows in the table change nothing.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// Empties the parent where this column of a row of the winner is `true`, or, if it is no bool, not null.
    #[must_use]
    pub fn deleted_when(self, column: impl Into<String>) -> Self {
        Self { deleted: Some(column.into()), ..self }
    }

    /// Names the column of the row's place among its siblings, null in a row that only says that the parent is there. `_index` by
    /// default.
    #[must_use]
    pub fn index(self, column: impl Into<String>) -> Self {
        Self { index: column.into(), ..self }
    }
}
