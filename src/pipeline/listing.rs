//! The listing of a source's partitions: each goes to its shard as soon as a reader there is about to be free.

use super::erased::AnySource;
use super::events::Events;
use super::extract::shard_of;
use super::fences::Fences;
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::LandedPositions;
use crate::model::{Partition, PartitionId, PositionValue};
use crate::source::{Listed, PositionLookup};
use async_trait::async_trait;
use futures::FutureExt;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A partition that is to be read, and its number in this run.
#[derive(Debug)]
pub(super) struct Assigned {
    pub number: u64,
    pub partition: Partition,
}

/// Lists the partitions of one run into the queues of its shards.
pub(super) struct Lister {
    pub source: Arc<dyn AnySource>,
    pub env: Env,
    pub stop: watch::Receiver<bool>,
    /// One for each shard.
    pub queues: Vec<mpsc::Sender<Assigned>>,
    pub positions: Arc<dyn PositionLookup>,
    pub fences: Arc<Fences>,
    /// Whether fences can be kept: positions of several shards that lie in their checkpoints have no common order.
    pub may_fence: bool,
    pub events: Events,
}

impl Lister {
    /// Lists until the source has said everything, or the run stops.
    ///
    /// # Errors
    /// What the source says.
    pub(super) async fn run(self) -> Result<()> {
        let listed = self.list().await;
        self.fences.close(listed.is_ok());
        let stopped = *self.stop.borrow() || self.queues.iter().all(mpsc::Sender::is_closed);
        let error = match listed {
            Ok(()) => return Ok(()),
            // Only who was asked to stop may say so. A shard that failed says why itself.
            Err(e) if e.kind() == ErrorKind::Cancelled && stopped => return Ok(()),
            Err(e) => e,
        };
        tracing::error!(%error, "the list of partitions is not whole");
        self.events.not_all_listed(error.to_string());
        Err(error)
    }

    async fn list(&self) -> Result<()> {
        let (out, mut listed) = mpsc::channel(1);
        let (positions, stop) = (Arc::clone(&self.positions), self.stop.clone());
        let source = AssertUnwindSafe(self.source.partitions(&self.env, out, positions, stop, self.events.traffic()));
        let listing = async {
            source
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(crate::env::panicked("list partitions", panic.as_ref())))
        };
        let assigning = async move {
            // Owns its end of the queue: when nobody takes partitions any more, the source must not wait.
            let mut seen = Seen::new(self.env.random());
            while let Some(next) = listed.recv().await {
                self.assign(next, &mut seen).await?;
            }
            Ok(())
        };
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // A source that waits for its API need not hear of it.
            () = crate::source::stopped(&mut stop) => Err(Error::cancelled("list partitions")),
            () = self.left() => Err(Error::cancelled("list partitions")),
            done = async {
                let (listed, assigned) = tokio::join!(listing, assigning);
                assigned.and(listed)
            } => done,
        }
    }

    /// Completes when nobody reads any more.
    async fn left(&self) {
        for queue in &self.queues {
            queue.closed().await;
        }
    }

    async fn assign(&self, listed: Listed, seen: &mut Seen) -> Result<()> {
        let partition = match listed {
            Listed::Partition(partition) => partition,
            Listed::Fence { partition, to } => {
                if !self.may_fence {
                    return Err(Error::config("list partitions", "a parent's position needs a landing, or one shard")
                        .with("partition", partition)
                        .with_hint("add `.land(…)`, or use one shard"));
                }
                self.fences.fence(partition, to);
                return Ok(());
            }
        };
        if !seen.insert(&partition.id) {
            tracing::debug!(partition = %partition.id, "listed before in this run, passed over");
            self.events.listed_again();
            return Ok(());
        }
        let shard = shard_of(&partition.id, u32::try_from(self.queues.len()).unwrap_or(u32::MAX));
        let number = self.fences.begin();
        let queue = self.queues.get(shard as usize);
        let sent = match queue {
            Some(queue) => queue.send(Assigned { number, partition }).await.is_ok(),
            None => false,
        };
        if !sent {
            // The shard has failed, and says so itself; the others go on.
            self.fences.ended([(number, false)]);
        }
        Ok(())
    }
}

/// The partitions that were listed, 8 bytes for each: hashes with a seed of this run. Two ids with the same hash meet in one
/// run out of billions, and the next one reads what this one passed over.
struct Seen {
    seed: u64,
    hashes: HashSet<u64, BuildHasherDefault<Hashed>>,
}

impl Seen {
    fn new(seed: u64) -> Self {
        Self { seed, hashes: HashSet::default() }
    }

    fn insert(&mut self, partition: &PartitionId) -> bool {
        self.hashes.insert(xxh3_64_with_seed(partition.0.as_bytes(), self.seed))
    }
}

/// What is hashed already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The positions of a landing.
pub(super) struct Landed(pub LandedPositions);

#[async_trait]
impl PositionLookup for Landed {
    /// A process may die between a page and the end of its read: then a position is there of which nothing is said yet.
    async fn position(&self, partition: &PartitionId) -> Result<Option<PositionValue>> {
        let Some(position) = self.0.get(partition).await? else { return Ok(None) };
        let unproven = position.unproven || !self.0.is_covered(partition).await?;
        Ok(Some(PositionValue { unproven, ..position }))
    }
}

/// The positions of all shards, as they were when the run began.
pub(super) struct ShardPositions(pub Vec<Arc<dyn PositionLookup>>);

#[async_trait]
impl PositionLookup for ShardPositions {
    async fn position(&self, partition: &PartitionId) -> Result<Option<PositionValue>> {
        let shard = shard_of(partition, u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        match self.0.get(shard as usize) {
            Some(positions) => positions.position(partition).await,
            None => Ok(None),
        }
    }
}
