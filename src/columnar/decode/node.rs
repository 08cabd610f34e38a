//! Columns that grow value by value, driven by the declared types.
//!
//! Every length follows from the number of rows, so a bad record is taken back by cutting all columns to the rows
//! before it.

use super::cursor::Cursor;
use super::fault::{Checked, Fault};
use super::object::{Object, Scratch};
use super::{number, time};
use crate::columnar::schema::{Coerce, Column, ColumnType, TimeUnit, Written};
use crate::error::{Error, Result};
use crate::records::Texts;
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, ListArray, NullBufferBuilder, PrimitiveArray, StringArray,
    StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field};
use std::sync::Arc;

/// One column that is being filled.
pub(super) struct Node {
    nulls: NullBufferBuilder,
    values: Values,
    field: Arc<Field>,
    /// Columns that a null fills: more than one for a nested record.
    width: usize,
}

enum Values {
    Bool(BooleanBufferBuilder),
    /// All kinds of integers; `uint64` as the same bits.
    Int(Vec<i64>, Integer),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, u8),
    Utf8(Strings, Coerce),
    Json(Strings),
    Date(Vec<i32>),
    Timestamp(Vec<i64>, TimeUnit, Written),
    Datetime(Vec<i64>, TimeUnit),
    List(Vec<i32>, Box<Node>),
    Struct(Box<Object>),
}

/// Strings one after the other.
struct Strings {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

/// A type of whole numbers.
#[derive(Clone, Copy)]
struct Integer {
    name: &'static str,
    low: i64,
    high: u64,
}

impl Node {
    pub(super) fn new(name: &str, kind: &ColumnType) -> Self {
        let int = |name, low, high| Values::Int(Vec::new(), Integer { name, low, high });
        let values = match kind {
            ColumnType::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            ColumnType::Int8 => int("int8", i8::MIN.into(), i8::MAX as u64),
            ColumnType::Int16 => int("int16", i16::MIN.into(), i16::MAX as u64),
            ColumnType::Int32 => int("int32", i32::MIN.into(), i32::MAX as u64),
            ColumnType::Int64 => int("int64", i64::MIN, i64::MAX as u64),
            ColumnType::Uint8 => int("uint8", 0, u8::MAX.into()),
            ColumnType::Uint16 => int("uint16", 0, u16::MAX.into()),
            ColumnType::Uint32 => int("uint32", 0, u32::MAX.into()),
            ColumnType::Uint64 => int("uint64", 0, u64::MAX),
            ColumnType::Float32 => Values::Float32(Vec::new()),
            ColumnType::Float64 => Values::Float64(Vec::new()),
            ColumnType::Decimal { precision, scale } => Values::Decimal(Vec::new(), *precision, *scale),
            ColumnType::Utf8(coerce) => Values::Utf8(Strings::new(), *coerce),
            ColumnType::Json => Values::Json(Strings::new()),
            ColumnType::Date => Values::Date(Vec::new()),
            ColumnType::Timestamp { unit, written } => Values::Timestamp(Vec::new(), *unit, *written),
            ColumnType::Datetime { unit } => Values::Datetime(Vec::new(), *unit),
            ColumnType::List(element) => Values::List(vec![0], Box::new(Self::new("item", element))),
            ColumnType::Struct(fields) => Values::Struct(Box::new(Object::new(fields.iter()))),
        };
        let width = if let Values::Struct(object) = &values { object.width() } else { 1 };
        Self { nulls: NullBufferBuilder::new(0), values, field: Arc::new(kind.field(name)), width }
    }

