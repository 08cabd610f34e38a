//! What an epoch stages: files, and their names.

use super::actions::Add;
use super::file;
use crate::columnar::files::FileNames;
use crate::columnar::files::partition::{Key, Partitioning};
use crate::env::Env;
use crate::error::Result;
use crate::model::{PipelineName, ShardKey, Timestamp};
use crate::sink::{Disposition, EpochContext, Mark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an epoch staged: names and sizes of files, and their columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeltaStaged {
    /// The files.
    pub files: Vec<DeltaFile>,
    /// The columns of the files, as Delta writes a schema; `None` without files.
    pub schema: Option<String>,
    /// The columns that the files are split by.
    pub partition_by: Vec<String>,
    /// When they were complete.
    pub staged_at: Timestamp,
    /// What was asked for when they were staged: an epoch is committed as it was prepared, whatever is configured later.
    pub disposition: Disposition,
}

/// A Parquet file that was staged for a Delta table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeltaFile {
    /// Its name below the folder of the table.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// CRC-32C of its last 4096 bytes (of all of it, if it is smaller), in hexadecimal digits.
    pub tail_crc32c: String,
    /// The values of the partition columns of all of its rows.
    pub partition: BTreeMap<String, Option<String>>,
    /// Its statistics, as Delta writes them.
    pub stats: String,
}

impl DeltaFile {
    pub(super) fn add(&self, at_millis: i64) -> Add {
        Add {
            path: file::uri(&self.path),
            partition_values: self.partition.clone(),
            size: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            modification_time: at_millis,
            data_change: true,
            stats: Some(self.stats.clone()),
            ..Add::default()
        }
    }
}

/// The names of the files that are written. They lie in folders of their partitions, as some readers take the values from there
/// rather than from the log.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    /// Those of an epoch's rows.
    pub(super) fn staged(context: &EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, .. } = context;
        Self::new(shard, *generation, *epoch, format!("{attempt:04}"))
    }

    /// Those of files that are written while an epoch is committed. What an earlier try left never gets in the way.
    pub(super) fn rewritten(shard: &ShardKey, mark: &Mark, env: &Env) -> Self {
        Self::new(shard, mark.generation, mark.epoch, env.nonce())
    }

    /// Those of what is written before an epoch is opened, to be read and deleted.
    pub(super) fn aside(context: &EpochContext) -> Self {
        Self::new(&context.shard, context.generation, context.epoch, context.env.nonce())
    }

    /// Others besides these.
    pub(super) fn part(&self, name: &str) -> Self {
        Self(format!("{}x{name}", self.0))
    }

    fn new(shard: &ShardKey, generation: u64, epoch: u64, writer: String) -> Self {
        Self(format!("landfall-{}-{:04}-g{generation:010}-{epoch:020}-{writer}", shard.pipeline, shard.shard))
    }

    /// Those of files that are put together.
    pub(super) fn of_compaction(env: &Env) -> Self {
        Self(format!("compacted-{}", env.nonce()))
    }

    /// The shard, the generation and the epoch that a file of this name was written for.
    pub(super) fn parse(file_name: &str) -> Option<(ShardKey, u64, u64)> {
        let mut parts = file_name.strip_suffix(".parquet")?.strip_prefix("landfall-")?.rsplitn(6, '-').skip(2);
        let epoch = parts.next()?.parse().ok()?;
        let generation = parts.next()?.strip_prefix('g')?.parse().ok()?;
        let shard = parts.next()?.parse().ok()?;
        Some((ShardKey { pipeline: PipelineName::new(parts.next()?).ok()?, shard }, generation, epoch))
    }
}

impl FileNames for Names {
    fn staged(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        Ok(format!("{}{}-{number:04}.parquet", by.folders(key)?, self.0))
    }

    fn published(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        self.staged(by, key, number)
    }
}
