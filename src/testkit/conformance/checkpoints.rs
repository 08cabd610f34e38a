//! What [`CheckpointStore`] promises. [`checkpoint_conformance!`](crate::checkpoint_conformance) makes a test of each check.
//!
//! Left to tests of the implementation:
//! - Guarantee 2: a loss of power, which a living process does not show. [`SimDisk`](crate::testkit::SimDisk) does, of what lies in a
//!   [`Store`](crate::store::Store); what to do about files and servers besides is in `docs/testkit.md`.

use super::doubt::{each_doubt, each_failure};
use super::told::given;
use super::walk::{dropped_at, until_the_end_of};
use crate::checkpoint::chain::{Chain, Opened, probe};
use crate::checkpoint::{ChainId, CheckpointStore};
use crate::env::Env;
use crate::error::ErrorKind;
use crate::store::Created;
use crate::testkit::Faults;
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes a `#[tokio::test]` of every check of a checkpoint store. The expression gives an empty store as `Arc<dyn CheckpointStore>` and
/// whatever must live as long as it; it may await, and it may `return` to skip the check.
/// The crate needs `tokio` with `macros` and `rt`, and a second call a module of its own.
///
/// With `reached_by` there is more than one process: what another one has written, advanced or removed must be seen, and what is said of a call
/// that has gone wrong must be right. It is an async closure that takes what must live, and the [`Faults`] of a process, and gives what the first
/// expression gives: the same store as that process reaches it, each access of it an I/O point of the faults. Where nothing smaller than a call
/// can be made to fail from here, give [`FaultCheckpoints::new`](crate::testkit::FaultCheckpoints::new) of the store and the faults. Without
/// `reached_by` a store passes that remembers in each process what it has read, or takes a failure for an answer: leave it out only where there
/// is one process and no call can fail, as in memory.
///
/// ```
/// # use landfall::checkpoint::MemoryCheckpoints;
/// # use std::sync::Arc;
/// landfall::checkpoint_conformance!((Arc::new(MemoryCheckpoints::default()), ()));
/// ```
///
/// ```
/// # use landfall::checkpoint::StoreCheckpoints;
/// # use landfall::store::Store;
/// # use landfall::testkit::Faults;
/// # use std::sync::Arc;
/// fn checkpoints(store: &Store) -> Arc<StoreCheckpoints> {
///     Arc::new(StoreCheckpoints::new(store, "state").expect("a name"))
/// }
///
/// landfall::checkpoint_conformance!(
///     {
///         let store = Store::memory();
///         (checkpoints(&store), store)
///     },
///     reached_by: async |store: &Store, faults: &Faults| (checkpoints(&faults.store(store)), ())
/// );
/// ```
#[macro_export]
macro_rules! checkpoint_conformance {
    ($open:expr) => {
        $crate::checkpoint_conformance! { $open;
            g1_one_of_sixteen_concurrent_creates_wins
            g1_a_record_is_never_replaced
            g1_chains_do_not_touch_each_other
            g3_a_completed_write_is_seen
            g3_every_byte_comes_back
            g4_the_boundary_never_goes_back
            g4_the_boundary_outlives_the_records
            g5_numbers_name_what_there_is_in_ascending_order
            what_is_removed_is_gone_and_may_be_removed_again
            the_largest_record_comes_back
            a_call_that_is_dropped_has_happened_or_not
            a_new_owner_shuts_the_old_one_out
            the_probe_accepts_it
        }
    };
    ($open:expr, reached_by: $reached:expr) => {
        $crate::checkpoint_conformance!($open);
        $crate::checkpoint_conformance! { $open, reached_by: $reached;
            g1_a_record_of_another_process_is_never_replaced
            g3_what_another_process_has_done_is_seen
            g4_the_boundary_of_another_process_is_seen_and_never_goes_back
            doubt_is_told
            a_failure_is_no_answer
        }
    };
    ($open:expr, reached_by: $reached:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, keep) = $open;
                $crate::testkit::conformance::checkpoints::is_fit(&*store).await;
                let _told = $crate::testkit::conformance::told("CheckpointStore", stringify!($check));
                let reached = async |faults: &$crate::testkit::Faults| {
                    let (store, keep) = ($reached)(&keep, faults).await;
                    (store as ::std::sync::Arc<dyn $crate::checkpoint::CheckpointStore>, keep)
                };
                $crate::testkit::conformance::checkpoints::$check(store, reached).await;
            }
        )+
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, _keep) = $open;
                $crate::testkit::conformance::checkpoints::is_fit(&*store).await;
                let _told = $crate::testkit::conformance::told("CheckpointStore", stringify!($check));
                $crate::testkit::conformance::checkpoints::$check(store).await;
            }
        )+
    };
}

