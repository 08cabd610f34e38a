//! Types: what of Arrow is what in Delta, and how a table's columns grow. The table of types is in docs/delta.md.

use super::fit::{self, element, fit, member_of};
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use serde_json::{Value, json};
use std::sync::Arc;

const MICROS: TimeUnit = TimeUnit::Microsecond;

/// The Arrow type of the files for a plain column of `data_type`: the narrowest of Delta that holds all its values.
fn stored(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        // Of those that are finer, only values that fit are staged.
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, None) => DataType::Timestamp(MICROS, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(MICROS, Some("UTC".into())),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale)
            if *digits <= 38 && (0..=*digits as i8).contains(scale) =>
        {
            DataType::Decimal128(*digits, *scale)
        }
        _ => return None,
    })
}

/// The Arrow type of the files for a column, which the table may have as `held`. What is null in every row, and so has no type, has
/// that of the table, or is left out: as a column, as a member, or with the list that it is the element of. `Ok(None)`: it is all
/// without a type. `Err`: Delta has no type for it.
fn settled(data_type: &DataType, held: Option<&DataType>) -> Result<Option<DataType>, ()> {
    Ok(match data_type {
        DataType::Null => held.cloned(),
        DataType::Struct(members) if !members.is_empty() => {
            let held = match held {
                Some(DataType::Struct(held)) => Some(held),
                _ => None,
            };
            let mut settled_members: Vec<Field> = Vec::new();
            for member in members {
                let known = held.and_then(|held| held.get(member_of(held, member.name())?));
                if let Some(kind) = settled(member.data_type(), known.map(|known| known.data_type()))? {
                    settled_members.push(Field::new(member.name(), kind, true));
                }
            }
            (!settled_members.is_empty()).then(|| DataType::Struct(settled_members.into()))
        }
        DataType::Map(entry, sorted) => {
            let DataType::Struct(pair) = entry.data_type() else { return Err(()) };
            let [key, value] = pair.as_ref() else { return Err(()) };
            let (held_key, held_value) = match held {
                Some(DataType::Map(entry, _)) => match entry.data_type() {
                    DataType::Struct(pair) => (pair.first().map(|f| f.data_type()), pair.get(1).map(|f| f.data_type())),
                    _ => (None, None),
                },
                _ => (None, None),
            };
            let (Some(key), Some(value)) =
                (settled(key.data_type(), held_key)?, settled(value.data_type(), held_value)?)
            else {
                return Ok(None);
            };
            let pair = vec![Field::new("key", key, false), Field::new("value", value, true)];
            Some(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair.into()), false)), *sorted))
        }
        DataType::Dictionary(_, values) => settled(values, held)?,
        DataType::RunEndEncoded(_, values) => settled(values.data_type(), held)?,
        list if element(list).is_some() => {
            let held = held.and_then(element).map(Field::data_type);
            let of = element(list).map(Field::data_type).unwrap_or(&DataType::Null);
            settled(of, held)?.map(|of| DataType::List(Arc::new(Field::new("element", of, true))))
        }
        plain => Some(stored(plain).ok_or(())?),
    })
}

/// The name of a type in the schema of a Delta table.
fn named(data_type: &DataType) -> Option<Value> {
    let member = |field: &FieldRef| {
        Some(json!({ "name": field.name(), "type": named(field.data_type())?, "nullable": true, "metadata": {} }))
    };
    Some(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 => json!("byte"),
        DataType::Int16 => json!("short"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => json!("timestamp_ntz"),
        DataType::Decimal128(digits, scale) => json!(format!("decimal({digits},{scale})")),
        DataType::List(element) => {
            json!({ "type": "array", "elementType": named(element.data_type())?, "containsNull": true })
        }
        DataType::Struct(members) => {
            json!({ "type": "struct", "fields": members.iter().map(member).collect::<Option<Vec<_>>>()? })
        }
        DataType::Map(entry, _) => {
            let DataType::Struct(pair) = entry.data_type() else { return None };
            let [key, value] = pair.as_ref() else { return None };
            json!({
                "type": "map",
                "keyType": named(key.data_type())?,
                "valueType": named(value.data_type())?,
                "valueContainsNull": true,
            })
        }
        _ => return None,
    })
}

