//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::actions::Line;
use super::checkpoint;
use super::file;
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::pending::{self, Head};
use super::schema;
use crate::error::{Error, Result};
use crate::model::{PipelineName, ShardKey};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("fuzz").expect("a name"), shard: 0 }
}

fn log() -> Log {
    Log { store: Store::memory(), folder: ObjectPath::parse("lake/orders").expect("a name") }
}

/// The log of a table is read or refused, and a checkpoint of what was read says the same.
pub(crate) async fn log_file(bytes: &[u8]) -> Result<()> {
    let log = log();
    let folder = log.folder.join("_delta_log")?;
    let base = br#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"a","schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":["p"],"configuration":{}}}
"#;
    log.store.put(&folder.join("00000000000000000000.json")?, Bytes::from_static(base)).await?;
    log.store.put(&folder.join("00000000000000000001.json")?, Bytes::copy_from_slice(bytes)).await?;
    log.store.put(&folder.join("_last_checkpoint")?, Bytes::copy_from_slice(bytes)).await?;
    let Some(snapshot) = log.newest(None, Keep::All).await? else { return Ok(()) };
    whole(&snapshot)
}

/// What a log says of marks, schema and files is understood, or refused.
fn whole(snapshot: &Snapshot) -> Result<()> {
    let files = snapshot.files.keys().try_for_each(|path| {
        let object = file::object(&ObjectPath::parse("lake/orders")?, path)?;
        assert!(object.is_below(&ObjectPath::parse("lake/orders")?) || object.as_str() == "lake/orders");
        Ok(())
    });
    let (bytes, _) = checkpoint::write(snapshot, 0)?;
    let mut again = Snapshot::empty(Keep::All, snapshot.version);
    checkpoint::read(bytes, Keep::All, |line| again.apply_row(line))?;
    assert_eq!(again.files.keys().collect::<Vec<_>>(), snapshot.files.keys().collect::<Vec<_>>());
    assert_eq!((&again.txns, &again.metadata.schema_string), (&snapshot.txns, &snapshot.metadata.schema_string));
    files.and(mark::decode(&shard(), &snapshot.txns).map(drop)).and(schema(snapshot.metadata.schema_string.as_bytes()))
}

/// A checkpoint of Parquet is read or refused.
pub(crate) fn checkpoint_file(bytes: &[u8]) -> Result<()> {
    let mut snapshot = Snapshot::empty(Keep::All, 0);
    checkpoint::read(Bytes::copy_from_slice(bytes), Keep::All, |line| snapshot.apply_row(line))
}

/// A schema that is read is the same when it is written and read again.
pub(crate) fn schema(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let columns = schema::parse(&text)?;
    assert_eq!(schema::parse(&schema::text(&columns)?)?, columns);
    schema::merged(Some(&text), &schema::text(&columns)?).map(drop)
}

/// A list of pending files is read or refused; what was written is read.
pub(crate) async fn pending(bytes: &[u8]) -> Result<()> {
    let log = log();
    pending::fuzzed(&log, &shard(), bytes).await
}

/// A mark is whole, or damage. Each line is an action.
pub(crate) fn mark(bytes: &[u8]) -> Result<()> {
    let lines = bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let txns = lines.filter_map(|line| line.txn).map(|txn| (txn.app_id.clone(), txn)).collect();
    let head = Head::of(&shard(), None);
    assert!(head.is_none());
    let Some(mark) = mark::decode(&shard(), &txns)? else { return Ok(()) };
    let again = mark::encode(&shard(), &mark, 0)?.into_iter().map(|txn| (txn.app_id.clone(), txn)).collect();
    assert_eq!(mark::decode(&shard(), &again)?, Some(mark));
    Ok(())
}

/// The path of a file leads below the table, and is written as it was.
pub(crate) fn path(bytes: &[u8]) -> Result<()> {
    let folder = ObjectPath::parse("lake/orders")?;
    let text = std::str::from_utf8(bytes).map_err(|e| Error::data("read path", "not text").with_source(e))?;
    let object = file::object(&folder, text)?;
    assert!(object == folder || object.is_below(&folder), "{object}");
    if let Some(name) = object.as_str().strip_prefix("lake/orders/") {
        assert_eq!(file::object(&folder, &file::uri(name))?, object);
    }
    Ok(())
}
