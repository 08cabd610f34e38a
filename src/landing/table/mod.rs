//! Rows that a landing keeps beside its pages: where each partition stands, and what is covered. What changed is in every
//! segment; in some segments is a base: the newest rows in memory, and the runs that hold the rest. So recovery reads a
//! bounded number of manifests, and memory stays the same however many rows there are. Written description: docs/formats.md,
//! "Table of rows".

mod filter;
#[cfg(any(test, feature = "testkit"))]
pub(in crate::landing) mod fuzz;
mod merge;
mod run;
#[cfg(test)]
mod tests;
mod view;

pub(super) use merge::{Merge, Sorted};
pub(super) use run::{Cursor, Run, RunRef, full_level, merge as merge_runs, write as write_run};
pub(super) use view::{Scan, View};

use super::Landing;
use super::manifest::{self, Base, Manifest, Place};
use crate::checkpoint::Record;
use crate::checkpoint::chain::{Chain, ChainReader};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ShardKey;
use crate::store::{ObjectPath, Store};
use futures::future::try_join_all;
use merge::newest;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A base is written with a segment when as many bytes have moved as there are in memory: few rows are in every segment,
/// and many cost at most twice. After this many segments it is written in any case.
const BASE_AFTER: u64 = 64;

/// Rows in memory that become a run. Tests reach it with few.
const MEMORY_BYTES: usize = if cfg!(test) { 32 << 10 } else { 1 << 20 };

pub(in crate::landing) type Row = (String, Box<RawValue>);
/// Values are JSON text, kept as it is.
pub(in crate::landing) type Rows = BTreeMap<String, Box<RawValue>>;

/// The rows of a shard, and how far back they are written down.
#[derive(Debug)]
pub(super) struct Table {
    shard: ShardKey,
    store: Store,
    /// The landing's folder of runs.
    folder: ObjectPath,
    generation: u64,
    view: View,
    /// The size of the rows in memory.
    memory_bytes: usize,
    /// The number of the newest segment with a base; 0 if there is none.
    base: u64,
    /// The size of the rows in it.
    base_bytes: usize,
    /// Segments after `base`.
    since: u64,
    /// The size of what moved in them.
    moved_bytes: usize,
    /// Whether there may be runs that are no longer needed.
    replaced: bool,
}

impl Table {
    /// Reads the rows back, from the newest segment to the newest one with a base.
    ///
    /// # Errors
    /// `Corrupt` if one of these segments, or a run that the base names, is missing or damaged.
    pub(super) async fn recover(
        landing: &Landing,
        shard: &ShardKey,
        history: History<'_>,
        newest: Option<Record>,
    ) -> Result<Self> {
        let view = View { memory: Arc::default(), runs: Vec::new(), cache: Arc::default() };
        let mut table = Self {
            shard: shard.clone(),
            store: landing.store.clone(),
            folder: landing.folder("positions", shard),
            generation: history.generation(),
            view,
            memory_bytes: 0,
            base: 0,
            base_bytes: 0,
            since: 0,
            moved_bytes: 0,
            replaced: false,
        };
        let mut deltas: Vec<Rows> = Vec::new();
        let mut next = newest;
        while let Some(record) = next {
            let place = Place { shard, segment: record.number };
            let (manifest, _) = manifest::parse(&record.payload, place)?;
            if deltas.is_empty() {
                table.base = manifest.base;
            }
            if manifest.base != table.base || record.number < table.base {
                return Err(place.damaged("segments disagree about where all positions are"));
            }
            if record.number == table.base {
                table.restore(&manifest, place).await?;
                break;
            }
            let moved = manifest.moved(place)?;
            table.moved_bytes += moved.iter().map(size).sum::<usize>();
            deltas.push(moved);
            next = match record.newest_data {
                Some(number) => Some(history.read(number).await?),
                None if table.base == 0 => None,
                None => return Err(place.damaged("no segment has all positions")),
            };
        }
        table.since = deltas.len() as u64;
        for delta in deltas.into_iter().rev() {
            table.moved(delta);
        }
        Ok(table)
    }

    async fn restore(&mut self, manifest: &Manifest, place: Place<'_>) -> Result<()> {
        let Some(base) = &manifest.table else {
            return Err(place.damaged("a segment should have all positions, and has not"));
        };
        let memory: Rows = manifest::parse_kept(&base.rows, place)?;
        self.memory_bytes = memory.iter().map(size).sum();
        self.base_bytes = self.memory_bytes;
        self.view.memory = Arc::new(memory);
        let runs = base.runs.iter().map(|run| Run::open(&self.store, &self.folder, run.clone()));
        self.view.runs = try_join_all(runs).await?;
        Ok(())
    }

    /// The rows as they are now.
    pub(super) fn view(&self) -> View {
        self.view.clone()
    }

    /// The number of the newest segment with a base; 0 if there is none. What is before it is not needed here.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Takes up rows that have changed.
    pub(super) fn moved(&mut self, rows: Rows) {
        let memory = Arc::make_mut(&mut self.view.memory);
        for row in rows {
            self.memory_bytes += size((&row.0, &row.1));
            let key_bytes = row.0.len();
            if let Some(before) = memory.insert(row.0, row.1) {
                self.memory_bytes -= key_bytes + before.get().len();
            }
        }
    }

