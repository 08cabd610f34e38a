//! Column types of the database, and which of them hold which Arrow type without loss.

use super::table::Given;
use crate::columnar::is_json;
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Digits and digits after the point; `None` is any.
    Numeric(Option<(u16, i16)>),
    Text,
    /// Text of another type's name: `character varying(20)`.
    TextLike(String),
    Bytea,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Json,
    Jsonb,
    /// One dimension.
    Array(Box<Self>),
}

impl ColumnType {
    /// The type that a new column gets for an Arrow field.
    ///
    /// # Errors
    /// `Config` if there is none that holds its values.
    pub(super) fn for_field(field: &Field) -> Result<Self> {
        Self::for_type(field.data_type(), is_json(field)).ok_or_else(|| {
            Error::config("create table", "no type of PostgreSQL holds these values")
                .with("column", field.name())
                .with("type", field.data_type())
                .with_hint("turn the column into another type in a stage before the sink")
        })
    }

    fn for_type(data_type: &DataType, holds_json: bool) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 => Self::Int8,
            DataType::UInt64 => Self::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(digits, scale)
            | DataType::Decimal64(digits, scale)
            | DataType::Decimal128(digits, scale)
            | DataType::Decimal256(digits, scale) => match u8::try_from(*scale) {
                Ok(_) => Self::Numeric(Some((u16::from(*digits), i16::from(*scale)))),
                Err(_) => Self::Numeric(None),
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if holds_json => Self::Jsonb,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            DataType::Struct(_) | DataType::Map(..) => Self::Jsonb,
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                match Self::for_type(element.data_type(), is_json(element))? {
                    // An array of arrays must be rectangular in PostgreSQL.
                    Self::Array(_) | Self::Jsonb => Self::Jsonb,
                    element => Self::Array(Box::new(element)),
                }
            }
            DataType::Dictionary(_, values) => Self::for_type(values, holds_json)?,
            _ => return None,
        })
    }

    /// The type that `format_type` names; `None` if we do not write it.
    pub(super) fn from_sql(name: &str) -> Option<Self> {
        if let Some(element) = name.strip_suffix("[]") {
            return match Self::from_sql(element)? {
                // Their elements have an id of their own.
                Self::Array(_) | Self::TextLike(_) => None,
                element => Some(Self::Array(Box::new(element))),
            };
        }
        let (base, arguments) = name.split_once('(').map_or((name, None), |(base, rest)| (base, rest.split_once(')')));
        Some(match base.trim() {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "double precision" => Self::Float8,
            "numeric" => match arguments {
                None => Self::Numeric(None),
                Some((arguments, _)) => {
                    let (digits, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
                    match (digits.parse(), scale.parse()) {
                        (Ok(digits), Ok(scale)) => Self::Numeric(Some((digits, scale))),
                        _ => return None,
                    }
                }
            },
            "text" => Self::Text,
            "character varying" | "character" | "citext" => Self::TextLike(name.to_owned()),
            "bytea" => Self::Bytea,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            // With fewer digits of a second they would be rounded: `time(3) without time zone` is not read.
            "time without time zone" => Self::Time,
            "timestamp without time zone" => Self::Timestamp,
            "timestamp with time zone" => Self::Timestamptz,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            _ => return None,
        })
    }

    /// The number of characters that it holds at most, if there is a limit.
    pub(super) fn characters(&self) -> Option<usize> {
        let Self::TextLike(name) = self else { return None };
        name.split_once('(')?.1.split_once(')')?.0.parse().ok()
    }

    /// Whether it holds all values of `other` as they are, and the database turns them by itself.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let digits = |kind: &Self| match kind {
            Self::Int2 => Some((5, 0)),
            Self::Int4 => Some((10, 0)),
            Self::Int8 => Some((19, 0)),
            Self::Numeric(Some((digits, scale))) => Some((i32::from(*digits) - i32::from(*scale), i32::from(*scale))),
            _ => None,
        };
        match (self, other) {
            (Self::Int4, Self::Int2) | (Self::Int8, Self::Int2 | Self::Int4) | (Self::Float8, Self::Float4) => true,
            (Self::Numeric(None), other) => matches!(other, Self::Numeric(_)) || digits(other).is_some(),
            (Self::Numeric(_), other) => digits(self)
                .zip(digits(other))
                .is_some_and(|((whole, after), (other, others))| whole >= other && after >= others),
            // Of a `character` the blanks at the end would go.
            (Self::Text, Self::TextLike(name)) => name.starts_with("character varying"),
            (Self::TextLike(name), Self::Text) => name == "character varying",
            (this, other) => this == other,
        }
    }

    /// The object id of the type, for elements of arrays (`pg_type.dat`).
    pub(super) fn oid(&self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Json => 114,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::TextLike(_) => 1043,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Numeric(_) => 1700,
            Self::Uuid => 2950,
            Self::Jsonb => 3802,
            Self::Array(_) => 0,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric(None) => "numeric",
            Self::Numeric(Some((digits, scale))) => return write!(f, "numeric({digits},{scale})"),
            Self::Text => "text",
            Self::TextLike(name) => name,
            Self::Bytea => "bytea",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time without time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(element) => return write!(f, "{element}[]"),
        })
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableColumn {
    pub name: String,
    /// Its type, as `format_type` names it.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip)]
    pub not_null: bool,
    #[serde(skip)]
    pub given: Given,
    /// Whether texts that differ may be equal to it, or to a unique index of it: the collation is not deterministic.
    #[serde(skip)]
    pub folds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_type_holds_a_narrower_one_and_no_other_does() {
        let of = |name: &str| ColumnType::from_sql(name).expect("a type");
        for (wider, narrower) in [
            ("bigint", "integer"),
            ("integer", "smallint"),
            ("double precision", "real"),
            ("numeric", "numeric(12,2)"),
            ("numeric", "bigint"),
            ("numeric(21,2)", "bigint"),
            ("numeric(14,4)", "numeric(12,2)"),
            ("text", "character varying(20)"),
        ] {
            assert!(of(wider).holds(&of(narrower)), "{wider} {narrower}");
            assert!(!of(narrower).holds(&of(wider)), "{narrower} {wider}");
        }
        for (one, other) in [
            ("double precision", "bigint"),
            ("numeric(20,2)", "bigint"),
            ("numeric(12,4)", "numeric(12,2)"),
            ("numeric", "double precision"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("date", "timestamp without time zone"),
            ("text", "bigint"),
            ("jsonb", "json"),
        ] {
            assert!(!of(one).holds(&of(other)) && !of(other).holds(&of(one)), "{one} {other}");
        }
        for (one, same) in
            [("numeric(12,2)", "numeric(12,2)"), ("character varying", "text"), ("text", "character varying")]
        {
            assert!(of(one).holds(&of(same)), "{one} {same}");
        }
    }

    #[test]
    fn the_names_of_the_catalogue_are_read_as_they_are_written() {
        for name in [
            "boolean",
            "smallint",
            "bigint",
            "real",
            "double precision",
            "numeric",
            "numeric(38,10)",
            "text",
            "character varying(20)",
            "bytea",
            "uuid",
            "date",
            "time without time zone",
            "timestamp without time zone",
            "timestamp with time zone",
            "json",
            "jsonb",
            "text[]",
            "numeric(18,2)[]",
        ] {
            assert_eq!(ColumnType::from_sql(name).map(|t| t.to_string()).as_deref(), Some(name));
        }
        assert_eq!(ColumnType::from_sql("numeric(500,2)"), Some(ColumnType::Numeric(Some((500, 2)))));
        let rounding = ["timestamp(3) with time zone", "time(0) without time zone"];
        for other in ["integer[][]", "tsvector", "interval", "point", "character(3)[]"].into_iter().chain(rounding) {
            assert_eq!(ColumnType::from_sql(other), None, "{other}");
        }
    }
}
