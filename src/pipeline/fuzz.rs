//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::epoch::Checkpoint;
use crate::checkpoint::{Record, RecordKind};
use crate::error::{Error, Result};
use crate::model::{Incarnation, PipelineName, ShardKey, Timestamp};
use crate::store::ObjectPath;
use bytes::Bytes;
use serde_json::Value;

/// A checkpoint that is read means the same when it is written and read again; what it names lies in the folders where that is looked for.
pub(crate) fn checkpoint(bytes: &[u8]) -> Result<()> {
    let shard = ShardKey { pipeline: PipelineName::new("fuzz")?, shard: 0 };
    let read = |payload: Bytes| {
        let record = Record {
            number: 7,
            kind: RecordKind::Data,
            incarnation: Incarnation("fuzz".to_owned()),
            generation: 1,
            nonce: String::new(),
            parent: None,
            newest_data: None,
            written_at: Timestamp::default(),
            payload,
        };
        Checkpoint::decode(&shard, &record)
    };
    let checkpoint = read(Bytes::copy_from_slice(bytes))?;
    let again = read(checkpoint.encode()?)?;
    // The last bit of a float with many digits is not kept: nothing is decided by it.
    if !has_floats(&serde_json::to_value(&checkpoint).map_err(|e| Error::bug("fuzz", "JSON").with_source(e))?) {
        assert_eq!(again, checkpoint);
    }
    let identity = again.config.check_identity(&checkpoint.config, true);
    assert!(identity.is_ok(), "{identity:?}");
    let folder = ObjectPath::parse("a/b")?;
    let quarantined = checkpoint.quarantine.iter().flat_map(|records| [&records.staged, &records.path]);
    for name in checkpoint.state.iter().map(|part| &part.path).chain(quarantined) {
        let object = folder.join(name)?;
        assert!(object == folder || object.is_below(&folder), "{object}");
    }
    Ok(())
}

fn has_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_floats),
        Value::Object(members) => members.values().any(has_floats),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
