//! Which rows may be seen: those of whole epochs, in their order.

use landfall::columnar::Batch;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::env::Env;
use landfall::model::{Reject, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use landfall::source::ComponentConfig;
use landfall::testkit::Verdict;
use landfall::{Result, async_trait};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys of the rows of all epochs that anybody has ever asked to commit to a table. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Epochs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What was staged, by its name: who commits it may be another owner than who staged it.
    staged: BTreeMap<String, BTreeSet<u64>>,
    /// The keys that are new with an epoch, of each shard.
    shards: BTreeMap<ShardKey, BTreeMap<u64, BTreeSet<u64>>>,
}

impl Epochs {
    /// What is wrong for a reader that sees whole epochs only, and each after the one before, if it sees the rows of these keys.
    pub fn look(&self, what: &str, keys: impl IntoIterator<Item = u64>) -> Option<Verdict> {
        let mut rest: BTreeSet<u64> = keys.into_iter().collect();
        let partial = |why: String| Some(Verdict::partial(format!("a reader saw {why}")));
        for (shard, epochs) in &self.state().shards {
            let mut absent = None;
            for (epoch, keys) in epochs.iter().filter(|(_, keys)| !keys.is_empty()) {
                let seen = keys.iter().filter(|key| rest.remove(key)).count();
                match absent {
                    _ if seen > 0 && seen < keys.len() => {
                        return partial(format!("{seen} of the {} {what} of epoch {epoch} of {shard}", keys.len()));
                    }
                    Some(before) if seen > 0 => {
                        return partial(format!("{what} of epoch {epoch} of {shard}, and none of epoch {before}"));
                    }
                    None if seen == 0 => absent = Some(epoch),
                    _ => {}
                }
            }
        }
        if rest.is_empty() { None } else { partial(format!("{} {what} of no epoch", rest.len())) }
    }

    /// These keys are asked to be committed as an epoch.
    pub fn promise(&self, shard: &ShardKey, epoch: u64, keys: impl IntoIterator<Item = u64>) {
        self.state().promise(shard, epoch, keys.into_iter().collect());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, shard: &ShardKey, mark: &Mark, staged: &impl Serialize) {
        let mut state = self.state();
        let keys = state.staged.get(&named(staged)).expect("what is committed was staged").clone();
        state.promise(shard, mark.epoch, keys);
    }
}

impl State {
    fn promise(&mut self, shard: &ShardKey, epoch: u64, mut keys: BTreeSet<u64>) {
        let epochs = self.shards.entry(shard.clone()).or_default();
        epochs.values().for_each(|known| keys.retain(|key| !known.contains(key)));
        epochs.entry(epoch).or_insert(keys);
    }
}

fn named(staged: &impl Serialize) -> String {
    serde_json::to_string(staged).expect("it goes into a checkpoint")
}

/// A sink whose epochs are known by the keys of their rows. It must refuse none.
pub struct Counted<K: Sink> {
    sink: K,
    epochs: Epochs,
    keys: Keys<K::Item>,
}

/// The keys of the rows of an item.
type Keys<I> = Arc<dyn Fn(&I) -> Vec<u64> + Send + Sync>;

impl<K: Sink> Counted<K> {
    pub fn new(sink: K, epochs: &Epochs, keys: impl Fn(&K::Item) -> Vec<u64> + Send + Sync + 'static) -> Self {
        Self { sink, epochs: epochs.clone(), keys: Arc::new(keys) }
    }
}

impl<K: Sink<Item = Batch>> Counted<K> {
    /// By the numbers in a column.
    pub fn by(column: &'static str, sink: K, epochs: &Epochs) -> Self {
        Self::new(sink, epochs, move |batch| {
            let column = batch.rows().column_by_name(column).expect("a key");
            let numbers = column.as_primitive::<Int64Type>().values().iter();
            numbers.map(|n| u64::try_from(*n).expect("positive")).collect()
        })
    }
}

pub struct CountedWriter<W: Writer> {
    writer: W,
    epochs: Epochs,
    keys: Keys<W::Item>,
    all: BTreeSet<u64>,
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
        let (epochs, keys) = (self.epochs.clone(), Arc::clone(&self.keys));
        Ok(CountedWriter { writer: self.sink.open(epoch).await?, epochs, keys, all: BTreeSet::new() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<K::Staged>) -> Result<CommitOutcome> {
        self.epochs.asked(&request.shard, &request.mark, &request.staged);
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
        self.all.extend((self.keys)(&item));
        let refused = self.writer.write(item).await?;
        assert!(refused.is_empty(), "rows of these worlds fit");
        Ok(refused)
    }

    fn staged_bytes(&self) -> u64 {
        self.writer.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<W::Staged>>> {
        let staged = self.writer.finish().await?;
        if let Some(output) = &staged {
            self.epochs.state().staged.insert(named(&output.staged), self.all);
        }
        Ok(staged)
    }
}
