use super::block::Packer;
use super::manifest::{Manifest, Place, keep};
use super::positions::LandedPositions;
use super::retention::removable;
use super::segment::{encode, set_origins};
use super::table::{History, Table};
use super::{Landing, Retention, coverage};
use crate::checkpoint::chain::{Chain, Opened};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Coverage, Incarnation, Page, PartitionId, PositionValue, ShardKey, StopReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What goes into the next segment.
#[derive(Debug, Default)]
pub struct SegmentDraft {
    /// Pages in the order of their arrival.
    pub pages: Vec<Page>,
    /// The newest position of each partition that moved.
    pub positions: BTreeMap<PartitionId, PositionValue>,
    /// What is covered, with the positions that follow from it: of each partition and window the newest counts.
    pub coverage: Vec<Coverage>,
    /// Partitions whose read ended.
    pub ended: Vec<PartitionEnd>,
    /// Partitions whose positions are dropped, unless `positions` has a new one.
    pub forgotten: Vec<PartitionId>,
    /// Whether, with this segment, this owner has landed everything that the source has: each partition from its beginning to
    /// a proven end.
    pub whole: bool,
}

/// How the read of a partition ended: part of its coverage record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionEnd {
    /// The partition.
    pub partition: PartitionId,
    /// Why the read ended.
    pub reason: StopReason,
    /// Pages landed in this read.
    pub pages: u64,
    /// Records landed in this read.
    pub records: u64,
}

/// A segment that is durable.
#[derive(Debug)]
pub struct LandedSegment {
    /// Its number.
    pub number: u64,
    /// Its pages, with their origin set.
    pub pages: Vec<Page>,
    /// Bytes written.
    pub stored_bytes: u64,
}

/// What the landing of a shard holds when it is opened.
#[derive(Clone, Debug)]
pub struct LandedState {
    /// Where each partition stands.
    pub positions: LandedPositions,
    /// The number of the newest segment or fence; the next one is written after it.
    pub newest: u64,
}

/// Appends segments to the landing of a shard, as its owner.
#[derive(Debug)]
pub struct LandingWriter {
    shard: ShardKey,
    chain: Chain,
    table: Table,
    retention: Retention,
    packer: Arc<Packer>,
    env: Env,
    /// False from the start of an append until it has succeeded.
    usable: bool,
}

impl LandingWriter {
    /// Takes over the landing of `shard`: fences older owners out and reads where each partition stands.
    ///
    /// # Errors
    /// As [`Chain::open`](crate::checkpoint::chain::Chain::open); `Corrupt` if positions are missing or damaged;
    /// `Config` if they were written by a newer version of this crate.
    pub async fn open(landing: &Landing, shard: &ShardKey, env: &Env) -> Result<(Self, LandedState)> {
        let (checkpoints, id) = landing.chain(shard);
        let Opened { chain, newest_data } = Chain::open(checkpoints, id, env.clone()).await?;
        let table = match Table::recover(landing, shard, History::Owned(&chain), newest_data).await {
            Ok(table) => table,
            Err(error) => return Err(chain.explain(error).await),
        };
        let positions = LandedPositions(table.view());
        let state = LandedState { positions, newest: chain.next_number().saturating_sub(1) };
        let writer = Self {
            shard: shard.clone(),
            chain,
            table,
            retention: Retention::new(landing, shard, env),
            packer: Arc::new(Packer::new(landing.compression)),
            env: env.clone(),
            usable: true,
        };
        Ok((writer, state))
    }

    /// The life of this landing: another one in its place has another.
    pub fn incarnation(&self) -> &Incarnation {
        self.chain.incarnation()
    }

