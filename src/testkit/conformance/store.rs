//! What [`ObjectAccess`](crate::store::ObjectAccess) promises. [`store_conformance!`](crate::store_conformance) makes a test of
//! each check.
//!
//! Left to tests of the implementation:
//! - Guarantee 1: a loss of power, which a living process does not show. [`SimDisk`](crate::testkit::SimDisk) does, of a
//!   [`LocalStore`](crate::store::LocalStore) only; what to do about others is in `docs/testkit.md`.

use super::doubt::each_doubt;
use super::told::given;
use super::walk::{dropped_at, until_the_end_of};
use crate::env::Env;
use crate::error::Result;
use crate::store::{Created, ObjectPath, Store, probe};
use crate::testkit::Faults;
use bytes::{Bytes, BytesMut};
use futures::future::{join, join_all};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes a `#[tokio::test]` of every check of a store. The expression gives an empty store and whatever must live as long as it;
/// it may await. The crate needs `tokio` with `macros` and `rt`, and a second call a module of its own.
///
/// With `reached_by`, what a store says of a write that has gone wrong is checked too. It is an async closure that takes what must live, and the
/// [`Faults`] of a process, and gives what the first expression gives: the same store as that process reaches it, each
/// access of it an I/O point of the faults. Leave it out only where nothing of a write can fail by itself, or nobody can make it fail from here.
///
/// ```
/// # use landfall::store::Store;
/// landfall::store_conformance!((Store::memory(), ()));
/// ```
///
/// ```
/// # use landfall::store::Store;
/// # use landfall::testkit::Faults;
/// landfall::store_conformance!(
///     {
///         let store = Store::memory();
///         (store.clone(), store)
///     },
///     reached_by: async |store: &Store, faults: &Faults| (faults.store(store), ())
/// );
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($open:expr) => {
        $crate::store_conformance! { $open;
            g2_a_read_during_puts_sees_whole_objects
            g2_an_upload_is_seen_when_it_is_finished
            g2_a_dropped_upload_leaves_nothing
            g2_a_write_that_is_dropped_is_whole_or_nothing
            g3_a_create_answers_new_then_exists_and_the_first_stays
            g3_one_of_sixteen_concurrent_creates_wins
            g4_a_put_replaces
            g5_a_list_is_in_order_and_of_one_folder
            an_upload_keeps_every_byte
            empty_objects_are_objects
            a_get_answers_the_range_that_there_is
            names_keep_their_characters
            a_rename_moves_and_replaces
            a_rename_of_nothing_changes_nothing
            a_rename_onto_itself_keeps_the_object
            a_delete_is_seen_and_may_come_twice
            the_probe_accepts_it
        }
    };
    ($open:expr, reached_by: $reached:expr) => {
        $crate::store_conformance!($open);
        $crate::store_conformance! { $open, reached_by: $reached;
            doubt_is_told
        }
    };
    ($open:expr, reached_by: $reached:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, keep) = $open;
                $crate::testkit::conformance::store::is_fit(&store).await;
                let _told = $crate::testkit::conformance::told("ObjectAccess", stringify!($check));
                let reached = async |faults: &$crate::testkit::Faults| ($reached)(&keep, faults).await;
                $crate::testkit::conformance::store::$check(&store, reached).await;
            }
        )+
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, _keep) = $open;
                $crate::testkit::conformance::store::is_fit(&store).await;
                let _told = $crate::testkit::conformance::told("ObjectAccess", stringify!($check));
                $crate::testkit::conformance::store::$check(&store).await;
            }
        )+
    };
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

async fn put(store: &Store, name: &str, content: &'static str) {
    store.put(&path(name), content.into()).await.expect("put");
}

async fn read(store: &Store, name: &str) -> Option<Bytes> {
    store.get(&path(name), None).await.expect("get")
}

async fn names(store: &Store, folder: &str) -> Vec<String> {
    let listed = store.list(&path(folder)).await.expect("list");
    listed.into_iter().map(|info| info.path.as_str().to_owned()).collect()
}

/// Looks at what a test gives, before anything is checked: a mistake there looks like a broken guarantee.
#[doc(hidden)]
pub async fn is_fit(store: &Store) {
    let there = names(store, "").await;
    let words = "give each test an empty store of its own";
    given(there.is_empty(), format_args!("the store is not empty, it holds {there:?}: {words}"));
}

/// Guarantee 3, exclusive.
pub async fn g3_a_create_answers_new_then_exists_and_the_first_stays(store: &Store) {
    let name = path("chain/1");
    assert_eq!(store.create(&name, "first".into()).await.expect("create"), Created::New);
    assert_eq!(store.create(&name, "second".into()).await.expect("create again"), Created::Exists);
    put(store, "chain/2", "put").await;
    assert_eq!(store.create(&path("chain/2"), "x".into()).await.expect("create over a put"), Created::Exists);
    assert_eq!(read(store, "chain/1").await, Some("first".into()));
    assert_eq!(read(store, "chain/2").await, Some("put".into()));
}

