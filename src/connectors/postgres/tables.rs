use super::writer::{PostgresWriter, StagedRows};
use super::{PostgresTable, database, fault};
use crate::columnar::Batch;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Reject, ShardKey};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Tables,
    Transactional, Writer, decide_commit,
};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// Several tables of one database that change in one transaction: a reader sees an epoch in all of them or in none, parents with
/// their children.
///
/// Takes [`Tables`], as a [`TableSet`](crate::sink::TableSet) does, which holds tables of any sinks and commits one after the other.
///
/// # Guarantees
/// 1. *One transaction*: rows, marks and entries in the ledger of all tables. After it, all hold the mark of the same epoch, also those
///    that it had no rows for.
/// 2. *Looked at first*: if the mark of one table fits neither before nor after the epoch, nothing changes.
/// 3. *In order*: the tables are changed in the order in which they are given: foreign keys need parents first, or
///    `DEFERRABLE INITIALLY DEFERRED`.
/// 4. *Never dropped*: rows for a table that is not in the set are an error, before any of them are staged.
///
/// # Requires
/// The tables are part of the pipeline's identity: none can be added to a set that has committed, or taken from it. All demand the
/// same: if one takes rows away by whole enumerations, the others must too.
///
/// ```no_run
/// use landfall::connectors::postgres::{Postgres, PostgresTable, PostgresTables};
/// use landfall::sink::{Children, Upsert};
///
/// let shop = Postgres::from_env("WAREHOUSE_URL")?;
/// let orders = PostgresTable::at(&shop, "orders")?.disposition(Upsert::by(["id"]).newest("updated_at"));
/// let items = PostgresTable::at(&shop, "items")?.disposition(Children::of(["order_id"]).newest("updated_at"));
/// let both = PostgresTables::new().table("orders", orders).table("items", items);
/// # drop(both);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct PostgresTables {
    tables: Vec<(Arc<str>, PostgresTable)>,
}

/// What an epoch staged for each table of [`PostgresTables`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedTables {
    tables: BTreeMap<Arc<str>, StagedRows>,
}

impl PostgresTables {
    /// No tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table: the rows of that name go into it.
    #[must_use]
    pub fn table(mut self, name: impl Into<Arc<str>>, table: PostgresTable) -> Self {
        self.tables.push((name.into(), table));
        self
    }

    fn first(&self) -> Result<&PostgresTable> {
        let first = self.tables.first().map(|(_, table)| table);
        first.ok_or_else(|| {
            Error::config("configure tables", "there are none").with_hint("add them with `.table(name, table)`")
        })
    }

    fn check_known<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
        match names.find(|name| !self.tables.iter().any(|(known, _)| &**known == *name)) {
            None => Ok(()),
            Some(name) => {
                let known: Vec<_> = self.tables.iter().map(|(name, _)| &**name).collect();
                Err(Error::config("stage tables", "there are rows for a table that is not in the set")
                    .with("table", name)
                    .with("tables", known.join(", "))
                    .with_hint("add it to the set, or leave its rows out in a stage before the sink"))
            }
        }
    }

    /// What each table is asked to commit.
    fn requests<'a>(
        &'a self,
        request: &CommitRequest<StagedTables>,
    ) -> Result<Vec<(&'a PostgresTable, CommitRequest<StagedRows>)>> {
        self.check_known(request.staged.tables.keys().map(|name| &**name))?;
        let of = |(name, table): &'a (Arc<str>, PostgresTable)| {
            let staged = |staged: StagedTables| {
                staged.tables.get(name).cloned().ok_or_else(|| {
                    Error::config("commit tables", "the prepared epoch has nothing for a table of the set")
                        .with("table", name)
                        .with_hint("finish the epoch with the tables that staged it")
                })
            };
            Ok((table, request.clone().try_map(staged)?))
        };
        self.tables.iter().map(of).collect()
    }

    async fn try_commit(&self, request: &CommitRequest<StagedTables>) -> Result<CommitOutcome> {
        let requests = self.requests(request)?;
        let mut client = self.first()?.database.client().await?;
        let transaction = database::begin(&mut client).await.map_err(|e| fault::statement("commit tables", e))?;
        let (mut all, mut answers) = (Vec::new(), Vec::new());
        for (table, CommitRequest { shard, mark, previous, .. }) in &requests {
            let held = table.control.held(&transaction, &table.table, shard, true).await?;
            if let CommitDecision::Answer(outcome) = decide_commit(held.mark.as_ref(), mark, *previous) {
                answers.push((outcome, held.mark.clone()));
            }
            all.push(held);
        }
        if !answers.is_empty() {
            return Ok(answer(answers, all.len()));
        }
        for ((table, request), held) in requests.iter().zip(&all) {
            table.apply(&transaction, request, held).await?;
        }
        database::commit("commit tables", transaction).await?;
        Ok(CommitOutcome::Done)
    }
}

/// What is answered if not all of `tables` tables take the epoch: they changed together, so that one which differs from the others was
/// changed by somebody else.
fn answer(answers: Vec<(CommitOutcome, Option<Mark>)>, tables: usize) -> CommitOutcome {
    let all = answers.len() == tables;
    let mut found = None;
    for (outcome, held) in answers {
        match outcome {
            CommitOutcome::Done | CommitOutcome::AlreadyCommitted => found = found.or(held),
            outcome => return outcome,
        }
    }
    match found {
        Some(found) if !all => CommitOutcome::Fork { found },
        _ => CommitOutcome::AlreadyCommitted,
    }
}

