use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, LocalStore, ObjectPath, Store, probe};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::join;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

async fn names(store: &Store) -> Vec<String> {
    let listed = store.list(&ObjectPath::root()).await.expect("list");
    listed.into_iter().map(|info| info.path.as_str().to_owned()).collect()
}

fn fault(at: u64, mode: Mode) -> Faults {
    Faults::of([Plan { at, mode }])
}

/// One of each operation, on a disk that holds `old` and `from`.
async fn every_operation(store: &Store) -> Result<()> {
    store.create(&path("created"), "create".into()).await?;
    store.put(&path("old"), "new".into()).await?;
    let mut upload = store.upload(&path("uploaded")).await?;
    upload.write("one".into()).await?;
    upload.finish().await?;
    store.get(&path("old"), None).await?;
    store.list(&ObjectPath::root()).await?;
    store.rename(&path("from"), &path("to")).await?;
    store.delete(&path("created")).await
}

async fn disk() -> Store {
    let disk = Store::memory();
    disk.put(&path("old"), "old".into()).await.expect("put");
    disk.put(&path("from"), "from".into()).await.expect("put");
    disk
}

async fn content(disk: &Store) -> Vec<(String, String)> {
    let mut content = Vec::new();
    for name in names(disk).await {
        let bytes = disk.get(&path(&name), None).await.expect("get").expect("it was listed");
        content.push((name, String::from_utf8(bytes.to_vec()).expect("text")));
    }
    content
}

/// What is on the disk after the first `n` operations.
async fn after(n: usize) -> Vec<(String, String)> {
    let disk = disk().await;
    let faults = fault(n as u64, Mode::Before);
    drop(every_operation(&faults.store(&disk)).await);
    assert_eq!(faults.count(), (n + 1).min(9) as u64);
    content(&disk).await
}