/// Guarantee 3, exclusive.
pub async fn g3_one_of_sixteen_concurrent_creates_wins(store: &Store) {
    for round in 0..8 {
        let name = path(&format!("race/{round}/n"));
        let creates = (0..16_u8).map(|writer| store.create(&name, Bytes::from(vec![writer; 1_000])));
        let answers: Vec<Created> =
            join_all(creates).await.into_iter().collect::<Result<_, _>>().expect("every create answers");
        let winners: Vec<usize> = (0..16).filter(|w| answers.get(*w) == Some(&Created::New)).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} were all told that they had won");
        let held = store.get(&name, None).await.expect("get").expect("there is a winner");
        let winner = u8::try_from(winners.iter().sum::<usize>()).expect("below 16");
        assert_eq!(held, vec![winner; 1_000], "round {round}: another one's bytes are there");
    }
}

/// Guarantee 4, strong reads: of what was replaced.
pub async fn g4_a_put_replaces(store: &Store) {
    put(store, "a/x", "first, and longer").await;
    put(store, "a/x", "second").await;
    assert_eq!(read(store, "a/x").await, Some("second".into()));
}

/// Guarantees 2 and 4, whole objects and strong reads.
pub async fn g2_a_read_during_puts_sees_whole_objects(store: &Store) {
    const SIZE: usize = 300_000;
    let name = path("a/x");
    store.put(&name, vec![0; SIZE].into()).await.expect("put");
    let write = async {
        for round in 1..20_u8 {
            store.put(&name, vec![round; SIZE].into()).await.expect("put");
            let seen = store.get(&name, None).await.expect("get").expect("it is there");
            assert_eq!(seen.first(), Some(&round), "a completed write is not seen");
        }
    };
    let look = async {
        for _ in 0..20 {
            let seen = store.get(&name, None).await.expect("get").expect("it is always there");
            assert_eq!(seen.len(), SIZE);
            assert!(seen.iter().all(|byte| Some(byte) == seen.first()), "parts of two objects");
        }
    };
    join(write, look).await;
}

/// Guarantee 2, whole objects.
pub async fn g2_an_upload_is_seen_when_it_is_finished(store: &Store) {
    put(store, "a/old", "old").await;
    for (name, before) in [("a/new", None), ("a/old", Some(Bytes::from("old")))] {
        let mut upload = store.upload(&path(name)).await.expect("upload");
        upload.write("one ".into()).await.expect("write");
        upload.write("two".into()).await.expect("write");
        assert_eq!(read(store, name).await, before, "{name} changed before the end");
        assert_eq!(upload.finish().await.expect("finish"), 7);
        assert_eq!(read(store, name).await, Some("one two".into()));
    }
    assert_eq!(names(store, "").await, ["a/new", "a/old"]);
}

/// Guarantee 2, and cancellation: a write that is dropped at an await of it has happened or not, perhaps later. Never a part of it.
pub async fn g2_a_write_that_is_dropped_is_whole_or_nothing(store: &Store) {
    let content = Bytes::from(vec![7; 70_000]);
    let whole = async |name: &ObjectPath, wait: u64| {
        let seen = store.get(name, None).await.expect("get");
        assert!(
            seen.is_none_or(|bytes| bytes == content),
            "{name}, dropped at its await {wait}: a part of it is there"
        );
    };
    let mut ended = [false; 3];
    for wait in until_the_end_of("a write", 1) {
        let [created, put, uploaded] = ["created", "put", "uploaded"].map(|name| path(&format!("{name}/{wait}")));
        let create = dropped_at(wait, store.create(&created, content.clone())).await;
        whole(&created, wait).await;
        // It may win after this one has read.
        if store.create(&created, "other".into()).await.expect("create") == Created::Exists {
            whole(&created, wait).await;
        }
        let replace = dropped_at(wait, store.put(&put, content.clone())).await;
        whole(&put, wait).await;
        let upload = dropped_at(wait, async {
            let mut upload = store.upload(&uploaded).await.expect("upload");
            for half in [content.slice(..30_000), content.slice(30_000..)] {
                upload.write(half).await.expect("write");
            }
            upload.finish().await.expect("finish");
        });
        let upload = upload.await;
        whole(&uploaded, wait).await;
        ended = [ended[0] || create.is_some(), ended[1] || replace.is_some(), ended[2] || upload.is_some()];
        if ended == [true; 3] {
            break;
        }
    }
}

