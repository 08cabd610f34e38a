use super::Row;
use super::run::{Cursor, Run, RunEncoder, RunRef};
use crate::error::Result;
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use serde_json::value::to_raw_value;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes as blocks with an index behind them (the first two say where it begins), and as rows to be written.
pub(in crate::landing) async fn run(bytes: &[u8]) -> Result<()> {
    let folder = ObjectPath::parse("runs")?;
    let store = Store::memory();
    let keys: BTreeMap<String, _> = bytes
        .chunks(5)
        .map(|key| (String::from_utf8_lossy(key).into_owned(), to_raw_value(&key.len()).expect("JSON")))
        .collect();
    let mut encoder = RunEncoder::of(keys.len() as u64);
    keys.iter().try_for_each(|(key, value)| encoder.row(key, value.get()))?;
    let (stored, reference) = encoder.finish("own.run".to_owned(), 0)?;
    store.put(&folder.join("own.run")?, stored).await?;
    let own = Run::open(&store, &folder, reference).await?;
    let back: Vec<String> = all(own).await?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(back, keys.into_keys().collect::<Vec<_>>());

    let Some((offset, object)) = bytes.split_first_chunk::<2>() else { return Ok(()) };
    let offset = usize::from(u16::from_le_bytes(*offset)).min(object.len());
    let index = object.get(offset..).unwrap_or_default();
    let reference = RunRef {
        name: "x.run".to_owned(),
        level: 0,
        rows: 1,
        offset: offset as u64,
        length: index.len() as u64,
        xxh3: xxh3_64(index),
    };
    store.put(&folder.join("x.run")?, Bytes::copy_from_slice(object)).await?;
    let run = Run::open(&store, &folder, reference).await?;
    // Rows of a block whose checksum fits.
    let read = run.rows(object).and_then(|_| run.find(object, "p")).map(drop);
    read.or(all(run).await.map(drop))
}

async fn all(run: Run) -> Result<Vec<Row>> {
    let mut cursor = Cursor::at(run, "");
    let mut rows = Vec::new();
    while let Some(row) = cursor.next().await? {
        rows.push(row);
    }
    Ok(rows)
}
