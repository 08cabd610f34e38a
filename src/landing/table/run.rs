//! A run: rows sorted by key, in one immutable object. Written description: docs/formats.md, "Run of rows".

use super::filter::{Filter, key_hash};
use super::merge::{Fold, Merge, Sorted};
use super::{Row, Rows, damaged, is_gone};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::landing::block::unzstd;
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The format that this crate writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A block is closed when it has this many bytes. Tests need several with few rows.
const BLOCK_BYTES: usize = if cfg!(test) { 512 } else { 8 << 10 };

/// A block larger than this was never written: one row of it alone would not fit a segment's manifest.
const MAX_BLOCK_BYTES: usize = 1 << 30;

const COMPRESSION: i32 = 1;

/// Blocks that a cursor reads in one go.
const READ_AHEAD: usize = 64;

/// Names a run, and says where its index is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::landing) struct RunRef {
    /// Its name in the folder of runs.
    pub name: String,
    /// How often its rows were merged.
    pub level: u32,
    pub rows: u64,
    /// Where the index begins: the bytes before it are blocks.
    pub offset: u64,
    /// The length of the index.
    pub length: u64,
    /// XXH3-64 of the index.
    pub xxh3: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    filter: Filter,
    blocks: Vec<BlockEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockEntry {
    /// The key of its first row.
    first: String,
    offset: u64,
    stored: u64,
    raw: u64,
    /// XXH3-64 of the stored bytes.
    xxh3: u64,
}

/// Makes a run of rows that come in the order of their keys.
#[derive(Default)]
pub(super) struct RunEncoder {
    done: Vec<u8>,
    /// Bytes before `done` that were taken.
    taken: u64,
    block: Vec<u8>,
    first: String,
    index: Vec<BlockEntry>,
    filter: Filter,
    rows: u64,
}

impl RunEncoder {
    /// A run of so many rows, or fewer.
    pub(super) fn of(rows: u64) -> Self {
        Self { filter: Filter::for_keys(rows), ..Self::default() }
    }

    pub(super) fn row(&mut self, key: &str, value: &str) -> Result<()> {
        let too_large = |_| Error::bug("write positions", "a row is larger than 4 GiB");
        if self.block.is_empty() {
            key.clone_into(&mut self.first);
        }
        for length in [key.len(), value.len()] {
            self.block.extend_from_slice(&u32::try_from(length).map_err(too_large)?.to_le_bytes());
        }
        self.block.extend_from_slice(key.as_bytes());
        self.block.extend_from_slice(value.as_bytes());
        self.filter.insert(key_hash(key));
        self.rows += 1;
        if self.block.len() >= BLOCK_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let stored = zstd::bulk::compress(&self.block, COMPRESSION)
            .map_err(|e| Error::bug("write positions", "zstd refuses a block").with_source(e))?;
        self.index.push(BlockEntry {
            first: std::mem::take(&mut self.first),
            offset: self.taken + self.done.len() as u64,
            stored: stored.len() as u64,
            raw: self.block.len() as u64,
            xxh3: xxh3_64(&stored),
        });
        self.done.extend_from_slice(&stored);
        self.block.clear();
        Ok(())
    }

    /// Bytes that are ready.
    pub(super) fn ready(&self) -> usize {
        self.done.len()
    }

    pub(super) fn take(&mut self) -> Bytes {
        self.taken += self.done.len() as u64;
        std::mem::take(&mut self.done).into()
    }

    /// The rest of the bytes, and the reference to the run named `name`.
    pub(super) fn finish(mut self, name: String, level: u32) -> Result<(Bytes, RunRef)> {
        self.close()?;
        let offset = self.taken + self.done.len() as u64;
        let (rows, filter) = (self.rows, self.filter);
        let index = serde_json::to_vec(&Index { format: FORMAT, filter, blocks: self.index })
            .map_err(|e| Error::bug("write positions", "an index does not serialise").with_source(e))?;
        let (length, xxh3) = (index.len() as u64, xxh3_64(&index));
        self.done.extend_from_slice(&index);
        Ok((self.done.into(), RunRef { name, level, rows, offset, length, xxh3 }))
    }
}

