use super::access::Access;
use super::decide;
use crate::error::Result;

impl Access {
    /// Deletes what lies at or below the limit. The boundary is durable before the first deletion, so whoever creates a
    /// number in the emptied place learns that it does not count.
    pub(super) async fn collect(&self, through: u64, newest_data: Option<u64>) -> Result<u64> {
        let before = self.boundary().await?;
        let limit = decide::collection_limit(through, newest_data, before);
        if limit > before {
            self.patiently(|| self.store.advance_boundary(&self.id, limit)).await?;
        }
        let mut deleted = 0;
        // What an earlier collection has left, and leftovers of writers that were shut out.
        let mut known = self.patiently(|| self.store.numbers(&self.id)).await?;
        known.retain(|n| *n <= before);
        known.sort_unstable();
        for number in known.into_iter().chain(before.saturating_add(1)..=limit) {
            self.patiently(|| self.store.remove(&self.id, number)).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}
