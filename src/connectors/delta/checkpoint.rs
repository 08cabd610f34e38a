//! Checkpoints of a log: all that is current in one Parquet file, read and written through the same actions as the log.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoints>

use super::actions::Line;
use super::log::{Keep, Snapshot};
use crate::columnar::files::reading::{Rows, guarded};
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;
use std::sync::Arc;

/// Actions that are encoded at a time.
const AT_ONCE: usize = 1024;
/// An action names something that no other one does: however it is compressed, a file that says that it has more of them has not.
const MOST_ACTIONS_PER_BYTE: u64 = 64;

/// Gives the actions of a checkpoint.
pub(super) fn read(bytes: Bytes, keep: Keep, take: impl FnMut(Line)) -> Result<()> {
    guarded(|| read_whole(bytes, keep, take), damaged)
}

fn damaged(error: ParquetError) -> Error {
    Error::corrupt("read delta checkpoint", "not a checkpoint").with_source(error)
}

fn read_whole(bytes: Bytes, keep: Keep, mut take: impl FnMut(Line)) -> Result<()> {
    let most = (bytes.len() as u64).saturating_mul(MOST_ACTIONS_PER_BYTE);
    let wanted = |name: &str| {
        matches!(name, "protocol" | "metaData" | "txn" | "domainMetadata")
            || keep >= Keep::Files && name == "add"
            || keep == Keep::All && name == "remove"
    };
    // Statistics and partition values that are parsed again beside their text are left out.
    let leaves = |schema: &SchemaDescriptor| {
        let leaves = schema.columns().iter().enumerate().filter_map(|(i, column)| {
            let parts = column.path().parts();
            let parsed = parts.get(1).is_some_and(|part| part.ends_with("_parsed"));
            (parts.first().is_some_and(|name| wanted(name)) && !parsed).then_some(i)
        });
        ProjectionMask::leaves(schema, leaves.collect::<Vec<_>>())
    };
    let broken = |e: ArrowError| Error::corrupt("read delta checkpoint", "not a checkpoint").with_source(e);
    for batch in Rows::open(bytes, most, AT_ONCE, leaves).map_err(damaged)? {
        let mut text = LineDelimitedWriter::new(Vec::new());
        text.write(&batch.map_err(damaged)?).map_err(broken)?;
        text.finish().map_err(broken)?;
        for line in text.into_inner().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line)
                .map_err(|e| Error::corrupt("read delta checkpoint", "a row is no action").with_source(e))?;
            take(line);
        }
    }
    Ok(())
}

/// The bytes of a checkpoint, and how many actions it has. Of removed files, those that were removed before
/// `expire_before_millis` are forgotten.
pub(super) fn write(snapshot: &Snapshot, expire_before_millis: i64) -> Result<(Bytes, u64)> {
    let failed = |e: ParquetError| Error::bug("write delta checkpoint", "it cannot be encoded").with_source(e);
    let broken = |e: ArrowError| Error::bug("write delta checkpoint", "it cannot be encoded").with_source(e);
    let schema = Arc::new(schema());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(failed)?;
    let mut rows = ReaderBuilder::new(schema).with_batch_size(AT_ONCE).build_decoder().map_err(broken)?;
    let head = [snapshot.protocol.clone().into(), snapshot.metadata.clone().into()];
    // What a checkpoint says has changed nothing.
    let removed = snapshot.removed.values().filter(|r| r.deletion_timestamp.unwrap_or(0) >= expire_before_millis);
    let removed = removed.cloned().map(|mut remove| {
        remove.data_change = false;
        Line::from(remove)
    });
    let files = snapshot.files.values().cloned().map(|mut add| {
        add.data_change = false;
        Line::from(add)
    });
    let txns = snapshot.txns.values().filter(|_| !on(Defect::MarkExpires)).cloned().map(Line::from);
    let domains = snapshot.domains.values().filter(|d| !d.removed).cloned().map(Line::from);
    let mut lines = head.into_iter().chain(txns).chain(domains).chain(files).chain(removed).peekable();
    let mut count = 0;
    while lines.peek().is_some() {
        let some: Vec<Line> = lines.by_ref().take(AT_ONCE).collect();
        count += some.len() as u64;
        rows.serialize(&some).map_err(broken)?;
        if let Some(batch) = rows.flush().map_err(broken)? {
            file.write(&batch).map_err(failed)?;
        }
    }
    Ok((file.into_inner().map_err(failed)?.into(), count))
}

fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let list = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let map = |name: &str| {
        let entry = (Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true));
        Field::new_map(name, "key_value", entry.0, entry.1, false, true)
    };
    let group = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                map("tags"),
                text("stats"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group(
            "protocol",
            vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")],
        ),
        group("domainMetadata", vec![text("domain"), text("configuration"), flag("removed")]),
    ])
}
