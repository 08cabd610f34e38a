use super::Tables;
use super::erased::{AnyTable, AnyTableWriter, TypedTable};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Item, Reject, ShardKey};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, ExactlyOnce, IdempotentApply, Mark, Sink,
    StagedOutput, Writer, decide_commit,
};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// Several tables as one sink: any sinks over one item, of different kinds, that share a chain of epochs.
///
/// # Guarantees
/// 1. *One mark*: each committed epoch is in every table, also in those that it has no rows for. After each commit, all tables
///    hold the mark of the same epoch, and a digest that tells the table too.
/// 2. *Looked at first*: before anything is applied, the marks of all tables are compared with the request. If one of them fits
///    neither before nor after the epoch, nothing changes anywhere, and the answer is `Fork`, `Gap` or `Fenced`, in this order.
/// 3. *In order*: tables are committed one after the other, in the order in which they were given. Each is atomic. In between a
///    reader may see the epoch in the first ones and not yet in the others: give first what others are looked up from. Readers that
///    go from parents to children find the children there if these are given first; foreign keys need parents first.
/// 4. *Rolls forward*: after a crash between two tables the same request commits the others, and nothing twice.
/// 5. *Never dropped*: an item for a table that is not in the set is an error, before anything of it is staged.
///
/// # Requires
/// 1. Each table is one of its own: two entries that write the same one are found out as a `Fork` at the first commit.
/// 2. All tables demand the same: if one takes rows away by whole enumerations, the others must too.
/// 3. The tables are part of the pipeline's identity: none can be added to a set that has committed, or taken from it. A
///    table that comes later is loaded by a pipeline of its own from the same landing (`landing_of`), from its beginning on.
///
/// ```
/// use landfall::model::Rows;
/// use landfall::sink::{MemorySink, MemoryTable, Sink, TableSet};
///
/// let (orders, items) = (MemoryTable::<Rows<u64>>::new(), MemoryTable::new());
/// let sink = TableSet::new().table("items", MemorySink::new(&items)).table("orders", MemorySink::new(&orders));
/// sink.config()?;
/// # Ok::<(), landfall::Error>(())
/// ```
pub struct TableSet<I> {
    tables: Vec<Table<I>>,
}

struct Table<I> {
    name: Arc<str>,
    sink: Arc<dyn AnyTable<I>>,
}

/// What is staged for each table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSetStaged {
    tables: BTreeMap<Arc<str>, Value>,
}

impl<I: Item> TableSet<I> {
    /// No tables yet.
    pub fn new() -> Self {
        Self { tables: Vec::new() }
    }

    /// Adds a table: the items of that name go into `sink`. Tables are committed in the order in which they are added.
    #[must_use]
    pub fn table<K>(mut self, name: impl Into<Arc<str>>, sink: K) -> Self
    where
        K: Sink<Item = I>,
        K::Promise: ExactlyOnce,
    {
        self.tables.push(Table { name: name.into(), sink: Arc::new(TypedTable(sink)) });
        self
    }

    /// What each table is asked to commit.
    fn requests(&self, request: &CommitRequest<TableSetStaged>) -> Result<Vec<CommitRequest<Value>>> {
        let of = |table: &Table<I>| {
            let staged = request.staged.tables.get(&table.name).cloned().ok_or_else(|| {
                Error::config("commit tables", "the prepared epoch has nothing for a table of the set")
                    .with("table", &table.name)
                    .with_hint("finish the epoch with the tables that staged it")
            })?;
            Ok(CommitRequest {
                shard: request.shard.clone(),
                mark: masked(&request.mark, &table.name),
                previous: request.previous,
                staged,
                enumeration: request.enumeration,
                load: request.load.clone(),
            })
        };
        if let Some(name) = request.staged.tables.keys().find(|name| !self.has(name)) {
            return Err(Error::config(
                "commit tables",
                "the prepared epoch has rows for a table that is not in the set",
            )
            .with("table", name)
            .with_hint("put the table back, and finish the epoch"));
        }
        self.tables.iter().map(of).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.tables.iter().any(|table| &*table.name == name)
    }

