use super::commit::DatasetCommit;
use super::log::Folder;
use crate::columnar::files::DataFile;
use crate::columnar::files::partition::add_columns;
use crate::columnar::files::schema::StoredColumn;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::Mark;
use crate::store::{ObjectPath, Store};
use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

/// Reads a Parquet dataset by its commit objects: whole epochs only, also while writers commit.
#[derive(Clone, Debug)]
pub struct DatasetReader {
    folder: Folder,
}

/// The state of a dataset at one moment. It stays readable while writers go on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    folder: Folder,
    commits: Vec<DatasetCommit>,
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
        let mut commits = Vec::new();
        for (shard, last) in self.folder.shards().await? {
            for sequence in 1.. {
                match self.folder.read(&shard, sequence).await? {
                    Some(commit) => commits.push(commit),
                    None if sequence <= last => return Err(self.folder.gone(&shard, sequence)),
                    None => break,
                }
            }
        }
        Ok(Snapshot { folder: self.folder.clone(), commits })
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

    /// The files, with the partition columns that their rows have.
    pub fn files(&self) -> impl Iterator<Item = (&DataFile, &[StoredColumn])> {
        self.commits.iter().flat_map(|c| c.files.iter().map(|f| (f, c.partition_by.as_slice())))
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
        let bytes = self.bytes(file).await?;
        let damaged = |message| Error::corrupt("read dataset", message).with("file", &file.path);
        if format!("{:x}", Sha256::digest(&bytes)) != file.sha256 {
            return Err(damaged("the file is not the one that was committed"));
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(|builder| builder.build())
            .map_err(|e| damaged("the file is not Parquet").with_source(e))?;
        reader
            .map(|rows| {
                let rows = rows.map_err(|e| damaged("the rows cannot be read").with_source(e))?;
                add_columns(&rows, partition_by, &file.partition).map_err(|e| e.with("file", &file.path))
            })
            .collect()
    }

    /// A file may be moved from its staged to its final name while it is looked for.
    async fn bytes(&self, file: &DataFile) -> Result<Bytes> {
        for name in [&file.path, &file.staged, &file.path] {
            if let Some(bytes) = self.folder.store.get(&self.folder.prefix.join(name)?, None).await? {
                return Ok(bytes);
            }
        }
        Err(Error::corrupt("read dataset", "a committed file is gone").with("file", &file.path))
    }
}