    /// Keys under a common one that are columns of their own: they take no column here.
    pub(super) fn group(name: &str, object: Object) -> Self {
        let field = Arc::new(Field::new(name, DataType::Null, true));
        Self { nulls: NullBufferBuilder::new(0), values: Values::Struct(Box::new(object)), field, width: 1 }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn field(&self) -> &Arc<Field> {
        &self.field
    }

    /// Adds a column to a group.
    pub(super) fn insert(&mut self, path: &[String], place: usize, column: &Column) {
        if let Values::Struct(object) = &mut self.values {
            object.insert(path, place, column);
            self.width = object.width();
        }
    }

    /// Ends the rows of a group, which is no column of its own, and gives its columns.
    pub(super) fn finish_group(&mut self) -> Option<&mut Object> {
        self.nulls = NullBufferBuilder::new(0);
        match &mut self.values {
            Values::Struct(object) => Some(object),
            _ => None,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.nulls.len()
    }

    /// Takes the next value of `cursor`.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Checked<()> {
        let first = cursor.peek();
        let texts = scratch.texts;
        if first == b'n' {
            cursor.literal("null")?;
            if self.width > 1 {
                scratch.fill(self.width)?;
            }
            self.take_null();
            return Ok(());
        }
        match &mut self.values {
            Values::Utf8(strings, coerce) => {
                if first == b'"' {
                    cursor.string()?.unescape(&mut strings.bytes)?;
                } else {
                    strings.bytes.extend_from_slice(coerced(cursor, *coerce)?);
                }
                strings.end();
            }
            Values::Decimal(values, precision, scale) => {
                let text = number_or_string(cursor, &mut scratch.text, "a decimal")?;
                values.push(number::decimal(trimmed(text, texts), *precision, *scale)?);
            }
            Values::Timestamp(values, unit, Written::Rfc3339) => {
                let text = string(cursor, &mut scratch.text, "an RFC 3339 time")?;
                values.push(time::instant(trimmed(text, texts), *unit)?);
            }
            Values::Timestamp(values, unit, written) => {
                let text = number_or_string(cursor, &mut scratch.text, "a number of an epoch")?;
                values.push(time::epoch(trimmed(text, texts), *written, *unit)?);
            }
            Values::Datetime(values, unit) => {
                let text = string(cursor, &mut scratch.text, "a local date and time")?;
                values.push(time::local(trimmed(text, texts), *unit)?);
            }
            Values::Date(values) => {
                let text = string(cursor, &mut scratch.text, "a date")?;
                values.push(time::date(trimmed(text, texts))?);
            }
            Values::Int(values, integer) if first == b'"' => {
                let text = number_in_text(cursor, scratch, integer.name)?.0;
                values.push(integer.exactly(number::integer(text, integer.name)?)?);
            }
            Values::Int(values, integer) => values.push(integer.take(cursor)?),
            Values::Float64(values) if first == b'"' => {
                let (text, whole) = number_in_text(cursor, scratch, "float64")?;
                values.push(number::float64(text, whole)?);
            }
            Values::Float64(values) => {
                let number = number(cursor, "float64")?;
                values.push(number::float64(number.text, number.integer)?);
            }
            Values::Float32(values) if first == b'"' => {
                let (text, whole) = number_in_text(cursor, scratch, "float32")?;
                values.push(number::float32(text, whole)?);
            }
            Values::Float32(values) => {
                let number = number(cursor, "float32")?;
                values.push(number::float32(number.text, number.integer)?);
            }
            Values::Bool(values) => values.append(match first {
                b't' => cursor.literal("true").map(|()| true)?,
                b'f' => cursor.literal("false").map(|()| false)?,
                _ => match value_in_text(cursor, scratch, "a bool")?.to_ascii_lowercase().as_slice() {
                    b"true" | b"1" => true,
                    b"false" | b"0" => false,
                    _ => return Err(Fault::new("type", "expected a bool, found other text")),
                },
            }),
            Values::Json(strings) if first == b'"' && texts == Some(Texts::Cells) => {
                let text = value_in_text(cursor, scratch, "JSON")?;
                let mut inside = Cursor::new(text, 0);
                inside.value()?;
                if inside.at() < text.len() {
                    return Err(inside.broken("the end"));
                }
                strings.bytes.extend_from_slice(text);
                strings.end();
            }
            Values::Json(strings) => {
                let from = cursor.at();
                cursor.value()?;
                strings.bytes.extend_from_slice(cursor.since(from));
                strings.end();
            }
            Values::Struct(object) => {
                if first == b'"' && texts == Some(Texts::Elements) {
                    // An element that has attributes or children elsewhere.
                    let json = [b"{\"#text\":\"", cursor.string()?.raw, b"\"}"].concat();
                    object.take(&mut Cursor::new(&json, 0), scratch)?;
                    self.nulls.append_non_null();
                    return Ok(());
                }
                if first != b'{' {
                    return Err(wrong(cursor, "an object"));
                }
                object.take(cursor, scratch)?;
            }
            Values::List(ends, element) => {
                let mut index = 0;
                let mut one = |cursor: &mut Cursor<'_>| {
                    element.take(cursor, scratch).map_err(|fault| fault.at_element(index))?;
                    index += 1;
                    Ok(())
                };
                match (first, texts) {
                    (b'[', _) => cursor.sequence(b']', one)?,
                    // An element that is repeated elsewhere.
                    (_, Some(Texts::Elements)) => one(cursor)?,
                    _ => return Err(wrong(cursor, "an array")),
                }
                let end = ends.last().copied().unwrap_or(0).saturating_add(index as i32);
                ends.push(end);
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Takes a null.
    pub(super) fn take_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int(values, _) | Values::Timestamp(values, ..) | Values::Datetime(values, _) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values, ..) => values.push(0),
            Values::Utf8(strings, _) | Values::Json(strings) => strings.end(),
            Values::Date(values) => values.push(0),
            Values::List(ends, _) => ends.push(ends.last().copied().unwrap_or(0)),
            Values::Struct(object) => object.take_null(),
        }
        self.nulls.append_null();
    }

