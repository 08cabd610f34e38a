use super::files::TEMP;
use super::*;
use crate::error::{ErrorKind, Status};
use crate::store::Store;
use crate::testkit::test_env;
use futures::FutureExt;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

mod power_loss;

mod on_threads {
    crate::store_conformance!(super::open(&crate::env::Env::system()));
}

mod inline {
    crate::store_conformance!(super::open(&crate::testkit::test_env(1)));
}

fn open(env: &Env) -> (Store, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Store::new(LocalStore::open_with(folder.path(), env).expect("open")), folder)
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

fn temps(folder: &Path) -> usize {
    fs::read_dir(folder.join(TEMP)).expect("the folder of temporary files").count()
}

/// The real disk, with a log of what was asked of it, and one call that fails.
#[derive(Clone, Debug, Default)]
struct Recorder {
    log: Arc<Mutex<Vec<Call>>>,
    fail: Arc<Mutex<Option<(&'static str, Errno)>>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Call {
    CreateFolder(PathBuf),
    CreateFile(PathBuf),
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    SyncFolder(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Recorder {
    fn open(&self, folder: &Path) -> Result<Store> {
        let env = test_env(1);
        Ok(Store::new(LocalStore::open_on(Arc::new(self.clone()), folder, &env)?))
    }

    fn fail(&self, call: &'static str, errno: Errno) {
        *self.fail.lock().expect("not poisoned") = Some((call, errno));
    }

    fn log(&self) -> Vec<Call> {
        self.log.lock().expect("not poisoned").clone()
    }

    fn call<T>(&self, name: &str, call: Call, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let failing = self.fail.lock().expect("not poisoned").take_if(|(failing, _)| *failing == name);
        if let Some((_, errno)) = failing {
            return Err(errno.into());
        }
        let done = work()?;
        self.log.lock().expect("not poisoned").push(call);
        Ok(done)
    }
}

impl Disk for Recorder {
    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        self.call("create folder", Call::CreateFolder(path.into()), || RealDisk.create_folder(path))
    }
    fn create_file(&self, path: &Path) -> io::Result<File> {
        self.call("create file", Call::CreateFile(path.into()), || RealDisk.create_file(path))
    }
    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.call("write", Call::Write(path.into(), bytes.into()), || RealDisk.write(path, file, bytes))
    }
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.call("sync file", Call::SyncFile(path.into()), || RealDisk.sync_file(path, file))
    }
    fn sync_folder(&self, path: &Path, folder: &File) -> io::Result<()> {
        self.call("sync folder", Call::SyncFolder(path.into()), || RealDisk.sync_folder(path, folder))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<bool> {
        if to.exists() {
            return RealDisk.rename_new(from, to); // changes nothing
        }
        self.call("rename", Call::Rename(from.into(), to.into()), || RealDisk.rename_new(from, to))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", Call::Rename(from.into(), to.into()), || RealDisk.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

#[tokio::test]
async fn a_failed_sync_of_a_file_is_an_error_and_the_file_never_gets_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::default();
    let store = recorder.open(folder.path()).expect("open");
    let name = path("a/x");
    recorder.fail("sync file", Errno::IO);
    let error = store.create(&name, "1".into()).await.expect_err("not durable");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(TEMP) && error.hint().is_some_and(|h| h.contains("check the disk")), "{error}");
    let mut upload = store.upload(&name).await.expect("upload");
    upload.write("1".into()).await.expect("write");
    recorder.fail("sync file", Errno::IO);
    upload.finish().await.expect_err("not durable");
    assert_eq!((store.get(&name, None).await.expect("get"), temps(folder.path())), (None, 2));
    assert!(!recorder.log().iter().any(|call| matches!(call, Call::Rename(..))));
    // Another try is another file.
    assert_eq!(store.create(&name, "1".into()).await.expect("create"), Created::New);
}

#[tokio::test]
async fn a_failed_sync_of_a_folder_is_ambiguous_and_ends_all_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::default();
    let store = recorder.open(folder.path()).expect("open");
    let name = path("x");
    recorder.fail("sync folder", Errno::IO);
    let error = store.create(&name, "1".into()).await.expect_err("not known to be durable");
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    // Reading back would find it and call it done.
    for refused in [
        store.get(&name, None).await.map(|_| ()),
        store.create(&name, "1".into()).await.map(|_| ()),
        store.put(&name, "1".into()).await,
        store.upload(&name).await.map(|_| ()),
        store.list(&path("a")).await.map(|_| ()),
        store.list(&ObjectPath::root()).await.map(|_| ()),
        store.rename(&name, &path("y")).await.map(|_| ()),
        store.delete(&name).await,
    ] {
        let error = refused.expect_err("the disk's state is not known");
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Permanent), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_its_space_is_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::default();
    let store = recorder.open(folder.path()).expect("open");
    recorder.fail("write", Errno::NOSPC);
    let error = store.put(&path("a/x"), "1".into()).await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient() && error.hint().is_some_and(|hint| hint.contains("free space")), "{error}");
    let mut upload = store.upload(&path("a/x")).await.expect("upload");
    recorder.fail("write", Errno::DQUOT);
    upload.write(vec![1; 300_000].into()).await.expect_err("full");
    let error = upload.finish().await.expect_err("bytes are missing");
    assert_eq!(error.kind(), ErrorKind::Bug, "{error}");
    assert_eq!((store.get(&path("a/x"), None).await.expect("get"), temps(folder.path())), (None, 0));
}