#[tokio::test]
async fn counts_every_operation_in_order() {
    let faults = Faults::none();
    every_operation(&faults.store(&disk().await)).await.expect("no faults");
    let trace = faults.trace();
    let expected = ["create", "put", "upload", "upload.write", "upload.finish", "get", "list", "rename", "delete"];
    assert_eq!(trace.iter().map(|point| point.operation).collect::<Vec<_>>(), expected);
    assert_eq!(trace.iter().map(|point| point.index).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!((trace[0].name.as_str(), trace[7].name.as_str(), faults.count()), ("created", "from -> to", 9));
}

#[tokio::test]
async fn a_crash_comes_before_or_after_the_effect_and_kills_the_process() {
    for at in 0..9 {
        for (mode, effects) in [(Mode::Before, at), (Mode::AfterLostResponse, at + 1)] {
            let disk = disk().await;
            let faults = fault(at, mode);
            let store = faults.store(&disk);
            let error = every_operation(&store).await.expect_err("it crashed");
            assert!(Faults::is_crash(&error) && faults.is_dead(), "{at} {mode:?}: {error}");
            assert!(!error.is_transient(), "a dead process must not be made to try again");
            assert_eq!(content(&disk).await, after(usize::try_from(effects).expect("small")).await, "{at} {mode:?}");

            let held = content(&disk).await;
            let later = every_operation(&store).await.expect_err("it is dead");
            assert!(Faults::is_crash(&later));
            assert_eq!((content(&disk).await, faults.count()), (held, at + 1), "a dead process has an effect");
        }
    }
}

#[tokio::test]
async fn a_torn_operation_leaves_what_the_contract_allows() {
    for at in 0..9 {
        let disk = disk().await;
        let faults = fault(at, Mode::Torn);
        let error = every_operation(&faults.store(&disk)).await.expect_err("it crashed");
        assert!(Faults::is_crash(&error) && faults.is_dead());
        let mut expected = after(usize::try_from(at).expect("small")).await;
        if at == 7 {
            expected.push(("to".into(), "from".into())); // copied, not deleted
            expected.sort();
        }
        assert_eq!(content(&disk).await, expected, "{at}");
    }
}

#[tokio::test]
async fn torn_writes_leave_temporary_files_on_a_disk() {
    for (at, torn) in [(0, true), (1, true), (3, true), (4, true), (5, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Store::new(LocalStore::open_with(folder.path(), &test_env(1)).expect("open"));
        let faults = fault(at, Mode::Torn);
        drop(every_operation(&faults.store(&disk)).await);
        let left = std::fs::read_dir(folder.path().join(".landfall-tmp")).expect("the folder").count();
        assert_eq!(left, usize::from(torn), "{at}");
    }
}

#[tokio::test]
async fn a_lost_response_has_its_effect_and_the_process_lives() {
    for at in 0..9 {
        let disk = disk().await;
        let faults = fault(at, Mode::LostResponse);
        let error = every_operation(&faults.store(&disk)).await.expect_err("it was told nothing");
        let read = at == 5 || at == 6;
        assert_eq!(error.kind(), if read { ErrorKind::Unavailable } else { ErrorKind::Ambiguous }, "{at}");
        assert_eq!(content(&disk).await, after(usize::try_from(at + 1).expect("small")).await, "{at}");
        assert!(!faults.is_dead() && !Faults::is_crash(&error));
        faults.store(&disk).put(&path("later"), "x".into()).await.expect("it lives on");
    }
}

#[tokio::test]
async fn a_failure_has_no_effect_and_the_process_lives() {
    for at in 0..9 {
        let disk = disk().await;
        let faults = fault(at, Mode::Fail);
        let error = every_operation(&faults.store(&disk)).await.expect_err("it failed");
        assert!(error.kind() == ErrorKind::Unavailable && error.is_transient(), "{at}: {error}");
        assert_eq!(content(&disk).await, after(usize::try_from(at).expect("small")).await, "{at}");
        faults.store(&disk).put(&path("later"), "x".into()).await.expect("it lives on");
    }
}

#[tokio::test]
async fn an_upload_with_a_failed_write_cannot_be_finished() {
    let disk = Store::memory();
    let faults = fault(1, Mode::Fail);
    let mut upload = faults.store(&disk).upload(&path("x")).await.expect("upload");
    upload.write("lost".into()).await.expect_err("it failed");
    upload.write("more".into()).await.expect_err("bytes are missing");
    upload.finish().await.expect_err("bytes are missing");
    assert_eq!(names(&disk).await, [""; 0]);
}

#[tokio::test]
async fn a_paused_process_stands_still_and_goes_on() {
    let disk = Store::memory();
    let faults = fault(1, Mode::Pause);
    let (store, beside) = (faults.store(&disk), faults.store(&disk));
    let process = tokio::spawn(async move {
        store.put(&path("a"), "zombie".into()).await?;
        store.put(&path("b"), "zombie".into()).await
    });
    faults.until_paused().await;
    assert_eq!(names(&disk).await, ["a"]);
    assert!(beside.get(&path("a"), None).now_or_never().is_none(), "another task of the process goes on");

    disk.put(&path("b"), "new owner".into()).await.expect("others go on");
    faults.resume();
    process.await.expect("no panic").expect("it wakes as if nothing had been");
    assert_eq!(disk.get(&path("b"), None).await.expect("get"), Some("zombie".into()));
}

#[tokio::test]
async fn a_request_under_way_may_arrive_after_its_process_has_died() {
    let disk = Store::memory();
    let faults = fault(0, Mode::Pause);
    let store = faults.store(&disk);
    let (put, listing) = (path("late"), ObjectPath::root());
    let process = store.put(&put, "x".into());
    let test = async {
        faults.until_paused().await;
        faults.crash();
        faults.resume();
    };
    let (answer, ()) = join(process, test).await;
    assert!(Faults::is_crash(&answer.expect_err("nobody hears the answer")));
    assert!(Faults::is_crash(&store.list(&listing).await.expect_err("it is dead")));
    assert_eq!(names(&disk).await, ["late"]);
}

#[tokio::test]
async fn several_stores_and_other_effects_share_one_process() {
    let (one, two) = (Store::memory(), Store::memory());
    let faults = fault(2, Mode::AfterLostResponse);
    faults.store(&one).put(&path("x"), "1".into()).await.expect("put");
    let sent = faults.point("send", "row 1", async { Ok(7) }).await.expect("point");
    let error = faults.store(&two).put(&path("x"), "2".into()).await.expect_err("it crashed");
    assert!(Faults::is_crash(&error) && sent == 7);
    let later: Result<()> = faults.point("send", "row 2", async { panic!("an effect of a dead process") }).await;
    assert!(Faults::is_crash(&later.expect_err("it is dead")));
    assert_eq!((names(&two).await, faults.count()), (vec!["x".to_owned()], 3));
}

#[test]
fn a_crash_is_recognised_below_other_errors() {
    let crash = fault(0, Mode::Before).point("send", "x", async { Ok(()) }).now_or_never().expect("no wait");
    let wrapped = Error::bug("commit", "failed").with_source(crash.expect_err("it crashed"));
    assert!(Faults::is_crash(&wrapped));
    assert!(!Faults::is_crash(&Error::bug("commit", "failed")));
}

#[tokio::test]
async fn the_probe_refuses_a_store_without_conditions() {
    let store = Store::new(Conditionless::new(&Store::memory()));
    let error = probe(&store, &path("state"), &test_env(1)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("ignores the condition"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("conditional puts")), "{error}");
    assert_eq!(names(&store).await, [""; 0]);
}

#[tokio::test]
async fn two_environments_of_one_seed_agree() {
    let (one, other) = (test_env(7), test_env(7));
    assert_eq!(one.nonce(), other.nonce());
    assert_ne!(one.nonce(), test_env(8).nonce());
    one.sleep(std::time::Duration::from_secs(3_600)).await;
    assert_eq!(one.monotonic().as_secs(), 3_600);
}

#[tokio::test]
async fn a_create_whose_response_was_lost_meets_itself() {
    let disk = Store::memory();
    let store = fault(0, Mode::LostResponse).store(&disk);
    let error = store.create(&path("n"), "mine".into()).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert_eq!(store.create(&path("n"), "mine".into()).await.expect("again"), Created::Exists);
}

/// What all messages change, but the one that ends a connection.
fn said_bye(message: &[u8], _heard: &[u8]) -> Option<Effect> {
    (message != b"bye").then_some(Effect::Whole)
}

#[tokio::test]
async fn a_proxy_cuts_between_messages_and_a_dead_process_is_not_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = listener.local_addr().expect("is bound");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let server = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut message = [0; 3];
            while client.read_exact(&mut message).await.is_ok() {
                log.lock().expect("no panic").push(message);
                client.write_all(b"yes").await.expect("writes");
            }
        }
    });
    let faults = Faults::of([Plan { at: 1, mode: Mode::AfterLostResponse }]);
    let proxy = FaultProxy::start(upstream, &faults, said_bye).expect("starts");
    let mut answer = [0; 3];
    let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
    client.write_all(b"one").await.expect("writes");
    client.read_exact(&mut answer).await.expect("an answer");
    client.write_all(b"two").await.expect("writes");
    assert!(client.read_exact(&mut answer).await.is_err(), "the answer to the second is lost");
    let mut again = TcpStream::connect(proxy.address()).await.expect("connects");
    drop(again.write_all(b"six").await);
    assert!(again.read_exact(&mut answer).await.is_err(), "a dead process is answered");
    assert_eq!((heard.lock().expect("no panic").as_slice(), faults.count()), ([*b"one", *b"two"].as_slice(), 2));
    server.abort();
}

