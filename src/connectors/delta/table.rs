use super::buckets::MOST_KEYS;
use super::commit::rule;
use super::enumerate::guard;
use super::features;
use super::file;
use super::ledger::{self, Known};
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::merge::Memo;
use super::pending::{self, Head};
use super::schema;
use super::staged::{DeltaStaged, Names};
use super::writer::DeltaWriter;
use crate::columnar::Batch;
use crate::columnar::files::options::Options;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ShardKey, Timestamp};
use crate::sink::{
    CommitOutcome, CommitRequest, Demand, Disposition, Enumeration, EpochContext, Mark, Sink, Transactional,
};
use crate::source::ComponentConfig;
use crate::store::{ObjectInfo, ObjectPath, Store, probe};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// A table of [Delta Lake](https://delta.io): an open format with transactions, read by Spark, DuckDB, Polars, Trino and
/// many more.
///
/// An epoch becomes visible in one version of the table, which holds the mark of its shard too (as `txn` actions). Other
/// writers may commit at the same time. A table that is not there is made by the first commit; one that is there may have been
/// made by anything, and is refused if it uses a feature that is not known here or a setting that voids the promise. Columns are
/// added when they appear; a type never changes. Types: docs/delta.md.
///
/// ```
/// use landfall::connectors::delta::DeltaTable;
/// use landfall::store::Store;
///
/// let orders = DeltaTable::in_store(&Store::memory(), "lake/orders")?.partition_by(["country"])?;
/// # drop(orders);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeltaTable {
    pub(super) log: Log,
    pub(super) options: Options,
    pub(super) disposition: Disposition,
    pub(super) frozen: bool,
    pub(super) records: bool,
    /// The newest version that this process knows. It saves reads and decides nothing.
    seen: Arc<Mutex<Option<Arc<Snapshot>>>>,
    pub(super) ledger: Arc<Known>,
    /// Whether the store was found to keep conditions: the log rests on them.
    probed: Arc<OnceCell<()>>,
}

impl DeltaTable {
    /// The table in folder `prefix` of `store`; an empty `prefix` is the root of the store.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn in_store(store: &Store, prefix: &str) -> Result<Self> {
        let log = Log { store: store.clone(), folder: ObjectPath::parse(prefix)? };
        Ok(Self {
            log,
            options: Options::default(),
            disposition: Disposition::Append,
            frozen: false,
            records: false,
            seen: Arc::default(),
            ledger: Arc::default(),
            probed: Arc::default(),
        })
    }

    /// The table at a place that is given as text: see [`Store::from_uri`].
    ///
    /// # Errors
    /// `Config` if there is no store for `uri`.
    pub fn at(uri: &str) -> Result<Self> {
        Self::in_store(&Store::from_uri(uri)?, "")
    }

    /// The newest version of the table.
    pub(super) async fn newest(&self, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        // One after the other: so that the version that is known goes from one to the next, and is not copied.
        let mut seen = self.seen.lock().await;
        let newest = self.log.newest(seen.take(), keep).await?;
        seen.clone_from(&newest);
        Ok(newest)
    }

    /// The table as it was configured when this was staged, as far as that decides what becomes of rows.
    fn as_staged(&self, staged: &DeltaStaged) -> Self {
        Self { disposition: staged.disposition.clone(), ..self.clone() }
    }

    /// How much of the table a commit must know.
    pub(super) fn keep(&self) -> Keep {
        if self.disposition == Disposition::Append { Keep::Head } else { Keep::Files }
    }

    /// Compares the table with the configuration.
    pub(super) fn check(&self, snapshot: &Snapshot) -> Result<()> {
        let (has, wanted) = (&snapshot.metadata.partition_columns, &self.options.partition_by);
        if has != wanted && !schema::is_empty(&snapshot.metadata.schema_string) {
            return Err(Error::config("open delta table", "the table is partitioned by other columns")
                .with("has", has.join(", "))
                .with("wanted", wanted.join(", "))
                .with_hint("write to a table of its own, or partition as before"));
        }
        if self.disposition != Disposition::Append && !matches!(self.disposition, Disposition::InsertOnly(_)) {
            features::check_rewritable(snapshot)?;
        }
        // Not only when a file is to be read: then the epoch is prepared.
        for path in snapshot.files.keys() {
            file::object(&self.log.folder, path)?;
        }
        Ok(())
    }

    /// Fails if the store does not keep conditions.
    pub(super) async fn probe(&self, env: &Env) -> Result<()> {
        let Log { store, folder } = &self.log;
        self.probed.get_or_try_init(|| probe(store, folder, env)).await.map(drop)
    }
}

