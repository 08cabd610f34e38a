//! Parquet files that are read again. Others wrote them, or a disk has damaged them: on some such files the library panics, and
//! some give other rows than their footers tell of, or have [footers](super::footer), [pages](super::pages) and types for which there is no memory.
//! Here each of that is an error.

use super::footer;
use super::pages::Pages;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;
use std::convert::identity;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Rows that are decoded at a time.
pub(crate) const AT_ONCE: usize = 8192;
/// Bytes that they may take by their types alone, whether they are null or not.
const MOST_BYTES: u64 = 64 << 20;

/// The rows of a file that is in memory. Nothing follows an error.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
    count: Count,
}

impl Rows {
    /// Opens a file that has `most` rows at most. Of its columns those are read that `wanted` says, in types of Parquet, `at_once` rows at a time.
    ///
    /// # Errors
    /// If it is no Parquet, says that it has more rows, or asks for more memory than there is.
    #[cfg_attr(not(feature = "delta"), expect(dead_code, reason = "only a table has files that others wrote"))]
    pub(crate) fn open(
        bytes: Bytes,
        most: u64,
        at_once: usize,
        wanted: impl FnOnce(&SchemaDescriptor) -> ProjectionMask,
    ) -> Result<Self, ParquetError> {
        Self::with(ArrowReaderOptions::new().with_skip_arrow_metadata(true), bytes, most, at_once, wanted)
    }

    /// Opens a file to read all of its columns, in the types that its writer had: it says which, and may lie.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn whole(bytes: Bytes, most: u64) -> Result<Self, ParquetError> {
        Self::with(ArrowReaderOptions::new(), bytes, most, AT_ONCE, |_| ProjectionMask::all())
    }

    fn with(
        options: ArrowReaderOptions,
        bytes: Bytes,
        most: u64,
        at_once: usize,
        wanted: impl FnOnce(&SchemaDescriptor) -> ProjectionMask,
    ) -> Result<Self, ParquetError> {
        let open = || {
            footer::check_file(&bytes)?;
            let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)?;
            let count = Count::of(builder.metadata(), most)?;
            Pages::of(builder.metadata())?.check_all(&bytes)?;
            let (schema, wanted) = (Arc::clone(builder.schema()), wanted(builder.parquet_schema()));
            let at_once = rows_at_once(&schema, at_once)?;
            Ok(Self { schema, reader: builder.with_projection(wanted).with_batch_size(at_once).build()?, count })
        };
        guarded(open, identity)
    }

    /// The columns of the file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = &mut self.reader;
        let batch = guarded(|| Ok(reader.next().transpose()?), identity).transpose();
        self.count.check(batch)
    }
}

/// How many rows of a schema are decoded at a time: `most`, or fewer if they are wide. For a list or text of a fixed size the library makes room
/// though it is null.
///
/// # Errors
/// If there is no room for a single one.
pub(super) fn rows_at_once(schema: &Schema, most: usize) -> Result<usize, ParquetError> {
    let mut row = 0_u64;
    for field in schema.fields() {
        let width = width(field.data_type());
        if width > MOST_BYTES {
            let name = field.name();
            let why = format!("a value of the column {name:?} has {width} bytes, and can have {MOST_BYTES} at most");
            return Err(ParquetError::General(why));
        }
        row = row.saturating_add(width);
    }
    let fit = usize::try_from(MOST_BYTES / row.max(1)).unwrap_or(usize::MAX);
    Ok(most.min(fit.max(1)))
}

/// Bytes that each value of a type takes at least; some, of values that have no fixed size.
fn width(data_type: &DataType) -> u64 {
    let count = |number: i32| u64::try_from(number).unwrap_or(u64::MAX);
    match data_type {
        DataType::FixedSizeBinary(bytes) => count(*bytes),
        DataType::FixedSizeList(element, length) => count(*length).saturating_mul(width(element.data_type())),
        DataType::Struct(members) => members.iter().map(|m| width(m.data_type())).fold(0, u64::saturating_add),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::Map(element, _) => width(element.data_type()),
        other => other.primitive_width().unwrap_or(size_of::<u64>()) as u64,
    }
}

