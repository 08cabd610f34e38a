//! Any warehouse that has an ADBC driver, as a sink (feature `adbc`).
//!
//! Rows are ingested in bulk into a table of their own, where no reader looks; a commit moves them into the table by plain SQL, in one
//! transaction with the mark of the shard and an entry in the ledger of loads. If the answer to `COMMIT` is lost, the mark tells.
//!
//! ```no_run
//! use landfall::connectors::adbc::{Adbc, AdbcTable};
//! use landfall::sink::Upsert;
//!
//! let warehouse = Adbc::driver("/usr/lib/libduckdb.so").entrypoint("duckdb_adbc_init").option("path", "warehouse.duckdb");
//! let orders = AdbcTable::at(&warehouse, "sales.orders")?
//!     .disposition(Upsert::by(["id"]).newest("updated_at").deleted_when("deleted"));
//! # drop(orders);
//! # Ok::<(), landfall::Error>(())
//! ```
//!
//! Besides its rows, a table has the column `_landfall_load`: the load that brought the row, which joins to
//! `landfall_loads.load_id`. What is kept in the control tables: `docs/formats.md`, "Tables through ADBC". What each driver can do, and
//! what is refused: `docs/adbc.md`.

mod apply;
mod aside;
mod check;
mod control;
mod database;
mod dialect;
mod fault;
mod fit;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod name;
mod open;
mod probe;
mod session;
mod table;
mod types;
mod writer;

pub use database::Adbc;
pub use dialect::AdbcDialect;
pub use writer::{AdbcStaged, AdbcWriter};

use crate::columnar::{Batch, load_id, staging};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, Disposition, Enumeration, EpochContext, Mark, Sink,
    Transactional, decide_commit,
};
use crate::source::ComponentConfig;
use apply::Apply;
use async_trait::async_trait;
use control::{Control, Entry};
use name::TableName;
use serde_json::json;
use session::Session;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A table of a database that is reached by an ADBC driver.
///
/// It is made when the first rows come, and gets columns that are new; what is there is never changed or dropped. A value that its
/// column cannot hold exactly, and a row whose key is null, go to the quarantine.
///
/// # Needs
/// A driver with transactions and bulk ingest; a database with `information_schema` (or SQLite), window functions and `UPDATE … FROM`,
/// in which one of two transactions that change the same row fails or waits. Databases other than DuckDB, PostgreSQL and SQLite must
/// show it when they are first connected.
///
/// The dispositions [`Scd2`](Disposition::Scd2) and [`Children`](Disposition::Children) are refused.
#[derive(Clone, Debug)]
pub struct AdbcTable {
    database: Adbc,
    table: TableName,
    control: Control,
    disposition: Disposition,
    records: bool,
    frozen: bool,
    prepared: Arc<OnceCell<()>>,
}

impl AdbcTable {
    /// The table `name`: `table` (of the schema that the connection begins with) or `schema.table`. Appends unless a
    /// [disposition](Self::disposition) says otherwise.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub fn at(database: &Adbc, name: &str) -> Result<Self> {
        let table = TableName::parse(name)?;
        let (database, control) = (database.clone(), Control::new(table.schema.as_deref()));
        let (disposition, prepared) = (Disposition::Append, Arc::default());
        Ok(Self { database, table, control, disposition, records: false, frozen: false, prepared })
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
        (self.control, self.prepared) = (Control::new(Some(schema)), Arc::default());
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

    /// Connects, refuses what the database cannot do, and makes the control tables.
    async fn prepare(&self, env: &Env) -> Result<()> {
        let (control, table) = (self.control.clone(), self.table.clone());
        let work = move |session: &mut Session| {
            let dialect = session.dialect;
            for name in [Some(table.table.as_str()), table.schema.as_deref(), control.schema()].into_iter().flatten() {
                dialect.check_name(name)?;
            }
            if !dialect.has_schemas() && (table.schema.is_some() || control.schema().is_some()) {
                return Err(Error::config("name table", "the database has no schemas")
                    .with("table", &table)
                    .with("dialect", dialect.as_str())
                    .with_hint("name the table alone"));
            }
            control.prepare(session)?;
            probe::probe(session, &control)
        };
        self.prepared.get_or_try_init(|| self.database.run(env, "prepare control tables", work)).await.map(drop)
    }

