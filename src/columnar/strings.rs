use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::DataType;

/// A column of strings, in whichever of Arrow's layouts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strings<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    /// `None` if it is a column of something else.
    pub(super) fn of(column: &'a ArrayRef) -> Option<Self> {
        match column.data_type() {
            DataType::Utf8 => column.as_string_opt().map(Self::Small),
            DataType::LargeUtf8 => column.as_string_opt().map(Self::Large),
            DataType::Utf8View => column.as_string_view_opt().map(Self::View),
            _ => None,
        }
    }

    /// The string of a row, which must be one of the column and not null.
    #[inline]
    pub(super) fn value(&self, row: usize) -> &'a str {
        match self {
            Self::Small(column) => column.value(row),
            Self::Large(column) => column.value(row),
            Self::View(column) => column.value(row),
        }
    }
}
