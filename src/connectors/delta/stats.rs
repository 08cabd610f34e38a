//! Statistics of a file for its `add` action: rows, and for each column the bounds and nulls that its footer tells.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics>

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::datatypes::{DataType, Date32Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// Columns that have statistics, as Delta's own writer has it: they go into the checkpoint.
const COLUMNS: usize = 32;

/// Days of the years 1 to 9999. Readers in Python cannot open a table at all whose bounds are others.
const READABLE_DAYS: RangeInclusive<i32> = -719_162..=2_932_896;

/// The statistics of a file with `schema`, as text.
pub(super) fn of(footer: &ParquetMetaData, schema: &Schema, rows: u64) -> String {
    let (mut mins, mut maxes, mut nulls) = (Map::new(), Map::new(), Map::new());
    let parquet = footer.file_metadata().schema_descr();
    for field in schema.fields().iter().take(COLUMNS) {
        // By its name: partition columns are not in the file, so those behind them have other places there.
        let leaf = parquet.columns().iter().position(|leaf| *leaf.path().parts() == [field.name().as_str()]);
        let (false, Some(leaf)) = (field.data_type().is_nested(), leaf) else { continue };
        let Ok(converter) = StatisticsConverter::from_column_index(leaf, field, parquet) else { continue };
        let groups = footer.row_groups();
        if let Ok(counts) = converter.row_group_null_counts(groups) {
            if counts.null_count() == 0 {
                nulls.insert(field.name().clone(), json!(total(&counts)));
            }
        }
        if !is_bounded(field.data_type()) {
            continue;
        }
        let (Ok(low), Ok(high)) = (converter.row_group_mins(groups), converter.row_group_maxes(groups)) else {
            continue;
        };
        if let (Some(low), Some(high)) = (extreme(&low, false), extreme(&high, true)) {
            mins.insert(field.name().clone(), low);
            maxes.insert(field.name().clone(), high);
        }
    }
    json!({ "numRecords": rows, "minValues": mins, "maxValues": maxes, "nullCount": nulls }).to_string()
}

/// Statistics that tell the number of rows, and nothing more.
pub(super) fn rows_only(rows: u64) -> String {
    json!({ "numRecords": rows }).to_string()
}

/// The number of rows that statistics tell of.
pub(super) fn rows(stats: Option<&str>) -> Option<u64> {
    serde_json::from_str::<Value>(stats?).ok()?.get("numRecords")?.as_u64()
}

/// What the statistics of a file say of its values. Other writers may have written them, and what is not a pair of bounds of the
/// type that is asked for says nothing.
#[derive(Debug)]
pub(super) struct Bounds(Value);

impl Bounds {
    pub(super) fn of(stats: Option<&str>) -> Self {
        Self(stats.and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default())
    }

    fn bound(&self, which: &str, column: &str) -> Option<&Value> {
        self.0.get(which)?.get(column)
    }

    /// The range of the whole numbers of a column; `None` if it is not known.
    pub(super) fn numbers(&self, column: &str) -> Option<RangeInclusive<i64>> {
        let range = self.bound("minValues", column)?.as_i64()?..=self.bound("maxValues", column)?.as_i64()?;
        (!range.is_empty()).then_some(range)
    }

    /// Whether a column may hold one of the texts from `first` to `last`.
    pub(super) fn may_hold(&self, column: &str, first: &str, last: &str) -> bool {
        let low = self.bound("minValues", column).and_then(Value::as_str);
        let high = self.bound("maxValues", column).and_then(Value::as_str);
        // Bounds are cut off at some length. To an upper one a last character is added then: old versions of Delta for Spark took one
        // that others are beyond, and some writers may add none. So what begins with it is not above it.
        let reaches = |high: &str| first <= high || first.starts_with(high.trim_end_matches('\u{fffd}'));
        let crossed = matches!((low, high), (Some(low), Some(high)) if low > high);
        crossed || low.is_none_or(|low| low <= last) && high.is_none_or(reaches)
    }
}

/// Types whose bounds have a text of their own that is exact. Floats have values without order.
fn is_bounded(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Utf8 | DataType::Date32
    )
}

