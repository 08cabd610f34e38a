use super::traffic::Traffic;
use crate::env::watch;
use crate::error::{Error, Result};
use crate::model::{Coverage, Item, Partition, PartitionId, Position, PositionValue, Tally};
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc};

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
    /// What is covered with the position.
    pub coverage: Vec<Coverage>,
    /// The memory it holds.
    pub reservation: Reservation,
    /// What came with it as a whole: of a part nothing, of the last one everything.
    pub(crate) tally: Tally,
    /// Of a part: keeps the parts of other responses out until this one has its place in the shard's order.
    pub(crate) pass: Option<Pass>,
}

impl<I> Emission<I> {
    /// A position alone.
    pub(crate) fn moved(partition: PartitionId, to: PositionValue) -> Self {
        let partition = Partition::new(partition.0);
        Self {
            partition,
            item: None,
            position: Some(to),
            coverage: Vec::new(),
            reservation: Reservation::none(),
            tally: Tally::default(),
            pass: None,
        }
    }
}

/// Lets one response at a time be handed over in parts: shared by the reads of a shard, so that the parts of different
/// responses never mix in its landing.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<()>>);

/// Who is through the gate. It is free again when the read and all parts on their way have let go of it.
pub(crate) type Pass = Arc<OwnedMutexGuard<()>>;

/// Takes the items of one read, with backpressure: `emit` waits while the pipeline is full.
pub struct Emitter<I, P> {
    partition: Partition,
    budget: Arc<Semaphore>,
    capacity: u64,
    queue: mpsc::Sender<Emission<I>>,
    stop: watch::Receiver<bool>,
    held: Reservation,
    gate: Gate,
    passed: Option<Pass>,
    traffic: Traffic,
    /// What was handed over since the last `cover`, and of a response that is not whole.
    tally: Tally,
    open: Tally,
    covered: Vec<Coverage>,
    said: Said,
    position: PhantomData<fn(P)>,
}

/// What a read has said of its coverage, through whichever emitter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(Arc<std::sync::Mutex<(bool, Vec<Coverage>)>>);

