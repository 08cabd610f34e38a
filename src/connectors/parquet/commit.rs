//! The commit object of a dataset: what an epoch put into it. Format: docs/formats.md, "Dataset commit".

use crate::columnar::files::schema::{StoredColumn, merge_columns};
use crate::columnar::files::{DataFile, StagedFiles, checksum};
use crate::error::{Error, Result};
use crate::model::{ShardKey, Timestamp};
use crate::sink::Mark;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

const FORMAT: &str = "landfall dataset commit";
const VERSION: u32 = 1;

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

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    format: Cow<'a, str>,
    version: u32,
    crc32c: Cow<'a, str>,
    #[serde(borrow)]
    commit: &'a RawValue,
}

#[derive(Deserialize)]
struct Version {
    format: String,
    version: u32,
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
        let failed = |e| Error::bug("write dataset commit", "the commit does not serialise").with_source(e);
        let commit = serde_json::value::to_raw_value(self).map_err(failed)?;
        let crc32c = Cow::Owned(checksum(commit.get().as_bytes()));
        let envelope = Envelope { format: Cow::Borrowed(FORMAT), version: VERSION, crc32c, commit: &commit };
        Ok(serde_json::to_vec(&envelope).map_err(failed)?.into())
    }

    /// Reads the stored commit `sequence` of `shard`, and verifies it.
    pub(super) fn decode(shard: &ShardKey, sequence: u64, bytes: &[u8]) -> Result<Self> {
        let damaged = |message| Error::corrupt("read dataset commit", message);
        let unreadable = |e| damaged("not a commit object").with_source(e);
        let known: Version = serde_json::from_slice(bytes).map_err(unreadable)?;
        if known.format != FORMAT {
            return Err(damaged("not a commit object").with("format", known.format.escape_debug()));
        }
        if known.version != VERSION {
            return Err(Error::config("read dataset commit", "written in a format that this version does not know")
                .with("version", known.version)
                .with_hint("use a newer version of landfall"));
        }
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
        if checksum(envelope.commit.get().as_bytes()) != envelope.crc32c {
            return Err(damaged("the checksum does not fit"));
        }
        let commit: Self = serde_json::from_str(envelope.commit.get()).map_err(unreadable)?;
        if commit.shard != *shard || commit.sequence != sequence {
            return Err(damaged("it is the commit of another place")
                .with("names_shard", &commit.shard)
                .with("names_sequence", commit.sequence));
        }
        Ok(commit)
    }
}
