//! The stages: `schema`, `[validate]` and `[dedup]`.

use crate::spec::{self, Keep, Spec, Unknown};
use landfall::columnar::{ColumnType, Columns, Decode, Dedup, Latest, Limit, UnknownFields, Validate};
use landfall::{Error, Result};
use std::ops::Bound;

pub(crate) fn decode(spec: &Spec) -> Result<Decode> {
    let decode = Decode::pages().unknown_fields(match spec.unknown {
        Unknown::Ignore => UnknownFields::Ignore,
        Unknown::Quarantine => UnknownFields::Quarantine,
    });
    Ok(if is_inferred(spec) { decode.infer() } else { decode.schema(columns(&spec.schema)?) })
}

pub(crate) fn dedup(spec: &Spec) -> Result<Option<Dedup>> {
    let wrong = |what| Error::config("read spec", what);
    let Some(dedup) = &spec.dedup else {
        return match spec.append || spec.sink.tells_rows_apart() {
            true => Ok(None),
            false => Err(wrong("without [dedup] what the API gives again is loaded again").with_hint(
                "name the key of a record in [dedup], or in `upsert` of [sink]; or write `append = true` at the top if that is meant",
            )),
        };
    };
    if spec.append {
        return Err(wrong("`append` is for specs without [dedup]"));
    }
    if spec.sink.tells_rows_apart() {
        return Err(wrong("[dedup] would keep versions from a sink that tells rows apart itself")
            .with_hint("take [dedup] away, or write rows as they come"));
    }
    let stage = Dedup::by(&dedup.key);
    Ok(Some(match (&dedup.keep, &spec.source.since) {
        (Some(Keep::Latest { latest: column }), _) => stage.keep(Latest::of(column)),
        // Asked for what changed: the first version would hide the change.
        (None, Some(since)) => stage.keep(Latest::of(column_of(spec, &since.field)?)),
        (Some(Keep::First(_)), _) | (None, None) => stage,
    }))
}

/// The column that has the value at `field` of a record: a name, or a path such as `$.meta.updated`.
fn column_of(spec: &Spec, field: &str) -> Result<String> {
    let keys: Vec<&str> = match field.strip_prefix("$.") {
        Some(path) => path.split('.').collect(),
        None => vec![field],
    };
    if is_inferred(spec) {
        return Ok(keys.join("."));
    }
    let columns = columns(&spec.schema)?;
    let found = columns.iter().find_map(|column| {
        let path: Vec<&str> = column.path().iter().map(String::as_str).collect();
        let below = keys.strip_prefix(path.as_slice())?;
        Some([&[column.name()], below].concat().join("."))
    });
    found.ok_or_else(|| {
        Error::config("read spec", "the schema has no column of the field by which the latest version is kept")
            .with("field", field)
            .with_hint("add it to the schema; or write keep = { latest = \"column\" } or keep = \"first\" in [dedup]")
    })
}

fn is_inferred(spec: &Spec) -> bool {
    spec.schema.trim() == "infer"
}

/// Columns as text are the inside of a `struct<…>`.
fn columns(text: &str) -> Result<Columns> {
    match format!("struct<{}>", text.trim().trim_end_matches(',')).parse()? {
        ColumnType::Struct(columns) => Ok(columns),
        other => Err(Error::config("read spec", "the schema is not a list of columns").with("schema", other)),
    }
}

pub(crate) fn validate(spec: &spec::Validation) -> Result<Validate> {
    let mut validate = Validate::new();
    for column in &spec.required {
        validate = validate.required(column);
    }
    for (column, range) in &spec.range {
        let bound = |value: &Option<toml::Value>| match value {
            Some(value) => limit(column, value).map(Bound::Included),
            None => Ok(Bound::Unbounded),
        };
        validate = validate.range(column, (bound(&range.min)?, bound(&range.max)?));
    }
    for (column, pattern) in &spec.pattern {
        validate = validate.pattern(column, pattern);
    }
    for (column, values) in &spec.one_of {
        let values = values.iter().map(|v| limit(column, v)).collect::<Result<Vec<_>>>()?;
        validate = validate.one_of(column, values);
    }
    Ok(validate)
}

fn limit(column: &str, value: &toml::Value) -> Result<Limit> {
    Ok(match value {
        toml::Value::Integer(n) => (*n).into(),
        toml::Value::Float(n) => (*n).into(),
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Datetime(time) => time.to_string().as_str().into(),
        _ => return Err(Error::config("read spec", "a limit is a number or text").with("column", column)),
    })
}
