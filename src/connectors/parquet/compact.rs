//! Small files put together. Nothing that a commit says is changed: a record of its own says which files stand for which.

use super::compaction::{DatasetCompaction, Replacement};
use super::dataset::ParquetDataset;
use super::log::Folder;
use super::state::Files;
use crate::columnar::files::partition::{Key, Partitioning};
use crate::columnar::files::reading::{Rows, guarded};
use crate::columnar::files::schema::column_of;
use crate::columnar::files::sort::Order;
use crate::columnar::files::{DataFile, FileNames, FileWriter};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compacted, ShardKey};
use crate::store::Created;
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::errors::ParquetError;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Times that a compaction of a shard is tried, when others are at it at the same time.
const ATTEMPTS: usize = 10;

/// Files that one record replaces, at most: a record is read by every reader.
const MOST_REPLACED: usize = if cfg!(test) { 4 } else { 1_024 };

/// What came of an attempt to write a record.
pub(super) enum Recorded {
    /// It is there, under this number, with these replacements: those that nobody else had made.
    Done(u64, Vec<Replacement>),
    /// There is a barrier: what was staged before it may be gone.
    Barred,
}

impl ParquetDataset {
    /// Puts small files together: neighbours of one partition and one shard, of less than half of
    /// [`target_file_bytes`](Self::target_file_bytes) each. Rows, their order (but see below), epochs and marks stay as they are. Safe beside
    /// writers, readers and other compactions; the newest epoch of each shard is left alone. Files of very different sizes wait for
    /// more, so that a row is written again a few times only, however small the epochs are.
    ///
    /// Readers that follow the commits read the new files from now on. Those that list the folder read the old ones until a
    /// [`vacuum`](Self::vacuum) deletes them. Within a file rows are sorted anew where the dataset is [sorted](Self::sort_by).
    ///
    /// Holds the files of one group in memory, as they are stored: about `target_file_bytes`.
    ///
    /// # Errors
    /// `Corrupt` if a file is gone or damaged; `Unavailable` if others are in the way all the time; `Ambiguous` if it is not known whether a
    /// part of it is done: calling it again is safe. Those of the store.
    ///
    /// # Cancellation
    /// Dropped, a part of the groups is done. What is left over goes with a vacuum.
    pub async fn compact(&self, env: &Env) -> Result<Compacted> {
        self.probe(env).await?;
        let mut done = Compacted::default();
        for shard in self.folder.shards().await?.into_keys() {
            done = done.and(self.compact_shard(env, &shard).await?);
        }
        Ok(done)
    }

    pub(super) async fn compact_shard(&self, env: &Env, shard: &ShardKey) -> Result<Compacted> {
        let mut done = Compacted::default();
        for _ in 0..ATTEMPTS {
            // What is read now is older than all that is staged below: a barrier shows that comes in between.
            let mut files = self.remembered(shard);
            files.advance(&self.folder, shard).await?;
            let (groups, newest) = (small(&files, self.options.target_file_bytes), files.compaction);
            self.remember(shard, files);
            let (more, barred) = self.replace(env, shard, newest, groups).await?;
            done = done.and(more);
            if !barred {
                return Ok(done);
            }
        }
        Err(Error::unavailable("compact dataset", "others are in the way all the time").with("shard", shard))
    }

    /// Writes the files that stand for those of `groups`, and the records that say so. Tells too whether others are in the way.
    async fn replace(
        &self,
        env: &Env,
        shard: &ShardKey,
        mut newest: u64,
        groups: Vec<Vec<DataFile>>,
    ) -> Result<(Compacted, bool)> {
        let writer = env.nonce();
        let mut done = Compacted::default();
        let mut groups = groups.into_iter().enumerate().peekable();
        while groups.peek().is_some() {
            let (mut ready, mut sizes): (Vec<Replacement>, BTreeMap<String, u64>) = (Vec::new(), BTreeMap::new());
            while sizes.len() < MOST_REPLACED {
                let Some((number, group)) = groups.next() else { break };
                let made = match self.merge(env, shard, &format!("{writer}-{number:06}"), &group).await {
                    Ok(made) => made,
                    // Others may have replaced them, and a vacuum deleted them.
                    Err(e) if e.kind() == ErrorKind::Corrupt && self.is_replaced(shard, newest, &group).await? => {
                        continue;
                    }
                    Err(e) => return Err(e),
                };
                sizes.extend(group.into_iter().map(|file| (file.path, file.bytes)));
                ready.extend(made);
            }
            if ready.is_empty() {
                continue;
            }
            match self.folder.record(env, shard, newest, &writer, ready).await? {
                Recorded::Barred => return Ok((done, true)),
                Recorded::Done(number, made) => {
                    done = made.iter().fold(done, |done, group| done.and(report(group, &sizes)));
                    // Others have recorded meanwhile: what they have replaced is not to be replaced by the groups that are left.
                    let alone = number == newest + 1 && !made.is_empty();
                    if !alone && groups.peek().is_some() {
                        return Ok((done, true));
                    }
                    newest = number;
                }
            }
        }
        Ok((done, false))
    }

