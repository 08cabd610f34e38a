//! Frozen examples of what the pipeline keeps.

use super::*;
use crate::pipeline::epoch::{Checkpoint, InputPosition};

#[test]
fn the_frozen_checkpoint_is_read() {
    const FROZEN: &[u8] = include_bytes!("../../../tests/fixtures/checkpoint-1.json");
    let checkpoint = Checkpoint::decode(&shard(), &record_of(FROZEN)).expect("reads");
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
    let abandoned = checkpoint.abandons(5).expect("it was given up");
    assert_eq!((abandoned.epoch, abandoned.by.as_str(), abandoned.ledger.staged), (3, "ana", 12));
    assert_eq!(checkpoint.abandons(7), None, "before this epoch");
    is_written_as(&checkpoint, FROZEN);
}

#[test]
fn the_frozen_checkpoint_without_a_landing_and_within_an_enumeration_is_read() {
    const FROZEN: &[u8] = include_bytes!("../../../tests/fixtures/checkpoint-source-1.json");
    let checkpoint = Checkpoint::decode(&shard(), &record_of(FROZEN)).expect("reads");
    assert!(matches!(&checkpoint.input, InputPosition::Source(positions) if positions.len() == 1));
    assert!(checkpoint.enumeration.is_some_and(|e| e.number == 12 && e.whole && e.quarantined == 1));
    is_written_as(&checkpoint, FROZEN);
}

#[test]
fn a_newer_checkpoint_is_refused_whatever_it_holds_and_a_damaged_one_is_damage() {
    let newer = record_of(br#"{"format":"landfall-checkpoint/2","input":[]}"#);
    let error = Checkpoint::decode(&shard(), &newer).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        ["landfall-checkpoint/2", "orders/0000", "number=`7`", "newer one"].iter().all(|s| text.contains(s)),
        "{text}"
    );
    for damaged in [&b""[..], b"{}", b"[]", br#"{"format":"landfall-checkpoint/1"}"#, br#"{"format":1}"#] {
        let error = Checkpoint::decode(&shard(), &record_of(damaged)).expect_err("damage");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

fn is_written_as(checkpoint: &Checkpoint, frozen: &[u8]) {
    let written = checkpoint.encode().expect("serialises");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(frozen.trim_ascii_end()));
}

#[test]
fn a_float_in_what_gives_identity_is_the_same_after_it_was_kept() {
    use crate::pipeline::epoch::ConfigRecord;
    // Written with more digits than a plain parser of JSON reads to the last bit.
    #[allow(clippy::excessive_precision, reason = "the digits are the point")]
    for float in [0.1 + 0.2, 118_446_744_073_709_551_615.0, 5e-324, 1.7976931348623157e308, 2.2250738585072011e-308] {
        let of =
            |float: f64| ConfigRecord { identity: [("sink".to_owned(), float.into())].into(), ..Default::default() };
        let first = Checkpoint::first(of(float), InputPosition::Source(Default::default()));
        let kept = Checkpoint::decode(&shard(), &record_of(&first.encode().expect("serialises"))).expect("reads");
        kept.config.check_identity(&of(float), true).expect("nothing has changed");
        kept.config.check_identity(&of(float / 2.0), true).expect_err("it has changed");
    }
}
