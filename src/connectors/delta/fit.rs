//! Columns in the types of a table: of files that are older than it, and of rows that come.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date64Type, Field, Fields, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// A column in the type `wanted`, value by value the same; nested ones may have fewer members than are wanted, or more.
///
/// # Errors
/// If a value does not fit.
pub(super) fn fit(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(match (column.data_type(), wanted) {
        (have, wanted) if have == wanted => Arc::clone(column),
        // Times of 96 bits are of UTC and do not say so.
        (DataType::Timestamp(_, None), DataType::Timestamp(TimeUnit::Microsecond, Some(zone))) => {
            let micros = exactly(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            Arc::new(micros.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(Arc::clone(zone)))
        }
        // Files of seconds have numbers without a unit: those of a table are microseconds, and say so.
        (have, DataType::Timestamp(..)) if have.is_integer() => {
            return Err(ArrowError::CastError("numbers are no times: they do not say their unit".to_owned()));
        }
        (DataType::Null, wanted) => new_null_array(wanted, column.len()),
        (DataType::Struct(_), DataType::Struct(members)) => {
            let held = column.as_struct();
            let arrays = members.iter().map(|member| match member_of(held.fields(), member.name()) {
                Some(number) => fit(held.column(number), member.data_type()),
                None => Ok(new_null_array(member.data_type(), held.len())),
            });
            let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new(members.clone(), arrays, held.nulls().cloned())?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let held = column.as_list::<i32>();
            let values = fit(held.values(), element.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(element), held.offsets().clone(), values, held.nulls().cloned())?)
        }
        (have, DataType::List(_)) if element(have).is_some() => {
            // First a list of the same elements, then other elements.
            let same = DataType::List(Arc::new(
                element(have).cloned().unwrap_or_else(|| Field::new("", DataType::Null, true)),
            ));
            fit(&exactly(column, &same)?, wanted)?
        }
        (DataType::Map(..), DataType::Map(entry, sorted)) => {
            let held = column.as_map();
            let DataType::Struct(pair) = entry.data_type() else { return exactly(column, wanted) };
            let [key, value] = pair.as_ref() else { return exactly(column, wanted) };
            let columns = vec![fit(held.keys(), key.data_type())?, fit(held.values(), value.data_type())?];
            let entries = StructArray::try_new(pair.clone(), columns, None)?;
            Arc::new(MapArray::try_new(
                Arc::clone(entry),
                held.offsets().clone(),
                entries,
                held.nulls().cloned(),
                *sorted,
            )?)
        }
        _ => exactly(column, wanted)?,
    })
}

fn exactly(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(column, wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The elements of lists of any kind.
pub(super) fn element(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => Some(element),
        _ => None,
    }
}

/// The number of the member of a name; Delta does not tell names apart by case.
pub(super) fn member_of(fields: &Fields, name: &str) -> Option<usize> {
    let find = |same: &dyn Fn(&str) -> bool| fields.iter().position(|field| same(field.name()));
    find(&|other| other == name).or_else(|| find(&|other| other.eq_ignore_ascii_case(name)))
}

/// Rows with a time that is finer than Delta can hold, or too far away for its 64 bits of microseconds. `None` if the column has no such
/// times at all.
pub(super) fn unfit_times(column: &ArrayRef) -> Result<Option<BooleanArray>> {
    if !may_be_unfit(column.data_type()) {
        return Ok(None);
    }
    let unfit = unfit(column).map_err(|e| Error::data("stage delta", "times cannot be looked at").with_source(e))?;
    Ok(Some(unfit.into_iter().map(Some).collect()))
}

fn may_be_unfit(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(unit, _) => *unit != TimeUnit::Microsecond,
        DataType::Date64 => true,
        DataType::Dictionary(_, values) => may_be_unfit(values),
        DataType::RunEndEncoded(_, values) => may_be_unfit(values.data_type()),
        DataType::Struct(members) => members.iter().any(|member| may_be_unfit(member.data_type())),
        DataType::Map(entry, _) => may_be_unfit(entry.data_type()),
        list => element(list).is_some_and(|element| may_be_unfit(element.data_type())),
    }
}

fn unfit(column: &ArrayRef) -> Result<Vec<bool>, ArrowError> {
    let of_lists = |offsets: &[i32], values: &[bool]| {
        let any = |row: usize| {
            let at = |n: usize| offsets.get(n).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default();
            column.is_valid(row) && values.get(at(row)..at(row + 1)).is_some_and(|values| values.contains(&true))
        };
        (0..column.len()).map(any).collect::<Vec<_>>()
    };
    Ok(match column.data_type() {
        data_type if !may_be_unfit(data_type) => vec![false; column.len()],
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            where_unfit::<TimestampNanosecondType>(column, |v| v % 1000 == 0)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            where_unfit::<TimestampMillisecondType>(column, |v| v.checked_mul(1_000).is_some())
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            where_unfit::<TimestampSecondType>(column, |v| v.checked_mul(1_000_000).is_some())
        }
        DataType::Date64 => {
            where_unfit::<Date64Type>(column, |v| v % 86_400_000 == 0 && i32::try_from(v / 86_400_000).is_ok())
        }
        DataType::Dictionary(_, values) => unfit(&exactly(column, values)?)?,
        DataType::RunEndEncoded(_, values) => unfit(&exactly(column, values.data_type())?)?,
        DataType::Struct(_) => {
            let mut all = vec![false; column.len()];
            for member in column.as_struct().columns() {
                all.iter_mut().zip(unfit(member)?).for_each(|(all, one)| *all |= one);
            }
            all.iter_mut().enumerate().for_each(|(row, unfit)| *unfit &= column.is_valid(row));
            all
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let (keys, values) = (unfit(map.keys())?, unfit(map.values())?);
            let entries: Vec<_> = keys.into_iter().zip(values).map(|(key, value)| key | value).collect();
            of_lists(map.value_offsets(), &entries)
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            of_lists(list.value_offsets(), &unfit(list.values())?)
        }
        list => {
            let same = element(list).cloned().unwrap_or_else(|| Field::new("", DataType::Null, true));
            unfit(&exactly(column, &DataType::List(Arc::new(same)))?)?
        }
    })
}

fn where_unfit<T: ArrowPrimitiveType<Native = i64>>(column: &ArrayRef, fits: impl Fn(i64) -> bool) -> Vec<bool> {
    column.as_primitive::<T>().iter().map(|value| value.is_some_and(|value| !fits(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, TimestampMillisecondArray};

    #[test]
    fn numbers_are_no_times() {
        let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1_700_000_000]));
        assert!(fit(&numbers, &wanted).expect_err("of which unit?").to_string().contains("no times"));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_000]));
        let fitted = fit(&times, &wanted).expect("milliseconds are");
        assert_eq!(fitted.as_primitive::<TimestampMicrosecondType>().values().as_ref(), [1_700_000_000_000_000]);
    }
}
