//! Arrow values in the binary format of `COPY` (PostgreSQL manual, `COPY`, "Binary Format").

use super::numeric;
use super::types::ColumnType;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// The beginning of a stream of `COPY`: signature, flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Its end.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Days and microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// What a date and a timestamp can hold (PostgreSQL manual, 8.5): 4713 BC to 5874897 AD, and to 294276 AD.
const DAYS: std::ops::Range<i32> = -2_451_545..2_145_031_949;
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Why a value cannot be kept.
pub(super) type Refused = &'static str;

/// Encodes the values of one column.
pub(super) type Encode = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), Refused> + Send>;

struct Column<'a> {
    name: &'a str,
    nulls: Option<NullBuffer>,
    encode: Encode,
}

/// The columns of a batch, ready to be encoded row by row.
pub(super) struct Rows<'a> {
    columns: Vec<Column<'a>>,
    /// The numbers of those that go into a hash of the row, in the order of their names, if there is one.
    hashed: Option<Vec<usize>>,
    /// The number of the record of each row, if it is wanted.
    groups: Option<Vec<i64>>,
}

impl<'a> Rows<'a> {
    /// The columns `columns` of `batch`, as values of these types; and behind them, if it is wanted, a hash of those that are
    /// marked in `hashed`, and the number of the record, as in `groups`.
    ///
    /// # Errors
    /// `Data` if a type cannot hold the values of its column.
    pub(super) fn new(
        batch: &RecordBatch,
        columns: &'a [(String, ColumnType)],
        hashed: Option<&'a [bool]>,
        groups: Option<Vec<i64>>,
    ) -> Result<Self> {
        let encoders = columns.iter().map(|(name, kind)| {
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| Error::bug("encode rows", "a column is missing").with("column", name))?;
            let encode = encoder(array, kind).ok_or_else(|| {
                Error::data("write to PostgreSQL", "the column in the table cannot hold what is in the batch")
                    .with("column", name)
                    .with("table_type", kind)
                    .with("batch_type", array.data_type())
                    .with_hint("change the type of the column in the table, or turn the values into it in a stage")
            })?;
            Ok(Column { name, nulls: array.logical_nulls(), encode })
        });
        let columns = encoders.collect::<Result<Vec<_>>>()?;
        let hashed = hashed.map(|hashed| {
            let mut numbers: Vec<usize> = (0..columns.len()).filter(|n| hashed.get(*n) == Some(&true)).collect();
            numbers.sort_by_key(|n| columns.get(*n).map(|column| column.name));
            numbers
        });
        Ok(Self { columns, hashed, groups })
    }

    /// Adds row `row` to `out`, its number first; adds nothing if a value is refused.
    pub(super) fn encode(&self, row: usize, number: i64, out: &mut Vec<u8>) -> Result<(), (usize, Refused)> {
        let start = out.len();
        let fields = self.columns.len() + 1 + usize::from(self.hashed.is_some()) + usize::from(self.groups.is_some());
        out.extend_from_slice(&i16::try_from(fields).unwrap_or(i16::MAX).to_be_bytes());
        out.extend_from_slice(&8_i32.to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
        let mut fields = Vec::new();
        for (number, Column { nulls, encode, .. }) in self.columns.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                fields.push(0..0);
                continue;
            }
            let field = out.len();
            if let Err(refused) = sized(out, |out| encode(row, out)) {
                out.truncate(start);
                return Err((number, refused));
            }
            fields.push(field..out.len());
        }
        if let Some(hashed) = &self.hashed {
            let mut hash = Xxh3::new();
            for number in hashed {
                let (Some(column), Some(field)) = (self.columns.get(*number), fields.get(*number)) else { continue };
                // A column that is null or absent says nothing, so that a new one makes no new version of every row.
                if !field.is_empty() {
                    hash.update(column.name.as_bytes());
                    hash.update(out.get(field.clone()).unwrap_or_default());
                }
            }
            out.extend_from_slice(&32_i32.to_be_bytes());
            out.extend_from_slice(format!("{:032x}", hash.digest128()).as_bytes());
        }
        if let Some(groups) = &self.groups {
            out.extend_from_slice(&8_i32.to_be_bytes());
            out.extend_from_slice(&groups.get(row).copied().unwrap_or_default().to_be_bytes());
        }
        Ok(())
    }
}

