use super::*;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::model::{LandingPosition, PartitionId, PipelineName, Reject, Span, Timestamp};
use crate::testkit::{Faults, Mode, Plan};
use std::sync::Mutex;

const FROZEN: &[u8] = include_bytes!("../../../tests/fixtures/quarantine-1.ndjson");

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 3 }
}

fn life() -> Incarnation {
    Incarnation("0f0e0d0c0b0a09080706050403020100".to_owned())
}

fn context(generation: u64, epoch: u64) -> EpochContext {
    EpochContext::new(shard(), generation, epoch, Env::system())
}

fn reject(raw: &[u8]) -> Reject {
    Reject::new("type", "`total` is not a number", raw.to_vec())
}

async fn stage(quarantine: &Quarantine, generation: u64, epoch: u64, raws: &[&[u8]]) -> QuarantineRef {
    let mut writer = quarantine.open(&context(generation, epoch), &life()).expect("opens");
    for raw in raws {
        writer.add("decode", reject(raw)).await.expect("adds");
    }
    writer.finish().await.expect("finishes").expect("has records")
}

async fn raws(quarantine: &Quarantine) -> Vec<Vec<u8>> {
    quarantine.read_all().await.expect("reads").into_iter().map(|r| r.raw.to_vec()).collect()
}

#[tokio::test]
async fn shows_records_only_after_publishing_and_keeps_their_exact_bytes() {
    let quarantine = Quarantine::in_store(&Store::memory(), "quarantine/orders").expect("valid");
    let bad: [&[u8]; 4] = [b"{\"id\":", b"\xff\xfe\n\0", b"", "\u{2028}\n\"\\".as_bytes()];
    let staged = stage(&quarantine, 1, 7, &bad).await;
    assert_eq!(staged.records, 4);
    assert!(raws(&quarantine).await.is_empty());
    quarantine.publish(&staged).await.expect("publishes");
    assert_eq!(raws(&quarantine).await, bad);
}

#[tokio::test]
async fn what_was_given_up_never_gets_under_the_name_of_what_is_staged_in_its_place() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    let attempt = async |attempt, raw: &[u8]| {
        let mut writer = quarantine.open(&EpochContext { attempt, ..context(1, 7) }, &life()).expect("opens");
        writer.add("decode", reject(raw)).await.expect("adds");
        writer.finish().await.expect("finishes").expect("has records")
    };
    let staged = attempt(1, b"second").await;
    // What was given up comes late.
    attempt(0, b"first").await;
    quarantine.publish(&staged).await.expect("publishes");
    assert_eq!(raws(&quarantine).await, [b"second"]);
    // And nothing else gets the final name, even if it got the staged one.
    let staged = stage(&quarantine, 1, 8, &[b"third"]).await;
    stage(&quarantine, 1, 8, &[b"another"]).await;
    assert_eq!(quarantine.publish(&staged).await.expect_err("not these").kind(), ErrorKind::Corrupt);
    assert_eq!(raws(&quarantine).await, [b"second"]);
}

#[tokio::test]
async fn keeps_where_a_record_came_from() {
    let quarantine = Quarantine::in_store(&Store::memory(), "q").expect("valid");
    let mut record = reject(b"{}");
    record.partition = Some(PartitionId::from("2024-01"));
    record.origin = Some(LandingPosition { segment: 12, record: 34 });
    record.span = Some(Span { start: 5, len: 2 });
    record.received_at = Some(Timestamp::from_micros(1_700_000_000_123_456));
    let mut writer = quarantine.open(&context(2, 9), &life()).expect("opens");
    writer.add("validate", record).await.expect("adds");
    quarantine.publish(&writer.finish().await.expect("finishes").expect("one")).await.expect("publishes");
    let kept = quarantine.read_all().await.expect("reads").remove(0);
    assert_eq!((kept.shard, kept.epoch, kept.stage.as_str(), kept.code.as_str()), (3, 9, "validate", "type"));
    assert_eq!((kept.segment, kept.record, kept.span_start, kept.span_len), (Some(12), Some(34), Some(5), Some(2)));
    assert_eq!(kept.partition, Some(PartitionId::from("2024-01")));
    assert_eq!(kept.received_at, Some(Timestamp::from_micros(1_700_000_000_123_456)));
}

