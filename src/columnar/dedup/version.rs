use crate::columnar::strings::Strings;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, UInt64Type};
use std::sync::Arc;

/// What versions are compared as. Values of different classes are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Integer,
    /// With this scale.
    Decimal(i8),
    Float,
    /// Nanoseconds.
    Time,
    Text,
}

/// The version of each row, as something that is ordered. Null comes before everything.
pub(super) enum Versions {
    Numbers(Class, Vec<i128>),
    Text(ArrayRef),
}

/// Below all numbers that columns can hold.
const NULL: i128 = i128::MIN;

impl Versions {
    pub(super) fn of(column: &ArrayRef, name: &str) -> Result<Self> {
        if Strings::of(column).is_some() {
            return Ok(Self::Text(Arc::clone(column)));
        }
        let (class, numbers) = numbers(column).ok_or_else(|| {
            Error::config("deduplicate", "records cannot be ordered by this column")
                .with("column", name)
                .with("type", column.data_type())
        })?;
        let number = |(row, number)| if column.is_null(row) { NULL } else { number };
        Ok(Self::Numbers(class, numbers.into_iter().enumerate().map(number).collect()))
    }

    /// The text of a row as bytes that are ordered, null as none.
    pub(super) fn text(column: &ArrayRef, row: usize) -> Box<[u8]> {
        match Strings::of(column) {
            Some(strings) if column.is_valid(row) => [&[1], strings.value(row).as_bytes()].concat().into(),
            _ => Box::default(),
        }
    }
}

fn numbers(column: &ArrayRef) -> Option<(Class, Vec<i128>)> {
    let kind = column.data_type();
    let cast = |to: &DataType| cast(column, to).ok();
    Some(match kind {
        DataType::UInt64 => (Class::Integer, widen(column.as_primitive_opt::<UInt64Type>()?.values())),
        kind if kind.is_integer() || *kind == DataType::Boolean => {
            let column = cast(&DataType::Int64)?;
            (Class::Integer, widen(column.as_primitive_opt::<Int64Type>()?.values()))
        }
        DataType::Decimal128(_, scale) => {
            (Class::Decimal(*scale), column.as_primitive_opt::<Decimal128Type>()?.values().to_vec())
        }
        DataType::Float32 | DataType::Float64 => {
            let column = cast(&DataType::Float64)?;
            (Class::Float, column.as_primitive_opt::<Float64Type>()?.values().iter().map(|v| ordered(*v)).collect())
        }
        DataType::Date32 => {
            let days = column.as_primitive_opt::<Date32Type>()?.values();
            (Class::Time, days.iter().map(|days| i128::from(*days) * 86_400_000_000_000).collect())
        }
        DataType::Timestamp(unit, _) => {
            let nanos = nanos(*unit);
            let column = cast(&DataType::Int64)?;
            let values = column.as_primitive_opt::<Int64Type>()?.values();
            (Class::Time, values.iter().map(|v| i128::from(*v) * nanos).collect())
        }
        _ => return None,
    })
}

/// How many nanoseconds there are in a unit.
pub(super) fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn widen<T: Copy + Into<i128>>(values: &[T]) -> Vec<i128> {
    values.iter().map(|v| (*v).into()).collect()
}

/// An integer that is ordered as the float is.
fn ordered(value: f64) -> i128 {
    // No negative zero.
    let bits = (value + 0.0).to_bits() as i64;
    i128::from(if bits < 0 { !(bits & i64::MAX) } else { bits })
}