    /// Begins the names of what is staged for a shard: of this table, by this pipeline.
    fn staging_prefix(&self, shard: &ShardKey) -> String {
        staging::prefix(&self.table, shard)
    }

    fn staging_name(&self, epoch: &EpochContext) -> Result<TableName> {
        let EpochContext { shard, generation, epoch, attempt, .. } = epoch;
        let name = format!("{}{generation:x}_{epoch:x}_{attempt:x}", self.staging_prefix(shard));
        TableName::new(self.control.schema(), &name)
    }

    /// # Errors
    /// `Fenced` if the mark is that of a newer owner.
    async fn fenced(&self, epoch: &EpochContext) -> Result<()> {
        let (sink, shard, generation) = (self.clone(), epoch.shard.clone(), epoch.generation);
        let work = move |session: &mut Session| {
            let held = sink.control.held(session, &sink.table, &shard)?;
            staging::no_newer(held.mark.as_ref(), &shard, generation)
        };
        self.database.run(&epoch.env, "read mark", work).await
    }

    /// Refuses an enumeration that would take too many rows away, before anything is prepared.
    async fn guard(&self, epoch: &EpochContext) -> Result<()> {
        let (sink, shard) = (self.clone(), epoch.shard.clone());
        let (number, load) = (epoch.enumeration.map_or(0, |e| e.number), load_id(&shard, epoch.epoch));
        let generation = epoch.generation;
        let work = move |session: &mut Session| {
            let held = sink.control.held(session, &sink.table, &shard)?;
            staging::no_newer(held.mark.as_ref(), &shard, generation)?;
            let begun = held.enumeration.is_some_and(|(known, rows)| known == number && rows > 0);
            let (aside, relation) = (sink.aside(&shard, number), table::relation(session, &sink.table)?);
            if begun && !relation.columns.is_empty() {
                sink.check_aside(session, &aside, &relation, &load)?;
            }
            apply::left(session, &sink.table, &aside, &shard, &sink.disposition, begun)
        };
        let (before, after) = match self.database.run(&epoch.env, "count rows", work).await {
            Ok(counted) => counted,
            // A newer owner may have collected what waits since the mark was read.
            Err(error) => return Err(self.fenced(epoch).await.err().unwrap_or(error)),
        };
        self.disposition.guard(before, after).map_err(|e| e.with("table", &self.table))
    }

    /// Applies an epoch, within the transaction that the session is in.
    fn apply(&self, session: &mut Session, request: &CommitRequest<AdbcStaged>) -> Result<CommitOutcome> {
        let CommitRequest { shard, mark, previous, staged, enumeration, .. } = request;
        self.control.lock(session, &self.table)?;
        let held = self.control.held(session, &self.table, shard)?;
        match decide_commit(held.mark.as_ref(), mark, *previous) {
            CommitDecision::Apply => {}
            CommitDecision::Answer(CommitOutcome::AlreadyCommitted) if on(Defect::LostCommitIsFailure) => {}
            CommitDecision::Answer(outcome) => return Ok(outcome),
        }
        let staging = self.staged_in(shard, staged)?;
        let (aside, load) = (self.aside(shard, enumeration.map_or(0, |e| e.number)), load_id(shard, mark.epoch));
        let before = table::columns_in(session, &self.table)?;
        let mut apply = Apply {
            session: &mut *session,
            there: &before,
            shard,
            epoch: mark.epoch,
            table: &self.table,
            aside: &aside,
            staging: staging.as_ref(),
            staged,
            load: &load,
        };
        let (counts, enumeration) = apply.run(*enumeration, held.enumeration)?;
        if on(Defect::MarkIsApart) {
            session.commit("commit rows")?;
            session.begin("commit rows")?;
        }
        let columns = table::columns_in(session, &self.table)?;
        // Since a row has moved, nobody else changes them.
        if columns != before {
            return Err(Error::unavailable(
                "commit rows",
                "the table has been changed meanwhile; nothing was committed",
            ));
        }
        let entry = Entry { id: &load, columns: &columns, counts, enumeration };
        self.control.enter(session, &self.table, request, &held, &entry)?;
        Ok(CommitOutcome::Done)
    }

