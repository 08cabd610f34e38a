//! Columns by name, also nested ones.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::nullif;
use std::sync::Arc;

/// The column of that name, or the one that the names between the dots lead to: there a value is null where something
/// around it is.
pub(super) fn resolve(rows: &RecordBatch, path: &str) -> Result<ArrayRef> {
    if let Some(column) = rows.column_by_name(path) {
        return Ok(Arc::clone(column));
    }
    let mut names = path.split('.');
    let mut column = names.next().and_then(|name| rows.column_by_name(name)).cloned();
    let mut around: Option<NullBuffer> = None;
    for name in names {
        let parent = column.take();
        let parent: Option<&StructArray> = parent.as_ref().and_then(|c| c.as_struct_opt());
        if let Some(parent) = parent {
            around = NullBuffer::union(around.as_ref(), parent.nulls());
            column = parent.column_by_name(name).cloned();
        }
    }
    let column = column.ok_or_else(|| {
        let schema = rows.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        Error::config("find column", "there is no such column").with("column", path).with("columns", names.join(", "))
    })?;
    let Some(around) = around else { return Ok(column) };
    let hidden = BooleanArray::new(!around.inner(), None);
    nullif(&column, &hidden).map_err(|e| Error::bug("find column", "a nested column cannot be read").with_source(e))
}
