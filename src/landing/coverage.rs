//! Rows of a landing's table: what is covered.

use super::Landing;
use super::table::{Scan, View};
use super::vacuum::recover;
use crate::checkpoint::chain::ChainReader;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Coverage, PartitionId, ShardKey, Window};
use serde::Deserialize;

/// Begins the key of what is covered, before the partition and the window as a JSON array.
const PREFIX: &str = "c";

/// What a coverage record is about: there is one row for it.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    pub partition: PartitionId,
    #[serde(default)]
    pub window: Option<Window>,
    /// Nothing is covered any more: there is no row.
    #[serde(default)]
    pub withdrawn: bool,
}

/// The row of a partition, or of a window of it.
pub(super) fn key(partition: &PartitionId, window: Option<&Window>) -> Result<String> {
    let window = window.map(|window| (&window.from, &window.to));
    let text = serde_json::to_string(&(partition, window))
        .map_err(|e| Error::bug("write coverage", "a window does not serialise").with_source(e))?;
    Ok(format!("{PREFIX}{text}"))
}

/// How the keys of all rows of `partition` begin.
pub(super) fn keys_of(partition: &PartitionId) -> Result<String> {
    // The array goes on with the window.
    let text = serde_json::to_string(partition)
        .map_err(|e| Error::bug("read coverage", "the id of a partition does not serialise").with_source(e))?;
    Ok(format!("{PREFIX}[{text},"))
}

/// What a key is the row of.
pub(super) fn of_key(key: &str) -> Result<(PartitionId, Option<Window>)> {
    type Bounds = (Option<String>, Option<String>);
    let parsed = serde_json::from_str::<(PartitionId, Option<Bounds>)>(key.get(PREFIX.len()..).unwrap_or_default());
    let (partition, window) =
        parsed.map_err(|e| Error::corrupt("read coverage", "the key of a row does not parse").with_source(e))?;
    Ok((partition, window.map(|(from, to)| Window { from, to })))
}

/// Reads what is covered, without owning the landing; holds a few records at a time, however many there are.
#[derive(Debug)]
pub struct CoverageReader {
    view: View,
    scan: Scan,
}

impl CoverageReader {
    pub(super) async fn open(landing: &Landing, shard: &ShardKey, env: &Env) -> Result<Self> {
        let (checkpoints, id) = landing.chain(shard);
        let chain = ChainReader::new(checkpoints, id).with_env(env);
        let table = recover(landing, shard, &chain).await?;
        let view = table.view();
        Ok(Self { scan: view.scan(PREFIX), view })
    }

    /// Only what is covered of `partition`.
    #[must_use]
    pub fn of(mut self, partition: &PartitionId) -> Self {
        self.scan = self.view.scan(&keys_of(partition).unwrap_or_default());
        self
    }

    /// The next record, in the order of partitions and windows; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if a record is damaged, or if the landing has moved on so far that it is gone: begin again then. Those of the
    /// store.
    pub async fn next(&mut self) -> Result<Option<Coverage>> {
        Ok(self.next_row().await?.map(|(_, coverage)| coverage))
    }

    /// The next record and its key.
    pub(super) async fn next_row(&mut self) -> Result<Option<(String, Coverage)>> {
        let Some((key, text)) = self.scan.next().await? else { return Ok(None) };
        let coverage = serde_json::from_str(text.get())
            .map_err(|e| Error::corrupt("read coverage", "a coverage record does not parse").with_source(e))?;
        Ok(Some((key, coverage)))
    }

    /// All of them, in memory: for tests and tools.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<Coverage>> {
        let mut all = Vec::new();
        while let Some(coverage) = self.next().await? {
            all.push(coverage);
        }
        Ok(all)
    }
}
