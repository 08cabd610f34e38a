use super::Faults;
use crate::env::Env;
use crate::error::Result;
use crate::model::{Reject, ShardKey};
use crate::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use crate::source::ComponentConfig;
use async_trait::async_trait;

/// A sink of which every call is an I/O point of a [`Faults`]: for a destination that is asked once in each call. Where a call does
/// several things that can happen one without the other, nothing is tried between them: let each of them pass
/// [`Faults::point`], or put a [`FaultProxy`](super::FaultProxy) before the server. A sink over a
/// [`Store`](crate::store::Store) needs none of that: let it work on [`Faults::store`], which passes each of its operations.
#[derive(Clone, Debug)]
pub struct FaultSink<K> {
    sink: K,
    faults: Faults,
}

impl<K> FaultSink<K> {
    /// `sink` as the process of `faults` reaches it.
    pub fn new(sink: K, faults: &Faults) -> Self {
        Self { sink, faults: faults.clone() }
    }
}

/// Stages one epoch of a [`FaultSink`].
#[derive(Debug)]
pub struct FaultWriter<W> {
    writer: W,
    faults: Faults,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<K: Sink> Sink for FaultSink<K> {
    type Item = K::Item;
    type Staged = K::Staged;
    type Promise = K::Promise;
    type Writer = FaultWriter<K::Writer>;

    fn config(&self) -> Result<ComponentConfig> {
        self.sink.config()
    }

    fn demand(&self) -> Demand {
        self.sink.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Self::Writer> {
        let number = epoch.epoch;
        let writer = self.faults.point("open writer", number, self.sink.open(epoch)).await?;
        Ok(FaultWriter { writer, faults: self.faults.clone() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<Self::Staged>) -> Result<CommitOutcome> {
        let number = request.mark.epoch;
        self.faults.point("commit", number, self.sink.commit(env, request)).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.faults.read_point("mark", shard, self.sink.mark(shard)).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Self::Staged]) -> Result<u64> {
        self.faults.point("collect", shard, self.sink.collect(shard, below_generation, keep)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: Writer> Writer for FaultWriter<W> {
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
