//! The keys of an epoch in memory, and which row of each wins: within the epoch, and against those in the table.

use super::actions::Add;
use super::ranges::Ranges;
use super::schema;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How rows of one key are told apart.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: Vec<String>,
    pub(super) newest: Option<String>,
    pub(super) deleted: Option<String>,
    /// The first row of a key stays, and no later one changes it.
    pub(super) first_stays: bool,
}

/// A rule on the columns of a table.
#[derive(Debug)]
pub(super) struct Keyed {
    /// The columns that must be read.
    pub(super) columns: SchemaRef,
    rule: Rule,
    keys: RowConverter,
    versions: Option<RowConverter>,
}

impl Keyed {
    pub(super) fn new(rule: &Rule, table: &Schema) -> Result<Self> {
        let named = rule.key.iter().chain(&rule.newest).chain(&rule.deleted).map(String::as_str);
        let columns = schema::pick(table, named)?;
        let sort = |name: &String| {
            let field = columns.field_with_name(name);
            field.map(|field| SortField::new(field.data_type().clone())).map_err(incomparable)
        };
        let converter =
            |names: &[String]| RowConverter::new(names.iter().map(sort).collect::<Result<_>>()?).map_err(incomparable);
        let keys = converter(&rule.key)?;
        let versions = rule.newest.as_ref().map(|name| converter(std::slice::from_ref(name))).transpose()?;
        Ok(Self { columns, rule: rule.clone(), keys, versions })
    }

    /// Keys alone.
    pub(super) fn by(key: &[String], table: &Schema) -> Result<Self> {
        Self::new(&Rule { key: key.to_vec(), newest: None, deleted: None, first_stays: false }, table)
    }

    pub(super) fn key(&self) -> &[String] {
        &self.rule.key
    }

    fn columns_of(batch: &RecordBatch, names: &[String]) -> Result<Vec<ArrayRef>> {
        let column = |name: &String| {
            batch
                .column_by_name(name)
                .cloned()
                .ok_or_else(|| Error::bug("merge delta", "a column was not read").with("column", name))
        };
        names.iter().map(column).collect()
    }

    fn convert(converter: &RowConverter, columns: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<_> = columns.iter().map(as_sql_compares).collect();
        converter
            .convert_columns(&columns)
            .map_err(|e| Error::bug("merge delta", "keys cannot be compared").with_source(e))
    }

    /// The keys of rows, as bytes that are equal if they are; and their columns.
    pub(super) fn keys_of(&self, batch: &RecordBatch) -> Result<(Rows, Vec<ArrayRef>)> {
        let columns = Self::columns_of(batch, &self.rule.key)?;
        Ok((Self::convert(&self.keys, &columns)?, columns))
    }

    pub(super) fn versions_of(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        match (&self.versions, &self.rule.newest) {
            (Some(converter), Some(name)) => {
                Self::convert(converter, &Self::columns_of(batch, std::slice::from_ref(name))?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// SQL has one zero, and one value that is no number; in bytes there are two, and many.
fn as_sql_compares(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(column),
    }
}

/// The row of a key that wins within the epoch.
#[derive(Debug)]
struct Winner {
    version: Box<[u8]>,
    file: usize,
    row: usize,
    deleted: bool,
}

#[derive(Debug, Default)]
pub(super) struct EpochKeys {
    winners: HashMap<Box<[u8]>, Winner>,
    ranges: Ranges,
}

impl EpochKeys {
    /// Adds rows of the epoch, in the order in which they were landed.
    pub(super) fn add(&mut self, keyed: &Keyed, file: usize, first: usize, batch: &RecordBatch) -> Result<()> {
        let (keys, columns) = keyed.keys_of(batch)?;
        let versions = keyed.versions_of(batch)?;
        let deleted = match &keyed.rule.deleted {
            Some(name) => Keyed::columns_of(batch, std::slice::from_ref(name))?.pop(),
            None => None,
        };
        self.ranges.note(keyed.key(), &columns);
        for (row, key) in keys.iter().enumerate() {
            let version = versions.as_ref().map(|v| v.row(row));
            let winner = || Winner {
                version: version.as_ref().map_or_else(Box::default, |v| v.as_ref().into()),
                file,
                row: first + row,
                deleted: deleted.as_ref().is_some_and(|column| is_set(column, row)),
            };
            match self.winners.entry(key.as_ref().into()) {
                Entry::Vacant(entry) => {
                    entry.insert(winner());
                }
                Entry::Occupied(mut entry) => {
                    let newer = version.as_ref().is_none_or(|v| v.as_ref() >= &*entry.get().version);
                    if newer && !keyed.rule.first_stays {
                        entry.insert(winner());
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn seal(&mut self) {
        self.winners.shrink_to_fit();
    }

    /// Whether a file of the table may hold a row of one of the keys.
    pub(super) fn may_be_in(&self, file: &Add, keyed: &Keyed) -> bool {
        self.ranges.may_be_in(file, keyed.key())
    }

    /// Says of rows of the table which of them stay, and adds the keys whose row in the epoch they beat. Gives how many rows another one
    /// takes the place of, and how many go for good.
    pub(super) fn meet(
        &self,
        keyed: &Keyed,
        batch: &RecordBatch,
        stay: &mut Vec<bool>,
        lost: &mut Vec<Box<[u8]>>,
    ) -> Result<(u64, u64)> {
        let (mut updated, mut deleted) = (0, 0);
        let (keys, _) = keyed.keys_of(batch)?;
        let versions = keyed.versions_of(batch)?;
        for (row, key) in keys.iter().enumerate() {
            let Some(winner) = self.winners.get(key.as_ref()) else {
                stay.push(true);
                continue;
            };
            let newer = versions.as_ref().is_none_or(|v| &*winner.version >= v.row(row).as_ref());
            if newer && !keyed.rule.first_stays {
                stay.push(false);
                *(if winner.deleted { &mut deleted } else { &mut updated }) += 1;
            } else {
                stay.push(true);
                lost.push(key.as_ref().into());
            }
        }
        Ok((updated, deleted))
    }

    /// The rows of each file of the epoch, which has so many, that go into the table.
    pub(super) fn winners(&self, rows: &[u64], lost: &HashSet<&[u8]>) -> Vec<BooleanArray> {
        let mut masks: Vec<Vec<bool>> =
            rows.iter().map(|n| vec![false; usize::try_from(*n).unwrap_or_default()]).collect();
        for (key, winner) in &self.winners {
            if winner.deleted || lost.contains(&**key) {
                continue;
            }
            if let Some(bit) = masks.get_mut(winner.file).and_then(|mask| mask.get_mut(winner.row)) {
                *bit = true;
            }
        }
        masks.into_iter().map(BooleanArray::from).collect()
    }
}

fn incomparable(error: arrow::error::ArrowError) -> Error {
    Error::config("merge delta", "rows cannot be told apart by these columns").with_source(error)
}

/// Whether a value says that its row is deleted: `true`, or any value that is no bool.
pub(super) fn is_set(column: &ArrayRef, row: usize) -> bool {
    column.is_valid(row) && column.as_boolean_opt().is_none_or(|column| column.value(row))
}
