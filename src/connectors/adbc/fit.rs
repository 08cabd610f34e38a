//! Makes values fit their columns, and finds those that do not: whatever comes back as something else is refused.

use super::dialect::AdbcDialect;
use super::types::ColumnType;
use crate::columnar::{is_json, write_json};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, StringBuilder, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;

/// Years from 1 to 9999: what text in four digits, and all databases, can hold.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
/// Microseconds.
const DAY: i64 = 86_400_000_000;
const MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

const INEXACT: &str = "the column cannot hold the value exactly";

/// A column as it is handed over.
pub(super) struct Fitted {
    pub values: ArrayRef,
    /// Rows that must not be written, each with the reason.
    pub refused: Vec<(usize, &'static str)>,
}

/// Makes the values of `array` fit a column of type `kind`.
///
/// # Errors
/// `Data` if they are of a type that the column does not hold.
pub(super) fn fit(array: &ArrayRef, field: &Field, kind: &ColumnType, dialect: AdbcDialect) -> Result<Fitted> {
    let failed = |e: ArrowError| Error::bug("fit values", "they cannot be turned").with_source(e);
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values).map_err(failed)?,
        _ => Arc::clone(array),
    };
    let source = plain.data_type();
    let wire = kind.wire(source);
    if *source == DataType::Null {
        return Ok(Fitted { values: new_null_array(&wire, plain.len()), refused: Vec::new() });
    }
    if !goes(source, kind, dialect) {
        return Err(Error::data("write rows", "the column in the table cannot hold what is in the batch")
            .with("column", field.name())
            .with("table_type", kind.sql(dialect))
            .with("batch_type", source)
            .with_hint("change the type of the column in the table, or turn the values into it in a stage"));
    }
    let mut refused = Vec::new();
    let values = match (kind, source) {
        (ColumnType::Text(_), source) if source.is_nested() => json(&plain, is_json(field), &mut refused),
        (ColumnType::Text(_), source) if !source.is_string() => moments(&plain, &mut refused).map_err(failed)?,
        _ => exact(&plain, &wire, &mut refused).map_err(failed)?,
    };
    more(&values, kind, dialect, &mut refused);
    refused.sort_by_key(|(row, _)| *row);
    Ok(Fitted { values, refused })
}

/// Whether values of the type `source` may go into a column of type `kind`, those that fit.
fn goes(source: &DataType, kind: &ColumnType, dialect: AdbcDialect) -> bool {
    let is_decimal = matches!(
        source,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    );
    let is_number = source.is_integer() || source.is_floating() || is_decimal;
    match kind {
        ColumnType::Bool => *source == DataType::Boolean,
        ColumnType::Int(_) => source.is_integer() || is_decimal,
        ColumnType::Float32 | ColumnType::Float64 => source.is_integer() || source.is_floating(),
        ColumnType::Decimal(_) => is_number && !source.is_floating(),
        ColumnType::Text(_) => {
            let as_text = dialect == AdbcDialect::Sqlite && (is_decimal || source.is_temporal());
            source.is_string() || source.is_nested() || as_text
        }
        ColumnType::Binary => source.is_binary() || matches!(source, DataType::FixedSizeBinary(_)),
        ColumnType::Date => matches!(source, DataType::Date32 | DataType::Date64),
        ColumnType::Time => matches!(source, DataType::Time32(_) | DataType::Time64(_)),
        ColumnType::Timestamp => matches!(source, DataType::Timestamp(_, None)),
        ColumnType::Timestamptz => matches!(source, DataType::Timestamp(_, Some(_))),
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, format_options: FormatOptions::new() })
}

/// Turns values into another type, and back: those that are not the same then are refused.
fn exact(array: &ArrayRef, wire: &DataType, refused: &mut Vec<(usize, &'static str)>) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wire {
        return Ok(Arc::clone(array));
    }
    let values = cast(array, wire)?;
    let back = cast(&values, array.data_type())?;
    let same: BooleanArray = not_distinct(array, &back)?;
    refused.extend((0..same.len()).filter(|row| !same.value(*row)).map(|row| (row, INEXACT)));
    Ok(values)
}