#[tokio::test]
async fn a_client_that_blocks_its_runtime_is_answered() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let upstream = listener.local_addr().expect("is bound");
    let server = tokio::task::spawn_blocking(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.read_exact(&mut [0; 3]).expect("a message");
        client.write_all(b"yes").expect("writes");
    });
    let proxy = FaultProxy::start(upstream, &Faults::none(), said_bye).expect("starts");
    let mut client = std::net::TcpStream::connect(proxy.address()).expect("connects");
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a bound");
    client.write_all(b"one").expect("writes");
    let mut answer = [0; 3];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"yes");
    server.await.expect("no panic");
}

#[tokio::test]
async fn what_ends_a_connection_is_no_point() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let faults = Faults::none();
    let upstream = listener.local_addr().expect("is bound");
    let proxy = FaultProxy::start(upstream, &faults, said_bye).expect("starts");
    let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
    client.write_all(b"bye").await.expect("writes");
    let mut end = Vec::new();
    client.read_to_end(&mut end).await.expect("the end");
    assert_eq!((end.len(), faults.count()), (0, 0));
}

#[tokio::test]
async fn a_refusal_is_of_its_kind_and_has_no_effect() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Auth, ErrorKind::Config, ErrorKind::Ambiguous] {
        let disk = disk().await;
        let faults = fault(1, Mode::Refuse(kind));
        let error = every_operation(&faults.store(&disk)).await.expect_err("it was refused");
        assert_eq!((error.kind(), error.is_transient()), (kind, kind == ErrorKind::Unavailable));
        assert_eq!(content(&disk).await, after(1).await);
        faults.store(&disk).put(&path("later"), "x".into()).await.expect("it lives on");
    }
}

#[tokio::test]
async fn a_create_may_meet_itself_or_nobody() {
    for (mode, stored) in [(Mode::Exists, true), (Mode::Conflict, false)] {
        let disk = Store::memory();
        let store = fault(0, mode).store(&disk);
        assert_eq!(store.create(&path("n"), "mine".into()).await.expect("an answer"), Created::Exists);
        assert_eq!(disk.get(&path("n"), None).await.expect("get").is_some(), stored, "{mode:?}");
        // Nothing else has such an answer.
        for at in 1..9 {
            let disk = self::disk().await;
            every_operation(&fault(at, mode).store(&disk)).await.expect("it goes well");
            assert_eq!(content(&disk).await, after(9).await, "{mode:?} at {at}");
        }
    }
}

