//! The keys of an epoch in memory, and which row of each wins: within the epoch, and against those in the table.

use super::actions::Add;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use serde_json::Value;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
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
        let mut names: Vec<&str> = Vec::new();
        named.for_each(|name| {
            if !names.contains(&name) {
                names.push(name)
            }
        });
        let field = |name: &str| {
            table.field_with_name(name).cloned().map_err(|e| {
                Error::config("merge delta", "the table has no column that the disposition names")
                    .with("column", name)
                    .with_source(e)
            })
        };
        let fields = names.iter().map(|name| field(name)).collect::<Result<Vec<_>>>()?;
        let sort = |name: &String| Ok(SortField::new(field(name)?.data_type().clone()));
        let converter = |fields: Vec<SortField>| {
            RowConverter::new(fields)
                .map_err(|e| Error::config("merge delta", "rows cannot be told apart by these columns").with_source(e))
        };
        let keys = converter(rule.key.iter().map(sort).collect::<Result<_>>()?)?;
        let versions = rule.newest.as_ref().map(|name| converter(vec![sort(name)?])).transpose()?;
        Ok(Self { columns: Arc::new(Schema::new(fields)), rule: rule.clone(), keys, versions })
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
        converter
            .convert_columns(columns)
            .map_err(|e| Error::bug("merge delta", "keys cannot be compared").with_source(e))
    }

    fn keys_of(&self, batch: &RecordBatch) -> Result<(Rows, Vec<ArrayRef>)> {
        let columns = Self::columns_of(batch, &self.rule.key)?;
        Ok((Self::convert(&self.keys, &columns)?, columns))
    }

    fn versions_of(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        match (&self.versions, &self.rule.newest) {
            (Some(converter), Some(name)) => {
                Self::convert(converter, &Self::columns_of(batch, std::slice::from_ref(name))?).map(Some)
            }
            _ => Ok(None),
        }
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
    /// Of key columns the values that occur, by which files are skipped: all numbers, and the range of texts.
    numbers: HashMap<String, BTreeSet<i64>>,
    texts: HashMap<String, (String, String)>,
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
        for (name, column) in keyed.rule.key.iter().zip(&columns) {
            self.note(name, column);
        }
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

    fn note(&mut self, name: &str, column: &ArrayRef) {
        if column.data_type().is_integer() {
            let Ok(column) = arrow::compute::cast(column, &DataType::Int64) else { return };
            self.numbers
                .entry(name.to_owned())
                .or_default()
                .extend(column.as_primitive::<Int64Type>().iter().flatten());
        } else if let Some(column) = column.as_string_opt::<i32>() {
            for text in column.iter().flatten() {
                match self.texts.get_mut(name) {
                    None => {
                        self.texts.insert(name.to_owned(), (text.to_owned(), text.to_owned()));
                    }
                    Some((low, _)) if text < low.as_str() => *low = text.to_owned(),
                    Some((_, high)) if text > high.as_str() => *high = text.to_owned(),
                    Some(_) => {}
                }
            }
        }
    }

    pub(super) fn seal(&mut self) {
        self.winners.shrink_to_fit();
    }

    /// Whether a file of the table may hold a row of one of the keys, by its partition and its statistics.
    pub(super) fn may_be_in(&self, file: &Add, keyed: &Keyed) -> bool {
        let stats: Value = file.stats.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
        let bound = |which: &str, name: &str| stats.get(which).and_then(|bounds| bounds.get(name)).cloned();
        keyed.rule.key.iter().all(|name| {
            let (low, high) = match file.partition_values.get(name) {
                Some(None) => return false,
                Some(Some(value)) => {
                    let value = value.parse::<i64>().map_or_else(|_| Value::from(value.as_str()), Value::from);
                    (Some(value.clone()), Some(value))
                }
                None => (bound("minValues", name), bound("maxValues", name)),
            };
            let (Some(low), Some(high)) = (low, high) else { return true };
            if let (Some(numbers), Some(low), Some(high)) = (self.numbers.get(name), low.as_i64(), high.as_i64()) {
                return low <= high && numbers.range(low..=high).next().is_some();
            }
            match (self.texts.get(name), low.as_str(), high.as_str()) {
                (Some((first, last)), Some(low), Some(high)) => low <= last.as_str() && first.as_str() <= high,
                _ => true,
            }
        })
    }

    /// Says of rows of the table which of them stay, and adds the keys whose row in the epoch they beat.
    pub(super) fn meet(
        &self,
        keyed: &Keyed,
        batch: &RecordBatch,
        stay: &mut Vec<bool>,
        lost: &mut Vec<Box<[u8]>>,
    ) -> Result<()> {
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
            } else {
                stay.push(true);
                lost.push(key.as_ref().into());
            }
        }
        Ok(())
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

/// Whether a value says that its row is deleted: `true`, or any value that is no bool.
fn is_set(column: &ArrayRef, row: usize) -> bool {
    column.is_valid(row) && column.as_boolean_opt().is_none_or(|column| column.value(row))
}