/// A run that is there, with its index in memory: about a hundredth of its rows.
#[derive(Clone, Debug)]
pub(in crate::landing) struct Run {
    pub reference: RunRef,
    path: ObjectPath,
    store: Store,
    filter: Arc<Filter>,
    blocks: Arc<[BlockEntry]>,
}

impl Run {
    /// # Errors
    /// `Corrupt` if the object is missing or its index damaged; `Config` if a newer version wrote it.
    pub(in crate::landing) async fn open(store: &Store, folder: &ObjectPath, reference: RunRef) -> Result<Self> {
        let path = folder.join(&reference.name)?;
        let end =
            reference.offset.checked_add(reference.length).ok_or_else(|| damaged(&path, "an index is too large"))?;
        let index = store.get(&path, Some(reference.offset..end)).await?;
        let index = index.ok_or_else(|| damaged(&path, "a run of positions is missing"))?;
        if xxh3_64(&index) != reference.xxh3 {
            return Err(damaged(&path, "the index of a run of positions fails its checksum"));
        }
        let index: Index = super::super::manifest::read_versioned("read positions", &path, &index, FORMAT)?;
        Ok(Self { reference, path, store: store.clone(), filter: Arc::new(index.filter), blocks: index.blocks.into() })
    }

    /// The block that `key` is in, if it is in this run; `None` if it is not.
    pub(super) fn block_of(&self, key: &str, hash: u64) -> Option<usize> {
        if self.filter.may_have(hash) { self.block_at(key) } else { None }
    }

    /// The block that `key` would be in.
    fn block_at(&self, key: &str) -> Option<usize> {
        self.blocks.partition_point(|block| block.first.as_str() <= key).checked_sub(1)
    }

    /// Blocks `range`, verified.
    pub(super) async fn blocks(&self, range: Range<usize>) -> Result<Vec<Bytes>> {
        let entries = self.blocks.get(range).unwrap_or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        let end = last.offset.saturating_add(last.stored).min(self.reference.offset);
        let bytes = self.store.get(&self.path, Some(first.offset.min(end)..end)).await?;
        let bytes = bytes.ok_or_else(|| damaged(&self.path, "a run of positions is missing"))?;
        let unpack = |entry: &BlockEntry| {
            let offset = entry.offset.checked_sub(first.offset);
            let offset = offset.ok_or_else(|| damaged(&self.path, "the blocks of a run of positions do not ascend"))?;
            self.unpack(entry, offset, &bytes)
        };
        entries.iter().map(unpack).collect()
    }

    fn unpack(&self, entry: &BlockEntry, offset: u64, bytes: &Bytes) -> Result<Bytes> {
        let damaged = || damaged(&self.path, "a block of a run of positions is damaged").with("offset", entry.offset);
        let start = usize::try_from(offset).map_err(|_| damaged())?;
        let length = usize::try_from(entry.stored).map_err(|_| damaged())?;
        let stored = start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(damaged)?;
        let raw = usize::try_from(entry.raw).ok().filter(|raw| *raw <= MAX_BLOCK_BYTES).ok_or_else(damaged)?;
        if xxh3_64(stored) != entry.xxh3 {
            return Err(damaged());
        }
        let block = unzstd(stored, raw).map_err(|e| damaged().with("why", e))?;
        if block.len() == raw { Ok(block.into()) } else { Err(damaged()) }
    }

    /// The value of `key` in `block`, one of this run.
    pub(super) fn find(&self, block: &[u8], key: &str) -> Result<Option<Box<RawValue>>> {
        let mut rest = block;
        while !rest.is_empty() {
            let (found, value, after) = split(rest).ok_or_else(|| self.broken())?;
            if found == key {
                return self.value(value).map(Some);
            }
            rest = after;
        }
        Ok(None)
    }

    pub(super) fn rows(&self, block: &[u8]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut rest = block;
        while !rest.is_empty() {
            let (key, value, after) = split(rest).ok_or_else(|| self.broken())?;
            rows.push((key.to_owned(), self.value(value)?));
            rest = after;
        }
        Ok(rows)
    }

    fn value(&self, text: &str) -> Result<Box<RawValue>> {
        RawValue::from_string(text.to_owned()).map_err(|e| self.broken().with_source(e))
    }