/// The chains that checks write to.
const RACE: &str = "race/checkpoints/0000";
const ORDERS: &str = "orders/checkpoints/0000";
const OTHERS: [&str; 8] = [
    "a/checkpoints/0000",
    "a/checkpoints/0001",
    "a/segments/0000",
    "b/checkpoints/0000",
    "a=b/c",
    "a%3Db/c",
    "A/c",
    "a/c",
];

/// Bytes that a record has at most.
const LARGEST: usize = (32 << 20) + (17 << 10);

/// Looks at what a test gives, before anything is checked: a mistake there looks like a broken guarantee.
#[doc(hidden)]
pub async fn is_fit(store: &dyn CheckpointStore) {
    for name in [RACE, ORDERS].into_iter().chain(OTHERS) {
        let of = chain(name);
        let records = store.numbers(&of).await.expect("numbers");
        let boundary = store.boundary(&of).await.expect("boundary");
        given(
            records.is_empty() && boundary == 0,
            format_args!(
                "the store is not empty, `{name}` has the records {records:?} and the boundary {boundary}: give each test an empty store of its own"
            ),
        );
    }
}

fn chain(name: &str) -> ChainId {
    ChainId::named(name).expect("a valid name")
}

async fn create(store: &dyn CheckpointStore, chain: &ChainId, number: u64, record: impl Into<Bytes>) -> Created {
    store.create(chain, number, record.into()).await.expect("create")
}

async fn read(store: &dyn CheckpointStore, chain: &ChainId, number: u64) -> Option<Bytes> {
    store.read(chain, number).await.expect("read")
}

/// Guarantee 1, create if absent.
pub async fn g1_one_of_sixteen_concurrent_creates_wins(store: Arc<dyn CheckpointStore>) {
    let chain = chain(RACE);
    for number in 1..=6 {
        let creates = (0..16_u8).map(|writer| store.create(&chain, number, vec![writer; 1_000].into()));
        let answers = join_all(creates).await.into_iter().collect::<Result<Vec<_>, _>>().expect("every create answers");
        let winners: Vec<usize> = (0..16).filter(|w| answers.get(*w) == Some(&Created::New)).collect();
        assert_eq!(winners.len(), 1, "number {number}: {winners:?} were all told that they had won");
        let held = read(&*store, &chain, number).await.expect("there is a winner");
        let winner = u8::try_from(winners.iter().sum::<usize>()).expect("below 16");
        assert_eq!(held, vec![winner; 1_000], "number {number}: another one's record is there");
    }
}

/// Guarantee 1, create if absent.
pub async fn g1_a_record_is_never_replaced(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    assert_eq!(create(&*store, &chain, 1, "first").await, Created::New);
    assert_eq!(create(&*store, &chain, 1, "second").await, Created::Exists);
    assert_eq!(create(&*store, &chain, 1, "first").await, Created::Exists);
    assert_eq!(read(&*store, &chain, 1).await, Some("first".into()));
}

