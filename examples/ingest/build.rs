//! From the spec to the typed pipeline.

use crate::place::Place;
use crate::spec::{self, Auth, Keep, Overlap, Paginate, Spec, Unknown};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{ColumnType, Columns, Decode, Dedup, Latest, Limit, UnknownFields, Validate};
use landfall::connectors::http::{
    ApiKey, Basic, Bearer, Cursor, LinkHeader, NextUrl, Offset, PageNumber, Rest, Secret, Since, Unit,
};
use landfall::connectors::parquet::ParquetDataset;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::Quarantine;
use landfall::source::Traffic;
use landfall::{Error, Result};
use std::ops::Bound;

/// The pipeline that `spec` describes, and the counts of its source.
///
/// # Errors
/// `Config`, saying what in the spec is wrong.
pub(crate) fn pipeline(spec: &Spec) -> Result<(Pipeline, Traffic)> {
    let source = source(&spec.source)?;
    let stats = source.stats();
    let state = Place::open(&spec.state)?;
    let dataset = Place::open(&spec.sink.parquet)?;
    let quarantine = match &spec.quarantine {
        Some(place) => {
            let place = Place::open(&place.to)?;
            Quarantine::in_store(&place.store, &place.prefix)?
        }
        None => Quarantine::in_store(&state.store, &state.below("quarantine"))?,
    };
    let mut builder = Pipeline::named(&spec.name)
        .source(source)
        .land(Landing::in_store(&state.store, &state.below("raw"))?)
        .stage(decode(spec)?)
        .stage(validate(&spec.validate)?);
    if let Some(dedup) = dedup(spec)? {
        builder = builder.stage(dedup);
    }
    let pipeline = builder
        .sink(ParquetDataset::in_store(&dataset.store, &dataset.prefix)?.partition_by(&spec.sink.partition_by)?)
        .quarantine(quarantine)
        .checkpoints(StoreCheckpoints::new(&state.store, &state.below("checkpoints"))?)
        .settings(settings(&spec.run)?)
        .build()?;
    Ok((pipeline, stats))
}

fn source(spec: &spec::Source) -> Result<Rest> {
    let mut source = Rest::get(&spec.url);
    if let Some(records) = records(spec) {
        source = source.records(records);
    }
    for (name, value) in &spec.query {
        source = source.query(name, value);
    }
    source = match &spec.auth {
        None => source,
        Some(Auth::Bearer { env }) => source.auth(Bearer::from_env(env)),
        Some(Auth::Basic { user, password_env }) => source.auth(Basic::new(user, Secret::from_env(password_env))),
        Some(Auth::Header { name, env }) => source.auth(ApiKey::header(name, Secret::from_env(env))),
        Some(Auth::Query { name, env }) => source.auth(ApiKey::query(name, Secret::from_env(env))),
    };
    source = match &spec.paginate {
        None => source,
        Some(Paginate::Cursor { at, query, optional }) => {
            let cursor = Cursor::at(at).query(query);
            source.paginate(if *optional { cursor.optional() } else { cursor })
        }
        Some(Paginate::Link) => source.paginate(LinkHeader::new()),
        Some(Paginate::NextUrl { at, optional }) => {
            let link = NextUrl::at(at);
            source.paginate(if *optional { link.optional() } else { link })
        }
        Some(Paginate::Page { query, first, total, total_pages }) => {
            let mut pages = PageNumber::query(query).starting_at(*first);
            if let Some(total) = total {
                pages = pages.total(total);
            }
            if let Some(total_pages) = total_pages {
                pages = pages.total_pages(total_pages);
            }
            if total.is_none() && total_pages.is_none() {
                pages = pages.until_empty();
            }
            source.paginate(pages)
        }
        Some(Paginate::Offset { query, limit_query, limit, total }) => {
            let pages = Offset::query(query).limit(limit_query, *limit);
            source.paginate(match total {
                Some(total) => pages.total(total),
                None => pages.until_empty(),
            })
        }
    };
    if let Some(since) = &spec.since {
        let mut wanted = Since::field(&since.field).query(&since.query);
        wanted = match &since.overlap {
            None => wanted,
            Some(Overlap::Time(time)) => wanted.overlap(spec::duration("overlap", time)?),
            Some(Overlap::Number(number)) => wanted.overlap_number(*number),
        };
        wanted = match since.unit {
            None => wanted,
            Some(spec::Unit::Seconds) => wanted.unit(Unit::Seconds),
            Some(spec::Unit::Milliseconds) => wanted.unit(Unit::Milliseconds),
            Some(spec::Unit::Microseconds) => wanted.unit(Unit::Microseconds),
        };
        source = source.since(wanted);
    }
    source.build()
}

fn records(source: &spec::Source) -> Option<&str> {
    if source.ndjson { Some("ndjson") } else { source.records.as_deref() }
}

fn decode(spec: &Spec) -> Result<Decode> {
    let decode = Decode::json().unknown_fields(match spec.unknown {
        Unknown::Ignore => UnknownFields::Ignore,
        Unknown::Quarantine => UnknownFields::Quarantine,
    });
    Ok(if is_inferred(spec) { decode.infer() } else { decode.schema(columns(&spec.schema)?) })
}

fn dedup(spec: &Spec) -> Result<Option<Dedup>> {
    let wrong = |what| Error::config("read spec", what);
    let Some(dedup) = &spec.dedup else {
        return match spec.append {
            true => Ok(None),
            false => Err(wrong("without [dedup] what the API gives again is loaded again").with_hint(
                "name the key of a record in [dedup]; or write `append = true` at the top if that is meant",
            )),
        };
    };
    if spec.append {
        return Err(wrong("`append` is for specs without [dedup]"));
    }
    let stage = Dedup::by(&dedup.key);
    Ok(Some(match (&dedup.keep, &spec.source.since) {
        (Some(Keep::Latest(column)), _) => stage.keep(Latest::of(column)),
        // Asked for what changed: the first version would hide the change.
        (None, Some(since)) => stage.keep(Latest::of(column_of(spec, &since.field)?)),
        (Some(Keep::First), _) | (None, None) => stage,
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

fn validate(spec: &spec::Validation) -> Result<Validate> {
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

fn settings(run: &spec::Run) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(records) = run.epoch_records {
        settings.epoch_records = records;
    }
    if let Some(mib) = run.epoch_mib {
        settings.epoch_bytes = mib.saturating_mul(1 << 20);
    }
    if let Some(age) = &run.epoch_age {
        settings.epoch_age = spec::duration("epoch_age", age)?;
    }
    if let Some(mib) = run.memory_mib {
        settings.memory_bytes = mib.saturating_mul(1 << 20);
    }
    Ok(settings)
}