    /// Whether some of `files` were replaced after record `newest`.
    async fn is_replaced(&self, shard: &ShardKey, newest: u64, files: &[DataFile]) -> Result<bool> {
        let since = self.folder.compactions(shard, newest).await?;
        let replaced: HashSet<_> = since.iter().flat_map(|c| &c.groups).flat_map(|group| &group.replaces).collect();
        Ok(files.iter().any(|file| replaced.contains(&file.path)))
    }

    /// Files with the rows of `group`: one for those whose columns go together. A file that goes with no other stays.
    async fn merge(&self, env: &Env, shard: &ShardKey, name: &str, group: &[DataFile]) -> Result<Vec<Replacement>> {
        let mut parts: Vec<(SchemaRef, Vec<(&DataFile, Bytes)>)> = Vec::new();
        for file in group {
            let bytes = self.folder.bytes(file).await?;
            let schema = Arc::clone(opened(file, &bytes)?.schema());
            if let Some((columns, files)) = parts.last_mut() {
                if let Some(both) = together(columns, &schema) {
                    *columns = both;
                    files.push((file, bytes));
                    continue;
                }
            }
            parts.push((schema, vec![(file, bytes)]));
        }
        let mut made = Vec::new();
        for (number, (columns, files)) in parts.into_iter().enumerate() {
            if let ([(first, _), _, ..], replaces) = (&*files, files.iter().map(|(f, _)| f.path.clone()).collect()) {
                let names = Names {
                    shard: shard.clone(),
                    folders: first.path.rsplit_once('/').map_or_else(String::new, |(folders, _)| format!("{folders}/")),
                    name: format!("{name}-{number:04}"),
                };
                let partition = first.partition.clone();
                let mut written = self.write(env, names, &columns, files).await?;
                written.iter_mut().for_each(|file| file.partition.clone_from(&partition));
                made.push(Replacement { replaces, files: written });
            }
        }
        Ok(made)
    }

    async fn write(
        &self,
        env: &Env,
        names: Names,
        columns: &SchemaRef,
        files: Vec<(&DataFile, Bytes)>,
    ) -> Result<Vec<DataFile>> {
        let mut options = self.options.clone();
        options.partition_by.clear();
        options.transforms.clear();
        options.lanes = Some(1);
        // Files of before may lack a column, or have nothing but nulls in it: they wait for others that have it.
        if Order::new(columns, &options.sort_by).is_err() {
            options.sort_by.clear();
        }
        // The sizes were looked at before: no small rest.
        options.target_file_bytes = options.target_file_bytes.saturating_mul(2);
        let Folder { store, prefix } = self.folder.clone();
        let admit = Arc::new(|_: &[_], _: &[_]| Ok(()));
        let mut writer = FileWriter::new(store, prefix, options, Arc::new(names), env.clone(), admit);
        let expected: u64 = files.iter().map(|(file, _)| file.rows).sum();
        for (file, bytes) in files {
            let mut reader = opened(file, &bytes)?;
            loop {
                let (batch, rest) = env.cpu("decode parquet", move || (reader.next(), reader)).await?;
                reader = rest;
                let Some(batch) = batch else { break };
                writer.write(fit(file, batch, columns)?).await?;
            }
        }
        let finished = writer.finish().await?;
        let written: Vec<_> = finished.into_iter().flat_map(|f| f.files).map(|written| written.file).collect();
        let rows: u64 = written.iter().map(|file| file.rows).sum();
        if rows != expected {
            return Err(Error::corrupt("compact dataset", "files have other rows than their commits say")
                .with("rows", rows)
                .with("expected", expected));
        }
        Ok(written)
    }
}

/// What stands for what, in numbers.
fn report(group: &Replacement, sizes: &BTreeMap<String, u64>) -> Compacted {
    Compacted {
        files_before: group.replaces.len() as u64,
        files_after: group.files.len() as u64,
        bytes_before: group.replaces.iter().filter_map(|name| sizes.get(name)).sum(),
        bytes_after: group.files.iter().map(|file| file.bytes).sum(),
        rows: group.files.iter().map(|file| file.rows).sum(),
    }
}