fn total(counts: &UInt64Array) -> u64 {
    counts.values().iter().sum()
}

/// The smallest or largest of the bounds of row groups; nothing if one has none.
fn extreme(bounds: &ArrayRef, descending: bool) -> Option<Value> {
    if bounds.null_count() > 0 || bounds.is_empty() {
        return None;
    }
    let order = SortOptions { descending, nulls_first: false };
    let first = sort_to_indices(bounds, Some(order), Some(1)).ok()?;
    let row = usize::try_from(*first.values().first()?).ok()?;
    if let Some(text) = bounds.as_string_opt::<i32>() {
        return Some(json!(text.value(row)));
    }
    if bounds.as_primitive_opt::<Date32Type>().is_some_and(|days| !READABLE_DAYS.contains(&days.value(row))) {
        return None;
    }
    let options = FormatOptions::new();
    let shown = ArrayFormatter::try_new(bounds, &options).ok()?.value(row).try_to_string().ok()?;
    if bounds.data_type().is_integer() { Some(json!(shown.parse::<i64>().ok()?)) } else { Some(json!(shown)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Date32Array;
    use std::sync::Arc;

    #[test]
    fn bounds_that_few_readers_can_read_are_left_out() {
        let highest = |days: i32| extreme(&(Arc::new(Date32Array::from(vec![0, days])) as ArrayRef), true);
        assert_eq!(highest(2_932_896), Some(json!("9999-12-31")));
        assert_eq!(highest(2_932_897), None);
        assert_eq!(highest(i32::MAX), None);
        let lowest = |days: i32| extreme(&(Arc::new(Date32Array::from(vec![0, days])) as ArrayRef), false);
        assert_eq!(lowest(-719_162), Some(json!("0001-01-01")));
        assert_eq!(lowest(-719_163), None);
    }

    #[test]
    fn an_upper_bound_that_was_cut_is_no_lower_than_what_it_was_cut_from() {
        let holds = |low: &str, high: &str, first: &str| {
            let stats = json!({ "minValues": { "a": low }, "maxValues": { "a": high } }).to_string();
            Bounds::of(Some(&stats)).may_hold("a", first, "z")
        };
        assert!(holds("ab", "ab", "abc"), "nothing was added");
        assert!(holds("ab", "ab\u{fffd}", "ab\u{1f600}"), "an added character that others are beyond");
        assert!(holds("ab", "ab\u{7f}", "abc"));
        assert!(!holds("ab", "ab", "ac") && !holds("ab", "ab\u{fffd}", "ac"));
    }

    #[test]
    fn what_cannot_be_bounds_says_nothing() {
        let of = |low: Value, high: Value| {
            Bounds::of(Some(&json!({ "minValues": { "a": low }, "maxValues": { "a": high } }).to_string()))
        };
        assert_eq!(of(json!(1), json!(3)).numbers("a"), Some(1..=3));
        for (low, high) in [
            (json!(3), json!(1)),
            (json!(null), json!(1)),
            (json!("1"), json!("3")),
            (json!(1.0), json!(3)),
            (json!(1), json!(u64::MAX)),
            (json!({ "a": 1 }), json!([1])),
        ] {
            assert_eq!(of(low.clone(), high.clone()).numbers("a"), None, "{low} {high}");
        }
        assert!(of(json!("z"), json!("a")).may_hold("a", "b", "c"), "they are crossed");
        assert!(of(json!(1), json!(3)).may_hold("a", "b", "c"), "of another type");
        assert!(
            of(json!("x"), json!(null)).may_hold("a", "y", "y") && !of(json!("x"), json!(null)).may_hold("a", "b", "c")
        );
        for stats in [None, Some(""), Some("[]"), Some("{\"minValues\":7}"), Some("NaN")] {
            assert!(Bounds::of(stats).may_hold("a", "b", "c") && Bounds::of(stats).numbers("a").is_none(), "{stats:?}");
        }
    }
}
