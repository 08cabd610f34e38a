//! Keys of more rows than memory should hold: parted by a hash, so that rows of one key are in one part, and each part fits. Parts
//! wait in the store while an epoch is committed, as files that are deleted then.

use super::actions::Add;
use super::file;
use super::keys::Keyed;
use super::log::Log;
use super::rewrite::with_column;
use super::staged::Names;
use super::table::DeltaTable;
use crate::columnar::files::options::Options;
use crate::columnar::files::partition::{Key, Partitioning};
use crate::columnar::files::{FileNames, FileWriter, Finished};
use crate::env::Env;
use crate::error::{Error, Result};
use arrow::array::{AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use futures::stream::{self, Stream};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Rows of which the keys are in memory at the same time.
pub(super) const MOST_KEYS: u64 = 1 << 20;

/// Rows of one bucket: so few in tests that there are several.
const OF_BUCKET: u64 = if cfg!(test) { 4 } else { MOST_KEYS };

const BUCKET: &str = "bucket";

/// The number of buckets for so many rows.
pub(super) fn count(rows: u64) -> u32 {
    u32::try_from(rows.div_ceil(OF_BUCKET)).unwrap_or(u32::MAX).max(1)
}

/// Keys on their way into buckets. One bucket alone stays in memory.
///
/// Rows of many buckets come mixed, and only so many files can be open. So they are parted in rounds: first into folders of several
/// buckets each, then each folder into smaller ones, until each holds one. A row is written again once for each round, and each folder
/// is few files.
pub(super) struct Filling {
    log: Log,
    env: Env,
    names: Names,
    count: u32,
    /// Folders of a round.
    folders: u32,
    /// Buckets in one folder of the first round.
    span: u32,
    memory: Vec<RecordBatch>,
    files: FileWriter,
}

/// Keys in buckets, each with its version and the place of its row.
#[derive(Debug)]
pub(super) struct Buckets {
    log: Log,
    pub(super) count: u32,
    memory: Vec<RecordBatch>,
    files: Vec<Add>,
}

/// A row of a bucket.
pub(super) struct Row<'a> {
    pub(super) key: &'a [u8],
    version: &'a [u8],
    pub(super) file: usize,
    pub(super) row: usize,
}

/// They say for which epoch, as those of the table do: a vacuum leaves them alone until it is committed.
#[derive(Debug)]
struct KeyNames(Names);

impl FileNames for KeyNames {
    fn staged(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        Ok(format!("_landfall/keys/{}", self.0.staged(by, key, number)?))
    }

    fn published(&self, by: &Partitioning, key: &Key, number: u64) -> Result<String> {
        self.staged(by, key, number)
    }
}

impl Filling {
    pub(super) fn new(table: &DeltaTable, env: &Env, names: Names, count: u32) -> Self {
        let log = table.log.clone();
        let folders = u32::try_from(table.options.open_files).unwrap_or(u32::MAX).max(2);
        let mut span = 1_u32;
        while span.saturating_mul(folders) < count {
            span *= folders;
        }
        let files = writer(&log, env, names.clone(), folders);
        Self { log, env: env.clone(), names, count, folders, span, memory: Vec::new(), files }
    }

    /// Adds the rows for which `wanted` says so; the first of them has the number `first` in file `file`.
    pub(super) async fn add(
        &mut self,
        keyed: &Keyed,
        file: usize,
        first: usize,
        batch: &RecordBatch,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let rows = {
            let (keys, _) = keyed.keys_of(batch)?;
            let versions = keyed.versions_of(batch)?;
            let numbers: Vec<usize> = (0..batch.num_rows()).filter(|row| wanted(*row)).collect();
            let folders = numbers.iter().map(|row| Some(folder(keys.row(*row).as_ref(), self.count, self.span)));
            let folders: Int32Array = folders.collect();
            let version = |row: usize| versions.as_ref().map_or_else(Vec::new, |v| v.row(row).as_ref().to_vec());
            let version: BinaryArray = numbers.iter().map(|row| Some(version(*row))).collect();
            let key = BinaryArray::from_iter_values(numbers.iter().map(|row| keys.row(*row)));
            let place = i32::try_from(file).map_err(|_| Error::bug("part keys", "too many files"))?;
            let file = Int32Array::from(vec![place; numbers.len()]);
            let row: Int64Array = numbers.iter().map(|row| i64::try_from(first + row).ok()).collect();
            RecordBatch::try_new(
                columns(),
                vec![Arc::new(folders), Arc::new(key), Arc::new(version), Arc::new(file), Arc::new(row)],
            )
            .map_err(|e| Error::bug("part keys", "the columns do not fit").with_source(e))?
        };
        if self.count == 1 {
            self.memory.push(rows);
            return Ok(());
        }
        self.files.write(rows).await
    }

