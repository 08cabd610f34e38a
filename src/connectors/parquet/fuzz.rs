//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::compact::{fit, opened, together};
use super::envelope;
use super::log::Folder;
use super::{DataFile, DatasetCommit, DatasetCompaction, Snapshot, StoredColumn, StoredType};
use crate::columnar::files::checksum;
use crate::error::Result;
use crate::model::{PipelineName, ShardKey};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt::Debug;

/// A commit that is read says the same when it is written and read again; its files lie below the dataset, and are looked for.
pub(crate) async fn commit(bytes: &[u8]) -> Result<()> {
    let commit: DatasetCommit = both("landfall dataset commit", "commit", bytes)?;
    let folder = Folder { store: Store::memory(), prefix: ObjectPath::parse("lake/orders")? };
    for (file, name) in commit.files.iter().flat_map(|file| [(file, &file.path), (file, &file.staged)]) {
        let object = folder.prefix.join(name)?;
        assert!(object == folder.prefix || object.is_below(&folder.prefix), "{object}");
        if object != folder.prefix {
            folder.store.put(&object, Bytes::copy_from_slice(bytes)).await?;
            drop(folder.is_there(&object, file).await);
        }
    }
    Ok(())
}

/// The same of the record of a compaction.
pub(crate) fn compaction(bytes: &[u8]) -> Result<()> {
    let shard = ShardKey { pipeline: PipelineName::new("fuzz")?, shard: 0 };
    let other = DatasetCompaction::decode(&shard, 1, bytes).map(drop);
    both::<DatasetCompaction>("landfall dataset compaction", "compaction", bytes).map(drop).or(other)
}

/// A file that is the one of its commit is read or refused; what is read can be put together with others, row by row.
pub(crate) async fn file(bytes: &[u8]) -> Result<()> {
    let folder = Folder { store: Store::memory(), prefix: ObjectPath::parse("lake/orders")? };
    let bytes = Bytes::copy_from_slice(bytes);
    folder.store.put(&folder.prefix.join("a.parquet")?, bytes.clone()).await?;
    let file = DataFile {
        path: "a.parquet".to_owned(),
        staged: "a.staged".to_owned(),
        rows: bytes.len() as u64,
        bytes: bytes.len() as u64,
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        tail_crc32c: String::new(),
        partition: [("p".to_owned(), Some("7".to_owned()))].into(),
    };
    let by = StoredColumn { name: "p".to_owned(), kind: StoredType::Plain("int64".to_owned()), nullable: true };
    let snapshot = Snapshot { folder, commits: Vec::new(), files: Vec::new() };
    let read: usize = snapshot.read_file(&file, &[by]).await?.iter().map(|batch| batch.num_rows()).sum();
    assert!(read as u64 <= file.rows, "{read} rows");
    let rows = opened(&file, &bytes)?;
    // Columns of one name are not told apart.
    let Some(columns) = together(rows.schema(), rows.schema()) else { return Ok(()) };
    let mut again = 0;
    for batch in rows {
        again += fit(&file, batch, &columns)?.num_rows();
    }
    assert_eq!(again, read);
    Ok(())
}

/// What is in `bytes` as an object, or as its content behind a checksum that fits.
fn both<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    format: &'static str,
    field: &'static str,
    bytes: &[u8],
) -> Result<T> {
    let content = String::from_utf8_lossy(bytes);
    let crc = checksum(content.as_bytes());
    let object = format!(r#"{{"format":"{format}","version":1,"crc32c":"{crc}","{field}":{content}}}"#);
    let read: Result<T> = envelope::decode(format, field, bytes);
    let value = read.or_else(|_| envelope::decode(format, field, object.as_bytes()))?;
    assert_eq!(envelope::decode::<T>(format, field, &envelope::encode(format, field, &value)?)?, value);
    Ok(value)
}
