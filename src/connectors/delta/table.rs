use super::actions::{Add, Line, Metadata};
use super::buckets::MOST_KEYS;
use super::children::children;
use super::enumerate::{enumerate, guard};
use super::features;
use super::file;
use super::keys::Rule;
use super::ledger::{self, Known, Load};
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::merge::{Memo, merge};
use super::pending::{self, Head};
use super::retention;
use super::rewrite::rewrite;
use super::schema;
use super::versions::versions;
use super::writer::DeltaWriter;
use crate::columnar::files::options::Options;
use crate::columnar::files::partition::{Key, Partitioning};
use crate::columnar::files::{FileNames, TAIL, checksum};
use crate::columnar::{Batch, Transform};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PipelineName, ShardKey, Timestamp};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, Disposition, Enumeration, EpochContext, Mark, Sink,
    Transactional, Upsert, decide_commit,
};
use crate::source::ComponentConfig;
use crate::store::{Created, ObjectInfo, ObjectPath, Store, probe};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// Times that a commit is decided anew, when others commit to the table at the same time.
const ATTEMPTS: usize = 20;

/// Files that are looked at at the same time.
const AT_ONCE: usize = 8;

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
    frozen: bool,
    records: bool,
    /// The newest version that this process knows. It saves reads and decides nothing.
    seen: Arc<Mutex<Option<Arc<Snapshot>>>>,
    pub(super) ledger: Arc<Known>,
    /// Whether the store was found to keep conditions: the log rests on them.
    probed: Arc<OnceCell<()>>,
}

/// What an epoch staged: names and sizes of files, and their columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeltaStaged {
    /// The files.
    pub files: Vec<DeltaFile>,
    /// The columns of the files, as Delta writes a schema; `None` without files.
    pub schema: Option<String>,
    /// The columns that the files are split by.
    pub partition_by: Vec<String>,
    /// When they were complete.
    pub staged_at: Timestamp,
}

/// A Parquet file that was staged for a Delta table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeltaFile {
    /// Its name below the folder of the table.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// CRC-32C of its last 4096 bytes (of all of it, if it is smaller), in hexadecimal digits.
    pub tail_crc32c: String,
    /// The values of the partition columns of all of its rows.
    pub partition: BTreeMap<String, Option<String>>,
    /// Its statistics, as Delta writes them.
    pub stats: String,
}

impl DeltaFile {
    pub(super) fn add(&self, at_millis: i64) -> Add {
        Add {
            path: file::uri(&self.path),
            partition_values: self.partition.clone(),
            size: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            modification_time: at_millis,
            data_change: true,
            stats: Some(self.stats.clone()),
            ..Add::default()
        }
    }
}

/// The names of the files that are written. They lie in folders of their partitions, as some readers take the values from there
/// rather than from the log.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    /// Those of an epoch's rows.
    pub(super) fn staged(context: &EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, .. } = context;
        Self::new(shard, *generation, *epoch, format!("{attempt:04}"))
    }

    /// Those of files that are written while an epoch is committed. What an earlier try left never gets in the way.
    pub(super) fn rewritten(shard: &ShardKey, mark: &Mark, env: &Env) -> Self {
        Self::new(shard, mark.generation, mark.epoch, env.nonce())
    }

    fn new(shard: &ShardKey, generation: u64, epoch: u64, writer: String) -> Self {
        Self(format!("landfall-{}-{:04}-g{generation:010}-{epoch:020}-{writer}", shard.pipeline, shard.shard))
    }

    /// Those of files that are put together.
    pub(super) fn of_compaction(env: &Env) -> Self {
        Self(format!("compacted-{}", env.nonce()))
    }

    /// The shard, the generation and the epoch that a file of this name was written for.
    pub(super) fn parse(file_name: &str) -> Option<(ShardKey, u64, u64)> {
        let mut parts = file_name.strip_suffix(".parquet")?.strip_prefix("landfall-")?.rsplitn(6, '-').skip(2);
        let epoch = parts.next()?.parse().ok()?;
        let generation = parts.next()?.strip_prefix('g')?.parse().ok()?;
        let shard = parts.next()?.parse().ok()?;
        Some((ShardKey { pipeline: PipelineName::new(parts.next()?).ok()?, shard }, generation, epoch))
    }
}

impl FileNames for Names {
    fn staged(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        Ok(format!("{}{}-{number:04}.parquet", by.folders(key)?, self.0))
    }

    fn published(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        self.staged(by, key, number)
    }
}