    pub(super) async fn finish(self) -> Result<Buckets> {
        let Self { log, env, names, count, folders, mut span, memory, files } = self;
        let mut files = written(files).await?;
        while span > 1 {
            span /= folders;
            let mut smaller = Vec::new();
            for (number, larger) in by_folder(files).into_iter().enumerate() {
                let names = names.part(&format!("{span}x{number}"));
                let mut writer = writer(&log, &env, names, folders);
                let mut rows = rows_of(&log, larger.iter().collect()).boxed();
                while let Some(batch) = rows.try_next().await? {
                    writer.write(in_folders(batch, count, span)?).await?;
                }
                smaller.extend(written(writer).await?);
                delete(&log, &larger).await?;
            }
            files = smaller;
        }
        Ok(Buckets { log, count, memory, files })
    }
}

fn writer(log: &Log, env: &Env, names: Names, open_files: u32) -> FileWriter {
    let options = Options {
        partition_by: vec![BUCKET.to_owned()],
        lanes: Some(1),
        open_files: usize::try_from(open_files).unwrap_or(usize::MAX),
        most_files: u64::MAX,
        ..Options::default()
    };
    let (names, admit) = (Arc::new(KeyNames(names)), Arc::new(|_: &[_], _: &[_]| Ok(())));
    FileWriter::new(log.store.clone(), log.folder.clone(), options, names, env.clone(), admit)
}

/// The folder of a key, where there are `count` buckets, and `span` of them in one folder.
fn folder(key: &[u8], count: u32, span: u32) -> i32 {
    let bucket = xxh3_64(key) % u64::from(count);
    i32::try_from(bucket / u64::from(span)).unwrap_or_default()
}

/// The same rows in other folders.
fn in_folders(rows: RecordBatch, count: u32, span: u32) -> Result<RecordBatch> {
    let keys = rows.column_by_name("key").and_then(|keys| keys.as_binary_opt::<i32>());
    let keys = keys.ok_or_else(|| Error::bug("part keys", "a column is missing"))?;
    let folders: Int32Array = keys.iter().map(|key| Some(folder(key.unwrap_or_default(), count, span))).collect();
    with_column(&rows, BUCKET, Arc::new(folders))
}

async fn written(files: FileWriter) -> Result<Vec<Add>> {
    let files = files.finish().await?.map_or_else(Vec::new, |Finished { files, .. }| files);
    let add = |written: crate::columnar::files::Written| Add {
        path: file::uri(&written.file.staged),
        partition_values: written.file.partition,
        size: i64::try_from(written.file.bytes).unwrap_or(i64::MAX),
        ..Add::default()
    };
    Ok(files.into_iter().map(add).collect())
}

/// The files of each folder.
fn by_folder(files: Vec<Add>) -> Vec<Vec<Add>> {
    let mut folders: BTreeMap<_, Vec<Add>> = BTreeMap::new();
    for file in files {
        folders.entry(file.partition_values.clone()).or_default().push(file);
    }
    folders.into_values().collect()
}

async fn delete(log: &Log, files: &[Add]) -> Result<()> {
    for file in files {
        log.store.delete(&file::object(&log.folder, &file.path)?).await?;
    }
    Ok(())
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(BUCKET, DataType::Int32, true),
        Field::new("key", DataType::Binary, true),
        Field::new("version", DataType::Binary, true),
        Field::new("file", DataType::Int32, true),
        Field::new("row", DataType::Int64, true),
    ]))
}