#[tokio::test]
async fn a_replay_never_doubles() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    // Staged by an owner that dies, staged again by the next one, and by that one again.
    stage(&quarantine, 1, 7, &[b"a", b"b"]).await;
    stage(&quarantine, 2, 7, &[b"a"]).await;
    let committed = stage(&quarantine, 2, 7, &[b"a", b"b"]).await;
    assert_eq!(committed.path, "orders-0003-0f0e0d0c-00000000000000000007.ndjson");
    for _ in 0..3 {
        quarantine.publish(&committed).await.expect("publishes");
    }
    assert_eq!(raws(&quarantine).await, [b"a", b"b"]);

    assert_eq!(quarantine.collect(&shard(), 2, &[]).await.expect("collects"), 1);
    assert_eq!(quarantine.collect(&shard(), 2, &[]).await.expect("collects"), 0);
    assert_eq!(raws(&quarantine).await, [b"a", b"b"]);
}

#[tokio::test]
async fn collection_keeps_newer_generations_other_shards_and_what_a_checkpoint_names() {
    let quarantine = Quarantine::in_store(&Store::memory(), "q").expect("valid");
    let named = stage(&quarantine, 1, 7, &[b"a"]).await;
    stage(&quarantine, 1, 8, &[b"b"]).await;
    let newer = stage(&quarantine, 2, 8, &[b"b"]).await;
    let other = ShardKey { shard: 30, ..shard() };
    let mut writer = quarantine.open(&EpochContext { shard: other, ..context(1, 1) }, &life()).expect("opens");
    writer.add("decode", reject(b"c")).await.expect("adds");
    let elsewhere = writer.finish().await.expect("finishes").expect("one");

    assert_eq!(quarantine.collect(&shard(), 2, std::slice::from_ref(&named)).await.expect("collects"), 1);
    for kept in [named, newer, elsewhere] {
        quarantine.publish(&kept).await.expect("is still there");
    }
}

#[tokio::test]
async fn refuses_to_publish_what_is_gone_or_in_the_place_of_other_records() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    let staged = stage(&quarantine, 1, 7, &[b"a"]).await;
    store.delete(&ObjectPath::parse("q").and_then(|p| p.join(&staged.staged)).expect("valid")).await.expect("deletes");
    assert_eq!(quarantine.publish(&staged).await.expect_err("is gone").kind(), ErrorKind::Corrupt);

    let old = stage(&quarantine, 1, 7, &[b"old"]).await;
    quarantine.publish(&old).await.expect("publishes");
    let new = stage(&quarantine, 1, 7, &[b"new"]).await;
    assert_eq!(quarantine.publish(&new).await.expect_err("must not overwrite").kind(), ErrorKind::Corrupt);
    assert_eq!(raws(&quarantine).await, [b"old"]);
}

