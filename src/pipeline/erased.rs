//! The typed parts of a pipeline behind plain trait objects, so that the drivers are compiled once.

use crate::env::watch;
use crate::env::{Env, panicked};
use crate::error::{Error, Result};
use crate::model::{Coverage, Item, Page, Partition, PositionValue, Reject, ShardKey, StopReason, Tally};
use crate::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Promise, Sink, StagedOutput, Writer};
use crate::source::{ComponentConfig, Emission, Emitter, Gate, Listed, Listing, PositionLookup, Said, Source, Traffic};
use crate::stage::{Output, Stage, StageState};
use async_trait::async_trait;
use serde_json::Value;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

/// Any item, between stages.
pub(super) trait AnyItem: Send + 'static {
    fn records(&self) -> u64;
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<I: Item> AnyItem for I {
    fn records(&self) -> u64 {
        Item::records(self)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

pub(super) type BoxItem = Box<dyn AnyItem>;

fn typed<I: Item>(item: BoxItem, step: &'static str) -> Result<I> {
    match item.into_any().downcast::<I>() {
        Ok(item) => Ok(*item),
        Err(_) => Err(Error::bug(step, "an item of another type than the builder checked")),
    }
}

/// What all reads of a run share.
#[derive(Clone, Debug)]
pub(super) struct ReadContext {
    pub env: Env,
    pub budget: Arc<Semaphore>,
    pub capacity: u64,
    pub stop: watch::Receiver<bool>,
    pub gate: Gate,
    pub traffic: Traffic,
}

/// What a read has given so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub pages: u64,
    pub records: u64,
    /// What was whole of it.
    pub tally: Tally,
    /// Where the partition stands.
    pub position: Option<PositionValue>,
    /// Whether it is said what is covered: by the source, or by an earlier run if there is nothing new.
    pub covered: bool,
    /// What it said last, without a position that followed.
    pub coverage: Vec<Coverage>,
}

#[async_trait]
pub(super) trait AnySource: Send + Sync {
    fn config(&self) -> Result<ComponentConfig>;
    async fn partitions(
        &self,
        env: &Env,
        out: mpsc::Sender<Listed>,
        positions: Arc<dyn PositionLookup>,
        stop: watch::Receiver<bool>,
        traffic: Traffic,
    ) -> Result<()>;
    async fn read(
        &self,
        cx: &ReadContext,
        partition: &Partition,
        from: Option<PositionValue>,
        out: mpsc::Sender<Emission<BoxItem>>,
        given: &mut Given,
    ) -> Result<StopReason>;
}

pub(super) struct TypedSource<S>(pub S);

#[async_trait]
impl<S: Source> AnySource for TypedSource<S> {
    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    async fn partitions(
        &self,
        env: &Env,
        out: mpsc::Sender<Listed>,
        positions: Arc<dyn PositionLookup>,
        stop: watch::Receiver<bool>,
        traffic: Traffic,
    ) -> Result<()> {
        self.0.partitions(env, &mut Listing::new(out, positions, stop).with_traffic(traffic)).await
    }

    async fn read(
        &self,
        cx: &ReadContext,
        partition: &Partition,
        from: Option<PositionValue>,
        out: mpsc::Sender<Emission<BoxItem>>,
        given: &mut Given,
    ) -> Result<StopReason> {
        let from = from.map(|p| p.restore::<S::Position>()).transpose()?;
        let (queue, emitted) = mpsc::channel::<Emission<S::Item>>(1);
        let said = Said::default();
        let saying = said.clone();
        let reading = async {
            let mut emitter =
                Emitter::new(partition.clone(), Arc::clone(&cx.budget), cx.capacity, queue, cx.stop.clone())
                    .with_gate(cx.gate.clone())
                    .with_traffic(cx.traffic.clone())
                    .with_said(saying);
            self.0.read(&cx.env, partition, from, &mut emitter).await
        }
        .instrument(tracing::debug_span!("read", partition = %partition.id));
        // Owns its end of the queue: when the pipeline is gone, the source must not wait for it.
        let forwarding = async {
            let mut emitted = emitted;
            while let Some(emission) = emitted.recv().await {
                let Emission { partition, item, position, coverage, reservation, tally, pass } = emission;
                let item = item.map(|i| Box::new(i) as BoxItem);
                let moved = position.clone();
                let (pages, records) = item.as_ref().map_or((0, 0), |i| (1, i.records()));
                let emission = Emission { partition, item, position, coverage, reservation, tally, pass };
                if out.send(emission).await.is_err() {
                    break;
                }
                given.pages += pages;
                given.records += records;
                given.tally.add(&tally);
                given.position = moved.or(given.position.take());
            }
        };
        let (ended, ()) = tokio::join!(reading, forwarding);
        let (covered, coverage) = said.take();
        given.covered |= covered;
        given.coverage = coverage;
        ended
    }
}

/// The page in `item`: the builder lets only sources of pages be landed.
pub(super) fn into_page(item: BoxItem) -> Result<Page> {
    typed(item, "land page")
}

/// What a stage gave for one item.
#[derive(Default)]
pub(super) struct Applied {
    pub items: Vec<BoxItem>,
    pub rejects: Vec<Reject>,
    /// Records filtered, deduplicated, fanned out.
    pub counts: [u64; 3],
}

pub(super) trait AnyStage: Send + Sync {
    fn name(&self) -> &str;
    fn config(&self) -> Result<ComponentConfig>;
    fn fork(&self) -> Option<Box<dyn AnyStage>>;
    fn state(&mut self) -> Option<&mut dyn StageState>;
    fn apply(&mut self, item: BoxItem) -> Result<Applied>;
}

pub(super) struct TypedStage<T>(pub T);

impl<T: Stage + Sync> AnyStage for TypedStage<T> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    fn fork(&self) -> Option<Box<dyn AnyStage>> {
        self.0.fork().map(|copy| Box::new(Self(copy)) as Box<dyn AnyStage>)
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        self.0.state()
    }

    fn apply(&mut self, item: BoxItem) -> Result<Applied> {
        let _span = tracing::debug_span!("stage", stage = self.0.name()).entered();
        let item = typed::<T::In>(item, "apply stage")?;
        let mut output = Output::new();
        let applied = catch_unwind(AssertUnwindSafe(|| self.0.apply(item, &mut output)));
        applied
            .unwrap_or_else(|panic| Err(panicked("apply stage", panic.as_ref())))
            .map_err(|e| e.with("stage", self.0.name()))?;
        let (items, rejects, counts) = output.into_parts();
        let items = items.into_iter().map(|i| Box::new(i) as BoxItem).collect();
        Ok(Applied { items, rejects, counts })
    }
}

