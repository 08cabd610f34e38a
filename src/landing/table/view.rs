use super::filter::key_hash;
use super::merge::{Merge, Sorted, newest};
use super::run::{Cursor, Run};
use super::{Row, Rows, is_gone};
use crate::error::Result;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of blocks that are kept for the next lookup.
const CACHE_BYTES: usize = if cfg!(test) { 4 << 10 } else { 8 << 20 };

/// The rows of a table at one moment: what happens to the table later does not change them.
#[derive(Clone, Debug)]
pub(in crate::landing) struct View {
    pub(super) memory: Arc<Rows>,
    /// Oldest first.
    pub(super) runs: Vec<Run>,
    pub(super) cache: Arc<BlockCache>,
}

impl View {
    /// The value of `key`. Reads one block of each run that may have it.
    ///
    /// # Errors
    /// `Corrupt` if a block is damaged or missing; those of the store.
    pub(in crate::landing) async fn get(&self, key: &str) -> Result<Option<Box<RawValue>>> {
        if let Some(value) = self.memory.get(key) {
            return Ok((!is_gone(value)).then(|| value.clone()));
        }
        let hash = key_hash(key);
        for run in self.runs.iter().rev() {
            let Some(number) = run.block_of(key, hash) else { continue };
            let block = match self.cache.get(&run.reference.name, number) {
                Some(block) => block,
                None => {
                    let Some(block) = run.blocks(number..number + 1).await?.pop() else { continue };
                    self.cache.insert(&run.reference.name, number, block.clone());
                    block
                }
            };
            if let Some(value) = run.find(&block, key)? {
                return Ok((!is_gone(&value)).then_some(value));
            }
        }
        Ok(None)
    }

    /// Bytes of blocks that are kept.
    #[cfg(test)]
    pub(in crate::landing) fn cached(&self) -> usize {
        self.cache.bytes()
    }

    /// Rows whose keys begin with `prefix`, in order. Holds a few blocks of each run.
    pub(in crate::landing) fn scan(&self, prefix: &str) -> Scan {
        let runs = self.runs.iter().map(|run| Sorted::Run(Cursor::at(run.clone(), prefix)));
        let memory = self.memory.range(prefix.to_owned()..).map(|(key, value)| (key.clone(), value.clone()));
        let memory: Vec<Row> = memory.take_while(|(key, _)| key.starts_with(prefix)).collect();
        let rows = Merge::new(runs.chain([Sorted::Memory(memory.into_iter())]), newest);
        Scan { rows, prefix: prefix.to_owned() }
    }
}

/// A walk through the rows of a view.
#[derive(Debug)]
pub(in crate::landing) struct Scan {
    rows: Merge,
    prefix: String,
}

impl Scan {
    pub(in crate::landing) async fn next(&mut self) -> Result<Option<Row>> {
        while let Some((key, value)) = self.rows.next().await? {
            if !key.starts_with(&self.prefix) {
                if key > self.prefix {
                    break;
                }
            } else if !is_gone(&value) {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }
}

/// Blocks that were read lately, within a bound.
#[derive(Debug, Default)]
pub(super) struct BlockCache(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    runs: HashMap<String, HashMap<usize, (Bytes, u64)>>,
    bytes: usize,
    /// Counts uses: the block whose last one is longest ago goes first.
    uses: u64,
}

impl BlockCache {
    fn get(&self, run: &str, block: usize) -> Option<Bytes> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.uses += 1;
        let now = held.uses;
        let (bytes, used) = held.runs.get_mut(run)?.get_mut(&block)?;
        *used = now;
        Some(bytes.clone())
    }

    fn insert(&self, run: &str, block: usize, bytes: Bytes) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.uses += 1;
        let now = held.uses;
        held.bytes += bytes.len();
        let replaced = held.runs.entry(run.to_owned()).or_default().insert(block, (bytes, now));
        held.bytes -= replaced.map_or(0, |(bytes, _)| bytes.len());
        while held.bytes > CACHE_BYTES {
            let blocks =
                held.runs.iter().flat_map(|(run, blocks)| blocks.iter().map(move |(n, (_, used))| (*used, run, *n)));
            let Some((_, run, block)) = blocks.min_by_key(|(used, ..)| *used).map(|(u, run, n)| (u, run.clone(), n))
            else {
                break;
            };
            let gone = held.runs.get_mut(&run).and_then(|blocks| blocks.remove(&block));
            held.bytes -= gone.map_or(0, |(bytes, _)| bytes.len());
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