/// Guarantee 2: an upload that is not finished has never been.
pub async fn g2_a_dropped_upload_leaves_nothing(store: &Store) {
    for size in [0, 1, 600_000] {
        let mut upload = store.upload(&path("a/x")).await.expect("upload");
        upload.write(vec![1; size].into()).await.expect("write");
        drop(upload);
    }
    assert_eq!(read(store, "a/x").await, None);
    assert_eq!(names(store, "").await, [""; 0]);
    assert_eq!(store.create(&path("a/x"), "x".into()).await.expect("create"), Created::New);
}

/// Bytes come back in order, however they were cut.
pub async fn an_upload_keeps_every_byte(store: &Store) {
    let mut upload = store.upload(&path("a/large")).await.expect("upload");
    let mut expected = BytesMut::new();
    let mut next = 0_u32;
    for size in [3, 0, 5_000_000, 262_144, 1, 9_000_001, 700_000, 4_000_000] {
        let chunk: Bytes = (0..size)
            .map(|_| {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                next.to_be_bytes()[0]
            })
            .collect();
        expected.extend_from_slice(&chunk);
        upload.write(chunk).await.expect("write");
    }
    assert_eq!(upload.finish().await.expect("finish"), expected.len() as u64);
    assert!(read(store, "a/large").await == Some(expected.freeze()), "other bytes came back");
}

/// No bytes are bytes too.
pub async fn empty_objects_are_objects(store: &Store) {
    assert_eq!(store.create(&path("e/created"), Bytes::new()).await.expect("create"), Created::New);
    assert_eq!(store.create(&path("e/created"), "x".into()).await.expect("create"), Created::Exists);
    put(store, "e/put", "").await;
    let upload = store.upload(&path("e/uploaded")).await.expect("upload");
    assert_eq!(upload.finish().await.expect("finish"), 0);
    for name in ["e/created", "e/put", "e/uploaded"] {
        assert_eq!(read(store, name).await, Some(Bytes::new()), "{name}");
    }
    assert_eq!(names(store, "e").await, ["e/created", "e/put", "e/uploaded"]);
}

/// Ranges end where the object ends.
pub async fn a_get_answers_the_range_that_there_is(store: &Store) {
    put(store, "a/x", "0123456789").await;
    let cases = [
        (0..10, "0123456789"),
        (0..1, "0"),
        (3..7, "3456"),
        (8..99, "89"),
        (4..4, ""),
        (10..12, ""),
        (50..60, ""),
        (9..u64::MAX, "9"),
    ];
    for (range, expected) in cases {
        let answer = store.get(&path("a/x"), Some(range.clone())).await.expect("get");
        assert_eq!(answer, Some(expected.into()), "{range:?}");
    }
    for range in [None, Some(0..1), Some(0..0)] {
        assert_eq!(store.get(&path("a/none"), range.clone()).await.expect("get"), None, "{range:?} of nothing");
        assert_eq!(store.get(&path("a"), range.clone()).await.expect("get"), None, "{range:?} of a folder");
    }
}

/// Names are kept as they are: partition values, encoded text, numbers.
pub async fn names_keep_their_characters(store: &Store) {
    let odd = [
        "day=2024-01-01/part,1.x",
        "enc/%",
        "enc/%2F",
        "enc/%252F",
        "enc/%25",
        "UPPER/lower",
        ".dot/..dots/x.",
        "0/00000000000000000001",
    ];
    for name in odd {
        assert_eq!(store.create(&path(name), name.into()).await.expect("create"), Created::New, "{name}");
    }
    let encoded = ObjectPath::encode("../é?x=1#2");
    store.put(&path("enc").join(&encoded).expect("a valid name"), "encoded".into()).await.expect("put");
    for name in odd {
        assert_eq!(read(store, name).await, Some(name.into()), "{name}");
    }
    let mut expected: Vec<String> = odd.iter().map(ToString::to_string).collect();
    expected.push(format!("enc/{encoded}"));
    expected.sort();
    assert_eq!(names(store, "").await, expected);
    assert_eq!(names(store, "day=2024-01-01").await, ["day=2024-01-01/part,1.x"]);
    assert!(store.rename(&path("enc/%2F"), &path("enc/%3D")).await.expect("rename"));
    assert_eq!(read(store, "enc/%3D").await, Some("enc/%2F".into()));
    store.delete(&path("enc/%25")).await.expect("delete");
    assert_eq!(read(store, "enc/%252F").await, Some("enc/%252F".into()));
}

