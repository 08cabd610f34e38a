use super::*;
use crate::ErrorKind;
use crate::model::{LandingPosition, Why};
use crate::testkit::{Faults, Mode, Plan, Target};

fn at(segment: u64, record: u64) -> LandingPosition {
    LandingPosition { segment, record }
}

fn retention(store: &Store) -> Retention {
    Retention::new(&landing(store), &shard(), &env())
}

/// A writer that has landed `segments`, numbered from 2. Segments 2, 66, 130 … have all positions.
async fn landed(store: &Store, segments: u64) -> LandingWriter {
    let (mut writer, _) = open(store).await.expect("opens");
    writer.append(wide()).await.expect("lands");
    for number in 1..segments {
        writer.append(moves("a", number)).await.expect("lands");
    }
    writer
}

async fn oldest(store: &Store) -> u64 {
    let reader = reader(store);
    let newest = reader.newest().await.expect("reads");
    for number in 1..=newest {
        match reader.read(number).await {
            Ok(segment) => return segment.expect("a hole").number,
            Err(e) => {
                assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains("below the retained start"), "{e}")
            }
        }
    }
    panic!("nothing is left of {newest}");
}

#[tokio::test]
async fn nothing_is_removed_while_no_load_is_known() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    assert_eq!(retention(&store).retained().await.expect("reads"), None);
    assert_eq!(writer.collect().await.expect("collects"), 0);
    assert_eq!(oldest(&store).await, 1);
}

#[tokio::test]
async fn the_slowest_load_decides() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    let retention = retention(&store);
    for (name, position) in [("fast", at(80, 0)), ("slow", at(30, 1)), ("idle", at(1, 0))] {
        retention.publish(&load(name), &life(), position).await.expect("publishes");
    }
    assert_eq!(writer.collect().await.expect("collects"), 0);
    retention.publish(&load("idle"), &life(), at(50, 0)).await.expect("publishes");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(30, 1)));
    assert_eq!(writer.collect().await.expect("collects"), 29);
    assert_eq!(oldest(&store).await, 30, "the segment that the slowest load is in stays");
    assert_eq!(writer.collect().await.expect("collects"), 0);
    retention.release(&load("slow")).await.expect("releases");
    assert_eq!(writer.collect().await.expect("collects"), 20);
    assert_eq!(oldest(&store).await, 50);
}

#[tokio::test]
async fn what_recovery_needs_is_not_removed() {
    let store = Store::memory();
    let retention = retention(&store);
    let mut writer = landed(&store, 40).await;
    retention.publish(&load("fast"), &life(), at(41, 0)).await.expect("publishes");
    assert_eq!(writer.collect().await.expect("collects"), 1, "only the fence before the first segment");
    for number in 40..90 {
        writer.append(moves("b", number)).await.expect("lands");
    }
    retention.publish(&load("fast"), &life(), at(91, 0)).await.expect("publishes");
    writer.collect().await.expect("collects");
    assert_eq!(oldest(&store).await, 66);
    let (_, state) = open(&store).await.expect("recovers");
    assert_eq!(all(&state).await.len(), 502);
    for (partition, value) in [("wide-7", 7), ("a", 39), ("b", 89)] {
        assert_eq!(state.positions.get(&partition.into()).await.expect("readable"), Some(position(value)));
    }
}

#[tokio::test]
async fn what_a_load_has_published_is_damage_if_it_is_larger_than_it_can_be() {
    let store = Store::memory();
    let retention = retention(&store);
    retention.publish(&load("etl"), &life(), at(7, 3)).await.expect("publishes");
    for object in store.list(&ObjectPath::root()).await.expect("lists").into_iter().map(|object| object.path) {
        let written = store.get(&object, None).await.expect("reads").expect("is there");
        let padded = |bytes: usize| -> Bytes {
            let mut padded = written.to_vec();
            padded.resize(bytes, b' ');
            padded.into()
        };
        store.put(&object, padded(64 << 10)).await.expect("puts");
        assert_eq!(retention.retained().await.expect("it may have so many"), Some(at(7, 3)));
        store.put(&object, padded((64 << 10) + 1)).await.expect("puts");
        let error = retention.retained().await.expect_err("nobody has written it");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(object.as_str()), "{error}");
        store.put(&object, written).await.expect("puts");
    }
}