#[tokio::test]
async fn errors_say_whether_something_may_have_happened() {
    let cases = [
        ("create file", Errno::ACCESS, ErrorKind::Config),
        ("create file", Errno::ROFS, ErrorKind::Config),
        ("create file", Errno::MFILE, ErrorKind::Unavailable),
        ("create folder", Errno::NAMETOOLONG, ErrorKind::Config),
        ("rename", Errno::XDEV, ErrorKind::Config),
        ("rename", Errno::NOSPC, ErrorKind::Unavailable),
        ("rename", Errno::IO, ErrorKind::Ambiguous),
    ];
    for (call, errno, kind) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::default();
        let store = recorder.open(folder.path()).expect("open");
        recorder.fail(call, errno);
        let error = store.create(&path("a/x"), "1".into()).await.expect_err("it failed");
        assert_eq!(error.kind(), kind, "{call} {errno}: {error}");
        assert!(error.hint().is_some() && error.to_string().contains("path="), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for (call, errno) in [("sync folder", Errno::INVAL), ("create file", Errno::ACCESS), ("create folder", Errno::ROFS)]
    {
        let recorder = Recorder::default();
        recorder.fail(call, errno);
        let error = recorder.open(folder.path()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config, "{call}: {error}");
        assert!(error.hint().is_some(), "{error}");
    }
    fs::write(folder.path().join("file"), "").expect("written");
    let error = LocalStore::open_with(folder.path().join("file"), &test_env(1)).expect_err("not a folder");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[test]
fn a_new_folder_is_made_and_its_name_synced() {
    let outer = tempfile::tempdir().expect("a folder");
    let outer = outer.path().canonicalize().expect("it is there");
    let recorder = Recorder::default();
    recorder.open(&outer.join("new/er")).expect("open");
    let expected = [
        Call::CreateFolder(outer.join("new")),
        Call::SyncFolder(outer.clone()),
        Call::CreateFolder(outer.join("new/er")),
        Call::SyncFolder(outer.join("new")),
    ];
    assert_eq!(recorder.log()[..4], expected);
}

#[tokio::test]
async fn a_uri_and_a_path_lead_to_the_same_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = Store::from_uri(&format!("file://{}/a%20b", folder.path().display())).expect("open");
    one.put(&path("x"), "1".into()).await.expect("put");
    let other = Store::from_uri(&format!("{}/a b", folder.path().display())).expect("open");
    assert_eq!(other.get(&path("x"), None).await.expect("get"), Some("1".into()));
    assert!(Store::from_uri("memory://").expect("open").get(&path("x"), None).await.expect("get").is_none());
}

#[tokio::test]
async fn links_are_not_followed() {
    let (store, folder) = open(&test_env(1));
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("secret"), "x").expect("written");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).expect("linked");
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("link")).expect("linked");
    for name in ["out/secret", "out/new", "link"] {
        let name = path(name);
        for refused in [
            store.get(&name, None).await.map(|_| ()),
            store.put(&name, "1".into()).await,
            store.delete(&name).await,
            store.rename(&name, &path("y")).await.map(|_| ()),
        ] {
            // A put replaces the link itself, as a rename does.
            if let Err(error) = refused {
                assert_eq!(error.kind(), ErrorKind::Config, "{name}: {error}");
            } else {
                assert_eq!(name.as_str(), "link");
            }
        }
    }
    assert!(store.list(&path("out")).await.is_err());
    let inside: Vec<_> = fs::read_dir(outside.path()).expect("it is there").flatten().collect();
    assert_eq!((inside.len(), fs::read(outside.path().join("secret")).expect("read")), (1, b"x".to_vec()));
}

