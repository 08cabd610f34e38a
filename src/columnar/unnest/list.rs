//! Which element of which list each row of a child table is.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, Int64Array, OffsetSizeTrait, UInt32Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// The rows that a column of lists becomes, by numbers.
pub(super) struct Elements {
    /// The row of the parent.
    pub(super) parents: Vec<u32>,
    /// The number among all elements of the column; null in a marker.
    pub(super) values: UInt32Array,
    /// The place in the list; null in a marker.
    pub(super) index: Int64Array,
}

impl Elements {
    /// The elements of all lists; with `markers`, a row without a value for each list that has none.
    pub(super) fn of(list: &ArrayRef, markers: bool) -> Result<Self> {
        match list.data_type() {
            DataType::List(_) => Self::from_offsets::<i32>(list.as_list(), markers),
            DataType::LargeList(_) => Self::from_offsets::<i64>(list.as_list(), markers),
            DataType::Null => Self::from_ranges((0..list.len()).map(|_| 0..0), markers),
            _ => Err(no_list(list)),
        }
    }

    /// What the lists hold; `None` if there is not one.
    pub(super) fn values(list: &ArrayRef) -> Result<Option<ArrayRef>> {
        match list.data_type() {
            DataType::List(_) => Ok(Some(Arc::clone(list.as_list::<i32>().values()))),
            DataType::LargeList(_) => Ok(Some(Arc::clone(list.as_list::<i64>().values()))),
            DataType::Null => Ok(None),
            _ => Err(no_list(list)),
        }
    }

    fn from_offsets<O: OffsetSizeTrait>(list: &GenericListArray<O>, markers: bool) -> Result<Self> {
        let offsets = list.value_offsets().windows(2).enumerate();
        let ranges = offsets.map(|(row, ends)| match ends {
            // A null may have elements all the same, which are none.
            [from, to] if list.is_valid(row) => from.as_usize()..to.as_usize(),
            _ => 0..0,
        });
        Self::from_ranges(ranges, markers)
    }

    fn from_ranges(ranges: impl Iterator<Item = std::ops::Range<usize>>, markers: bool) -> Result<Self> {
        let (mut parents, mut values, mut index) = (Vec::new(), Vec::new(), Vec::new());
        for (row, range) in ranges.enumerate() {
            let row = number(row)?;
            if range.is_empty() && markers {
                parents.push(row);
                values.push(None);
                index.push(None);
            }
            for (place, value) in range.enumerate() {
                parents.push(row);
                values.push(Some(number(value)?));
                index.push(Some(i64::from(number(place)?)));
            }
        }
        Ok(Self { parents, values: values.into(), index: index.into() })
    }
}

fn number(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        Error::data("unnest", "a batch has more elements than can be numbered").with_hint("land smaller pages")
    })
}

fn no_list(column: &ArrayRef) -> Error {
    Error::config("unnest", "the column holds no lists")
        .with("type", column.data_type())
        .with_hint("declare it as a list in the schema, or correct its name")
}
