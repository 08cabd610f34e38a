//! The columns of a dataset as its commits record them: names of types that do not change with a version of Arrow.

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A column of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: StoredType,
    /// Whether it may be null, or absent from a file.
    pub nullable: bool,
}

/// The type of a column. Ways of keeping the same values (`Utf8` and `Utf8View`, dictionaries) are one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredType {
    /// Values of the elements.
    List(Box<StoredColumn>),
    /// Named members.
    Struct(Vec<StoredColumn>),
    /// Keys and values, as a struct of the two.
    Map(Box<StoredColumn>),
    /// Any other type, by its name, such as `int64`, `utf8` or `timestamp_us[UTC]`.
    #[serde(untagged)]
    Plain(String),
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::List(element) => write!(f, "list<{}>", element.kind),
            Self::Map(entry) => write!(f, "map<{}>", entry.kind),
            Self::Struct(members) => {
                f.write_str("struct<")?;
                for (i, member) in members.iter().enumerate() {
                    write!(f, "{}{}: {}", if i == 0 { "" } else { ", " }, member.name, member.kind)?;
                }
                f.write_str(">")
            }
        }
    }
}

pub(crate) fn columns_of(fields: &Fields) -> Vec<StoredColumn> {
    fields.iter().map(|f| column_of(f)).collect()
}

pub(crate) fn column_of(field: &Field) -> StoredColumn {
    StoredColumn { name: field.name().clone(), kind: type_of(field.data_type()), nullable: field.is_nullable() }
}

