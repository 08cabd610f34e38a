//! A dataset of Parquet files: epochs become visible by numbered commit objects.

mod commit;
mod dataset;
mod file;
mod lane;
mod log;
mod options;
mod partition;
mod reader;
mod schema;
mod writer;

pub use commit::{DataFile, DatasetCommit, StagedFiles};
pub use dataset::ParquetDataset;
pub use options::Compression;
pub use reader::{DatasetReader, Snapshot};
pub use schema::{StoredColumn, StoredType};
pub use writer::ParquetWriter;

#[cfg(test)]
mod tests;