/// The Arrow type of a type in the schema of a Delta table.
fn read(kind: &Value) -> Option<DataType> {
    if let Some(name) = kind.as_str() {
        let plain = match name {
            "boolean" => DataType::Boolean,
            "byte" => DataType::Int8,
            "short" => DataType::Int16,
            "integer" => DataType::Int32,
            "long" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            "string" => DataType::Utf8,
            "binary" => DataType::Binary,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(MICROS, Some("UTC".into())),
            "timestamp_ntz" => DataType::Timestamp(MICROS, None),
            decimal => {
                let (digits, scale) = decimal.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                DataType::Decimal128(digits.trim().parse().ok()?, scale.trim().parse().ok()?)
            }
        };
        return Some(plain);
    }
    Some(match kind.get("type")?.as_str()? {
        "array" => DataType::List(Arc::new(Field::new("element", read(kind.get("elementType")?)?, true))),
        "struct" => DataType::Struct(read_fields(kind)?),
        "map" => {
            let pair = vec![
                Field::new("key", read(kind.get("keyType")?)?, false),
                Field::new("value", read(kind.get("valueType")?)?, true),
            ];
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair.into()), false)), false)
        }
        _ => return None,
    })
}

fn read_fields(kind: &Value) -> Option<Fields> {
    let fields = kind.get("fields")?.as_array()?.iter();
    fields
        .map(|f| Some(Field::new(f.get("name")?.as_str()?, read(f.get("type")?)?, f.get("nullable")?.as_bool()?)))
        .collect()
}

/// The columns of a table as Arrow has them, from its schema as text.
pub(super) fn parse(schema: &str) -> Result<SchemaRef> {
    let broken = || Error::corrupt("read delta table", "the schema of the table is not understood");
    let schema: Value = serde_json::from_str(schema).map_err(|e| broken().with_source(e))?;
    Ok(Arc::new(Schema::new(read_fields(&schema).ok_or_else(broken)?)))
}

/// The schema of a table with these columns, as text.
pub(super) fn text(schema: &Schema) -> Result<String> {
    let members = schema.fields().iter().map(|field| {
        let kind = named(field.data_type()).ok_or_else(|| unknown(field))?;
        Ok(json!({ "name": field.name(), "type": kind, "nullable": field.is_nullable(), "metadata": {} }))
    });
    Ok(json!({ "type": "struct", "fields": members.collect::<Result<Vec<_>>>()? }).to_string())
}

/// Whether some column, at any depth, is a time without a zone: old readers do not know those.
pub(super) fn has_ntz(schema: &str) -> bool {
    fn within(data_type: &DataType) -> bool {
        match data_type {
            DataType::Timestamp(_, None) => true,
            DataType::Struct(members) => members.iter().any(|member| within(member.data_type())),
            DataType::Map(entry, _) => within(entry.data_type()),
            list => element(list).is_some_and(|element| within(element.data_type())),
        }
    }
    parse(schema).is_ok_and(|schema| schema.fields().iter().any(|field| within(field.data_type())))
}

