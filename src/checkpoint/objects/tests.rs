use super::*;
use crate::checkpoint::chain::{Chain, ChainReader, probe};
use crate::env::Env;
use crate::error::ErrorKind;
use crate::store::{MemoryStore, ObjectAccess, ObjectInfo, Upload};
use crate::testkit::Faults;
use futures::FutureExt;
use std::ops::Range;
use tokio::sync::Notify;

fn id() -> ChainId {
    ChainId::named("orders/checkpoints/0000").expect("a name")
}

/// Whether a create has effect, and what it answers.
type Answer = (bool, Result<Created, ErrorKind>);

type Hold = Arc<Mutex<Option<Arc<Notify>>>>;

/// Objects in memory with a listing of choice, lost answers, and gets that wait.
#[derive(Clone, Debug, Default)]
struct Odd {
    inner: MemoryStore,
    /// What a listing gives instead of what is there.
    listing: Arc<Mutex<Option<Vec<&'static str>>>>,
    /// The next get has happened when it waits for this.
    hold_get: Hold,
    /// The next create waits for this before it happens.
    hold_create: Hold,
    /// Answers of creates, given without and with effect.
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Odd {
    fn checkpoints(&self) -> StoreCheckpoints {
        StoreCheckpoints::new(&Store::new(self.clone()), "state").expect("a name")
    }

    fn list_as(&self, names: &[&'static str]) {
        *self.listing.lock().expect("no panic") = Some(names.to_vec());
    }

    async fn names(&self) -> Vec<String> {
        self.inner.list(&ObjectPath::root()).await.expect("memory").iter().map(|o| o.path.to_string()).collect()
    }

    async fn steps(&self) -> Vec<u64> {
        let names = self.names().await;
        names.iter().filter_map(|n| n.strip_prefix("state/orders/checkpoints/0000/boundary/")?.parse().ok()).collect()
    }
}

fn hold_next(hold: &Hold) -> Arc<Notify> {
    let go = Arc::new(Notify::new());
    *hold.lock().expect("no panic") = Some(Arc::clone(&go));
    go
}

async fn wait(hold: &Hold) {
    let held = hold.lock().expect("no panic").take();
    if let Some(go) = held {
        go.notified().await;
    }
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a name")
}

#[async_trait]
impl ObjectAccess for Odd {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        wait(&self.hold_create).await;
        let planned = self.answers.lock().expect("no panic").pop();
        match planned {
            Some((effect, answer)) => {
                if effect {
                    self.inner.create(path, bytes).await?;
                }
                answer.map_err(|kind| Error::new(kind, "odd", "fault"))
            }
            None => self.inner.create(path, bytes).await,
        }
    }
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        self.inner.put(path, bytes).await
    }
    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        self.inner.upload(path).await
    }
    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let found = self.inner.get(path, range).await;
        wait(&self.hold_get).await;
        found
    }
    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        let listed = self.inner.list(prefix).await?;
        let listing = self.listing.lock().expect("no panic").clone();
        Ok(match listing {
            None => listed,
            Some(names) => listed.into_iter().filter(|o| names.contains(&o.path.file_name())).collect(),
        })
    }
    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        self.inner.rename(from, to).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.inner.delete(path).await
    }
}

async fn advance(checkpoints: &StoreCheckpoints, steps: std::ops::RangeInclusive<u64>) {
    for to in steps {
        checkpoints.advance_boundary(&id(), to).await.expect("advances");
    }
}

#[tokio::test]
async fn a_chain_lives_in_memory_and_in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    for store in [Store::memory(), Store::local(folder.path()).expect("opens")] {
        let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
        let shared: Arc<dyn CheckpointStore> = Arc::new(checkpoints.clone());
        probe(&shared, &Env::system()).await.expect("keeps conditions");
        let mut old = Chain::open(Arc::clone(&shared), id(), Env::system()).await.expect("opens").chain;
        for number in 2..=6 {
            assert_eq!(old.append(Bytes::from(vec![0; 100_000])).await.expect("appends"), number);
        }
        assert_eq!(old.collect(3).await.expect("collects"), 3);

        // Another process: nothing is shared but the objects.
        let other = Arc::new(StoreCheckpoints::new(&store, "state").expect("a name"));
        let opened = Chain::open(Arc::<StoreCheckpoints>::clone(&other), id(), Env::system()).await.expect("opens");
        assert_eq!(opened.newest_data.map(|r| (r.number, r.payload.len())), Some((6, 100_000)));
        assert_eq!(old.append(Bytes::new()).await.expect_err("fenced").kind(), ErrorKind::Fenced);
        assert_eq!(other.boundary(&id()).await.expect("reads"), 3);
        assert_eq!(other.numbers(&id()).await.expect("lists"), [4, 5, 6, 7]);
        assert!(ChainReader::new(other, id()).read(6).await.expect("reads").is_some());
    }
}

