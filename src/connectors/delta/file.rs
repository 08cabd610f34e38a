//! A data file of a table, read row group by row group.

use super::actions::Add;
use super::fit::{fit, member_of};
use super::log::Log;
use super::stats;
use crate::columnar::files::fetching::{fetch, footer};
use crate::columnar::files::reading::guarded;
use crate::error::{Error, Result};
use crate::store::{ObjectPath, Store};
use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::ops::Range;
use std::sync::Arc;

/// Rows that a byte of a file may stand for where the log does not say how many there are: of rows that are all alike, writers
/// put some 20,000 into the 30 bytes of a page, and a few of them a million into 250.
const MOST_ROWS_PER_BYTE: u64 = 1 << 13;

/// The object of a file. Its path is that of a URI: some characters are encoded in it.
pub(super) fn object(folder: &ObjectPath, path: &str) -> Result<ObjectPath> {
    let refuse = || {
        Error::config("read delta table", "a file of the table lies in a place that cannot be read here")
            .with("file", path.escape_debug())
    };
    if path.contains("://") || path.starts_with('/') {
        return Err(refuse());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.split_at_checked(2).filter(|(hex, _)| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let (hex, rest) = digits.ok_or_else(refuse)?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| refuse())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let path = String::from_utf8(bytes).map_err(|_| refuse())?;
    folder.join(&path).map_err(|e| refuse().with_source(e))
}

/// The path of an object, as the log has it.
pub(super) fn uri(name: &str) -> String {
    // Of the characters of names only this one means something in a URI.
    name.replace('%', "%25")
}

/// The rows of a file with the columns `wanted`, in their types: of partition columns the values that the log has, of columns that
/// the file does not have nulls. A row keeps its number.
pub(super) async fn rows(log: &Log, file: &Add, wanted: &SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let path = object(&log.folder, &file.path)?;
    let size = u64::try_from(file.size).unwrap_or_default();
    let reader = Reader { store: log.store.clone(), path: path.clone(), size };
    let most = size.saturating_mul(MOST_ROWS_PER_BYTE).max(stats::rows(file.stats.as_deref()).unwrap_or_default());
    let failed = {
        let path = path.clone();
        move |e: ParquetError| unreadable(e).with("file", &path)
    };
    let plan = |footer, reader| {
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, with_wide_times(footer)?);
        let names = wanted.fields().iter().map(|f| f.name()).filter(|name| !file.partition_values.contains_key(*name));
        let roots = names.filter_map(|name| member_of(builder.schema().fields(), name));
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Vec<_>>());
        Ok(builder.with_projection(mask))
    };
    let rows = fetch(reader, most, plan).await.map_err(&failed)?;
    let (wanted, file) = (Arc::clone(wanted), file.clone());
    let rows = rows.map(move |batch| {
        let batch = batch.map_err(&failed)?;
        guarded(|| complete(&batch, &wanted, &file).map_err(|e| e.with("file", &path)), &failed)
    });
    Ok(rows.boxed())
}

/// Times that are kept as 96 bits, as Spark does, are read as microseconds: nanoseconds would reach from 1677 to 2262 only, and wrap
/// around beyond without a word.
fn with_wide_times(footer: ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let leaves = footer.parquet_schema().columns();
    if !leaves.iter().any(|leaf| leaf.physical_type() == Type::INT96) {
        return Ok(footer);
    }
    let mut leaf = leaves.iter().map(|leaf| leaf.physical_type() == Type::INT96);
    let fields: Vec<_> = footer.schema().fields().iter().map(|field| wide(field, &mut leaf)).collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options)
}

/// A field in which the leaves that `is_96` says are microseconds. It tells of all leaves in their order.
fn wide(field: &FieldRef, is_96: &mut impl Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(members) => DataType::Struct(members.iter().map(|member| wide(member, is_96)).collect()),
        DataType::List(element) => DataType::List(wide(element, is_96)),
        DataType::LargeList(element) => DataType::LargeList(wide(element, is_96)),
        DataType::FixedSizeList(element, count) => DataType::FixedSizeList(wide(element, is_96), *count),
        DataType::Map(entry, sorted) => DataType::Map(wide(entry, is_96), *sorted),
        other => match is_96.next() {
            Some(true) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The columns of `wanted` that a file of `file` has, and those that the log tells.
fn complete(batch: &RecordBatch, wanted: &SchemaRef, file: &Add) -> Result<RecordBatch> {
    let broken = |e| Error::corrupt("read delta table", "a file does not fit the table").with_source(e);
    let rows = batch.num_rows();
    let columns = wanted.fields().iter().map(|field| {
        let held = member_of(batch.schema_ref().fields(), field.name()).map(|number| batch.column(number));
        let column: ArrayRef = match (file.partition_values.get(field.name()), held) {
            (Some(Some(text)), _) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))),
            (Some(None), _) | (None, None) => return Ok(new_null_array(field.data_type(), rows)),
            (None, Some(column)) => Arc::clone(column),
        };
        fit(&column, field.data_type()).map_err(|e| broken(e).with("column", field.name()))
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    let nullable: Vec<Field> = wanted.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    RecordBatch::try_new_with_options(Arc::new(Schema::new(nullable)), columns, &options).map_err(broken)
}

fn unreadable(error: ParquetError) -> Error {
    match error {
        // An error of the store comes through as it was.
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::corrupt("read delta table", "a file cannot be read").with_source(other),
        },
        other => Error::corrupt("read delta table", "a file cannot be read").with_source(other),
    }
}

struct Reader {
    store: Store,
    path: ObjectPath,
    size: u64,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            // A footer may tell of any place.
            let wanted = range.end.checked_sub(range.start).filter(|_| range.end <= self.size);
            let wanted = wanted.ok_or_else(|| ParquetError::EOF("the file has no such place".to_owned()))?;
            let bytes =
                self.store.get(&self.path, Some(range)).await.map_err(|e| ParquetError::External(Box::new(e)))?;
            match bytes {
                Some(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
                Some(_) => Err(ParquetError::EOF("the file is shorter than the log says".to_owned())),
                None => Err(ParquetError::General("the file is gone".to_owned())),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let size = self.size;
        async move { footer(self, size).await.map(Arc::new) }.boxed()
    }
}