fn type_of(data_type: &DataType) -> StoredType {
    let plain = |name: &str| StoredType::Plain(name.to_owned());
    match data_type {
        DataType::Null => plain("null"),
        DataType::Boolean => plain("bool"),
        DataType::Int8 => plain("int8"),
        DataType::Int16 => plain("int16"),
        DataType::Int32 => plain("int32"),
        DataType::Int64 => plain("int64"),
        DataType::UInt8 => plain("uint8"),
        DataType::UInt16 => plain("uint16"),
        DataType::UInt32 => plain("uint32"),
        DataType::UInt64 => plain("uint64"),
        DataType::Float16 => plain("float16"),
        DataType::Float32 => plain("float32"),
        DataType::Float64 => plain("float64"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => plain("utf8"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => plain("binary"),
        DataType::FixedSizeBinary(size) => StoredType::Plain(format!("fixed_binary({size})")),
        DataType::Date32 => plain("date32"),
        DataType::Date64 => plain("date64"),
        DataType::Time32(unit) | DataType::Time64(unit) => StoredType::Plain(format!("time_{}", unit_of(*unit))),
        DataType::Timestamp(unit, None) => StoredType::Plain(format!("timestamp_{}", unit_of(*unit))),
        DataType::Timestamp(unit, Some(zone)) => StoredType::Plain(format!("timestamp_{}[{zone}]", unit_of(*unit))),
        DataType::Duration(unit) => StoredType::Plain(format!("duration_{}", unit_of(*unit))),
        DataType::Interval(IntervalUnit::YearMonth) => plain("interval_months"),
        DataType::Interval(IntervalUnit::DayTime) => plain("interval_days_ms"),
        DataType::Interval(IntervalUnit::MonthDayNano) => plain("interval_months_days_ns"),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => StoredType::Plain(format!("decimal({digits},{scale})")),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => StoredType::List(Box::new(column_of(element))),
        DataType::Struct(members) => StoredType::Struct(columns_of(members)),
        DataType::Map(entry, _) => StoredType::Map(Box::new(column_of(entry))),
        DataType::Dictionary(_, values) => type_of(values),
        DataType::RunEndEncoded(_, values) => type_of(values.data_type()),
        DataType::Union(..) => plain("union"),
    }
}

/// The schema of the files for rows of `schema`. Parquet has no times in seconds: they would be bare numbers to every
/// reader but Arrow, so they become milliseconds.
pub(crate) fn file_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(file_field).collect();
    if fields == *schema.fields() {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn file_field(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::List(element) => DataType::List(file_field(element)),
        DataType::LargeList(element) => DataType::LargeList(file_field(element)),
        DataType::FixedSizeList(element, size) => DataType::FixedSizeList(file_field(element), *size),
        DataType::Struct(members) => DataType::Struct(members.iter().map(file_field).collect()),
        DataType::Map(entry, sorted) => DataType::Map(file_field(entry), *sorted),
        _ => return Arc::clone(field),
    };
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Rows in the schema of the files.
///
/// # Errors
/// `Data` if a time does not fit.
pub(crate) fn file_rows(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let failed =
        |e: ArrowError| Error::data("stage parquet", "a time in seconds does not fit into milliseconds").with_source(e);
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &exact).map_err(|e| failed(e).with("column", field.name()))
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?).map_err(failed)
}

fn unit_of(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// The columns of files with `old` and files with `new` columns together. Columns may come and go; one that stays
/// must keep its type.
///
/// # Errors
/// `Data`, naming the column, if its type changed.
pub(crate) fn merge_columns(old: &[StoredColumn], new: &[StoredColumn]) -> Result<Vec<StoredColumn>> {
    let find = |columns: &[StoredColumn], name: &str| columns.iter().find(|c| c.name == name).cloned();
    let mut merged = Vec::with_capacity(old.len());
    for column in old {
        merged.push(match find(new, &column.name) {
            None => StoredColumn { nullable: true, ..column.clone() },
            Some(now) => StoredColumn {
                name: now.name,
                kind: merge_types(&column.kind, &now.kind).map_err(|e| e.with("column", &column.name))?,
                nullable: column.nullable || now.nullable,
            },
        });
    }
    for column in new {
        if find(old, &column.name).is_none() {
            merged.push(StoredColumn { nullable: true, ..column.clone() });
        }
    }
    Ok(merged)
}

fn merge_types(old: &StoredType, new: &StoredType) -> Result<StoredType> {
    let element = |a: &StoredColumn, b: &StoredColumn| -> Result<Box<StoredColumn>> {
        let kind = merge_types(&a.kind, &b.kind)?;
        Ok(Box::new(StoredColumn { name: b.name.clone(), kind, nullable: a.nullable || b.nullable }))
    };
    match (old, new) {
        (a, b) if a == b => Ok(a.clone()),
        // A column that was null in every row so far had no type yet.
        (StoredType::Plain(null), other) | (other, StoredType::Plain(null)) if null == "null" => Ok(other.clone()),
        (StoredType::List(a), StoredType::List(b)) => Ok(StoredType::List(element(a, b)?)),
        (StoredType::Map(a), StoredType::Map(b)) => Ok(StoredType::Map(element(a, b)?)),
        (StoredType::Struct(a), StoredType::Struct(b)) => Ok(StoredType::Struct(merge_columns(a, b)?)),
        (a, b) => Err(Error::data("write dataset", "the type of a column changed")
            .with("was", a)
            .with("is", b)
            .with_hint("declare the type that the dataset has, or write to a dataset of its own")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, false)
    }

    fn columns(fields: Vec<Field>) -> Vec<StoredColumn> {
        columns_of(&fields.into())
    }

    #[test]
    fn columns_and_members_may_be_added_and_left_out() {
        let customer = |members| field("customer", DataType::Struct(members));
        let old = columns(vec![
            field("id", DataType::Utf8),
            field("gone", DataType::Null),
            customer(vec![field("a", DataType::Int64)].into()),
        ]);
        let new = columns(vec![
            field("id", DataType::Utf8View),
            customer(vec![field("a", DataType::Int64), field("b", DataType::Date32)].into()),
            field("more", DataType::Boolean),
        ]);
        let merged = merge_columns(&old, &new).expect("additive");
        let shown: Vec<_> = merged.iter().map(|c| (c.name.as_str(), c.kind.to_string(), c.nullable)).collect();
        assert_eq!(
            shown,
            [
                ("id", "utf8".to_owned(), false),
                ("gone", "null".to_owned(), true),
                ("customer", "struct<a: int64, b: date32>".to_owned(), false),
                ("more", "bool".to_owned(), true),
            ]
        );
    }

    #[test]
    fn a_type_that_changes_is_refused_with_its_column() {
        let list = |element| DataType::List(Arc::new(field("item", element)));
        let cases = [
            (DataType::Int64, DataType::Utf8),
            (list(DataType::Int64), list(DataType::Float64)),
            (DataType::Timestamp(TimeUnit::Second, None), DataType::Timestamp(TimeUnit::Second, Some("UTC".into()))),
            (DataType::Decimal128(10, 2), DataType::Decimal128(12, 2)),
        ];
        for (old, new) in cases {
            let (old, new) = (columns(vec![field("total", old)]), columns(vec![field("total", new)]));
            let error = merge_columns(&old, &new).expect_err("the type changed");
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.to_string().contains("column=`total`"), "{error}");
        }
    }

    #[test]
    fn types_survive_their_text() {
        let old = columns(vec![
            field(
                "a",
                DataType::List(Arc::new(field("item", DataType::Struct(vec![field("x", DataType::Utf8)].into())))),
            ),
            field("b", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ]);
        let text = serde_json::to_string(&old).expect("plain data");
        assert_eq!(serde_json::from_str::<Vec<StoredColumn>>(&text).expect("own text"), old, "{text}");
    }
}
