use super::fault::{failed_write, is_missing};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ObjectPath, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as Refusal, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

/// The size of the first parts: stores ask for at least 5 MiB.
const PART: usize = 8 * 1024 * 1024;
/// Parts on their way at the same time, while they are small.
const PARTS: usize = 4;
/// How many parts are equal, as some stores (R2) ask for: they hold 31 GiB.
const EQUAL: usize = 4_000;
/// After how many parts more the size doubles. S3 takes 10,000 parts, which then hold more than its 5 TiB.
const DOUBLED_EACH: usize = 500;
/// How often: 2 GiB are a block that Azure takes, too.
const DOUBLINGS: usize = 8;

/// The size of the part after `sent` others, if it is not the last.
fn part_size(sent: usize) -> usize {
    PART << sent.checked_sub(EQUAL).map_or(0, |more| 1 + more / DOUBLED_EACH).min(DOUBLINGS)
}

/// Bytes on their way in parts, or in one put if they do not fill one.
pub(super) struct ObjectUpload {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
    name: Path,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    multipart: Option<Box<dyn MultipartUpload>>,
    /// How many parts were sent.
    sent: usize,
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
            sent: 0,
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
        // Large parts are sent one by one, or they would fill the memory.
        let room = (PARTS * PART / part_size(self.sent)).max(1);
        while self.parts.len() >= room {
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
        self.sent += 1;
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
            let part = part_size(self.sent);
            let piece = bytes.split_to(bytes.len().min(part - self.gathered_bytes));
            self.gathered_bytes += piece.len();
            self.gathered.push(piece);
            if self.gathered_bytes == part {
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
        // From here on it may be seen, and is not aborted.
        if let Some(mut multipart) = self.multipart.take() {
            multipart.complete().await.map_err(|e| not_finished(&self.path, e))?;
        }
        Ok(self.size)
    }
}

impl Drop for ObjectUpload {
    /// Tells the store to forget the parts, without waiting for it. If this fails too, a rule of the bucket has to.
    fn drop(&mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let mut parts = std::mem::take(&mut self.parts);
        let path = self.path.clone();
        runtime.spawn(async move {
            // A part that comes after the abort would stay.
            parts.shutdown().await;
            if let Err(error) = multipart.abort().await {
                let error = failed_write("abort upload", &path, error);
                tracing::debug!(%path, %error, "the parts of an upload that was given up stay in the store");
            }
        });
    }
}

/// An error of the last step. An earlier try of the same request may have done it: then the upload is there no more.
fn not_finished(path: &ObjectPath, e: Refusal) -> Error {
    if !is_missing(&e) {
        return failed_write(FINISH, path, e);
    }
    Error::new(ErrorKind::Ambiguous, FINISH, "the upload was finished by an earlier try, or ended by somebody else")
        .with("name", path)
}

/// An error from before the upload could be seen.
fn nothing_seen(operation: &'static str, path: &ObjectPath, e: Refusal) -> Error {
    super::fault::failed_read(operation, path, e)
}

fn ended(e: JoinError) -> Error {
    if e.is_panic() { Error::bug(UPLOAD, "the store panicked").with_source(e) } else { Error::cancelled(UPLOAD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let sizes = || (0..10_000).map(part_size);
        assert!(sizes().map(|size| size as u64).sum::<u64>() > 5 << 40);
        assert!(sizes().all(|size| (8 * MIB..=2048 * MIB).contains(&size)));
        assert!((0..4_000).all(|sent| part_size(sent) == 8 * MIB));
        assert_eq!([4_000, 4_499, 4_500, 9_999, usize::MAX].map(|n| part_size(n) / MIB), [16, 16, 32, 2048, 2048]);
    }
}