/// Groups of small files that lie next to each other in their partition, each of about the size of a file.
fn small(held: &Files, target: u64) -> Vec<Vec<DataFile>> {
    let mut partitions: BTreeMap<_, Vec<DataFile>> = BTreeMap::new();
    // Those of the newest commit may still have their staged names.
    for (file, _) in held.files.iter().filter(|(_, commit)| *commit < held.sequence) {
        partitions.entry(&file.partition).or_default().push(file.clone());
    }
    let mut groups = Vec::new();
    for files in partitions.into_values() {
        let (mut group, mut size) = (Vec::new(), 0);
        for file in files {
            let is_small = file.bytes < target / 2;
            if !is_small || size + file.bytes > target {
                divide(std::mem::take(&mut group), &mut groups);
                size = 0;
            }
            if is_small {
                size += file.bytes;
                group.push(file);
            }
        }
        divide(group, &mut groups);
    }
    groups
}

/// A large file is not written again for the sake of a few small ones: those before it and those behind it are groups of their own.
/// So a row is written again as often as its file can grow by a third.
fn divide(mut group: Vec<DataFile>, groups: &mut Vec<Vec<DataFile>>) {
    let total: u64 = group.iter().map(|file| file.bytes).sum();
    let Some((at, largest)) = group.iter().map(|file| file.bytes).enumerate().max_by_key(|(_, bytes)| *bytes) else {
        return;
    };
    if largest.saturating_mul(4) <= total.saturating_mul(3) {
        groups.push(group);
        return;
    }
    // What is left is less than a quarter: this ends soon.
    let mut behind = group.split_off(at);
    behind.remove(0);
    divide(group, groups);
    divide(behind, groups);
}

/// The columns of files of both schemas; `None` if rows of one would not be the same with those of the other.
pub(super) fn together(one: &SchemaRef, other: &SchemaRef) -> Option<SchemaRef> {
    let mut fields: Vec<Field> = Vec::new();
    for field in one.fields() {
        let kept = match other.field_with_name(field.name()) {
            Err(_) => field.as_ref().clone().with_nullable(true),
            Ok(now) => {
                let nullable = field.is_nullable() || now.is_nullable();
                let kept = match (field.data_type(), now.data_type()) {
                    (was, is) if was == is => field.as_ref().clone(),
                    (DataType::Null, _) => now.clone(),
                    (_, DataType::Null) => field.as_ref().clone(),
                    // Other ways to keep the same values.
                    (was, _) if !was.is_nested() && column_of(field).kind == column_of(now).kind => {
                        field.as_ref().clone()
                    }
                    _ => return None,
                };
                kept.with_nullable(nullable)
            }
        };
        fields.push(kept);
    }
    let new = other.fields().iter().filter(|field| one.field_with_name(field.name()).is_err());
    fields.extend(new.map(|field| field.as_ref().clone().with_nullable(true)));
    Some(Arc::new(Schema::new(fields)))
}

/// The rows of a file, of which its commit says how many there are.
pub(super) fn opened(file: &DataFile, bytes: &Bytes) -> Result<Rows> {
    Rows::whole(bytes.clone(), file.rows).map_err(|e| damaged(file, e))
}

/// Rows of a file with the columns that the new one is to have.
pub(super) fn fit(
    file: &DataFile,
    rows: Result<RecordBatch, ParquetError>,
    columns: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = rows.map_err(|e| damaged(file, e))?;
    let failed =
        |e| Error::corrupt("compact dataset", "rows do not fit together").with("file", &file.path).with_source(e);
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let cast = || {
        let arrays = columns.fields().iter().map(|field| match rows.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast_with_options(column, field.data_type(), &exact).map_err(failed),
        });
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::clone(columns), arrays).map_err(failed)
    };
    guarded(cast, |e| damaged(file, e))
}

fn damaged(file: &DataFile, error: ParquetError) -> Error {
    Error::corrupt("compact dataset", "the rows of a file cannot be read").with("file", &file.path).with_source(error)
}

/// The names of files that stand for others. Each compaction has names of its own.
#[derive(Debug)]
struct Names {
    shard: ShardKey,
    folders: String,
    name: String,
}

impl FileNames for Names {
    fn staged(&self, _: &Partitioning, _: &Key, number: u64) -> Result<String> {
        let Self { shard, name, .. } = self;
        Ok(format!("_compacted/{}/{:04}/{name}-{number:04}.staged", shard.pipeline, shard.shard))
    }

    fn published(&self, _: &Partitioning, _: &Key, number: u64) -> Result<String> {
        let Self { shard, folders, name } = self;
        Ok(format!("{folders}{}-{:04}-compacted-{name}-{number:04}.parquet", shard.pipeline, shard.shard))
    }
}