/// Guarantee 1, create if absent: of a process that has looked before.
pub async fn g1_a_record_of_another_process_is_never_replaced<K>(
    store: Arc<dyn CheckpointStore>,
    reached_by: impl AsyncFn(&Faults) -> (Arc<dyn CheckpointStore>, K),
) {
    let chain = chain(ORDERS);
    let (other, _keep) = reached_by(&Faults::none()).await;
    for (number, (first, second)) in (1..).zip([(&other, &store), (&store, &other)]) {
        assert_eq!(read(&**second, &chain, number).await, None);
        assert_eq!(create(&**first, &chain, number, "first").await, Created::New);
        assert_eq!(create(&**second, &chain, number, "second").await, Created::Exists);
        assert_eq!(read(&**first, &chain, number).await, Some("first".into()), "another process replaced it");
    }
}

/// Guarantee 1: a number is one of its chain.
pub async fn g1_chains_do_not_touch_each_other(store: Arc<dyn CheckpointStore>) {
    for name in OTHERS {
        assert_eq!(create(&*store, &chain(name), 1, name).await, Created::New, "{name}");
        store.advance_boundary(&chain(name), 1).await.expect("advance");
        assert_eq!(create(&*store, &chain(name), 2, name).await, Created::New, "{name}");
    }
    store.remove(&chain(OTHERS[0]), 1).await.expect("remove");
    for name in OTHERS.into_iter().skip(1) {
        assert_eq!(read(&*store, &chain(name), 1).await, Some(name.into()), "{name}");
    }
    assert_eq!(store.boundary(&chain("never/was")).await.expect("boundary"), 0);
    assert_eq!(store.numbers(&chain("never/was")).await.expect("numbers"), [0; 0]);
}

/// Guarantee 3, strong reads.
pub async fn g3_a_completed_write_is_seen(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    assert_eq!(store.boundary(&chain).await.expect("boundary"), 0);
    for number in 1..=20 {
        assert_eq!(read(&*store, &chain, number).await, None);
        assert_eq!(create(&*store, &chain, number, format!("{number}")).await, Created::New);
        assert_eq!(read(&*store, &chain, number).await, Some(format!("{number}").into()));
        store.advance_boundary(&chain, number - 1).await.expect("advance");
        assert_eq!(store.boundary(&chain).await.expect("boundary"), number - 1);
    }
}

/// Guarantee 3, strong reads.
pub async fn g3_every_byte_comes_back(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let records = [all.clone(), vec![0], vec![0xff; 70_000], all.repeat(8_192)];
    for (number, record) in (1..).zip(records) {
        assert_eq!(create(&*store, &chain, number, record.clone()).await, Created::New);
        assert!(read(&*store, &chain, number).await == Some(record.into()), "record {number} came back changed");
    }
}

/// Guarantee 3, strong reads: by a process that has looked before.
pub async fn g3_what_another_process_has_done_is_seen<K>(
    store: Arc<dyn CheckpointStore>,
    reached_by: impl AsyncFn(&Faults) -> (Arc<dyn CheckpointStore>, K),
) {
    let chain = chain(ORDERS);
    let (other, _keep) = reached_by(&Faults::none()).await;
    for (number, (writer, reader)) in (1..).zip([(&other, &store), (&store, &other)]) {
        assert_eq!(read(&**reader, &chain, number).await, None);
        assert_eq!(create(&**writer, &chain, number, "written").await, Created::New);
        assert_eq!(read(&**reader, &chain, number).await, Some("written".into()), "another process wrote it");
        writer.advance_boundary(&chain, number).await.expect("advance");
        writer.remove(&chain, number).await.expect("remove");
        assert_eq!(read(&**reader, &chain, number).await, None, "another process removed it");
    }
}

/// Guarantee 4, monotone boundary.
pub async fn g4_the_boundary_never_goes_back(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    for (to, expected) in [(3, 3), (1, 3), (0, 3), (3, 3), (7, 7), (5, 7)] {
        store.advance_boundary(&chain, to).await.expect("advance");
        assert_eq!(store.boundary(&chain).await.expect("boundary"), expected, "after {to}");
    }
    for answer in join_all((8..24).rev().map(|to| store.advance_boundary(&chain, to))).await {
        answer.expect("advance");
    }
    assert_eq!(store.boundary(&chain).await.expect("boundary"), 23, "the highest of many at once");
}

