//! PostgreSQL, as a sink and as a place for checkpoints (feature `postgres`).
//!
//! Rows are copied in binary form into a table of their own, where no reader looks; a commit moves them into the table, in one
//! transaction with the mark of the shard and an entry in the ledger of loads. If the answer to `COMMIT` is lost, the mark tells.
//!
//! ```no_run
//! use landfall::connectors::postgres::{Postgres, PostgresTable};
//! use landfall::sink::Upsert;
//!
//! let database = Postgres::from_env("WAREHOUSE_URL")?;
//! let orders = PostgresTable::at(&database, "sales.orders")?
//!     .disposition(Upsert::by(["id"]).newest("updated_at").deleted_when("deleted"));
//! # drop(orders);
//! # Ok::<(), landfall::Error>(())
//! ```
//!
//! Besides its rows, a table has the column `_landfall_load`: the load that brought the row, which joins to
//! `landfall_loads.load_id`. What is kept in the control tables: `docs/formats.md`, "Tables in PostgreSQL".

mod apply;
mod aside;
mod checkpoints;
mod children;
mod chunk;
mod control;
mod database;
mod encode;
mod fault;
mod fit;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod name;
mod numeric;
mod plain;
mod retry;
mod table;
mod tables;
mod types;
mod version;
mod writer;

pub use checkpoints::PostgresCheckpoints;
pub use database::Postgres;
pub use tables::{PostgresTables, PostgresTablesWriter, StagedTables};
pub use writer::{PostgresWriter, StagedRows};

use crate::columnar::{Batch, load_id, staging};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::ShardKey;
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, Disposition, Enumeration, EpochContext, Mark, Sink,
    Transactional, decide_commit,
};
use crate::source::ComponentConfig;
use apply::Apply;
use async_trait::async_trait;
use control::{Control, Entry, Held};
use deadpool_postgres::Transaction;
use name::TableName;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Begins the name of the table in which rows of an enumeration wait, after the prefix.
const ASIDE: &str = "aside_";

/// A table of a PostgreSQL database.
///
/// It is made when the first rows come, and gets columns that are new; what is there is never changed or dropped. A value that its
/// column cannot hold exactly, and a row whose key is null, go to the quarantine.
///
/// # Needs
/// PostgreSQL 12 or later, or what speaks its protocol and has `COPY … (FORMAT binary)`, `ON CONFLICT` and `SELECT … FOR UPDATE`
/// (Redshift has not). The rights to use and, where they are to be made, to create schema and tables. For dispositions with a key, a
/// unique index on exactly its columns: it is made with the table.
#[derive(Clone, Debug)]
pub struct PostgresTable {
    database: Postgres,
    table: TableName,
    control_schema: String,
    control: Control,
    disposition: Disposition,
    records: bool,
    frozen: bool,
    prepared: Arc<OnceCell<()>>,
}

