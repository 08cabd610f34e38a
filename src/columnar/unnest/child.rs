use super::list::Elements;
use crate::columnar::Batch;
use crate::error::{Error, Result};
use crate::sink::Children;
use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, UInt32Array};
use arrow::compute::{is_null, nullif, take};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A list of each record, as the rows of a table: see [`Unnest`](super::Unnest).
#[derive(Clone, Debug)]
pub struct UnnestChild {
    path: String,
    copies: Vec<(String, String)>,
    index: String,
    value: String,
    markers: bool,
    children: Vec<(Arc<str>, Self)>,
}

impl UnnestChild {
    /// Of the list in this column: a name, or names that lead into nested columns, with dots between them.
    pub fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            copies: Vec::new(),
            index: Children::INDEX.to_owned(),
            value: "value".to_owned(),
            markers: true,
            children: Vec::new(),
        }
    }

    /// Gives each row the value of this column of its parent, as column `name`. The parent's key must be among them.
    #[must_use]
    pub fn copy(mut self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.copies.push((column.into(), name.into()));
        self
    }

    /// Names the column of the place in the list. `_index` by default.
    #[must_use]
    pub fn index(self, name: impl Into<String>) -> Self {
        Self { index: name.into(), ..self }
    }

    /// Names the column of the values of a list that holds no structs. `value` by default.
    #[must_use]
    pub fn value(self, name: impl Into<String>) -> Self {
        Self { value: name.into(), ..self }
    }

    /// Gives no row for a record without elements. A table with the disposition [`Children`] then keeps the rows that it has for
    /// such a parent: leave them out for tables that only grow.
    #[must_use]
    pub fn without_markers(self) -> Self {
        Self { markers: false, ..self }
    }

    /// Makes a list of each row the rows of table `table`. What it copies are columns of these rows: copied ones and the index
    /// among them.
    #[must_use]
    pub fn child(mut self, table: impl Into<Arc<str>>, child: Self) -> Self {
        self.children.push((table.into(), child));
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn children(&self) -> &[(Arc<str>, Self)] {
        &self.children
    }

    pub(super) fn described(&self, children: BTreeMap<String, Value>) -> Value {
        let Self { path, copies, index, value, markers, .. } = self;
        json!({
            "path": path,
            "copies": copies,
            "index": index,
            "value": value,
            "markers": markers,
            "children": children,
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.path.is_empty() {
            return Err(Error::config("configure unnest", "a list has no name"));
        }
        if self.copies.is_empty() {
            return Err(Error::config("configure unnest", "nothing tells whose children the rows are")
                .with_hint("copy the parent's key, as in `.copy(\"id\", \"order_id\")`"));
        }
        let mut seen = HashSet::new();
        let names = self.copies.iter().map(|(_, name)| name).chain([&self.index]);
        match names.into_iter().find(|name| name.is_empty() || !seen.insert(*name)) {
            Some(name) => Err(collision(name)),
            None => Ok(()),
        }
    }

    /// The rows of the child's table, its own lists among their columns.
    pub(super) fn rows(&self, batch: &Batch) -> Result<Batch> {
        let list = batch.column(&self.path)?;
        let Elements { parents, values, index } = Elements::of(&list, self.markers)?;
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (column, name) in &self.copies {
            let column = batch.column(column)?;
            fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
            columns.push(column);
        }
        let schema = Arc::new(Schema::new(fields.clone()));
        let copied = RecordBatch::try_new(schema, columns).map_err(failed)?;
        let copied = batch.with_rows(copied)?.take(&parents)?;
        let mut columns = copied.rows().columns().to_vec();
        fields.push(Arc::new(Field::new(&self.index, DataType::Int64, true)));
        columns.push(Arc::new(index));
        for (field, column) in self.of_elements(&list, &values)? {
            fields.push(field);
            columns.push(column);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = fields.iter().find(|field| !seen.insert(field.name())) {
            return Err(collision(twice.name()));
        }
        let schema = Arc::new(Schema::new(fields));
        copied.with_rows(RecordBatch::try_new(schema, columns).map_err(failed)?)
    }

    /// The columns that the elements of the list become; `values` says which element each row is.
    fn of_elements(&self, list: &ArrayRef, values: &UInt32Array) -> Result<Vec<(Arc<Field>, ArrayRef)>> {
        let Some(elements) = Elements::values(list)? else {
            // Null in every record: nothing is known of its elements.
            return Ok(Vec::new());
        };
        let Some(structs) = elements.as_any().downcast_ref::<StructArray>() else {
            let column = take(&elements, values, None).map_err(failed)?;
            return Ok(vec![(Arc::new(Field::new(&self.value, column.data_type().clone(), true)), column)]);
        };
        let hidden = match structs.null_count() {
            0 => None,
            _ => Some(is_null(structs).map_err(failed)?),
        };
        let columns = structs.fields().iter().zip(structs.columns()).map(|(field, column)| {
            let column = match &hidden {
                // What lies under a null is no value.
                Some(hidden) => nullif(column, hidden).map_err(failed)?,
                None => Arc::clone(column),
            };
            let column = take(&column, values, None).map_err(failed)?;
            Ok((Arc::new(field.as_ref().clone().with_nullable(true)), column))
        });
        columns.collect()
    }
}

fn collision(name: &str) -> Error {
    Error::config("unnest", "a column of a child table has no name, or that of another one")
        .with("column", name)
        .with_hint("copy the parent's column under another name, or name the index or the value differently")
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::bug("unnest", "rows of a child table cannot be made").with_source(error)
}