/// Guarantees 3 and 4: of a process that has looked before.
pub async fn g4_the_boundary_of_another_process_is_seen_and_never_goes_back<K>(
    store: Arc<dyn CheckpointStore>,
    reached_by: impl AsyncFn(&Faults) -> (Arc<dyn CheckpointStore>, K),
) {
    let chain = chain(ORDERS);
    let (other, _keep) = reached_by(&Faults::none()).await;
    for (to, (writer, reader)) in (1_u64..).zip([(&other, &store), (&store, &other)]) {
        assert_eq!(reader.boundary(&chain).await.expect("boundary"), to - 1);
        writer.advance_boundary(&chain, to).await.expect("advance");
        assert_eq!(reader.boundary(&chain).await.expect("boundary"), to, "another process advanced it");
    }
    other.advance_boundary(&chain, 9).await.expect("advance");
    // It has seen 2.
    store.advance_boundary(&chain, 5).await.expect("advance");
    for process in [&store, &other] {
        assert_eq!(process.boundary(&chain).await.expect("boundary"), 9, "after 9 by one process, and 5 by another");
    }
}

/// Guarantee 4, monotone boundary.
pub async fn g4_the_boundary_outlives_the_records(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    for number in 1..=3 {
        create(&*store, &chain, number, "x").await;
    }
    store.advance_boundary(&chain, 3).await.expect("advance");
    for number in 1..=3 {
        store.remove(&chain, number).await.expect("remove");
    }
    assert_eq!(store.boundary(&chain).await.expect("boundary"), 3);
}

/// Guarantee 5, hint.
pub async fn g5_numbers_name_what_there_is_in_ascending_order(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    let there = [1, 2, 9, 10, 11, 100, 4_294_967_297];
    for number in there {
        create(&*store, &chain, number, "x").await;
    }
    let named = store.numbers(&chain).await.expect("numbers");
    assert!(named.is_sorted(), "{named:?}");
    assert!(named.iter().all(|n| there.contains(n)), "{named:?} names what never was");
}

/// Removing.
pub async fn what_is_removed_is_gone_and_may_be_removed_again(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    for number in 1..=3 {
        create(&*store, &chain, number, "x").await;
    }
    store.advance_boundary(&chain, 2).await.expect("advance");
    for _ in 0..2 {
        store.remove(&chain, 1).await.expect("remove");
        assert_eq!(read(&*store, &chain, 1).await, None);
    }
    assert_eq!(read(&*store, &chain, 2).await, Some("x".into()));
}

/// What [`create`](CheckpointStore::create) says of the size.
pub async fn the_largest_record_comes_back(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    // 251 is prime: of a record that is kept in parts, no two are the same.
    let record = Bytes::from((0..251).collect::<Vec<u8>>().repeat(LARGEST / 251));
    assert_eq!(create(&*store, &chain, 1, record.clone()).await, Created::New);
    assert!(read(&*store, &chain, 1).await == Some(record), "it came back changed");
}

/// Cancellation: a call that is dropped at an await of it has happened or not, perhaps later, and never in part.
pub async fn a_call_that_is_dropped_has_happened_or_not(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    let record = |text: &str| Bytes::from(text.repeat(10_000));
    for number in until_the_end_of("a call", 1) {
        let first = dropped_at(number, store.create(&chain, number, record("first"))).await;
        let seen = read(&*store, &chain, number).await;
        assert!(seen.is_none_or(|seen| seen == record("first")), "dropped at its await {number}: a part is there");
        let won = create(&*store, &chain, number, record("second")).await == Created::New;
        let winner = if won { "second" } else { "first" };
        assert!(read(&*store, &chain, number).await == Some(record(winner)), "dropped at its await {number}");
        let before = number - 1;
        let moved = dropped_at(number, store.advance_boundary(&chain, number)).await;
        let boundary = store.boundary(&chain).await.expect("boundary");
        assert!((before..=number).contains(&boundary), "dropped at its await {number}: the boundary is {boundary}");
        store.advance_boundary(&chain, number).await.expect("advance");
        assert_eq!(store.boundary(&chain).await.expect("boundary"), number, "dropped at its await {number}");
        let removed = dropped_at(number, store.remove(&chain, number)).await;
        let seen = read(&*store, &chain, number).await;
        assert!(seen.is_none_or(|seen| seen == record(winner)), "dropped at its await {number}: half is removed");
        store.remove(&chain, number).await.expect("remove");
        assert_eq!(read(&*store, &chain, number).await, None);
        if first.is_some() && moved.is_some() && removed.is_some() {
            break;
        }
    }
}