#[tokio::test]
async fn objects_have_the_names_that_are_written_down_and_others_are_no_records() {
    let store = Odd::default();
    let checkpoints = store.checkpoints();
    assert_eq!(
        (checkpoints.prefix().as_str(), checkpoints.objects().map(|o| o.1.to_string())),
        ("state", Some("state".to_owned()))
    );
    checkpoints.create(&id(), 7, Bytes::from_static(b"record")).await.expect("creates");
    checkpoints.advance_boundary(&id(), 3).await.expect("advances");
    let names = ["boundary/00000000000000000001", "00000000000000000007.rec"]
        .map(|n| format!("state/orders/checkpoints/0000/{n}"));
    let mut found = store.names().await;
    found.reverse();
    assert_eq!(found, names);
    let step = store.inner.get(&path(&names[0]), None).await.expect("memory").expect("is there");
    let line = b"{\"format\":\"landfall-boundary/1\",\"chain\":\"orders/checkpoints/0000\",\"step\":1,\"boundary\":3}\ncrc32c=";
    assert!(step.starts_with(line), "{step:?}");
    for beside in ["x.rec", "7.rec", "0000/00000000000000000009.rec", "00000000000000000008.json"] {
        store.put(&path(&format!("state/orders/checkpoints/0000/{beside}")), Bytes::new()).await.expect("memory");
    }
    assert_eq!(checkpoints.numbers(&id()).await.expect("lists"), [7]);
}

#[tokio::test]
async fn old_steps_are_deleted_but_for_the_anchors() {
    let store = Odd::default();
    let checkpoints = store.checkpoints();
    advance(&checkpoints, 1..=2 * KEPT + 10).await;
    let expected: Vec<u64> = [KEPT].into_iter().chain(KEPT + 11..=2 * KEPT + 10).collect();
    assert_eq!(store.steps().await, expected);
    checkpoints.advance_boundary(&id(), 5).await.expect("nothing to do");
    assert_eq!(checkpoints.boundary(&id()).await.expect("reads"), 2 * KEPT + 10);
    assert_eq!(store.steps().await, expected);
}

#[tokio::test]
async fn rule_4_the_boundary_is_found_without_any_listing() {
    let store = Odd::default();
    let writer = store.checkpoints();
    store.list_as(&[]);
    for upto in [1, 2, KEPT - 1, KEPT, KEPT + 1, KEPT + 2, 3 * KEPT + 7] {
        let from = writer.boundary(&id()).await.expect("reads") + 1;
        advance(&writer, from..=upto).await;
        assert_eq!(store.checkpoints().boundary(&id()).await.expect("reads"), upto, "by a new process");
    }
}

#[tokio::test]
async fn rule_4_a_process_that_was_paused_for_long_sees_the_boundary_that_others_have_moved() {
    for missed in [1, KEPT - 1, KEPT, KEPT + 1, 5 * KEPT + 3] {
        let store = Odd::default();
        let zombie = store.checkpoints();
        advance(&zombie, 1..=5).await;
        advance(&store.checkpoints(), 6..=5 + missed).await;
        // A paused creator puts step 5 back, long after it was deleted, and no listing tells of a later one.
        let five = StoredStep { format: "landfall-boundary/1".into(), chain: id().to_string(), step: 5, boundary: 5 };
        let mut bytes = serde_json::to_vec(&five).expect("json");
        seal(&mut bytes);
        store.inner.create(&zombie.step(&id(), 5).expect("a name"), bytes.into()).await.expect("memory");
        store.list_as(&["00000000000000000005"]);
        for process in [&zombie, &store.checkpoints()] {
            assert_eq!(process.boundary(&id()).await.expect("reads"), 5 + missed, "missed {missed}");
        }
    }
}

