//! Sinks of different kinds over the same item, held side by side.

use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Item, Reject, ShardKey};
use crate::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use serde_json::Value;

#[async_trait]
pub(super) trait AnyTable<I>: Send + Sync {
    fn config(&self) -> Result<ComponentConfig>;
    fn demand(&self) -> Demand;
    async fn open(&self, epoch: EpochContext) -> Result<Box<dyn AnyTableWriter<I>>>;
    async fn commit(&self, env: &Env, request: CommitRequest<Value>) -> Result<CommitOutcome>;
    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>>;
    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Value]) -> Result<u64>;
}

#[async_trait]
pub(super) trait AnyTableWriter<I>: Send {
    async fn write(&mut self, item: I) -> Result<Vec<Reject>>;
    fn staged_bytes(&self) -> u64;
    async fn finish(self: Box<Self>) -> Result<Option<StagedOutput<Value>>>;
}

pub(super) struct TypedTable<K>(pub(super) K);

struct TypedWriter<W>(W);

fn staged<K: Sink>(value: &Value) -> Result<K::Staged> {
    serde::Deserialize::deserialize(value).map_err(|e| {
        Error::config("commit table", "what is staged for the table was staged by another kind of sink")
            .with_hint("finish the epoch with the sink that staged it, then change the sink")
            .with_source(e)
    })
}

#[async_trait]
impl<K: Sink> AnyTable<K::Item> for TypedTable<K> {
    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    fn demand(&self) -> Demand {
        self.0.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Box<dyn AnyTableWriter<K::Item>>> {
        Ok(Box::new(TypedWriter(self.0.open(epoch).await?)))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<Value>) -> Result<CommitOutcome> {
        self.0.commit(env, request.try_map(|value| staged::<K>(&value))?).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.0.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Value]) -> Result<u64> {
        let keep = keep.iter().map(staged::<K>).collect::<Result<Vec<_>>>()?;
        self.0.collect(shard, below_generation, &keep).await
    }
}

#[async_trait]
impl<I: Item, W: Writer<Item = I>> AnyTableWriter<I> for TypedWriter<W>
where
    W::Staged: serde::Serialize,
{
    async fn write(&mut self, item: I) -> Result<Vec<Reject>> {
        self.0.write(item).await
    }

    fn staged_bytes(&self) -> u64 {
        self.0.staged_bytes()
    }

    async fn finish(self: Box<Self>) -> Result<Option<StagedOutput<Value>>> {
        let Some(output) = self.0.finish().await? else { return Ok(None) };
        let staged = serde_json::to_value(&output.staged)
            .map_err(|e| Error::bug("stage table", "the sink's staged output does not serialise").with_source(e))?;
        Ok(Some(StagedOutput { staged, records: output.records, bytes: output.bytes }))
    }
}
