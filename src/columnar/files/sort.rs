//! The rows of a file in the order of some columns: as many at a time as fit into memory (a run), each run in row groups of its own.

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::SortingColumn;
use std::sync::Arc;

/// Rows that are put together at a time.
const AT_ONCE: usize = 8192;

/// By which columns of a file its rows are sorted: ascending, nulls first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    columns: Vec<usize>,
    /// The same for the footer of the file.
    pub(crate) footer: Vec<SortingColumn>,
}

impl Order {
    /// # Errors
    /// `Config` if there is no such column in the files, or it is of a type whose order readers do not agree upon.
    pub(crate) fn new(files: &Schema, names: &[String]) -> Result<Self> {
        let refuse = |message: &'static str, name: &str| Err(Error::config("sort rows", message).with("column", name));
        let stored = ArrowSchemaConverter::new()
            .convert(files)
            .map_err(|e| Error::data("sort rows", "the columns have no place in Parquet").with_source(e))?;
        let mut order = Self::default();
        for name in names {
            let Some((index, field)) = files.column_with_name(name) else {
                return refuse("there is no such column in the files to sort by", name);
            };
            let leaf = stored.columns().iter().position(|leaf| leaf.path().parts() == std::slice::from_ref(name));
            let (true, Some(leaf)) = (is_ordered(field.data_type()), leaf) else {
                return refuse("rows cannot be sorted by nested columns or floating-point numbers", name);
            };
            order.columns.push(index);
            let leaf = i32::try_from(leaf).unwrap_or(i32::MAX);
            order.footer.push(SortingColumn { column_idx: leaf, descending: false, nulls_first: true });
        }
        Ok(order)
    }
}

/// Readers differ in where NaN stands.
fn is_ordered(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_ordered(values),
        DataType::Null | DataType::Interval(_) | DataType::RunEndEncoded(..) | DataType::Union(..) => false,
        plain => !plain.is_nested() && !plain.is_floating(),
    }
}

/// Rows that wait until they are sorted, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Run {
    order: Arc<Order>,
    batches: Vec<RecordBatch>,
    /// Their memory in bytes.
    pub(crate) held: usize,
}

impl Run {
    pub(crate) fn new(order: &Arc<Order>) -> Self {
        Self { order: Arc::clone(order), batches: Vec::new(), held: 0 }
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        // A batch may be a part of a larger one, which is not its own.
        let size = |column: &Arc<dyn arrow::array::Array>| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        };
        self.held += batch.columns().iter().map(size).sum::<usize>();
        self.batches.push(batch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The rows in their order, a part at a time; equal ones as they came.
    pub(crate) fn sorted(
        &mut self,
        mut write: impl FnMut(RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<(), ArrowError> {
        let batches = std::mem::take(&mut self.batches);
        self.held = 0;
        let Some(first) = batches.first() else { return Ok(()) };
        let fields = self.order.columns.iter().map(|at| SortField::new(first.column(*at).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let mut keys = converter.empty_rows(0, 0);
        let mut places = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let columns: Vec<_> = self.order.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
            converter.append(&mut keys, &columns)?;
            places.extend((0..batch.num_rows()).map(|row| (number, row)));
        }
        let mut numbers: Vec<usize> = (0..places.len()).collect();
        numbers.sort_by(|a, b| keys.row(*a).cmp(&keys.row(*b)));
        drop(keys);
        let batches: Vec<_> = batches.iter().collect();
        for part in numbers.chunks(AT_ONCE) {
            let part: Vec<_> = part.iter().filter_map(|number| places.get(*number).copied()).collect();
            write(interleave_record_batch(&batches, &part)?)?;
        }
        Ok(())
    }
}