impl Rows<'_> {
    /// The bytes that the values of the columns `names` have in the encoded row `fields`.
    pub(super) fn bytes_of(&self, names: &[String], fields: &[u8]) -> usize {
        if names.is_empty() {
            return 0;
        }
        let mut rest = fields.get(2 + 4 + 8..).unwrap_or_default();
        let mut bytes = 0;
        for column in &self.columns {
            let Some((length, behind)) = rest.split_first_chunk::<4>() else { break };
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            if names.iter().any(|name| name == column.name) {
                bytes += length;
            }
            rest = behind.get(length..).unwrap_or_default();
        }
        bytes
    }
}

/// Writes what `with` writes, with its length before it.
fn sized(out: &mut Vec<u8>, with: impl FnOnce(&mut Vec<u8>) -> Result<(), Refused>) -> Result<(), Refused> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    with(out)?;
    let length = i32::try_from(out.len() - at - 4).map_err(|_| "a value has more than 2 GiB")?;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// `array` in another Arrow type; a value that does not fit is an error, never null.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    if array.data_type() == to {
        return Some(Arc::clone(array));
    }
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() }).ok()
}

pub(super) fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// How values of `array` are encoded as `kind`; `None` if that could lose something of every value.
fn encoder(array: &ArrayRef, kind: &ColumnType) -> Option<Encode> {
    if let DataType::Dictionary(_, values) = array.data_type() {
        return encoder(&cast(array, values)?, kind);
    }
    if *array.data_type() == DataType::Null {
        return Some(Box::new(|_, _| Ok(())));
    }
    let from = array.data_type().clone();
    Some(match kind {
        ColumnType::Bool if from == DataType::Boolean => {
            let values = array.as_boolean().clone();
            Box::new(move |row, out| {
                out.push(u8::from(values.value(row)));
                Ok(())
            })
        }
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 if is_integer(&from) => integers(array, kind)?,
        ColumnType::Float4 if matches!(from, DataType::Float16 | DataType::Float32) => {
            let values = cast(array, &DataType::Float32)?.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| {
                out.extend_from_slice(&values.value(row).to_be_bytes());
                Ok(())
            })
        }
        ColumnType::Float8 if matches!(from, DataType::Float16 | DataType::Float32 | DataType::Float64) => {
            let values = cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| {
                out.extend_from_slice(&values.value(row).to_be_bytes());
                Ok(())
            })
        }
        ColumnType::Numeric(limits) => numeric::encoder(array, *limits)?,
        ColumnType::Text | ColumnType::TextLike(_) => texts(array, kind.characters())?,
        ColumnType::Json => json(array, false)?,
        ColumnType::Jsonb => json(array, true)?,
        ColumnType::Bytea
            if matches!(
                from,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
            ) =>
        {
            let values = cast(array, &DataType::LargeBinary)?.as_binary::<i64>().clone();
            Box::new(move |row, out| {
                out.extend_from_slice(values.value(row));
                Ok(())
            })
        }
        ColumnType::Uuid if is_text(&from) => {
            let values = cast(array, &DataType::LargeUtf8)?.as_string::<i64>().clone();
            Box::new(move |row, out| {
                let digits: String = values.value(row).chars().filter(|c| !matches!(c, '-' | '{' | '}')).collect();
                let whole = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let number = u128::from_str_radix(&digits, 16).ok().filter(|_| whole);
                out.extend_from_slice(&number.ok_or("not a UUID")?.to_be_bytes());
                Ok(())
            })
        }
        ColumnType::Date if matches!(from, DataType::Date32 | DataType::Date64) => {
            let values = cast(array, &DataType::Date32)?.as_primitive::<Date32Type>().clone();
            Box::new(move |row, out| {
                let days = values.value(row).checked_sub(EPOCH_DAYS).filter(|days| DAYS.contains(days));
                out.extend_from_slice(&days.ok_or("PostgreSQL has no such date")?.to_be_bytes());
                Ok(())
            })
        }
        ColumnType::Time if matches!(from, DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond)) => {
            let values =
                cast(array, &DataType::Time64(TimeUnit::Microsecond))?.as_primitive::<Time64MicrosecondType>().clone();
            Box::new(move |row, out| {
                let micros = values.value(row);
                if !(0..=86_400_000_000).contains(&micros) {
                    return Err("the time is not within a day");
                }
                out.extend_from_slice(&micros.to_be_bytes());
                Ok(())
            })
        }
        ColumnType::Timestamp if matches!(from, DataType::Timestamp(_, None)) => times(array, &from)?,
        ColumnType::Timestamptz if matches!(from, DataType::Timestamp(_, Some(_))) => times(array, &from)?,
        ColumnType::Array(element) => arrays(array, element)?,
        _ => return None,
    })
}

