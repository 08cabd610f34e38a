use super::commit::DatasetCommit;
use super::log::Folder;
use super::state::Files;
use super::writer::ParquetWriter;
use crate::columnar::files::options::{Compression, Options};
use crate::columnar::files::partition::{Key, Partitioning};
use crate::columnar::files::schema::{StoredColumn, merge_columns};
use crate::columnar::files::{FileNames, StagedFiles};
use crate::columnar::{Batch, Transform};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PipelineName, ShardKey};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, IdempotentApply, Mark, Sink, decide_commit,
};
use crate::source::ComponentConfig;
use crate::store::{Created, ObjectPath, Store, probe};
use async_trait::async_trait;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Times that a commit is decided anew before it gives up in doubt.
const ATTEMPTS: usize = 5;

/// A folder of Parquet files with numbered commit objects. Format: docs/formats.md, "Dataset commit".
///
/// Readers that follow the commit objects ([`DatasetReader`](super::DatasetReader)) see whole epochs only. The files are plain Hive-style Parquet
/// besides: readers that list the folder (DuckDB, Polars, Spark) never see a file that is not committed, and see those of
/// an epoch soon after its commit.
///
/// All shards write one table: a column has one type in all of them, and each new epoch is compared with what the shards of
/// this process have written, and with what all others had committed when this process opened the dataset. Of pipelines
/// that write their first epochs at the same time, in processes of their own, the next one to start finds out.
///
/// ```
/// use landfall::connectors::parquet::ParquetDataset;
/// use landfall::store::Store;
///
/// let orders = ParquetDataset::in_store(&Store::memory(), "datasets/orders")?
///     .partition_by(["country"])?
///     .target_file_bytes(256 << 20);
/// # drop(orders);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ParquetDataset {
    pub(super) folder: Folder,
    pub(super) options: Options,
    /// After how many commits of a shard its small files are put together; 0 for never.
    compact_every: u64,
    seen: Arc<Mutex<Seen>>,
    /// Whether the store was found to keep conditions: the commit objects rest on them.
    probed: Arc<OnceCell<()>>,
}

/// What this process knows of the dataset.
#[derive(Debug, Default)]
struct Seen {
    shards: BTreeMap<ShardKey, SeenShard>,
    /// The columns of all files, of whichever shard: readers take the dataset for one table.
    columns: Vec<StoredColumn>,
    partition_by: Vec<StoredColumn>,
}

/// What this process knows of a shard. It saves questions and decides nothing.
#[derive(Debug, Default)]
struct SeenShard {
    /// A commit that exists.
    newest: u64,
    /// A commit whose files all have their final names; so have those before it.
    published: u64,
    /// Its files, if they were looked at.
    files: Files,
    /// Whether the commits of all shards were compared with the configuration when this one was opened.
    checked: bool,
}

