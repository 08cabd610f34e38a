//! Owners of one chain that share nothing but its store.

use bytes::Bytes;
use futures::future::{Either, select};
use landfall::checkpoint::chain::{Chain, Opened};
use landfall::checkpoint::{ChainId, CheckpointStore, MemoryCheckpoints, StoreCheckpoints};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{FaultCheckpoints, Faults, Mode, Plan, test_env};
use landfall::{ErrorKind, Result};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
struct Shared {
    kept: MemoryCheckpoints,
    processes: AtomicU64,
}

fn id() -> ChainId {
    ChainId::named("orders/checkpoints/0000").expect("a name")
}

fn payload(number: u64) -> Bytes {
    Bytes::from(format!("epoch {number}"))
}

impl Shared {
    /// Takes the chain over in a process of its own.
    async fn open(&self, faults: &Faults) -> Result<Opened> {
        let store = FaultCheckpoints::new(self.kept.clone(), faults);
        let env = test_env(self.processes.fetch_add(1, Ordering::SeqCst) + 1);
        Chain::open(Arc::new(store), id(), env).await
    }

    /// The chain with data records 2 to `newest`.
    async fn filled(&self, faults: &Faults, newest: u64) -> Chain {
        let mut chain = self.open(faults).await.expect("opens").chain;
        for number in 2..=newest {
            assert_eq!(chain.append(payload(number)).await.expect("appends"), number);
        }
        chain
    }

    /// Someone else takes over, goes on, and collects all that it may.
    async fn overtaken(&self) -> Chain {
        let mut chain = self.open(&Faults::none()).await.expect("opens").chain;
        let number = chain.next_number();
        assert_eq!(chain.append(payload(number)).await.expect("owns it"), number);
        chain.collect(number - 1).await.expect("owns it");
        chain
    }

    /// The chain is whole, and has this newest data record.
    async fn check(&self, newest: u64) {
        let opened = self.open(&Faults::none()).await.expect("the chain is whole");
        assert_eq!(opened.newest_data.map(|record| record.number), Some(newest));
    }
}

/// A process of which operation `at` stands still, once it does so; what it ended with if it does not get there.
async fn sleeps_at<T>(faults: &Faults, process: impl Future<Output = T>, meanwhile: impl Future<Output = ()>) -> T {
    let mut process = pin!(process);
    match select(&mut process, pin!(faults.until_paused())).await {
        Either::Left((done, _)) => done,
        Either::Right(((), _)) => {
            meanwhile.await;
            faults.resume();
            process.await
        }
    }
}

fn pause(at: u64) -> Faults {
    Faults::of([Plan { at, mode: Mode::Pause }])
}

fn assert_fenced<T>(ended: Result<T>, who: &str) {
    match ended {
        Ok(_) => panic!("{who} goes on"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced, "{who}: {error}"),
    }
}

/// At every operation of its append.
pub async fn a_writer_that_sleeps_through_take_over_and_collection_is_fenced() {
    let counted = Faults::none();
    let mut chain = Shared::default().filled(&counted, 3).await;
    let before = counted.count();
    chain.append(payload(4)).await.expect("appends");
    for at in before..counted.count() {
        let (shared, faults) = (Shared::default(), pause(at));
        let mut zombie = shared.filled(&faults, 3).await;
        let ended = sleeps_at(&faults, zombie.append(payload(4)), async {
            shared.overtaken().await;
        });
        // Once its record is written, those who come after step over it.
        if at == before {
            assert_fenced(ended.await, "a writer whose place was collected");
            shared.check(5).await;
        } else {
            drop(ended.await);
            shared.open(&Faults::none()).await.expect("the chain is whole");
        }
    }
}

