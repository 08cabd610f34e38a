use super::Columns;
use crate::error::{Error, Result};

pub use arrow::datatypes::TimeUnit;

/// The type of a column, and the rule by which JSON becomes it.
///
/// As text, in configuration files and frozen schemas:
/// `bool`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `decimal(18,2)`, `utf8`, `utf8(text)`, `json`,
/// `date`, `timestamp`, `timestamp(ms)`, `timestamp(us, epoch_s)`, `datetime`, `list<utf8>`,
/// `struct<sku: utf8, "unit price" from "price"."net": decimal(18,2)>`.
///
/// A value that its column cannot hold exactly is refused: the record goes to the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// `true` or `false`.
    Bool,
    /// Whole numbers; `1.0` is one, `1.5` is refused.
    Int8,
    /// See [`Int8`](Self::Int8).
    Int16,
    /// See [`Int8`](Self::Int8).
    Int32,
    /// See [`Int8`](Self::Int8).
    Int64,
    /// See [`Int8`](Self::Int8).
    Uint8,
    /// See [`Int8`](Self::Int8).
    Uint16,
    /// See [`Int8`](Self::Int8).
    Uint32,
    /// See [`Int8`](Self::Int8).
    Uint64,
    /// Floating point; see [`Float64`](Self::Float64).
    Float32,
    /// Floating point: a fraction is taken to the nearest, a whole number must be held exactly (or be the shortest text of
    /// the float, such as `1e308`).
    Float64,
    /// Decimals from JSON numbers or strings, taken from their text.
    Decimal {
        /// All digits; at most 38.
        precision: u8,
        /// Digits after the point. More of them are refused unless they are zeros.
        scale: u8,
    },
    /// Strings.
    Utf8(Coerce),
    /// The exact JSON text of any value.
    Json,
    /// `YYYY-MM-DD`.
    Date,
    /// An instant, kept in UTC.
    Timestamp {
        /// What is counted. Finer digits are refused unless they are zeros.
        unit: TimeUnit,
        /// How JSON has it.
        written: Written,
    },
    /// RFC 3339 text without an offset: a time on a calendar, of no zone.
    Datetime {
        /// What is counted.
        unit: TimeUnit,
    },
    /// Arrays of one type.
    List(Box<Self>),
    /// Objects.
    Struct(Columns),
}

/// What a column of strings does with a value that is no string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coerce {
    /// Refuses it.
    #[default]
    Strict,
    /// Takes a number or a bool as its JSON text; refuses arrays and objects.
    Text,
}

/// How a timestamp is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// RFC 3339 text with an offset from UTC.
    #[default]
    Rfc3339,
    /// Seconds since 1970, as a number or a string.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Microseconds since 1970.
    EpochMicros,
    /// Nanoseconds since 1970.
    EpochNanos,
}

impl Written {
    /// Digits of a second that one unit has.
    pub(crate) fn digits(self) -> u8 {
        match self {
            Self::Rfc3339 | Self::EpochSeconds => 0,
            Self::EpochMillis => 3,
            Self::EpochMicros => 6,
            Self::EpochNanos => 9,
        }
    }
}

/// Deepest nesting of types.
const MAX_LEVEL: usize = 32;

impl ColumnType {
    /// Strings, and nothing else.
    pub fn utf8() -> Self {
        Self::Utf8(Coerce::Strict)
    }

    /// Instants in microseconds from RFC 3339 text.
    pub fn timestamp() -> Self {
        Self::Timestamp { unit: TimeUnit::Microsecond, written: Written::Rfc3339 }
    }

    pub(super) fn check(&self, name: &str, level: usize) -> Result<()> {
        let refuse = |message| Err(Error::config("check columns", message).with("column", name));
        if level > MAX_LEVEL {
            return refuse("the type is nested too deeply");
        }
        match self {
            Self::Decimal { precision: 1..=38, scale } if self.precision() < *scale => {
                refuse("a decimal has more digits after the point than it has digits")
            }
            Self::Decimal { precision: 1..=38, .. } => Ok(()),
            Self::Decimal { .. } => refuse("a decimal has 1 to 38 digits"),
            Self::List(element) => element.check(name, level + 1),
            Self::Struct(fields) => fields.check_level(level + 1).map_err(|e| e.with("within", name)),
            _ => Ok(()),
        }
    }

    fn precision(&self) -> u8 {
        if let Self::Decimal { precision, .. } = self { *precision } else { 0 }
    }
}
