use super::*;
use crate::ErrorKind;

/// Moves two partitions in turn. The bodies of the pages say the same as the positions.
fn step(number: u64) -> SegmentDraft {
    let mut draft = moves(if number % 2 == 0 { "a" } else { "b" }, number);
    // A page without a position, as for a part of a response: it is there or not like the rest.
    draft.pages.push(page("c", number.to_string(), 1));
    draft
}

/// What the landed pages say about the positions; damage and half-landed segments are found on the way.
async fn told_by_pages(store: &Store) -> BTreeMap<PartitionId, PositionValue> {
    let reader = reader(store);
    let mut told = BTreeMap::new();
    let mut number = 1;
    while let Some(segment) = reader.read(number).await.expect("no damage") {
        assert!(matches!((segment.is_fence, segment.pages.len()), (true, 0) | (false, 2)), "{segment:?}");
        for page in segment.pages.into_iter().take(1) {
            let value = std::str::from_utf8(&page.body).expect("text").parse().expect("a number");
            told.insert(page.partition, position(value));
        }
        number += 1;
    }
    told
}

#[tokio::test]
async fn pages_and_positions_are_durable_together_or_not_at_all() {
    let mut schedules = 0;
    for fault in [Fault::Before as fn(u64) -> Fault, Fault::After] {
        for at in 0.. {
            let inner = MemoryStore::default();
            let dying = DyingStore::over(&inner, fault(at));
            let mut acknowledged = None;
            let run = async {
                let (mut writer, _) = open(&dying.store()).await?;
                for number in 0..5 {
                    writer.append(step(number)).await?;
                    acknowledged = Some(number);
                }
                Ok::<(), Error>(())
            };
            let result = run.await;
            assert!(dying.died() || result.is_ok(), "failed without a fault: {result:?}");
            let store = Store::new(inner);
            let (mut writer, state) = open(&store).await.expect("recovers");
            assert_eq!(all(&state).await, told_by_pages(&store).await, "{:?}", fault(at));
            let newest = all(&state).await.into_values().filter_map(|p| p.value.as_u64()).max();
            assert!(newest >= acknowledged, "{:?}: what was acknowledged is lost", fault(at));
            writer.append(step(9)).await.expect("goes on");
            schedules += 1;
            if !dying.died() {
                break;
            }
        }
    }
    assert!(schedules > 12, "{schedules}");
}

#[tokio::test]
async fn a_second_writer_shuts_the_first_one_out() {
    let store = Store::memory();
    let (mut first, _) = open(&store).await.expect("opens");
    first.append(step(0)).await.expect("lands");
    let (mut second, state) = open(&store).await.expect("opens");
    assert_eq!(all(&state).await, BTreeMap::from([("a".into(), position(0))]));
    assert_eq!(first.append(step(1)).await.expect_err("fenced").kind(), ErrorKind::Fenced);
    second.append(step(2)).await.expect("lands");
    assert_eq!(first.append(step(3)).await.expect_err("must be dropped").kind(), ErrorKind::Bug);
    assert_eq!(told_by_pages(&store).await, BTreeMap::from([("a".into(), position(2))]));
}

#[tokio::test]
async fn damage_of_a_stored_segment_is_found_by_readers_and_owners() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    let number = writer.append(step(0)).await.expect("lands").number;
    let folder = landing(&store).folder("segments", &shard());
    let objects = store.list(&folder).await.expect("lists");
    let object = objects.iter().find(|o| o.path.file_name().contains(&format!("{number:020}"))).expect("the segment");
    let bytes = store.get(&object.path, None).await.expect("reads").expect("is there");
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x04;
        store.put(&object.path, damaged.into()).await.expect("writes");
        let seen = reader(&store).read(number).await.expect_err("damaged");
        assert!(matches!(seen.kind(), ErrorKind::Corrupt | ErrorKind::Config), "byte {at}: {seen}");
    }
    assert!(open(&store).await.is_err(), "an owner must not go on from damage");
    store.put(&object.path, bytes).await.expect("writes");
    assert!(open(&store).await.is_ok());
}
