//! What a load has made of the records of each partition and window: sums, of which each epoch adds a few.
//!
//! The newest sums are in the load's checkpoint, so they are committed with the epoch; those that are too many for it are in runs,
//! whose rows add up. Written description: docs/formats.md, "Accounts of a load".

use super::coverage::{key, of_key};
use super::table::{Cursor, Merge, Run, RunRef, Sorted, full_level, merge_runs, write_run};
use super::{CoverageReader, Landing};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Account, Coverage, LoadCounts, PartitionId, PipelineName, ShardKey, Window};
use crate::store::{ObjectPath, Store};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

/// Bytes of sums that a checkpoint holds itself. Tests reach it with few.
const INLINE_BYTES: usize = if cfg!(test) { 512 } else { 32 << 10 };

/// Bytes of sums in memory within an epoch.
const MEMORY_BYTES: usize = if cfg!(test) { 2 << 10 } else { 1 << 20 };

/// About what a sum takes besides its key.
const SUM_BYTES: usize = size_of::<LoadCounts>();

/// Where the sums of a load are, as its checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountRows {
    /// The newest sums.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rows: BTreeMap<String, LoadCounts>,
    /// Objects with the rest, oldest first: what is in several of them adds up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunRef>,
}

/// The sums of a load of a landing, as its owner keeps them: memory stays the same however many rows there are.
#[derive(Debug)]
pub(crate) struct Accounts {
    store: Store,
    folder: ObjectPath,
    generation: u64,
    memory: BTreeMap<String, LoadCounts>,
    bytes: usize,
    runs: Vec<RunRef>,
    /// Counts the runs that this owner has written.
    written: u32,
}

impl Accounts {
    /// The sums of `load`, which loads the landing of `shard`.
    pub(crate) fn new(landing: &Landing, shard: &ShardKey, load: &PipelineName) -> Result<Self> {
        Ok(Self {
            store: landing.store.clone(),
            folder: folder(landing, shard, load)?,
            generation: 0,
            memory: BTreeMap::new(),
            bytes: 0,
            runs: Vec::new(),
            written: 0,
        })
    }

    /// Goes on from what a checkpoint says, as the owner of this generation.
    pub(crate) fn restore(&mut self, generation: u64, rows: &AccountRows) {
        self.generation = generation;
        self.memory = rows.rows.clone();
        self.bytes = self.memory.keys().map(|key| key.len() + SUM_BYTES).sum();
        self.runs.clone_from(&rows.runs);
    }

    /// Adds what became of some records.
    pub(crate) fn add(&mut self, partition: &PartitionId, window: Option<&Window>, counts: &LoadCounts) -> Result<()> {
        let key = key(partition, window)?;
        match self.memory.get_mut(&key) {
            Some(sum) => sum.add(counts),
            None => {
                self.bytes += key.len() + SUM_BYTES;
                self.memory.insert(key, *counts);
            }
        }
        Ok(())
    }

