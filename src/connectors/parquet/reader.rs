use super::commit::DatasetCommit;
use super::log::Folder;
use super::state::ShardState;
use crate::columnar::files::DataFile;
use crate::columnar::files::partition::add_columns;
use crate::columnar::files::reading::{Rows, guarded};
use crate::columnar::files::schema::StoredColumn;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::Mark;
use crate::store::{ObjectPath, Store};
use arrow::array::RecordBatch;

/// Reads a Parquet dataset by its commit objects: whole epochs only, also while writers commit.
#[derive(Clone, Debug)]
pub struct DatasetReader {
    folder: Folder,
}

/// The state of a dataset at one moment. It stays readable while writers go on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) folder: Folder,
    pub(super) commits: Vec<DatasetCommit>,
    /// Each with the number of a commit that split its rows.
    pub(super) files: Vec<(DataFile, usize)>,
}

impl DatasetReader {
    /// Reads the dataset in folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn new(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self { folder: Folder { store: store.clone(), prefix: ObjectPath::parse(prefix)? } })
    }

    /// What is committed now: of every shard all epochs up to some one.
    ///
    /// Shards are found by listing; a shard whose first commit the store does not list yet is not seen yet.
    ///
    /// # Errors
    /// `Corrupt` if a commit object is damaged or gone, `Config` if it is of a newer format; errors of the store.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let (mut commits, mut files) = (Vec::new(), Vec::new());
        for (shard, last) in self.folder.shards().await? {
            let state = ShardState::read(&self.folder, &shard, last).await?;
            let of_shard = state.files().map_err(|e| e.with("shard", &shard))?;
            files.extend(of_shard.into_iter().map(|(file, commit)| (file, commits.len() + commit)));
            commits.extend(state.commits);
        }
        Ok(Snapshot { folder: self.folder.clone(), commits, files })
    }
}

impl Snapshot {
    /// The commits, by shard and in their order.
    pub fn commits(&self) -> &[DatasetCommit] {
        &self.commits
    }

    /// The committed epochs, by shard and in their order.
    pub fn epochs(&self) -> impl Iterator<Item = (&ShardKey, &Mark)> {
        self.commits.iter().map(|c| (&c.shard, &c.mark))
    }

    /// The files, in the order of their rows, with the partition columns that these have: those of the commits, or others that stand
    /// for them since a [compaction](super::ParquetDataset::compact).
    pub fn files(&self) -> impl Iterator<Item = (&DataFile, &[StoredColumn])> {
        let split_by = |commit: &usize| self.commits.get(*commit).map_or(&[][..], |c| c.partition_by.as_slice());
        self.files.iter().map(move |(file, commit)| (file, split_by(commit)))
    }

    /// The number of rows, as the commits tell it.
    pub fn rows(&self) -> u64 {
        self.commits.iter().map(|c| c.rows).sum()
    }

    /// All rows, the partition columns last. They are held in memory: for examples and tests. Batches of different
    /// epochs may have different columns.
    ///
    /// # Errors
    /// `Corrupt` if a file is gone or damaged; errors of the store.
    pub async fn read_batches(&self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for (file, partition_by) in self.files() {
            batches.extend(self.read_file(file, partition_by).await?);
        }
        Ok(batches)
    }

    /// The rows of one of [`files`](Self::files), the partition columns last.
    ///
    /// # Errors
    /// `Corrupt` if the file is gone or damaged; errors of the store.
    pub async fn read_file(&self, file: &DataFile, partition_by: &[StoredColumn]) -> Result<Vec<RecordBatch>> {
        let bytes = self.folder.bytes(file).await?;
        let damaged = |e| {
            Error::corrupt("read dataset", "the rows of a file cannot be read").with("file", &file.path).with_source(e)
        };
        let read = || {
            let rows = Rows::whole(bytes, file.rows).map_err(damaged)?;
            let add = |rows| add_columns(&rows, partition_by, &file.partition).map_err(|e| e.with("file", &file.path));
            rows.map(|rows| rows.map_err(damaged).and_then(add)).collect()
        };
        guarded(read, damaged)
    }
}
