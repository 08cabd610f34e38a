//! A hash of the values of a row, by which versions of it are told apart. It is kept in the table, so its bytes never change:
//! docs/formats.md, "Columns of a Delta table".

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, ToByteSlice,
};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Appends the bytes of the value of a row, which is not null.
type Put = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// The hash of each row, over the columns `names`: XXH3-128 in hexadecimal digits.
pub(super) fn of(rows: &RecordBatch, names: &[String]) -> Result<StringArray> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    let column = |name: &&String| {
        let column = rows.column_by_name(name);
        let column = column.ok_or_else(|| Error::bug("hash rows", "a column is missing").with("column", *name))?;
        Ok((member(name), tells(column), put(column)?))
    };
    let columns = names.iter().map(column).collect::<Result<Vec<_>>>()?;
    let mut bytes = Vec::new();
    let hash = |row| {
        let mut hash = Xxh3::new();
        // A column that is null or absent says nothing, so that a new one makes no new version of every row.
        for (name, _, put) in columns.iter().filter(|(_, tells, _)| tells(row)) {
            bytes.clear();
            put(row, &mut bytes);
            hash.update(name);
            hash.update(&bytes);
        }
        format!("{:032x}", hash.digest128())
    };
    Ok(StringArray::from_iter_values((0..rows.num_rows()).map(hash)))
}

/// Whether the value of a row says anything. Empty lists and maps, and structs of nothing, do not: they may have been left out of the table
/// until they had a type.
fn tells(column: &ArrayRef) -> Box<dyn Fn(usize) -> bool> {
    let nulls = column.logical_nulls();
    let is_valid = move |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let filled = |offsets: &[i32], row: usize| {
        let (from, until) = span(offsets, row);
        until > from
    };
    match column.data_type() {
        DataType::List(_) => {
            let column = column.as_list::<i32>().clone();
            Box::new(move |row| is_valid(row) && filled(column.value_offsets(), row))
        }
        DataType::Map(..) => {
            let column = column.as_map().clone();
            Box::new(move |row| is_valid(row) && filled(column.value_offsets(), row))
        }
        DataType::Struct(_) => {
            let members: Vec<_> = column.as_struct().columns().iter().map(tells).collect();
            Box::new(move |row| is_valid(row) && members.iter().any(|tells| tells(row)))
        }
        _ => Box::new(is_valid),
    }
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes()
}

fn member(name: &str) -> Vec<u8> {
    [&length(name.len()), name.as_bytes()].concat()
}

