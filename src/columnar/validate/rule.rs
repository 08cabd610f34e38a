use super::limit::{Counted, Limit, Value, numbers, unfit};
use crate::columnar::decode::OneColumn;
use crate::columnar::strings::Strings;
use crate::columnar::{Batch, ColumnType, Columns};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use regex::Regex;
use std::fmt;
use std::ops::Bound;

type Keeps = Box<dyn Fn(&Batch) -> Result<BooleanArray> + Send + Sync>;

/// One rule about one column, or about whole rows.
pub(super) enum Rule {
    Required(String),
    Range(String, Bound<Limit>, Bound<Limit>),
    Pattern(String, Result<Regex, regex::Error>),
    OneOf(String, Vec<Limit>),
    Parses(String, ColumnType),
    Custom(&'static str, Keeps),
}

impl Rule {
    pub(super) fn required(column: String) -> Self {
        Self::Required(column)
    }

    pub(super) fn range(column: String, low: Bound<Limit>, high: Bound<Limit>) -> Self {
        Self::Range(column, low, high)
    }

    pub(super) fn pattern(column: String, pattern: &str) -> Self {
        Self::Pattern(column, Regex::new(pattern))
    }

    pub(super) fn one_of(column: String, values: Vec<Limit>) -> Self {
        Self::OneOf(column, values)
    }

    pub(super) fn parses(column: String, kind: ColumnType) -> Self {
        Self::Parses(column, kind)
    }

    pub(super) fn custom(name: &'static str, keeps: Keeps) -> Self {
        Self::Custom(name, keeps)
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Required(_) => "required",
            Self::Range(..) => "range",
            Self::Pattern(..) => "pattern",
            Self::OneOf(..) => "one_of",
            Self::Parses(..) => "parses",
            Self::Custom(name, _) => name,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Pattern(column, pattern) => compiled(column, pattern).map(drop),
            Self::Parses(column, kind) => Columns::new().typed(column, kind.clone()).check(),
            _ => Ok(()),
        }
    }

    /// The rows that break the rule, ascending.
    pub(super) fn broken_by(&self, batch: &Batch) -> Result<Vec<usize>> {
        match self {
            Self::Required(column) => {
                let column = batch.column(column)?;
                let nulls = column.logical_nulls();
                Ok(nulls.map_or_else(Vec::new, |nulls| rows(&column, false, |row| nulls.is_null(row))))
            }
            Self::Range(column, low, high) => outside(&batch.column(column)?, low, high),
            Self::Pattern(column, pattern) => {
                let pattern = compiled(column, pattern)?;
                let values = batch.column(column)?;
                let strings = text(&values)?;
                Ok(rows(&values, true, |row| !pattern.is_match(strings.value(row))))
            }
            Self::OneOf(column, values) => none_of(&batch.column(column)?, values),
            Self::Parses(column, kind) => {
                self.check()?;
                let column = batch.column(column)?;
                let strings = text(&column)?;
                let mut reader = OneColumn::new(kind);
                Ok(rows(&column, true, |row| !reader.reads(strings.value(row))))
            }
            Self::Custom(_, keeps) => {
                let keeps = keeps(batch)?;
                if keeps.len() != batch.num_rows() {
                    return Err(Error::bug("validate", "the answer has another length than the batch")
                        .with("answer", keeps.len())
                        .with("rows", batch.num_rows()));
                }
                Ok((0..keeps.len()).filter(|row| keeps.is_null(*row) || !keeps.value(*row)).collect())
            }
        }
    }
}

fn compiled<'a>(column: &str, pattern: &'a Result<Regex, regex::Error>) -> Result<&'a Regex> {
    pattern.as_ref().map_err(|error| {
        Error::config("validate", "the pattern is no regular expression")
            .with("column", column)
            .with_source(error.clone())
    })
}

/// The rows for which `breaks` is true; those that are null are left out if `valid`.
fn rows(column: &ArrayRef, valid: bool, mut breaks: impl FnMut(usize) -> bool) -> Vec<usize> {
    let nulls = if valid { column.nulls() } else { None };
    match nulls {
        None => (0..column.len()).filter(|row| breaks(*row)).collect(),
        Some(nulls) => nulls.valid_indices().filter(|row| breaks(*row)).collect(),
    }
}

fn text(column: &ArrayRef) -> Result<Strings<'_>> {
    Strings::of(column).ok_or_else(|| misfit(column, "text"))
}

fn misfit(column: &ArrayRef, needed: &str) -> Error {
    Error::config("validate", "the rule does not fit the type of its column")
        .with("type", column.data_type())
        .with("needed", needed)
}