/// The columns of files with rows of `rows`, for a table that has the columns `table`.
///
/// Columns that are null in every row, and so have no type, are left out until they have one.
///
/// # Errors
/// `Data`, naming the column, if Delta has no type for it, or the table has another.
pub(super) fn plan(rows: &Schema, table: Option<&Schema>) -> Result<SchemaRef> {
    check_names(rows.fields(), table.map(Schema::fields))?;
    let mut fields: Vec<Field> = Vec::new();
    for field in rows.fields().iter().filter(|f| *f.data_type() != DataType::Null) {
        let name = field.name();
        let held = table.and_then(|t| t.field_with_name(name).ok()).map(Field::data_type);
        let Some(natural) = settled(field.data_type(), held).map_err(|()| unknown(field))? else { continue };
        let data_type = match held {
            None => natural,
            Some(held) => joined(&natural, held).ok_or_else(|| changed(name, held, &natural))?,
        };
        fields.push(Field::new(name, data_type, true));
    }
    for held in table.iter().flat_map(|t| t.fields()).filter(|f| !f.is_nullable()) {
        let there = rows.field_with_name(held.name()).is_ok_and(|f| !f.is_nullable());
        if !there {
            return Err(Error::data("stage delta", "the table wants a value in a column that may be null here")
                .with("column", held.name()));
        }
    }
    if fields.is_empty() {
        return Err(Error::data("stage delta", "the rows have no column with a type").with_hint("declare the schema"));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Names at every depth must be names in Delta, and told apart by more than case: among themselves, and from those of the table.
fn check_names(fields: &Fields, held: Option<&Fields>) -> Result<()> {
    for (number, field) in fields.iter().enumerate() {
        let name = field.name();
        if name.is_empty() || name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
            return Err(Error::data("stage delta", "the name of a column cannot be one in a Delta table")
                .with("column", name.escape_debug())
                .with_hint("rename it in the schema, without any of ` ,;{}()=` and line breaks"));
        }
        let before = fields.iter().take(number).find(|other| other.name().eq_ignore_ascii_case(name));
        let held = held.and_then(|held| held.get(member_of(held, name)?));
        if let Some(other) = held.filter(|held| held.name() != name).or(before) {
            return Err(Error::data("stage delta", "two columns differ by case only, which Delta does not tell apart")
                .with("column", name)
                .with("other", other.name()));
        }
        if let Some(within) = members(field.data_type()) {
            check_names(within, held.and_then(|held| members(held.data_type()))).map_err(|e| e.with("within", name))?;
        }
    }
    Ok(())
}

/// The members of a struct, also of one that is in a list or the value of a map.
fn members(data_type: &DataType) -> Option<&Fields> {
    match data_type {
        DataType::Struct(members) => Some(members),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(pair) => members(pair.get(1)?.data_type()),
            _ => None,
        },
        list => members(element(list)?.data_type()),
    }
}

/// The columns of a table with files of `new` columns besides those it has: it has all of both.
///
/// # Errors
/// `Data`, naming the column, if it has another type in the table.
pub(super) fn grown(table: &str, new: &Schema) -> Result<Option<String>> {
    let broken = |e| Error::corrupt("read delta table", "the schema of the table is not understood").with_source(e);
    let mut schema: Value = serde_json::from_str(table).map_err(broken)?;
    let before = schema.clone();
    grow(&mut schema, adapted(table, new)?.fields()).map_err(|e| e.with("table", "changed by another writer"))?;
    Ok((schema != before).then(|| schema.to_string()))
}

