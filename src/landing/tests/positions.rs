use super::*;
use crate::ErrorKind;
use std::collections::BTreeMap;

/// A small generator: the tests need variety, not quality.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn long(value: u64) -> PositionValue {
    PositionValue { value: format!("{value}{}", "-".repeat(200)).into(), validity: Validity::Durable }
}

/// The snapshot objects in `store`.
async fn snapshots(store: &Store) -> Vec<ObjectInfo> {
    store.list(&landing(store).folder("positions", &shard())).await.expect("lists")
}

#[tokio::test]
async fn positions_are_recovered_as_a_map_would_hold_them() {
    for (seed, partitions, value) in [(1, 200, position as fn(u64) -> PositionValue), (2, 900, long)] {
        let mut dice = Dice(seed);
        let inner = MemoryStore::default();
        let mut model = BTreeMap::new();
        let (mut writer, state) = open(&Store::new(inner.clone())).await.expect("opens");
        assert_eq!(state, LandedState { positions: BTreeMap::new(), newest: 1 });
        let mut newest = 1;
        for step in 0..400 {
            let mut draft = SegmentDraft::default();
            for _ in 0..dice.roll(9) {
                let partition = PartitionId(format!("p{}", dice.roll(partitions)));
                draft.positions.insert(partition, value(step));
            }
            model.extend(draft.positions.clone());
            newest = writer.append(draft).await.expect("lands").number;
            if dice.roll(12) == 0 {
                let counted = DyingStore::over(&inner, Fault::None);
                let (next, state) = open(&counted.store()).await.expect("opens");
                newest += 1;
                assert_eq!(state, LandedState { positions: model.clone(), newest });
                let reads = counted.reads.load(Ordering::SeqCst);
                assert!(reads <= 64 + 6, "{reads} reads at step {step}");
                writer = next;
            }
        }
        let objects = snapshots(&Store::new(inner.clone())).await.len();
        assert_eq!(objects > 0, seed == 2, "large snapshots, and only they, are objects");
        drop(writer);
        let (_, state) = open(&Store::new(inner)).await.expect("opens");
        assert_eq!(state, LandedState { positions: model, newest: newest + 1 });
    }
}

/// A landing whose newest segment with all positions refers to an object.
async fn with_snapshot_object() -> (Store, ObjectPath) {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    for step in 0..70_u64 {
        let positions = (0..10).map(|n| (PartitionId(format!("{step}-{n}")), long(step))).collect();
        writer.append(SegmentDraft { positions, ..SegmentDraft::default() }).await.expect("lands");
    }
    let objects = snapshots(&store).await;
    (store, objects.last().expect("the positions are large").path.clone())
}

#[tokio::test]
async fn positions_of_few_partitions_are_recovered_from_one_segment() {
    let inner = MemoryStore::default();
    let (mut writer, _) = open(&Store::new(inner.clone())).await.expect("opens");
    for number in 0..40 {
        writer.append(moves("a", number)).await.expect("lands");
    }
    let counted = DyingStore::over(&inner, Fault::None);
    let (_, state) = open(&counted.store()).await.expect("opens");
    assert_eq!(state.positions, [("a".into(), position(39))].into());
    assert!(counted.reads.load(Ordering::SeqCst) <= 6, "reads more than the end of the chain");
}

#[tokio::test]
async fn a_damaged_or_missing_snapshot_halts() {
    let (store, path) = with_snapshot_object().await;
    assert!(open(&store).await.is_ok());
    let bytes = store.get(&path, None).await.expect("reads").expect("is there");
    for damage in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.to_vec();
        damaged[damage] ^= 1;
        store.put(&path, damaged.into()).await.expect("writes");
        let e = open(&store).await.expect_err("damaged");
        assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains(path.as_str()), "{e}");
    }
    store.delete(&path).await.expect("deletes");
    let e = open(&store).await.expect_err("missing");
    assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains(path.as_str()), "{e}");
    store.put(&path, bytes).await.expect("writes");
    assert!(open(&store).await.is_ok());
}

#[tokio::test]
async fn an_owner_whose_append_failed_deletes_nothing() {
    let (store, path) = with_snapshot_object().await;
    Retention::new(&landing(&store), &shard(), &env()).publish(&load("fast"), Default::default()).await.expect("fine");
    let (mut old, _) = open(&store).await.expect("opens");
    let (_new, _) = open(&store).await.expect("opens");
    // The old owner takes its next segment, which is never landed, for one with all positions.
    let positions = (0..700).map(|n| (PartitionId(format!("more-{n}")), long(n))).collect();
    let e = old.append(SegmentDraft { positions, ..SegmentDraft::default() }).await.expect_err("fenced");
    assert_eq!(e.kind(), ErrorKind::Fenced);
    assert_eq!(old.collect().await.expect_err("in doubt").kind(), ErrorKind::Bug);
    assert!(store.get(&path, None).await.expect("reads").is_some(), "the snapshot is still needed");
    assert!(open(&store).await.is_ok());
}

#[tokio::test]
async fn snapshots_of_earlier_bases_are_deleted() {
    let (store, old) = with_snapshot_object().await;
    Retention::new(&landing(&store), &shard(), &env()).publish(&load("fast"), Default::default()).await.expect("fine");
    let (mut writer, state) = open(&store).await.expect("opens");
    writer.collect().await.expect("collects");
    assert!(store.get(&old, None).await.expect("reads").is_some(), "it is needed");
    writer.append(SegmentDraft { positions: state.positions.clone(), ..SegmentDraft::default() }).await.expect("lands");
    assert!(snapshots(&store).await.len() > 1);
    writer.collect().await.expect("collects");
    assert_eq!(store.get(&old, None).await.expect("reads"), None);
    assert_eq!(open(&store).await.expect("recovers").1.positions, state.positions);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_is_tried_again_for_a_while() {
    let inner = MemoryStore::default();
    let (mut writer, _) = open(&DyingStore::over(&inner, Fault::Puts).store()).await.expect("opens");
    let mut landed = 0_u64;
    let error = loop {
        let positions = (0..10).map(|n| (PartitionId(format!("{landed}-{n}")), long(landed))).collect();
        match writer.append(SegmentDraft { positions, ..SegmentDraft::default() }).await {
            Ok(_) => landed += 1,
            Err(e) => break e,
        }
    };
    // Small snapshots went into segments; the fourth has the last one.
    assert_eq!((landed, error.kind()), (4 + 127, ErrorKind::Unavailable));
    let store = Store::new(inner);
    let (mut writer, state) = open(&store).await.expect("opens");
    assert_eq!(state.positions.len(), 1_310);
    writer.append(moves("a", 1)).await.expect("lands");
    assert_eq!(snapshots(&store).await.len(), 1, "the next segment makes up for it");
}

#[tokio::test]
async fn positions_of_a_hundred_thousand_partitions_are_recovered() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    for step in 0..20_u64 {
        let positions =
            (0..5_000).map(|n| (PartitionId(format!("parent-{}", step * 5_000 + n)), position(n))).collect();
        writer.append(SegmentDraft { positions, ..SegmentDraft::default() }).await.expect("lands");
    }
    let (_, state) = open(&store).await.expect("opens");
    assert_eq!(state.positions.len(), 100_000);
    assert_eq!(state.positions.get(&PartitionId::from("parent-99999")), Some(&position(4_999)));
}
