use super::lane::{Lane, Shared};
use super::options::Options;
use super::partition::{Key, Partitioning};
use super::schema::{StoredColumn, columns_of, file_rows, file_schema};
use super::sort::Order;
use super::{FileNames, Written};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::{ObjectPath, Store};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches that wait for a lane: it encodes all that are there in one go.
const WAITING: usize = 4;

type Files = Vec<(u64, Written)>;
type Queue = mpsc::Sender<(Key, RecordBatch)>;

/// Says whether an epoch with these columns, split by these, may be staged.
pub(crate) type Admit = Arc<dyn Fn(&[StoredColumn], &[StoredColumn]) -> Result<()> + Send + Sync>;

/// Stages the files of one epoch.
///
/// Lanes encode side by side, each with files of its own. A batch without partitions goes to the first lane that has room,
/// so that little data makes few files; rows of a partition always go to the same lane.
pub(crate) struct FileWriter {
    store: Store,
    folder: ObjectPath,
    options: Options,
    names: Arc<dyn FileNames>,
    env: Env,
    admit: Admit,
    running: Option<Running>,
    /// After an error the epoch is incomplete: nothing may be staged of it.
    failed: bool,
    /// The lanes; they are stopped if the writer is dropped.
    tasks: JoinSet<Result<Files>>,
    staged_bytes: Vec<Arc<AtomicU64>>,
}

/// What was staged.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The files, in the order of their numbers.
    pub(crate) files: Vec<Written>,
    /// The columns in the files.
    pub(crate) columns: Vec<StoredColumn>,
    /// The columns that the files are split by.
    pub(crate) partition_by: Vec<StoredColumn>,
}

/// What is known with the first batch.
struct Running {
    schema: SchemaRef,
    /// The schema of the files, with the columns of their folders.
    files: SchemaRef,
    shared: Arc<Shared>,
    queues: Vec<Queue>,
}

impl FileWriter {
    pub(crate) fn new(
        store: Store,
        folder: ObjectPath,
        options: Options,
        names: Arc<dyn FileNames>,
        env: Env,
        admit: Admit,
    ) -> Self {
        Self {
            store,
            folder,
            options,
            names,
            env,
            admit,
            running: None,
            failed: false,
            tasks: JoinSet::new(),
            staged_bytes: Vec::new(),
        }
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
        let options = &self.options;
        let files = file_schema(&schema);
        let by = Partitioning::new(&files, &options.partition_by)?;
        (self.admit)(&columns_of(by.rest.fields()), &by.columns)?;
        let (mut properties, mut lane_memory, mut order) =
            (options.writer_properties(), options.row_group_bytes.saturating_mul(2), None);
        if !options.sort_by.is_empty() {
            let by = Order::new(&by.rest, &options.sort_by)?;
            properties = properties.into_builder().set_sorting_columns(Some(by.footer.clone())).build();
            lane_memory = lane_memory.saturating_add(options.sort_bytes);
            order = Some((Arc::new(by), options.sort_bytes));
        }
        let lanes = options.lanes.unwrap_or_else(|| self.env.cores()).max(1);
        let shared = Arc::new(Shared {
            env: self.env.clone(),
            store: self.store.clone(),
            folder: self.folder.clone(),
            names: Arc::clone(&self.names),
            by,
            properties,
            order,
            target_file_bytes: options.target_file_bytes,
            lane_memory,
            open_files: (options.open_files / lanes).max(1),
            most_files: options.most_files,
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

    /// Stages rows. Waits for room.
    pub(crate) async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.refuse_after_error()?;
        // Dropped or failed halfway, it stays set.
        self.failed = true;
        self.write_rows(rows).await?;
        self.failed = false;
        Ok(())
    }

    /// Bytes staged so far, an estimate; the greatest number if the epoch should end because of its many files.
    pub(crate) fn staged_bytes(&self) -> u64 {
        // Files are limited too: an epoch that has many of them is as full as one of many bytes.
        if self.running.as_ref().is_some_and(|running| running.shared.is_full()) {
            return u64::MAX;
        }
        self.staged_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Completes the files. `None` if there are no rows.
    pub(crate) async fn finish(mut self) -> Result<Option<Finished>> {
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
        Ok(Some(Finished {
            files: files.into_iter().map(|(_, written)| written).collect(),
            columns: columns_of(shared.by.rest.fields()),
            partition_by: shared.by.columns.clone(),
        }))
    }
}

impl Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("folder", &self.folder).finish_non_exhaustive()
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
