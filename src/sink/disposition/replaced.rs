use super::names;
use serde::{Deserialize, Serialize};

/// The table holds one whole enumeration: see [`Disposition::Replace`](super::Disposition::Replace).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replace {
    /// The columns that tell rows apart; empty if no row is collapsed.
    pub key: Vec<String>,
    /// As [`Upsert::newest`](super::Upsert::newest).
    pub newest: Option<String>,
    /// The part of its rows that the table may lose in one replacement, from 0 to 1.
    pub may_shrink_by: f64,
}

impl Replace {
    /// The rows of a whole enumeration take the place of all rows in one step. It is refused, and nothing changes, if it would
    /// cost the table more than half of its rows.
    pub fn table() -> Self {
        Self { key: Vec::new(), newest: None, may_shrink_by: 0.5 }
    }

    /// Keeps one row of these columns: an enumeration may give a row twice, where it went on after something moved.
    #[must_use]
    pub fn key<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), ..self }
    }

    /// As [`Upsert::newest`](super::Upsert::newest), within one enumeration.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }

    /// The part of its rows that the table may lose in one replacement: 1.0 lets it become empty, 0.0 never lets it shrink. 0.5
    /// by default.
    #[must_use]
    pub fn may_shrink_by(self, part: f64) -> Self {
        Self { may_shrink_by: part, ..self }
    }
}

/// Partitions are replaced whole: see [`Disposition::ReplacePartitions`](super::Disposition::ReplacePartitions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacePartitions {
    /// The columns whose values make a partition.
    pub by: Vec<String>,
    /// The columns that tell rows apart; empty if no row is collapsed.
    pub key: Vec<String>,
    /// As [`Upsert::newest`](super::Upsert::newest).
    pub newest: Option<String>,
}

impl ReplacePartitions {
    /// Rows with equal values in these columns are a partition; null is a value too.
    pub fn by<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self { by: names(columns), key: Vec::new(), newest: None }
    }

    /// As [`Replace::key`].
    #[must_use]
    pub fn key<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        Self { key: names(key), ..self }
    }

    /// As [`Upsert::newest`](super::Upsert::newest), within one enumeration.
    #[must_use]
    pub fn newest(self, column: impl Into<String>) -> Self {
        Self { newest: Some(column.into()), ..self }
    }
}