/// At every operation of its take-over.
pub async fn an_owner_whose_fence_comes_too_late_is_fenced() {
    let counted = Faults::none();
    let shared = Shared::default();
    shared.filled(&Faults::none(), 3).await;
    shared.open(&counted).await.expect("opens");
    for at in 0..counted.count() {
        let (shared, faults) = (Shared::default(), pause(at));
        shared.filled(&Faults::none(), 3).await;
        let mut newest = 0;
        let ended = sleeps_at(&faults, shared.open(&faults), async {
            shared.overtaken().await;
            newest = shared.overtaken().await.newest_data().expect("it has appended");
        })
        .await;
        if let Ok(Opened { mut chain, .. }) = ended {
            let number = chain.next_number();
            assert!(number > newest, "an owner goes on at {number}, where everything up to {newest} was collected");
            chain.append(payload(number)).await.expect("owns it");
            shared.check(number).await;
        }
    }
}

pub async fn of_two_that_take_over_at_once_one_is_fenced() {
    let counted = Faults::none();
    let shared = Shared::default();
    shared.filled(&Faults::none(), 3).await;
    shared.open(&counted).await.expect("opens");
    for at in 0..counted.count() {
        let (shared, faults) = (Shared::default(), pause(at));
        shared.filled(&Faults::none(), 3).await;
        let mut first = None;
        let second = sleeps_at(&faults, shared.open(&faults), async {
            first = Some(shared.open(&Faults::none()).await.expect("opens").chain);
        })
        .await;
        let mut first = first.expect("it slept");
        let of_first = first.generation();
        let mut goes_on = u64::from(first.append(payload(9)).await.is_ok());
        if let Ok(Opened { mut chain, .. }) = second {
            assert_ne!(chain.generation(), of_first, "two owners have one generation");
            goes_on += u64::from(chain.append(payload(9)).await.is_ok());
        }
        assert_eq!(goes_on, 1, "owners that go on, with a pause at {at}");
        shared.open(&Faults::none()).await.expect("the chain is whole");
    }
}

pub async fn who_is_overtaken_stops_at_its_next_append() {
    let shared = Shared::default();
    let mut old = shared.filled(&Faults::none(), 3).await;
    let mut new = shared.open(&Faults::none()).await.expect("opens").chain;
    assert_fenced(old.append(payload(4)).await, "an owner that was overtaken");
    assert_eq!(new.append(payload(5)).await.expect("owns it"), 5);
    assert_fenced(old.append(payload(4)).await, "an owner that was overtaken");
    shared.check(5).await;
}

pub async fn an_append_whose_answer_is_lost_is_an_append() {
    let counted = Faults::none();
    let mut chain = Shared::default().filled(&counted, 3).await;
    let before = counted.count();
    chain.append(payload(4)).await.expect("appends");
    for at in before..counted.count() {
        for mode in [Mode::LostResponse, Mode::Fail] {
            let (shared, faults) = (Shared::default(), Faults::of([Plan { at, mode }]));
            let mut chain = shared.filled(&faults, 3).await;
            assert_eq!(chain.append(payload(4)).await.expect("one lost answer ends it"), 4);
            assert_eq!(chain.append(payload(5)).await.expect("it goes on"), 5);
            shared.check(5).await;
        }
    }
}

/// The answer to any create of an append: it meets its own earlier try, or nothing was stored.
pub async fn an_append_that_meets_itself_or_nobody_is_an_append() {
    let (store, counted) = (Store::memory(), Faults::none());
    let mut chain = open_in(&counted.store(&store)).await.expect("opens").chain;
    let before = counted.count();
    chain.append(payload(2)).await.expect("appends");
    for at in before..counted.count() {
        for mode in [Mode::Exists, Mode::Conflict] {
            let (store, faults) = (Store::memory(), Faults::of([Plan { at, mode }]));
            let mut chain = open_in(&faults.store(&store)).await.expect("opens").chain;
            assert_eq!(chain.append(payload(2)).await.expect("that there is one already ends it"), 2);
            assert_eq!(chain.append(payload(3)).await.expect("it goes on"), 3);
        }
    }
}

pub async fn a_collection_that_dies_anywhere_leaves_a_chain() {
    let counted = Faults::none();
    let chain = Shared::default().filled(&counted, 6).await;
    let before = counted.count();
    chain.collect(4).await.expect("collects");
    for at in before..counted.count() {
        for mode in [Mode::Before, Mode::AfterLostResponse] {
            let (shared, faults) = (Shared::default(), Faults::of([Plan { at, mode }]));
            let chain = shared.filled(&faults, 6).await;
            assert!(chain.collect(4).await.is_err(), "it died");
            shared.check(6).await;
            let newest = shared.overtaken().await.newest_data().expect("it has appended");
            let left = shared.kept.numbers(&id()).await.expect("in memory");
            assert_eq!(left, [newest], "what a collection has left stays");
        }
    }
}

