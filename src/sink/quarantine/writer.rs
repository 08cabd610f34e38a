use super::record;
use crate::error::Result;
use crate::model::{Reject, ShardKey};
use crate::store::{ObjectPath, Store, Upload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::{self, Debug};

/// Bytes held in memory before they are written on.
const SPILL: usize = 1 << 20;

/// Names the staged records of an epoch: goes into its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRef {
    /// Where the records are staged, below the quarantine's folder.
    pub staged: String,
    /// Where they are published, below the quarantine's folder.
    pub path: String,
    /// How many they are.
    pub records: u64,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// SHA-256 of the object, in hexadecimal digits.
    pub sha256: String,
}

/// Stages the rejected records of one epoch.
///
/// # Cancellation
/// May be dropped at any time: what it staged stays invisible, and is collected later.
pub struct QuarantineWriter {
    store: Store,
    shard: ShardKey,
    epoch: u64,
    object: ObjectPath,
    staged: String,
    path: String,
    pub(super) buffer: Vec<u8>,
    /// Bytes at which the buffer is written on.
    pub(super) spill_at: usize,
    upload: Option<Box<dyn Upload>>,
    digest: Sha256,
    records: u64,
    bytes: u64,
}

impl QuarantineWriter {
    pub(super) fn new(
        store: Store,
        prefix: &ObjectPath,
        shard: ShardKey,
        epoch: u64,
        staged: String,
        path: String,
    ) -> Result<Self> {
        let object = prefix.join(&staged)?;
        prefix.join(&path)?;
        Ok(Self {
            store,
            shard,
            epoch,
            object,
            staged,
            path,
            buffer: Vec::new(),
            spill_at: SPILL,
            upload: None,
            digest: Sha256::new(),
            records: 0,
            bytes: 0,
        })
    }

    /// Stages a record that `stage` refused. Holds up to 1 MiB in memory, and the largest record.
    ///
    /// # Errors
    /// Errors of the store. The epoch must not commit then.
    ///
    /// # Cancellation
    /// If dropped, the writer must be dropped too.
    pub async fn add(&mut self, stage: &str, reject: Reject) -> Result<()> {
        record::encode(&self.shard.pipeline, self.shard.shard, self.epoch, stage, &reject, &mut self.buffer)?;
        self.records += 1;
        if self.buffer.len() >= self.spill_at {
            self.spill().await?;
        }
        Ok(())
    }

    /// Records staged so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Makes the staged records durable. `None` if there were none.
    ///
    /// # Errors
    /// Errors of the store. The epoch must not commit then.
    pub async fn finish(mut self) -> Result<Option<QuarantineRef>> {
        if self.records == 0 {
            return Ok(None);
        }
        if self.upload.is_some() {
            self.spill().await?;
        }
        match self.upload.take() {
            Some(upload) => {
                upload.finish().await?;
            }
            None => {
                let bytes = self.take_buffer();
                self.store.put(&self.object, bytes).await?;
            }
        }
        Ok(Some(QuarantineRef {
            staged: self.staged,
            path: self.path,
            records: self.records,
            bytes: self.bytes,
            sha256: format!("{:x}", self.digest.finalize()),
        }))
    }

    async fn spill(&mut self) -> Result<()> {
        let bytes = self.take_buffer();
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.store.upload(&self.object).await?,
        };
        upload.write(bytes).await?;
        self.upload = Some(upload);
        Ok(())
    }

    fn take_buffer(&mut self) -> bytes::Bytes {
        self.digest.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        std::mem::take(&mut self.buffer).into()
    }
}

impl Debug for QuarantineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantineWriter")
            .field("object", &self.object)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
