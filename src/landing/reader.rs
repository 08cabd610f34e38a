use super::{Landing, PartitionEnd};
use crate::env::Env;
use crate::error::Result;
use crate::model::{LandingPosition, Page, ShardKey};

/// A segment as it was landed.
#[derive(Debug)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// Whether it is a fence: a new owner begins here, and goes on with no response of an older one.
    pub is_fence: bool,
    /// Its pages with their origin; none for a fence.
    pub pages: Vec<Page>,
    /// Partitions whose read ended here.
    pub ended: Vec<PartitionEnd>,
}

impl Segment {
    /// What of it lies after `position`: pages before it are dropped, and a page that it cuts has `skip` set.
    #[must_use]
    pub fn after(self, _position: LandingPosition) -> Self {
        todo!()
    }
}

/// Reads the landing of a shard, without owning it.
#[derive(Clone, Debug)]
pub struct LandingReader {}

impl LandingReader {
    /// A reader of the landing of `shard`.
    pub fn new(_landing: &Landing, _shard: &ShardKey, _env: &Env) -> Self {
        todo!()
    }

    /// Segment `number`, verified; `None` if it is not landed yet. A fence is a segment without pages.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, or if retention has removed it.
    pub async fn read(&self, _number: u64) -> Result<Option<Segment>> {
        todo!()
    }
}
