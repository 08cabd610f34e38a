use crate::columnar::decode::{date, floor as floor_of, instant};
use crate::error::{Error, Result};
use arrow::datatypes::TimeUnit;
use std::fmt;
use std::ops::Bound;

/// A value that a rule compares with: a number or text.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit(pub(super) Value);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i128),
    Float(f64),
    Text(String),
}

macro_rules! limit_from {
    ($($number:ty => $variant:ident),*) => {
        $(impl From<$number> for Limit {
            fn from(value: $number) -> Self {
                Self(Value::$variant(value.into()))
            }
        })*
    };
}
limit_from!(i32 => Int, i64 => Int, u32 => Int, u64 => Int, f64 => Float, &str => Text, String => Text);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// What the numbers of a column count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    /// Multiples of `10^-scale`.
    Scaled(u8),
    Times(TimeUnit),
    Days,
}

/// The least and the greatest number that lie in the range.
pub(super) fn numbers(low: &Bound<Limit>, high: &Bound<Limit>, counted: Counted) -> Result<(i128, i128)> {
    let low = match low {
        Bound::Unbounded => i128::MIN,
        Bound::Included(limit) => floor(limit, counted)?.up(),
        Bound::Excluded(limit) => floor(limit, counted)?.number.saturating_add(1),
    };
    let high = match high {
        Bound::Unbounded => i128::MAX,
        Bound::Included(limit) => floor(limit, counted)?.number,
        Bound::Excluded(limit) => floor(limit, counted)?.up().saturating_sub(1),
    };
    Ok((low, high))
}

/// The greatest number that is not above a limit, and whether it is the limit.
struct Floor {
    number: i128,
    exact: bool,
}

impl Floor {
    /// The least number that is not below the limit.
    fn up(&self) -> i128 {
        self.number.saturating_add(i128::from(!self.exact))
    }
}

fn floor(limit: &Limit, counted: Counted) -> Result<Floor> {
    let exact = |number| Floor { number, exact: true };
    match (counted, &limit.0) {
        (Counted::Times(unit), Value::Text(text)) => match instant(text.as_bytes(), unit) {
            Ok(number) => Ok(exact(number.into())),
            Err(fault) => Err(unfit(limit, &fault.reason())),
        },
        (Counted::Days, Value::Text(text)) => match date(text.as_bytes()) {
            Ok(number) => Ok(exact(number.into())),
            Err(fault) => Err(unfit(limit, &fault.reason())),
        },
        (Counted::Scaled(scale), _) => scaled(&limit.to_string(), scale).ok_or_else(|| unfit(limit, "not a number")),
        (Counted::Times(_) | Counted::Days, _) => Err(unfit(limit, "times and dates are limited by text")),
    }
}

/// A number as text, counted in `10^-scale`. What is out of range lies beyond every value.
fn scaled(text: &str, scale: u8) -> Option<Floor> {
    let (number, exact) = match text {
        "inf" => (i128::MAX, true),
        "-inf" => (i128::MIN, true),
        _ => floor_of(text.as_bytes(), scale)?,
    };
    Some(Floor { number, exact })
}

pub(super) fn unfit(limit: &Limit, why: &str) -> Error {
    Error::config("validate", "a limit does not fit its column").with("limit", limit).with("why", why)
}
