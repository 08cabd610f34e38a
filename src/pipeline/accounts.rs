use super::Pipeline;
use super::epoch::Checkpoint;
use crate::checkpoint::ChainId;
use crate::checkpoint::chain::ChainReader;
use crate::error::{Error, Result};
use crate::landing::AccountReader;
use crate::model::ShardKey;
use std::sync::Arc;

impl Pipeline {
    /// What is known of each partition and window: what the API claimed, what its newest read brought and why it ended, the
    /// hash of its records; and of all records that were ever landed of it, how many were loaded, filtered, deduplicated and
    /// quarantined. May be asked while the pipeline runs, here or elsewhere: it shows what is committed.
    ///
    /// ```
    /// # use landfall::pipeline::Pipeline;
    /// # async fn show(orders: Pipeline) -> landfall::Result<()> {
    /// let mut accounts = orders.accounts().await?;
    /// while let Some(account) = accounts.next().await? {
    ///     if let Some(why) = account.missing() {
    ///         eprintln!("{account}: {why}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Config` if the pipeline has no landing; `Corrupt` if something is damaged; those of the store. A pipeline that moves on
    /// meanwhile may have deleted what was to be read: ask again then.
    pub async fn accounts(&self) -> Result<AccountReader> {
        let Some(landing) = &self.landing else {
            return Err(Error::config("read accounts", "a pipeline without a landing keeps no accounts of partitions")
                .with_hint("add `.land(…)`"));
        };
        let mut reader = AccountReader::new();
        for number in 0..self.settings.shards {
            let shard = ShardKey { pipeline: self.name.clone(), shard: number };
            let rows = self.newest_checkpoint(&shard).await?.map(|newest| newest.accounts).unwrap_or_default();
            reader.add(landing, &self.landing_key(number), &self.name, rows, &self.env).await?;
        }
        Ok(reader)
    }

    /// The newest checkpoint of a shard, without owning it.
    pub(super) async fn newest_checkpoint(&self, shard: &ShardKey) -> Result<Option<Checkpoint>> {
        let chain = ChainReader::new(Arc::clone(&self.checkpoints), ChainId::checkpoints(shard));
        let newest = chain.with_env(&self.env).newest_data().await?;
        newest.map(|record| Checkpoint::decode(shard, &record)).transpose()
    }
}