#[tokio::test]
async fn rule_4_a_process_paused_between_two_reads_is_not_deceived() {
    let store = Odd::default();
    let slow = store.checkpoints();
    advance(&slow, 1..=5).await;
    // It has seen that step 6 is absent, and is paused; then 6 comes, and goes.
    let go = hold_next(&store.hold_get);
    let chain = id();
    let mut reading = slow.boundary(&chain);
    assert!((&mut reading).now_or_never().is_none(), "it is held");
    advance(&store.checkpoints(), 6..=2 * KEPT + 20).await;
    go.notify_one();
    assert_eq!(reading.await.expect("reads"), 2 * KEPT + 20);
}

#[tokio::test]
async fn rule_4_a_step_created_in_a_place_that_was_emptied_does_not_count() {
    for to in [9, KEPT + 100] {
        let store = Odd::default();
        let (zombie, others) = (store.checkpoints(), store.checkpoints());
        advance(&zombie, 1..=5).await;
        let chain = id();
        let go = hold_next(&store.hold_create);
        let mut advancing = zombie.advance_boundary(&chain, to);
        assert!((&mut advancing).now_or_never().is_none(), "it is held");
        advance(&others, 6..=KEPT + 50).await;
        go.notify_one();
        advancing.await.expect("advances");
        assert!(store.steps().await.starts_with(&[6]), "step 6 was put back");
        for process in [&zombie, &others, &store.checkpoints()] {
            assert_eq!(process.boundary(&chain).await.expect("reads"), to.max(KEPT + 50));
        }
    }
}

#[tokio::test]
async fn the_boundary_moves_whatever_a_create_answers() {
    for (effect, answer) in [(true, Created::Exists), (false, Created::Exists)] {
        let store = Odd::default();
        store.answers.lock().expect("no panic").push((effect, Ok(answer)));
        let checkpoints = store.checkpoints();
        checkpoints.advance_boundary(&id(), 4).await.expect("advances");
        assert_eq!(checkpoints.boundary(&id()).await.expect("reads"), 4);
    }
    let store = Odd::default();
    *store.answers.lock().expect("no panic") = vec![(false, Ok(Created::Exists)); 99];
    let error = store.checkpoints().advance_boundary(&id(), 4).await.expect_err("refused for ever");
    assert!(error.is_transient(), "{error}");
    *store.answers.lock().expect("no panic") = vec![(true, Err(ErrorKind::Ambiguous))];
    let checkpoints = store.checkpoints();
    assert_eq!(checkpoints.advance_boundary(&id(), 4).await.expect_err("told").kind(), ErrorKind::Ambiguous);
    checkpoints.advance_boundary(&id(), 4).await.expect("may be repeated");
    assert_eq!(store.steps().await, [1]);
}

#[tokio::test]
async fn two_that_advance_at_the_same_time_both_get_at_least_what_they_asked_for() {
    let store = Odd::default();
    let (one, two) = (store.checkpoints(), store.checkpoints());
    let chain = id();
    let go = hold_next(&store.hold_get);
    let mut advancing = one.advance_boundary(&chain, 5);
    assert!((&mut advancing).now_or_never().is_none(), "it is held");
    advance(&two, 3..=3).await;
    go.notify_one();
    advancing.await.expect("advances");
    for process in [&one, &two] {
        assert_eq!(process.boundary(&chain).await.expect("reads"), 5);
    }
    assert_eq!(store.steps().await, [1, 2]);
}