#[async_trait]
pub(super) trait AnyWriter: Send {
    async fn write(&mut self, item: BoxItem) -> Result<Vec<Reject>>;
    fn staged_bytes(&self) -> u64;
    async fn finish(self: Box<Self>) -> Result<Option<StagedOutput<Value>>>;
}

struct TypedWriter<W>(W);

#[async_trait]
impl<W: Writer> AnyWriter for TypedWriter<W>
where
    W::Staged: serde::Serialize,
{
    async fn write(&mut self, item: BoxItem) -> Result<Vec<Reject>> {
        self.0.write(typed::<W::Item>(item, "write")?).instrument(tracing::debug_span!("write")).await
    }

    fn staged_bytes(&self) -> u64 {
        self.0.staged_bytes()
    }

    async fn finish(self: Box<Self>) -> Result<Option<StagedOutput<Value>>> {
        let finishing = self.0.finish().instrument(tracing::debug_span!("stage epoch"));
        let Some(output) = finishing.await? else { return Ok(None) };
        let staged = serde_json::to_value(&output.staged)
            .map_err(|e| Error::bug("stage epoch", "the sink's staged output does not serialise").with_source(e))?;
        Ok(Some(StagedOutput { staged, records: output.records, bytes: output.bytes }))
    }
}

#[async_trait]
pub(super) trait AnySink: Send + Sync {
    fn config(&self) -> Result<ComponentConfig>;
    fn promise(&self) -> &'static str;
    fn demand(&self) -> Demand;
    async fn open(&self, epoch: EpochContext) -> Result<Box<dyn AnyWriter>>;
    async fn commit(&self, env: &Env, request: CommitRequest<Value>) -> Result<CommitOutcome>;
    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>>;
    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Value]) -> Result<u64>;
}

pub(super) struct TypedSink<K>(pub K);

fn staged<K: Sink>(value: &Value) -> Result<K::Staged> {
    serde::Deserialize::deserialize(value).map_err(|e| {
        Error::config("commit epoch", "the prepared epoch was staged by another kind of sink")
            .with_hint("finish it with the sink that staged it, then change the sink")
            .with_source(e)
    })
}

#[async_trait]
impl<K: Sink> AnySink for TypedSink<K> {
    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    fn promise(&self) -> &'static str {
        K::Promise::NAME
    }

    fn demand(&self) -> Demand {
        self.0.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Box<dyn AnyWriter>> {
        Ok(Box::new(TypedWriter(self.0.open(epoch).await?)))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<Value>) -> Result<CommitOutcome> {
        let span = tracing::debug_span!("commit", epoch = request.mark.epoch);
        self.0.commit(env, request.try_map(|value| staged::<K>(&value))?).instrument(span).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.0.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Value]) -> Result<u64> {
        let keep = keep.iter().map(staged::<K>).collect::<Result<Vec<_>>>()?;
        self.0.collect(shard, below_generation, &keep).await
    }
}