    /// Forgets everything after the first `rows` values.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int(values, _) | Values::Timestamp(values, ..) | Values::Datetime(values, _) => {
                values.truncate(rows)
            }
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal(values, ..) => values.truncate(rows),
            Values::Utf8(strings, _) | Values::Json(strings) => strings.truncate(rows),
            Values::Date(values) => values.truncate(rows),
            Values::List(ends, element) => {
                ends.truncate(rows + 1);
                element.truncate(usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(0));
            }
            Values::Struct(object) => object.truncate(rows),
        }
    }

    /// Gives the column and begins a new one, with room for as much again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.nulls.finish();
        let kind = self.field.data_type();
        Ok(match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values, integer) => {
                let values = renew(values);
                match integer.name {
                    "int8" => narrow::<Int8Type>(&values, nulls, |v| v as i8),
                    "int16" => narrow::<Int16Type>(&values, nulls, |v| v as i16),
                    "int32" => narrow::<Int32Type>(&values, nulls, |v| v as i32),
                    "uint8" => narrow::<UInt8Type>(&values, nulls, |v| v as u8),
                    "uint16" => narrow::<UInt16Type>(&values, nulls, |v| v as u16),
                    "uint32" => narrow::<UInt32Type>(&values, nulls, |v| v as u32),
                    "uint64" => narrow::<UInt64Type>(&values, nulls, |v| v as u64),
                    _ => Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls)),
                }
            }
            Values::Float32(values) => Arc::new(PrimitiveArray::<Float32Type>::new(renew(values).into(), nulls)),
            Values::Float64(values) => Arc::new(PrimitiveArray::<Float64Type>::new(renew(values).into(), nulls)),
            Values::Decimal(values, ..) => Arc::new(
                PrimitiveArray::<Decimal128Type>::new(renew(values).into(), nulls).with_data_type(kind.clone()),
            ),
            Values::Utf8(strings, _) | Values::Json(strings) => strings.finish(nulls)?,
            Values::Date(values) => Arc::new(PrimitiveArray::<Date32Type>::new(renew(values).into(), nulls)),
            Values::Timestamp(values, ..) | Values::Datetime(values, _) => {
                // The array of the unit and zone that the field says.
                let integers = PrimitiveArray::<Int64Type>::new(renew(values).into(), nulls);
                arrow::compute::cast(&integers, kind).map_err(broken)?
            }
            Values::List(ends, element) => {
                let DataType::List(field) = kind else { return Err(broken("a list is declared as something else")) };
                let element = element.finish()?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(ends)));
                ends.push(0);
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, element, nulls).map_err(broken)?)
            }
            Values::Struct(object) => {
                let DataType::Struct(fields) = kind else {
                    return Err(broken("an object is declared as something else"));
                };
                let columns = object.finish()?;
                Arc::new(StructArray::try_new(fields.clone(), columns, nulls).map_err(broken)?)
            }
        })
    }
}

impl Strings {
    fn new() -> Self {
        Self { ends: vec![0], bytes: Vec::new() }
    }

    /// Ends a string. The decoder begins a new batch long before the bytes of one need more than 31 bits.
    #[inline]
    fn end(&mut self) {
        self.ends.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes.truncate(usize::try_from(self.ends.last().copied().unwrap_or(0)).unwrap_or(0));
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(&mut self.ends)));
        self.ends.push(0);
        let bytes = Buffer::from_vec(renew(&mut self.bytes));
        Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(broken)?))
    }
}

impl Integer {
    /// Takes an integer: digits as they come, anything else by the exact way.
    #[inline]
    fn take(&self, cursor: &mut Cursor<'_>) -> Checked<i64> {
        let number = number(cursor, self.name)?;
        let (negative, digits) = match number.text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if !number.integer || digits.len() > 18 {
            return self.exactly(number::integer(number.text, self.name)?);
        }
        let size = digits.iter().fold(0i64, |n, d| n * 10 + i64::from(d - b'0'));
        let value = if negative { -size } else { size };
        if value < self.low || (value > 0 && value.unsigned_abs() > self.high) {
            return Err(self.out_of_range());
        }
        Ok(value)
    }