#[async_trait]
impl Sink for DeltaTable {
    type Item = Batch;
    type Staged = DeltaStaged;
    type Promise = Transactional;
    type Writer = DeltaWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.options.check()?;
        self.disposition.check()?;
        if self.disposition.keeps_deleted() {
            return Err(Error::config("configure delta table", "the Delta sink does not keep deleted rows")
                .with_hint("leave `.keep_deleted()` out; or keep every version with `Scd2`"));
        }
        if let Disposition::ReplacePartitions(replace) = &self.disposition {
            if let Some(column) = replace.by.iter().find(|column| !self.options.partition_by.contains(column)) {
                return Err(Error::config(
                    "configure delta table",
                    "partitions are replaced by another column than there is",
                )
                .with("column", column)
                .with_hint("partition the table by this column too, with `partition_by`"));
            }
        }
        let mut identity = self.disposition.identity();
        if let Value::Object(fields) = &mut identity {
            fields.insert("partition_by".to_owned(), json!(self.options.partition_by));
        }
        let mut settings = self.options.settings(&self.log.folder);
        if let Value::Object(fields) = &mut settings {
            fields.insert("record_provenance".to_owned(), json!(self.records));
            fields.insert("disposition".to_owned(), json!(self.disposition));
        }
        Ok(ComponentConfig::none().with_identity(identity).with_settings(settings))
    }

    fn demand(&self) -> Demand {
        self.disposition.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<DeltaWriter> {
        self.probe(&epoch.env).await?;
        let Log { store, folder } = &self.log;
        let mut options = self.options.clone();
        if !self.disposition.key().is_empty() {
            // One file after the other keeps the order in which rows were landed. They are split when they are merged.
            options.lanes = Some(1);
            options.partition_by.clear();
            options.sort_by.clear();
        }
        let mut writer =
            DeltaWriter::new(store.clone(), folder.clone(), options, &self.disposition, self.records, &epoch);
        writer.partition_by.clone_from(&self.options.partition_by);
        writer.sort_by.clone_from(&self.options.sort_by);
        if rule(&self.disposition).is_some()
            || matches!(self.disposition, Disposition::Scd2(_) | Disposition::Children(_))
        {
            writer.most_rows = MOST_KEYS;
        }
        writer.frozen = self.frozen;
        let held = self.newest(self.keep()).await?;
        if let Some(held) = &held {
            self.check(held)?;
            writer.table = Some(schema::parse(&held.metadata.schema_string)?);
        }
        if let Some(Enumeration { number, whole: true, .. }) = epoch.enumeration {
            let mark = held.as_ref().map_or(Ok(None), |held| mark::decode(&epoch.shard, &held.txns))?;
            if let Some(newer) = mark.map(|mark| mark.generation).filter(|newer| *newer > epoch.generation) {
                return Err(Error::new(ErrorKind::Fenced, "take rows away", "a newer owner has taken over")
                    .with("shard", &epoch.shard)
                    .with("generation", epoch.generation)
                    .with("newer", newer));
            }
            guard(self, &epoch, number, held.as_deref()).await?;
        }
        Ok(writer)
    }

    async fn commit(&self, env: &Env, request: CommitRequest<DeltaStaged>) -> Result<CommitOutcome> {
        let mut memo = Memo::default();
        let outcome = self.as_staged(&request.staged).commit_until(env, &request, &mut memo).await?;
        // What is left goes with a vacuum, and so does all of it where the commit has failed.
        if let Err(error) = memo.enumeration.clean_up().await {
            tracing::debug!(%error, table = %self.log.folder, "keys of an enumeration stay for now");
        }
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted) {
            // The epoch is committed, whatever comes of its entry: the next commit enters what is missing.
            if let Err(error) = ledger::enter(self, env, ledger::IN_COMMIT).await {
                tracing::warn!(%error, table = %self.log.folder, "the ledger of loads is behind for now");
            }
        }
        Ok(outcome)
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.newest(Keep::Head).await?.map_or(Ok(None), |held| mark::decode(shard, &held.txns))
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[DeltaStaged]) -> Result<u64> {
        let Log { store, folder } = &self.log;
        let mut old = store.list(folder).await?;
        old.retain(|object| {
            let of = Names::parse(object.path.file_name());
            of.is_some_and(|(owner, generation, _)| owner == *shard && generation < below_generation)
        });
        if old.is_empty() {
            return Ok(0);
        }
        // Listed first and read then: what is committed meanwhile is seen. What was in the table once is left to `vacuum`:
        // readers of older versions need it.
        let held = self.log.newest(None, Keep::All).await?;
        let pending = match Head::of(shard, held.as_deref()) {
            Some(head) => pending::all(&self.log, shard, head).await?,
            None => Vec::new(),
        };
        let mut kept = HashSet::new();
        for path in held.iter().flat_map(|held| held.files.keys().chain(held.removed.keys())) {
            // A name that is none here is of no file that was listed.
            kept.extend(file::object(folder, path));
        }
        for file in keep.iter().chain(&pending).flat_map(|staged| &staged.files) {
            kept.insert(folder.join(&file.path)?);
        }
        // An older file may have been in the table, and the log not tell it any more: it is left to `vacuum` too.
        let mark = held.as_ref().map_or(Ok(None), |held| mark::decode(shard, &held.txns))?;
        let remembered = match &held {
            Some(held) => self.log.told_since(held).await?,
            None => Timestamp::default(),
        };
        let never_committed = |object: &ObjectInfo| {
            let epoch = Names::parse(object.path.file_name()).map_or(0, |(.., epoch)| epoch);
            mark.as_ref().is_none_or(|mark| epoch > mark.epoch) || object.modified > remembered
        };
        let mut deleted = 0;
        for object in old.iter().filter(|object| !kept.contains(&object.path) && never_committed(object)) {
            store.delete(&object.path).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}

pub(super) fn millis(env: &Env) -> i64 {
    env.now().as_micros() / 1000
}
/// A random id of the usual form.
pub(super) fn uuid(env: &Env) -> String {
    let hex = env.nonce();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
