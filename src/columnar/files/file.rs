//! One Parquet file that is being written: encoded on a CPU thread, uploaded as its row groups are complete.

use super::sort::Run;
use super::{DataFile, TAIL, checksum};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::Upload;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
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
    /// Rows to be sorted, and the memory that they may take in bytes.
    run: Option<(Run, u64)>,
}

/// How much smaller rows are in a file than in memory: a guess, for those that were not encoded yet.
const SMALLER: usize = 4;

impl Encoder {
    fn size(&self) -> u64 {
        let waiting = self.run.as_ref().map_or(0, |(run, _)| run.held / SMALLER);
        (self.writer.bytes_written() + self.writer.in_progress_size() + waiting) as u64
    }

    fn memory(&self) -> u64 {
        let waiting = self.run.as_ref().map_or(0, |(run, _)| run.held);
        (self.writer.memory_size() + waiting) as u64
    }

    fn write(&mut self, batch: RecordBatch) -> parquet::errors::Result<()> {
        let Some((run, most)) = &mut self.run else { return self.writer.write(&batch) };
        run.push(batch);
        if run.held as u64 >= *most { self.end_run() } else { Ok(()) }
    }

    /// Encodes the rows that wait, in their order. What is sorted by itself has row groups of its own.
    fn end_run(&mut self) -> parquet::errors::Result<()> {
        let Some((run, _)) = &mut self.run else { return Ok(()) };
        if run.is_empty() {
            return Ok(());
        }
        let writer = &mut self.writer;
        run.sorted(|batch| writer.write(&batch).map_err(|e| ArrowError::ExternalError(Box::new(e))))?;
        self.writer.flush()
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
    pub(crate) fn new(
        upload: Box<dyn Upload>,
        schema: &Arc<Schema>,
        properties: WriterProperties,
        run: Option<(Run, u64)>,
    ) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(failed)?;
        let encoder = Encoder { writer, digest: Sha256::new(), tail: Vec::new(), bytes: 0, run };
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
                encoder.write(batch)?;
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
        let work = move || {
            encoder.end_run()?;
            encoder.writer.flush().map(|()| (encoder.drain(), encoder))
        };
        let (encoded, encoder) = env.cpu("encode parquet", work).await?.map_err(failed)?;
        Self { encoder, upload, rows }.upload(encoded).await
    }

    async fn upload(mut self, encoded: Bytes) -> Result<Self> {
        if !encoded.is_empty() {
            self.upload.write(encoded).await?;
        }
        Ok(self)
    }

    /// Memory held by the row group in progress and by rows that wait, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.encoder.memory()
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
        let work = move || {
            encoder.end_run()?;
            encoder.writer.finish().map(|footer| (footer, encoder.drain(), encoder))
        };
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
