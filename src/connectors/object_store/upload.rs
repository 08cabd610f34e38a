use super::fault::failed_write;
use crate::error::{Error, Result};
use crate::store::{ObjectPath, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as Refusal, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

/// The size of every part but the last: stores ask for at least 5 MiB, some for equal ones.
const PART: usize = 8 * 1024 * 1024;
/// Parts on their way at the same time.
const PARTS: usize = 4;

/// Bytes on their way in parts, or in one put if they do not fill one.
pub(super) struct ObjectUpload {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
    name: Path,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    multipart: Option<Box<dyn MultipartUpload>>,
    /// They go on while the caller makes the next bytes; dropping the set ends them.
    parts: JoinSet<object_store::Result<()>>,
    size: u64,
    /// Set while a write is under way, and for good if it failed or was dropped.
    broken: bool,
}

const UPLOAD: &str = "upload object";
const FINISH: &str = "finish upload";

impl ObjectUpload {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, path: ObjectPath, name: Path) -> Self {
        Self {
            objects,
            path,
            name,
            gathered: Vec::new(),
            gathered_bytes: 0,
            multipart: None,
            parts: JoinSet::new(),
            size: 0,
            broken: false,
        }
    }

    fn start(&mut self, operation: &'static str) -> Result<()> {
        if self.broken {
            return Err(Error::bug(operation, "an earlier write failed or was cancelled").with("name", &self.path));
        }
        self.broken = true;
        Ok(())
    }

    /// Sends what is gathered, when there is room for another part.
    async fn send(&mut self) -> Result<()> {
        if self.parts.len() >= PARTS {
            self.join_one().await?;
        }
        let payload = self.gathered();
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let begun = self.objects.put_multipart(&self.name).await;
                none.insert(begun.map_err(|e| nothing_seen(UPLOAD, &self.path, e))?)
            }
        };
        self.parts.spawn(multipart.put_part(payload));
        Ok(())
    }

    async fn join_one(&mut self) -> Result<()> {
        match self.parts.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(nothing_seen(UPLOAD, &self.path, e)),
            Some(Err(e)) => Err(ended(e)),
        }
    }

    fn gathered(&mut self) -> PutPayload {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered).into_iter().collect()
    }
}

#[async_trait]
impl Upload for ObjectUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.start(UPLOAD)?;
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PART - self.gathered_bytes));
            self.gathered_bytes += piece.len();
            self.gathered.push(piece);
            if self.gathered_bytes == PART {
                self.send().await?;
            }
        }
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.start(FINISH)?;
        if self.multipart.is_none() {
            let payload = self.gathered();
            let put = self.objects.put(&self.name, payload).await;
            put.map_err(|e| failed_write(FINISH, &self.path, e))?;
            return Ok(self.size);
        }
        if self.gathered_bytes > 0 {
            self.send().await?;
        }
        while !self.parts.is_empty() {
            self.join_one().await?;
        }
        if let Some(multipart) = &mut self.multipart {
            multipart.complete().await.map_err(|e| failed_write(FINISH, &self.path, e))?;
        }
        Ok(self.size)
    }
}

/// An error from before the upload could be seen.
fn nothing_seen(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    super::fault::failed_read(operation, path, e)
}

fn ended(e: JoinError) -> Error {
    if e.is_panic() { Error::bug(UPLOAD, "the store panicked").with_source(e) } else { Error::cancelled(UPLOAD) }
}
