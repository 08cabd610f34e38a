use super::*;
use crate::ErrorKind;
use crate::landing::table::RunRef;
use crate::model::{Coverage, Proof, StopReason, Tally, Window};
use crate::testkit::Faults;
use serde_json::value::RawValue;

/// A small generator: the tests need variety, not quality.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn long(value: u64) -> PositionValue {
    PositionValue::new(format!("{value}{}", "-".repeat(200)), Validity::Durable)
}

/// The runs in `store`.
async fn runs(store: &Store) -> Vec<ObjectInfo> {
    store.list(&landing(store).folder("positions", &shard())).await.expect("lists")
}

/// Moves ten partitions that no other step moves.
fn ten(step: u64) -> SegmentDraft {
    let positions = (0..10).map(|n| (PartitionId(format!("{step}-{n}")), long(step))).collect();
    SegmentDraft { positions, ..SegmentDraft::default() }
}

#[tokio::test]
async fn positions_are_recovered_as_a_map_would_hold_them() {
    for (seed, partitions, value) in [(1, 200, position as fn(u64) -> PositionValue), (2, 900, long)] {
        let mut dice = Dice(seed);
        let inner = MemoryStore::default();
        let mut model = BTreeMap::new();
        let (mut writer, state) = open(&Store::new(inner.clone())).await.expect("opens");
        assert_eq!((all(&state).await, state.newest), (BTreeMap::new(), 1));
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
                writer.collect_merged().await.expect("collects");
                let (next, state) = open(&counted.store()).await.expect("opens");
                newest += 1;
                let reads = counted.reads.load(Ordering::SeqCst);
                assert!(reads <= 64 + 6, "{reads} reads at step {step}");
                assert_eq!((all(&state).await, state.newest), (model.clone(), newest));
                for n in 0..partitions {
                    let partition = PartitionId(format!("p{n}"));
                    let found = state.positions.get(&partition).await.expect("readable");
                    assert_eq!(found.as_ref(), model.get(&partition), "{partition} at step {step}");
                }
                assert!(state.positions.cached() <= 5 << 10, "the cache is bounded");
                writer = next;
            }
        }
        let objects = runs(&Store::new(inner.clone())).await.len();
        assert_eq!(objects > 0, seed == 2, "what is large, and only that, is in objects");
        drop(writer);
        let (_, state) = open(&Store::new(inner)).await.expect("opens");
        assert_eq!((all(&state).await, state.newest), (model, newest + 1));
    }
}

/// A landing with runs, and the newest of them.
async fn with_runs() -> (Store, ObjectPath) {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    for step in 0..70 {
        writer.append(ten(step)).await.expect("lands");
    }
    let objects = runs(&store).await;
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
    assert_eq!(all(&state).await, [("a".into(), position(39))].into());
    assert!(counted.reads.load(Ordering::SeqCst) <= 6, "reads more than the end of the chain");
}

/// What a caller gets that asks for every position.
async fn read_all(store: &Store) -> Result<usize> {
    let (_, state) = open(store).await?;
    Ok(state.positions.all().await?.len())
}

#[tokio::test]
async fn a_damaged_or_missing_run_is_never_taken_for_no_position() {
    let (store, path) = with_runs().await;
    assert_eq!(read_all(&store).await.expect("whole"), 700);
    let bytes = store.get(&path, None).await.expect("reads").expect("is there");
    for damage in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[damage] ^= 1;
        store.put(&path, damaged.into()).await.expect("writes");
        if damage % 97 == 0 {
            let e = read_all(&store).await.expect_err("damaged");
            assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains(path.as_str()), "byte {damage}: {e}");
        }
    }
    store.put(&path, bytes.slice(..bytes.len() - 1)).await.expect("writes");
    assert_eq!(read_all(&store).await.expect_err("cut off").kind(), ErrorKind::Corrupt);
    store.delete(&path).await.expect("deletes");
    let e = open(&store).await.expect_err("missing");
    assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains(path.as_str()), "{e}");
    store.put(&path, bytes).await.expect("writes");
    assert_eq!(read_all(&store).await.expect("whole"), 700);
}