#[async_trait]
impl Sink for PostgresTables {
    type Item = Tables<Batch>;
    type Staged = StagedTables;
    type Promise = Transactional;
    type Writer = PostgresTablesWriter;

    fn config(&self) -> Result<ComponentConfig> {
        let first = self.first()?;
        let (mut names, mut places) = (HashSet::new(), HashSet::new());
        let (mut identity, mut settings) = (Map::new(), Map::new());
        for (name, table) in &self.tables {
            let refuse = |message, hint: &'static str| {
                Err(Error::config("configure tables", message).with("table", name).with_hint(hint))
            };
            if name.is_empty() || !names.insert(name) {
                return refuse("a table has no name, or that of another one", "name each table once");
            }
            if !places.insert(&table.table) {
                return refuse("two names stand for one table", "give each name a table of its own");
            }
            if table.database.place() != first.database.place() {
                return refuse(
                    "it is in another database than the first one, so no transaction holds both",
                    "use a `TableSet`, which commits one table after the other",
                );
            }
            if table.demand() != self.demand() {
                return refuse(
                    "some tables take whole enumerations, and others what is new",
                    "make two pipelines of them that load one landing; or let all of them replace, or none",
                );
            }
            let config = table.config().map_err(|e| e.with("table", name))?;
            identity.insert(name.to_string(), config.identity);
            settings.insert(name.to_string(), config.settings);
        }
        Ok(ComponentConfig::none()
            .with_identity(json!({ "tables": identity }))
            .with_settings(json!({ "tables": settings })))
    }

    fn demand(&self) -> Demand {
        self.tables.first().map_or(Demand::Increments, |(_, table)| table.demand())
    }

    async fn open(&self, epoch: EpochContext) -> Result<PostgresTablesWriter> {
        Ok(PostgresTablesWriter { set: self.clone(), epoch, open: Vec::new() })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<StagedTables>) -> Result<CommitOutcome> {
        for (_, table) in &self.tables {
            table.prepare(env).await?;
        }
        let outcome = self.first()?.database.again_in_doubt(env, |_| self.try_commit(&request)).await?;
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted) {
            for (table, request) in self.requests(&request)? {
                table.release(&request).await;
            }
        }
        Ok(outcome)
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        let mut least: Option<Option<Mark>> = None;
        for (name, table) in &self.tables {
            let mark = table.mark(shard).await.map_err(|e| e.with("table", name))?;
            let epoch = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.epoch);
            least = match least {
                Some(known) if epoch(&known) <= epoch(&mark) => Some(known),
                _ => Some(mark),
            };
        }
        Ok(least.flatten())
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[StagedTables]) -> Result<u64> {
        let mut deleted = 0;
        for (name, table) in &self.tables {
            let keep: Vec<_> = keep.iter().filter_map(|staged| staged.tables.get(name)).cloned().collect();
            deleted += table.collect(shard, below_generation, &keep).await.map_err(|e| e.with("table", name))?;
        }
        Ok(deleted)
    }
}

impl Debug for PostgresTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tables.iter().map(|(name, table)| (name, table.table.to_string()))).finish()
    }
}

/// Stages one epoch of [`PostgresTables`]: nothing is opened before the first rows.
#[derive(Debug)]
pub struct PostgresTablesWriter {
    set: PostgresTables,
    epoch: EpochContext,
    /// One for each table, in their order; empty before the first rows.
    open: Vec<PostgresWriter>,
}

impl PostgresTablesWriter {
    async fn open_all(&mut self) -> Result<()> {
        if self.open.is_empty() {
            for (name, table) in &self.set.tables {
                let epoch = EpochContext { must_commit: true, ..self.epoch.clone() };
                self.open.push(table.open(epoch).await.map_err(|e| e.with("table", name))?);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for PostgresTablesWriter {
    type Item = Tables<Batch>;
    type Staged = StagedTables;

    async fn write(&mut self, item: Tables<Batch>) -> Result<Vec<Reject>> {
        self.set.check_known(item.iter().map(|(name, _)| name))?;
        self.open_all().await?;
        let mut rejects = Vec::new();
        for (name, rows) in item {
            let place = self.set.tables.iter().position(|(known, _)| *known == name);
            if let Some(writer) = place.and_then(|place| self.open.get_mut(place)) {
                rejects.extend(writer.write(rows).await.map_err(|e| e.with("table", &name))?);
            }
        }
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        self.open.iter().map(Writer::staged_bytes).sum()
    }

    async fn finish(mut self) -> Result<Option<StagedOutput<StagedTables>>> {
        if self.open.is_empty() && !self.epoch.must_commit {
            return Ok(None);
        }
        self.open_all().await?;
        let mut staged = StagedOutput { staged: StagedTables { tables: BTreeMap::new() }, records: 0, bytes: 0 };
        for ((name, _), writer) in self.set.tables.iter().zip(self.open) {
            let output = writer.finish().await.map_err(|e| e.with("table", name))?;
            let output =
                output.ok_or_else(|| Error::bug("stage tables", "a table staged nothing").with("table", name))?;
            staged.records += output.records;
            staged.bytes += output.bytes;
            staged.staged.tables.insert(Arc::clone(name), output.staged);
        }
        Ok(Some(staged))
    }
}
