use super::manifest::{self, Place};
use super::{Landing, PartitionEnd, segment};
use crate::checkpoint::chain::ChainReader;
use crate::checkpoint::{ChainId, CheckpointStore, Record, RecordKind, StoreCheckpoints};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Incarnation, LandingPosition, Page, ShardKey};
use std::sync::Arc;

/// A segment as it was landed.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// Whether it is a fence: a new owner begins here, and goes on with no response of an older one.
    pub is_fence: bool,
    /// Records that were landed with it.
    pub records: u64,
    /// Its pages with their origin.
    pub pages: Vec<Page>,
    /// Partitions whose read ended with it.
    pub ended: Vec<PartitionEnd>,
    /// Whether, with it, its owner has landed everything that the source has: each partition from its beginning to a proven end.
    pub whole: bool,
}

impl Segment {
    /// What a load that stands at `position` has still to read of it: pages before the position are dropped, and a
    /// page that it cuts in the middle says so in [`Page::skip`].
    ///
    /// A page without records right at the position is kept: it may be given twice, but never not at all.
    ///
    /// # Errors
    /// `Corrupt` if the position lies in this segment, after its last record.
    pub fn after(mut self, position: LandingPosition) -> Result<Self> {
        if position.segment > self.number {
            self.pages.clear();
            self.ended.clear();
        }
        if position.segment != self.number {
            return Ok(self);
        }
        let mut start = 0_u64;
        self.pages.retain_mut(|page| {
            let consumed = position.record.saturating_sub(start);
            start = start.saturating_add(page.records);
            page.skip = consumed.min(page.records);
            consumed == 0 || consumed < page.records
        });
        if position.record > start {
            return Err(Error::corrupt("resume from landing", "a load stands after the last record of a segment")
                .with("position", position)
                .with("records", start)
                .with_hint(
                    "the landing or the load's checkpoints were replaced; restore the ones that belong together",
                ));
        }
        Ok(self)
    }
}

/// Reads the landing of a shard, without owning it.
#[derive(Clone, Debug)]
pub struct LandingReader {
    chain: ChainReader,
    checkpoints: Arc<StoreCheckpoints>,
    id: ChainId,
    shard: ShardKey,
    env: Env,
}

impl LandingReader {
    /// A reader of the landing of `shard`.
    pub fn new(landing: &Landing, shard: &ShardKey, env: &Env) -> Self {
        let (checkpoints, id) = landing.chain(shard);
        Self {
            chain: ChainReader::new(Arc::<StoreCheckpoints>::clone(&checkpoints), id.clone()).with_env(env),
            checkpoints,
            id,
            shard: shard.clone(),
            env: env.clone(),
        }
    }

    /// Segment `number`, verified; `None` if it is not landed yet. A fence is a segment without pages.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, or if retention has removed it.
    pub async fn read(&self, number: u64) -> Result<Option<Segment>> {
        let Some(record) = self.record(number).await? else { return Ok(None) };
        let is_fence = record.kind == RecordKind::Fence;
        if is_fence {
            return Ok(Some(Segment {
                number,
                is_fence,
                records: 0,
                pages: Vec::new(),
                ended: Vec::new(),
                whole: false,
            }));
        }
        let place = Place { shard: &self.shard, segment: number };
        let (manifest, blocks) = manifest::parse(&record.payload, place)?;
        let ended = manifest::parse_kept(&manifest.ended, place)?;
        let (records, whole) = (manifest.totals.records, manifest.whole);
        let pages = segment::decode(&self.env, place, &record.payload, manifest, blocks).await?;
        Ok(Some(Segment { number, is_fence, records, pages, ended, whole }))
    }

    /// The number of the newest segment or fence; 0 if nothing is landed.
    pub async fn newest(&self) -> Result<u64> {
        Ok(self.chain.newest().await?.map_or(0, |record| record.number))
    }

    /// The life of this landing; `None` if nothing is landed.
    pub async fn incarnation(&self) -> Result<Option<Incarnation>> {
        Ok(self.chain.newest().await?.map(|record| record.incarnation))
    }

    /// Checks that a load can go on from `position` of the landing that it knows as `incarnation` (`None` if it has
    /// read none yet): it is that landing, nothing that the load has not read is gone, and it is not shorter than what
    /// the load has read.
    ///
    /// Ask before a new owner opens the landing, which makes it one record longer.
    ///
    /// # Errors
    /// `Corrupt` if it cannot. It never starts over by itself.
    pub async fn check(&self, position: LandingPosition, incarnation: Option<&Incarnation>) -> Result<()> {
        let boundary = self.checkpoints.boundary(&self.id).await?;
        check_retained(&self.shard, boundary, position.segment.max(1))?;
        let newest = self.chain.newest().await?;
        if let (Some(known), Some(newest)) = (incarnation, &newest) {
            if *known != newest.incarnation {
                return Err(Error::corrupt("resume from landing", "a load has read another landing than this one")
                    .with("shard", &self.shard)
                    .with("position", position)
                    .with("read", known)
                    .with("found", &newest.incarnation)
                    .with_hint("the landing was replaced; bring back the one it belongs to, or use a new pipeline name and an empty destination"));
            }
        }
        let newest = newest.map_or(0, |record| record.number);
        if position.segment > newest.saturating_add(1) || (position.segment > newest && position.record > 0) {
            return Err(Error::corrupt("resume from landing", "a load stands after the end of the landing")
                .with("shard", &self.shard)
                .with("position", position)
                .with("newest", newest)
                .with_hint(
                    "the landing was replaced or restored from an old backup; bring back the one it belongs to",
                ));
        }
        Ok(())
    }

    async fn record(&self, number: u64) -> Result<Option<Record>> {
        match self.chain.read(number).await {
            Ok(record) => Ok(record),
            Err(e) => {
                // Removed or damaged? The first has a better explanation.
                let boundary = self.checkpoints.boundary(&self.id).await?;
                check_retained(&self.shard, boundary, number)?;
                Err(e)
            }
        }
    }
}

/// Refuses a segment that retention has removed, or may have: segments up to `boundary`.
pub(super) fn check_retained(shard: &ShardKey, boundary: u64, segment: u64) -> Result<()> {
    if segment > boundary {
        return Ok(());
    }
    let (message, hint) = match segment {
        0 | 1 => (
            "the beginning of the landing lies below the retained start: retention has removed it",
            "a load that is new needs all of it, and those that were known had committed it: restore it from a backup, or land anew under another pipeline name and load from \
             there; make loads that come later known in time with `Retention::announce`",
        ),
        _ => (
            "the segment lies below the retained start: retention has removed it",
            "restore the landing from a backup, or start the load over as a new pipeline on a new landing",
        ),
    };
    Err(Error::corrupt("read landing", message)
        .with("shard", shard)
        .with("segment", segment)
        .with("retained_from", boundary.saturating_add(1))
        .with_hint(hint))
}
