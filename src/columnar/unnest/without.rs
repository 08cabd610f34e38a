//! Rows without some of their columns, nested ones among them.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{Field, Schema};
use std::sync::Arc;

type Columns = Vec<(Arc<Field>, ArrayRef)>;

/// The rows without the columns at `paths`, which are there.
pub(super) fn columns(rows: &RecordBatch, paths: &[&str]) -> Result<RecordBatch> {
    let schema = rows.schema();
    let mut left: Columns = schema.fields().iter().cloned().zip(rows.columns().iter().cloned()).collect();
    for path in paths {
        left = match schema.field_with_name(path) {
            // A name may have dots.
            Ok(_) => left.into_iter().filter(|(field, _)| field.name() != path).collect(),
            Err(_) => remove(left, path)?,
        };
    }
    let (fields, columns): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    if columns.is_empty() {
        return Err(Error::config("unnest", "nothing is left of the rows without their lists")
            .with_hint("a parent has a column of its own: its key"));
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|e| Error::bug("unnest", "columns cannot be taken out").with_source(e))
}

/// Takes out the column at `path`, and a struct that has nothing else.
fn remove(columns: Columns, path: &str) -> Result<Columns> {
    let Some((name, rest)) = path.split_once('.') else {
        return Ok(columns.into_iter().filter(|(field, _)| field.name() != path).collect());
    };
    let mut left = Columns::new();
    for (field, column) in columns {
        let Some(parent) = column.as_struct_opt().filter(|_| field.name() == name) else {
            left.push((field, column));
            continue;
        };
        let inner = parent.fields().iter().cloned().zip(parent.columns().iter().cloned()).collect();
        let (fields, inner): (Vec<_>, Vec<_>) = remove(inner, rest)?.into_iter().unzip();
        if inner.is_empty() {
            continue;
        }
        let column = StructArray::try_new(fields.into(), inner, parent.nulls().cloned())
            .map_err(|e| Error::bug("unnest", "a struct cannot be made without a field").with_source(e))?;
        left.push((Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())), Arc::new(column)));
    }
    Ok(left)
}