    /// What stands in the way of a commit, in any of the tables.
    async fn in_the_way(&self, requests: &[CommitRequest<Value>]) -> Result<Option<CommitOutcome>> {
        let mut worst: Option<CommitOutcome> = None;
        let mut fresh = false;
        let mut ahead = None;
        for (table, CommitRequest { shard, mark, previous, .. }) in self.tables.iter().zip(requests) {
            let held = table.sink.mark(shard).await.map_err(|e| e.with("table", &table.name))?;
            let outcome = match decide_commit(held.as_ref(), mark, *previous) {
                CommitDecision::Apply => {
                    fresh = true;
                    continue;
                }
                CommitDecision::Answer(CommitOutcome::AlreadyCommitted) => {
                    ahead =
                        ahead.or(held.filter(|held| held.epoch > mark.epoch).map(|held| masked(&held, &table.name)));
                    continue;
                }
                CommitDecision::Answer(outcome) => unmasked(outcome, &table.name),
            };
            tracing::error!(table = %table.name, %shard, epoch = mark.epoch, ?outcome, "a table does not take the epoch");
            if worst.as_ref().is_none_or(|worst| severity(worst) < severity(&outcome)) {
                worst = Some(outcome);
            }
        }
        // A table that is beyond the epoch, while another waits for it: their histories differ.
        Ok(worst.or(ahead.filter(|_| fresh).map(|found| CommitOutcome::Fork { found })))
    }
}

fn severity(outcome: &CommitOutcome) -> u8 {
    match outcome {
        CommitOutcome::Fork { .. } => 3,
        CommitOutcome::Gap { .. } => 2,
        CommitOutcome::Fenced { .. } => 1,
        CommitOutcome::Done | CommitOutcome::AlreadyCommitted => 0,
    }
}

/// The mark that a table holds for one of the set, and the other way round: its digest has that of the table's name laid over it.
/// Two entries that write one table would else take each other's mark for theirs.
fn masked(mark: &Mark, table: &str) -> Mark {
    let byte = |at: usize| u8::from_str_radix(mark.digest.get(at..at + 2)?, 16).ok();
    let digest: Option<Vec<u8>> = (0..mark.digest.len()).step_by(2).map(byte).collect();
    let digest = match digest.filter(|digest| digest.len() == 32) {
        Some(digest) => digest.iter().zip(Sha256::digest(table)).map(|(a, b)| format!("{:02x}", a ^ b)).collect(),
        // Not of the runtime.
        None => mark.digest.clone(),
    };
    Mark { digest, ..mark.clone() }
}

/// What a table answers, as the set does.
fn unmasked(outcome: CommitOutcome, table: &str) -> CommitOutcome {
    match outcome {
        CommitOutcome::Gap { found: Some(found) } => CommitOutcome::Gap { found: Some(masked(&found, table)) },
        CommitOutcome::Fork { found } => CommitOutcome::Fork { found: masked(&found, table) },
        other => other,
    }
}

#[async_trait]
impl<I: Item> Sink for TableSet<I> {
    type Item = Tables<I>;
    type Staged = TableSetStaged;
    type Promise = IdempotentApply;
    type Writer = TableSetWriter<I>;

    fn config(&self) -> Result<ComponentConfig> {
        let refuse = |message: &'static str, hint: &'static str| {
            Err(Error::config("configure table set", message).with_hint(hint))
        };
        let mut names = HashSet::new();
        if self.tables.is_empty() {
            return refuse("it has no tables", "add them with `.table(name, sink)`");
        }
        if self.tables.iter().any(|table| table.name.is_empty() || !names.insert(&table.name)) {
            return refuse("a table has no name, or that of another one", "name each table once");
        }
        if self.tables.iter().any(|table| table.sink.demand() != self.demand()) {
            return refuse(
                "some of its tables take whole enumerations, and others what is new",
                "make two pipelines of them that load one landing; or let all of them replace, or none",
            );
        }
        let (mut identity, mut settings) = (Map::new(), Map::new());
        for table in &self.tables {
            let config = table.sink.config().map_err(|e| e.with("table", &table.name))?;
            identity.insert(table.name.to_string(), config.identity);
            settings.insert(table.name.to_string(), config.settings);
        }
        Ok(ComponentConfig::none()
            .with_identity(json!({ "tables": identity }))
            .with_settings(json!({ "tables": settings })))
    }

    fn demand(&self) -> Demand {
        self.tables.first().map_or(Demand::Increments, |table| table.sink.demand())
    }

