use crate::error::{Error, Result};
use crate::model::{Item, Partition, Position, PositionValue};
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Memory of the pipeline's budget, held from the socket to the sink. Freed when dropped.
#[derive(Debug, Default)]
pub struct Reservation(Vec<OwnedSemaphorePermit>, u64);

impl Reservation {
    /// A reservation of nothing, for pipelines without a budget (tests).
    pub fn none() -> Self {
        Self::default()
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.1
    }

    pub(crate) fn of(permit: OwnedSemaphorePermit) -> Self {
        let bytes = permit.num_permits() as u64;
        Self(vec![permit], bytes)
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.1 += other.1;
        self.0.extend(other.0);
    }

    /// Keeps `bytes` and frees the rest.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let mut excess = self.1.saturating_sub(bytes);
        for permit in &mut self.0 {
            let give = excess.min(permit.num_permits() as u64);
            drop(permit.split(usize::try_from(give).unwrap_or(usize::MAX)));
            excess -= give;
            self.1 -= give;
        }
    }
}

/// What a source gave: an item with the position after it, or a position alone.
#[derive(Debug)]
pub struct Emission<I> {
    /// The partition that was read.
    pub partition: Partition,
    /// The item, unless only the position moved.
    pub item: Option<I>,
    /// The position after the item; `None` if the partition does not move with it (a part that is not the last).
    pub position: Option<PositionValue>,
    /// The memory it holds.
    pub reservation: Reservation,
}

/// Lets one response at a time be handed over in parts: shared by the reads of a shard, so that the parts of different
/// responses never mix in its landing.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<()>>);

/// Takes the items of one read, with backpressure: `emit` waits while the pipeline is full.
pub struct Emitter<I, P> {
    partition: Partition,
    budget: Arc<Semaphore>,
    capacity: u64,
    queue: mpsc::Sender<Emission<I>>,
    stop: watch::Receiver<bool>,
    held: Reservation,
    gate: Gate,
    passed: Option<OwnedMutexGuard<()>>,
    position: PhantomData<fn(P)>,
}

impl<I: Item, P: Position> Emitter<I, P> {
    /// An emitter for one read of `partition` into `queue`, within `budget` bytes in total of `capacity`.
    pub fn new(
        partition: Partition,
        budget: Arc<Semaphore>,
        capacity: u64,
        queue: mpsc::Sender<Emission<I>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let held = Reservation::none();
        Self {
            partition,
            budget,
            capacity,
            queue,
            stop,
            held,
            gate: Gate::default(),
            passed: None,
            position: PhantomData,
        }
    }

    /// Shares `gate` with the other reads of the shard.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Holds memory for the next item before it is read from the socket; waits while the pipeline is full.
    /// More than half of the budget is never held by one item.
    ///
    /// # Cancellation
    /// Cancel-safe: nothing is held if it is dropped.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops meanwhile.
    pub async fn reserve(&mut self, bytes: u64) -> Result<()> {
        let want = bytes.saturating_sub(self.held.bytes()).min((self.capacity / 2).saturating_sub(self.held.bytes()));
        if want == 0 {
            return Ok(());
        }
        let budget = Arc::clone(&self.budget);
        let permit = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return Err(Error::cancelled("reserve memory")),
            permit = budget.acquire_many_owned(u32::try_from(want).unwrap_or(u32::MAX)) => permit,
        };
        let permit = permit.map_err(|_| Error::cancelled("reserve memory"))?;
        self.held.merge(Reservation::of(permit));
        Ok(())
    }

    /// Hands over `item` and the position after it. It is durable some time later, together with the position.
    ///
    /// # Cancellation
    /// Not cancel-safe: if it is dropped, the item may or may not have been taken.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on.
    pub async fn emit(&mut self, item: I, after: &P) -> Result<()> {
        self.send(Some(item), Some(PositionValue::keep(after)?)).await?;
        self.passed = None;
        Ok(())
    }

    /// Hands over a part of a response that is not its last: the partition does not move yet. The last part goes through
    /// [`emit`](Self::emit). Until then the other reads of the shard wait with parts of theirs.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on.
    pub async fn emit_part(&mut self, item: I) -> Result<()> {
        if self.passed.is_none() {
            let gate = Arc::clone(&self.gate.0);
            self.passed = Some(tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(Error::cancelled("emit part")),
                passed = gate.lock_owned() => passed,
            });
        }
        self.send(Some(item), None).await
    }

    /// Moves the partition without an item.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops; pass it on.
    pub async fn advance(&mut self, to: &P) -> Result<()> {
        self.send(None, Some(PositionValue::keep(to)?)).await
    }

    /// Whether the pipeline stops: end the read soon, with [`StopReason::Cancelled`](crate::model::StopReason).
    pub fn is_cancelled(&self) -> bool {
        *self.stop.borrow()
    }

    /// Completes when the pipeline stops. Cancel-safe.
    pub async fn cancelled(&mut self) {
        stopped(&mut self.stop).await;
    }

    async fn send(&mut self, item: Option<I>, position: Option<PositionValue>) -> Result<()> {
        // The item itself is not borrowed across an await: it need not be `Sync`.
        if let Some(bytes) = item.as_ref().map(Item::bytes) {
            self.reserve(bytes).await?;
            self.held.shrink_to(bytes);
        }
        let reservation = if item.is_some() { std::mem::take(&mut self.held) } else { Reservation::none() };
        let emission = Emission { partition: self.partition.clone(), item, position, reservation };
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Err(Error::cancelled("emit")),
            sent = self.queue.send(emission) => sent.map_err(|_| Error::cancelled("emit")),
        }
    }
}

impl<I, P> Debug for Emitter<I, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("partition", &self.partition.id).finish_non_exhaustive()
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A pipeline that is gone has stopped too.
    let _gone = stop.wait_for(|stop| *stop).await.is_err();
}
