//! The record of a compaction: which files stand for which others. Format: docs/formats.md, "Dataset compaction".

use super::envelope;
use crate::columnar::files::DataFile;
use crate::error::{Error, Result};
use crate::model::{ShardKey, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "landfall dataset compaction";

/// One of the numbered records of a shard's compactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetCompaction {
    /// The shard whose files they are.
    #[serde(flatten)]
    pub shard: ShardKey,
    /// Its number among the compactions of the shard: from 1, without gaps.
    pub number: u64,
    /// Who wrote it: a random name.
    pub writer: String,
    /// When, by the clock of the writer. A vacuum counts from it.
    pub compacted_at: Timestamp,
    /// What stands for what. Nothing: a *barrier*. Whoever had begun a compaction before it begins anew.
    pub groups: Vec<Replacement>,
}

/// Files that stand for others: they hold the same rows in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replacement {
    /// The names of the files that were, as they were published. They lie next to each other in their partition.
    pub replaces: Vec<String>,
    /// The files that are. Until a vacuum has deleted the others, they have their staged names.
    pub files: Vec<DataFile>,
}

impl DatasetCompaction {
    /// Whether it only shuts out compactions that had begun before.
    pub fn is_barrier(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        envelope::encode(FORMAT, "compaction", self)
    }

    /// Reads the stored record `number` of `shard`, and verifies it.
    pub(super) fn decode(shard: &ShardKey, number: u64, bytes: &[u8]) -> Result<Self> {
        let compaction: Self = envelope::decode(FORMAT, "compaction", bytes)?;
        if compaction.shard != *shard || compaction.number != number {
            return Err(Error::corrupt("read dataset", "a record of a compaction is that of another place")
                .with("names_shard", &compaction.shard)
                .with("names_number", compaction.number));
        }
        Ok(compaction)
    }
}
