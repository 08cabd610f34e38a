//! What is known of the keys that an epoch brings, by which files of the table are skipped.

use super::actions::Add;
use super::stats::Bounds;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
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
        let bounds = Bounds::of(file.stats.as_deref());
        key.iter().all(|name| match file.partition_values.get(name) {
            // No key has a null.
            Some(None) => false,
            Some(Some(value)) => self.may_be(name, value),
            None => self.may_be_within(name, &bounds),
        })
    }

    /// Whether one of the keys may have the value of a partition.
    fn may_be(&self, name: &str, value: &str) -> bool {
        match (self.numbers.get(name), self.texts.get(name)) {
            (Some(numbers), _) => value.parse().map_or(true, |value| numbers.contains(&value)),
            (_, Some((first, last))) => (first.as_str()..=last.as_str()).contains(&value),
            _ => true,
        }
    }

    /// Whether one of the keys may have a value within the bounds of a file.
    fn may_be_within(&self, name: &str, bounds: &Bounds) -> bool {
        match (self.numbers.get(name), self.texts.get(name)) {
            (Some(numbers), _) => bounds.numbers(name).is_none_or(|range| numbers.range(range).next().is_some()),
            (_, Some((first, last))) => bounds.may_hold(name, first, last),
            _ => true,
        }
    }
}