impl ParquetDataset {
    /// The dataset in folder `prefix` of `store`; an empty `prefix` is the root of the store.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn in_store(store: &Store, prefix: &str) -> Result<Self> {
        let prefix = ObjectPath::parse(prefix)?;
        let folder = Folder { store: store.clone(), prefix };
        let options = Options::default();
        Ok(Self { folder, options, compact_every: 0, seen: Arc::default(), probed: Arc::default() })
    }

    /// Splits rows by the values of these columns, or by what a [`Transform`] makes of them. The values are in the names of folders
    /// (`country=NL/created_at_day=2026-01-31/`); a column that is taken as it is, is not in the files then. None by default.
    /// A row whose value does not fit into the name of a folder is refused.
    ///
    /// Part of the dataset's identity: it cannot change later.
    ///
    /// # Errors
    /// `Config` if a name cannot be that of a folder, or is given twice.
    pub fn partition_by<T: Into<Transform>>(mut self, by: impl IntoIterator<Item = T>) -> Result<Self> {
        self.options.split_by(by.into_iter().map(Into::into).collect())?;
        Ok(self)
    }

    /// Begins a new file when one has this many bytes. 128 MiB by default. An epoch always begins new files.
    #[must_use]
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.options.target_file_bytes = bytes.max(1);
        self
    }

    /// Ends a row group at this many encoded bytes. 16 MiB by default. A lane holds at most about twice as much in memory.
    #[must_use]
    pub fn row_group_bytes(mut self, bytes: u64) -> Self {
        self.options.row_group_bytes = bytes.max(1);
        self
    }

    /// Ends a row group at this many rows. 131,072 by default.
    #[must_use]
    pub fn row_group_rows(mut self, rows: usize) -> Self {
        self.options.row_group_rows = rows.max(1);
        self
    }

    /// Compresses pages in this way. Zstandard at level 1 by default.
    ///
    /// # Errors
    /// `Config` if there is no such level.
    pub fn compression(mut self, compression: Compression) -> Result<Self> {
        compression.codec()?;
        self.options.compression = compression;
        Ok(self)
    }

    /// Encodes on this many lanes side by side. As many as there are cores by default.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.options.lanes = Some(lanes.max(1));
        self
    }

    /// Keeps at most this many files open, 128 by default: beyond it the one that was not written to for longest is
    /// completed. Matters for datasets with many partitions.
    #[must_use]
    pub fn open_files(mut self, files: usize) -> Self {
        self.options.open_files = files.max(1);
        self
    }

    /// Sorts the rows of a file by these columns, ascending and nulls first, so that readers that look for some of their values skip
    /// row groups and pages. Rows that are equal stay in the order in which they were landed. Not sorted by default.
    ///
    /// A file is sorted in runs: what fits into [`sort_bytes`](Self::sort_bytes) at a time, in row groups of its own, which say so in
    /// the file (`sorting_columns`). It may change at any time: files that are there stay as they are.
    ///
    /// Writing fails with `Config` if there is no such column, it is that of a partition, it is nested or a floating-point number.
    #[must_use]
    pub fn sort_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.sort_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sorts at most this many bytes of rows at a time. 64 MiB by default. A lane holds as much more in memory.
    #[must_use]
    pub fn sort_bytes(mut self, bytes: u64) -> Self {
        self.options.sort_bytes = bytes.max(1);
        self
    }

    /// Does not try a dictionary for a column whose values hardly repeat, such as a key. Names of nested columns have dots
    /// between them. Columns whose first rows in a file show it need not be named.
    #[must_use]
    pub fn column_without_dictionary(mut self, column: impl Into<String>) -> Self {
        self.options.without_dictionary.push(column.into());
        self
    }

    /// Puts small files [together](Self::compact) after every so many commits of a shard, between that epoch and the next one; 0, the
    /// default, for never. The next epoch is read and staged meanwhile, its commit waits. If it fails, the run goes on, and
    /// it is tried again the next time. Nothing is deleted: that is up to a [`vacuum`](Self::vacuum).
    #[must_use]
    pub fn compact_every(mut self, commits: u64) -> Self {
        self.compact_every = commits;
        self
    }

    /// The files of a shard, as far as this process has read them. They are taken out: whoever fails forgets them.
    pub(super) fn remembered(&self, shard: &ShardKey) -> Files {
        self.seen().shards.get_mut(shard).map(|seen| std::mem::take(&mut seen.files)).unwrap_or_default()
    }

    pub(super) fn remember(&self, shard: &ShardKey, files: Files) {
        self.seen().shards.entry(shard.clone()).or_default().files = files;
    }

    /// After a commit.
    async fn tend(&self, env: &Env, shard: &ShardKey) {
        let newest = self.seen().shards.get(shard).map_or(0, |s| s.newest);
        if newest.checked_rem(self.compact_every) != Some(0) {
            return;
        }
        match self.compact_shard(env, shard).await {
            Ok(done) => tracing::debug!(%shard, %done, "small files were put together"),
            Err(error) => tracing::warn!(%shard, %error, "small files stay as they are"),
        }
    }

    /// Checks the columns of a new epoch against those that any shard has written before, and remembers them.
    pub(super) fn admit(&self, columns: &[StoredColumn], partition_by: &[StoredColumn]) -> Result<()> {
        let merge = |old: &[StoredColumn], new: &[StoredColumn]| {
            if old.is_empty() { Ok(new.to_vec()) } else { merge_columns(old, new) }
        };
        let mut seen = self.seen();
        let partition_by = merge(&seen.partition_by, partition_by)?;
        seen.columns = merge(&seen.columns, columns)?;
        seen.partition_by = partition_by;
        Ok(())
    }

    /// Compares the newest commits of all shards, of other pipelines too, with the configuration, and learns the columns
    /// that they have.
    async fn check_commits(&self, own: &ShardKey) -> Result<()> {
        // The listing may miss others; the own shard is looked up.
        let mut shards = self.folder.shards().await?;
        shards.entry(own.clone()).or_default();
        for (shard, last) in &shards {
            let Some(commit) = self.folder.newest(shard, *last).await? else { continue };
            if commit.columns.is_empty() && commit.partition_by.is_empty() {
                // It has no rows yet.
                continue;
            }
            let kept: Vec<_> = commit.partition_by.iter().map(|c| c.name.clone()).collect();
            if kept != self.options.partition_by {
                return Err(Error::config("open dataset", "the dataset is partitioned by other columns")
                    .with("dataset", &self.folder.prefix)
                    .with("has", kept.join(", "))
                    .with("wanted", self.options.partition_by.join(", "))
                    .with_hint("write to a dataset of its own, or partition as before"));
            }
            self.admit(&commit.columns, &commit.partition_by).map_err(|e| e.with("shard", shard))?;
        }
        Ok(())
    }

    /// Fails if the store does not keep conditions.
    pub(super) async fn probe(&self, env: &Env) -> Result<()> {
        let Folder { store, prefix } = &self.folder;
        self.probed.get_or_try_init(|| probe(store, prefix, env)).await.map(drop)
    }

    async fn newest(&self, shard: &ShardKey) -> Result<Option<DatasetCommit>> {
        let hint = self.seen().shards.get(shard).map_or(0, |s| s.newest);
        let newest = self.folder.newest(shard, hint).await?;
        if let Some(commit) = &newest {
            self.seen().shards.entry(shard.clone()).or_default().newest = commit.sequence;
        }
        Ok(newest)
    }

    /// Moves the files of a commit into view, unless this process has done so.
    async fn publish(&self, commit: &DatasetCommit) -> Result<()> {
        if self.seen().shards.get(&commit.shard).is_some_and(|s| s.published >= commit.sequence) {
            return Ok(());
        }
        if let Err(error) = self.folder.publish(commit).await {
            // Whoever committed after it has done this before; a compaction and a vacuum may have come since.
            if self.folder.read(&commit.shard, commit.sequence + 1).await?.is_none() {
                return Err(error);
            }
        }
        let mut seen = self.seen();
        let seen = seen.shards.entry(commit.shard.clone()).or_default();
        seen.published = seen.published.max(commit.sequence);
        seen.newest = seen.newest.max(commit.sequence);
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_commit(
        &self,
        env: &Env,
        request: &CommitRequest<StagedFiles>,
        doubt: &mut bool,
    ) -> Result<Option<CommitOutcome>> {
        let CommitRequest { shard, mark, previous, staged, .. } = request;
        let held = self.newest(shard).await?;
        let decision = decide_commit(held.as_ref().map(|h| &h.mark), mark, *previous);
        // Only the files of the newest commit may still wait for their final names: they come first.
        if let (Some(held), CommitDecision::Apply | CommitDecision::Answer(CommitOutcome::AlreadyCommitted)) =
            (&held, &decision)
        {
            *doubt |= !matches!(decision, CommitDecision::Apply);
            self.publish(held).await?;
        }
        if let CommitDecision::Answer(outcome) = decision {
            return Ok(Some(outcome));
        }
        if let Err(error) = self.folder.verify_staged(&staged.files).await {
            // Another owner may have committed the same epoch meanwhile, and moved its files.
            let now = self.newest(shard).await?;
            return if now.map(|n| n.sequence) == held.map(|h| h.sequence) { Err(error) } else { Ok(None) };
        }
        let commit = DatasetCommit::following(held.as_ref(), shard.clone(), mark.clone(), *previous, staged, env.now());
        let path = self.folder.commit_path(shard, commit.sequence)?;
        match self.folder.store.create(&path, commit.encode()?).await {
            Ok(Created::New) => {}
            // Another's, or an earlier try of ours: the mark tells.
            Ok(Created::Exists) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Ambiguous => {
                *doubt = true;
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        // It is there from now on, whatever becomes of its files: to say that nothing has happened would be wrong.
        *doubt = true;
        self.publish(&commit).await?;
        Ok(Some(CommitOutcome::Done))
    }
}

#[async_trait]
impl Sink for ParquetDataset {
    type Item = Batch;
    type Staged = StagedFiles;
    type Promise = IdempotentApply;
    type Writer = ParquetWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.options.check()?;
        Ok(ComponentConfig::none()
            .with_identity(json!({ "partition_by": self.options.partition_by }))
            .with_settings(self.options.settings(&self.folder.prefix)))
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<ParquetWriter> {
        self.probe(&epoch.env).await?;
        if !self.seen().shards.get(&epoch.shard).is_some_and(|s| s.checked) {
            self.check_commits(&epoch.shard).await?;
            self.seen().shards.entry(epoch.shard.clone()).or_default().checked = true;
        }
        Ok(ParquetWriter::new(self.clone(), epoch))
    }

    async fn commit(&self, env: &Env, request: CommitRequest<StagedFiles>) -> Result<CommitOutcome> {
        let mut doubt = false;
        for _ in 0..ATTEMPTS {
            match self.try_commit(env, &request, &mut doubt).await {
                Ok(Some(outcome)) => {
                    if outcome == CommitOutcome::Done {
                        self.tend(env, &request.shard).await;
                    }
                    return Ok(outcome);
                }
                Ok(None) => {}
                Err(e) if doubt && e.kind() == ErrorKind::Unavailable => {
                    return Err(in_doubt(&request.shard).with_source(e));
                }
                Err(e) => return Err(e),
            }
        }
        Err(in_doubt(&request.shard))
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.newest(shard).await?.map(|commit| commit.mark))
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[StagedFiles]) -> Result<u64> {
        let newest = self.newest(shard).await?;
        let kept = keep.iter().flat_map(|k| &k.files).chain(newest.iter().flat_map(|c| &c.files));
        let kept: HashSet<_> = kept.map(|f| self.folder.prefix.join(&f.staged)).collect::<Result<_>>()?;
        let folder = self.folder.prefix.join(&Layout::staged_folder(shard))?;
        let mut deleted = 0;
        for object in self.folder.store.list(&folder).await? {
            let generation = Layout::staged_generation(&folder, &object.path);
            if generation.is_some_and(|g| g < below_generation) && !kept.contains(&object.path) {
                self.folder.store.delete(&object.path).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

fn in_doubt(shard: &ShardKey) -> Error {
    Error::new(ErrorKind::Ambiguous, "commit dataset", "it is not known whether the epoch was committed")
        .with("shard", shard)
}

/// The names of an epoch's files.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) shard: ShardKey,
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) attempt: u32,
}

impl Layout {
    fn staged_folder(shard: &ShardKey) -> String {
        format!("_staged/{}/{:04}", shard.pipeline, shard.shard)
    }

    /// The shard and the epoch in the name of a staged file, below the folder of the dataset.
    pub(super) fn staged_for(name: &str) -> Option<(ShardKey, u64)> {
        let mut parts = name.strip_prefix("_staged/")?.split('/');
        let (pipeline, shard, _, file) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let shard = ShardKey { pipeline: PipelineName::new(pipeline).ok()?, shard: shard.parse().ok()? };
        Some((shard, file.split('-').next()?.parse().ok()?))
    }

    /// The generation in the name of a staged file: `<folder>/g<generation>/…`.
    fn staged_generation(folder: &ObjectPath, object: &ObjectPath) -> Option<u64> {
        let below = object.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?;
        below.split('/').next()?.strip_prefix('g')?.parse().ok()
    }
}

impl FileNames for Layout {
    fn staged(&self, _: &Partitioning, _: &Key, number: u64) -> Result<String> {
        let Self { shard, epoch, attempt, .. } = self;
        let generation = if on(Defect::OwnersShareNames) { 0 } else { self.generation };
        // Not `.parquet`: readers that list by a pattern may not skip the folder.
        Ok(format!("{}/g{generation:010}/{epoch:020}-{attempt:04}-{number:04}.staged", Self::staged_folder(shard)))
    }

    fn published(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        let Self { shard, generation, epoch, .. } = self;
        let folders = by.folders(key)?;
        Ok(format!("{folders}{}-{:04}-{epoch:020}-g{generation:010}-{number:04}.parquet", shard.pipeline, shard.shard))
    }
}