/// Numbers and times are the bytes of the type, the lowest first; texts, bytes and lists begin with their length.
fn put(column: &ArrayRef) -> Result<Put> {
    Ok(match column.data_type() {
        DataType::Boolean => {
            let column = column.as_boolean().clone();
            Box::new(move |row, to| to.push(u8::from(column.value(row))))
        }
        DataType::Int8 => number::<Int8Type>(column),
        DataType::Int16 => number::<Int16Type>(column),
        DataType::Int32 => number::<Int32Type>(column),
        DataType::Int64 => number::<Int64Type>(column),
        DataType::Float32 => number::<Float32Type>(column),
        DataType::Float64 => number::<Float64Type>(column),
        DataType::Date32 => number::<Date32Type>(column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => number::<TimestampMicrosecondType>(column),
        DataType::Decimal128(..) => number::<Decimal128Type>(column),
        DataType::Utf8 => {
            let column = column.as_string::<i32>().clone();
            Box::new(move |row, to| to.extend(member(column.value(row))))
        }
        DataType::Binary => {
            let column = column.as_binary::<i32>().clone();
            Box::new(move |row, to| {
                let value = column.value(row);
                to.extend(length(value.len()));
                to.extend_from_slice(value);
            })
        }
        DataType::List(_) => {
            let column = column.as_list::<i32>().clone();
            let (values, value) = (Arc::clone(column.values()), put(column.values())?);
            Box::new(move |row, to| {
                let (from, until) = span(column.value_offsets(), row);
                to.extend(length(until - from));
                for element in from..until {
                    to.push(u8::from(values.is_valid(element)));
                    if values.is_valid(element) {
                        value(element, to);
                    }
                }
            })
        }
        DataType::Struct(fields) => {
            let column = column.as_struct().clone();
            let mut members = fields.iter().zip(column.columns()).collect::<Vec<_>>();
            members.sort_by_key(|(field, _)| field.name());
            let members =
                members.into_iter().map(|(field, column)| Ok((member(field.name()), tells(column), put(column)?)));
            let members = members.collect::<Result<Vec<_>>>()?;
            Box::new(move |row, to| {
                for (name, _, value) in members.iter().filter(|(_, tells, _)| tells(row)) {
                    to.extend_from_slice(name);
                    value(row, to);
                }
                to.extend([u8::MAX; 4]);
            })
        }
        DataType::Map(..) => {
            let column = column.as_map().clone();
            let (keys, values) = (put(column.keys())?, put(column.values())?);
            Box::new(move |row, to| {
                let (from, until) = span(column.value_offsets(), row);
                let pair = |entry| {
                    let mut pair = Vec::new();
                    keys(entry, &mut pair);
                    pair.push(u8::from(column.values().is_valid(entry)));
                    if column.values().is_valid(entry) {
                        values(entry, &mut pair);
                    }
                    pair
                };
                // The order of entries means nothing.
                let mut pairs: Vec<_> = (from..until).map(pair).collect();
                pairs.sort();
                to.extend(length(pairs.len()));
                to.extend(pairs.concat());
            })
        }
        other => return Err(Error::bug("hash rows", "a column of a type that is not stored").with("type", other)),
    })
}

fn number<T: ArrowPrimitiveType>(column: &ArrayRef) -> Put {
    let column = column.as_primitive::<T>().clone();
    Box::new(move |row, to| {
        let (value, first) = (column.value(row), to.len());
        to.extend_from_slice(value.to_byte_slice());
        if cfg!(target_endian = "big") {
            to.get_mut(first..).into_iter().for_each(<[u8]>::reverse);
        }
    })
}

fn span(offsets: &[i32], row: usize) -> (usize, usize) {
    let at = |n: usize| offsets.get(n).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default();
    (at(row), at(row + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Int64Array, ListArray, MapBuilder, StringBuilder, StructArray};
    use arrow::datatypes::Field;

    fn hashes(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let names: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)));
        of(&rows.expect("fits"), &names).expect("known").iter().flatten().map(str::to_owned).collect()
    }

    #[test]
    fn the_hash_of_a_row_is_what_it_was_when_it_was_first_kept() {
        let map = |pairs: &[(&str, &str)]| {
            let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
            for (key, value) in pairs {
                map.keys().append_value(key);
                map.values().append_value(value);
            }
            map.append(true).expect("fits");
            Arc::new(map.finish()) as ArrayRef
        };
        let row = |map: ArrayRef| -> Vec<(&str, ArrayRef)> {
            let n: ArrayRef = Arc::new(Int64Array::from(vec![-2]));
            let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
            let group = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&n))]);
            let text: ArrayRef = Arc::new(StringArray::from(vec!["ü"]));
            let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
            vec![
                ("n", n),
                ("text", text),
                ("flag", flag),
                ("list", Arc::new(list)),
                ("group", Arc::new(group)),
                ("map", map),
            ]
        };
        let kept = hashes(row(map(&[("a", "1"), ("b", "2")])));
        assert_eq!(kept, ["fe77760e50b534f5852e233fe5234e7a"]);
        assert_eq!(hashes(row(map(&[("b", "2"), ("a", "1")]))), kept, "the order of a map means nothing");
        let mut more = row(map(&[("a", "1"), ("b", "2")]));
        more.insert(0, ("added", Arc::new(StringArray::from(vec![None::<&str>]))));
        assert_eq!(hashes(more), kept, "a column that is null says nothing");
    }

    #[test]
    fn what_was_left_out_until_it_had_a_type_says_nothing_then() {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![]), Some(vec![Some(1)])]);
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
        let group = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), inner)]);
        let [plain, _] = &hashes(vec![("id", Arc::clone(&id))])[..] else { panic!("two rows") };
        for column in [Arc::new(list) as ArrayRef, Arc::new(group)] {
            let [empty, full] = &hashes(vec![("id", Arc::clone(&id)), ("more", column)])[..] else {
                panic!("two rows")
            };
            assert_eq!(empty, plain);
            assert_ne!(full, plain);
        }
    }

    #[test]
    fn values_that_look_alike_are_told_apart() {
        let text = |values: [Option<&str>; 2]| -> String {
            let columns = ["a", "b"].into_iter().zip(values);
            hashes(columns.map(|(n, v)| (n, Arc::new(StringArray::from(vec![v])) as ArrayRef)).collect()).remove(0)
        };
        let all = [
            text([Some("x"), None]),
            text([None, Some("x")]),
            text([Some(""), None]),
            text([None, None]),
            text([Some("x"), Some("")]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