/// The columns of `staged` in the types that a table of schema `table` has them in: wider ones, if others came first.
///
/// # Errors
/// `Data`, naming the column, if one does not fit.
pub(super) fn adapted(table: &str, staged: &Schema) -> Result<SchemaRef> {
    let table = parse(table)?;
    let fields = staged.fields().iter().map(|field| {
        let Ok(held) = table.field_with_name(field.name()) else { return Ok(Arc::clone(field)) };
        let kind = joined(field.data_type(), held.data_type());
        let kind = kind.ok_or_else(|| {
            changed(field.name(), held.data_type(), field.data_type()).with("table", "changed by another writer")
        })?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(kind)))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// Whether files with the columns `staged` are files of a table of schema `table` as they are.
pub(super) fn fits(table: &str, staged: &str) -> Result<bool> {
    let staged = parse(staged)?;
    Ok(adapted(table, &staged)? == staged)
}

/// Whether a table has no columns yet.
pub(super) fn is_empty(schema: &str) -> bool {
    parse(schema).is_ok_and(|schema| schema.fields().is_empty())
}

/// The columns of a table of schema `table`, if there is one, once it has those of `staged` too.
pub(super) fn merged(table: Option<&str>, staged: &str) -> Result<SchemaRef> {
    let staged = parse(staged)?;
    let Some(table) = table else { return Ok(staged) };
    parse(grown(table, &staged)?.as_deref().unwrap_or(table))
}

/// Columns of a table, each once.
///
/// # Errors
/// `Config` if there is none of a name.
pub(super) fn pick<'a>(table: &Schema, names: impl IntoIterator<Item = &'a str>) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::new();
    for name in names {
        if fields.iter().any(|field| field.name() == name) {
            continue;
        }
        fields.push(table.field_with_name(name).cloned().map_err(|e| {
            Error::config("merge delta", "the table has no column that the disposition names")
                .with("column", name)
                .with_source(e)
        })?);
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Adds members to a struct in place, so that what others have said of its fields stays.
fn grow(kind: &mut Value, new: &Fields) -> Result<()> {
    let Some(fields) = kind.get_mut("fields").and_then(Value::as_array_mut) else { return Ok(()) };
    for field in new {
        let wanted = named(field.data_type()).ok_or_else(|| unknown(field))?;
        match fields.iter_mut().find(|f| f.get("name").and_then(Value::as_str) == Some(field.name())) {
            None => {
                let named = fields.iter().filter_map(|f| f.get("name").and_then(Value::as_str));
                if let Some(other) = named.into_iter().find(|other| other.eq_ignore_ascii_case(field.name())) {
                    let message = "two columns differ by case only, which Delta does not tell apart";
                    return Err(Error::data("commit delta", message).with("column", field.name()).with("other", other));
                }
                fields.push(json!({ "name": field.name(), "type": wanted, "nullable": true, "metadata": {} }));
            }
            Some(held) => {
                let Some(held) = held.get_mut("type") else { continue };
                grow_type(held, field.data_type(), field.name())?;
            }
        }
    }
    Ok(())
}

fn grow_type(held: &mut Value, new: &DataType, column: &str) -> Result<()> {
    match new {
        DataType::Struct(members) if held.get("fields").is_some() => return grow(held, members),
        DataType::List(element) => {
            if let Some(held) = held.get_mut("elementType") {
                return grow_type(held, element.data_type(), column);
            }
        }
        DataType::Map(entry, _) => {
            if let (DataType::Struct(pair), Some(_)) = (entry.data_type(), held.get("valueType")) {
                if let (Some(value), Some(held)) = (pair.get(1), held.get_mut("valueType")) {
                    return grow_type(held, value.data_type(), column);
                }
            }
        }
        _ => {}
    }
    match read(held) {
        Some(held) if held == *new => Ok(()),
        Some(held) => Err(changed(column, &held, new)),
        None => {
            Err(Error::corrupt("read delta table", "the type of a column is not understood").with("column", column))
        }
    }
}

/// The type in which a column of `new` is kept in a table that has it as `held`: the same, or a wider one, with other members of
/// nested structs.
fn joined(new: &DataType, held: &DataType) -> Option<DataType> {
    let element_as = |field: &FieldRef, held: &FieldRef| {
        Some(Arc::new(field.as_ref().clone().with_data_type(joined(field.data_type(), held.data_type())?)))
    };
    Some(match (new, held) {
        (new, held) if new == held => new.clone(),
        (DataType::Struct(new), DataType::Struct(held)) => {
            let members = new.iter().map(|field| match held.find(field.name()) {
                Some((_, held)) => element_as(field, held),
                None => Some(Arc::clone(field)),
            });
            DataType::Struct(members.collect::<Option<_>>()?)
        }
        (DataType::List(new), DataType::List(held)) => DataType::List(element_as(new, held)?),
        (DataType::Map(new, sorted), DataType::Map(held, _)) => DataType::Map(element_as(new, held)?, *sorted),
        (new, held) => return widens(new, held).then(|| held.clone()),
    })
}

/// Whether every value of `narrow` is one of `wide`.
fn widens(narrow: &DataType, wide: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    let digits = |t: &DataType| match t {
        Int8 => Some(3),
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (narrow, wide) {
        (Float32, Float64) | (Int8 | Int16 | Int32, Float64) | (Int8 | Int16, Float32) => true,
        (Decimal128(p, s), Decimal128(wp, ws)) => {
            ws >= s && i16::from(*wp) - i16::from(*ws) >= i16::from(*p) - i16::from(*s)
        }
        (narrow, Decimal128(p, s)) => digits(narrow).is_some_and(|d| i16::from(*p) - i16::from(*s) >= d),
        (narrow, wide) => digits(narrow).zip(digits(wide)).is_some_and(|(n, w)| n <= w),
    }
}

/// Rows in the columns of the files.
///
/// # Errors
/// `Data` if a value does not fit.
pub(super) fn convert(rows: &RecordBatch, files: &SchemaRef) -> Result<RecordBatch> {
    let failed =
        |e: ArrowError| Error::data("stage delta", "a value does not fit the type of its column").with_source(e);
    let columns = files.fields().iter().map(|field| {
        let column = rows.column_by_name(field.name()).ok_or_else(|| {
            Error::data("stage delta", "the columns changed within an epoch")
                .with("column", field.name())
                .with_hint("declare the schema, so that every batch has the same columns")
        })?;
        fit(column, field.data_type()).map_err(|e| failed(e).with("column", field.name()))
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    RecordBatch::try_new(Arc::clone(files), columns).map_err(failed)
}

/// The rows with a time that Delta cannot hold as it is, and the column.
pub(super) fn unfit_times(rows: &RecordBatch) -> Result<Option<(BooleanArray, String)>> {
    let mut found: Option<(BooleanArray, String)> = None;
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let Some(unfit) = fit::unfit_times(column)?.filter(|unfit| unfit.true_count() > 0) else { continue };
        found = Some(match found.take() {
            Some((other, name)) => (arrow::compute::or(&other, &unfit).unwrap_or(other), name),
            None => (unfit, field.name().clone()),
        });
    }
    Ok(found)
}

fn unknown(field: &Field) -> Error {
    Error::data("stage delta", "Delta has no type that holds all values of the column")
        .with("column", field.name())
        .with("type", field.data_type())
        .with_hint("declare another type for it, or keep it as text")
}

fn changed(column: &str, was: &DataType, is: &DataType) -> Error {
    Error::data("stage delta", "the type of a column changed")
        .with("column", column)
        .with("was", was)
        .with("is", is)
        .with_hint("declare the type that the table has, or write to a table of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_as_it_was_written() {
        let element =
            Field::new("element", DataType::Struct(vec![Field::new("n", DataType::Int64, true)].into()), true);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("price", DataType::Decimal128(38, 9), true),
            Field::new("at", DataType::Timestamp(MICROS, Some("UTC".into())), true),
            Field::new("local", DataType::Timestamp(MICROS, None), true),
            Field::new("items", DataType::List(Arc::new(element)), true),
            Field::new_map(
                "tags",
                "key_value",
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Utf8, true),
                false,
                true,
            ),
        ]);
        let text = text(&schema).expect("known");
        assert_eq!(*parse(&text).expect("reads"), schema);
        assert!(has_ntz(&text));
    }

    #[test]
    fn a_table_grows_and_never_changes_a_type() {
        let table =
            Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("x", DataType::Float64, true)]);
        let rows = Schema::new(vec![
            Field::new("id", DataType::UInt16, false),
            Field::new("none", DataType::Null, true),
            Field::new("big", DataType::UInt64, true),
        ]);
        let files = plan(&rows, Some(&table)).expect("fits");
        let types: Vec<_> = files.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
        assert_eq!(types, [("id", DataType::Int64), ("big", DataType::Decimal128(20, 0))]);
        let grown = grown(&text(&table).expect("known"), &files).expect("fits").expect("has more");
        assert_eq!(parse(&grown).expect("reads").fields().len(), 3);
        for wrong in [DataType::Utf8, DataType::Float64, DataType::UInt64] {
            let rows = Schema::new(vec![Field::new("id", wrong.clone(), true)]);
            assert!(plan(&rows, Some(&table)).is_err(), "{wrong}");
        }
        let twins = Schema::new(vec![Field::new("ID", DataType::Int64, true)]);
        assert!(plan(&twins, Some(&table)).is_err());
    }
}