#[tokio::test]
async fn rule_8_a_damaged_boundary_halts_and_names_the_object() {
    let chain = "orders/checkpoints/0000";
    let stored = |format: &str, chain: &str, step| {
        let step = StoredStep { format: format.to_owned(), chain: chain.to_owned(), step, boundary: 1 };
        let mut bytes = serde_json::to_vec(&step).expect("json");
        seal(&mut bytes);
        bytes
    };
    let mut flipped = stored("landfall-boundary/1", chain, 1);
    flipped[50] ^= 1;
    let step = StoredStep { format: "landfall-boundary/1".into(), chain: chain.to_owned(), step: 1, boundary: 1 };
    let mut long = serde_json::to_vec(&step).expect("json");
    long.resize(MOST_STEP as usize, b' ');
    seal(&mut long);
    for (bytes, kind) in [
        (flipped, ErrorKind::Corrupt),
        (long, ErrorKind::Corrupt),
        (Vec::new(), ErrorKind::Corrupt),
        (stored("landfall-boundary/1", chain, 2), ErrorKind::Corrupt),
        (stored("landfall-boundary/1", "orders/checkpoints/0001", 1), ErrorKind::Corrupt),
        (stored("landfall-record/1", chain, 1), ErrorKind::Corrupt),
        (stored("landfall-boundary/2", chain, 1), ErrorKind::Config),
    ] {
        let store = Odd::default();
        let checkpoints = store.checkpoints();
        let object = checkpoints.step(&id(), 1).expect("a name");
        store.put(&object, bytes.into()).await.expect("memory");
        let error = checkpoints.boundary(&id()).await.expect_err("damage");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(object.as_str()), "{error}");
        assert_eq!(checkpoints.advance_boundary(&id(), 9).await.expect_err("damage").kind(), kind);
        assert_eq!(store.steps().await, [1]);
    }
}

#[tokio::test]
async fn rule_8_a_boundary_without_a_next_number_halts() {
    for (number, has_next) in [(LAST_STEP, true), (LAST_STEP + 1, false), (u64::MAX, false)] {
        let store = Odd::default();
        let checkpoints = store.checkpoints();
        let step =
            StoredStep { format: "landfall-boundary/1".into(), chain: id().to_string(), step: number, boundary: 7 };
        let mut bytes = serde_json::to_vec(&step).expect("json");
        seal(&mut bytes);
        let object = checkpoints.step(&id(), number).expect("a name");
        store.put(&object, bytes.into()).await.expect("memory");
        match checkpoints.boundary(&id()).await {
            Ok(boundary) => assert!(has_next && boundary == 7, "{number}"),
            Err(e) => {
                assert!(!has_next && e.kind() == ErrorKind::Corrupt, "{e}");
                assert!(e.to_string().contains(object.as_str()), "{e}");
            }
        }
        let error = checkpoints.advance_boundary(&id(), 8).await.expect_err("no number is left");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn rule_8_a_record_that_is_longer_than_it_says_is_damage() {
    let says = |payload: u64| format!("{{\"payload_len\":{payload}}}\n");
    let (short, long, endless) = (says(7), says(AT_ONCE), says(u64::MAX));
    let longest = long.len() as u64 + AT_ONCE + "\ncrc32c=00000000\n".len() as u64;
    for (begins, bytes, is_read) in [
        ("", AT_ONCE, true),
        ("", AT_ONCE + 1, false),
        (short.as_str(), AT_ONCE + 1, false),
        (long.as_str(), longest, true),
        (long.as_str(), longest + 1, false),
        (endless.as_str(), AT_ONCE + 1, false),
    ] {
        let store = Store::memory();
        let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
        let object = checkpoints.record(&id(), 1).expect("a name");
        let mut record = vec![0_u8; bytes as usize];
        record[..begins.len()].copy_from_slice(begins.as_bytes());
        store.put(&object, record.into()).await.expect("memory");
        match checkpoints.read(&id(), 1).await {
            Ok(found) => assert!(is_read && found.is_some_and(|found| found.len() as u64 == bytes), "{begins} {bytes}"),
            Err(e) => {
                assert!(!is_read && e.kind() == ErrorKind::Corrupt, "{begins} {bytes}: {e}");
                assert!(e.to_string().contains(object.as_str()), "{e}");
            }
        }
    }
}

#[tokio::test]
async fn rule_8_a_file_that_was_made_larger_than_memory_is_damage_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path()).expect("opens");
    let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
    let shared: Arc<dyn CheckpointStore> = Arc::new(checkpoints.clone());
    let mut chain = Chain::open(Arc::clone(&shared), id(), Env::system()).await.expect("opens").chain;
    assert_eq!(chain.append(Bytes::from_static(b"epoch")).await.expect("appends"), 2);
    advance(&checkpoints, 1..=1).await;
    let make_huge = |object: &ObjectPath| {
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(object.as_str()));
        file.expect("it is there").set_len(1 << 40).expect("a file with a hole");
    };
    let record = checkpoints.record(&id(), 2).expect("a name");
    make_huge(&record);
    let error = Chain::open(shared, id(), Env::system()).await.expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(record.as_str()), "{error}");

    let step = checkpoints.step(&id(), 1).expect("a name");
    make_huge(&step);
    let fresh = StoreCheckpoints::new(&store, "state").expect("a name");
    let error = fresh.boundary(&id()).await.expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(step.as_str()), "{error}");
}