#[tokio::test]
async fn a_late_request_arrives_after_its_answer_was_lost() {
    let disk = Store::memory();
    let faults = fault(0, Mode::Late(2));
    let store = faults.store(&disk);
    let error = store.put(&path("late"), "x".into()).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    store.put(&path("a"), "x".into()).await.expect("put");
    assert_eq!(names(&disk).await, ["a"]);
    store.put(&path("b"), "x".into()).await.expect("put");
    assert_eq!(names(&disk).await, ["a", "b", "late"]);
    // Also when nobody is there any more.
    let faults = Faults::at(Target::operation("delete"), Mode::Late(9));
    faults.store(&disk).delete(&path("late")).await.expect_err("no answer");
    faults.crash();
    assert_eq!(names(&disk).await, ["a", "b", "late"]);
    faults.arrive().await;
    assert_eq!(names(&disk).await, ["a", "b"]);
}

#[tokio::test]
async fn a_target_is_an_operation_on_a_name_at_its_place() {
    let disk = Store::memory();
    let target = Target::operation("put").on("state/").after(1).times(2);
    let store = Faults::at(target, Mode::Fail).store(&disk);
    store.put(&path("data/1"), "x".into()).await.expect("another name");
    store.delete(&path("state/1")).await.expect("another operation");
    for (n, hit) in [false, true, true, false].into_iter().enumerate() {
        assert_eq!(store.put(&path(&format!("state/{n}")), "x".into()).await.is_err(), hit, "{n}");
    }
}

#[tokio::test]
async fn several_targets_count_each_for_itself_and_the_first_one_hits() {
    let disk = Store::memory();
    let third = (Target::operation("put").after(2), Mode::Refuse(ErrorKind::Auth));
    let store = Faults::at_each([(Target::operation("put").on("b"), Mode::Fail), third]).store(&disk);
    let mut kinds = Vec::new();
    for name in ["a", "b", "a", "b"] {
        kinds.push(store.put(&path(name), "x".into()).await.err().map(|error| error.kind()));
    }
    let (busy, refused) = (Some(ErrorKind::Unavailable), Some(ErrorKind::Auth));
    assert_eq!(kinds, [None, busy, refused, busy]);
}

#[tokio::test]
async fn damage_is_given_back_and_not_stored() {
    let read = async |damage: Damage| {
        let disk = Store::memory();
        disk.put(&path("a/1"), "old!".into()).await.expect("put");
        let store = Store::new(DamagedStore::new(&disk, damage, Target::all().on("a/")));
        store.put(&path("a/1"), "new!".into()).await.expect("put");
        store.create(&path("a/2"), "abcd".into()).await.expect("create");
        store.put(&path("b"), "sound".into()).await.expect("put");
        assert_eq!(store.get(&path("b"), None).await.expect("get"), Some("sound".into()));
        let mut read = Vec::new();
        for name in ["a/1", "a/2"] {
            read.push(store.get(&path(name), None).await.expect("get").map(|bytes| bytes.to_vec()));
        }
        let part = store.get(&path("a/1"), Some(1..3)).await.expect("get").map(|bytes| bytes.to_vec());
        (read, part, names(&store).await, names(&disk).await)
    };
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let all = || ["a/1", "a/2", "b"].map(str::to_owned).to_vec();
    assert_eq!(read(Damage::Flip).await, (vec![some("nev!"), some("abbd")], some("ev"), all(), all()));
    assert_eq!(read(Damage::Truncate).await, (vec![some("ne"), some("ab")], some("e"), all(), all()));
    assert_eq!(read(Damage::Stale).await, (vec![some("old!"), None], some("ld"), all(), all()));
    let late = vec!["b".to_owned()];
    assert_eq!(read(Damage::LateListing).await, (vec![some("new!"), some("abcd")], some("ew"), late.clone(), all()));
    assert_eq!(read(Damage::Vanished).await, (vec![None, None], None, late.clone(), late));
}

#[tokio::test]
async fn what_is_endless_can_be_read_in_parts_alone() {
    let disk = Store::memory();
    let store = Store::new(DamagedStore::new(&disk, Damage::Endless, Target::all().on("a/")));
    for name in ["a/1", "b"] {
        store.put(&path(name), "text".into()).await.expect("put");
    }
    let read = async |name, range| store.get(&path(name), range).await;
    assert_eq!(read("b", None).await.expect("get"), Some("text".into()));
    assert_eq!(read("a/2", None).await.expect("get"), None);
    assert_eq!(read("a/1", Some(2..6)).await.expect("get"), Some(Bytes::from_static(b"xt\0\0")));
    assert_eq!(read("a/1", Some(9..11)).await.expect("get"), Some(Bytes::from_static(b"\0\0")));
    for range in [None, Some(0..u64::MAX)] {
        assert_eq!(read("a/1", range).await.expect_err("it is larger than memory").kind(), ErrorKind::Bug);
    }
    let sizes: Vec<u64> = store.list(&ObjectPath::root()).await.expect("list").iter().map(|info| info.size).collect();
    assert_eq!(sizes, [1 << 40, 4]);
}