#[tokio::test]
async fn a_load_below_the_retained_start_halts() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    let retention = retention(&store);
    retention.publish(&load("orders"), &life(), at(40, 0)).await.expect("publishes");
    assert_eq!(writer.collect().await.expect("collects"), 39);
    for (name, position) in [("orders", at(39, 0)), ("new", at(1, 0)), ("new", LandingPosition::default())] {
        let e = retention.publish(&load(name), &life(), position).await.expect_err("gone");
        assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains("retained_from=`40`"), "{e}");
        assert_eq!(reader(&store).check(position, None).await.expect_err("gone").kind(), ErrorKind::Corrupt);
    }
    assert_eq!(retention.retained().await.expect("reads"), Some(at(40, 0)), "a refused load does not hold anything up");
    let reader = reader(&store);
    for fine in [at(40, 0), at(81, 1), at(82, 0)] {
        reader.check(fine, None).await.expect("can go on from there");
    }
    for beyond in [at(82, 1), at(83, 0), at(900, 0)] {
        assert_eq!(reader.check(beyond, None).await.expect_err("not landed").kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_new_load_starts_at_the_beginning_if_it_is_there() {
    let store = Store::memory();
    retention(&store).publish(&load("first"), &life(), LandingPosition::default()).await.expect("an empty landing");
    let _writer = landed(&store, 3).await;
    retention(&store).publish(&load("second"), &life(), at(1, 0)).await.expect("nothing was removed");
}

#[tokio::test]
async fn a_load_that_is_not_known_cannot_be_released() {
    let store = Store::memory();
    let retention = retention(&store);
    retention.release(&load("new")).await.expect("nothing to do");
    retention.announce(&load("new")).await.expect("announces");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(1, 0)), "it is new still");
}

#[tokio::test]
async fn a_lower_position_is_not_published() {
    let store = Store::memory();
    let retention = retention(&store);
    retention.publish(&load("orders"), &life(), at(7, 3)).await.expect("publishes");
    retention.publish(&load("orders"), &life(), at(7, 2)).await.expect("changes nothing");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(7, 3)));
    retention.publish(&load("orders"), &life(), at(7, 4)).await.expect("publishes");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(7, 4)));
}

/// Who loads a landing again under the name of a load that was further begins at its beginning.
#[tokio::test]
async fn of_a_load_the_newest_life_counts() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    let retention = retention(&store);
    let anew = Incarnation("anew".to_owned());
    retention.publish(&load("orders"), &life(), at(60, 0)).await.expect("publishes");
    retention.publish(&load("orders"), &anew, at(1, 0)).await.expect("publishes");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(1, 0)));
    retention.publish(&load("orders"), &anew, at(20, 0)).await.expect("publishes");
    // The life before it runs on.
    retention.publish(&load("orders"), &life(), at(70, 0)).await.expect("publishes");
    retention.announce(&load("orders")).await.expect("it is known");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(20, 0)));
    assert_eq!(writer.collect().await.expect("collects"), 19);
    assert_eq!(oldest(&store).await, 20);
    let error = retention.publish(&load("orders"), &Incarnation("late".to_owned()), at(1, 0)).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(20, 0)), "one that is refused is not known");
    retention.release(&load("orders")).await.expect("releases");
    assert_eq!(retention.retained().await.expect("reads"), None, "nothing of any life of it is kept");
}

#[tokio::test]
async fn a_load_that_was_announced_may_be_released_and_still_begin() {
    let store = Store::memory();
    let retention = retention(&store);
    retention.announce(&load("later")).await.expect("announces");
    retention.release(&load("later")).await.expect("releases");
    assert_eq!(retention.retained().await.expect("reads"), None);
    retention.publish(&load("later"), &life(), at(1, 0)).await.expect("begins");
    assert_eq!(retention.retained().await.expect("reads"), Some(at(1, 0)));
}

#[tokio::test]
async fn a_load_that_is_known_but_has_published_nothing_keeps_everything() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    let retention = retention(&store);
    retention.publish(&load("a"), &life(), at(60, 0)).await.expect("publishes");
    retention.publish(&load("b"), &life(), at(60, 0)).await.expect("publishes");
    let progress = landing(&store).folder("loads", &shard()).join(&format!("b-{}.json", life())).expect("a valid name");
    store.delete(&progress).await.expect("deletes");
    assert_eq!(writer.collect().await.expect("collects"), 0);
    retention.release(&load("b")).await.expect("releases");
    retention.release(&load("never-seen")).await.expect("stays unknown");
    assert_eq!(writer.collect().await.expect("collects"), 59);
}