/// The rows of files, one after the other.
fn rows_of<'a>(log: &'a Log, files: Vec<&'a Add>) -> impl Stream<Item = Result<RecordBatch>> + 'a {
    stream::iter(files).then(|file| async { file::rows(log, file, &columns()).await }).try_flatten()
}

impl Buckets {
    /// Gives each row of a bucket.
    pub(super) async fn each(&self, bucket: u32, mut take: impl FnMut(Row<'_>) + Send) -> Result<()> {
        let wanted = Some(bucket.to_string());
        let files = self.files.iter().filter(|file| file.partition_values.get(BUCKET) == Some(&wanted));
        let kept = self.memory.iter().filter(|_| bucket == 0).cloned().map(Ok);
        let mut batches = stream::iter(kept).chain(rows_of(&self.log, files.collect())).boxed();
        while let Some(batch) = batches.try_next().await? {
            let broken = || Error::bug("part keys", "a column is missing");
            let column = |name: &str| batch.column_by_name(name).ok_or_else(broken);
            let bytes = |name: &str| -> Result<BinaryArray> { Ok(column(name)?.as_binary::<i32>().clone()) };
            let (keys, versions) = (bytes("key")?, bytes("version")?);
            let files = column("file")?.as_primitive::<Int32Type>();
            let rows = column("row")?.as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                take(Row {
                    key: keys.value(row),
                    version: versions.value(row),
                    file: usize::try_from(files.value(row)).unwrap_or_default(),
                    row: usize::try_from(rows.value(row)).unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// The keys of a bucket.
    pub(super) async fn keys(&self, bucket: u32) -> Result<HashSet<Box<[u8]>>> {
        let mut keys = HashSet::new();
        self.each(bucket, |row| {
            if !keys.contains(row.key) {
                keys.insert(row.key.into());
            }
        })
        .await?;
        Ok(keys)
    }

    /// The newest row of each key, of files with so many rows.
    pub(super) async fn newest(&self, rows: &[u64]) -> Result<Marks> {
        let mut marks = Marks::none(rows);
        for bucket in 0..self.count {
            let mut newest: HashMap<Box<[u8]>, (Box<[u8]>, usize, usize)> = HashMap::new();
            self.each(bucket, |row| match newest.get_mut(row.key) {
                Some(held) if (&*held.0, held.1, held.2) > (row.version, row.file, row.row) => {}
                Some(held) => *held = (row.version.into(), row.file, row.row),
                None => {
                    newest.insert(row.key.into(), (row.version.into(), row.file, row.row));
                }
            })
            .await?;
            newest.into_values().for_each(|(_, file, row)| marks.set(file, row));
        }
        Ok(marks)
    }

    /// Deletes what waits in the store. What a crash leaves goes with a vacuum.
    pub(super) async fn delete(&self) -> Result<()> {
        delete(&self.log, &self.files).await
    }
}

/// Some rows of files: one bit for each.
pub(super) struct Marks {
    files: Vec<BooleanBufferBuilder>,
    /// Rows that are marked.
    pub(super) count: u64,
}

impl Marks {
    pub(super) fn none(rows: &[u64]) -> Self {
        let none = |rows: &u64| {
            let rows = usize::try_from(*rows).unwrap_or_default();
            let mut bits = BooleanBufferBuilder::new(rows);
            bits.append_n(rows, false);
            bits
        };
        Self { files: rows.iter().map(none).collect(), count: 0 }
    }

    /// Lets a file have so many rows at least.
    pub(super) fn grow(&mut self, file: usize, rows: usize) {
        if let Some(bits) = self.files.get_mut(file) {
            bits.append_n(rows.saturating_sub(bits.len()), false);
        }
    }

    pub(super) fn set(&mut self, file: usize, row: usize) {
        if let Some(bits) = self.files.get_mut(file).filter(|bits| row < bits.len() && !bits.get_bit(row)) {
            bits.set_bit(row, true);
            self.count += 1;
        }
    }

    /// Of each file which rows are marked.
    pub(super) fn finish(self) -> Vec<BooleanArray> {
        self.files.into_iter().map(|mut bits| BooleanArray::new(bits.finish(), None)).collect()
    }
}
