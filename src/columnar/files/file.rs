//! One Parquet file that is being written: encoded on a CPU thread, uploaded as its row groups are complete.

use super::{DataFile, TAIL, checksum};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::Upload;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The part that moves to a CPU thread and back.
struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    digest: Sha256,
    tail: Vec<u8>,
    bytes: u64,
}

impl Encoder {
    fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// What was encoded since the last call.
    fn drain(&mut self) -> Bytes {
        let encoded = std::mem::take(self.writer.inner_mut());
        self.digest.update(&encoded);
        self.bytes += encoded.len() as u64;
        let keep = encoded.len().saturating_sub(TAIL as usize);
        self.tail.extend_from_slice(encoded.get(keep..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(TAIL as usize));
        encoded.into()
    }
}

pub(crate) struct OpenFile {
    encoder: Box<Encoder>,
    upload: Box<dyn Upload>,
    rows: u64,
}

impl OpenFile {
    pub(crate) fn new(upload: Box<dyn Upload>, schema: &Arc<Schema>, properties: WriterProperties) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(failed)?;
        let encoder = Encoder { writer, digest: Sha256::new(), tail: Vec::new(), bytes: 0 };
        Ok(Self { encoder: Box::new(encoder), upload, rows: 0 })
    }

    /// Encodes rows until the file has `target` bytes, and uploads what is complete; gives back the batches that are left.
    /// After an error the file is useless.
    pub(crate) async fn write(
        self,
        env: &Env,
        batches: Vec<RecordBatch>,
        target: u64,
    ) -> Result<(Self, Vec<RecordBatch>)> {
        let Self { mut encoder, upload, mut rows } = self;
        let work = move || {
            let mut batches = batches.into_iter();
            for batch in batches.by_ref() {
                rows += batch.num_rows() as u64;
                encoder.writer.write(&batch)?;
                if encoder.size() >= target {
                    break;
                }
            }
            Ok((encoder.drain(), encoder, rows, batches.collect()))
        };
        let (encoded, encoder, rows, left) = env.cpu("encode parquet", work).await?.map_err(failed)?;
        Ok((Self { encoder, upload, rows }.upload(encoded).await?, left))
    }

    /// Ends the row group, so that its memory is free.
    pub(crate) async fn flush(self, env: &Env) -> Result<Self> {
        let Self { mut encoder, upload, rows } = self;
        let work = move || encoder.writer.flush().map(|()| (encoder.drain(), encoder));
        let (encoded, encoder) = env.cpu("encode parquet", work).await?.map_err(failed)?;
        Self { encoder, upload, rows }.upload(encoded).await
    }

    async fn upload(mut self, encoded: Bytes) -> Result<Self> {
        if !encoded.is_empty() {
            self.upload.write(encoded).await?;
        }
        Ok(self)
    }

    /// Memory held by the row group in progress, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.encoder.writer.memory_size() as u64
    }

    /// The size that the file has so far, in bytes; an estimate for the row group in progress.
    pub(crate) fn size(&self) -> u64 {
        self.encoder.size()
    }

    /// Completes the file, which is durable then, and invisible. Gives its footer too.
    pub(crate) async fn finish(
        self,
        env: &Env,
        staged: String,
        path: String,
        partition: BTreeMap<String, Option<String>>,
    ) -> Result<(DataFile, ParquetMetaData)> {
        let Self { mut encoder, mut upload, rows } = self;
        let work = move || encoder.writer.finish().map(|footer| (footer, encoder.drain(), encoder));
        let (footer, encoded, encoder) = env.cpu("encode parquet", work).await?.map_err(failed)?;
        upload.write(encoded).await?;
        let size = upload.finish().await?;
        let Encoder { digest, tail, bytes, .. } = *encoder;
        if size != bytes {
            return Err(Error::bug("stage parquet", "the store kept another size than was written")
                .with("file", staged)
                .with("written", bytes)
                .with("kept", size));
        }
        let sha256 = format!("{:x}", digest.finalize());
        Ok((DataFile { path, staged, rows, bytes, sha256, tail_crc32c: checksum(&tail), partition }, footer))
    }
}

fn failed(error: ParquetError) -> Error {
    Error::data("encode parquet", "the rows cannot be written as Parquet").with_source(error)
}
