//! What is on record of epochs that were given up.

use super::Pipeline;
use crate::error::Result;
use crate::model::{EpochLedger, ShardKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An epoch that was given up: its records were, or will be, staged anew in a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AbandonedEpoch {
    /// Whose it was.
    pub shard: ShardKey,
    /// The number of its checkpoint.
    pub epoch: u64,
    /// SHA-256 of what it staged, in hexadecimal digits.
    pub digest: String,
    /// The number of the empty epoch that stands in its place.
    pub instead: u64,
    /// When it was given up, by the clock of who did it.
    pub at: Timestamp,
    /// Who gave it up.
    pub by: String,
    /// Why.
    pub why: String,
    /// Why the destination refused it; what is longer than 1,000 bytes is cut.
    pub refusal: String,
    /// What it would have committed.
    pub ledger: EpochLedger,
}

/// How many of them a shard keeps on record.
pub(super) const MOST_ABANDONED: usize = 100;

impl fmt::Display for AbandonedEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, epoch, at, by, why, refusal, ledger, .. } = self;
        let EpochLedger { read, staged, .. } = ledger;
        write!(
            f,
            "{shard} epoch {epoch}: given up at {at} by {by}: {why}; {read} records read, {staged} staged; {refusal}"
        )
    }
}

impl Pipeline {
    /// The epochs that were [given up](Self::abandon_refused), by shard, oldest first: who, why, when, what the destination said, and
    /// what they would have committed. The newest 100 of each shard, for as long as its chain lives: collection of checkpoints takes
    /// nothing of it. May be asked while the pipeline runs, here or elsewhere.
    ///
    /// ```
    /// # use landfall::pipeline::Pipeline;
    /// # async fn show(orders: Pipeline) -> landfall::Result<()> {
    /// for epoch in orders.abandoned().await? {
    ///     println!("{epoch}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Corrupt` if a chain is damaged; those of the checkpoint store.
    pub async fn abandoned(&self) -> Result<Vec<AbandonedEpoch>> {
        let mut abandoned = Vec::new();
        for number in 0..self.settings.shards {
            let shard = ShardKey { pipeline: self.name.clone(), shard: number };
            abandoned.extend(self.newest_checkpoint(&shard).await?.into_iter().flat_map(|newest| newest.abandoned));
        }
        Ok(abandoned)
    }
}
