//! Frozen examples of what the pipeline keeps.

use super::epoch::{Checkpoint, InputPosition};
use crate::checkpoint::{Record, RecordKind};
use crate::model::{Incarnation, LandingPosition, PipelineName, ShardKey, Timestamp};

#[test]
fn the_frozen_checkpoint_is_read() {
    const FROZEN: &[u8] = include_bytes!("../../tests/fixtures/checkpoint-1.json");
    let shard = ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 0 };
    let record = record_of(FROZEN);
    let checkpoint = Checkpoint::decode(&shard, &record).expect("reads");
    assert_eq!(checkpoint.input, InputPosition::Landing(LandingPosition { segment: 12, record: 40 }));
    assert_eq!(checkpoint.landing, Some(Incarnation("0f0e0d0c0b0a09080706050403020100".into())));
    assert_eq!(checkpoint.config.identity["stage dedup"], serde_json::json!({ "by": ["id"] }));
    assert_eq!(checkpoint.state[0].path, "dedup/00000000000000000007-0123456789abcdef");
    let prepared = checkpoint.prepared.as_ref().expect("it is prepared");
    assert_eq!((prepared.previous, prepared.digest.as_str()), (Some(5), "c0ffee"));
    assert_eq!(checkpoint.marked, Some(7));
    assert_eq!(checkpoint.quarantine.as_ref().map(|q| q.records), Some(1));
    checkpoint.ledger.check().expect("balances");
    let accounts = serde_json::to_value(&checkpoint.accounts).expect("JSON");
    let sum = &accounts["rows"]["c[\"eu\",[\"2024-01-01\",\"2024-02-01\"]]"];
    assert_eq!((&sum["loaded"], &sum["filtered"]), (&37.into(), &serde_json::Value::Null));
    assert_eq!(accounts["runs"][0]["rows"], 60);
    // What is written now means the same.
    let again = record_of(&checkpoint.encode().expect("serialises"));
    assert_eq!(Checkpoint::decode(&shard, &again).expect("reads"), checkpoint);
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
