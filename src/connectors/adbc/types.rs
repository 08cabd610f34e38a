//! Types of columns: how each database names them, and in which Arrow type their values are handed over.

use super::dialect::AdbcDialect;
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, TimeUnit};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Bool,
    /// A whole number; Arrow's type of it.
    Int(DataType),
    Float32,
    Float64,
    /// Digits, and digits after the point; `None` is any.
    Decimal(Option<(u8, i8)>),
    /// The most characters, if there is a limit.
    Text(Option<usize>),
    Binary,
    Date,
    Time,
    Timestamp,
    Timestamptz,
}

impl ColumnType {
    /// The type that a new column gets for an Arrow field.
    ///
    /// # Errors
    /// `Config` if there is none that holds its values.
    pub(super) fn for_field(field: &Field, dialect: AdbcDialect) -> Result<Self> {
        Self::for_type(field.data_type(), dialect).ok_or_else(|| {
            Error::config("create table", "no type of the database holds these values")
                .with("column", field.name())
                .with("type", field.data_type())
                .with("dialect", dialect.as_str())
                .with_hint("turn the column into another type in a stage before the sink")
        })
    }

    fn for_type(data_type: &DataType, dialect: AdbcDialect) -> Option<Self> {
        use AdbcDialect::{DuckDb, Sqlite};
        let as_text = dialect == Sqlite;
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            kind if kind.is_integer() => match (dialect, kind) {
                (DuckDb, _) => Self::Int(kind.clone()),
                // One size, and what is greater is refused row by row.
                (Sqlite, _) => Self::Int(DataType::Int64),
                (_, DataType::Int8 | DataType::UInt8) => Self::Int(DataType::Int16),
                (_, DataType::UInt16) => Self::Int(DataType::Int32),
                (_, DataType::UInt32) => Self::Int(DataType::Int64),
                (_, DataType::UInt64) => Self::Decimal(Some((20, 0))),
                (_, kind) => Self::Int(kind.clone()),
            },
            DataType::Float16 | DataType::Float32 if !as_text => Self::Float32,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float64,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
                if as_text =>
            {
                Self::Text(None)
            }
            DataType::Decimal32(digits, scale)
            | DataType::Decimal64(digits, scale)
            | DataType::Decimal128(digits, scale)
            | DataType::Decimal256(digits, scale)
                if *digits <= 38 && *scale >= 0 =>
            {
                Self::Decimal(Some((*digits, *scale)))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(None),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            kind if kind.is_temporal() && as_text && Self::is_moment(kind) => Self::Text(None),
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            // As JSON.
            DataType::Struct(_)
            | DataType::Map(..)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..) => Self::Text(None),
            DataType::Dictionary(_, values) => Self::for_type(values, dialect)?,
            _ => return None,
        })
    }

    fn is_moment(kind: &DataType) -> bool {
        use DataType::{Date32, Date64, Time32, Time64, Timestamp};
        matches!(kind, Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..))
    }

    /// The Arrow type in which values are handed over, for a column of the type `source` in the batch.
    pub(super) fn wire(&self, source: &DataType) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int(kind) => kind.clone(),
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal(Some((digits, scale))) => DataType::Decimal128(*digits, *scale),
            Self::Decimal(None) => match source {
                DataType::Decimal128(digits, scale)
                | DataType::Decimal64(digits, scale)
                | DataType::Decimal32(digits, scale) => DataType::Decimal128(*digits, *scale),
                _ => DataType::Decimal128(20, 0),
            },
            Self::Text(_) => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// Whether the greatest of its values is the greatest in the database, too: text of numbers is ordered in another way.
    pub(super) fn keeps_order_of(&self, source: &DataType) -> bool {
        let source = match source {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        !matches!(self, Self::Text(_)) || source.is_string() || Self::is_moment(source)
    }

    /// Whether it holds all values of `other` as they are.
    pub(super) fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(wider), Self::Int(narrower)) => {
                let is_signed = |kind: &DataType| kind.is_signed_integer();
                is_signed(wider) == is_signed(narrower) && wider.primitive_width() >= narrower.primitive_width()
            }
            (Self::Float64, Self::Float32) | (Self::Text(None), Self::Text(_)) => true,
            (Self::Text(Some(wider)), Self::Text(Some(narrower))) => wider >= narrower,
            (Self::Decimal(Some((digits, scale))), Self::Decimal(Some((others, of_others)))) => {
                let whole = |digits: &u8, scale: &i8| i32::from(*digits) - i32::from(*scale);
                scale >= of_others && whole(digits, scale) >= whole(others, of_others)
            }
            (this, other) => this == other,
        }
    }

    /// Its name in a statement.
    pub(super) fn sql(&self, dialect: AdbcDialect) -> String {
        use AdbcDialect::{DuckDb, Postgres, Sqlite, Standard};
        let name = match self {
            Self::Bool => "BOOLEAN",
            Self::Int(_) if dialect == Sqlite => "INTEGER",
            Self::Int(kind) => match kind {
                DataType::Int8 => "TINYINT",
                DataType::Int16 => "SMALLINT",
                DataType::Int32 => "INTEGER",
                DataType::UInt8 => "UTINYINT",
                DataType::UInt16 => "USMALLINT",
                DataType::UInt32 => "UINTEGER",
                DataType::UInt64 => "UBIGINT",
                _ => "BIGINT",
            },
            Self::Float32 | Self::Float64 if dialect == Sqlite => "REAL",
            Self::Float32 => "REAL",
            Self::Float64 => "DOUBLE PRECISION",
            Self::Decimal(None) => "DECIMAL",
            Self::Decimal(Some((digits, scale))) => return format!("DECIMAL({digits},{scale})"),
            Self::Text(Some(most)) if dialect != Sqlite => return format!("VARCHAR({most})"),
            Self::Text(_) => match dialect {
                Sqlite | Postgres => "TEXT",
                DuckDb | Standard => "VARCHAR",
            },
            Self::Binary => match dialect {
                Postgres => "BYTEA",
                DuckDb | Sqlite => "BLOB",
                Standard => "VARBINARY",
            },
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Timestamptz => "TIMESTAMP WITH TIME ZONE",
        };
        name.to_owned()
    }

    /// The type that the catalogue names; `None` if we do not write it.
    pub(super) fn from_sql(dialect: AdbcDialect, of: &Catalogued<'_>) -> Option<Self> {
        let name = of.name.to_ascii_lowercase();
        let (base, arguments) = match name.split_once('(') {
            Some((base, rest)) => {
                // `timestamp(3) with time zone` rounds.
                let (arguments, after) = rest.split_once(')')?;
                (base.trim(), Some(arguments).filter(|_| after.trim().is_empty()))
            }
            None => (name.trim(), None),
        };
        if name.contains('(') && arguments.is_none() {
            return None;
        }
        let fine = of.second_digits.is_none_or(|digits| digits >= 6) && arguments.is_none();
        Some(match base {
            "boolean" | "bool" => Self::Bool,
            "tinyint" | "smallint" | "int2" | "integer" | "int" | "int4" | "bigint" | "int8"
                if dialect == AdbcDialect::Sqlite =>
            {
                Self::Int(DataType::Int64)
            }
            "real" | "float" | "double" | "double precision" if dialect == AdbcDialect::Sqlite => Self::Float64,
            // What they do to text and numbers follows from their names (SQLite, "Datatypes", 3.1): only these keep text as it is.
            "text" | "varchar" | "character varying" if dialect == AdbcDialect::Sqlite => Self::Text(None),
            "blob" => Self::Binary,
            _ if dialect == AdbcDialect::Sqlite => return None,
            "tinyint" => Self::Int(DataType::Int8),
            "smallint" | "int2" => Self::Int(DataType::Int16),
            "integer" | "int" | "int4" => Self::Int(DataType::Int32),
            "bigint" | "int8" => Self::Int(DataType::Int64),
            "utinyint" => Self::Int(DataType::UInt8),
            "usmallint" => Self::Int(DataType::UInt16),
            "uinteger" => Self::Int(DataType::UInt32),
            "ubigint" => Self::Int(DataType::UInt64),
            "real" | "float4" => Self::Float32,
            "float" if dialect == AdbcDialect::DuckDb => Self::Float32,
            "float" | "double" | "double precision" | "float8" => Self::Float64,
            "decimal" | "numeric" => {
                let digits = match arguments {
                    Some(arguments) => {
                        let (digits, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
                        Some((digits.trim().parse().ok()?, scale.trim().parse().ok()?))
                    }
                    None => of.digits.zip(of.scale.or(Some(0))),
                };
                match digits {
                    Some((digits, scale)) if (1..=38).contains(&digits) && (0..=digits as i8).contains(&scale) => {
                        Self::Decimal(Some((digits, scale)))
                    }
                    Some(_) => return None,
                    None => Self::Decimal(None),
                }
            }
            "text" | "varchar" | "character varying" | "string" => {
                let most = arguments.and_then(|n| n.trim().parse().ok()).or(of.characters);
                Self::Text(most)
            }
            "bytea" | "varbinary" | "binary varying" => Self::Binary,
            "date" => Self::Date,
            "time" | "time without time zone" if fine => Self::Time,
            "timestamp" | "timestamp without time zone" if fine => Self::Timestamp,
            "timestamp with time zone" | "timestamptz" if fine => Self::Timestamptz,
            _ => return None,
        })
    }
}