    fn broken(&self) -> Error {
        damaged(&self.path, "a block of a run of positions does not parse")
    }
}

/// Merges `runs`, oldest first, into one of the next level, named `name`. Holds a few blocks of each. Rows that are gone are left
/// out if there are none before `runs`.
pub(in crate::landing) async fn merge(
    env: &Env,
    store: &Store,
    folder: &ObjectPath,
    runs: &[Run],
    (name, fold, are_oldest): (String, Fold, bool),
) -> Result<Run> {
    let level = runs.iter().map(|run| run.reference.level).max().unwrap_or(0) + 1;
    let mut rows = Merge::new(runs.iter().map(|run| Sorted::Run(Cursor::at(run.clone(), ""))), fold);
    let mut upload = store.upload(&folder.join(&name)?).await?;
    let mut run = RunEncoder::of(runs.iter().map(|run| run.reference.rows).sum());
    loop {
        let mut some = Vec::new();
        let mut more = true;
        while more && some.len() < ROWS_AT_ONCE {
            match rows.next().await? {
                Some((_, value)) if are_oldest && is_gone(&value) => {}
                Some(row) => some.push(row),
                None => more = false,
            }
        }
        run = env
            .cpu("merge positions", move || {
                some.iter().try_for_each(|(key, value)| run.row(key, value.get())).map(|()| run)
            })
            .await??;
        if !more {
            break;
        }
        if run.ready() >= WRITE_BYTES {
            upload.write(run.take()).await?;
        }
    }
    let (bytes, reference) = run.finish(name, level)?;
    upload.write(bytes).await?;
    upload.finish().await?;
    Run::open(store, folder, reference).await
}

/// Writes `rows` as a run named `name`.
pub(in crate::landing) async fn write(
    env: &Env,
    store: &Store,
    folder: &ObjectPath,
    rows: Arc<Rows>,
    name: String,
) -> Result<Run> {
    let encode = move || {
        let mut run = RunEncoder::of(rows.len() as u64);
        rows.iter().try_for_each(|(key, value)| run.row(key, value.get()))?;
        run.finish(name, 0)
    };
    let (bytes, reference) = env.cpu("write positions", encode).await??;
    store.put(&folder.join(&reference.name)?, bytes).await?;
    Run::open(store, folder, reference).await
}

/// Where the newest runs begin that are enough to be merged.
pub(in crate::landing) fn full_level<'a>(
    runs: impl DoubleEndedIterator<Item = &'a RunRef> + ExactSizeIterator,
) -> Option<usize> {
    let all = runs.len();
    let mut newest = runs.rev().map(|run| run.level).peekable();
    let level = *newest.peek()?;
    let same = newest.take_while(|other| *other <= level).count();
    (same >= FAN).then_some(all - same)
}

/// So many runs of a level become one of the next: each row is merged once per level.
const FAN: usize = 4;

/// Bytes of a run that are written in one go.
const WRITE_BYTES: usize = 1 << 20;

/// Rows that are encoded in one go.
const ROWS_AT_ONCE: usize = 4_096;

/// The first row of `rows`, and the rest.
fn split(rows: &[u8]) -> Option<(&str, &str, &[u8])> {
    let (key_length, rest) = rows.split_first_chunk::<4>()?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?, rest))
}

/// Goes through the rows of a run in order, a few blocks at a time.
#[derive(Debug)]
pub(in crate::landing) struct Cursor {
    run: Run,
    next: usize,
    unpacked: VecDeque<Bytes>,
    rows: VecDeque<Row>,
}

impl Cursor {
    /// A cursor at the block that `from` would be in: a few rows before it may come.
    pub(in crate::landing) fn at(run: Run, from: &str) -> Self {
        let next = run.block_at(from).unwrap_or(0);
        Self { run, next, unpacked: VecDeque::new(), rows: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            if self.unpacked.is_empty() {
                let end = self.next.saturating_add(READ_AHEAD).min(self.run.blocks.len());
                self.unpacked = self.run.blocks(self.next..end).await?.into();
                self.next = end;
            }
            let Some(block) = self.unpacked.pop_front() else { return Ok(None) };
            self.rows = self.run.rows(&block)?.into();
        }
    }
}
