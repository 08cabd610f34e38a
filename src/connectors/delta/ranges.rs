//! What is known of the keys that an epoch brings, by which files of the table are skipped.

use super::actions::Add;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Of key columns the values that occur: all numbers, and the range of texts.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    numbers: HashMap<String, BTreeSet<i64>>,
    texts: HashMap<String, (String, String)>,
}

impl Ranges {
    /// Takes note of the values of columns.
    pub(super) fn note(&mut self, names: &[String], columns: &[ArrayRef]) {
        for (name, column) in names.iter().zip(columns) {
            self.note_one(name, column);
        }
    }

    fn note_one(&mut self, name: &str, column: &ArrayRef) {
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

    /// Whether a file of the table may hold a row of one of the keys, by its partition and its statistics.
    pub(super) fn may_be_in(&self, file: &Add, key: &[String]) -> bool {
        let stats: Value = file.stats.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
        let bound = |which: &str, name: &str| stats.get(which).and_then(|bounds| bounds.get(name)).cloned();
        key.iter().all(|name| {
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
}
