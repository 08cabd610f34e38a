//! Source and sink whose every effect passes a counted I/O point.

use crate::support::{PageNumber, Script};
use landfall::env::Env;
use landfall::model::{Item, Page, Partition, Reject, ShardKey, StopReason};
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::testkit::Faults;
use landfall::{Result, async_trait};

/// The scripted API over a connection of this process.
pub struct FaultySource {
    pub script: Script,
    pub faults: Faults,
}

#[async_trait]
impl Source for FaultySource {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        self.script.config()
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        self.faults.point("list partitions", "api", async { Ok(()) }).await?;
        self.script.partitions(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        self.script.read_through(env, partition, from, out, Some(&self.faults)).await
    }
}

/// A sink that this process reaches over a connection.
pub struct FaultySink<K> {
    pub sink: K,
    pub faults: Faults,
}

pub struct FaultyWriter<W> {
    writer: W,
    faults: Faults,
}

#[async_trait]
impl<K: Sink> Sink for FaultySink<K>
where
    K::Writer: Sync,
{
    type Item = K::Item;
    type Staged = K::Staged;
    type Promise = K::Promise;
    type Writer = FaultyWriter<K::Writer>;

    fn config(&self) -> Result<ComponentConfig> {
        self.sink.config()
    }

    fn demand(&self) -> Demand {
        self.sink.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Self::Writer> {
        let name = epoch.epoch;
        let writer = self.faults.point("open writer", name, self.sink.open(epoch)).await?;
        Ok(FaultyWriter { writer, faults: self.faults.clone() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<Self::Staged>) -> Result<CommitOutcome> {
        let name = request.mark.epoch;
        self.faults.point("commit", name, self.sink.commit(env, request)).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.faults.point("mark", shard, self.sink.mark(shard)).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Self::Staged]) -> Result<u64> {
        self.faults.point("collect", shard, self.sink.collect(shard, below_generation, keep)).await
    }
}

#[async_trait]
impl<W: Writer + Sync> Writer for FaultyWriter<W>
where
    W::Item: Item,
{
    type Item = W::Item;
    type Staged = W::Staged;

    async fn write(&mut self, item: W::Item) -> Result<Vec<Reject>> {
        self.faults.point("write", "epoch", self.writer.write(item)).await
    }

    fn staged_bytes(&self) -> u64 {
        self.writer.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<W::Staged>>> {
        self.faults.point("finish", "epoch", self.writer.finish()).await
    }
}
