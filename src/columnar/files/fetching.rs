//! Parquet files that are fetched while they are read, guarded as those [in memory](super::reading).

use super::footer;
use super::pages::Pages;
use super::reading::{AT_ONCE, Count, guarded, panicked, rows_at_once};
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use std::convert::identity;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Rows that are fetched.
pub(crate) type Fetched = BoxStream<'static, Result<RecordBatch, ParquetError>>;

/// The rows of a file that has `most` rows at most, as `plan` wants them, in types of Parquet. Nothing follows an error.
///
/// # Errors
/// If it is no Parquet, says that it has more rows, or has columns that share a place; those of `reader`.
pub(crate) async fn fetch<R: AsyncFileReader + Unpin + Send + 'static>(
    mut reader: R,
    most: u64,
    plan: impl FnOnce(ArrowReaderMetadata, Checked<R>) -> Result<ParquetRecordBatchStreamBuilder<Checked<R>>, ParquetError>,
) -> Result<Fetched, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let load = ArrowReaderMetadata::load_async(&mut reader, options);
    let footer = AssertUnwindSafe(load).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))?;
    let mut count = Count::of(footer.metadata(), most)?;
    let reader = Checked { pages: Pages::of(footer.metadata())?, reader };
    let open = || {
        let rows = plan(footer, reader)?;
        let at_once = rows_at_once(rows.schema(), AT_ONCE)?;
        rows.with_batch_size(at_once).build()
    };
    let rows = guarded(open, identity)?;
    let rows = AssertUnwindSafe(rows).catch_unwind().map(|batch| batch.unwrap_or_else(|_| Err(panicked())));
    // The end is counted too.
    let rows = rows.map(Some).chain(stream::once(ready(None)));
    Ok(rows.filter_map(move |batch| ready(count.check(batch))).boxed())
}

/// The footer of a file of `size` bytes.
///
/// # Errors
/// If it is no Parquet; those of `reader`.
pub(crate) async fn footer<R: AsyncFileReader>(reader: &mut R, size: u64) -> Result<ParquetMetaData, ParquetError> {
    let before = |at: u64, length: usize| {
        let start = at.checked_sub(length as u64);
        Ok::<_, ParquetError>(start.ok_or_else(|| ParquetError::EOF("the file is too short".to_owned()))?..at)
    };
    let tail = before(size, footer::TAIL)?;
    let length = footer::length(&reader.get_bytes(tail.clone()).await?)?;
    let bytes = reader.get_bytes(before(tail.start, length)?).await?;
    footer::check(&bytes)?;
    ParquetMetaDataReader::decode_metadata(&bytes)
}

/// A file of which pages are decoded only if there is memory for them.
pub(crate) struct Checked<R> {
    reader: R,
    pages: Pages,
}

impl<R: AsyncFileReader + Send> AsyncFileReader for Checked<R> {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let only = self.get_byte_ranges(vec![range]);
        only.map(|bytes| bytes?.pop().ok_or_else(|| ParquetError::EOF("the file has no such place".to_owned()))).boxed()
    }

    // The columns of a row group are asked for in one call.
    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let bytes = self.reader.get_byte_ranges(ranges.clone()).await?;
            guarded(|| self.pages.check(&ranges, &bytes), identity)?;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        self.reader.get_metadata(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;
    use futures::TryStreamExt;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Encoding;
    use parquet::file::properties::WriterProperties;
    use std::io::Cursor;

    const ROWS: u8 = 77;

    fn rows() -> RecordBatch {
        let texts = StringArray::from_iter_values((0..ROWS).map(|n| n.to_string()));
        RecordBatch::try_from_iter([("text", Arc::new(texts) as _)]).expect("fits")
    }

    fn file() -> Vec<u8> {
        let options = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .build();
        let mut file = ArrowWriter::try_new(Vec::new(), rows().schema(), Some(options)).expect("a file");
        file.write(&rows()).expect("writes");
        file.into_inner().expect("closes")
    }

    async fn fetched(file: Vec<u8>) -> Result<Vec<RecordBatch>, ParquetError> {
        let plan = |footer, reader| Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer));
        fetch(Cursor::new(file), u64::from(ROWS), plan).await?.try_collect().await
    }

    #[tokio::test]
    async fn pages_are_looked_through_as_they_are_fetched() {
        assert_eq!(fetched(file()).await.expect("reads"), [rows()]);
        let mut damaged = file();
        // The numbers of a block, of its parts, and of lengths.
        let lengths = damaged.windows(4).position(|four| four == [0x80, 1, 4, ROWS]).expect("a page of lengths");
        damaged[lengths + 3] += 1;
        let error = fetched(damaged).await.expect_err("too many lengths").to_string();
        assert!(error.contains("it has 78 lengths, and can have 77 at most"), "{error}");
    }
}