impl PostgresTable {
    /// The table `name`: `table` (of the schema `public`) or `schema.table`. Appends unless a
    /// [disposition](Self::disposition) says otherwise.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub fn at(database: &Postgres, name: &str) -> Result<Self> {
        let table = TableName::parse(name)?;
        let (control_schema, control) = (table.schema.clone(), Control::new(&table.schema));
        let database = database.clone();
        let (disposition, prepared) = (Disposition::Append, Arc::default());
        Ok(Self { database, table, control_schema, control, disposition, records: false, frozen: false, prepared })
    }

    /// What it does with rows that are there already.
    #[must_use]
    pub fn disposition(mut self, disposition: impl Into<Disposition>) -> Self {
        self.disposition = disposition.into();
        self
    }

    /// Keeps one row of these columns: the one that was landed last. For more, see [`disposition`](Self::disposition).
    #[must_use]
    pub fn upsert<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        self.disposition(crate::sink::Upsert::by(key))
    }

    /// Keeps the control tables, and the rows that are staged, in this schema instead of the table's.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub fn control_schema(mut self, schema: &str) -> Result<Self> {
        name::check(schema)?;
        schema.clone_into(&mut self.control_schema);
        self.control = Control::new(schema);
        Ok(self)
    }

    /// Adds to each row where its record was landed: `_landfall_segment` and `_landfall_record`.
    #[must_use]
    pub fn record_provenance(mut self) -> Self {
        self.records = true;
        self
    }

    /// Leaves the columns as they are: it is an error if the table is not there, or lacks a column of the rows or one that the sink
    /// adds (`_landfall_load`).
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    async fn prepare(&self, env: &Env) -> Result<()> {
        let preparing =
            self.database.again(env, |_| async { self.control.prepare(&mut self.database.client().await?).await });
        self.prepared.get_or_try_init(|| preparing).await.map(drop)
    }

    /// Begins the names of what is staged for a shard: of this table, by this pipeline.
    fn staging_prefix(&self, shard: &ShardKey) -> String {
        staging::prefix(&self.table, shard)
    }

    /// The table in which an epoch was staged, as its checkpoint says.
    fn staged_in(&self, shard: &ShardKey, staged: &StagedRows) -> Result<Option<TableName>> {
        let Some(name) = &staged.staging else { return Ok(None) };
        staging::check_own(&self.staging_prefix(shard), name)?;
        TableName::new(&self.control_schema, name).map(Some)
    }

    /// The name of the table in which an epoch is staged. One that could not be made for sure is given up: what was asked for it may
    /// still be on its way.
    fn staging_name(&self, epoch: &EpochContext, tried: u32) -> Result<TableName> {
        let EpochContext { shard, generation, epoch, attempt, .. } = epoch;
        let name = format!("{}{generation:x}_{epoch:x}_{attempt:x}", self.staging_prefix(shard));
        let name = if tried == 0 { name } else { format!("{name}_{tried:x}") };
        TableName::new(&self.control_schema, &name)
    }

    /// The column by which versions of a row are told apart, if they are.
    fn hash(&self) -> Option<&'static str> {
        matches!(self.disposition, Disposition::Scd2(_)).then_some(table::HASH)
    }

    /// The column by which the rows of one record are told from those of the next, if they are.
    fn group(&self) -> Option<&'static str> {
        matches!(self.disposition, Disposition::Children(_)).then_some(children::GROUP)
    }

    /// Where rows of an enumeration wait.
    fn aside(&self, shard: &ShardKey, enumeration: Option<Enumeration>) -> Result<TableName> {
        let number = enumeration.map_or(0, |enumeration| enumeration.number);
        TableName::new(&self.control_schema, &format!("{}{ASIDE}{number:x}", self.staging_prefix(shard)))
    }

    /// Refuses an enumeration that would take too many rows away, before anything is prepared.
    async fn guard(&self, epoch: &EpochContext) -> Result<()> {
        let client = self.database.client().await?;
        let held = self.control.held(&client, &self.table, &epoch.shard, false).await?;
        staging::no_newer(held.mark.as_ref(), &epoch.shard, epoch.generation)?;
        let number = epoch.enumeration.and_then(|e| i64::try_from(e.number).ok());
        // What lies aside may be of another enumeration.
        let begun = held.enumeration.is_some_and(|(known, rows)| Some(known) == number && rows > 0);
        let aside = self.aside(&epoch.shard, epoch.enumeration)?;
        if begun {
            self.check_aside(&client, &aside, None).await?;
        }
        let (before, after) = apply::left(&client, &self.table, &aside, &epoch.shard, &self.disposition, begun).await?;
        self.disposition.guard(before, after).map_err(|e| e.with("table", &self.table))
    }

    /// Why rows could not be staged: what is gone, a newer owner may have collected, which the mark may tell.
    async fn unstaged(&self, epoch: &EpochContext, error: Error) -> Error {
        if error.kind() != ErrorKind::Unavailable || error.status() != Status::Permanent {
            return error;
        }
        let look = self.database.again(&epoch.env, |_| async {
            let held = self.control.held(&self.database.client().await?, &self.table, &epoch.shard, false).await?;
            staging::no_newer(held.mark.as_ref(), &epoch.shard, epoch.generation)
        });
        match look.await {
            Err(newer) if newer.kind() == ErrorKind::Fenced => newer,
            _ => error,
        }
    }

    async fn try_commit(&self, request: &CommitRequest<StagedRows>) -> Result<CommitOutcome> {
        let failed = |e| fault::statement("commit rows", e).with("table", &self.table);
        let mut client = self.database.client().await?;
        let transaction = database::begin(&mut client).await.map_err(failed)?;
        let held = self.control.held(&transaction, &self.table, &request.shard, true).await?;
        match decide_commit(held.mark.as_ref(), &request.mark, request.previous) {
            CommitDecision::Apply => {}
            CommitDecision::Answer(CommitOutcome::AlreadyCommitted) if on(Defect::LostCommitIsFailure) => {}
            CommitDecision::Answer(outcome) => return Ok(outcome),
        }
        self.apply(&transaction, request, &held).await?;
        database::commit("commit rows", transaction).await.map_err(|e| e.with("table", &self.table))?;
        Ok(CommitOutcome::Done)
    }

    /// Changes the rows and sets the mark, of which `held` is what there was: its row is locked.
    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        request: &CommitRequest<StagedRows>,
        held: &Held,
    ) -> Result<()> {
        let CommitRequest { shard, mark, staged, enumeration, .. } = request;
        let staging = self.staged_in(shard, staged)?;
        let (aside, load) = (self.aside(shard, *enumeration)?, load_id(shard, mark.epoch));
        let relation = table::relation(transaction, &self.table).await?;
        let apply = Apply {
            transaction,
            relation: relation.as_ref(),
            shard,
            epoch: mark.epoch,
            table: &self.table,
            aside: &aside,
            staging: staging.as_ref(),
            staged,
            load: &load,
        };
        let (counts, enumeration) = apply.run(*enumeration, held.enumeration).await?;
        if on(Defect::MarkIsApart) {
            apply.execute("COMMIT AND CHAIN").await?;
        }
        let columns = relation.map(|relation| relation.columns).unwrap_or_default();
        // Since a row has moved, nobody else changes them.
        if table::columns_in(transaction, &self.table).await? != columns {
            return Err(Error::unavailable(
                "commit rows",
                "the table has been changed meanwhile; nothing was committed",
            )
            .with("table", &self.table));
        }
        let (id, disposition, columns) = (load.as_str(), staged.disposition.as_str(), columns.as_slice());
        let entry = Entry { id, disposition, columns, counts, enumeration };
        self.control.enter(transaction, &self.table, request, &entry).await
    }

    /// Drops what is committed, and what enumerations before have left, if nobody reads it: a backup holds each table for as long as it
    /// takes. What stays, a later commit or a later owner drops.
    async fn release(&self, request: &CommitRequest<StagedRows>) {
        if let Err(error) = self.try_release(request).await {
            tracing::warn!(%error, table = %self.table, "rows that are committed could not be dropped where they waited");
        }
    }

    async fn try_release(
        &self,
        CommitRequest { shard, staged, enumeration, .. }: &CommitRequest<StagedRows>,
    ) -> Result<()> {
        let client = self.database.client().await?;
        let mut done: Vec<_> = self.staged_in(shard, staged)?.into_iter().map(|staging| staging.table).collect();
        if let Some(Enumeration { number, whole, .. }) = enumeration {
            let prefix = format!("{}{ASIDE}", self.staging_prefix(shard));
            let left = table::tables(&client, &self.control_schema, &prefix).await?;
            // One that is later may be under way: whoever asks may have slept, and has been overtaken.
            done.extend(left.into_iter().filter(|name| {
                let of = name.strip_prefix(&prefix).and_then(|digits| u64::from_str_radix(digits, 16).ok());
                of.is_some_and(|of| of < *number || (*whole && of == *number))
            }));
        }
        for name in done {
            let table = TableName::new(&self.control_schema, &name)?;
            if !table::discard(&client, &table).await? {
                tracing::info!(%table, "rows that are committed are in use where they waited, and are dropped later");
            }
        }
        Ok(())
    }

    async fn try_mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        let client = self.database.client().await?;
        if !self.control.exist(&client).await? {
            return Ok(None);
        }
        Ok(self.control.held(&client, &self.table, shard, false).await?.mark)
    }

    async fn try_collect(&self, shard: &ShardKey, below_generation: u64, keep: &[StagedRows]) -> Result<u64> {
        let client = self.database.client().await?;
        let prefix = self.staging_prefix(shard);
        let kept: HashSet<&str> = keep.iter().filter_map(|staged| staged.staging.as_deref()).collect();
        let mut dropped = 0;
        for name in table::tables(&client, &self.control_schema, &prefix).await? {
            let generation = name.strip_prefix(&prefix).and_then(|rest| rest.split('_').next());
            let generation = generation.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if generation.is_some_and(|g| g < below_generation) && !kept.contains(name.as_str()) {
                let table = TableName::new(&self.control_schema, &name)?;
                if !table::discard(&client, &table).await? {
                    tracing::warn!(%table, "staged rows of an older owner are in use, and are left to the next collection");
                    continue;
                }
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

#[async_trait]
impl Sink for PostgresTable {
    type Item = Batch;
    type Staged = StagedRows;
    type Promise = Transactional;
    type Writer = PostgresWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.disposition.check()?;
        let identity = json!({ "table": self.table.to_string(), "control_schema": self.control_schema, "disposition": self.disposition.identity() });
        Ok(ComponentConfig::none().with_identity(identity).with_settings(json!({
            "database": self.database.place(),
            "disposition": self.disposition,
            "record_provenance": self.records,
        })))
    }

    fn demand(&self) -> Demand {
        self.disposition.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<PostgresWriter> {
        self.prepare(&epoch.env).await?;
        Ok(PostgresWriter::new(self.clone(), epoch))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<StagedRows>) -> Result<CommitOutcome> {
        self.prepare(env).await?;
        let outcome = self.database.again_in_doubt(env, |_| self.try_commit(&request)).await?;
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted) {
            self.release(&request).await;
        }
        Ok(outcome)
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.database.again(self.database.own_env(), |_| self.try_mark(shard)).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[StagedRows]) -> Result<u64> {
        self.database.again(self.database.own_env(), |_| self.try_collect(shard, below_generation, keep)).await
    }
}
