use super::dataset::{Layout, ParquetDataset};
use crate::columnar::files::transform::{derive, refuse_unnameable};
use crate::columnar::files::{FileWriter, StagedFiles};
use crate::columnar::{Batch, Transform};
use crate::env::Env;
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
pub struct ParquetWriter {
    files: FileWriter,
    env: Env,
    partition_by: Vec<String>,
    transforms: Arc<[Transform]>,
    /// Whether there is something to commit without rows too.
    must_commit: bool,
}

impl ParquetWriter {
    pub(super) fn new(dataset: ParquetDataset, context: EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, must_commit, env, .. } = context;
        let layout = Layout { shard, generation, epoch, attempt };
        let (folder, options) = (dataset.folder.clone(), dataset.options.clone());
        let admit = Arc::new(move |columns: &[_], by: &[_]| dataset.admit(columns, by));
        let (partition_by, transforms) = (options.partition_by.clone(), options.transforms.clone().into());
        let files = FileWriter::new(folder.store, folder.prefix, options, Arc::new(layout), env.clone(), admit);
        Self { files, env, partition_by, transforms, must_commit }
    }
}

#[async_trait]
impl Writer for ParquetWriter {
    type Item = Batch;
    type Staged = StagedFiles;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        let mut rejects = Vec::new();
        let batch = if self.transforms.iter().any(Transform::is_derived) {
            let transforms = Arc::clone(&self.transforms);
            let work = move || {
                let mut rejects = Vec::new();
                derive(item, &transforms, &mut rejects).map(|batch| (batch, rejects))
            };
            let (batch, refused) = self.env.cpu("make partition columns", work).await??;
            rejects = refused;
            batch
        } else {
            item
        };
        let batch = refuse_unnameable(batch, &self.partition_by, &mut rejects)?;
        self.files.write(batch.rows().clone()).await?;
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        self.files.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<StagedFiles>>> {
        let Some(finished) = self.files.finish().await? else {
            let staged = StagedFiles { files: Vec::new(), columns: Vec::new(), partition_by: Vec::new() };
            return Ok(self.must_commit.then_some(StagedOutput { staged, records: 0, bytes: 0 }));
        };
        let files: Vec<_> = finished.files.into_iter().map(|written| written.file).collect();
        let (records, bytes) = (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes).sum());
        let staged = StagedFiles { files, columns: finished.columns, partition_by: finished.partition_by };
        Ok(Some(StagedOutput { staged, records, bytes }))
    }
}
