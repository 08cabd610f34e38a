use super::fault::{failed_read, failed_write, is_missing, may_be_behind};
use super::upload::ObjectUpload;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;
use crate::store::{Created, ObjectAccess, ObjectInfo, ObjectPath, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error as Refusal, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The port on an [`ObjectStore`].
#[derive(Clone)]
pub(super) struct ObjectStoreAccess(Arc<dyn ObjectStore>);

/// What the store calls itself: clients show their keys to `Debug`.
impl fmt::Debug for ObjectStoreAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStoreAccess({})", self.0)
    }
}

impl ObjectStoreAccess {
    pub(super) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self(objects)
    }
}

#[async_trait]
impl ObjectAccess for ObjectStoreAccess {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Created> {
        const CREATE: &str = "create object";
        let name = name(CREATE, path)?;
        match self.0.put_opts(&name, bytes.into(), PutOptions::from(PutMode::Create)).await {
            Ok(_) => Ok(Created::New),
            // A conflict (409) comes under the same error although that other request may fail yet: callers read back.
            Err(Refusal::AlreadyExists { .. } | Refusal::Precondition { .. } | Refusal::NotModified { .. }) => {
                Ok(Created::Exists)
            }
            Err(e @ (Refusal::NotImplemented { .. } | Refusal::NotSupported { .. })) => {
                Err(failed_write(CREATE, path, e)
                    .with_hint("turn on conditional puts where the store is built, or use another store"))
            }
            Err(e) => Err(failed_write(CREATE, path, e)),
        }
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        const PUT: &str = "put object";
        let put = self.0.put_opts(&name(PUT, path)?, bytes.into(), PutOptions::default()).await;
        put.map(|_| ()).map_err(|e| failed_write(PUT, path, e))
    }

    async fn upload(&self, path: &ObjectPath) -> Result<Box<dyn Upload>> {
        let name = name("upload object", path)?;
        Ok(Box::new(ObjectUpload::new(Arc::clone(&self.0), path.clone(), name)))
    }

    async fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        const GET: &str = "get object";
        let name = name(GET, path)?;
        let empty = range.as_ref().is_some_and(|range| range.end <= range.start);
        let answer = if empty {
            self.0.head(&name).await.map(|_| Bytes::new())
        } else {
            let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
            match self.0.get_opts(&name, options).await {
                Ok(found) => found.bytes().await,
                Err(e) => Err(e),
            }
        };
        match (answer, range) {
            (Ok(bytes), _) => Ok(Some(bytes)),
            (Err(e), _) if is_missing(&e) => Ok(None),
            // Stores refuse a range that begins behind the end, each in its own words.
            (Err(e), Some(range)) if !empty && may_be_behind(&e, range.start) => match self.0.head(&name).await {
                Ok(found) if range.start >= found.size => Ok(Some(Bytes::new())),
                Err(gone) if is_missing(&gone) => Ok(None),
                _ => Err(failed_read(GET, path, e)),
            },
            (Err(e), _) => Err(failed_read(GET, path, e)),
        }
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectInfo>> {
        const LIST: &str = "list objects";
        let folder = Path::parse(prefix.as_str()).map_err(|e| failed_read(LIST, prefix, e.into()))?;
        let found: Vec<_> = self
            .0
            .list(Some(&folder))
            // What has another name than an object can have is not an object.
            .try_filter_map(|meta| async move {
                let path = ObjectPath::parse(meta.location.as_ref()).ok();
                let modified = Timestamp::from_micros(meta.last_modified.timestamp_micros());
                Ok(path.map(|path| ObjectInfo { path, size: meta.size, modified }))
            })
            .try_collect()
            .await
            .map_err(|e| failed_read(LIST, prefix, e))?;
        let mut found = found;
        found.retain(|info| info.path.is_below(prefix));
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn rename(&self, from: &ObjectPath, to: &ObjectPath) -> Result<bool> {
        const RENAME: &str = "rename object";
        let (old, new) = (name(RENAME, from)?, name(RENAME, to)?);
        // Deleting what was copied onto itself would lose it.
        let source = match self.0.head(&old).await {
            Ok(_) if from == to => return Ok(true),
            Ok(found) => found,
            // This answer has no body: whether the object is missing, or the bucket, is said by one that has.
            Err(e) if is_missing(&e) => match self.get(from, Some(0..1)).await? {
                None => return Ok(false),
                Some(_) => return Err(failed_read(RENAME, from, e)),
            },
            Err(e) => return Err(failed_read(RENAME, from, e)),
        };
        let replaced = match self.0.head(&new).await {
            Ok(found) => Some(found),
            Err(e) if is_missing(&e) => None,
            Err(e) => return Err(failed_read(RENAME, to, e)),
        };
        match self.0.copy(&old, &new).await {
            Ok(()) => {}
            Err(e) if is_missing(&e) => return Ok(false),
            Err(e) => return Err(failed_write(RENAME, to, e)),
        }
        let copied = match self.0.head(&new).await {
            Ok(copied) => Some(copied),
            Err(e) if is_missing(&e) => None,
            Err(e) => return Err(failed_write(RENAME, to, e)),
        };
        if !copied.as_ref().is_some_and(|copied| is_copy(&source, replaced.as_ref(), copied)) {
            return Err(Error::unavailable(RENAME, "the store answered, and did not copy; the old name stays")
                .with("name", to)
                .with("size", source.size)
                .with("copied", copied.map_or(0, |copied| copied.size)));
        }
        match self.0.delete(&old).await {
            Ok(()) => Ok(true),
            Err(e) if is_missing(&e) => Ok(true),
            // The object has both names now, for sure or perhaps.
            Err(e) => {
                match failed_write("delete object", from, e) {
                    refused if matches!(refused.kind(), ErrorKind::Auth | ErrorKind::Config) => Err(refused),
                    doubt => Err(Error::new(ErrorKind::Ambiguous, RENAME, "copied, and the old name may be left")
                        .with_source(doubt)),
                }
            }
        }
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        const DELETE: &str = "delete object";
        match self.0.delete(&name(DELETE, path)?).await {
            Ok(()) => Ok(()),
            Err(e) if is_missing(&e) => Ok(()),
            Err(e) => Err(failed_write(DELETE, path, e)),
        }
    }
}

/// Whether what is now under the new name comes from the copy. S3 may answer 200 and say in the body that it failed, which the
/// client does not always see: then what was there before is there still, perhaps of the same size.
fn is_copy(source: &ObjectMeta, replaced: Option<&ObjectMeta>, found: &ObjectMeta) -> bool {
    let same_content = source.e_tag.is_some() && source.e_tag == found.e_tag;
    let is_new = replaced.is_none_or(|old| {
        (&old.e_tag, old.last_modified, &old.version) != (&found.e_tag, found.last_modified, &found.version)
    });
    found.size == source.size && (same_content || is_new)
}

fn name(operation: &'static str, path: &ObjectPath) -> Result<Path> {
    if *path == ObjectPath::root() {
        return Err(Error::config(operation, "not a name for an object").with("name", path));
    }
    // Taken as it is: `Path::from` would encode `%` again.
    Path::parse(path.as_str()).map_err(|e| failed_read(operation, path, e.into()))
}