    /// Takes up `moved`, which segment `number` says, and says in its manifest where all rows are; writes them down if it is
    /// time to.
    ///
    /// # Errors
    /// Those of the store, if it has refused a run for 64 segments after it had to be written.
    pub(super) async fn describe(
        &mut self,
        env: &Env,
        number: u64,
        moved: Rows,
        manifest: &mut Manifest,
    ) -> Result<()> {
        self.since += 1;
        self.moved_bytes += moved.iter().map(size).sum::<usize>();
        self.moved(moved);
        if self.since >= BASE_AFTER || self.moved_bytes >= self.base_bytes || self.memory_bytes >= MEMORY_BYTES {
            match self.write_base(env, number).await {
                Ok(base) => {
                    (self.base, self.base_bytes, self.since, self.moved_bytes) = (number, self.memory_bytes, 0, 0);
                    manifest.table = Some(base);
                }
                Err(e)
                    if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Ambiguous)
                        && self.since < 2 * BASE_AFTER =>
                {
                    tracing::warn!(shard = %self.shard, error = %e, "positions are written with the next segment");
                }
                Err(e) => return Err(e),
            }
        }
        manifest.base = self.base;
        Ok(())
    }

    /// Writes down where all rows are after segment `number`.
    async fn write_base(&mut self, env: &Env, number: u64) -> Result<Base> {
        if self.memory_bytes >= MEMORY_BYTES {
            let mut runs = self.view.runs.clone();
            let mut part = 0;
            let rows = Arc::clone(&self.view.memory);
            runs.push(write_run(env, &self.store, &self.folder, rows, self.name(number, part)).await?);
            while let Some(first) = full_level(runs.iter().map(|run| &run.reference)) {
                part += 1;
                let how = (self.name(number, part), newest as _, first == 0);
                let merged = merge_runs(env, &self.store, &self.folder, &runs[first..], how).await?;
                runs.truncate(first);
                runs.push(merged);
                self.replaced = true;
            }
            self.view.runs = runs;
            self.view.memory = Arc::default();
            self.memory_bytes = 0;
        }
        let memory = Arc::clone(&self.view.memory);
        let rows = env.cpu("write positions", move || to_raw_value(memory.as_ref())).await?;
        let rows = rows.map_err(|e| Error::bug("write positions", "positions do not serialise").with_source(e))?;
        Ok(Base { rows, runs: self.view.runs.iter().map(|run| run.reference.clone()).collect() })
    }

    /// A run belongs to the segment that first names it, and to the owner that writes it: no other writes under this name.
    fn name(&self, number: u64, part: u32) -> String {
        format!("{number:020}-{:010}-{part}.run", self.generation)
    }

    /// Deletes runs of segments up to `newest`, the newest that is landed, that its base does not name: nothing can be
    /// recovered from them. What a listing misses is deleted another time.
    pub(super) async fn collect(&mut self, newest: u64) -> Result<u64> {
        let needed: HashSet<&str> = self.view.runs.iter().map(|run| run.reference.name.as_str()).collect();
        let mut deleted = 0;
        for object in self.store.list(&self.folder).await? {
            let name = object.path.file_name();
            let number = name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
            if number.is_some_and(|number| number <= newest) && !needed.contains(name) {
                self.store.delete(&object.path).await?;
                deleted += 1;
            }
        }
        self.replaced = false;
        Ok(deleted)
    }

    /// Whether this owner has merged runs that are still there.
    pub(super) fn has_replaced(&self) -> bool {
        self.replaced
    }
}

/// The chain of segments that rows are recovered from.
#[derive(Clone, Copy, Debug)]
pub(super) enum History<'a> {
    Owned(&'a Chain),
    Read(&'a ChainReader),
}

impl History<'_> {
    async fn read(self, number: u64) -> Result<Record> {
        match self {
            Self::Owned(chain) => chain.read(number).await,
            Self::Read(chain) => chain.read(number).await?.ok_or_else(|| {
                Error::corrupt("read positions", "a segment that was landed is missing").with("segment", number)
            }),
        }
    }

    /// Who only reads writes no runs.
    fn generation(self) -> u64 {
        match self {
            Self::Owned(chain) => chain.generation(),
            Self::Read(_) => 0,
        }
    }
}

/// The value of a row that is not there any more: it hides older ones.
pub(super) fn gone() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

#[expect(clippy::borrowed_box, reason = "what iterating over a map of them gives")]
pub(super) fn is_gone(value: &Box<RawValue>) -> bool {
    value.get() == "null"
}

#[expect(clippy::borrowed_box, reason = "what iterating over a map of them gives")]
fn size((key, value): (&String, &Box<RawValue>)) -> usize {
    key.len() + value.get().len()
}

fn damaged(path: &ObjectPath, message: &'static str) -> Error {
    Error::corrupt("read positions", message).with("object", path)
}