/// A type as the catalogue tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Catalogued<'a> {
    pub name: &'a str,
    pub digits: Option<u8>,
    pub scale: Option<i8>,
    pub characters: Option<usize>,
    pub second_digits: Option<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use AdbcDialect::{DuckDb, Postgres, Sqlite, Standard};

    fn from(dialect: AdbcDialect, name: &str) -> Option<ColumnType> {
        ColumnType::from_sql(dialect, &Catalogued { name, ..Catalogued::default() })
    }

    #[test]
    fn a_column_that_we_make_is_known_again() {
        let kinds = [
            DataType::Boolean,
            DataType::Int8,
            DataType::Int64,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(38, 10),
            DataType::Utf8,
            DataType::Binary,
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
            DataType::List(Field::new_list_field(DataType::Int64, true).into()),
        ];
        for dialect in [DuckDb, Postgres, Sqlite, Standard] {
            for kind in &kinds {
                let made = ColumnType::for_type(kind, dialect).expect("it has a place");
                assert_eq!(from(dialect, &made.sql(dialect)).as_ref(), Some(&made), "{dialect:?} {kind}");
            }
        }
    }

    #[test]
    fn a_type_that_would_change_values_is_not_written() {
        assert_eq!(from(Postgres, "timestamp(3) with time zone"), None);
        let rounded =
            Catalogued { name: "timestamp without time zone", second_digits: Some(3), ..Catalogued::default() };
        assert_eq!(ColumnType::from_sql(Postgres, &rounded), None);
        for other in ["TIMESTAMP_MS", "HUGEINT", "DECIMAL(5,-2)", "INTEGER[]", "STRUCT(a INTEGER)", "character"] {
            assert_eq!(from(DuckDb, other), None, "{other}");
        }
        // By the rules of affinity, a text of digits would become a number in these.
        for other in ["DECIMAL(10,2)", "NUMERIC", "TIMESTAMP", "DATE", ""] {
            assert_eq!(from(Sqlite, other), None, "{other}");
        }
        let digits = Catalogued { name: "numeric", digits: Some(18), scale: Some(2), ..Catalogued::default() };
        assert_eq!(ColumnType::from_sql(Postgres, &digits), Some(ColumnType::Decimal(Some((18, 2)))));
        assert_eq!(from(Postgres, "numeric"), Some(ColumnType::Decimal(None)));
    }
}