    /// Makes pages and positions durable in one step. An empty draft is a segment too.
    ///
    /// # Errors
    /// As [`Chain::append`](crate::checkpoint::chain::Chain::append); `Data` if a body has more than 1 GiB; `Bug` if a
    /// position does not survive being written as JSON. After an error the writer must be dropped.
    ///
    /// # Cancellation
    /// If it is dropped, the segment may or may not be landed, and the writer must be dropped too.
    pub async fn append(&mut self, draft: SegmentDraft) -> Result<LandedSegment> {
        self.check_usable()?;
        if on(Defect::PositionBeforePages) && !draft.pages.is_empty() {
            let positions = draft.positions.clone();
            Box::pin(self.append(SegmentDraft { positions, ..SegmentDraft::default() })).await?;
        }
        self.usable = false;
        let SegmentDraft { mut pages, positions, coverage, ended, forgotten, whole } = draft;
        let number = self.chain.next_number();
        set_origins(number, &mut pages)?;
        let mut manifest = Manifest { forgotten, whole, ..Manifest::new(keep(&positions)?, keep(&ended)?) };
        if !coverage.is_empty() {
            manifest.coverage = Some(keep(&coverage)?);
        }
        let moved = manifest.moved(Place { shard: &self.shard, segment: number })?;
        if let Err(error) = self.table.describe(&self.env, number, moved, &mut manifest).await {
            // It reads runs, which a newer owner may have merged and deleted.
            return Err(self.chain.explain(error).await);
        }
        let (payload, pages) = encode(&self.env, &self.packer, pages, manifest).await?;
        let stored_bytes = payload.len() as u64;
        let landed = self.chain.append(payload).await?;
        if landed != number {
            return Err(Error::bug("land segment", "the chain gave another number than it announced")
                .with("announced", number)
                .with("given", landed));
        }
        self.usable = true;
        Ok(LandedSegment { number, pages, stored_bytes })
    }

    /// Forgets `partitions`, which are gone for good: where they stand, and what is covered of them. What was landed of them stays,
    /// until it is [collected](Self::collect). One that comes again after all is read from its beginning.
    ///
    /// # Errors
    /// As [`append`](Self::append), and its cancellation.
    pub async fn forget(&mut self, partitions: &[PartitionId]) -> Result<LandedSegment> {
        let mut coverage = Vec::new();
        for partition in partitions {
            let mut scan = self.table.view().scan(&coverage::keys_of(partition)?);
            while let Some((key, _)) = scan.next().await? {
                let (partition, window) = coverage::of_key(&key)?;
                coverage.push(Coverage { window, withdrawn: true, ..Coverage::of(partition, StopReason::Cancelled) });
            }
        }
        self.append(SegmentDraft { coverage, forgotten: partitions.to_vec(), ..SegmentDraft::default() }).await
    }

    /// Deletes segments that every load has committed, as far as they are not needed to recover positions; returns how
    /// many. Deletes nothing if no load is known. The newest segment with pages always stays.
    ///
    /// # Errors
    /// Those of the store; `Corrupt` if what a load has published is damaged. Calling it again goes on. After a failed
    /// append it does nothing.
    ///
    /// # Cancellation
    /// May be dropped at any await: call it again.
    pub async fn collect(&mut self) -> Result<u64> {
        self.check_usable()?;
        let retained = self.retention.retained().await?;
        if retained.is_none() {
            return Ok(0);
        }
        let removed = match removable(retained, self.table.base()) {
            0 => 0,
            through => self.chain.collect(through).await?,
        };
        Ok(removed + self.collect_runs().await?)
    }

    /// Deletes objects with positions that were merged into others in this life of the writer, whatever loads have done;
    /// returns how many.
    ///
    /// # Errors
    /// Those of the store. After a failed append it does nothing.
    ///
    /// # Cancellation
    /// May be dropped at any await: call it again.
    pub async fn collect_merged(&mut self) -> Result<u64> {
        self.check_usable()?;
        if self.table.has_replaced() { self.collect_runs().await } else { Ok(0) }
    }

    async fn collect_runs(&mut self) -> Result<u64> {
        self.table.collect(self.chain.next_number().saturating_sub(1)).await
    }

    /// An owner in doubt writes nothing and deletes nothing.
    fn check_usable(&self) -> Result<()> {
        if self.usable {
            return Ok(());
        }
        Err(Error::bug("own landing", "the writer was used again after an append that did not succeed")
            .with_hint("drop it and open the landing again"))
    }
}
