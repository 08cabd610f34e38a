use super::access::Access;
use super::decide;
use crate::defects::{Defect, on};
use crate::error::Result;

impl Access {
    /// Deletes what lies at or below the limit. The boundary is durable before the first deletion, so whoever creates a
    /// number in the emptied place learns that it does not count.
    ///
    /// `sweep`: look also for what earlier collections have left, and writers that were shut out.
    pub(super) async fn collect(&self, through: u64, newest_data: Option<u64>, sweep: bool) -> Result<u64> {
        let before = self.boundary().await?;
        let limit = decide::collection_limit(through, newest_data, before);
        let advance = || self.store.advance_boundary(&self.id, limit);
        if limit > before && !on(Defect::DeletesBeforeBoundary) {
            self.patiently(advance).await?;
        }
        let mut left = Vec::new();
        if sweep && !on(Defect::LeftoversStay) {
            left = self.patiently(|| self.store.numbers(&self.id)).await?;
            left.retain(|n| *n <= before);
            left.sort_unstable();
        }
        let mut deleted = 0;
        for number in left.into_iter().chain(before.saturating_add(1)..=limit) {
            self.patiently(|| self.store.remove(&self.id, number)).await?;
            deleted += 1;
        }
        if on(Defect::DeletesBeforeBoundary) {
            advance().await?;
        }
        Ok(deleted)
    }
}