#[tokio::test]
async fn records_that_were_taken_care_of_leave_an_empty_object() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    let object = |name: &str| ObjectPath::parse("q").and_then(|p| p.join(name)).expect("valid");
    let staged = stage(&quarantine, 1, 7, &[b"a"]).await;
    quarantine.publish(&staged).await.expect("publishes");
    store.put(&object(&staged.path), "".into()).await.expect("puts");
    quarantine.publish(&staged).await.expect("is left as it is");
    assert!(raws(&quarantine).await.is_empty());
    // Only of what was published is that said.
    let staged = stage(&quarantine, 1, 8, &[b"a"]).await;
    store.put(&object(&staged.staged), "".into()).await.expect("puts");
    assert_eq!(quarantine.publish(&staged).await.expect_err("was not in view").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn another_life_publishes_beside_the_one_before_though_its_numbers_are_the_same() {
    let quarantine = Quarantine::in_store(&Store::memory(), "q").expect("valid");
    let mut refs = Vec::new();
    for (life, raw) in [(life(), b"old"), (Incarnation("anew".to_owned()), b"new")] {
        let mut writer = quarantine.open(&context(1, 7), &life).expect("opens");
        writer.add("decode", reject(raw)).await.expect("adds");
        refs.push(writer.finish().await.expect("finishes").expect("one"));
    }
    for records in refs {
        quarantine.publish(&records).await.expect("publishes");
    }
    assert_eq!(raws(&quarantine).await, [b"old", b"new"]);
}

#[tokio::test]
async fn spills_what_does_not_fit_into_memory() {
    let quarantine = Quarantine::in_store(&Store::memory(), "q").expect("valid");
    let raw = vec![b'x'; 300_000];
    let mut writer = quarantine.open(&context(1, 1), &life()).expect("opens");
    for _ in 0..20 {
        writer.add("decode", reject(&raw)).await.expect("adds");
        assert!(writer.buffer.capacity() < 3 << 20, "{}", writer.buffer.capacity());
    }
    let staged = writer.finish().await.expect("finishes").expect("some");
    assert!(staged.bytes > 6_000_000);
    quarantine.publish(&staged).await.expect("publishes");
    quarantine.publish(&staged).await.expect("knows it by its hash");
    assert_eq!(raws(&quarantine).await, vec![raw; 20]);
}

/// Stages and publishes unless the checkpoint that names the staged records exists already.
async fn run(store: &Store, generation: u64, checkpoint: &Mutex<Option<QuarantineRef>>) -> Result<()> {
    let quarantine = Quarantine::in_store(store, "q")?;
    let known = checkpoint.lock().expect("not poisoned").clone();
    let staged = match known {
        Some(staged) => staged,
        None => {
            let mut writer = quarantine.open(&context(generation, 7), &life())?;
            writer.spill_at = 300;
            for raw in [b"0", b"1", b"2"] {
                writer.add("decode", reject(raw)).await?;
            }
            let staged = writer.finish().await?.expect("has records");
            checkpoint.lock().expect("not poisoned").get_or_insert(staged).clone()
        }
    };
    quarantine.publish(&staged).await
}

#[tokio::test]
async fn a_fault_at_every_operation_and_again_in_the_recovery_loses_and_doubles_nothing() {
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::LostResponse, Mode::Fail] {
        let mut points = (0, 0);
        loop {
            let (store, checkpoint) = (Store::memory(), Mutex::new(None));
            let (first, second) = (Plan { at: points.0, mode }, Plan { at: points.1, mode });
            let ended = run(&Faults::of([first]).store(&store), 1, &checkpoint).await.is_ok();
            let recovered = run(&Faults::of([second]).store(&store), 2, &checkpoint).await.is_ok();
            run(&store, 3, &checkpoint).await.expect("recovers");
            let quarantine = Quarantine::in_store(&store, "q").expect("valid");
            quarantine.collect(&shard(), 4, &[]).await.expect("collects");
            let kept: Vec<_> = quarantine.read_all().await.expect("reads").iter().map(|r| r.raw[0]).collect();
            assert_eq!(kept, *b"012", "{mode:?} at {points:?}");
            assert_eq!(store.list(&ObjectPath::root()).await.expect("lists").len(), 1, "{mode:?} at {points:?}");
            points = if recovered { (points.0 + 1, 0) } else { (points.0, points.1 + 1) };
            if ended && recovered {
                break;
            }
        }
        assert!(points.0 > 5, "{points:?}");
    }
}

#[tokio::test]
async fn an_epoch_without_rejects_writes_nothing() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    assert_eq!(quarantine.open(&context(1, 1), &life()).expect("opens").finish().await.expect("finishes"), None);
    assert!(store.list(&ObjectPath::root()).await.expect("lists").is_empty());
}