/// Whoever can write to the store can forge a segment, its sums too: the runs that it names are looked for among those of its landing.
#[tokio::test]
async fn a_forged_segment_names_no_run_outside_of_its_landing() {
    const SECRET: &[u8] = b"{}";
    for (name, kind) in [
        ("../../../../secrets/key", ErrorKind::Config),
        ("a/../../../../../secrets/key", ErrorKind::Config),
        ("secrets/key", ErrorKind::Corrupt),
        ("/secrets/key", ErrorKind::Corrupt),
    ] {
        let store = Store::memory();
        store.put(&ObjectPath::parse("secrets/key").expect("a name"), SECRET.into()).await.expect("writes");
        let (checkpoints, id) = landing(&store).chain(&shard());
        let mut chain = chain::Chain::open(checkpoints, id, env()).await.expect("opens").chain;
        let text = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let (length, xxh3) = (SECRET.len() as u64, xxhash_rust::xxh3::xxh3_64(SECRET));
        let run = RunRef { name: name.to_owned(), level: 0, rows: 1, offset: 0, length, xxh3 };
        let forged = manifest::Manifest {
            base: chain.next_number(),
            table: Some(manifest::Base { rows: text("{}"), runs: vec![run] }),
            ..manifest::Manifest::new(text("{}"), text("[]"))
        };
        chain.append(manifest::assemble(&forged, &[]).expect("encodes")).await.expect("appends");
        let faults = Faults::none();
        let error = open(&faults.store(&store)).await.map(drop).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains("secrets/key"), "{error}");
        let is_own = |name: &str| name.starts_with("raw/") && !name.contains("..");
        assert!(faults.trace().iter().all(|point| is_own(&point.name)), "{name}: {:?}", faults.trace());
    }
}

#[tokio::test]
async fn an_owner_whose_append_failed_deletes_nothing() {
    let (store, path) = with_runs().await;
    Retention::new(&landing(&store), &shard(), &env())
        .publish(&load("fast"), &life(), Default::default())
        .await
        .expect("fine");
    let (mut old, _) = open(&store).await.expect("opens");
    let (_new, _) = open(&store).await.expect("opens");
    // The old owner takes its next segment, which is never landed, for one with a base.
    let positions = (0..700).map(|n| (PartitionId(format!("more-{n}")), long(n))).collect();
    let e = old.append(SegmentDraft { positions, ..SegmentDraft::default() }).await.expect_err("fenced");
    assert_eq!(e.kind(), ErrorKind::Fenced);
    assert_eq!(old.collect().await.expect_err("in doubt").kind(), ErrorKind::Bug);
    assert_eq!(old.collect_merged().await.expect_err("in doubt").kind(), ErrorKind::Bug);
    assert!(store.get(&path, None).await.expect("reads").is_some(), "the run is still needed");
    assert_eq!(read_all(&store).await.expect("whole"), 700);
}

/// An owner that does not know yet that it is one no more deletes nothing that the new one needs.
#[tokio::test]
async fn an_owner_that_was_overtaken_deletes_nothing_that_is_needed() {
    let (store, _) = with_runs().await;
    let (mut old, _) = open(&store).await.expect("opens");
    for step in 70..90 {
        old.append(ten(step)).await.expect("lands");
    }
    let (mut new, _) = open(&store).await.expect("opens");
    for step in 90..130 {
        new.append(ten(step)).await.expect("lands");
    }
    old.collect_merged().await.expect("it does not know");
    assert_eq!(read_all(&store).await.expect("whole"), 1_300);
}

/// What it would merge is gone: that is no damage.
#[tokio::test]
async fn an_owner_that_was_overtaken_is_fenced_though_its_runs_are_merged_and_deleted() {
    let much = |step: u64| {
        let positions = (0..700).map(|n| (PartitionId(format!("{step}-{n}")), long(n))).collect();
        SegmentDraft { positions, ..SegmentDraft::default() }
    };
    for runs in 1..6 {
        let store = Store::memory();
        let (mut writer, _) = open(&store).await.expect("opens");
        for step in 0..runs {
            writer.append(much(step)).await.expect("lands");
        }
        let (mut old, _) = open(&store).await.expect("opens");
        let (mut new, _) = open(&store).await.expect("opens");
        for step in runs..10 {
            new.append(much(step)).await.expect("lands");
            new.collect_merged().await.expect("collects");
        }
        let error = old.append(much(99)).await.expect_err("it is not the owner");
        assert_eq!(error.kind(), ErrorKind::Fenced, "after {runs} runs: {error}");
        assert_eq!(read_all(&store).await.expect("whole"), 7_000);
    }
}