    /// Drops what is committed, and what enumerations before have left, if nobody reads it. What stays, a later commit or a later owner
    /// drops.
    async fn release(&self, env: &Env, request: Arc<CommitRequest<AdbcStaged>>) {
        let sink = self.clone();
        let work = move |session: &mut Session| {
            let CommitRequest { shard, staged, enumeration, .. } = request.as_ref();
            let mut done: Vec<_> = sink.staged_in(shard, staged)?.into_iter().collect();
            if let Some(Enumeration { number, whole, .. }) = enumeration {
                done.extend(sink.done_with(session, shard, *number, *whole)?);
            }
            for table in done {
                if !table::discard(session, &table)? {
                    tracing::info!(%table, "rows that are committed are in use where they waited, and are dropped later");
                }
            }
            Ok(())
        };
        if let Err(error) = self.database.run(env, "drop staged rows", work).await {
            tracing::warn!(%error, table = %self.table, "rows that are committed could not be dropped where they waited");
        }
    }

    /// The table in which an epoch was staged, as its checkpoint says.
    fn staged_in(&self, shard: &ShardKey, staged: &AdbcStaged) -> Result<Option<TableName>> {
        let Some(name) = &staged.staging else { return Ok(None) };
        staging::check_own(&self.staging_prefix(shard), name)?;
        TableName::new(self.control.schema(), name).map(Some)
    }
}

#[async_trait]
impl Sink for AdbcTable {
    type Item = Batch;
    type Staged = AdbcStaged;
    type Promise = Transactional;
    type Writer = AdbcWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.disposition.check()?;
        self.database.check()?;
        let hint = match self.disposition {
            Disposition::Scd2(_) => Some("use `PostgresTable`, or append and make the history by a query"),
            Disposition::Children(_) => Some("docs/warehouses.md tells which sinks know it"),
            Disposition::Upsert(_) if self.disposition.keeps_deleted() => Some("leave `.keep_deleted()` out"),
            _ => None,
        };
        if let Some(hint) = hint {
            return Err(Error::config("check disposition", "this sink does not keep rows in this way")
                .with("table", &self.table)
                .with("disposition", self.disposition.as_str())
                .with_hint(hint));
        }
        let identity = json!({ "table": self.table.to_string(), "control_schema": self.control.schema(), "disposition": self.disposition.identity() });
        Ok(ComponentConfig::none().with_identity(identity).with_settings(json!({
            "database": self.database.place(),
            "disposition": self.disposition,
            "record_provenance": self.records,
        })))
    }

    fn demand(&self) -> Demand {
        self.disposition.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<AdbcWriter> {
        self.prepare(&epoch.env).await?;
        Ok(AdbcWriter::new(self.clone(), epoch))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<AdbcStaged>) -> Result<CommitOutcome> {
        const OPERATION: &str = "commit rows";
        self.prepare(env).await?;
        let (sink, request) = (self.clone(), Arc::new(request));
        let committed = Arc::clone(&request);
        let work = move |session: &mut Session| {
            sink.control.ensure(session, &sink.table, &request.shard)?;
            session.transaction(OPERATION, |session| sink.apply(session, &request))
        };
        let outcome = self.database.run(env, OPERATION, work).await.map_err(|e| e.with("table", &self.table))?;
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted) {
            self.release(env, committed).await;
        }
        Ok(outcome)
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        let env = Env::system();
        self.prepare(&env).await?;
        let (sink, shard) = (self.clone(), shard.clone());
        let held = move |session: &mut Session| sink.control.held(session, &sink.table, &shard);
        Ok(self.database.run(&env, "read mark", held).await?.mark)
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[AdbcStaged]) -> Result<u64> {
        const OPERATION: &str = "drop staged rows";
        let prefix = self.staging_prefix(shard);
        let kept: HashSet<String> = keep.iter().filter_map(|staged| staged.staging.clone()).collect();
        let control = self.control.clone();
        let work = move |session: &mut Session| {
            let mut dropped = 0;
            for name in table::tables(session, &control.beside(""), &prefix)? {
                let generation = name.strip_prefix(&prefix).and_then(|rest| rest.split('_').next());
                let generation = generation.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                if generation.is_some_and(|g| g < below_generation) && !kept.contains(&name) {
                    let table = control.beside(name);
                    if !table::discard(session, &table)? {
                        tracing::warn!(%table, "staged rows of an older owner are in use, and are left to the next collection");
                        continue;
                    }
                    dropped += 1;
                }
            }
            Ok(dropped)
        };
        self.database.run(&Env::system(), OPERATION, work).await
    }
}