/// Errors: a create that says that nothing has happened is right.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub async fn doubt_is_told<K>(
    store: Arc<dyn CheckpointStore>,
    reached_by: impl AsyncFn(&Faults) -> (Arc<dyn CheckpointStore>, K),
) {
    let chain = chain(ORDERS);
    let next = AtomicU64::new(1);
    let create = async |faults: &Faults| {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let (reached, _keep) = reached_by(faults).await;
        let answer = reached.create(&chain, number, "first".into()).await;
        let there = read(&*store, &chain, number).await.is_some();
        // `Exists` says nothing: callers read back.
        (answer.map(|created| created == Created::New), there)
    };
    each_doubt("create", create).await;
}

/// Errors: what could not be read is no answer, and what is said to be done has happened. `numbers` may miss anything, so nothing is asked of it.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub async fn a_failure_is_no_answer<K>(
    store: Arc<dyn CheckpointStore>,
    reached_by: impl AsyncFn(&Faults) -> (Arc<dyn CheckpointStore>, K),
) {
    let chain = chain(ORDERS);
    // The boundary below it is not 0.
    let next = AtomicU64::new(2);
    for operation in ["read", "boundary", "advance_boundary", "remove"] {
        let tried = async |faults: &Faults, when: &str| {
            let number = next.fetch_add(1, Ordering::SeqCst);
            create(&*store, &chain, number, "x").await;
            let before = if operation == "remove" { number } else { number - 1 };
            store.advance_boundary(&chain, before).await.expect("advance");
            let (reached, _keep) = reached_by(faults).await;
            match operation {
                "read" => {
                    if let Ok(seen) = reached.read(&chain, number).await {
                        assert_eq!(seen, Some("x".into()), "{when}");
                    }
                }
                "boundary" => {
                    if let Ok(boundary) = reached.boundary(&chain).await {
                        assert_eq!(boundary, before, "{when}");
                    }
                }
                "advance_boundary" => {
                    let answer = reached.advance_boundary(&chain, number).await;
                    let boundary = store.boundary(&chain).await.expect("boundary");
                    let stands = answer.is_err() && boundary == before;
                    assert!(stands || boundary == number, "{when}: {answer:?}, and the boundary is {boundary}");
                }
                _ => {
                    let answer = reached.remove(&chain, number).await;
                    let gone = read(&*store, &chain, number).await.is_none();
                    assert!(gone || answer.is_err(), "{when}: said to be removed, and is there");
                }
            }
        };
        each_failure(operation, tried).await;
    }
}

/// The protocol above it.
pub async fn a_new_owner_shuts_the_old_one_out(store: Arc<dyn CheckpointStore>) {
    let chain = chain(ORDERS);
    let opened = Chain::open(Arc::clone(&store), chain.clone(), Env::system()).await.expect("open");
    let mut first = opened.chain;
    let number = first.append("one".into()).await.expect("append");
    let Opened { newest_data, chain: mut second, .. } =
        Chain::open(Arc::clone(&store), chain.clone(), Env::system()).await.expect("open again");
    assert_eq!(newest_data.map(|record| record.number), Some(number));
    assert_eq!(first.append("two".into()).await.expect_err("it is shut out").kind(), ErrorKind::Fenced);
    second.append("two".into()).await.expect("the new owner appends");
}

/// What every start asks of a store.
pub async fn the_probe_accepts_it(store: Arc<dyn CheckpointStore>) {
    probe(&*store, &Env::system()).await.expect("a store that keeps the contract is accepted");
}