#[tokio::test]
async fn merged_runs_are_deleted_and_what_the_base_names_stays() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    for step in 0..300 {
        writer.append(ten(step)).await.expect("lands");
    }
    let before = runs(&store).await;
    assert!(writer.collect_merged().await.expect("collects") > 0);
    let after = runs(&store).await;
    assert!(after.len() < before.len() && after.len() <= 9, "three of a level: {}", after.len());
    assert_eq!(writer.collect_merged().await.expect("collects"), 0);
    assert_eq!(read_all(&store).await.expect("whole"), 3_000);
}

#[tokio::test]
async fn a_collection_counts_segments_and_runs() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    for step in 0..300 {
        writer.append(ten(step)).await.expect("lands");
    }
    let segments = async || {
        let folder = landing(&store).folder("segments", &shard());
        let objects = store.list(&folder).await.expect("lists");
        objects.iter().filter(|object| object.path.as_str().ends_with(".rec")).count()
    };
    let before = (segments().await, runs(&store).await.len());
    let retention = Retention::new(&landing(&store), &shard(), &env());
    let position = crate::model::LandingPosition { segment: 200, record: 0 };
    retention.publish(&load("orders"), &life(), position).await.expect("publishes");
    let collected = writer.collect().await.expect("collects");
    let after = (segments().await, runs(&store).await.len());
    assert!(after.0 < before.0 && after.1 < before.1, "{before:?} {after:?}");
    assert_eq!(collected, (before.0 - after.0 + before.1 - after.1) as u64);
}

#[tokio::test]
async fn a_run_that_cannot_be_written_is_tried_again_for_a_while() {
    let inner = MemoryStore::default();
    let (mut writer, _) = open(&DyingStore::over(&inner, Fault::Puts).store()).await.expect("opens");
    let mut landed = 0_u64;
    let error = loop {
        match writer.append(ten(landed)).await {
            Ok(_) => landed += 1,
            Err(e) => break e,
        }
    };
    // Few positions went into segments; the eighth has the last of these.
    assert_eq!((landed, error.kind()), (8 + 127, ErrorKind::Unavailable));
    let store = Store::new(inner);
    let (mut writer, state) = open(&store).await.expect("opens");
    assert_eq!(all(&state).await.len(), 1_350);
    writer.append(moves("a", 1)).await.expect("lands");
    assert_eq!(runs(&store).await.len(), 1, "the next segment makes up for it");
}

#[tokio::test]
async fn positions_survive_a_crash_at_every_write_of_runs_and_merges() {
    for fault in [Fault::Before as fn(u64) -> Fault, Fault::After] {
        // Past the first writes, which other tests enumerate, each in turn.
        for at in 0.. {
            let inner = MemoryStore::default();
            let dying = DyingStore::over(&inner, fault(at));
            let mut acknowledged = 0;
            let run = async {
                let (mut writer, _) = open(&dying.store()).await?;
                for step in 0..8 {
                    // Each step alone makes a run; the fourth a merge.
                    let positions = (0..140).map(|n| (PartitionId(format!("{step}-{n}")), long(step))).collect();
                    writer.append(SegmentDraft { positions, ..SegmentDraft::default() }).await?;
                    acknowledged = step + 1;
                }
                writer.collect_merged().await?;
                Ok::<(), Error>(())
            };
            let result = run.await;
            assert!(dying.died() || result.is_ok(), "failed without a fault: {result:?}");
            let store = Store::new(inner);
            let (mut writer, state) = open(&store).await.expect("recovers");
            let held = all(&state).await.len() as u64;
            assert!(held % 140 == 0 && held / 140 >= acknowledged, "{:?}: {held} of {acknowledged}", fault(at));
            writer.append(ten(9)).await.expect("goes on");
            writer.collect_merged().await.expect("collects");
            assert_eq!(read_all(&store).await.expect("whole") as u64, held + 10);
            if !dying.died() {
                break;
            }
        }
    }
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
    assert_eq!(all(&state).await.len(), 100_000);
    assert_eq!(state.positions.get(&"parent-99999".into()).await.expect("readable"), Some(position(4_999)));
    assert_eq!(state.positions.get(&"parent-100000".into()).await.expect("readable"), None);
}

fn covered(partition: &str, window: Option<Window>, records: u64) -> Coverage {
    let coverage = Coverage::of(partition.into(), StopReason::Exhausted(Proof::NoNextPage));
    Coverage { window, ..coverage.tally(Tally { pages: 1, records, ..Tally::default() }) }
}

