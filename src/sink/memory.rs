use super::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, Enumeration, EpochContext, Mark, Sink, StagedOutput,
    Transactional, Writer, decide_commit,
};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Item, Reject, Rows, ShardKey};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A table in memory that a [`MemorySink`] commits to. Clones share their content, which therefore outlives the
/// pipeline that wrote it. `T` is the sink's item.
#[derive(Debug)]
pub struct MemoryTable<T>(Arc<Mutex<Content<T>>>);

#[derive(Debug)]
struct Content<T> {
    /// Committed epochs, in the order of their commits.
    epochs: Vec<(ShardKey, Mark, Vec<T>)>,
    marks: BTreeMap<ShardKey, Mark>,
    /// Epochs of an enumeration that is not whole yet, and its number.
    next: (u64, Vec<(ShardKey, Mark, Vec<T>)>),
    staged: BTreeMap<MemoryStaged, Vec<T>>,
}

/// Names what a [`MemorySink`] staged; the items themselves wait in the table, invisible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryStaged {
    shard: ShardKey,
    generation: u64,
    epoch: u64,
    attempt: u32,
    records: u64,
}

impl<T> MemoryTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Content {
            epochs: Vec::new(),
            marks: BTreeMap::new(),
            next: (0, Vec::new()),
            staged: BTreeMap::new(),
        })))
    }

    /// The committed epochs, in the order of their commits.
    pub fn epochs(&self) -> Vec<(ShardKey, Mark)> {
        self.content().epochs.iter().map(|(shard, mark, _)| (shard.clone(), mark.clone())).collect()
    }

    /// How many epochs are staged and not committed.
    pub fn staged_epochs(&self) -> usize {
        self.content().staged.len()
    }

    fn content(&self) -> MutexGuard<'_, Content<T>> {
        // Every change below is a single insertion or comes last, so content is whole even after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> MemoryTable<T> {
    /// The items of all committed epochs, in the order of their commits: whole epochs only.
    pub fn items(&self) -> Vec<T> {
        self.content().epochs.iter().flat_map(|(_, _, items)| items).cloned().collect()
    }
}

impl<R: Clone> MemoryTable<Rows<R>> {
    /// The rows of all committed epochs, in the order of their commits: whole epochs only.
    pub fn rows(&self) -> Vec<R> {
        self.content().epochs.iter().flat_map(|(_, _, items)| items).flat_map(|rows| &rows.0).cloned().collect()
    }
}

impl<T> Clone for MemoryTable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for MemoryTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A sink in memory, transactional: for tests and examples.
///
/// ```
/// use landfall::model::Rows;
/// use landfall::sink::{MemorySink, MemoryTable};
///
/// let table = MemoryTable::<Rows<u64>>::new();
/// let sink = MemorySink::new(&table);
/// assert!(table.rows().is_empty());
/// # drop(sink);
/// ```
#[derive(Debug)]
pub struct MemorySink<I: Item> {
    table: MemoryTable<I>,
    demand: Demand,
}

impl<I: Item> MemorySink<I> {
    /// Commits to `table`.
    pub fn new(table: &MemoryTable<I>) -> Self {
        Self { table: table.clone(), demand: Demand::Increments }
    }

    /// Puts whole enumerations in the place of what was there.
    #[must_use]
    pub fn replace(self) -> Self {
        Self { demand: Demand::Enumerations, ..self }
    }
}

impl<I: Item> Clone for MemorySink<I> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone(), demand: self.demand }
    }
}

/// Stages one epoch of a [`MemorySink`].
#[derive(Debug)]
pub struct MemoryWriter<I> {
    table: MemoryTable<I>,
    key: MemoryStaged,
    items: Vec<I>,
    bytes: u64,
    must_commit: bool,
}

#[async_trait]
impl<I: Item + Clone + Sync> Sink for MemorySink<I> {
    type Item = I;
    type Staged = MemoryStaged;
    type Promise = Transactional;
    type Writer = MemoryWriter<I>;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn demand(&self) -> Demand {
        self.demand
    }

    async fn open(&self, epoch: EpochContext) -> Result<MemoryWriter<I>> {
        let EpochContext { shard, generation, epoch, attempt, must_commit, .. } = epoch;
        let key = MemoryStaged { shard, generation, epoch, attempt, records: 0 };
        Ok(MemoryWriter { table: self.table.clone(), key, items: Vec::new(), bytes: 0, must_commit })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<MemoryStaged>) -> Result<CommitOutcome> {
        let mut content = self.table.content();
        let CommitRequest { shard, mark, previous, staged, enumeration, .. } = request;
        match decide_commit(content.marks.get(&shard), &mark, previous) {
            CommitDecision::Answer(outcome) => Ok(outcome),
            CommitDecision::Apply => {
                let items = content.staged.remove(&staged).ok_or_else(|| {
                    Error::corrupt("commit to memory", "the staged output is gone").with("shard", &shard)
                })?;
                content.marks.insert(shard.clone(), mark.clone());
                match enumeration {
                    None => content.epochs.push((shard, mark, items)),
                    Some(Enumeration { number, whole, .. }) => {
                        if content.next.0 != number {
                            content.next = (number, Vec::new());
                        }
                        content.next.1.push((shard, mark, items));
                        if whole {
                            content.epochs = std::mem::take(&mut content.next.1);
                        }
                    }
                }
                Ok(CommitOutcome::Done)
            }
        }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.table.content().marks.get(shard).cloned())
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[MemoryStaged]) -> Result<u64> {
        let mut content = self.table.content();
        let before = content.staged.len();
        content.staged.retain(|s, _| s.shard != *shard || s.generation >= below_generation || keep.contains(s));
        Ok((before - content.staged.len()) as u64)
    }
}