/// The rows that a file gives, beside those that its footer says.
#[derive(Debug)]
pub(super) struct Count {
    said: u64,
    given: u64,
    broken: bool,
}

impl Count {
    pub(super) fn of(footer: &ParquetMetaData, most: u64) -> Result<Self, ParquetError> {
        let groups = footer.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
        let said = groups.fold(0, u64::saturating_add);
        if said > most {
            let why = format!("the file says that it has {said} rows, and can have {most} at most");
            return Err(ParquetError::General(why));
        }
        Ok(Self { said, given: 0, broken: false })
    }

    /// What the file gives next, or that it has come to its end: an error once it has given more than was said, or less at the end. Nothing
    /// follows an error.
    pub(super) fn check(
        &mut self,
        batch: Option<Result<RecordBatch, ParquetError>>,
    ) -> Option<Result<RecordBatch, ParquetError>> {
        if self.broken {
            return None;
        }
        let ends = batch.is_none();
        if let Some(Ok(batch)) = &batch {
            self.given = self.given.saturating_add(batch.num_rows() as u64);
        }
        let wrong = self.given > self.said || ends && self.given < self.said;
        self.broken = wrong || matches!(batch, Some(Err(_)));
        if wrong {
            let why = format!("the file says that it has {} rows, and gives others: {}", self.said, self.given);
            return Some(Err(ParquetError::General(why)));
        }
        batch
    }
}

/// What `decode` gives, or `broken` of an error if it panics.
pub(crate) fn guarded<T, E>(
    decode: impl FnOnce() -> Result<T, E>,
    broken: impl FnOnce(ParquetError) -> E,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(broken(panicked())))
}

pub(super) fn panicked() -> ParquetError {
    ParquetError::General("the file cannot be decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use parquet::arrow::ArrowWriter;

    fn batch(rows: i64) -> RecordBatch {
        let ids: Int64Array = (0..rows).collect();
        RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).expect("fits")
    }

    fn file(rows: i64) -> Bytes {
        let mut file = ArrowWriter::try_new(Vec::new(), batch(rows).schema(), None).expect("a file");
        file.write(&batch(rows)).expect("writes");
        file.into_inner().expect("closes").into()
    }

    #[test]
    fn a_file_of_more_rows_than_it_can_have_is_not_opened() {
        let rows = |most: u64| {
            Ok::<_, ParquetError>(Rows::whole(file(3), most)?.map(|b| b.map(|b| b.num_rows())).collect::<Vec<_>>())
        };
        let given: usize = rows(3).expect("opens").into_iter().map(|rows| rows.expect("reads")).sum();
        assert_eq!(given, 3);
        let error = rows(2).expect_err("it has three").to_string();
        assert!(error.contains("says that it has 3 rows, and can have 2 at most"), "{error}");
    }

    #[test]
    fn a_file_that_gives_other_rows_than_it_says_is_an_error_once() {
        let mut count = Count { said: 3, given: 0, broken: false };
        assert!(count.check(Some(Ok(batch(2)))).is_some_and(|batch| batch.is_ok()));
        assert!(count.check(None).is_some_and(|batch| batch.is_err()), "one is not there");
        assert!(count.check(None).is_none());
        let mut count = Count { said: 3, given: 0, broken: false };
        assert!(count.check(Some(Ok(batch(4)))).is_some_and(|batch| batch.is_err()), "one too many");
        let mut count = Count { said: 3, given: 0, broken: false };
        assert!(count.check(Some(Ok(batch(3)))).is_some_and(|batch| batch.is_ok()));
        assert!(count.check(None).is_none());
        let mut count = Count { said: 3, given: 0, broken: false };
        assert!(count.check(Some(Err(panicked()))).is_some_and(|batch| batch.is_err()));
        assert!(count.check(Some(Ok(batch(1)))).is_none() && count.check(None).is_none(), "something follows an error");
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = guarded(|| -> Result<(), _> { panic!("at some byte") }, identity).expect_err("it panicked");
        assert!(error.to_string().contains("cannot be decoded"), "{error}");
    }
}
