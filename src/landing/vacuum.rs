//! What no load needs any more is deleted from the landing: an operation of its own, for whoever does not own it.

use super::retention::removable;
use super::table::{History, Table};
use super::{Landing, Retention};
use crate::checkpoint::chain::ChainReader;
use crate::env::Env;
use crate::error::Result;
use crate::model::{ShardKey, Vacuumed, Why};
use crate::store::ObjectPath;

/// Times that a landing is looked at which moves on meanwhile.
const LOOKS: usize = 8;

impl Landing {
    /// Deletes the segments of `shard` that every load has committed, as far as they are not needed to go on; with `dry_run` it only says
    /// which. Nothing is deleted while a load is known that has not published how far it is, or none is known. Safe beside the pipeline that
    /// lands and those that load, as what `Settings::prune_landing` does after each run. What is deleted cannot be
    /// loaded again.
    ///
    /// A load that will not run again holds everything up: [release](Retention::release) it.
    ///
    /// # Errors
    /// `Corrupt` if the landing, or what a load has published, is damaged; those of the store.
    ///
    /// # Cancellation
    /// Dropped, it has deleted a part; the next one goes on.
    pub async fn vacuum(&self, shard: &ShardKey, env: &Env, dry_run: bool) -> Result<Vacuumed> {
        let mut report = Vacuumed::new(dry_run);
        let (checkpoints, id) = self.chain(shard);
        let chain = ChainReader::new(checkpoints, id).with_env(env);
        let base = recover(self, shard, &chain).await?.base();
        let folder = self.folder("segments", shard);
        let segments = self.store.list(&folder).await?;
        // Only now: what a listing takes minutes for, a load may become known in.
        let retained = Retention::new(self, shard, env).retained().await?;
        let through = removable(retained, base);
        let limit = chain.collectable(through).await?;
        for object in segments {
            let Some(number) = number_of(&folder, &object.path) else { continue };
            if number <= limit {
                report.delete(object.path.as_str(), object.size, Why::Loaded);
            } else {
                let unloaded = retained.is_none_or(|retained| number >= retained.segment);
                report.keep(object.size, if unloaded { Why::Unloaded } else { Why::InUse });
            }
        }
        if !dry_run {
            chain.collect(through).await?;
        }
        Ok(report)
    }
}

/// The rows of a landing that is not owned: its owner may move on, and delete what it does not need any more.
pub(super) async fn recover(landing: &Landing, shard: &ShardKey, chain: &ChainReader) -> Result<Table> {
    let mut newest = chain.newest_data().await?;
    for _ in 0..LOOKS {
        let number = newest.as_ref().map(|record| record.number);
        let error = match Table::recover(landing, shard, History::Read(chain), newest).await {
            Ok(table) => return Ok(table),
            Err(error) => error,
        };
        newest = chain.newest_data().await?;
        if newest.as_ref().map(|record| record.number) == number {
            return Err(error);
        }
    }
    Table::recover(landing, shard, History::Read(chain), newest).await
}

/// The number of a segment: `<folder>/<number>.rec`.
fn number_of(folder: &ObjectPath, object: &ObjectPath) -> Option<u64> {
    object.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?.strip_suffix(".rec")?.parse().ok()
}
