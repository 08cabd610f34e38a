//! How many rows there may be: after each epoch of each shard, and never in between.

use landfall::columnar::Batch;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::env::Env;
use landfall::model::{Reject, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use landfall::source::ComponentConfig;
use landfall::{Result, async_trait};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of all epochs that anybody has ever asked to commit to a table. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Epochs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What was staged, by its name: who commits it may be another owner than who staged it.
    staged: BTreeMap<String, Rows>,
    shards: BTreeMap<ShardKey, OfShard>,
}

/// The rows of an epoch.
#[derive(Clone, Debug)]
enum Rows {
    All(u64),
    /// Of each key one is in the table.
    Keys(BTreeSet<i64>),
}

#[derive(Debug, Default)]
struct OfShard {
    /// The rows that there are when it has come to an epoch.
    sums: BTreeMap<u64, u64>,
    keys: BTreeSet<i64>,
}

impl Epochs {
    /// Whether a reader that sees whole epochs only can see so many rows.
    pub fn allow(&self, rows: u64) -> bool {
        let mut sums = BTreeSet::from([0]);
        for of_shard in self.state().shards.values() {
            let with = |sum: &u64| of_shard.sums.values().map(|more| sum + more).collect::<Vec<_>>();
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
        let State { staged: all, shards } = &mut *state;
        let rows = all.get(&named(staged)).expect("what is committed was staged");
        let OfShard { sums, keys } = shards.entry(shard.clone()).or_default();
        if sums.contains_key(&mark.epoch) {
            return;
        }
        let before = previous.and_then(|epoch| sums.get(&epoch)).copied().unwrap_or(0);
        let new = match rows {
            Rows::All(rows) => *rows,
            Rows::Keys(of_epoch) => of_epoch.iter().filter(|key| keys.insert(**key)).count() as u64,
        };
        sums.insert(mark.epoch, before + new);
    }
}

fn named(staged: &impl Serialize) -> String {
    serde_json::to_string(staged).expect("it goes into a checkpoint")
}

/// A sink whose epochs are counted.
pub struct Counted<K: Sink> {
    sink: K,
    epochs: Epochs,
    keys: Option<Keys<K::Item>>,
}

/// The keys of the rows of an item.
type Keys<I> = Arc<dyn Fn(&I) -> Vec<i64> + Send + Sync>;

impl<K: Sink> Counted<K> {
    pub fn new(sink: K, epochs: &Epochs) -> Self {
        Self { sink, epochs: epochs.clone(), keys: None }
    }
}

impl<K: Sink<Item = Batch>> Counted<K> {
    /// For a sink that keeps one row of each value in this column.
    pub fn by(self, column: &'static str) -> Self {
        let keys = move |batch: &Batch| {
            let column = batch.rows().column_by_name(column).expect("a key");
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        Self { keys: Some(Arc::new(keys)), ..self }
    }
}

pub struct CountedWriter<W: Writer> {
    writer: W,
    epochs: Epochs,
    keys: Option<(Keys<W::Item>, BTreeSet<i64>)>,
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
        let keys = self.keys.clone().map(|keys| (keys, BTreeSet::new()));
        Ok(CountedWriter { writer: self.sink.open(epoch).await?, epochs: self.epochs.clone(), keys })
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
        if let Some((keys, all)) = &mut self.keys {
            all.extend(keys(&item));
        }
        self.writer.write(item).await
    }

    fn staged_bytes(&self) -> u64 {
        self.writer.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<W::Staged>>> {
        let staged = self.writer.finish().await?;
        if let Some(output) = &staged {
            let rows = self.keys.map_or(Rows::All(output.records), |(_, all)| Rows::Keys(all));
            self.epochs.state().staged.insert(named(&output.staged), rows);
        }
        Ok(staged)
    }
}
