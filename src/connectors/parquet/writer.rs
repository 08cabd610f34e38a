use super::dataset::{Layout, ParquetDataset};
use crate::columnar::Batch;
use crate::columnar::files::{FileWriter, StagedFiles};
use crate::error::Result;
use crate::model::Reject;
use crate::sink::{EpochContext, StagedOutput, Writer};
use async_trait::async_trait;
use std::sync::Arc;

/// Stages one epoch of a [`ParquetDataset`].
///
/// Lanes encode side by side, each with files of its own. A batch of a dataset without partitions goes to the first
/// lane that has room, so that little data makes few files; rows of a partition always go to the same lane.
#[derive(Debug)]
pub struct ParquetWriter(FileWriter);

impl ParquetWriter {
    pub(super) fn new(dataset: ParquetDataset, context: EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, env, .. } = context;
        let layout = Layout { shard, generation, epoch, attempt };
        let (folder, options) = (dataset.folder.clone(), dataset.options.clone());
        let admit = Arc::new(move |columns: &[_], by: &[_]| dataset.admit(columns, by));
        Self(FileWriter::new(folder.store, folder.prefix, options, Arc::new(layout), env, admit))
    }
}

#[async_trait]
impl Writer for ParquetWriter {
    type Item = Batch;
    type Staged = StagedFiles;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        self.0.write(item.rows().clone()).await?;
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        self.0.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<StagedFiles>>> {
        let Some(finished) = self.0.finish().await? else { return Ok(None) };
        let files: Vec<_> = finished.files.into_iter().map(|written| written.file).collect();
        let (records, bytes) = (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes).sum());
        let staged = StagedFiles { files, columns: finished.columns, partition_by: finished.partition_by };
        Ok(Some(StagedOutput { staged, records, bytes }))
    }
}
