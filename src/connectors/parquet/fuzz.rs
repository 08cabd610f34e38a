//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::envelope;
use super::{DatasetCommit, DatasetCompaction};
use crate::columnar::files::checksum;
use crate::error::Result;
use crate::model::{PipelineName, ShardKey};
use crate::store::ObjectPath;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A commit that is read says the same when it is written and read again; its files lie below the dataset.
pub(crate) fn commit(bytes: &[u8]) -> Result<()> {
    let commit: DatasetCommit = both("landfall dataset commit", "commit", bytes)?;
    let folder = ObjectPath::parse("lake/orders")?;
    for name in commit.files.iter().flat_map(|file| [&file.path, &file.staged]) {
        let object = folder.join(name)?;
        assert!(object == folder || object.is_below(&folder), "{object}");
    }
    Ok(())
}

/// The same of the record of a compaction.
pub(crate) fn compaction(bytes: &[u8]) -> Result<()> {
    let shard = ShardKey { pipeline: PipelineName::new("fuzz")?, shard: 0 };
    let other = DatasetCompaction::decode(&shard, 1, bytes).map(drop);
    both::<DatasetCompaction>("landfall dataset compaction", "compaction", bytes).map(drop).or(other)
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