mod conformance {
    use super::super::StoreCheckpoints;
    use crate::store::Store;
    use crate::testkit::Faults;
    use std::sync::Arc;

    mod in_memory {
        use super::*;

        fn over(store: &Store) -> Arc<StoreCheckpoints> {
            Arc::new(StoreCheckpoints::new(store, "state").expect("a name"))
        }

        crate::checkpoint_conformance!(
            {
                let store = Store::memory();
                (over(&Faults::waiting().store(&store)), store)
            },
            reached_by: async |store: &Store, faults: &Faults| (over(&faults.store(store)), ())
        );
    }

    mod on_disk {
        use super::*;

        crate::checkpoint_conformance!({
            let folder = tempfile::tempdir().expect("a folder");
            let store = Store::local(folder.path()).expect("a folder");
            (Arc::new(StoreCheckpoints::new(&store, "state").expect("a name")), folder)
        });
    }
}

#[tokio::test]
async fn the_frozen_step_of_the_boundary_is_what_is_written_and_read() {
    const FROZEN: &[u8] = include_bytes!("../../../tests/fixtures/boundary-v1.step");
    let path = ObjectPath::parse("state/orders/checkpoints/0000/boundary/00000000000000000001").expect("a name");
    let store = Store::memory();
    let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
    checkpoints.advance_boundary(&id(), 7).await.expect("advances");
    assert_eq!(store.get(&path, None).await.expect("reads").as_deref(), Some(FROZEN));

    let boundary_of = async |step: Vec<u8>| {
        let store = Store::memory();
        store.put(&path, step.into()).await.expect("puts");
        StoreCheckpoints::new(&store, "state").expect("a name").boundary(&id()).await
    };
    assert_eq!(boundary_of(FROZEN.to_vec()).await.expect("reads"), 7);
    for at in 0..FROZEN.len() {
        let mut damaged = FROZEN.to_vec();
        damaged[at] ^= 4;
        for step in [damaged, FROZEN[..at].to_vec()] {
            assert_eq!(boundary_of(step).await.expect_err("damage").kind(), ErrorKind::Corrupt, "{at}");
        }
    }
    let body = unseal(FROZEN).expect("sealed");
    let mut newer = String::from_utf8_lossy(body).replace("landfall-boundary/1", "landfall-boundary/2").into_bytes();
    seal(&mut newer);
    let error = boundary_of(newer).await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(path.as_str()) && error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn what_is_known_of_the_boundary_is_not_looked_for_again() {
    let faults = Faults::none();
    let checkpoints = StoreCheckpoints::new(&faults.store(&Store::memory()), "state").expect("a name");
    advance(&checkpoints, 1..=9).await;
    let before = faults.count();
    assert_eq!(checkpoints.boundary(&id()).await.expect("reads"), 9);
    assert_eq!(faults.count() - before, 2, "the next step, and the next anchor");
}

#[tokio::test]
async fn a_listing_saves_the_steps_between_to_a_process_that_was_paused_for_long() {
    let (store, faults) = (Store::memory(), Faults::none());
    let slow = StoreCheckpoints::new(&faults.store(&store), "state").expect("a name");
    advance(&slow, 1..=5).await;
    advance(&StoreCheckpoints::new(&store, "state").expect("a name"), 6..=5 * KEPT + 8).await;
    let before = faults.count();
    assert_eq!(slow.boundary(&id()).await.expect("reads"), 5 * KEPT + 8);
    // Step 6 and the first anchor; the listing and the step that it names; the one after it and the next anchor.
    assert_eq!(faults.count() - before, 6);
}
