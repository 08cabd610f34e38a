use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a partition within its source. Stable across runs: the same slice has the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub String);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for PartitionId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// An independent slice of a source with a cursor of its own: a parent id, a time window, an id range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Its stable name.
    pub id: PartitionId,
    /// What the source needs to read it, for example the bounds of a window.
    #[serde(default)]
    pub params: serde_json::Value,
}

impl Partition {
    /// A partition without parameters.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: PartitionId(id.into()), params: serde_json::Value::Null }
    }

    /// Sets what the source needs to read it.
    #[must_use]
    pub fn with_params(mut self, params: serde_json::Value) -> Self {
        self.params = params;
        self
    }
}
