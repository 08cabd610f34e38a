//! Rows of a landing's table: where each partition stands.

use super::coverage;
use super::table::View;
use crate::error::{Error, Result};
use crate::model::{PartitionId, PositionValue};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Begins the key of a position, before the partition's id.
const PREFIX: &str = "p";

/// The row of a position.
pub(super) fn key(partition: &PartitionId) -> String {
    format!("{PREFIX}{partition}")
}

/// Where the partitions of a landing stood when it was opened, however many there are: they are read when they are asked for.
#[derive(Clone, Debug)]
pub struct LandedPositions(pub(super) View);

impl LandedPositions {
    /// Where `partition` stood; `None` if it had no position.
    ///
    /// # Errors
    /// `Corrupt` if what holds it is damaged or missing; those of the store.
    pub async fn get(&self, partition: &PartitionId) -> Result<Option<PositionValue>> {
        self.0.get(&key(partition)).await?.map(|text| parse(partition, &text)).transpose()
    }

    /// Whether it is said what is covered of `partition`, or of a window of it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn is_covered(&self, partition: &PartitionId) -> Result<bool> {
        let whole = coverage::key(partition, None)?;
        Ok(self.0.get(&whole).await?.is_some() || self.0.scan(&coverage::keys_of(partition)?).next().await?.is_some())
    }

    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.0.cached()
    }

    /// All of them, in memory: for tests and tools.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn all(&self) -> Result<BTreeMap<PartitionId, PositionValue>> {
        let mut all = BTreeMap::new();
        let mut scan = self.0.scan(PREFIX);
        while let Some((key, text)) = scan.next().await? {
            let partition = PartitionId(key.get(PREFIX.len()..).unwrap_or_default().to_owned());
            let position = parse(&partition, &text)?;
            all.insert(partition, position);
        }
        Ok(all)
    }
}

fn parse(partition: &PartitionId, text: &RawValue) -> Result<PositionValue> {
    serde_json::from_str(text.get()).map_err(|e| {
        Error::corrupt("read positions", "a position does not parse").with("partition", partition).with_source(e)
    })
}
