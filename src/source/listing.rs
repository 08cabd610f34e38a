use super::{Emission, Emitter, Source, Traffic, stopped};
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, Result};
use crate::model::{Item, Partition, PartitionId, Position, PositionValue};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Where partitions stood when the run began.
#[async_trait]
pub trait PositionLookup: Send + Sync {
    /// The position of `partition`; `None` if it has none yet.
    ///
    /// # Errors
    /// `Corrupt` if it is there and damaged: never `None` instead. Those of the store.
    async fn position(&self, partition: &PartitionId) -> Result<Option<PositionValue>>;
}

#[async_trait]
impl PositionLookup for BTreeMap<PartitionId, PositionValue> {
    async fn position(&self, partition: &PartitionId) -> Result<Option<PositionValue>> {
        Ok(self.get(partition).cloned())
    }
}

/// What a source lists, in this order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Listed {
    /// A partition to read.
    Partition(Partition),
    /// A fence: see [`Listing::advance`].
    Fence {
        /// The partition that moves: a parent, which is not read itself.
        partition: PartitionId,
        /// Where it stands then.
        to: PositionValue,
    },
}

/// Takes the partitions of a source one by one, with backpressure: `add` waits while all readers are busy, so that a source
/// of any number of partitions needs no memory for them.
///
/// # Guarantees (of the runtime)
/// 1. *Once*: an id that was listed before in this run is passed over, whether its read is under way or has ended: the first
///    one counts. (Told by a 64-bit hash with a new seed in each run, so that no two ids meet in run after run.)
/// 2. *Fences hold*: what [`advance`](Self::advance) says becomes durable only after everything that was listed before it
///    has ended with proof and is durable with its positions. A crash, an error or a stop before that leaves the old
///    position. A partition that ends without proof keeps all fences behind it from passing in this run; a later one of the
///    same parent includes those before it, so some may be left out.
/// 3. *Stopping* ends the listing where it waits; what it has not listed is not read in this run.
pub struct Listing<P> {
    queue: mpsc::Sender<Listed>,
    positions: Arc<dyn PositionLookup>,
    stop: watch::Receiver<bool>,
    traffic: Traffic,
    position: PhantomData<fn(P) -> P>,
}

impl<P: Position> Listing<P> {
    /// A listing into `queue`, for a source whose partitions stand at `positions`.
    pub fn new(queue: mpsc::Sender<Listed>, positions: Arc<dyn PositionLookup>, stop: watch::Receiver<bool>) -> Self {
        Self { queue, positions, stop, traffic: Traffic::default(), position: PhantomData }
    }

    /// Counts into `traffic`, with the reads of the run.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// Where the source counts what listing costs: the report of the run shows it. The emitters of
    /// [`emitter`](Self::emitter) count into it.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Lists a partition; waits until a reader is about to be free.
    ///
    /// # Cancellation
    /// Not cancel-safe: if it is dropped, the partition may or may not have been taken.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on.
    pub async fn add(&mut self, partition: Partition) -> Result<()> {
        self.send(Listed::Partition(partition)).await
    }

    /// Lists what is known beforehand, as [`add`](Self::add) does one by one.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on.
    pub async fn add_all(&mut self, partitions: Vec<Partition>) -> Result<()> {
        for partition in partitions {
            self.add(partition).await?;
        }
        Ok(())
    }

    /// A fence: sets the position of `parent` to `to`, once everything that was listed before has ended with proof (guarantee
    /// 2). For a parent whose records are the partitions: list a page of children, then advance the parent over that page.
    /// The parent is a name for the position, and no partition that is read. The next run finds it with
    /// [`position`](Self::position).
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on. `Bug` if the position does not serialise.
    pub async fn advance(&mut self, parent: &PartitionId, to: &P) -> Result<()> {
        let to = PositionValue::keep(to)?;
        self.send(Listed::Fence { partition: parent.clone(), to }).await
    }

    /// Where `partition` stood when the run began; `None` if nothing was read of it yet.
    ///
    /// # Errors
    /// `Config` if the position is not one of this source; `Corrupt` if it is damaged; those of the store.
    pub async fn position(&self, partition: &PartitionId) -> Result<Option<P>> {
        self.positions.position(partition).await?.map(|kept| kept.restore()).transpose()
    }

    /// A listing into `queue` for a source within this one: a parent, whose partitions are read while children are listed. The
    /// positions that it finds are those whose names here begin with `prefix`.
    #[must_use]
    pub fn below(&self, prefix: &'static str, queue: mpsc::Sender<Listed>) -> Self {
        let positions = Arc::new(Below { prefix, positions: Arc::clone(&self.positions) });
        Self::new(queue, positions, self.stop.clone()).with_traffic(self.traffic.clone())
    }

    /// An emitter into `queue` for a read of a source within this one, within `budget` bytes in total of `capacity`.
    pub fn emitter<I: Item>(
        &self,
        partition: Partition,
        budget: Arc<Semaphore>,
        capacity: u64,
        queue: mpsc::Sender<Emission<I>>,
    ) -> Emitter<I, P> {
        Emitter::new(partition, budget, capacity, queue, self.stop.clone()).with_traffic(self.traffic.clone())
    }

    /// Whether the pipeline stops: there is no need to list more.
    pub fn is_cancelled(&self) -> bool {
        *self.stop.borrow()
    }

    async fn send(&mut self, listed: Listed) -> Result<()> {
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Err(Error::cancelled("list partitions")),
            sent = self.queue.send(listed) => sent.map_err(|_| Error::cancelled("list partitions")),
        }
    }
}

/// Positions whose names begin with a prefix, by the rest of their names.
struct Below {
    prefix: &'static str,
    positions: Arc<dyn PositionLookup>,
}

#[async_trait]
impl PositionLookup for Below {
    async fn position(&self, partition: &PartitionId) -> Result<Option<PositionValue>> {
        self.positions.position(&PartitionId(format!("{}{partition}", self.prefix))).await
    }
}

impl<P> Debug for Listing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

/// Everything that `source` lists, fences too, where its partitions stand at `positions`. Holds it all in memory: for tests
/// and tools.
///
/// # Errors
/// What the source says. What was listed before is lost then.
pub async fn list<S: Source>(
    source: &S,
    env: &Env,
    positions: BTreeMap<PartitionId, PositionValue>,
) -> Result<Vec<Listed>> {
    let (queue, mut listed) = mpsc::channel(16);
    let (_go_on, stop) = watch::channel(false);
    let listing = async {
        let mut out = Listing::new(queue, Arc::new(positions), stop);
        source.partitions(env, &mut out).await
    };
    let collecting = async {
        let mut all = Vec::new();
        while let Some(next) = listed.recv().await {
            all.push(next);
        }
        all
    };
    let (listed, all) = tokio::join!(listing, collecting);
    listed.map(|()| all)
}

/// The partitions that `source` lists for a first run. Holds all in memory: for tests and tools.
///
/// # Errors
/// As [`list`].
pub async fn list_partitions<S: Source>(source: &S, env: &Env) -> Result<Vec<Partition>> {
    let partition = |listed| match listed {
        Listed::Partition(partition) => Some(partition),
        Listed::Fence { .. } => None,
    };
    Ok(list(source, env, BTreeMap::new()).await?.into_iter().filter_map(partition).collect())
}