    /// Makes room, if there are many sums in memory: within epoch `epoch`, which may never come to be.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn make_room(&mut self, env: &Env, epoch: u64) -> Result<()> {
        if self.bytes >= MEMORY_BYTES { self.flush(env, epoch).await } else { Ok(()) }
    }

    /// Where all sums are at the end of epoch `epoch`, for its checkpoint.
    ///
    /// # Errors
    /// Those of the store; `Corrupt` if what was written before is damaged.
    pub(crate) async fn save(&mut self, env: &Env, epoch: u64) -> Result<AccountRows> {
        if self.bytes >= INLINE_BYTES {
            self.flush(env, epoch).await?;
        }
        while let Some(first) = full_level(self.runs.iter()) {
            let mut runs = Vec::new();
            for run in self.runs.iter().skip(first) {
                runs.push(Run::open(&self.store, &self.folder, run.clone()).await?);
            }
            let how = (self.name(epoch), add_up as _, first == 0);
            let merged = merge_runs(env, &self.store, &self.folder, &runs, how).await?;
            self.runs.truncate(first);
            self.runs.push(merged.reference);
        }
        Ok(AccountRows { rows: self.memory.clone(), runs: self.runs.clone() })
    }

    async fn flush(&mut self, env: &Env, epoch: u64) -> Result<()> {
        let rows = self.memory.iter().map(|(key, sum)| Ok((key.clone(), to_text(sum)?))).collect::<Result<_>>()?;
        let name = self.name(epoch);
        let run = write_run(env, &self.store, &self.folder, Arc::new(rows), name).await?;
        self.runs.push(run.reference);
        self.memory.clear();
        self.bytes = 0;
        Ok(())
    }

    /// A run belongs to the epoch that it was written for, and to the owner: no other writes under this name.
    fn name(&mut self, epoch: u64) -> String {
        self.written += 1;
        format!("{epoch:020}-{:010}-{:06}.run", self.generation, self.written)
    }

    /// Deletes runs of epochs up to `newest` that its checkpoint, which says `rows`, does not name. What a listing misses is deleted
    /// another time.
    pub(crate) async fn collect(&self, rows: &AccountRows, newest: u64) -> Result<u64> {
        let needed: HashSet<&str> = rows.runs.iter().map(|run| run.name.as_str()).collect();
        let mut deleted = 0;
        for object in self.store.list(&self.folder).await? {
            let name = object.path.file_name();
            let number = name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
            if number.is_some_and(|number| number <= newest) && !needed.contains(name) {
                self.store.delete(&object.path).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

fn folder(landing: &Landing, shard: &ShardKey, load: &PipelineName) -> Result<ObjectPath> {
    landing.folder("accounts", shard).join(load.as_str())
}

fn to_text(sum: &LoadCounts) -> Result<Box<RawValue>> {
    to_raw_value(sum).map_err(|e| Error::bug("write accounts", "a sum does not serialise").with_source(e))
}

fn parse(text: &RawValue) -> Result<LoadCounts> {
    serde_json::from_str(text.get()).map_err(|e| Error::corrupt("read accounts", "a sum does not parse").with_source(e))
}

/// Two sums of one row.
fn add_up(older: Box<RawValue>, newer: Box<RawValue>) -> Result<Box<RawValue>> {
    let mut sum = parse(&older)?;
    sum.add(&parse(&newer)?);
    to_text(&sum)
}

/// Reads what is known of each partition and window of a pipeline: what its newest read brought, and what became of all its
/// records. Holds a few at a time, however many there are.
#[derive(Debug)]
pub struct AccountReader {
    shards: VecDeque<ShardReader>,
}

/// The coverage and the sums of a shard, both in the order of their keys.
#[derive(Debug)]
struct ShardReader {
    coverage: CoverageReader,
    covered: Option<(String, Coverage)>,
    loads: Merge,
    load: Option<(String, Box<RawValue>)>,
}

impl AccountReader {
    /// A reader of nothing yet.
    pub(crate) fn new() -> Self {
        Self { shards: VecDeque::new() }
    }

    /// Reads the landing of `shard` too, of which `load` has made what `rows` say.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged; those of the store.
    pub(crate) async fn add(
        &mut self,
        landing: &Landing,
        shard: &ShardKey,
        load: &PipelineName,
        rows: AccountRows,
        env: &Env,
    ) -> Result<()> {
        let folder = folder(landing, shard, load)?;
        let mut inputs = Vec::new();
        for run in rows.runs {
            let run = Run::open(&landing.store, &folder, run).await?;
            inputs.push(Sorted::Run(Cursor::at(run, "")));
        }
        let memory: Vec<_> =
            rows.rows.into_iter().map(|(key, sum)| Ok((key, to_text(&sum)?))).collect::<Result<_>>()?;
        inputs.push(Sorted::Memory(memory.into_iter()));
        // The landing is looked at last: it is never behind its load.
        let mut coverage = landing.coverage(shard, env).await?;
        let covered = coverage.next_row().await?;
        let mut loads = Merge::new(inputs, add_up);
        let load = loads.next().await?;
        self.shards.push_back(ShardReader { coverage, covered, loads, load });
        Ok(())
    }

    /// The next account, shard by shard, in the order of partitions and windows; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if a row is damaged, or if the pipeline has moved on so far that it is gone: begin again then. Those of the
    /// store.
    pub async fn next(&mut self) -> Result<Option<Account>> {
        while let Some(shard) = self.shards.front_mut() {
            if let Some(account) = shard.next().await? {
                return Ok(Some(account));
            }
            self.shards.pop_front();
        }
        Ok(None)
    }

    /// All of them, in memory: for tests and tools.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<Account>> {
        let mut all = Vec::new();
        while let Some(account) = self.next().await? {
            all.push(account);
        }
        Ok(all)
    }
}

impl ShardReader {
    async fn next(&mut self) -> Result<Option<Account>> {
        let key = match (&self.covered, &self.load) {
            (None, None) => return Ok(None),
            (Some((key, _)), None) | (None, Some((key, _))) => key.clone(),
            (Some((covered, _)), Some((load, _))) => covered.min(load).clone(),
        };
        let coverage = match self.covered.take_if(|(covered, _)| *covered == key) {
            Some((_, coverage)) => {
                self.covered = self.coverage.next_row().await?;
                Some(coverage)
            }
            None => None,
        };
        let load = match self.load.take_if(|(load, _)| *load == key) {
            Some((_, sum)) => {
                self.load = self.loads.next().await?;
                parse(&sum)?
            }
            None => LoadCounts::default(),
        };
        let (partition, window) = of_key(&key)?;
        Ok(Some(Account::new(partition, window, coverage, load)))
    }
}