#[tokio::test]
async fn damaged_or_newer_progress_stops_collection() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    retention(&store).publish(&load("a"), &life(), at(60, 0)).await.expect("publishes");
    let folder = landing(&store).folder("loads", &shard());
    for name in [format!("a-{}.json", life()), "known/000001.json".to_owned()] {
        let path = folder.join(&name).expect("a valid name");
        let good = store.get(&path, None).await.expect("reads").expect("is there");
        let text = String::from_utf8(good.to_vec()).expect("JSON");
        let newer = text.replace("\"format\":1", "\"format\":2,\"more\":[]");
        let foreign = text.replace("\"shard\":0", "\"shard\":1");
        for (bad, kind) in
            [(&newer, ErrorKind::Config), (&foreign, ErrorKind::Corrupt), (&text[1..].into(), ErrorKind::Corrupt)]
        {
            store.put(&path, Bytes::from(bad.clone())).await.expect("writes");
            assert_eq!(writer.collect().await.expect_err("unreadable").kind(), kind, "{name}: {bad}");
        }
        store.put(&path, good).await.expect("writes");
    }
    assert_eq!(writer.collect().await.expect("collects"), 59);
}

/// A store of its own with the same objects.
async fn copy(from: &Store) -> MemoryStore {
    let to = MemoryStore::default();
    for object in from.list(&ObjectPath::root()).await.expect("lists") {
        let bytes = from.get(&object.path, None).await.expect("reads").expect("was listed");
        to.put(&object.path, bytes).await.expect("writes");
    }
    to
}