/// Nested values as JSON text.
fn json(array: &ArrayRef, is_json: bool, refused: &mut Vec<(usize, &'static str)>) -> ArrayRef {
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..array.len() {
        text.clear();
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        let written = write_json(array, row, is_json, &mut text);
        match written.and_then(|()| std::str::from_utf8(&text).map_err(|_| "the value is no text as JSON")) {
            Ok(text) => texts.append_value(text),
            Err(reason) => {
                texts.append_null();
                refused.push((row, reason));
            }
        }
    }
    Arc::new(texts.finish())
}

/// Decimals, dates and times as text: of equal length and with microseconds, so that the order of the text is that of the time.
fn moments(array: &ArrayRef, refused: &mut Vec<(usize, &'static str)>) -> Result<ArrayRef, ArrowError> {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let wire = match array.data_type() {
        DataType::Timestamp(_, None) => micros(None),
        DataType::Timestamp(_, Some(_)) => micros(Some("+00:00")),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    };
    let values = exact(array, &wire, refused)?;
    out_of_range(&values, refused);
    let options = FormatOptions::new()
        .with_date_format(Some("%Y-%m-%d"))
        .with_time_format(Some("%H:%M:%S%.6f"))
        .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.6f"))
        .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
    let texts = (0..values.len()).map(|row| {
        let text = values.is_valid(row).then(|| formatter.value(row).try_to_string());
        text.transpose()
    });
    let texts = texts.map(|text| text.or_else(|_| Ok::<_, ArrowError>(None)));
    Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
}

/// What arrives as it is, and is not kept so.
fn more(values: &ArrayRef, kind: &ColumnType, dialect: AdbcDialect, refused: &mut Vec<(usize, &'static str)>) {
    match kind {
        ColumnType::Text(most) => {
            let texts = values.as_string::<i32>();
            let too_long = |text: &str| most.is_some_and(|most| text.chars().count() > most);
            for (row, text) in texts.iter().enumerate().filter_map(|(row, text)| Some((row, text?))) {
                if !dialect.holds_zero_bytes() && text.contains('\0') {
                    refused.push((row, "the text has a zero byte"));
                } else if too_long(text) {
                    refused.push((row, "the text is too long for the column"));
                }
            }
        }
        ColumnType::Float64 | ColumnType::Float32 if !dialect.holds_nan() => {
            let nan = |values: &Float64Array| -> Vec<usize> {
                (0..values.len()).filter(|row| values.is_valid(*row) && values.value(*row).is_nan()).collect()
            };
            let found = match values.data_type() {
                DataType::Float64 => nan(values.as_primitive::<Float64Type>()),
                _ => nan(&values.as_primitive::<Float32Type>().unary(f64::from)),
            };
            refused.extend(found.into_iter().map(|row| (row, "the database makes NaN null")));
        }
        ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz => out_of_range(values, refused),
        _ => {}
    }
}

fn out_of_range(values: &ArrayRef, refused: &mut Vec<(usize, &'static str)>) {
    let mut why = "the year is not between 1 and 9999";
    let fits: Box<dyn Fn(usize) -> bool + '_> = match values.data_type() {
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            Box::new(|row| DAYS.contains(&days.value(row)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>();
            Box::new(|row| MICROS.contains(&micros.value(row)))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            why = "the time is not within a day";
            let micros = values.as_primitive::<Time64MicrosecondType>();
            Box::new(|row| (0..DAY).contains(&micros.value(row)))
        }
        _ => return,
    };
    let rows = (0..values.len()).filter(|row| values.is_valid(*row) && !fits(*row));
    refused.extend(rows.map(|row| (row, why)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use AdbcDialect::{DuckDb, Postgres, Sqlite};
    use arrow::array::{Decimal128Array, Int64Array, Time64MicrosecondArray, TimestampNanosecondArray, UInt64Array};

    fn fitted(array: impl Array + 'static, kind: ColumnType, dialect: AdbcDialect) -> (Vec<String>, Vec<usize>) {
        let array: ArrayRef = Arc::new(array);
        let field = Field::new("x", array.data_type().clone(), true);
        let Fitted { values, refused } = fit(&array, &field, &kind, dialect).expect("goes");
        let formatter =
            ArrayFormatter::try_new(values.as_ref(), &FormatOptions::new()).expect("shows").value(0).to_string();
        let texts =
            (0..values.len()).map(|row| arrow::util::display::array_value_to_string(&values, row).expect("shows"));
        drop(formatter);
        (texts.collect(), refused.into_iter().map(|(row, _)| row).collect())
    }

    #[test]
    fn what_would_come_back_as_something_else_is_refused() {
        let int32 = ColumnType::Int(DataType::Int32);
        assert_eq!(fitted(Int64Array::from(vec![1, i64::MAX]), int32, DuckDb).1, [1]);
        let big = UInt64Array::from(vec![Some(u64::MAX), None, Some(1)]);
        assert_eq!(fitted(big.clone(), ColumnType::Int(DataType::Int64), Sqlite).1, [0]);
        assert_eq!(fitted(big, ColumnType::Decimal(Some((20, 0))), Postgres).1, [0_usize; 0]);
        let cents = Decimal128Array::from(vec![100, 123]).with_precision_and_scale(18, 2).expect("fits");
        assert_eq!(fitted(cents, ColumnType::Decimal(Some((10, 1))), DuckDb).1, [1]);
        let fine = TimestampNanosecondArray::from(vec![1_000, 1_001]);
        assert_eq!(fitted(fine, ColumnType::Timestamp, DuckDb).1, [1]);
        let floats = Float64Array::from(vec![Some(1.5), Some(f64::NAN), None, Some(0.1)]);
        assert_eq!(fitted(floats.clone(), ColumnType::Float64, Sqlite).1, [1]);
        assert_eq!(fitted(floats, ColumnType::Float32, DuckDb).1, [3]);
        let texts = StringArray::from(vec!["a\0", "äöü"]);
        assert_eq!(fitted(texts.clone(), ColumnType::Text(Some(2)), Postgres).1, [0, 1]);
        assert_eq!(fitted(texts, ColumnType::Text(None), DuckDb).1, [0_usize; 0]);
        let times = Time64MicrosecondArray::from(vec![0, 86_399_999_999, 86_400_000_000, -1]);
        assert_eq!(fitted(times, ColumnType::Text(None), Sqlite).1, [2, 3]);
    }

    #[test]
    fn times_as_text_are_ordered_as_they_are() {
        let times = TimestampNanosecondArray::from(vec![0, 500_000_000, -1_000, 1]).with_timezone("+02:00");
        let (texts, refused) = fitted(times, ColumnType::Text(None), Sqlite);
        assert_eq!(refused, [3]);
        assert_eq!(
            texts.get(..3).expect("three"),
            ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.500000Z", "1969-12-31T23:59:59.999999Z"]
        );
    }

    #[test]
    fn columns_of_another_kind_are_refused() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let field = Field::new("x", DataType::Int64, true);
        assert!(fit(&array, &field, &ColumnType::Text(None), DuckDb).is_err());
        assert!(fit(&array, &field, &ColumnType::Date, Postgres).is_err());
    }
}