fn integers(array: &ArrayRef, kind: &ColumnType) -> Option<Encode> {
    const REFUSED: Refused = "the number does not fit into the column";
    // One that is too large for 64 signed bits fits into none of these columns.
    let wide = (*array.data_type() == DataType::UInt64).then(|| array.as_primitive::<UInt64Type>().clone());
    let values = match wide {
        Some(_) => None,
        None => Some(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
    };
    let value = move |row: usize| match (&values, &wide) {
        (Some(values), _) => Ok(values.value(row)),
        (None, Some(values)) => i64::try_from(values.value(row)).map_err(|_| REFUSED),
        (None, None) => Err(REFUSED),
    };
    Some(match kind {
        ColumnType::Int2 => Box::new(move |row, out| {
            out.extend_from_slice(&i16::try_from(value(row)?).map_err(|_| REFUSED)?.to_be_bytes());
            Ok(())
        }),
        ColumnType::Int4 => Box::new(move |row, out| {
            out.extend_from_slice(&i32::try_from(value(row)?).map_err(|_| REFUSED)?.to_be_bytes());
            Ok(())
        }),
        _ => Box::new(move |row, out| {
            out.extend_from_slice(&value(row)?.to_be_bytes());
            Ok(())
        }),
    })
}

const ZERO_BYTE: Refused = "the text has a zero byte, which PostgreSQL cannot keep";

/// `most` characters at most.
fn texts(array: &ArrayRef, most: Option<usize>) -> Option<Encode> {
    if !is_text(array.data_type()) {
        // A column of text holds what is written of any plain value.
        let plain = array.data_type().is_primitive() || *array.data_type() == DataType::Boolean;
        return if plain && most.is_none() { written(array) } else { None };
    }
    let values = cast(array, &DataType::LargeUtf8)?.as_string::<i64>().clone();
    Some(Box::new(move |row, out| {
        let text = values.value(row);
        if text.as_bytes().contains(&0) {
            return Err(ZERO_BYTE);
        }
        if most.is_some_and(|most| text.chars().count() > most) {
            return Err("the text has more characters than the column");
        }
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }))
}

fn written(array: &ArrayRef) -> Option<Encode> {
    let array = Arc::clone(array);
    Some(Box::new(move |row, out| {
        let options = FormatOptions::new();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(|_| "the value has no text")?;
        let text = formatter.value(row).try_to_string().map_err(|_| "the value has no text")?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }))
}

/// JSON text as it is, or made of nested values. `jsonb` begins with its version.
fn json(array: &ArrayRef, versioned: bool) -> Option<Encode> {
    let encode: Encode = if is_text(array.data_type()) {
        let values = cast(array, &DataType::LargeUtf8)?.as_string::<i64>().clone();
        Box::new(move |row, out| {
            let text = values.value(row);
            // The server would refuse the whole copy for one of these.
            serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|_| "this is no JSON")?;
            check_json(text, versioned)?;
            out.extend_from_slice(text.as_bytes());
            Ok(())
        })
    } else {
        let array = Arc::clone(array);
        Box::new(move |row, out| {
            let start = out.len();
            crate::columnar::write_json(&array, row, false, out)?;
            let text = out.get(start..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
            check_json(text, versioned)
        })
    };
    Some(Box::new(move |row, out| {
        if versioned {
            out.push(1);
        }
        encode(row, out)
    }))
}

/// `jsonb` keeps text as text, which has no zero byte; and a lone half of a surrogate pair is no text.
fn check_json(text: &str, binary: bool) -> Result<(), Refused> {
    if !binary {
        return Ok(());
    }
    if has_far_exponent(text) {
        return Err("a number in the JSON has an exponent beyond what PostgreSQL keeps");
    }
    if !text.contains("\\u") {
        return Ok(());
    }
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| "a text in the JSON is no Unicode")?;
    if has_zero(&value) { Err(ZERO_BYTE) } else { Ok(()) }
}

