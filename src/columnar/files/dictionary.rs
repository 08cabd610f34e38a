//! For which columns a dictionary pays, told by the first rows of a file.
//!
//! The encoder builds a dictionary for each column until it is too large, and throws it away then: for keys, times and
//! amounts that costs more than their compression. From how many of `n` sampled values come again follows about how many
//! different ones there are in all (as with birthdays: `n² / 2` divided by the repeats).

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64;

/// Values of a column that are looked at.
const SAMPLE: usize = 4096;
/// Fewer values say nothing.
const FEWEST: usize = 256;

/// `properties` without dictionaries for columns in which they would not pay, judged by `first`.
pub(crate) fn choose(properties: &WriterProperties, first: &RecordBatch) -> WriterProperties {
    let mut leaves = Vec::new();
    for (field, column) in first.schema_ref().fields().iter().zip(first.columns()) {
        collect(vec![field.name().clone()], column, &mut leaves);
    }
    let rows = properties.max_row_group_row_count().unwrap_or(usize::MAX) as f64;
    let scale = rows / first.num_rows().max(1) as f64;
    let mut builder = properties.clone().into_builder();
    for (path, column) in leaves {
        let path = ColumnPath::new(path);
        let limit = properties.column_dictionary_page_size_limit(&path) as f64;
        if properties.dictionary_enabled(&path) && !pays(&column, scale, limit) {
            builder = builder.set_column_dictionary_enabled(path, false);
        }
    }
    builder.build()
}

/// The columns as Parquet has them, with their paths in a file.
fn collect(path: Vec<String>, column: &ArrayRef, leaves: &mut Vec<(Vec<String>, ArrayRef)>) {
    let below = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    match column.data_type() {
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                collect(below(field.name()), column, leaves);
            }
        }
        DataType::List(element) => {
            let path = [below("list"), vec![element.name().clone()]].concat();
            collect(path, column.as_list::<i32>().values(), leaves);
        }
        _ => leaves.push((path, ArrayRef::clone(column))),
    }
}

/// Whether a row group with `scale` times as many values has few different ones, which fit into `limit` bytes.
fn pays(column: &ArrayRef, scale: f64, limit: f64) -> bool {
    let mut seen = HashSet::new();
    let (mut values, mut bytes) = (0_usize, 0_usize);
    let mut take = |value: &[u8]| {
        values += 1;
        bytes += value.len();
        seen.insert(xxh3_64(value));
    };
    let rows = column.len().min(SAMPLE);
    let valid = (0..rows).filter(|row| column.is_valid(*row));
    let overhead = match column.data_type() {
        DataType::Utf8 => {
            let strings = column.as_string::<i32>();
            valid.for_each(|row| take(strings.value(row).as_bytes()));
            4
        }
        kind => {
            let data = column.to_data();
            let (Some(width), Some(buffer)) = (kind.primitive_width(), data.buffers().first()) else { return true };
            let start = data.offset();
            let at = |row: usize| buffer.get((start + row) * width..(start + row + 1) * width);
            valid.filter_map(at).for_each(&mut take);
            0
        }
    };
    if values < FEWEST {
        return true;
    }
    let (sampled, different) = (values as f64, seen.len() as f64);
    let in_group = sampled * scale * (column.len() as f64 / rows as f64);
    // Half a repeat where there is none: that many different ones are then likelier than fewer.
    let repeats = (sampled - different).max(0.5);
    let in_all = if repeats * 2.0 >= sampled { different } else { sampled * sampled / (2.0 * repeats) };
    let expected = in_all * (1.0 - (-in_group / in_all).exp());
    let width = bytes as f64 / sampled + f64::from(overhead);
    expected * width < limit && expected * 2.0 < in_group
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(values))
    }

    /// Numbers that look random, of so many different ones.
    fn drawn(different: u64) -> impl Iterator<Item = i64> {
        (0..1000u64).map(move |n| (xxh3_64(&n.to_le_bytes()) % different) as i64)
    }

    fn pays_for(column: &ArrayRef) -> bool {
        pays(column, 131_072.0 / column.len() as f64, f64::from(1 << 20))
    }

    #[test]
    fn a_dictionary_pays_where_values_repeat_and_fit() {
        for (different, expected) in [(1, true), (40, true), (900, true), (20_000, true), (10_000_000, false)] {
            assert_eq!(pays_for(&numbers(drawn(different))), expected, "{different}");
        }
        assert!(!pays_for(&numbers(0..1000)), "none comes again");
        assert!(pays_for(&numbers(0..200)), "too few to tell");
        let text = |different: u64, len: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(drawn(different).map(|n| format!("{n:0len$}"))))
        };
        assert!(pays_for(&text(5_000, 20)));
        assert!(!pays_for(&text(40_000, 60)), "larger than its limit");
    }

    #[test]
    fn nested_columns_have_their_paths_and_what_was_set_stays() {
        use arrow::array::{ListArray, StructArray};
        use arrow::buffer::OffsetBuffer;
        use arrow::datatypes::{Field, Schema};
        let price = Arc::new(Field::new("price", DataType::Int64, true));
        let element = StructArray::from(vec![(Arc::clone(&price), numbers(0..1000))]);
        let item = Arc::new(Field::new("item", element.data_type().clone(), true));
        let items = ListArray::new(item, OffsetBuffer::from_lengths([1; 1000]), Arc::new(element), None);
        let schema = Schema::new(vec![
            Field::new("items", items.data_type().clone(), true),
            Field::new("status", DataType::Int64, true),
            Field::new("set", DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![Arc::new(items), numbers(drawn(3)), numbers(drawn(3))];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).expect("fits");
        let set = ColumnPath::from("set");
        let properties = WriterProperties::builder().set_column_dictionary_enabled(set.clone(), false).build();
        let chosen = choose(&properties, &batch);
        let path = |names: &[&str]| ColumnPath::new(names.iter().map(|n| (*n).to_owned()).collect());
        assert!(!chosen.dictionary_enabled(&path(&["items", "list", "item", "price"])));
        assert!(chosen.dictionary_enabled(&path(&["status"])));
        assert!(!chosen.dictionary_enabled(&set));
    }
}
