use super::Pipeline;
use super::extract::shard_of;
use crate::error::{Error, Result};
use crate::landing::LandingWriter;
use crate::model::PartitionId;

impl Pipeline {
    /// Forgets `partitions` that are gone for good, such as customers that were deleted: where they stand, and what is covered of
    /// them. What was loaded of them stays, and so do its accounts. One that the source lists again after all is read from
    /// its beginning.
    ///
    /// Nothing is forgotten otherwise: that a source does not list a partition may only mean that nothing is new there. A parent's
    /// position is that of the partition `.parent/` and its id.
    ///
    /// # Errors
    /// `Config` if the pipeline has no landing of its own; those of the store. A run of the pipeline that goes on meanwhile is
    /// fenced.
    ///
    /// # Cancellation
    /// If it is dropped, some are forgotten and some are not: call it again.
    pub async fn forget(&self, partitions: &[PartitionId]) -> Result<()> {
        let Some(landing) = self.landing.as_ref().filter(|_| self.landed_by.is_none()) else {
            return Err(Error::config("forget partitions", "the pipeline has no landing of its own")
                .with_hint("ask the pipeline that lands them"));
        };
        for number in 0..self.settings.shards {
            let mine: Vec<PartitionId> =
                partitions.iter().filter(|id| shard_of(id, self.settings.shards) == number).cloned().collect();
            if !mine.is_empty() {
                let (mut writer, _) = LandingWriter::open(landing, &self.landing_key(number), &self.env).await?;
                writer.forget(&mine).await?;
            }
        }
        Ok(())
    }
}