/// What a commit does to the files of a table.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) lines: Vec<Line>,
    /// Whether it depends on rows that were read.
    pub(super) rewrites: bool,
    /// The columns that the table must have, as Delta writes a schema.
    pub(super) schema: Option<String>,
    pub(super) counts: Counts,
}

/// Rows, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
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

    /// Splits files by the values of these columns, or by what a [`Transform`] makes of them, which readers use to skip files. None by
    /// default. Part of the table's identity: it cannot change later.
    ///
    /// A transform makes a column of the table, such as `created_at_day`: readers filter by it.
    ///
    /// # Errors
    /// `Config` if a name is empty or given twice.
    pub fn partition_by<T: Into<Transform>>(mut self, by: impl IntoIterator<Item = T>) -> Result<Self> {
        self.options.split_by(by.into_iter().map(Into::into).collect())?;
        Ok(self)
    }

    /// What becomes of rows that are in the table already. They are left alone by default.
    #[must_use]
    pub fn disposition(mut self, disposition: impl Into<Disposition>) -> Self {
        self.disposition = disposition.into();
        self
    }

    /// Adds rows, and looks at none that is there: the default.
    #[must_use]
    pub fn append(self) -> Self {
        self.disposition(Disposition::Append)
    }

    /// Keeps one row of these columns, the one that was landed last: [`Upsert::by`] with nothing more.
    #[must_use]
    pub fn upsert<C: Into<String>>(self, key: impl IntoIterator<Item = C>) -> Self {
        self.disposition(Upsert::by(key))
    }

    /// Adds to each row where its record was landed: `_landfall_segment` and `_landfall_record`.
    #[must_use]
    pub fn record_provenance(mut self) -> Self {
        self.records = true;
        self
    }

    /// Leaves the columns as they are: it is an error if the table is not there, or lacks a column of the rows.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Begins a new file when one has this many bytes. 128 MiB by default. An epoch always begins new files.
    #[must_use]
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.options.target_file_bytes = bytes.max(1);
        self
    }

    /// Sorts the rows of a file by these columns, ascending and nulls first, so that readers that look for some of their values skip
    /// row groups: in runs of 64 MiB, each in row groups of its own. Not sorted by default; it may change at any time.
    ///
    /// Writing fails with `Config` if there is no such column, it is that of a partition, it is nested or a floating-point number.
    #[must_use]
    pub fn sort_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.sort_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Encodes on this many lanes side by side. As many as there are cores by default.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.options.lanes = Some(lanes.max(1));
        self
    }

    /// Keeps at most this many files open, 128 by default. Matters for tables with many partitions.
    #[must_use]
    pub fn open_files(mut self, files: usize) -> Self {
        self.options.open_files = files.max(1);
        self
    }

    /// The newest version of the table.
    pub(super) async fn newest(&self, keep: Keep) -> Result<Option<Arc<Snapshot>>> {
        // One after the other: so that the version that is known goes from one to the next, and is not copied.
        let mut seen = self.seen.lock().await;
        let newest = self.log.newest(seen.take(), keep).await?;
        seen.clone_from(&newest);
        Ok(newest)
    }

    /// How much of the table a commit must know.
    fn keep(&self) -> Keep {
        if self.disposition == Disposition::Append { Keep::Head } else { Keep::Files }
    }

    /// Compares the table with the configuration.
    fn check(&self, snapshot: &Snapshot) -> Result<()> {
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

    /// Fails if a staged file is not there, or is not the one that was staged.
    pub(super) async fn verify(&self, files: &[DeltaFile]) -> Result<()> {
        let looks = files.iter().map(|file| self.verify_one(file));
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn verify_one(&self, file: &DeltaFile) -> Result<()> {
        let path = self.log.folder.join(&file.path)?;
        // One byte more is asked for than there should be: it shows a file that is too long.
        let range = file.bytes.saturating_sub(TAIL)..file.bytes + 1;
        let expected = range.end - range.start - 1;
        let message = match self.log.store.get(&path, Some(range)).await? {
            Some(tail) if tail.len() as u64 == expected && checksum(&tail) == file.tail_crc32c => return Ok(()),
            Some(_) => "a staged file is not the one that was staged; nothing was committed",
            None => "a staged file is gone; nothing was committed",
        };
        Err(Error::corrupt("commit delta", message).with("file", path).with_hint(
            "restore the file from a copy; or load the landing again under this name, with a new folder of checkpoints and an \
             empty table",
        ))
    }

    /// The actions that make the table hold the columns of what is staged.
    fn columns(&self, env: &Env, schema: Option<&String>, held: Option<&Snapshot>) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        let Some(held) = held else {
            let schema = match schema {
                Some(schema) => schema.clone(),
                None => json!({ "type": "struct", "fields": [] }).to_string(),
            };
            // They come with the columns.
            let partition_columns =
                if schema::is_empty(&schema) { Vec::new() } else { self.options.partition_by.clone() };
            let oldest = features::oldest();
            let protocol = if schema::has_ntz(&schema) { features::with_ntz(&oldest) } else { None };
            lines.push(protocol.unwrap_or(oldest).into());
            let metadata = Metadata {
                id: uuid(env),
                schema_string: schema,
                partition_columns,
                created_time: Some(millis(env)),
                ..Metadata::default()
            };
            lines.push(metadata.into());
            return Ok(lines);
        };
        let Some(schema) = schema else { return Ok(lines) };
        if let Some(grown) = schema::grown(&held.metadata.schema_string, &*schema::parse(schema)?)? {
            if let Some(protocol) = schema::has_ntz(&grown).then(|| features::with_ntz(&held.protocol)).flatten() {
                lines.push(protocol.into());
            }
            let mut metadata = Metadata { schema_string: grown, ..held.metadata.clone() };
            if schema::is_empty(&held.metadata.schema_string) {
                metadata.partition_columns.clone_from(&self.options.partition_by);
            }
            lines.push(metadata.into());
        }
        Ok(lines)
    }

    /// What the epoch does to the files.
    async fn change(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        held: Option<&Snapshot>,
        memo: &mut Memo,
    ) -> Result<Change> {
        let whole = request.enumeration.is_some_and(|e| e.whole);
        let visible = match (rule(&self.disposition), &self.disposition) {
            (Some(rule), _) if !whole => Some(merge(self, env, request, held, &rule, memo).await?),
            (_, Disposition::Scd2(scd2)) if !whole => {
                Some(versions(self, env, request, held, scd2, &mut memo.versions).await?)
            }
            (_, Disposition::Children(of)) => Some(children(self, env, request, held, of, &mut memo.children).await?),
            _ => None,
        };
        match (self.demand(), visible) {
            (Demand::Enumerations, visible) => {
                return enumerate(self, env, request, held, visible, &mut memo.enumeration).await;
            }
            (_, Some(change)) => return Ok(change),
            _ => {}
        }
        let adds = self.appended(env, request, held, memo).await?.into_iter().map(Line::from);
        let counts = Counts { inserted: request.staged.files.iter().map(|f| f.rows).sum(), ..Counts::default() };
        Ok(Change { lines: adds.collect(), rewrites: false, schema: request.staged.schema.clone(), counts })
    }

    /// The files of an append: those that were staged, or, if the table has got wider columns meanwhile, such with these.
    async fn appended(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        held: Option<&Snapshot>,
        memo: &mut Memo,
    ) -> Result<Vec<Add>> {
        let files: Vec<Add> = request.staged.files.iter().map(|file| file.add(millis(env))).collect();
        let (Some(held), Some(staged)) = (held, &request.staged.schema) else { return Ok(files) };
        if files.is_empty() || schema::fits(&held.metadata.schema_string, staged)? {
            return Ok(files);
        }
        let columns = schema::adapted(&held.metadata.schema_string, &*schema::parse(staged)?)?;
        let known = memo.widened.take().filter(|(known, _)| *known == columns);
        let adds = match known {
            Some((_, adds)) => adds,
            None => rewrite(self, env, request, &files, &columns, &|_, _, rows| Ok(rows), false).await?,
        };
        memo.widened = Some((columns, adds.clone()));
        Ok(adds)
    }

    async fn try_commit(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        doubt: &mut bool,
        memo: &mut Memo,
    ) -> Result<Option<CommitOutcome>> {
        let CommitRequest { shard, mark, previous, staged, .. } = request;
        let held = self.newest(self.keep()).await?;
        let marked = held.as_ref().map_or(Ok(None), |held| mark::decode(shard, &held.txns))?;
        if let CommitDecision::Answer(outcome) = decide_commit(marked.as_ref(), mark, *previous) {
            return Ok(Some(outcome));
        }
        let held = held.as_deref();
        held.map_or(Ok(()), |held| self.check(held))?;
        self.verify(&staged.files).await?;
        let change = self.change(env, request, held, memo).await?;
        let mut lines = vec![self.info(env, request, &change)?];
        lines.extend(self.columns(env, change.schema.as_ref(), held)?);
        lines.extend(mark::encode(shard, mark, millis(env))?.into_iter().map(Line::from));
        lines.extend(change.lines);
        let version = held.map_or(0, |held| held.version + 1);
        match self.log.create(version, &lines).await {
            Ok(Created::New) => {}
            // Another's, or an earlier try of ours: the mark tells.
            Ok(Created::Exists) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Ambiguous => {
                *doubt = true;
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        *doubt = true;
        Ok(self.log.is_current(version).await?.then_some(CommitOutcome::Done))
    }

    /// Tries to commit until it is known what has come of it.
    async fn commit_until(
        &self,
        env: &Env,
        request: &CommitRequest<DeltaStaged>,
        memo: &mut Memo,
    ) -> Result<CommitOutcome> {
        let mut doubt = false;
        for _ in 0..ATTEMPTS {
            match self.try_commit(env, request, &mut doubt, memo).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(e) if doubt && e.kind() == ErrorKind::Unavailable => {
                    return Err(in_doubt(&request.shard).with_source(e));
                }
                Err(e) => return Err(e),
            }
        }
        if doubt {
            return Err(in_doubt(&request.shard));
        }
        Err(Error::unavailable("commit delta", "others commit to the table all the time").with("shard", &request.shard))
    }

    /// What the history of the table tells of the commit: for people, and for the ledger of loads.
    fn info(&self, env: &Env, request: &CommitRequest<DeltaStaged>, change: &Change) -> Result<Line> {
        let operation = if self.disposition == Disposition::Append { "WRITE" } else { "MERGE" };
        let Counts { inserted, updated, deleted } = change.counts;
        let info = json!({
            "timestamp": millis(env),
            "operation": operation,
            "operationParameters": { "mode": "Append", "disposition": self.disposition.as_str() },
            "operationMetrics": {
                "numOutputRows": (inserted + updated).to_string(),
                "numTargetRowsInserted": inserted.to_string(),
                "numTargetRowsUpdated": updated.to_string(),
                "numTargetRowsDeleted": deleted.to_string(),
            },
            "isBlindAppend": !change.rewrites,
            "engineInfo": concat!("landfall/", env!("CARGO_PKG_VERSION")),
            "landfall": Load::of(request, &self.disposition, change.counts),
        });
        Ok(Line { commit_info: Some(info), ..Line::default() })
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
        }
        Ok(ComponentConfig::none().with_identity(identity).with_settings(settings))
    }

    fn demand(&self) -> Demand {
        self.disposition.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<DeltaWriter> {
        let Log { store, folder } = &self.log;
        self.probed.get_or_try_init(|| probe(store, folder, &epoch.env)).await?;
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
            guard(self, &epoch.env, &epoch.shard, number, held.as_deref()).await?;
        }
        Ok(writer)
    }

    async fn commit(&self, env: &Env, request: CommitRequest<DeltaStaged>) -> Result<CommitOutcome> {
        let mut memo = Memo::default();
        let outcome = self.commit_until(env, &request, &mut memo).await;
        // What is left goes with a vacuum.
        if let Err(error) = memo.enumeration.clean_up().await {
            tracing::debug!(%error, table = %self.log.folder, "keys of an enumeration stay for now");
        }
        let outcome = outcome?;
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::AlreadyCommitted) {
            // The epoch is committed, whatever comes of its entry: the next commit enters what is missing.
            if let Err(error) = ledger::enter(self, env).await {
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
        let newest = old.iter().map(|object| object.modified).max().unwrap_or_default();
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
        let remembered = held
            .as_ref()
            .map_or(Timestamp::default(), |held| newest.saturating_sub(retention::of_files(&held.metadata)));
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

/// How rows are told apart that are merged into those of the table.
fn rule(disposition: &Disposition) -> Option<Rule> {
    let (deleted, first_stays) = match disposition {
        Disposition::Upsert(upsert) => (upsert.deleted.clone(), false),
        Disposition::InsertOnly(_) => (None, true),
        _ => return None,
    };
    let newest = disposition.newest().map(str::to_owned);
    Some(Rule { key: disposition.key().to_vec(), newest, deleted, first_stays })
}

/// A random id of the usual form.
pub(super) fn uuid(env: &Env) -> String {
    let hex = env.nonce();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn in_doubt(shard: &ShardKey) -> Error {
    Error::new(ErrorKind::Ambiguous, "commit delta", "it is not known whether the epoch was committed")
        .with("shard", shard)
}