/// `numeric` has 131,072 digits before the point and 16,383 after it; this is far from both. Text is passed over.
fn has_far_exponent(text: &str) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            // The `e` of a word is behind no digit; that of a number is before one.
            b'e' | b'E' if !in_text => {
                let digits = std::iter::from_fn(|| bytes.next_if(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')));
                if digits.skip_while(|b| matches!(b, b'+' | b'-' | b'0')).count() > 3 {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn has_zero(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_zero),
        serde_json::Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_zero(value)),
        _ => false,
    }
}

fn times(array: &ArrayRef, from: &DataType) -> Option<Encode> {
    let DataType::Timestamp(unit, zone) = from else { return None };
    let put = |micros: Option<i64>, out: &mut Vec<u8>| {
        let micros = micros.and_then(|m| m.checked_sub(EPOCH_MICROS)).filter(|m| MICROS.contains(m));
        out.extend_from_slice(&micros.ok_or("PostgreSQL has no such time")?.to_be_bytes());
        Ok(())
    };
    if *unit == TimeUnit::Nanosecond {
        let values = array.as_primitive::<TimestampNanosecondType>().clone();
        return Some(Box::new(move |row, out| {
            let nanos = values.value(row);
            if nanos % 1_000 != 0 {
                return Err("PostgreSQL keeps microseconds, and the time is finer");
            }
            put(Some(nanos / 1_000), out)
        }));
    }
    let factor = match unit {
        TimeUnit::Second => 1_000_000,
        TimeUnit::Millisecond => 1_000,
        _ => 1,
    };
    // By its own unit: a cast of the whole column would fail for one time that is too far away.
    let plain = array
        .to_data()
        .into_builder()
        .data_type(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        .build()
        .ok()?;
    let values = arrow::array::make_array(plain).as_primitive::<TimestampMicrosecondType>().clone();
    Some(Box::new(move |row, out| put(values.value(row).checked_mul(factor), out)))
}

/// Dimensions, whether there are nulls, the element's type; then length and lower bound of the dimension; then the elements
/// (`array_send` in PostgreSQL's `arrayfuncs.c`).
fn arrays(array: &ArrayRef, element: &ColumnType) -> Option<Encode> {
    let lists = match array.data_type() {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            cast(array, &DataType::LargeList(Arc::clone(field)))?.as_list::<i64>().clone()
        }
        _ => return None,
    };
    let values = Arc::clone(lists.values());
    let encode = encoder(&values, element)?;
    let oid = element.oid();
    Some(Box::new(move |row, out| {
        let offsets = lists.value_offsets();
        let bound = |n: usize| offsets.get(n).and_then(|o| usize::try_from(*o).ok()).unwrap_or_default();
        let range = bound(row)..bound(row + 1);
        let length = i32::try_from(range.len()).map_err(|_| "an array has more than 2^31 elements")?;
        let nulls = range.clone().any(|n| values.is_null(n));
        let dimensions = i32::from(length > 0);
        for number in [dimensions, i32::from(nulls)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&oid.to_be_bytes());
        if length == 0 {
            return Ok(());
        }
        for number in [length, 1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for n in range {
            if values.is_null(n) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
            } else {
                sized(out, |out| encode(n, out))?;
            }
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
        Int64Array, ListArray, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Field;

    /// The hash of a row of these columns, of which the first is the key.
    fn hash(columns: &[(&str, ColumnType, ArrayRef)]) -> String {
        let values = columns.iter().map(|(name, _, values)| (*name, Arc::clone(values), true));
        let batch = RecordBatch::try_from_iter_with_nullable(values).expect("fits");
        let kinds: Vec<_> = columns.iter().map(|(name, kind, _)| ((*name).to_owned(), kind.clone())).collect();
        let hashed: Vec<bool> = (0..columns.len()).map(|number| number > 0).collect();
        let rows = Rows::new(&batch, &kinds, Some(&hashed), None).expect("each type holds its values");
        let mut row = Vec::new();
        rows.encode(0, 0, &mut row).expect("each value fits");
        String::from_utf8(row.split_off(row.len() - 32)).expect("digits")
    }

    #[test]
    fn the_hash_of_a_row_in_postgres_is_what_it_was_when_it_was_first_kept() {
        let text = |text: Option<&str>| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let number: ArrayRef = Arc::new(Int64Array::from(vec![-4]));
        let decimal = Decimal128Array::from(vec![-1_234_567]).with_precision_and_scale(12, 2).expect("fits");
        let time = TimestampMicrosecondArray::from(vec![1_700_000_000_123_456]);
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
        let group = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&number))]);
        let columns: [(&str, ColumnType, ArrayRef); 19] = [
            ("id", ColumnType::Int8, Arc::new(Int64Array::from(vec![7]))),
            ("bool", ColumnType::Bool, Arc::new(BooleanArray::from(vec![true]))),
            ("int2", ColumnType::Int2, Arc::new(Int16Array::from(vec![-2]))),
            ("int4", ColumnType::Int4, Arc::new(Int32Array::from(vec![-3]))),
            ("int8", ColumnType::Int8, number),
            ("float4", ColumnType::Float4, Arc::new(Float32Array::from(vec![0.5]))),
            ("float8", ColumnType::Float8, Arc::new(Float64Array::from(vec![-0.25]))),
            ("numeric", ColumnType::Numeric(Some((12, 2))), Arc::new(decimal)),
            ("text", ColumnType::Text, text(Some("ü"))),
            ("varchar", ColumnType::TextLike("character varying(20)".to_owned()), text(Some("é"))),
            ("bytea", ColumnType::Bytea, Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]))),
            ("uuid", ColumnType::Uuid, text(Some("0f0e0d0c-0b0a-0908-0706-050403020100"))),
            ("date", ColumnType::Date, Arc::new(Date32Array::from(vec![19_000]))),
            ("time", ColumnType::Time, Arc::new(Time64MicrosecondArray::from(vec![1]))),
            ("timestamp", ColumnType::Timestamp, Arc::new(time.clone())),
            ("timestamptz", ColumnType::Timestamptz, Arc::new(time.with_timezone("UTC"))),
            ("json", ColumnType::Json, text(Some(r#"{"a": 1}"#))),
            ("jsonb", ColumnType::Jsonb, Arc::new(group)),
            ("array", ColumnType::Array(Box::new(ColumnType::Int8)), Arc::new(list)),
        ];
        let kept = hash(&columns);
        assert_eq!(kept, "29f1f41af3a7a2d98102325348587097");
        let mut other = columns.to_vec();
        other[1..].reverse();
        other[0].2 = Arc::new(Int64Array::from(vec![8]));
        other.push(("added", ColumnType::Text, text(None)));
        assert_eq!(hash(&other), kept, "the key, the order of columns and one that is null say nothing");
        other[1].2 = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(2), None])]));
        assert_ne!(hash(&other), kept);
    }

    #[test]
    fn an_exponent_that_is_too_far_is_seen_and_text_is_not_taken_for_one() {
        for far in ["1e999999", "[1, -2.5E+12345]", "{\"a\":1e-0020000}"] {
            assert!(has_far_exponent(far), "{far}");
        }
        for near in ["1e308", "true", "\"1e999999\"", "{\"a\\\"1e999999\":1}", "[false,null,1e0000308]"] {
            assert!(!has_far_exponent(near), "{near}");
        }
    }
}