#[tokio::test]
async fn a_name_is_an_object_or_a_folder() {
    let (store, folder) = open(&test_env(1));
    store.put(&path("a/x"), "1".into()).await.expect("put");
    for (name, what) in [("a", "a folder"), ("a/x/y", "below an object"), ("", "the root"), (".landfall-tmp/x", "temp")]
    {
        let name = path(name);
        for refused in [store.create(&name, "2".into()).await.map(|_| ()), store.put(&name, "2".into()).await] {
            assert_eq!(refused.expect_err(what).kind(), ErrorKind::Config, "{what}");
        }
    }
    assert_eq!(store.get(&path("a/x/y"), None).await.expect("get"), None);
    store.delete(&path("a")).await.expect("there is no such object");
    assert_eq!(store.get(&path("a/x"), None).await.expect("get"), Some("1".into()));
    assert_eq!(temps(folder.path()), 0);
}

#[tokio::test]
async fn files_that_are_no_objects_are_not_listed() {
    let (store, folder) = open(&test_env(1));
    store.put(&path("a/x"), "1".into()).await.expect("put");
    fs::create_dir(folder.path().join("lost+found")).expect("made");
    fs::write(folder.path().join("a/not an object"), "").expect("written");
    let _unfinished = store.upload(&path("a/y")).await.expect("upload");
    assert_eq!(temps(folder.path()), 1);
    let names: Vec<_> = store.list(&ObjectPath::root()).await.expect("list").into_iter().map(|i| i.path).collect();
    assert_eq!(names, [path("a/x")]);
}

#[test]
fn only_old_temporary_files_go_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let env = Env::system();
    drop(LocalStore::open_with(folder.path(), &env).expect("open"));
    for (name, age) in [("old", Duration::from_secs(25 * 3_600)), ("young", Duration::from_secs(23 * 3_600))] {
        let file = File::create(folder.path().join(TEMP).join(name)).expect("made");
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(env.now().as_micros().unsigned_abs());
        file.set_modified(now - age).expect("dated");
    }
    LocalStore::open_with(folder.path(), &env).expect("open");
    assert!(!folder.path().join(TEMP).join("old").exists());
    assert!(folder.path().join(TEMP).join("young").exists());
}

#[test]
fn a_cancelled_write_ends_its_upload() {
    let one_thread = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime");
    one_thread.block_on(async {
        let (store, folder) = open(&Env::system());
        let mut upload = store.upload(&path("x")).await.expect("upload");
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv().is_err());
        assert!(upload.write(vec![1; 300_000].into()).now_or_never().is_none(), "the thread is busy");
        drop(release);
        assert!(busy.await.expect("no panic"));
        let error = upload.finish().await.expect_err("nobody knows what was written");
        assert_eq!(error.kind(), ErrorKind::Bug, "{error}");
        assert_eq!(store.get(&path("x"), None).await.expect("get"), None);
        assert_eq!(temps(folder.path()), 0);
    });
}

#[tokio::test]
async fn two_processes_may_share_a_folder() {
    let (store, folder) = open(&Env::system());
    let other = Store::local(folder.path()).expect("open");
    for round in 0..20 {
        let name = path(&format!("chain/{round}"));
        let (one, two) = futures::join!(store.create(&name, "1".into()), other.create(&name, "2".into()));
        let (one, two) = (one.expect("create"), two.expect("create"));
        assert!((one == Created::New) != (two == Created::New), "{one:?} {two:?}");
        let held = if one == Created::New { "1" } else { "2" };
        assert_eq!(store.get(&name, None).await.expect("get"), Some(held.into()));
    }
}