    fn exactly(&self, value: i128) -> Checked<i64> {
        if value < i128::from(self.low) || value > i128::from(self.high) {
            return Err(self.out_of_range());
        }
        Ok(value as i64)
    }

    #[cold]
    fn out_of_range(&self) -> Box<Fault> {
        Fault::new("range", format!("out of range of {}", self.name))
    }
}

/// A value of another kind than the declared one: takes it, so that text that is no JSON is called that.
#[cold]
fn wrong(cursor: &mut Cursor<'_>, expected: &'static str) -> Box<Fault> {
    let first = cursor.peek();
    match cursor.value() {
        Ok(()) => Fault::expected(expected, first),
        Err(fault) => fault,
    }
}

#[inline]
fn number<'a>(cursor: &mut Cursor<'a>, expected: &'static str) -> Checked<super::cursor::Number<'a>> {
    match cursor.peek() {
        b'-' | b'0'..=b'9' => cursor.number(),
        _ => Err(wrong(cursor, expected)),
    }
}

/// The text of a string; `scratch` holds it if it has escapes.
#[inline]
fn string<'a: 'b, 'b>(cursor: &mut Cursor<'a>, scratch: &'b mut Vec<u8>, expected: &'static str) -> Checked<&'b [u8]> {
    if cursor.peek() != b'"' {
        return Err(wrong(cursor, expected));
    }
    let text = cursor.string()?;
    if !text.escaped {
        return Ok(text.raw);
    }
    scratch.clear();
    text.unescape(scratch)?;
    Ok(scratch)
}

/// The value that stands in a text, without white space around it, where the record has nothing but texts.
fn value_in_text<'a: 'b, 'b>(
    cursor: &mut Cursor<'a>,
    scratch: &'b mut Scratch,
    expected: &'static str,
) -> Checked<&'b [u8]> {
    if scratch.texts.is_none() {
        return Err(wrong(cursor, expected));
    }
    string(cursor, &mut scratch.text, expected).map(<[u8]>::trim_ascii)
}

fn number_in_text<'a: 'b, 'b>(
    cursor: &mut Cursor<'a>,
    scratch: &'b mut Scratch,
    expected: &'static str,
) -> Checked<(&'b [u8], bool)> {
    let inferred = scratch.inferred;
    let text = value_in_text(cursor, scratch, expected)?;
    if inferred && !number::is_plain(text) {
        let what = format!("expected {expected}, found text that may be something else, such as 007");
        return Err(Fault::new("type", what));
    }
    number::in_text(text).ok_or_else(|| Fault::new("type", format!("expected {expected}, found other text")))
}

/// Without white space around it, where the record has nothing but texts.
fn trimmed(text: &[u8], texts: Option<Texts>) -> &[u8] {
    if texts.is_some() { text.trim_ascii() } else { text }
}

#[inline]
fn number_or_string<'a: 'b, 'b>(
    cursor: &mut Cursor<'a>,
    scratch: &'b mut Vec<u8>,
    expected: &'static str,
) -> Checked<&'b [u8]> {
    match cursor.peek() {
        b'-' | b'0'..=b'9' => Ok(cursor.number()?.text),
        _ => string(cursor, scratch, expected),
    }
}

/// The JSON text of a value that is no string, for a column of strings that takes it.
fn coerced<'a>(cursor: &mut Cursor<'a>, coerce: Coerce) -> Checked<&'a [u8]> {
    match (coerce, cursor.peek()) {
        (Coerce::Text, b'-' | b'0'..=b'9' | b't' | b'f') => {
            let from = cursor.at();
            cursor.value()?;
            Ok(cursor.since(from))
        }
        (Coerce::Text, _) => Err(wrong(cursor, "a string, a number or a bool")),
        (Coerce::Strict, _) => Err(wrong(cursor, "a string")),
    }
}

/// Takes what has been collected, and makes room for as much again.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len() + values.len() / 16;
    std::mem::replace(values, Vec::with_capacity(room))
}

fn narrow<T: ArrowPrimitiveType>(values: &[i64], nulls: Option<NullBuffer>, to: fn(i64) -> T::Native) -> ArrayRef
where
    T::Native: ArrowNativeType,
{
    let values: Vec<T::Native> = values.iter().map(|v| to(*v)).collect();
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls))
}

pub(super) fn broken(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::bug("finish decoded batch", "the columns do not make a batch").with_source(cause)
}
