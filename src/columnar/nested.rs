use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Why a value cannot be written.
type Refused = &'static str;

/// Whether a field of strings holds JSON, by Arrow's own mark.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.json")
}

/// Writes value number `row` of `array` as JSON text: of nested values too, for destinations that have no such type. No digit is
/// lost: numbers are written as they are. `json` is whether its text is JSON already.
///
/// # Errors
/// Why the value cannot be written as JSON.
pub fn write_json(array: &ArrayRef, row: usize, json: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
    if *array.data_type() == DataType::Null || array.logical_nulls().is_some_and(|nulls| nulls.is_null(row)) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            between(out, b"{}", members, |(field, column), out| {
                text(field.name(), out)?;
                out.push(b':');
                write_json(column, row, is_json(field), out)
            })
        }
        DataType::List(field) => items(&array.as_list::<i32>().value(row), is_json(field), out),
        DataType::LargeList(field) => items(&array.as_list::<i64>().value(row), is_json(field), out),
        DataType::FixedSizeList(field, _) => items(&array.as_fixed_size_list().value(row), is_json(field), out),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            between(out, b"{}", 0..entries.len(), |n, out| {
                text(&shown(keys, n)?, out)?;
                out.push(b':');
                write_json(values, n, false, out)
            })
        }
        DataType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
            Ok(())
        }
        kind => {
            let shown = shown(array, row)?;
            // JSON has no NaN and no infinity.
            let bare = kind.is_integer() || json || (kind.is_floating() && !shown.contains(['N', 'i']));
            if bare {
                out.extend_from_slice(shown.as_bytes());
                return Ok(());
            }
            text(&shown, out)
        }
    }
}

fn items(array: &ArrayRef, json: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
    between(out, b"[]", 0..array.len(), |n, out| write_json(array, n, json, out))
}

/// Writes each of `items`, with commas between them and `ends` around them.
fn between<T>(
    out: &mut Vec<u8>,
    [begin, end]: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    out.push(*begin);
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.push(*end);
    Ok(())
}

fn shown(array: &ArrayRef, row: usize) -> Result<String, Refused> {
    const REFUSED: &str = "the value cannot be written as JSON";
    let value = match array.data_type() {
        // A moment has one text, whichever zone the column names.
        DataType::Timestamp(unit, Some(_)) => {
            cast(&array.slice(row, 1), &DataType::Timestamp(*unit, Some("+00:00".into()))).map_err(|_| REFUSED)?
        }
        _ => array.slice(row, 1),
    };
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(value.as_ref(), &options).map_err(|_| REFUSED)?;
    // Times that no calendar has are not written as the error that they are.
    formatter.value(0).try_to_string().map_err(|_| REFUSED)
}

fn text(text: &str, out: &mut Vec<u8>) -> Result<(), Refused> {
    serde_json::to_writer(out, text).map_err(|_| "the text cannot be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampMicrosecondArray;
    use std::sync::Arc;

    #[test]
    fn a_moment_has_one_text_in_every_zone_and_none_that_no_calendar_has() {
        let moments = TimestampMicrosecondArray::from(vec![-1, i64::MAX]);
        for zone in ["UTC", "+00:00", "+02:00", "Europe/Berlin"] {
            let array: ArrayRef = Arc::new(moments.clone().with_timezone(zone));
            let mut out = Vec::new();
            write_json(&array, 0, false, &mut out).expect("a moment");
            assert_eq!(String::from_utf8_lossy(&out), "\"1969-12-31T23:59:59.999999Z\"", "{zone}");
            assert!(write_json(&array, 1, false, &mut out).is_err(), "{zone}");
        }
    }
}