#[async_trait]
impl<I: Item + Clone + Sync> Writer for MemoryWriter<I> {
    type Item = I;
    type Staged = MemoryStaged;

    async fn write(&mut self, item: I) -> Result<Vec<Reject>> {
        self.key.records += item.records();
        self.bytes += item.bytes();
        self.items.push(item);
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    async fn finish(self) -> Result<Option<StagedOutput<MemoryStaged>>> {
        let Self { table, key, items, bytes, must_commit } = self;
        if items.is_empty() && !must_commit {
            return Ok(None);
        }
        let records = key.records;
        let mut content = table.content();
        // What the same attempt staged before is replaced.
        content.staged.retain(|s, _| {
            (&s.shard, s.generation, s.epoch, s.attempt) != (&key.shard, key.generation, key.epoch, key.attempt)
        });
        content.staged.insert(key.clone(), items);
        Ok(Some(StagedOutput { staged: key, records, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::{Incarnation, PipelineName};

    type Sunk = MemorySink<Rows<u64>>;

    fn shard() -> ShardKey {
        ShardKey { pipeline: PipelineName::new("p").expect("valid"), shard: 0 }
    }

    async fn stage(sink: &Sunk, generation: u64, epoch: u64, rows: &[u64]) -> MemoryStaged {
        let context = EpochContext::new(shard(), generation, epoch, Env::system());
        let mut writer = sink.open(context).await.expect("opens");
        for row in rows {
            writer.write(Rows(vec![*row])).await.expect("writes");
        }
        let output = writer.finish().await.expect("finishes").expect("has rows");
        assert_eq!(output.records, rows.len() as u64);
        output.staged
    }

    async fn commit(
        sink: &Sunk,
        generation: u64,
        epoch: u64,
        previous: Option<u64>,
        staged: &MemoryStaged,
    ) -> Result<CommitOutcome> {
        let digest = format!("digest of {}", serde_json::to_string(staged).expect("plain data"));
        let mark = Mark { incarnation: Incarnation("a".into()), generation, epoch, digest };
        sink.commit(&Env::system(), CommitRequest::new(shard(), mark, previous, staged.clone())).await
    }

    #[tokio::test]
    async fn shows_staged_rows_only_after_commit_and_only_once() {
        let table = MemoryTable::new();
        let sink = Sunk::new(&table);
        let staged = stage(&sink, 1, 1, &[1, 2]).await;
        assert!(table.rows().is_empty());

        // Another process, after a crash, with the name from the checkpoint.
        let text = serde_json::to_string(&staged).expect("plain data");
        drop(sink);
        let (sink, staged) = (Sunk::new(&table), serde_json::from_str(&text).expect("own text"));
        assert_eq!(commit(&sink, 2, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(commit(&sink, 2, 1, None, &staged).await.expect("answers"), CommitOutcome::AlreadyCommitted);
        assert_eq!(table.rows(), [1, 2]);
        assert_eq!(sink.mark(&shard()).await.expect("reads").map(|m| (m.generation, m.epoch)), Some((2, 1)));
    }

    #[tokio::test]
    async fn a_table_is_shared_by_its_clones_and_tells_of_its_epochs() {
        let table = MemoryTable::default();
        let (sink, reader) = (Sunk::new(&table).clone(), table.clone());
        let context = EpochContext::new(shard(), 3, 7, Env::system());
        let mut writer = sink.open(context).await.expect("opens");
        assert_eq!(writer.staged_bytes(), 0);
        for rows in [Rows(vec![1, 2, 3]), Rows(vec![4])] {
            writer.write(rows).await.expect("writes");
        }
        assert_eq!(writer.staged_bytes(), 32);
        let output = writer.finish().await.expect("finishes").expect("has rows");
        assert_eq!((output.records, output.bytes, table.staged_epochs()), (4, 32, 1));
        assert!(reader.items().is_empty() && reader.epochs().is_empty());
        commit(&sink, 3, 7, None, &output.staged).await.expect("commits");
        assert_eq!(reader.items(), [Rows(vec![1, 2, 3]), Rows(vec![4])]);
        let epochs = reader.epochs();
        assert_eq!(epochs.iter().map(|(of, mark)| (of, mark.epoch)).collect::<Vec<_>>(), [(&shard(), 7)]);
        assert_eq!((sink.demand(), sink.replace().clone().demand()), (Demand::Increments, Demand::Enumerations));
        assert_eq!(reader.staged_epochs(), 0);
    }

    #[tokio::test]
    async fn collection_leaves_other_shards_alone() {
        let sink = Sunk::new(&MemoryTable::new());
        stage(&sink, 1, 1, &[1]).await;
        let other = ShardKey { shard: 1, ..shard() };
        assert_eq!(sink.collect(&other, 9, &[]).await.expect("collects"), 0);
        assert_eq!(sink.collect(&shard(), 1, &[]).await.expect("collects"), 0, "of this owner");
        assert_eq!(sink.collect(&shard(), 2, &[]).await.expect("collects"), 1);
    }

    #[tokio::test]
    async fn refuses_an_older_owner_a_gap_and_a_fork() {
        let table = MemoryTable::new();
        let sink = Sunk::new(&table);
        let first = stage(&sink, 2, 1, &[1]).await;
        commit(&sink, 2, 1, None, &first).await.expect("commits");

        let zombie = stage(&sink, 1, 2, &[7]).await;
        let outcome = commit(&sink, 1, 2, Some(1), &zombie).await.expect("answers");
        assert_eq!(outcome, CommitOutcome::Fenced { generation: 2 });
        let gap = stage(&sink, 2, 5, &[8]).await;
        assert!(matches!(commit(&sink, 2, 5, Some(4), &gap).await.expect("answers"), CommitOutcome::Gap { .. }));
        let fork = stage(&sink, 2, 1, &[9, 9]).await;
        assert!(matches!(commit(&sink, 2, 1, None, &fork).await.expect("answers"), CommitOutcome::Fork { .. }));
        assert_eq!(table.rows(), [1]);
    }

    #[tokio::test]
    async fn an_epoch_without_rows_is_committed_only_if_it_must_be() {
        let sink = Sunk::new(&MemoryTable::new());
        let context = EpochContext::new(shard(), 1, 1, Env::system());
        assert_eq!(sink.open(context.clone()).await.expect("opens").finish().await.expect("finishes"), None);
        let writer = sink.open(EpochContext { must_commit: true, ..context }).await.expect("opens");
        let output = writer.finish().await.expect("finishes").expect("must be committed");
        assert_eq!(commit(&sink, 1, 1, None, &output.staged).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(sink.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(1));
    }

    #[tokio::test]
    async fn refuses_to_commit_what_is_not_staged() {
        let sink = Sunk::new(&MemoryTable::new());
        let staged = stage(&sink, 1, 1, &[1]).await;
        assert_eq!(sink.collect(&shard(), 2, &[]).await.expect("collects"), 1);
        let error = commit(&sink, 1, 1, None, &staged).await.expect_err("nothing to show");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(sink.mark(&shard()).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn a_replay_replaces_and_collection_keeps_what_may_still_be_committed() {
        let table = MemoryTable::new();
        let sink = Sunk::new(&table);
        let kept = stage(&sink, 1, 1, &[1, 2]).await;
        stage(&sink, 1, 2, &[3]).await;
        stage(&sink, 1, 2, &[3, 4]).await;
        stage(&sink, 2, 2, &[3]).await;
        assert_eq!(table.staged_epochs(), 3);
        assert_eq!(sink.collect(&shard(), 2, std::slice::from_ref(&kept)).await.expect("collects"), 1);
        assert_eq!(commit(&sink, 2, 1, None, &kept).await.expect("commits"), CommitOutcome::Done);
        assert_eq!((table.rows(), table.staged_epochs()), (vec![1, 2], 1));
    }

    mod conformance {
        use super::*;
        use crate::testkit::Faults;
        use crate::testkit::conformance::Destination;
        use std::ops::Range;

        #[derive(Default)]
        struct Table {
            rows: MemoryTable<Rows<u64>>,
            replace: bool,
        }

        #[async_trait]
        impl Destination for Table {
            type Sink = Sunk;

            fn sink(&self) -> Sunk {
                let sink = Sunk::new(&self.rows);
                if self.replace { sink.replace() } else { sink }
            }

            /// Each call is one step in memory: nothing of it fails by itself.
            async fn reached_by(&self, _faults: &Faults) -> Option<Sunk> {
                None
            }

            fn item(&self, numbers: Range<u64>) -> Rows<u64> {
                Rows(numbers.collect())
            }

            /// It holds every number.
            fn bad_item(&self, _numbers: Range<u64>) -> Option<Rows<u64>> {
                None
            }

            fn stages_outside(&self) -> bool {
                true
            }

            async fn read(&self) -> Vec<u64> {
                let mut rows = self.rows.rows();
                rows.sort_unstable();
                rows
            }
        }

        mod appended {
            use super::*;

            crate::sink_conformance!(Table::default());
        }

        mod replaced {
            use super::*;

            crate::enumeration_conformance!(Table { replace: true, ..Table::default() });
        }
    }
}
