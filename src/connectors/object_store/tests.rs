use super::object_store::memory::InMemory;
use super::object_store::path::Path;
use super::object_store::{
    CopyOptions, Error as Refusal, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as Answer, UploadPart,
};
use crate::error::ErrorKind;
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

mod in_memory {
    crate::store_conformance!((super::in_memory(), ()));
}

mod on_local_files {
    crate::store_conformance!(super::on_local_files());
}

fn in_memory() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()))
}

fn on_local_files() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).expect("a store");
    (Store::from_object_store(Arc::new(files)), folder)
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

/// A store in memory that answers one kind of request as told, and counts the parts of uploads.
#[derive(Debug, Default)]
struct Scripted {
    inner: InMemory,
    script: Mutex<Option<Script>>,
    parts: Arc<Parts>,
}

type Script = (&'static str, fn() -> Refusal);

#[derive(Debug, Default)]
struct Parts {
    sizes: Mutex<Vec<usize>>,
    under_way: AtomicUsize,
    at_most: AtomicUsize,
}

impl Scripted {
    fn answering(operation: &'static str, refusal: fn() -> Refusal) -> (Arc<Self>, Store) {
        let scripted = Arc::new(Self { script: Mutex::new(Some((operation, refusal))), ..Self::default() });
        let store = Store::from_object_store(Arc::clone(&scripted) as Arc<dyn ObjectStore>);
        (scripted, store)
    }

    fn answer(&self, operation: &str) -> Answer<()> {
        match *self.script.lock().expect("not poisoned") {
            Some((scripted, refusal)) if scripted == operation => Err(refusal()),
            _ => Ok(()),
        }
    }

    fn forget(&self) {
        *self.script.lock().expect("not poisoned") = None;
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Answer<PutResult> {
        let done = self.inner.put_opts(location, payload, options).await?;
        self.answer("put").map(|()| done) // what is lost is the answer
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let refused = self.answer("part").is_err();
        Ok(Box::new(ScriptedUpload { inner, refused, parts: Arc::clone(&self.parts) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
        self.answer("get")?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Answer<Path>>) -> BoxStream<'static, Answer<Path>> {
        match self.answer("delete") {
            Ok(()) => self.inner.delete_stream(locations),
            Err(e) => futures::stream::iter([Err(e)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        self.answer("copy")?;
        if self.answer("cut").is_err() {
            return self.inner.put(to, PutPayload::default()).await.map(|_| ());
        }
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct ScriptedUpload {
    inner: Box<dyn MultipartUpload>,
    refused: bool,
    parts: Arc<Parts>,
}

#[async_trait]
impl MultipartUpload for ScriptedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.sizes.lock().expect("not poisoned").push(data.content_length());
        let now = self.parts.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.parts.at_most.fetch_max(now, Ordering::SeqCst);
        let (part, parts, refused) = (self.inner.put_part(data), Arc::clone(&self.parts), self.refused);
        Box::pin(async move {
            tokio::task::yield_now().await;
            parts.under_way.fetch_sub(1, Ordering::SeqCst);
            if refused { Err(timed_out()) } else { part.await }
        })
    }

    async fn complete(&mut self) -> Answer<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Answer<()> {
        self.inner.abort().await
    }
}

fn timed_out() -> Refusal {
    Refusal::Generic { store: "scripted", source: "timed out".into() }
}

fn conflict() -> Refusal {
    Refusal::AlreadyExists { path: "x".into(), source: "409 conflict".into() }
}

fn precondition() -> Refusal {
    Refusal::Precondition { path: "x".into(), source: "412".into() }
}

fn not_implemented() -> Refusal {
    Refusal::NotImplemented { operation: "put".into(), implementer: "scripted".into() }
}

fn missing() -> Refusal {
    Refusal::NotFound { path: "x".into(), source: "404".into() }
}

#[tokio::test]
async fn a_create_is_new_or_exists_or_unknown() {
    for refusal in [conflict as fn() -> Refusal, precondition] {
        let (_, store) = Scripted::answering("put", refusal);
        assert_eq!(store.create(&path("x"), "1".into()).await.expect("an answer"), Created::Exists);
    }
    for (refusal, kind) in [
        (timed_out as fn() -> Refusal, ErrorKind::Ambiguous),
        (not_implemented, ErrorKind::Config),
        (missing, ErrorKind::Config), // the bucket
    ] {
        let (_, store) = Scripted::answering("put", refusal);
        let error = store.create(&path("x"), "1".into()).await.expect_err("no answer");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn an_unknown_put_is_ambiguous_and_an_unknown_get_is_not() {
    let (_, store) = Scripted::answering("put", timed_out);
    assert_eq!(store.put(&path("x"), "1".into()).await.expect_err("lost").kind(), ErrorKind::Ambiguous);
    let small = store.upload(&path("x")).await.expect("upload");
    assert_eq!(small.finish().await.expect_err("lost").kind(), ErrorKind::Ambiguous);
    let (_, store) = Scripted::answering("get", timed_out);
    for range in [None, Some(0..1), Some(0..0)] {
        let error = store.get(&path("x"), range).await.expect_err("no answer");
        assert!(error.kind() == ErrorKind::Unavailable && error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn a_rename_deletes_only_what_is_copied() {
    for (operation, kind, left) in [
        ("copy", ErrorKind::Ambiguous, vec!["from"]),
        ("cut", ErrorKind::Unavailable, vec!["from", "to"]),
        ("delete", ErrorKind::Ambiguous, vec!["from", "to"]),
    ] {
        let (scripted, store) = Scripted::answering(operation, timed_out);
        store.put(&path("from"), "1".into()).await.expect("put");
        let error = store.rename(&path("from"), &path("to")).await.expect_err("it failed");
        assert_eq!(error.kind(), kind, "{error}");
        let names: Vec<_> = store.list(&ObjectPath::root()).await.expect("list").into_iter().map(|i| i.path).collect();
        assert_eq!(names, left.into_iter().map(path).collect::<Vec<_>>(), "{operation}");
        scripted.forget();
        assert!(store.rename(&path("from"), &path("to")).await.expect("again"));
        assert_eq!(store.get(&path("to"), None).await.expect("get"), Some("1".into()));
    }
}

#[tokio::test]
async fn an_upload_sends_equal_parts_and_few_at_a_time() {
    const MIB: usize = 1024 * 1024;
    let scripted = Arc::new(Scripted::default());
    let store = Store::from_object_store(Arc::clone(&scripted) as Arc<dyn ObjectStore>);
    let mut upload = store.upload(&path("large")).await.expect("upload");
    upload.write(Bytes::from(vec![7; 65 * MIB])).await.expect("write");
    upload.write(Bytes::from(vec![7; 3])).await.expect("write");
    assert_eq!(upload.finish().await.expect("finish"), 65 * MIB as u64 + 3);
    let mut sizes = vec![8 * MIB; 8];
    sizes.push(MIB + 3);
    assert_eq!(*scripted.parts.sizes.lock().expect("not poisoned"), sizes);
    assert_eq!(scripted.parts.at_most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_upload_with_a_lost_part_is_never_finished() {
    let (_, store) = Scripted::answering("part", timed_out);
    let mut upload = store.upload(&path("large")).await.expect("upload");
    let part = Bytes::from(vec![7; 9 * 1024 * 1024]);
    upload.write(part.clone()).await.expect("it is on its way");
    let error = upload.finish().await.expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing is to be seen: {error}");

    let mut upload = store.upload(&path("large")).await.expect("upload");
    let mut failures = 0;
    for _ in 0..8 {
        failures += usize::from(upload.write(part.clone()).await.is_err());
    }
    assert!(failures > 0, "parts failed, and nobody was told");
    let error = upload.finish().await.expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::Bug, "{error}");
    assert_eq!(store.get(&path("large"), None).await.expect("get"), None);
}