#[tokio::test]
async fn the_newest_coverage_of_each_partition_and_window_is_read_back() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    let read = async || landing(&store).coverage(&shard(), &env()).await.expect("opens");
    assert_eq!(read().await.all().await.expect("readable"), []);
    let days = |n: u64| Some(Window::new(format!("day {n:03}"), format!("day {:03}", n + 1)));
    for (round, rounds) in [(1, 300), (2, 100)] {
        for n in 0..rounds {
            let coverage =
                vec![covered("eu", days(n), round), covered("eu", None, round), covered("eu,us", None, round)];
            writer.append(SegmentDraft { coverage, ..moves("eu", n) }).await.expect("lands");
        }
    }
    assert!(!runs(&store).await.is_empty());
    let all = read().await.all().await.expect("readable");
    assert_eq!(all.len(), 302);
    let mut eu = read().await.of(&"eu".into());
    let mut windows = 0;
    while let Some(coverage) = eu.next().await.expect("readable") {
        assert_eq!(coverage.partition, "eu".into());
        let expected = match &coverage.window {
            Some(window) if window.from >= Some("day 100".into()) => 1,
            _ => 2,
        };
        assert_eq!(coverage.tally.records, expected, "{coverage:?}");
        windows += 1;
    }
    assert_eq!(windows, 301);
    let (_, state) = open(&store).await.expect("recovers");
    assert_eq!(state.positions.all().await.expect("readable"), [("eu".into(), position(99))].into());
}

/// The rows in all runs, those that are gone included.
async fn rows_in_runs(store: &Store) -> u64 {
    let chain = reader(store);
    let newest = chain.newest().await.expect("reads");
    let mut rows = 0;
    for number in (1..=newest).rev() {
        let (checkpoints, id) = landing(store).chain(&shard());
        let record = chain::ChainReader::new(checkpoints, id).read(number).await.expect("reads");
        let Some(record) = record.filter(|record| !record.payload.is_empty()) else { continue };
        let shard = shard();
        let (manifest, _) =
            manifest::parse(&record.payload, manifest::Place { shard: &shard, segment: number }).expect("parses");
        if let Some(base) = manifest.table {
            rows = base.runs.iter().map(|run| run.rows).sum();
            break;
        }
    }
    rows
}

#[tokio::test]
async fn what_is_forgotten_is_gone_at_once_and_from_the_objects_in_the_end() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    let partition = |n: u64| PartitionId(format!("gone-{n:03}"));
    let window = || Some(Window::new("1", "2"));
    for step in 0..8 {
        let ids: Vec<u64> = (step * 60..(step + 1) * 60).collect();
        let positions = ids.iter().map(|n| (partition(*n), long(*n))).collect();
        let coverage = ids.iter().map(|n| covered(&partition(*n).0, window(), 1)).collect();
        writer.append(SegmentDraft { positions, coverage, ..SegmentDraft::default() }).await.expect("lands");
    }
    let before = rows_in_runs(&store).await;
    assert!(before > 500, "{before}");
    let gone: Vec<PartitionId> = (0..479).map(partition).collect();
    writer.forget(&gone).await.expect("forgets");
    for _ in 0..2 {
        let (next, state) = open(&store).await.expect("recovers");
        writer = next;
        assert_eq!(all(&state).await, [(partition(479), long(479))].into());
        assert_eq!(state.positions.get(&partition(7)).await.expect("readable"), None);
        let coverage = landing(&store).coverage(&shard(), &env()).await.expect("opens").all().await.expect("readable");
        assert_eq!(coverage, [covered("gone-479", window(), 1)]);
        // One that comes again has what is new.
        writer
            .append(SegmentDraft { positions: [(partition(7), long(1))].into(), ..Default::default() })
            .await
            .expect("lands");
        let (next, state) = open(&store).await.expect("recovers");
        writer = next;
        assert_eq!(state.positions.get(&partition(7)).await.expect("readable"), Some(long(1)));
        writer.forget(&[partition(7)]).await.expect("forgets");
    }
    // Whatever else moves, merges leave it out in the end.
    let mut least = u64::MAX;
    for step in 0..160 {
        let positions = (0..140).map(|n| (PartitionId(format!("new-{n}")), long(step))).collect();
        writer.append(SegmentDraft { positions, ..SegmentDraft::default() }).await.expect("lands");
        least = least.min(rows_in_runs(&store).await);
    }
    assert!(least < 300, "{least} rows at least");
    let (_, state) = open(&store).await.expect("recovers");
    assert_eq!(all(&state).await.len(), 141);
}
