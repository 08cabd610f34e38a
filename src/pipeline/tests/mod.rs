//! What is kept of an epoch, and how it is committed.

mod commits;
mod frozen;

use crate::checkpoint::{Record, RecordKind};
use crate::error::ErrorKind;
use crate::model::{Incarnation, LandingPosition, PipelineName, ShardKey, Timestamp};

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 0 }
}

fn record_of(payload: &[u8]) -> Record {
    Record {
        number: 7,
        kind: RecordKind::Data,
        incarnation: Incarnation("a".into()),
        generation: 1,
        nonce: String::new(),
        parent: None,
        newest_data: None,
        written_at: Timestamp::default(),
        payload: payload.to_vec().into(),
    }
}