#[test]
fn reads_the_first_format_and_refuses_newer_and_damaged_lines() {
    let lines: Vec<_> = FROZEN.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    let records: Vec<_> = lines.iter().map(|line| QuarantinedRecord::decode(line).expect("frozen format")).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0].raw[..], records[0].segment), (&b"{\"id\":1,\"total\":\"x\"}"[..], Some(4)));
    assert_eq!((&records[1].raw[..], records[1].segment), (&b"\xff\x00"[..], None));

    let mut written = Vec::new();
    for r in &records {
        let mut reject = Reject::new(if r.code == "type" { "type" } else { "json" }, r.reason.clone(), r.raw.clone());
        reject.partition = r.partition.clone();
        reject.origin = r.segment.zip(r.record).map(|(segment, record)| LandingPosition { segment, record });
        reject.span = r.span_start.zip(r.span_len).map(|(start, len)| Span { start, len });
        reject.received_at = r.received_at;
        record::encode(&r.pipeline, r.shard, r.epoch, &r.stage, &reject, &mut written).expect("encodes");
    }
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(FROZEN));

    let newer = String::from_utf8_lossy(lines[0]).replace("\"format\":1", "\"format\":2");
    assert_eq!(QuarantinedRecord::decode(newer.as_bytes()).expect_err("newer").kind(), ErrorKind::Config);
    let cut = &lines[0][..lines[0].len() - 3];
    assert_eq!(QuarantinedRecord::decode(cut).expect_err("cut").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_is_small_is_held_in_memory_and_staged_by_one_put() {
    let faults = Faults::none();
    let quarantine = Quarantine::in_store(&faults.store(&Store::memory()), "q").expect("valid");
    let mut writer = quarantine.open(&context(1, 7), &life()).expect("opens");
    assert_eq!(writer.records(), 0);
    for raw in [b"a", b"b"] {
        writer.add("decode", reject(raw)).await.expect("adds");
    }
    assert_eq!((writer.records(), faults.count()), (2, 0));
    let shown = format!("{writer:?}");
    assert!(shown.contains("q/_staged/orders/0003/") && shown.contains("records: 2"), "{shown}");
    writer.finish().await.expect("finishes").expect("has records");
    let operations: Vec<_> = faults.trace().iter().map(|point| point.operation).collect();
    assert_eq!(operations, ["put"]);
}

#[tokio::test]
async fn reads_what_is_published_and_nothing_that_lies_beside_it() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    let staged = stage(&quarantine, 1, 7, &[b"a"]).await;
    quarantine.publish(&staged).await.expect("publishes");
    for beside in ["q/readme.txt", "q/_staged/orders/0003/other.ndjson"] {
        store.put(&ObjectPath::parse(beside).expect("valid"), "no record".into()).await.expect("puts");
    }
    assert_eq!(raws(&quarantine).await, [b"a"]);
}

#[tokio::test]
async fn a_damaged_line_is_named_by_its_object_and_its_number() {
    let store = Store::memory();
    let quarantine = Quarantine::in_store(&store, "q").expect("valid");
    let name = "q/orders-0000-0f0e0d0c-00000000000000000007.ndjson";
    let lines = [FROZEN, b"{"].concat();
    store.put(&ObjectPath::parse(name).expect("valid"), lines.into()).await.expect("puts");
    let error = quarantine.read_all().await.expect_err("the third line is cut");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.context().contains(&("line", "3".to_owned())), "{error}");
    assert!(error.to_string().contains(name), "{error}");
}

#[tokio::test]
async fn what_is_fuzzed_reads_lines_and_refuses_what_is_none() {
    fuzz::quarantine(FROZEN).await.expect("frozen format");
    assert_eq!(fuzz::quarantine(b"{").await.expect_err("cut").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_another_owner_publishes_meanwhile_is_published() {
    // Before it is looked for where it was staged, and before it is renamed.
    for at in [1, 2] {
        let store = Store::memory();
        let quarantine = Quarantine::in_store(&store, "q").expect("valid");
        let staged = stage(&quarantine, 1, 7, &[b"a"]).await;
        let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
        let slow = Quarantine::in_store(&faults.store(&store), "q").expect("valid");
        let overtake = async {
            faults.until_paused().await;
            quarantine.publish(&staged).await.expect("publishes");
            faults.resume();
        };
        let (published, ()) = tokio::join!(slow.publish(&staged), overtake);
        published.unwrap_or_else(|e| panic!("paused at {at}: {e}"));
        assert_eq!(raws(&quarantine).await, [b"a"]);
    }
}