impl Said {
    /// Whether anything was said; and what no position has followed.
    pub(crate) fn take(&self) -> (bool, Vec<Coverage>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (said.0, std::mem::take(&mut said.1))
    }
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
            traffic: Traffic::default(),
            tally: Tally::default(),
            open: Tally::default(),
            covered: Vec::new(),
            said: Said::default(),
            position: PhantomData,
        }
    }

    /// Shares `gate` with the other reads of the shard.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Counts into `traffic`, with the other reads of the run.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// Where the source counts its requests, retries and waits: the report of the run shows them.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Another emitter for the same read, with memory of its own: for a read that does several things at the same time.
    ///
    /// Positions are taken in the order in which they are emitted, whoever emits them: each must cover what all of them have
    /// emitted before. Hold a lock over the position across [`emit`](Self::emit), and [`reserve`](Self::reserve) before it.
    #[must_use]
    pub fn fork(&self) -> Self {
        let (budget, queue) = (Arc::clone(&self.budget), self.queue.clone());
        Self::new(self.partition.clone(), budget, self.capacity, queue, self.stop.clone())
            .with_gate(self.gate.clone())
            .with_traffic(self.traffic.clone())
            .with_said(self.said.clone())
    }

    pub(crate) fn with_said(mut self, said: Said) -> Self {
        self.said = said;
        self
    }

    /// What this emitter has handed over since the last [`cover`](Self::cover), or since it was made. Of a response in parts
    /// nothing counts before its last part.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What [`tally`](Self::tally) will be when `item` has been handed over, a whole response or its last part: for a coverage
    /// that becomes durable together with it.
    pub fn tally_with(&self, item: &I) -> Tally {
        let mut response = if item.part().is_none_or(|part| part.index == 0) { Tally::default() } else { self.open };
        response.add(&Tally { pages: 1, records: item.records(), content: item.content() });
        let mut tally = self.tally;
        tally.add(&response);
        tally
    }

    /// Says what is covered of the partition, or of a window of it, and counts from zero again. It becomes durable with the
    /// next position that this emitter hands over, or with the end of the read; of each window the newest counts. A read that
    /// says nothing is covered as a whole, by how it ends.
    ///
    /// Without a landing it is not kept.
    pub fn cover(&mut self, coverage: Coverage) {
        self.tally = Tally::default();
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.covered.push(Coverage { partition: self.partition.id.clone(), ..coverage });
    }

    /// Holds memory for the next item before it is read from the socket; waits while the pipeline is full.
    ///
    /// Who holds something already never waits for more, or reads could wait for each other for ever: what is missing
    /// then is taken if it is there, and else the budget is exceeded by it. More than half of the budget is never held
    /// by one item.
    ///
    /// # Cancellation
    /// Cancel-safe: nothing is held if it is dropped.
    ///
    /// # Errors
    /// `Cancelled` if the pipeline stops meanwhile.
    pub async fn reserve(&mut self, bytes: u64) -> Result<()> {
        let missing = bytes.min(self.capacity / 2).saturating_sub(self.held.bytes());
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing == 0 {
            return Ok(());
        }
        let budget = Arc::clone(&self.budget);
        if self.held.bytes() > 0 {
            if let Ok(permit) = budget.try_acquire_many_owned(missing) {
                self.held.merge(Reservation::of(permit));
            }
            return Ok(());
        }
        let permit = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return Err(Error::cancelled("reserve memory")),
            permit = budget.acquire_many_owned(missing) => permit,
        };
        self.held = Reservation::of(permit.map_err(|_| Error::cancelled("reserve memory"))?);
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
            // Whoever has the gate may need the memory.
            self.release();
            let gate = Arc::clone(&self.gate.0);
            self.passed = Some(tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(Error::cancelled("emit part")),
                passed = gate.lock_owned() => Arc::new(passed),
            });
        }
        self.send(Some(item), None).await
    }

    /// Gives up what has not been handed over: the memory that is held for it, and the place of a response of which parts were
    /// handed over and the last one was not. Before a wait for what other reads hold, who may wait for one of these.
    pub fn give_up(&mut self) {
        self.release();
        self.passed = None;
    }

    /// Gives up the memory that is held for the next item.
    pub fn release(&mut self) {
        self.held = Reservation::none();
    }

    /// Whether parts of a response were handed over and its last one was not: the other reads of the shard wait with theirs, so
    /// keep what those may wait for who are to go on.
    pub fn has_parts(&self) -> bool {
        self.passed.is_some()
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

    /// Counts an item; gives what is known to be whole with it.
    fn count(&mut self, item: &I, whole: bool) -> Tally {
        if item.part().is_none_or(|part| part.index == 0) {
            // Parts that came before are superseded.
            self.open = Tally::default();
        }
        self.open.add(&Tally { pages: 1, records: item.records(), content: item.content() });
        if !whole {
            return Tally::default();
        }
        let whole = std::mem::take(&mut self.open);
        self.tally.add(&whole);
        whole
    }

    async fn send(&mut self, item: Option<I>, position: Option<PositionValue>) -> Result<()> {
        let tally = item.as_ref().map(|item| self.count(item, position.is_some())).unwrap_or_default();
        // The item itself is not borrowed across an await: it need not be `Sync`.
        if let Some(bytes) = item.as_ref().map(Item::bytes) {
            self.reserve(bytes).await?;
            self.held.shrink_to(bytes);
        }
        let reservation = if item.is_some() { std::mem::take(&mut self.held) } else { Reservation::none() };
        let pass = self.passed.clone();
        let coverage = if position.is_some() { std::mem::take(&mut self.covered) } else { Vec::new() };
        let partition = self.partition.clone();
        self.hand_over(Emission { partition, item, position, coverage, reservation, tally, pass }).await
    }

    async fn hand_over(&mut self, emission: Emission<I>) -> Result<()> {
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Err(Error::cancelled("emit")),
            sent = self.queue.send(emission) => sent.map_err(|_| Error::cancelled("emit")),
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
impl<I: Item, P: Position> Emitter<I, P> {
    /// For the same read, into another queue; what comes there may be [passed on](Self::pass_on).
    pub(crate) fn fork_to(&self, queue: mpsc::Sender<Emission<I>>) -> Self {
        let mut other = self.fork();
        other.queue = queue;
        other
    }

    /// Hands over what another emitter has given.
    pub(crate) async fn pass_on(&mut self, emission: Emission<I>) -> Result<()> {
        self.hand_over(emission).await
    }
}

impl<I, P> Drop for Emitter<I, P> {
    fn drop(&mut self) {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner).1.append(&mut self.covered);
    }
}

impl<I, P> Debug for Emitter<I, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("partition", &self.partition.id).finish_non_exhaustive()
    }
}

