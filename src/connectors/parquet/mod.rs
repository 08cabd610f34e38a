//! A dataset of Parquet files: epochs become visible by numbered commit objects.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::connectors::parquet::{DatasetReader, ParquetDataset};
//! use landfall::store::Store;
//!
//! let lake = Store::memory();
//! let orders = ParquetDataset::in_store(&lake, "orders")?.partition_by(["country"])?;
//! // `.sink(orders)` in a pipeline; whoever follows the commits then sees whole epochs:
//! let snapshot = DatasetReader::new(&lake, "orders")?.snapshot().await?;
//! assert_eq!(snapshot.rows(), 0);
//! # drop(orders);
//! # Ok(())
//! # }
//! ```

mod commit;
mod compact;
mod compaction;
mod dataset;
mod envelope;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod log;
mod reader;
mod state;
mod vacuum;
mod writer;

pub use crate::columnar::files::options::Compression;
pub use crate::columnar::files::schema::{StoredColumn, StoredType};
pub use crate::columnar::files::{DataFile, StagedFiles};
pub use commit::DatasetCommit;
pub use compaction::{DatasetCompaction, Replacement};
pub use dataset::ParquetDataset;
pub use reader::{DatasetReader, Snapshot};
pub use writer::ParquetWriter;

#[cfg(test)]
mod tests;
