//! Columns as they are persisted; see `docs/formats.md`.

use crate::columnar::schema::{Column, Columns};
use crate::error::{Error, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "landfall-columns";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Frozen {
    format: String,
    version: u32,
    columns: Vec<FrozenColumn>,
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct FrozenColumn {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
}

fn keep(column: &Column) -> FrozenColumn {
    let own = matches!(column.path(), [only] if only == column.name());
    FrozenColumn {
        name: column.name().to_owned(),
        kind: column.kind().to_string(),
        path: if own { Vec::new() } else { column.path().to_vec() },
    }
}

/// The columns as a value, for the record of the configuration.
pub(super) fn columns(columns: &Columns) -> serde_json::Value {
    let columns: Vec<FrozenColumn> = columns.iter().map(keep).collect();
    serde_json::to_value(columns).unwrap_or_default()
}

pub(super) fn write(columns: &Columns) -> Result<Bytes> {
    let frozen = Frozen { format: FORMAT.to_owned(), version: VERSION, columns: columns.iter().map(keep).collect() };
    let text = serde_json::to_vec(&frozen)
        .map_err(|e| Error::bug("keep columns", "the columns do not serialise").with_source(e))?;
    Ok(text.into())
}

pub(super) fn read(text: &[u8]) -> Result<Columns> {
    let corrupt = |message: &'static str| Error::corrupt("restore columns", message);
    let unread = |e| corrupt("the kept columns cannot be read").with_source(e);
    let Head { format, version } = serde_json::from_slice(text).map_err(unread)?;
    if format != FORMAT {
        return Err(corrupt("these are no kept columns").with("format", format));
    }
    if version != VERSION {
        return Err(Error::config("restore columns", "they were kept in a format that this version does not know")
            .with("version", version)
            .with_hint("use a newer version of landfall"));
    }
    let frozen: Frozen = serde_json::from_slice(text).map_err(unread)?;
    let mut columns = Columns::new();
    for column in frozen.columns {
        let kind = column.kind.parse().map_err(|e: Error| corrupt("a kept type cannot be read").with_source(e))?;
        let own = column.path.is_empty();
        let kept = Column::new(column.name, kind);
        columns = columns.column(if own { kept } else { kept.at(column.path) });
    }
    Ok(columns)
}
