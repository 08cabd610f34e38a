//! The commit object of a dataset: what an epoch put into it. Format: docs/formats.md, "Dataset commit".

use super::envelope;
use crate::columnar::files::schema::{StoredColumn, merge_columns};
use crate::columnar::files::{DataFile, StagedFiles};
use crate::error::{Error, Result};
use crate::model::{ShardKey, Timestamp};
use crate::sink::Mark;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "landfall dataset commit";

/// A commit object, verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetCommit {
    /// The shard that committed.
    #[serde(flatten)]
    pub shard: ShardKey,
    /// Its number among the commits of the shard: from 1, without gaps.
    pub sequence: u64,
    /// The mark that the dataset holds for the shard with this commit.
    pub mark: Mark,
    /// The epoch before it, `None` for the first.
    pub previous: Option<u64>,
    /// When it was written, by the writer's clock: for people.
    pub committed_at: Timestamp,
    /// All columns of the shard's files so far. Older files may have fewer.
    pub columns: Vec<StoredColumn>,
    /// The columns that the names of folders hold.
    pub partition_by: Vec<StoredColumn>,
    /// The rows of this commit.
    pub rows: u64,
    /// The files of this commit.
    pub files: Vec<DataFile>,
}

impl DatasetCommit {
    /// The commit that follows `held`.
    pub(super) fn following(
        held: Option<&Self>,
        shard: ShardKey,
        mark: Mark,
        previous: Option<u64>,
        staged: &StagedFiles,
        committed_at: Timestamp,
    ) -> Self {
        // Without rows nothing is said of columns.
        let silent = staged.files.is_empty();
        Self {
            shard,
            sequence: held.map_or(0, |h| h.sequence) + 1,
            mark,
            previous,
            committed_at,
            // A type that changed was refused before the epoch was staged. What is prepared only goes forward.
            columns: match held {
                Some(held) if silent => held.columns.clone(),
                Some(held) => merge_columns(&held.columns, &staged.columns).unwrap_or_else(|_| staged.columns.clone()),
                None => staged.columns.clone(),
            },
            partition_by: held
                .filter(|_| silent)
                .map_or_else(|| staged.partition_by.clone(), |h| h.partition_by.clone()),
            rows: staged.files.iter().map(|f| f.rows).sum(),
            files: staged.files.clone(),
        }
    }

    /// The bytes to store.
    pub(super) fn encode(&self) -> Result<Bytes> {
        envelope::encode(FORMAT, "commit", self)
    }

    /// Reads the stored commit `sequence` of `shard`, and verifies it.
    pub(super) fn decode(shard: &ShardKey, sequence: u64, bytes: &[u8]) -> Result<Self> {
        let commit: Self = envelope::decode(FORMAT, "commit", bytes)?;
        if commit.shard != *shard || commit.sequence != sequence {
            return Err(Error::corrupt("read dataset", "a commit object is that of another place")
                .with("names_shard", &commit.shard)
                .with("names_sequence", commit.sequence));
        }
        Ok(commit)
    }
}