fn outside(column: &ArrayRef, low: &Bound<Limit>, high: &Bound<Limit>) -> Result<Vec<usize>> {
    let kind = column.data_type();
    let failed = |e| Error::bug("validate", "a column cannot be read").with_source(e);
    let not = |needed| misfit(column, needed);
    let within = |counted, values: &dyn Fn(usize) -> i128| {
        let (low, high) = numbers(low, high, counted)?;
        Ok(rows(column, true, |row| !(low..=high).contains(&values(row))))
    };
    match kind {
        DataType::UInt64 => {
            let values = column.as_primitive_opt::<UInt64Type>().ok_or_else(|| not("uint64"))?;
            within(Counted::Scaled(0), &|row| values.value(row).into())
        }
        kind if kind.is_integer() => {
            let column = cast(column, &DataType::Int64).map_err(failed)?;
            let values = column.as_primitive_opt::<Int64Type>().ok_or_else(|| not("integers"))?;
            within(Counted::Scaled(0), &|row| values.value(row).into())
        }
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive_opt::<Decimal128Type>().ok_or_else(|| not("decimals"))?;
            let scale = u8::try_from(*scale).map_err(|_| not("a scale of 0 or more"))?;
            within(Counted::Scaled(scale), &|row| values.value(row))
        }
        DataType::Timestamp(unit, _) => {
            let column = cast(column, &DataType::Int64).map_err(failed)?;
            let values = column.as_primitive_opt::<Int64Type>().ok_or_else(|| not("times"))?;
            within(Counted::Times(*unit), &|row| values.value(row).into())
        }
        DataType::Date32 => {
            let values = column.as_primitive_opt::<Date32Type>().ok_or_else(|| not("dates"))?;
            within(Counted::Days, &|row| values.value(row).into())
        }
        DataType::Float32 | DataType::Float64 => {
            let wide = cast(column, &DataType::Float64).map_err(failed)?;
            let values = wide.as_primitive_opt::<Float64Type>().ok_or_else(|| not("floats"))?;
            let float = |bound: &Bound<Limit>| match bound {
                Bound::Unbounded => Ok(Bound::Unbounded),
                Bound::Included(limit) => as_float(limit).map(Bound::Included),
                Bound::Excluded(limit) => as_float(limit).map(Bound::Excluded),
            };
            let range = (float(low)?, float(high)?);
            Ok(rows(column, true, |row| !std::ops::RangeBounds::contains(&range, &values.value(row))))
        }
        _ => Err(not("numbers, decimals, times or dates")),
    }
}

fn as_float(limit: &Limit) -> Result<f64> {
    let value = match &limit.0 {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Text(text) => text.parse().ok(),
    };
    value.filter(|value| !value.is_nan()).ok_or_else(|| unfit(limit, "not a number"))
}

fn none_of(column: &ArrayRef, values: &[Limit]) -> Result<Vec<usize>> {
    let misfits = |needed: &str| values.first().map_or_else(|| misfit(column, needed), |first| unfit(first, needed));
    if let Some(strings) = Strings::of(column) {
        let allowed: Option<Vec<&str>> =
            values.iter().map(|v| if let Value::Text(text) = &v.0 { Some(text.as_str()) } else { None }).collect();
        let allowed = allowed.ok_or_else(|| misfits("a column of text"))?;
        return Ok(rows(column, true, |row| !allowed.contains(&strings.value(row))));
    }
    if !column.data_type().is_integer() {
        return Err(misfit(column, "text or whole numbers"));
    }
    let allowed: Option<Vec<i128>> =
        values.iter().map(|v| if let Value::Int(n) = v.0 { Some(n) } else { None }).collect();
    let allowed = allowed.ok_or_else(|| misfits("a column of whole numbers"))?;
    let wide = cast(column, &DataType::Decimal128(38, 0))
        .map_err(|e| Error::bug("validate", "a column cannot be read").with_source(e))?;
    let numbers = wide.as_primitive_opt::<Decimal128Type>().ok_or_else(|| misfit(column, "whole numbers"))?;
    Ok(rows(column, true, |row| !allowed.contains(&numbers.value(row))))
}

/// What is demanded, for people: the reason of a refusal.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required(column) => write!(f, "{column}: required"),
            Self::Range(column, low, high) => {
                write!(f, "{column}: in the range ")?;
                match low {
                    Bound::Unbounded => {}
                    Bound::Included(limit) => write!(f, "{limit}")?,
                    Bound::Excluded(limit) => write!(f, "above {limit} ")?,
                }
                f.write_str("..")?;
                match high {
                    Bound::Unbounded => Ok(()),
                    Bound::Included(limit) => write!(f, "={limit}"),
                    Bound::Excluded(limit) => write!(f, "{limit}"),
                }
            }
            Self::Pattern(column, Ok(pattern)) => write!(f, "{column}: like {pattern}"),
            Self::Pattern(column, Err(_)) => write!(f, "{column}: like a pattern"),
            Self::OneOf(column, values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "{column}: one of {}", values.join(", "))
            }
            Self::Parses(column, kind) => {
                write!(f, "{column}: readable as {kind}")
            }
            Self::Custom(name, _) => write!(f, "{name}: not kept"),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