impl Folder {
    /// Writes a record after number `newest`: what of `groups` nobody has replaced meanwhile.
    pub(super) async fn record(
        &self,
        env: &Env,
        shard: &ShardKey,
        newest: u64,
        writer: &str,
        groups: Vec<Replacement>,
    ) -> Result<Recorded> {
        self.append(env, shard, newest, writer, groups, false).await
    }

    /// Writes a barrier somewhere after number `newest`: files of compactions that are staged now are in a record before it, or
    /// never will be in one.
    pub(super) async fn bar(&self, env: &Env, shard: &ShardKey, newest: u64) -> Result<()> {
        self.append(env, shard, newest, &env.nonce(), Vec::new(), true).await.map(drop)
    }

    async fn append(
        &self,
        env: &Env,
        shard: &ShardKey,
        mut newest: u64,
        writer: &str,
        mut groups: Vec<Replacement>,
        is_barrier: bool,
    ) -> Result<Recorded> {
        for _ in 0..ATTEMPTS {
            if groups.is_empty() && !is_barrier {
                return Ok(Recorded::Done(newest, groups));
            }
            let record = DatasetCompaction {
                shard: shard.clone(),
                number: newest + 1,
                writer: writer.to_owned(),
                compacted_at: env.now(),
                groups: groups.clone(),
            };
            match self.store.create(&self.compaction_path(shard, record.number)?, record.encode()?).await {
                Ok(Created::New) => return Ok(Recorded::Done(record.number, groups)),
                // Another's, or an earlier try of ours: it is read.
                Ok(Created::Exists) => {}
                Err(e) if e.kind() == ErrorKind::Ambiguous => {}
                Err(e) => return Err(e),
            }
            for other in self.compactions(shard, newest).await? {
                newest = other.number;
                if other.writer == writer && other.groups == groups {
                    return Ok(Recorded::Done(newest, groups));
                }
                if other.is_barrier() && !is_barrier {
                    return Ok(Recorded::Barred);
                }
                let taken: HashSet<_> = other.groups.iter().flat_map(|group| &group.replaces).collect();
                groups.retain(|group| !group.replaces.iter().any(|name| taken.contains(name)));
            }
        }
        Err(Error::new(ErrorKind::Ambiguous, "compact dataset", "it is not known whether the compaction was recorded")
            .with("shard", shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the files in each group, of a dataset of one file in each epoch; the newest is not among `sizes`.
    fn grouped(sizes: &[u64], target: u64) -> Vec<Vec<u64>> {
        let file = |bytes: u64, number: usize| DataFile {
            path: number.to_string(),
            staged: String::new(),
            rows: 1,
            bytes,
            sha256: String::new(),
            tail_crc32c: String::new(),
            partition: BTreeMap::new(),
        };
        let files = sizes.iter().chain([&1]).zip(1..).map(|(bytes, number)| (file(*bytes, number as usize), number));
        let held = Files { files: files.collect(), sequence: sizes.len() as u64 + 1, compaction: 0 };
        small(&held, target).into_iter().map(|group| group.into_iter().map(|file| file.bytes).collect()).collect()
    }

    #[test]
    fn neighbours_go_together_up_to_the_size_of_a_file() {
        assert_eq!(grouped(&[10, 10, 10, 10, 10], 30), [vec![10, 10, 10], vec![10, 10]]);
        assert_eq!(grouped(&[10, 10, 500, 10, 10], 100), [vec![10, 10], vec![10, 10]]);
        assert!(grouped(&[10, 500, 10], 100).is_empty());
        assert!(grouped(&[], 100).is_empty());
    }

    #[test]
    fn a_large_file_waits_until_there_are_enough_small_ones_which_go_together_meanwhile() {
        assert_eq!(grouped(&[40, 1, 1, 1, 1], 100), [vec![1, 1, 1, 1]]);
        assert_eq!(grouped(&[1, 1, 40, 1, 1], 100), [vec![1, 1], vec![1, 1]]);
        assert_eq!(grouped(&[40, 10, 1, 1], 100), [vec![1, 1]]);
        assert_eq!(grouped(&[40, 10, 10], 100), [vec![40, 10, 10]]);
    }

    #[test]
    fn a_row_is_written_again_a_few_times_however_many_epochs_there_are() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for _ in 0..2_000 {
            sizes.extend([1]);
            for group in grouped(&sizes, 1 << 20) {
                let total: u64 = group.iter().sum();
                written += total;
                let at = sizes.windows(group.len()).position(|window| *window == *group).expect("its files");
                sizes.splice(at..at + group.len(), [total]);
            }
        }
        assert!(sizes.len() < 20, "{} files are left", sizes.len());
        assert!(written < 2_000 * 24, "{written} bytes were written for 2,000");
    }
}
