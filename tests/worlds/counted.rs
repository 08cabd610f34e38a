//! How many rows there may be: after each epoch of each shard, and never in between.

use landfall::env::Env;
use landfall::model::{Reject, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use landfall::source::ComponentConfig;
use landfall::{Result, async_trait};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of all epochs that anybody has ever asked to commit. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Epochs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The rows of what was staged, by its name: who commits it may be another owner than who staged it.
    staged: BTreeMap<String, u64>,
    /// The rows of a shard when it has come to an epoch.
    sums: BTreeMap<ShardKey, BTreeMap<u64, u64>>,
}

impl Epochs {
    /// Whether a reader that sees whole epochs only can see so many rows.
    pub fn allow(&self, rows: u64) -> bool {
        let mut sums = BTreeSet::from([0]);
        for of_shard in self.state().sums.values() {
            let with = |sum: &u64| of_shard.values().map(|more| sum + more).collect::<Vec<_>>();
            let more: Vec<u64> = sums.iter().flat_map(with).collect();
            sums.extend(more);
        }
        sums.contains(&rows)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, shard: &ShardKey, mark: &Mark, previous: Option<u64>, staged: &impl Serialize) {
        let mut state = self.state();
        let rows = state.staged.get(&named(staged)).copied().expect("what is committed was staged");
        let sums = state.sums.entry(shard.clone()).or_default();
        let before = previous.and_then(|epoch| sums.get(&epoch)).copied().unwrap_or(0);
        sums.entry(mark.epoch).or_insert(before + rows);
    }
}

fn named(staged: &impl Serialize) -> String {
    serde_json::to_string(staged).expect("it goes into a checkpoint")
}

/// A sink whose epochs are counted.
pub struct Counted<K> {
    sink: K,
    epochs: Epochs,
}

impl<K> Counted<K> {
    pub fn new(sink: K, epochs: &Epochs) -> Self {
        Self { sink, epochs: epochs.clone() }
    }
}

pub struct CountedWriter<W> {
    writer: W,
    epochs: Epochs,
}

#[async_trait]
impl<K: Sink> Sink for Counted<K> {
    type Item = K::Item;
    type Staged = K::Staged;
    type Promise = K::Promise;
    type Writer = CountedWriter<K::Writer>;

    fn config(&self) -> Result<ComponentConfig> {
        self.sink.config()
    }

    fn demand(&self) -> Demand {
        self.sink.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Self::Writer> {
        Ok(CountedWriter { writer: self.sink.open(epoch).await?, epochs: self.epochs.clone() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<K::Staged>) -> Result<CommitOutcome> {
        self.epochs.asked(&request.shard, &request.mark, request.previous, &request.staged);
        self.sink.commit(env, request).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.sink.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[K::Staged]) -> Result<u64> {
        self.sink.collect(shard, below_generation, keep).await
    }
}

#[async_trait]
impl<W: Writer> Writer for CountedWriter<W>
where
    W::Staged: Serialize,
{
    type Item = W::Item;
    type Staged = W::Staged;

    async fn write(&mut self, item: W::Item) -> Result<Vec<Reject>> {
        self.writer.write(item).await
    }

    fn staged_bytes(&self) -> u64 {
        self.writer.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<W::Staged>>> {
        let staged = self.writer.finish().await?;
        if let Some(output) = &staged {
            self.epochs.state().staged.insert(named(&output.staged), output.records);
        }
        Ok(staged)
    }
}
