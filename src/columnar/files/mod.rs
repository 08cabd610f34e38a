//! Parquet files that are staged: encoded side by side in lanes, split by partition, rolled by size. And read again. What sinks
//! that keep their data in such files share.

mod compact;
pub(crate) mod dictionary;
#[cfg(feature = "delta")]
pub(crate) mod fetching;
mod file;
mod footer;
mod lane;
pub(crate) mod options;
mod pages;
pub(crate) mod partition;
pub(crate) mod reading;
pub(crate) mod schema;
pub(crate) mod sort;
pub(crate) mod transform;
mod writer;

pub use transform::Transform;
pub(crate) use writer::FileWriter;
#[cfg(feature = "delta")]
pub(crate) use writer::Finished;

use crate::error::Result;
use parquet::file::metadata::ParquetMetaData;
use partition::{Key, Partitioning};
use schema::StoredColumn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Bytes at the end of a file that tell whether it is the one that was staged: they hold its footer.
pub(crate) const TAIL: u64 = 4096;

/// One Parquet file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DataFile {
    /// Its name once it is published, below the dataset's folder.
    pub path: String,
    /// Its name until then, below the dataset's folder.
    pub staged: String,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// CRC-32C of its last 4096 bytes (of all of it, if it is smaller), in hexadecimal digits: a cheap look at its identity.
    pub tail_crc32c: String,
    /// The values of the partition columns of all of its rows.
    pub partition: BTreeMap<String, Option<String>>,
}

/// What an epoch staged: names, sizes and hashes of files, and their columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StagedFiles {
    /// The files.
    pub files: Vec<DataFile>,
    /// The columns in the files.
    pub columns: Vec<StoredColumn>,
    /// The columns that the names of folders hold.
    pub partition_by: Vec<StoredColumn>,
}

/// What the files of an epoch are called, below the folder of their table. A file has its number within the epoch.
pub(crate) trait FileNames: Send + Sync + Debug {
    /// While it is staged.
    fn staged(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String>;

    /// Once it is committed.
    fn published(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String>;
}

/// A complete file, and its footer.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) file: DataFile,
    #[cfg_attr(not(feature = "delta"), expect(dead_code, reason = "only the log of a table tells of it"))]
    pub(crate) footer: ParquetMetaData,
}

/// An integer of seven bits in each byte, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (these, rest) = bytes.split_at_checked(last + 1)?;
    Some((these.iter().rev().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f)), rest))
}

#[cfg(test)]
mod tests;

pub(crate) fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}
