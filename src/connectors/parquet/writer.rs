use super::commit::{DataFile, StagedFiles};
use super::dataset::{Layout, ParquetDataset};
use super::lane::{Lane, Shared};
use super::partition::{Key, Partitioning};
use super::schema::{columns_of, file_rows, file_schema};
use crate::columnar::Batch;
use crate::error::{Error, Result};
use crate::model::Reject;
use crate::sink::{EpochContext, StagedOutput, Writer};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::FutureExt;
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches that wait for a lane: it encodes all that are there in one go.
const WAITING: usize = 4;

type Files = Vec<(u64, DataFile)>;
type Queue = mpsc::Sender<(Key, RecordBatch)>;

/// Stages one epoch of a [`ParquetDataset`].
///
/// Lanes encode side by side, each with files of its own. A batch of a dataset without partitions goes to the first
/// lane that has room, so that little data makes few files; rows of a partition always go to the same lane.
pub struct ParquetWriter {
    dataset: ParquetDataset,
    context: EpochContext,
    running: Option<Running>,
    /// After an error the epoch is incomplete: nothing may be staged of it.
    failed: bool,
    /// The lanes; they are stopped if the writer is dropped.
    tasks: JoinSet<Result<Files>>,
    staged_bytes: Vec<Arc<AtomicU64>>,
}

/// What is known with the first batch.
struct Running {
    schema: SchemaRef,
    /// The schema of the files, with the columns of their folders.
    files: SchemaRef,
    shared: Arc<Shared>,
    queues: Vec<Queue>,
}

impl ParquetWriter {
    pub(super) fn new(dataset: ParquetDataset, context: EpochContext) -> Self {
        Self { dataset, context, running: None, failed: false, tasks: JoinSet::new(), staged_bytes: Vec::new() }
    }

    /// Stages rows.
    async fn write_rows(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.running.is_none() {
            self.running = Some(self.start(rows.schema())?);
        }
        let Some(running) = &self.running else { return Ok(()) };
        check_schema(&running.schema, rows.schema_ref())?;
        let shared = Arc::clone(&running.shared);
        let rows = if running.files == running.schema {
            rows
        } else {
            let files = Arc::clone(&running.files);
            shared.env.cpu("convert times", move || file_rows(&rows, &files)).await??
        };
        let parts = if shared.by.columns.is_empty() {
            vec![(Key::new(), rows)]
        } else {
            let splitting = Arc::clone(&shared);
            shared.env.cpu("split rows by partition", move || splitting.by.split(&rows)).await??
        };
        for part in parts {
            if self.dispatch(part).await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    fn start(&mut self, schema: SchemaRef) -> Result<Running> {
        let options = &self.dataset.options;
        let files = file_schema(&schema);
        let by = Partitioning::new(&files, &options.partition_by)?;
        self.dataset.admit(&columns_of(by.rest.fields()), &by.columns)?;
        let lanes = options.lanes.unwrap_or_else(|| self.context.env.cores()).max(1);
        let EpochContext { shard, generation, epoch, attempt, env, .. } = self.context.clone();
        let shared = Arc::new(Shared {
            env,
            store: self.dataset.folder.store.clone(),
            layout: Layout { prefix: self.dataset.folder.prefix.clone(), shard, generation, epoch, attempt },
            by,
            properties: options.writer_properties(),
            target_file_bytes: options.target_file_bytes,
            lane_memory: options.row_group_bytes.saturating_mul(2),
            open_files: (options.open_files / lanes).max(1),
            lanes: lanes as u64,
            files: AtomicU64::new(0),
        });
        let queues = (0..lanes as u64)
            .map(|number| {
                let (queue, batches) = mpsc::channel(WAITING);
                let bytes = Arc::new(AtomicU64::new(0));
                self.staged_bytes.push(Arc::clone(&bytes));
                self.tasks.spawn(Lane::new(Arc::clone(&shared), number, bytes).run(batches));
                queue
            })
            .collect();
        Ok(Running { schema, files, shared, queues })
    }

    /// Gives rows to a lane; waits for room. `Err` if a lane has ended.
    async fn dispatch(&self, part: (Key, RecordBatch)) -> Result<(), ()> {
        let queues = self.running.as_ref().map_or(&[][..], |r| &r.queues);
        if !part.0.is_empty() {
            let mut hasher = DefaultHasher::new();
            part.0.hash(&mut hasher);
            let lane = usize::try_from(hasher.finish() % queues.len() as u64).unwrap_or_default();
            let queue = queues.get(lane).ok_or(())?;
            return queue.send(part).await.map_err(drop);
        }
        for queue in queues {
            if let Ok(room) = queue.try_reserve() {
                room.send(part);
                return Ok(());
            }
        }
        let (room, ..) = futures::future::select_all(queues.iter().map(|q| q.reserve().boxed())).await;
        room.map_err(drop)?.send(part);
        Ok(())
    }

    fn refuse_after_error(&self) -> Result<()> {
        if self.failed {
            return Err(Error::bug("stage parquet", "an earlier write failed, so the epoch is not complete"));
        }
        Ok(())
    }

    /// Why a lane ended before its queue was closed.
    async fn failure(&mut self) -> Error {
        self.running = None;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = joined(ended) {
                return error;
            }
        }
        Error::bug("stage parquet", "a lane ended early")
    }
}

#[async_trait]
impl Writer for ParquetWriter {
    type Item = Batch;
    type Staged = StagedFiles;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        self.refuse_after_error()?;
        // Dropped or failed halfway, it stays set.
        self.failed = true;
        self.write_rows(item.rows().clone()).await?;
        self.failed = false;
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        // Files are limited too: an epoch that has many of them is as full as one of many bytes.
        if self.running.as_ref().is_some_and(|running| running.shared.is_full()) {
            return u64::MAX;
        }
        self.staged_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    async fn finish(mut self) -> Result<Option<StagedOutput<StagedFiles>>> {
        self.refuse_after_error()?;
        let Some(Running { shared, queues, .. }) = self.running.take() else {
            return Ok(None);
        };
        drop(queues);
        let mut files = Files::new();
        while let Some(ended) = self.tasks.join_next().await {
            files.extend(joined(ended)?);
        }
        files.sort_by_key(|(number, _)| *number);
        let files: Vec<_> = files.into_iter().map(|(_, file)| file).collect();
        let (records, bytes) = (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes).sum());
        let staged = StagedFiles {
            files,
            columns: columns_of(shared.by.rest.fields()),
            partition_by: shared.by.columns.clone(),
        };
        Ok(Some(StagedOutput { staged, records, bytes }))
    }
}

impl Debug for ParquetWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetWriter").field("context", &self.context).finish_non_exhaustive()
    }
}

fn joined(ended: Result<Result<Files>, tokio::task::JoinError>) -> Result<Files> {
    ended.map_err(|e| Error::bug("stage parquet", "a lane panicked").with_source(e))?
}

/// All batches of an epoch have the same columns.
fn check_schema(first: &SchemaRef, this: &SchemaRef) -> Result<()> {
    if Arc::ptr_eq(first, this) || first.fields() == this.fields() {
        return Ok(());
    }
    let differs = |a: &Schema, b: &Schema| {
        a.fields().iter().find(|f| b.field_with_name(f.name()).ok() != Some(&***f)).map(|f| f.name().clone())
    };
    let column = differs(first, this).or_else(|| differs(this, first));
    Err(Error::data("stage parquet", "the columns changed within an epoch")
        .with("column", column.unwrap_or_else(|| "their order".to_owned()))
        .with_hint("declare the schema, so that every batch has the same columns"))
}
