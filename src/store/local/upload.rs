use super::LocalStore;
use super::files::TempFile;
use crate::error::{Error, Result};
use crate::store::{ObjectPath, Upload};
use async_trait::async_trait;
use bytes::Bytes;

/// Small writes are gathered up to this many bytes, so that not each of them goes to another thread.
const GATHERED: usize = 256 * 1024;

/// Bytes on their way into a temporary file.
pub(super) struct LocalUpload {
    store: LocalStore,
    path: ObjectPath,
    /// `None` while a write is under way, and ever after one that failed or was dropped.
    temp: Option<TempFile>,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    size: u64,
}

impl LocalUpload {
    pub(super) fn new(store: LocalStore, path: ObjectPath, temp: TempFile) -> Self {
        Self { store, path, temp: Some(temp), gathered: Vec::new(), gathered_bytes: 0, size: 0 }
    }

    async fn flush(&mut self) -> Result<TempFile> {
        const UPLOAD: &str = "upload object";
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let Some(mut temp) = self.temp.take() else {
            return Err(Error::bug(UPLOAD, "an earlier write failed or was cancelled").with("name", &self.path));
        };
        self.store
            .run(UPLOAD, move |_| {
                for bytes in &gathered {
                    temp.write(UPLOAD, bytes)?;
                }
                Ok(temp)
            })
            .await
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= GATHERED {
            self.temp = Some(self.flush().await?);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        const FINISH: &str = "finish upload";
        let mut temp = self.flush().await?;
        let path = self.path.clone();
        self.store
            .run(FINISH, move |files| {
                temp.sync(FINISH)?;
                files.publish(FINISH, temp, &path)
            })
            .await?;
        Ok(self.size)
    }
}