/// Guarantee 5: a hint that is not behind is in order of names, at any depth, below one folder.
pub async fn g5_a_list_is_in_order_and_of_one_folder(store: &Store) {
    for name in ["b/2", "a/z", "a/b/c/d", "ab/1", "a-b", "a/b-c", "a.x", "b/10"] {
        put(store, name, "1234").await;
    }
    assert_eq!(names(store, "").await, ["a-b", "a.x", "a/b-c", "a/b/c/d", "a/z", "ab/1", "b/10", "b/2"]);
    assert_eq!(names(store, "a").await, ["a/b-c", "a/b/c/d", "a/z"]);
    assert_eq!(names(store, "a/b").await, ["a/b/c/d"]);
    assert_eq!(names(store, "none").await, [""; 0]);
    assert_eq!(names(store, "a/z").await, [""; 0], "an object is no folder");
    for info in store.list(&ObjectPath::root()).await.expect("list") {
        assert_eq!(info.size, 4, "{}", info.path);
        assert!(info.modified.as_micros() > 0, "{}", info.path);
    }
}

/// One object, under its new name only.
pub async fn a_rename_moves_and_replaces(store: &Store) {
    put(store, "staged/x", "new").await;
    put(store, "shown/deep/y", "old").await;
    assert!(store.rename(&path("staged/x"), &path("shown/deep/y")).await.expect("rename"));
    assert_eq!(read(store, "staged/x").await, None);
    assert_eq!(read(store, "shown/deep/y").await, Some("new".into()));
    assert!(store.rename(&path("shown/deep/y"), &path("other/z")).await.expect("rename to a new folder"));
    assert_eq!(names(store, "").await, ["other/z"]);
}

/// A rename that has happened already answers `false` and leaves what it made.
pub async fn a_rename_of_nothing_changes_nothing(store: &Store) {
    put(store, "shown/x", "kept").await;
    assert!(!store.rename(&path("staged/x"), &path("shown/x")).await.expect("rename"));
    assert!(!store.rename(&path("shown"), &path("else")).await.expect("rename of a folder"));
    assert_eq!(read(store, "shown/x").await, Some("kept".into()));
    assert_eq!(names(store, "").await, ["shown/x"]);
}

/// Never under no name.
pub async fn a_rename_onto_itself_keeps_the_object(store: &Store) {
    put(store, "a/x", "kept").await;
    assert!(store.rename(&path("a/x"), &path("a/x")).await.expect("rename"));
    assert_eq!(read(store, "a/x").await, Some("kept".into()));
    assert!(!store.rename(&path("a/y"), &path("a/y")).await.expect("rename"));
}

/// Deleting what is not there is no error.
pub async fn a_delete_is_seen_and_may_come_twice(store: &Store) {
    put(store, "a/x", "gone").await;
    put(store, "a/y", "kept").await;
    for name in ["a/x", "a/x", "never/was"] {
        store.delete(&path(name)).await.expect(name);
    }
    assert_eq!(read(store, "a/x").await, None);
    assert_eq!(names(store, "").await, ["a/y"]);
    assert_eq!(store.create(&path("a/x"), "again".into()).await.expect("create"), Created::New);
}

/// Errors: a write that says that nothing has happened is right.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub async fn doubt_is_told<K>(store: &Store, reached_by: impl AsyncFn(&Faults) -> (Store, K)) {
    let next = AtomicU64::new(1);
    for operation in ["create", "put", "upload", "rename", "delete"] {
        let tried = async |faults: &Faults| {
            let number = next.fetch_add(1, Ordering::SeqCst);
            let [from, name] = ["from", "to"].map(|folder| path(&format!("{folder}/{number}")));
            match operation {
                "rename" => store.put(&from, "new".into()).await.expect("put"),
                "create" => {}
                _ => store.put(&name, "old".into()).await.expect("put"),
            }
            let (reached, _keep) = reached_by(faults).await;
            // `Exists`, and a rename of what is not there, say nothing: it may have been an earlier try.
            let answer = match operation {
                "create" => reached.create(&name, "new".into()).await.map(|created| created == Created::New),
                "put" => reached.put(&name, "new".into()).await.map(|()| true),
                "upload" => upload(&reached, &name).await.map(|()| true),
                "rename" => reached.rename(&from, &name).await,
                _ => reached.delete(&name).await.map(|()| true),
            };
            let seen = store.get(&name, None).await.expect("get");
            let happened = if operation == "delete" { seen.is_none() } else { seen.is_some_and(|seen| seen == "new") };
            (answer, happened)
        };
        each_doubt(operation, tried).await;
    }
}

async fn upload(store: &Store, name: &ObjectPath) -> Result<()> {
    let mut upload = store.upload(name).await?;
    upload.write("new".into()).await?;
    upload.finish().await.map(drop)
}

/// What every start asks of a store; it leaves nothing behind.
pub async fn the_probe_accepts_it(store: &Store) {
    probe(store, &path("state"), &Env::system()).await.expect("a store that keeps the contract is accepted");
    assert_eq!(names(store, "").await, [""; 0]);
}
