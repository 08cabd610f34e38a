//! Parquet files that are fetched while they are read, guarded as those [in memory](super::reading).

use super::reading::{AT_ONCE, Count, guarded, panicked};
use arrow::array::RecordBatch;
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use std::convert::identity;
use std::panic::AssertUnwindSafe;

/// Rows that are fetched.
pub(crate) type Fetched = BoxStream<'static, Result<RecordBatch, ParquetError>>;

/// The rows of a file that has `most` rows at most, as `plan` wants them. Nothing follows an error.
///
/// # Errors
/// If it is no Parquet, or says that it has more rows; those of `reader`.
pub(crate) async fn fetch<R: AsyncFileReader + Unpin + Send + 'static>(
    mut reader: R,
    most: u64,
    plan: impl FnOnce(ArrowReaderMetadata, R) -> Result<ParquetRecordBatchStreamBuilder<R>, ParquetError>,
) -> Result<Fetched, ParquetError> {
    let load = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new());
    let footer = AssertUnwindSafe(load).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))?;
    let mut count = Count::of(footer.metadata(), most)?;
    let rows = guarded(|| plan(footer, reader)?.with_batch_size(AT_ONCE).build(), identity)?;
    let rows = AssertUnwindSafe(rows).catch_unwind().map(|batch| batch.unwrap_or_else(|_| Err(panicked())));
    // The end is counted too.
    let rows = rows.map(Some).chain(stream::once(ready(None)));
    Ok(rows.filter_map(move |batch| ready(count.check(batch))).boxed())
}
