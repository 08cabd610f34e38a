//! The raw log: immutable numbered segments of pages, each durable in one step together with the positions after it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::env::Env;
//! use landfall::landing::{Landing, LandingReader, LandingWriter, SegmentDraft};
//! use landfall::model::{Page, PartitionId, PipelineName, ShardKey};
//! use landfall::store::Store;
//!
//! let env = Env::system();
//! let shard = ShardKey { pipeline: PipelineName::new("orders")?, shard: 0 };
//! let landing = Landing::in_store(&Store::memory(), "raw")?;
//!
//! let (mut writer, _state) = LandingWriter::open(&landing, &shard, &env).await?;
//! let page = Page::new(PartitionId("all".into()), r#"[{"id":1}]"#, 1, env.now());
//! let landed = writer.append(SegmentDraft { pages: vec![page], ..SegmentDraft::default() }).await?;
//!
//! let segment = LandingReader::new(&landing, &shard, &env).read(landed.number).await?.expect("it is landed");
//! assert_eq!(segment.pages[0].body, r#"[{"id":1}]"#);
//! # Ok(())
//! # }
//! ```

mod accounts;
mod block;
mod coverage;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod manifest;
mod positions;
mod reader;
mod retention;
mod segment;
mod table;
#[cfg(test)]
mod tests;
mod vacuum;
mod writer;

pub use accounts::AccountReader;
pub(crate) use accounts::{AccountRows, Accounts};
pub use coverage::CoverageReader;
pub use positions::LandedPositions;
pub use reader::{LandingReader, Segment};
pub use retention::Retention;
#[cfg(test)]
pub(crate) use retention::{removable, slowest};
pub use segment::Compression;
pub use writer::{LandedSegment, LandedState, LandingWriter, PartitionEnd, SegmentDraft};

use crate::checkpoint::{ChainId, StoreCheckpoints, chain};
use crate::env::Env;
use crate::error::Result;
use crate::model::ShardKey;
use crate::store::{ObjectPath, Store};
use std::sync::Arc;
use std::time::Duration;

/// Where raw responses are landed, and how they are grouped.
#[derive(Clone, Debug)]
pub struct Landing {
    pub(crate) store: Store,
    pub(crate) prefix: ObjectPath,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    pub(crate) compression: Compression,
}

impl Landing {
    /// Lands in folder `prefix` of `store`. Segments hold up to 8 MiB of bodies or 250 ms of input.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn in_store(store: &Store, prefix: &str) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            prefix: ObjectPath::parse(prefix)?,
            segment_bytes: 8 << 20,
            segment_age: Duration::from_millis(250),
            compression: Compression::default(),
        })
    }

    /// Sets how many bytes of bodies a segment holds before it is written.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.max(1);
        self
    }

    /// Sets how long a page waits for others before its segment is written.
    #[must_use]
    pub fn segment_age(mut self, age: Duration) -> Self {
        self.segment_age = age;
        self
    }

    /// Sets how bodies are compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// What is covered of the landing of `shard`, of each partition and window the newest that is known.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged; those of the store.
    pub async fn coverage(&self, shard: &ShardKey, env: &Env) -> Result<CoverageReader> {
        CoverageReader::open(self, shard, env).await
    }

    /// Checks that the store keeps conditions; see [`chain::probe`].
    ///
    /// # Errors
    /// `Config` if it does not.
    pub async fn probe(&self, env: &Env) -> Result<()> {
        chain::probe(&self.checkpoints(), env).await
    }

    /// The chain of a shard's segments.
    fn chain(&self, shard: &ShardKey) -> (Arc<StoreCheckpoints>, ChainId) {
        (Arc::new(self.checkpoints()), ChainId::segments(shard))
    }

    fn checkpoints(&self) -> StoreCheckpoints {
        StoreCheckpoints::new(&self.store, self.prefix.as_str()).expect("the prefix is a valid name")
    }

    /// The folder `role` of a shard, beside its segments.
    fn folder(&self, role: &str, shard: &ShardKey) -> ObjectPath {
        let folder = format!("{}/{role}/{:04}", shard.pipeline, shard.shard);
        self.prefix.join(&folder).expect("a pipeline's name, a role and a number are valid names")
    }
}