    async fn open(&self, epoch: EpochContext) -> Result<TableSetWriter<I>> {
        Ok(TableSetWriter { set: self.clone(), epoch, open: Vec::new() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<TableSetStaged>) -> Result<CommitOutcome> {
        let requests = self.requests(&request)?;
        if let Some(outcome) = self.in_the_way(&requests).await? {
            return Ok(outcome);
        }
        let mut done = false;
        for (table, request) in self.tables.iter().zip(requests) {
            let answer = table.sink.commit(env, request).await.map_err(|e| e.with("table", &table.name));
            if answer.is_err() && on(Defect::TablesAreLeftBehind) {
                continue;
            }
            match answer? {
                CommitOutcome::Done => done = true,
                CommitOutcome::AlreadyCommitted => {}
                outcome => {
                    tracing::error!(table = %table.name, ?outcome, "a table does not take the epoch");
                    return Ok(unmasked(outcome, &table.name));
                }
            }
        }
        Ok(if done { CommitOutcome::Done } else { CommitOutcome::AlreadyCommitted })
    }

    /// That of the table which is furthest behind: what all of them hold.
    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        let mut marks = Vec::new();
        for table in &self.tables {
            let mark = table.sink.mark(shard).await.map_err(|e| e.with("table", &table.name))?;
            marks.push(mark.map(|mark| masked(&mark, &table.name)));
        }
        let epochs = || marks.iter().map(|mark| mark.as_ref().map(|mark| mark.epoch));
        if epochs().min() != epochs().max() {
            // As a crash between two of them leaves it. The request that commits the others looks closer.
            let of: Vec<_> = self.tables.iter().map(|table| &*table.name).zip(epochs()).collect();
            tracing::warn!(%shard, epochs = ?of, "the tables of a set hold different epochs");
        }
        Ok(marks.into_iter().min_by_key(|mark| mark.as_ref().map(|mark| mark.epoch)).flatten())
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[TableSetStaged]) -> Result<u64> {
        let mut deleted = 0;
        for table in &self.tables {
            let keep: Vec<Value> = keep.iter().filter_map(|staged| staged.tables.get(&table.name)).cloned().collect();
            let collected = table.sink.collect(shard, below_generation, &keep).await;
            deleted += collected.map_err(|e| e.with("table", &table.name))?;
        }
        Ok(deleted)
    }
}

impl<I> Clone for TableSet<I> {
    fn clone(&self) -> Self {
        let copy = |table: &Table<I>| Table { name: Arc::clone(&table.name), sink: Arc::clone(&table.sink) };
        Self { tables: self.tables.iter().map(copy).collect() }
    }
}

impl<I: Item> Default for TableSet<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I> Debug for TableSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tables.iter().map(|table| &table.name)).finish()
    }
}

/// Stages one epoch of a [`TableSet`]: nothing is opened before the first item.
pub struct TableSetWriter<I> {
    set: TableSet<I>,
    epoch: EpochContext,
    /// One for each table, in their order; empty before the first item.
    open: Vec<Box<dyn AnyTableWriter<I>>>,
}

impl<I: Item> TableSetWriter<I> {
    async fn open_all(&mut self) -> Result<()> {
        if self.open.is_empty() {
            for table in &self.set.tables {
                let epoch = EpochContext { must_commit: true, ..self.epoch.clone() };
                self.open.push(table.sink.open(epoch).await.map_err(|e| e.with("table", &table.name))?);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<I: Item> Writer for TableSetWriter<I> {
    type Item = Tables<I>;
    type Staged = TableSetStaged;

    async fn write(&mut self, item: Tables<I>) -> Result<Vec<Reject>> {
        if let Some((name, _)) = item.iter().find(|(name, _)| !self.set.has(name)) {
            let known: Vec<_> = self.set.tables.iter().map(|table| &*table.name).collect();
            return Err(Error::config("stage tables", "there are rows for a table that is not in the set")
                .with("table", name)
                .with("tables", known.join(", "))
                .with_hint("add it to the `TableSet`, or leave its rows out in a stage before the sink"));
        }
        self.open_all().await?;
        let mut rejects = Vec::new();
        for (name, item) in item {
            for (table, writer) in self.set.tables.iter().zip(&mut self.open) {
                if table.name == name {
                    rejects.extend(writer.write(item).await.map_err(|e| e.with("table", &name))?);
                    break;
                }
            }
        }
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        self.open.iter().fold(0, |sum, writer| sum.saturating_add(writer.staged_bytes()))
    }

    async fn finish(mut self) -> Result<Option<StagedOutput<TableSetStaged>>> {
        if self.open.is_empty() && !self.epoch.must_commit {
            return Ok(None);
        }
        self.open_all().await?;
        let mut staged = StagedOutput { staged: TableSetStaged { tables: BTreeMap::new() }, records: 0, bytes: 0 };
        for (table, writer) in self.set.tables.iter().zip(self.open) {
            let output = writer.finish().await.map_err(|e| e.with("table", &table.name))?.ok_or_else(|| {
                Error::bug("stage tables", "a table staged nothing for an epoch that must be committed")
                    .with("table", &table.name)
            })?;
            staged.records += output.records;
            staged.bytes += output.bytes;
            staged.staged.tables.insert(Arc::clone(&table.name), output.staged);
        }
        Ok(Some(staged))
    }
}

impl<I> Debug for TableSetWriter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSetWriter")
            .field("set", &self.set)
            .field("epoch", &self.epoch.epoch)
            .finish_non_exhaustive()
    }
}
