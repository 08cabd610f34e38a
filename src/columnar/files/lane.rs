//! A lane encodes batches beside other lanes: it has files of its own, and a queue of one batch.

use super::dictionary;
use super::file::OpenFile;
use super::partition::{Key, Partitioning};
use super::sort::{Order, Run};
use super::{FileNames, Written};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::{ObjectPath, Store};
use arrow::array::RecordBatch;
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Bytes of the longest name of an object. Stores take 1,024, less the prefix of the bucket that is in use.
const LONGEST_NAME: usize = 900;
/// Batches that are encoded in one go.
const MOST_TOGETHER: usize = 8;

/// What the lanes of one epoch share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) store: Store,
    /// All names are below it.
    pub(crate) folder: ObjectPath,
    pub(crate) names: Arc<dyn FileNames>,
    pub(crate) by: Partitioning,
    pub(crate) properties: WriterProperties,
    /// By what the rows of a file are sorted, and in how many bytes of memory at a time.
    pub(crate) order: Option<(Arc<Order>, u64)>,
    pub(crate) target_file_bytes: u64,
    /// Memory for row groups in progress and rows to be sorted, of one lane.
    pub(crate) lane_memory: u64,
    /// Files of one epoch; from half of them on it is to be cut.
    pub(crate) most_files: u64,
    /// Files open at the same time, in one lane.
    pub(crate) open_files: usize,
    pub(crate) lanes: u64,
    pub(crate) files: AtomicU64,
}

impl Shared {
    /// Whether the epoch should end soon, because it has many files.
    pub(crate) fn is_full(&self) -> bool {
        self.files.load(Ordering::Relaxed) >= self.most_files / 2
    }
}

pub(crate) struct Lane {
    shared: Arc<Shared>,
    number: u64,
    /// Files started so far.
    started: u64,
    /// Batches taken so far: tells which file was used last.
    turn: u64,
    open: HashMap<Key, Open>,
    done: Vec<(u64, Written)>,
    staged_bytes: Arc<AtomicU64>,
}

struct Open {
    number: u64,
    used: u64,
    file: OpenFile,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>, number: u64, staged_bytes: Arc<AtomicU64>) -> Self {
        Self { shared, number, started: 0, turn: 0, open: HashMap::new(), done: Vec::new(), staged_bytes }
    }

    /// Works until the queue is closed, then completes its files: each with its number within the epoch.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<(Key, RecordBatch)>) -> Result<Vec<(u64, Written)>> {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, MOST_TOGETHER).await > 0 {
            let mut parts = waiting.drain(..).peekable();
            while let Some((key, batch)) = parts.next() {
                let mut batches = vec![batch];
                while let Some((_, batch)) = parts.next_if(|(next, _)| *next == key) {
                    batches.push(batch);
                }
                self.write(key, batches).await?;
            }
            self.count();
        }
        let mut rest: Vec<_> = self.open.drain().collect();
        rest.sort_by_key(|(_, open)| open.number);
        for (key, open) in rest {
            self.finish(key, open).await?;
        }
        self.count();
        Ok(self.done)
    }

    async fn write(&mut self, key: Key, mut batches: Vec<RecordBatch>) -> Result<()> {
        self.turn += 1;
        while let Some(first) = batches.first() {
            // A file is out of the map while it is worked on: if that fails, the lane ends.
            let mut open = match self.open.remove(&key) {
                Some(open) => open,
                None => self.start(&key, first).await?,
            };
            open.used = self.turn;
            (open.file, batches) = open.file.write(&self.shared.env, batches, self.shared.target_file_bytes).await?;
            if open.file.size() >= self.shared.target_file_bytes {
                self.finish(key.clone(), open).await?;
            } else {
                self.open.insert(key.clone(), open);
            }
        }
        self.free_memory().await
    }

    async fn start(&mut self, key: &Key, first: &RecordBatch) -> Result<Open> {
        if self.open.len() >= self.shared.open_files {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone());
            if let Some((key, open)) = oldest.and_then(|key| self.open.remove_entry(&key)) {
                self.finish(key, open).await?;
            }
        }
        if self.shared.files.fetch_add(1, Ordering::Relaxed) >= self.shared.most_files {
            return Err(Error::data("stage parquet", "an epoch would have too many files")
                .with("limit", self.shared.most_files)
                .with("open_files", self.shared.open_files as u64 * self.shared.lanes)
                .with_hint(
                    "partition by columns with fewer values; or keep open as many files as there are partitions \
                     (`open_files`); or ask for smaller pages, if one of them alone has so many",
                ));
        }
        let number = self.started * self.shared.lanes + self.number;
        self.started += 1;
        let path = self.shared.folder.join(&self.shared.names.staged(&self.shared.by, key, number)?)?;
        self.check_name(key, number)?;
        let upload = self.shared.store.upload(&path).await?;
        let properties = dictionary::choose(&self.shared.properties, first);
        let run = self.shared.order.as_ref().map(|(order, most)| (Run::new(order), *most));
        let file = OpenFile::new(upload, &self.shared.by.rest, properties, run)?;
        Ok(Open { number, used: self.turn, file })
    }

    /// What is committed can only be moved to its place: so its name must be one that every store takes.
    fn check_name(&self, key: &Key, number: u64) -> Result<()> {
        let published = self.shared.names.published(&self.shared.by, key, number)?;
        let path = self.shared.folder.join(&published)?;
        if path.as_str().len() <= LONGEST_NAME {
            return Ok(());
        }
        Err(Error::data("stage parquet", "the values of a partition are too long for the name of a file")
            .with("bytes", path.as_str().len())
            .with("limit", LONGEST_NAME)
            .with_hint("refuse long values in a stage (`Validate::pattern`), or partition by other columns"))
    }

    async fn finish(&mut self, key: Key, open: Open) -> Result<()> {
        let Shared { env, names, by, .. } = &*self.shared;
        let (staged, path) = (names.staged(by, &key, open.number)?, names.published(by, &key, open.number)?);
        let (file, footer) = open.file.finish(env, staged, path, by.named(&key)).await?;
        self.done.push((open.number, Written { file, footer }));
        Ok(())
    }

    /// Ends the largest row groups in progress, until the lane is within its memory.
    async fn free_memory(&mut self) -> Result<()> {
        let mut held: u64 = self.open.values().map(|open| open.file.memory()).sum();
        while held > self.shared.lane_memory {
            let largest = self.open.iter().max_by_key(|(_, open)| open.file.memory()).map(|(key, _)| key.clone());
            let Some((key, mut open)) = largest.and_then(|key| self.open.remove_entry(&key)) else { break };
            let before = open.file.memory();
            open.file = open.file.flush(&self.shared.env).await?;
            let freed = before.saturating_sub(open.file.memory());
            self.open.insert(key, open);
            if freed == 0 {
                break;
            }
            held = held.saturating_sub(freed);
        }
        Ok(())
    }

    fn count(&self) {
        let done: u64 = self.done.iter().map(|(_, written)| written.file.bytes).sum();
        let open: u64 = self.open.values().map(|open| open.file.size()).sum();
        self.staged_bytes.store(done + open, Ordering::Relaxed);
    }
}
