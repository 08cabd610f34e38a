//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::epoch::Checkpoint;
use crate::checkpoint::{Record, RecordKind};
use crate::error::Result;
use crate::model::{Incarnation, PipelineName, ShardKey, Timestamp};
use bytes::Bytes;

/// A checkpoint that is read means the same when it is written and read again.
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
    assert_eq!(again, checkpoint);
    again.config.check_identity(&checkpoint.config, true)
}