#[tokio::test]
async fn collection_that_crashes_anywhere_loses_nothing_and_is_taken_up_again() {
    let before = Store::memory();
    drop(landed(&before, 140).await);
    for fault in [Fault::Before as fn(u64) -> Fault, Fault::After] {
        for step in 0.. {
            let inner = copy(&before).await;
            let store = Store::new(inner.clone());
            let dying = DyingStore::over(&inner, fault(step));
            let run = async {
                let (mut writer, _) = open(&dying.store()).await?;
                let retention = retention(&dying.store());
                retention.publish(&load("slow"), &life(), at(12, 0)).await?;
                retention.publish(&load("fast"), &life(), at(100, 0)).await?;
                writer.collect().await
            };
            let result = run.await;
            assert!(dying.died() || result.is_ok(), "failed without a fault: {result:?}");
            let (mut writer, state) = open(&store).await.expect("recovers");
            let positions = all(&state).await;
            assert_eq!((positions.len(), positions.get(&"a".into())), (501, Some(&position(139))));
            assert!(oldest(&store).await <= 12, "{:?}", fault(step));
            for number in 12..=141 {
                reader(&store).read(number).await.expect("kept").expect("kept");
            }
            retention(&store).publish(&load("slow"), &life(), at(13, 0)).await.expect("publishes");
            retention(&store).publish(&load("fast"), &life(), at(100, 0)).await.expect("publishes");
            writer.collect().await.expect("collects");
            assert_eq!(oldest(&store).await, 13, "{:?}", fault(step));
            if !dying.died() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_vacuum_says_what_it_would_delete_and_what_holds_the_rest_up_and_needs_not_own_the_landing() {
    let store = Store::memory();
    let mut writer = landed(&store, 80).await;
    let vacuum = async |dry_run| landing(&store).vacuum(&shard(), &env(), dry_run).await.expect("vacuums");
    let none = vacuum(false).await;
    assert_eq!((none.deleted.len(), none.kept[&Why::Unloaded].objects), (0, 81), "no load is known");
    let retention = retention(&store);
    for (name, position) in [("fast", at(80, 0)), ("slow", at(30, 1))] {
        retention.publish(&load(name), &life(), position).await.expect("publishes");
    }
    let would = vacuum(true).await;
    assert_eq!((would.deleted.len(), would.kept[&Why::Unloaded].objects), (29, 52));
    assert!(would.deleted.iter().all(|d| d.why == Why::Loaded && d.bytes > 0), "{would:?}");
    assert_eq!(oldest(&store).await, 1, "a dry run deletes nothing");
    let done = vacuum(false).await;
    assert_eq!((&done.deleted, &done.kept), (&would.deleted, &would.kept));
    assert_eq!(oldest(&store).await, 30);
    // What recovery needs stays, whatever loads have done; the owner goes on.
    retention.publish(&load("slow"), &life(), at(80, 1)).await.expect("publishes");
    let rest = vacuum(false).await;
    assert_eq!((rest.deleted.len(), rest.kept[&Why::InUse].objects), (36, 14));
    assert_eq!(oldest(&store).await, 66);
    writer.append(moves("a", 81)).await.expect("still the owner");
    assert_eq!(all(&open(&store).await.expect("recovers").1).await.len(), 501);
}

#[tokio::test]
async fn a_vacuum_that_crashes_anywhere_loses_nothing_and_is_taken_up_again() {
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::Torn] {
        for at_point in 0.. {
            let store = Store::memory();
            landed(&store, 80).await;
            retention(&store).publish(&load("orders"), &life(), at(70, 0)).await.expect("publishes");
            let faults = Faults::of([Plan { at: at_point, mode }]);
            let ended = landing(&faults.store(&store)).vacuum(&shard(), &env(), false).await.is_ok();
            reader(&store).check(at(70, 0), None).await.expect("what the load needs is there");
            landing(&store).vacuum(&shard(), &env(), false).await.expect("goes on");
            assert_eq!(oldest(&store).await, 66);
            let left = landing(&store).vacuum(&shard(), &env(), true).await.expect("looks");
            assert!(left.deleted.is_empty(), "{mode:?} at {at_point}: {left}");
            assert_eq!(all(&open(&store).await.expect("recovers").1).await.len(), 501);
            if ended {
                assert!(at_point > 60, "a vacuum took {at_point} operations");
                break;
            }
        }
    }
}

/// Stands still before one operation after the other, while the owner lands and collects.
#[tokio::test]
async fn a_vacuum_that_is_overtaken_looks_again() {
    for at_point in 0..20 {
        let store = Store::memory();
        let mut writer = landed(&store, 80).await;
        let retention = retention(&store);
        retention.publish(&load("orders"), &life(), at(40, 0)).await.expect("publishes");
        let faults = Faults::of([Plan { at: at_point, mode: Mode::Pause }]);
        let slow = landing(&faults.store(&store));
        let (shard, env) = (shard(), env());
        let vacuum = slow.vacuum(&shard, &env, false);
        let overtake = async {
            faults.until_paused().await;
            for number in 81..135 {
                writer.append(moves("a", number)).await.expect("owns it");
            }
            retention.publish(&load("orders"), &life(), at(131, 0)).await.expect("publishes");
            writer.collect().await.expect("collects");
            faults.resume();
        };
        let (vacuumed, ()) = tokio::join!(vacuum, overtake);
        vacuumed.unwrap_or_else(|e| panic!("paused at {at_point}: {e}"));
        assert_eq!(oldest(&store).await, 130, "paused at {at_point}");
    }
}

#[tokio::test]
async fn a_load_that_comes_while_a_vacuum_lists_loses_nothing() {
    let store = Store::memory();
    landed(&store, 80).await;
    let retention = retention(&store);
    retention.publish(&load("orders"), &life(), at(70, 0)).await.expect("publishes");
    let faults = Faults::at(Target::operation("list").on("segments").times(1), Mode::Pause);
    let (slow, shard, env) = (landing(&faults.store(&store)), shard(), env());
    let come = async {
        faults.until_paused().await;
        retention.announce(&load("new")).await.expect("everything is there");
        faults.resume();
    };
    let (vacuumed, ()) = tokio::join!(slow.vacuum(&shard, &env, false), come);
    assert!(vacuumed.expect("vacuums").deleted.is_empty());
    assert_eq!(oldest(&store).await, 1);
}

/// A store that keeps nothing, whatever it says.
#[derive(Debug)]
struct Forgetful(Created);

#[async_trait]
impl ObjectAccess for Forgetful {
    async fn create(&self, _: &ObjectPath, _: Bytes) -> Result<Created> {
        Ok(self.0)
    }
    async fn put(&self, _: &ObjectPath, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn upload(&self, _: &ObjectPath) -> Result<Box<dyn Upload>> {
        Err(Error::unavailable("upload", "not here"))
    }
    async fn get(&self, _: &ObjectPath, _: Option<Range<u64>>) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn list(&self, _: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        Ok(Vec::new())
    }
    async fn rename(&self, _: &ObjectPath, _: &ObjectPath) -> Result<bool> {
        Ok(false)
    }
    async fn delete(&self, _: &ObjectPath) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_load_is_known_once_it_is_read_back() {
    for (says, kind) in [(Created::Exists, ErrorKind::Unavailable), (Created::New, ErrorKind::Corrupt)] {
        let error =
            retention(&Store::new(Forgetful(says))).announce(&load("orders")).await.expect_err("it is not kept");
        assert_eq!(error.kind(), kind, "{says:?}: {error}");
        assert!(error.to_string().contains("known/000001.json"), "{error}");
    }
}