/// Completes when the pipeline stops. Cancel-safe.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A pipeline that is gone has stopped too.
    let _gone = stop.wait_for(|stop| *stop).await.is_err();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rows;
    use crate::source::RowsRead;

    type Numbers = Rows<u64>;

    fn emitter(budget: &Arc<Semaphore>, queue: &mpsc::Sender<Emission<Numbers>>) -> Emitter<Numbers, RowsRead> {
        // The sender is leaked into the test on purpose: the pipeline does not stop.
        let (stop, stopped) = watch::channel(false);
        std::mem::forget(stop);
        Emitter::new(Partition::new("p"), Arc::clone(budget), 1_000, queue.clone(), stopped)
    }

    #[tokio::test]
    async fn reads_that_hold_memory_never_wait_for_each_other() {
        let budget = Arc::new(Semaphore::new(1_000));
        let (queue, _emitted) = mpsc::channel(8);
        let (mut one, mut two) = (emitter(&budget, &queue), emitter(&budget, &queue));
        one.reserve(500).await.expect("free");
        two.reserve(500).await.expect("free");
        // Both turn out to need more than there is.
        one.emit(Rows(vec![0; 80]), &RowsRead(80)).await.expect("goes on");
        two.emit(Rows(vec![0; 80]), &RowsRead(80)).await.expect("goes on");
    }

    #[tokio::test]
    async fn a_full_pipeline_makes_a_read_wait_and_a_written_item_lets_it_go_on() {
        let budget = Arc::new(Semaphore::new(1_000));
        let (queue, mut emitted) = mpsc::channel(8);
        let (mut one, mut two) = (emitter(&budget, &queue), emitter(&budget, &queue));
        let all = Arc::clone(&budget).acquire_many_owned(600).await.expect("free");
        one.emit(Rows(vec![0; 50]), &RowsRead(50)).await.expect("400 bytes fit");
        let mut waiting = std::pin::pin!(two.emit(Rows(vec![0; 50]), &RowsRead(50)));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(emitted.recv().await);
        waiting.await.expect("memory is free again");
        drop(all);
    }

    #[tokio::test]
    async fn parts_of_two_responses_never_mix() {
        let budget = Arc::new(Semaphore::new(1_000));
        let (queue, mut emitted) = mpsc::channel(8);
        let gate = Gate::default();
        let mut one = emitter(&budget, &queue).with_gate(gate.clone());
        let mut two = emitter(&budget, &queue).with_gate(gate);
        one.emit_part(Rows(vec![1])).await.expect("first");
        let mut waiting = std::pin::pin!(two.emit_part(Rows(vec![2])));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        one.emit(Rows(vec![1]), &RowsRead(2)).await.expect("last part");
        let mut order = Vec::new();
        for _ in 0..2 {
            assert!(futures::poll!(waiting.as_mut()).is_pending(), "parts are on their way");
            order.extend(emitted.recv().await.and_then(|e| e.item).map(|rows| rows.0[0]));
        }
        waiting.await.expect("its turn");
        order.extend(emitted.recv().await.and_then(|e| e.item).map(|rows| rows.0[0]));
        assert_eq!(order, [1, 1, 2]);
    }
}
