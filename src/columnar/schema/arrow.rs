use super::{Coerce, Column, ColumnType, Columns, Written};
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;

/// The time zone of every instant: the spelling that Arrow's text functions understand without a zone database.
pub(crate) const UTC: &str = "+00:00";

/// Arrow's own mark of a string column that holds JSON.
const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

impl Columns {
    /// The Arrow schema of the batches. All fields may be null; instants are in UTC, spelled `+00:00`; a `json` column is a string
    /// column marked with Arrow's extension name `arrow.json`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn to_arrow(&self) -> Result<SchemaRef> {
        self.check()?;
        Ok(Arc::new(Schema::new(self.fields())))
    }

    pub(crate) fn fields(&self) -> Vec<Field> {
        self.iter().map(|c| c.kind.field(&c.name)).collect()
    }

    /// Columns of the types of an Arrow schema. Whether a field may be null is not looked at: all may.
    ///
    /// # Errors
    /// `Config` if there is a type that JSON is not decoded to, such as a map or a union.
    pub fn from_arrow(schema: &Schema) -> Result<Self> {
        let columns = Self::from_fields(schema.fields().iter())?;
        columns.check()?;
        Ok(columns)
    }

    fn from_fields<'a>(fields: impl Iterator<Item = &'a Arc<Field>>) -> Result<Self> {
        let columns = fields.map(|f| Ok(Column::new(f.name(), ColumnType::from_field(f)?))).collect::<Result<_>>()?;
        Ok(Self { columns })
    }
}

impl ColumnType {
    /// The Arrow field of a column of this type.
    pub(crate) fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.to_arrow(), true);
        match self {
            Self::Json => {
                let (key, value) = EXTENSION;
                field.with_metadata(HashMap::from([(key.to_owned(), value.to_owned())]))
            }
            _ => field,
        }
    }

    /// The Arrow type of a column of this type.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Uint8 => DataType::UInt8,
            Self::Uint16 => DataType::UInt16,
            Self::Uint32 => DataType::UInt32,
            Self::Uint64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            Self::Utf8(_) | Self::Json => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp { unit, .. } => DataType::Timestamp(*unit, Some(UTC.into())),
            Self::Datetime { unit } => DataType::Timestamp(*unit, None),
            Self::List(element) => DataType::List(Arc::new(element.field("item"))),
            Self::Struct(fields) => DataType::Struct(fields.fields().into()),
        }
    }

    fn from_field(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::UInt8 => Self::Uint8,
            DataType::UInt16 => Self::Uint16,
            DataType::UInt32 => Self::Uint32,
            DataType::UInt64 => Self::Uint64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale @ 0..) => {
                Self::Decimal { precision: *precision, scale: scale.unsigned_abs() }
            }
            DataType::Utf8 if field.metadata().get(EXTENSION.0).is_some_and(|n| n == EXTENSION.1) => Self::Json,
            DataType::Utf8 => Self::Utf8(Coerce::Strict),
            DataType::Date32 => Self::Date,
            DataType::Timestamp(unit, Some(_)) => Self::Timestamp { unit: *unit, written: Written::Rfc3339 },
            DataType::Timestamp(unit, None) => Self::Datetime { unit: *unit },
            DataType::List(element) => Self::List(Box::new(Self::from_field(element)?)),
            DataType::Struct(fields) => Self::Struct(Columns::from_fields(fields.iter())?),
            other => {
                return Err(Error::config("take columns from an Arrow schema", "JSON is not decoded to this type")
                    .with("column", field.name())
                    .with("type", other));
            }
        })
    }
}
