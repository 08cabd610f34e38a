//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::actions::{Add, Line};
use super::checkpoint;
use super::file;
use super::log::{Keep, Log, Snapshot};
use super::mark;
use super::own::may_hold;
use super::pending::{self, Head};
use super::ranges::Ranges;
use super::schema;
use super::stats;
use crate::error::{Error, Result};
use crate::model::{PipelineName, ShardKey};
use crate::store::{ObjectPath, Store};
use arrow::array::{Int64Array, StringArray};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::sync::Arc;

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

/// A data file is read or refused. It has as many rows whichever of its columns are read: they are known by their numbers.
pub(crate) async fn data_file(bytes: &[u8]) -> Result<()> {
    const COLUMNS: &str = r#"{"type":"struct","fields":[
        {"name":"id","type":"long","nullable":true},{"name":"text","type":"string","nullable":true},
        {"name":"at","type":"timestamp","nullable":true},{"name":"local","type":"timestamp_ntz","nullable":true},
        {"name":"day","type":"date","nullable":true},{"name":"amount","type":"decimal(12,2)","nullable":true},
        {"name":"weight","type":"double","nullable":true},{"name":"ok","type":"boolean","nullable":true},
        {"name":"raw","type":"binary","nullable":true},
        {"name":"list","type":{"type":"array","elementType":"long","containsNull":true},"nullable":true},
        {"name":"within","type":{"type":"struct","fields":[{"name":"a","type":"integer","nullable":true}]},"nullable":true},
        {"name":"map","type":{"type":"map","keyType":"string","valueType":"long","valueContainsNull":true},"nullable":true},
        {"name":"p","type":"long","nullable":true}]}"#;
    const MOST: usize = 1 << 20;
    let log = log();
    log.store.put(&log.folder.join("a.parquet")?, Bytes::copy_from_slice(bytes)).await?;
    let file = Add {
        path: "a.parquet".to_owned(),
        size: bytes.len() as i64,
        partition_values: [("p".to_owned(), Some("7".to_owned()))].into(),
        ..Add::default()
    };
    let columns = schema::parse(COLUMNS)?;
    let mut counts = Vec::new();
    for wanted in [schema::pick(&columns, ["id"])?, columns] {
        let mut rows = file::rows(&log, &file, &wanted).await?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows();
            // A small file may have many of them, one like the other.
            if count > MOST {
                return Ok(());
            }
        }
        counts.push(count);
    }
    assert!(counts.windows(2).all(|pair| pair.first() == pair.last()), "{counts:?}");
    Ok(())
}

/// A file is skipped only if its statistics say that no key can be in it. The first line is a key; what follows are statistics.
pub(crate) fn statistics(bytes: &[u8]) -> Result<()> {
    fn rules_out<T: PartialOrd>(low: Option<T>, high: Option<T>, key: &T) -> bool {
        low.is_some_and(|low| *key < low) || high.is_some_and(|high| *key > high)
    }
    let all = String::from_utf8_lossy(bytes);
    let (text, given) = all.split_once('\n').unwrap_or_default();
    let number = text.parse::<i64>().unwrap_or(text.len() as i64);
    let [numbers, texts] = ["n", "t"].map(|name| vec![name.to_owned()]);
    let mut ranges = Ranges::default();
    ranges.note(&numbers, &[Arc::new(Int64Array::from(vec![number]))]);
    ranges.note(&texts, &[Arc::new(StringArray::from(vec![text]))]);

    let said: Value = serde_json::from_str(given).unwrap_or_default();
    let bound = |which: &str, name: &str| said.get(which).and_then(|bounds| bounds.get(name));
    let file = Add { stats: Some(given.to_owned()), ..Add::default() };
    let low_and_high = |name: &str| (bound("minValues", name), bound("maxValues", name));
    let (low, high) = low_and_high("n");
    let ruled_out = rules_out(low.and_then(Value::as_i64), high.and_then(Value::as_i64), &number);
    assert!(ranges.may_be_in(&file, &numbers) || ruled_out, "{number} may be in it");
    let (low, high) = low_and_high("t");
    let ruled_out = rules_out(low.and_then(Value::as_str), high.and_then(Value::as_str), &text);
    assert!(ranges.may_be_in(&file, &texts) || ruled_out, "{text:?} may be in it");
    may_hold(&shard(), &file);
    stats::rows(file.stats.as_deref());

    // What is true of the key, however it is cut off, never rules it out.
    let half: String = text.chars().take(text.chars().count() / 2).collect();
    for end in ["", "\u{fffd}", "\u{10ffff}"] {
        let bounds = json!({ "minValues": { "t": half }, "maxValues": { "t": format!("{half}{end}") } });
        let file = Add { stats: Some(bounds.to_string()), ..Add::default() };
        assert!(ranges.may_be_in(&file, &texts), "{text:?} may be in {half:?}{end:?}");
    }
    for (name, value) in [("n", number.to_string()), ("t", text.to_owned())] {
        let partition_values = [(name.to_owned(), Some(value))].into();
        assert!(ranges.may_be_in(&Add { partition_values, ..file.clone() }, &[name.to_owned()]));
        let partition_values = [(name.to_owned(), Some(given.to_owned()))].into();
        ranges.may_be_in(&Add { partition_values, ..file.clone() }, &[name.to_owned()]);
    }
    if said.is_object() { Ok(()) } else { Err(Error::data("read statistics", "they are no object")) }
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