/// The record of an owner that was overtaken comes late, into a place that is collected while another one walks over it.
pub async fn a_leftover_in_a_collected_place_stops_nobody() {
    let counted = Faults::none();
    Shared::default().filled(&counted, 3).await;
    for at in 0.. {
        let (shared, slow) = (Shared::default(), pause(counted.count()));
        let mut zombie = shared.filled(&slow, 3).await;
        let mut late = pin!(zombie.append(payload(4)));
        assert!(matches!(select(&mut late, pin!(slow.until_paused())).await, Either::Right(_)), "it is on its way");
        let mut owner = shared.open(&Faults::none()).await.expect("opens").chain;
        assert_eq!(owner.append(payload(5)).await.expect("owns it"), 5);

        let faults = pause(at);
        let opened = sleeps_at(&faults, shared.open(&faults), async {
            if owner.append(payload(6)).await.is_ok() {
                owner.collect(5).await.expect("owns it");
            }
            slow.resume();
            assert_fenced(late.as_mut().await, "an owner that was overtaken");
        });
        opened.await.expect("a leftover is taken for damage");
        if faults.count() <= at {
            assert!(at > 6, "a take-over took {at} operations");
            return;
        }
    }
}

pub async fn the_newest_data_record_is_never_collected() {
    let shared = Shared::default();
    let chain = shared.filled(&Faults::none(), 4).await;
    chain.collect(4).await.expect("collects");
    shared.check(4).await;
    let fenced = shared.open(&Faults::none()).await.expect("opens").chain;
    fenced.collect(fenced.next_number() - 1).await.expect("collects");
    shared.check(4).await;
}

pub async fn a_hole_in_a_chain_halts() {
    let shared = Shared::default();
    shared.filled(&Faults::none(), 6).await;
    shared.kept.remove(&id(), 3).await.expect("in memory");
    let error = shared.open(&Faults::none()).await.expect_err("a chain with a hole is opened");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// A chain of six records in a store, of which two are collected.
async fn stored() -> Store {
    let store = Store::memory();
    let mut chain = open_in(&store).await.expect("opens").chain;
    for number in 2..=6 {
        chain.append(payload(number)).await.expect("appends");
    }
    chain.collect(2).await.expect("collects");
    store
}

async fn open_in(store: &Store) -> Result<Opened> {
    let checkpoints = StoreCheckpoints::new(store, "state").expect("a name");
    Chain::open(Arc::new(checkpoints), id(), test_env(1)).await
}

/// Changes the stored object of the chain that has `name`.
async fn change(store: &Store, name: &str, with: impl Fn(&str) -> String) {
    let path = ObjectPath::parse(&format!("state/{}/{name}", id())).expect("a name");
    let bytes = store.get(&path, None).await.expect("in memory").expect("is there");
    let text = String::from_utf8(bytes.to_vec()).expect("it is text");
    let changed = with(&text);
    assert_ne!(text, changed);
    store.put(&path, changed.into()).await.expect("in memory");
}

pub async fn a_flipped_bit_halts() {
    let store = stored().await;
    // One bit of the boundary: another record seems to be collected.
    change(&store, "boundary/00000000000000000001", |text| text.replace("\"boundary\":2", "\"boundary\":3")).await;
    let error = open_in(&store).await.expect_err("a damaged boundary is believed");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

pub async fn a_newer_format_is_refused() {
    let store = stored().await;
    change(&store, "00000000000000000006.rec", |text| {
        let body = text.rsplit_once("\ncrc32c=").expect("it is sealed").0.replacen("/1\"", "/2\"", 1);
        format!("{body}\ncrc32c={:08x}\n", crc32c::crc32c(body.as_bytes()))
    })
    .await;
    let error = open_in(&store).await.expect_err("a format of the future is read");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
