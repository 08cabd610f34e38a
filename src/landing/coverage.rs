//! Rows of a landing's table: what is covered.

use super::Landing;
use super::table::{History, Scan, Table, View};
use crate::checkpoint::chain::ChainReader;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Coverage, PartitionId, ShardKey, Window};
use serde::Deserialize;

/// Begins the key of what is covered, before the partition and the window as a JSON array.
const PREFIX: &str = "c";

/// What a coverage record is about: there is one row for it.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    partition: PartitionId,
    #[serde(default)]
    window: Option<Window>,
}

/// The row of a coverage record.
pub(super) fn key(of: &Of) -> Result<String> {
    let window = of.window.as_ref().map(|window| (&window.from, &window.to));
    let text = serde_json::to_string(&(&of.partition, window))
        .map_err(|e| Error::bug("write coverage", "a window does not serialise").with_source(e))?;
    Ok(format!("{PREFIX}{text}"))
}

/// Reads what is covered, without owning the landing; holds a few records at a time, however many there are.
#[derive(Debug)]
pub struct CoverageReader {
    view: View,
    scan: Scan,
}

/// Times that a landing is looked at which moves on meanwhile.
const LOOKS: usize = 8;

impl CoverageReader {
    pub(super) async fn open(landing: &Landing, shard: &ShardKey, env: &Env) -> Result<Self> {
        let (checkpoints, id) = landing.chain(shard);
        let chain = ChainReader::new(checkpoints, id).with_env(env);
        let mut looks = 0;
        let table = loop {
            let newest = chain.newest_data().await?;
            let number = newest.as_ref().map(|record| record.number);
            match Table::recover(landing, shard, History::Read(&chain), newest).await {
                Ok(table) => break table,
                // Its owner may have moved on, and deleted what it does not need any more.
                Err(e) if e.kind() == ErrorKind::Corrupt && looks < LOOKS => {
                    looks += 1;
                    if chain.newest_data().await?.map(|record| record.number) == number {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        };
        let view = table.view();
        Ok(Self { scan: view.scan(PREFIX), view })
    }

    /// Only what is covered of `partition`.
    #[must_use]
    pub fn of(mut self, partition: &PartitionId) -> Self {
        // The array goes on with the window.
        let partition = serde_json::to_string(partition).unwrap_or_default();
        self.scan = self.view.scan(&format!("{PREFIX}[{partition},"));
        self
    }

    /// The next record, in the order of partitions and windows; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if a record is damaged, or if the landing has moved on so far that it is gone: begin again then. Those of the
    /// store.
    pub async fn next(&mut self) -> Result<Option<Coverage>> {
        let Some((_, text)) = self.scan.next().await? else { return Ok(None) };
        let coverage = serde_json::from_str(text.get())
            .map_err(|e| Error::corrupt("read coverage", "a coverage record does not parse").with_source(e))?;
        Ok(Some(coverage))
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
