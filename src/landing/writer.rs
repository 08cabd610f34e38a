use super::Landing;
use crate::env::Env;
use crate::error::Result;
use crate::model::{Page, PartitionId, PositionValue, ShardKey, StopReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What goes into the next segment.
#[derive(Debug, Default)]
pub struct SegmentDraft {
    /// Pages in the order of their arrival.
    pub pages: Vec<Page>,
    /// The newest position of each partition that moved.
    pub positions: BTreeMap<PartitionId, PositionValue>,
    /// Partitions whose read ended.
    pub ended: Vec<PartitionEnd>,
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LandedState {
    /// Where each partition stands.
    pub positions: BTreeMap<PartitionId, PositionValue>,
    /// The number of the newest segment or fence; the next one is written after it.
    pub newest: u64,
}

/// Appends segments to the landing of a shard, as its owner.
#[derive(Debug)]
pub struct LandingWriter {}

impl LandingWriter {
    /// Takes over the landing of `shard`: fences older owners out and reads where each partition stands.
    ///
    /// # Errors
    /// As [`Chain::open`](crate::checkpoint::chain::Chain::open).
    pub async fn open(_landing: &Landing, _shard: &ShardKey, _env: &Env) -> Result<(Self, LandedState)> {
        todo!()
    }

    /// Makes pages and positions durable in one step.
    ///
    /// # Errors
    /// As [`Chain::append`](crate::checkpoint::chain::Chain::append). After an error the writer must be dropped.
    pub async fn append(&mut self, _draft: SegmentDraft) -> Result<LandedSegment> {
        todo!()
    }

    /// Deletes segments that every load has committed; returns how many. Deletes nothing if no load is known.
    pub async fn collect(&self) -> Result<u64> {
        todo!()
    }
}
