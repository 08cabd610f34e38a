use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a pipeline runs: plain data with documented defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Shards, each with a chain of its own; partitions are spread over them by their id. Part of the identity of a
    /// pipeline: it cannot change later. Default 1.
    pub shards: u32,
    /// Partitions that are read at the same time, in a shard. Default 4.
    pub parallel_partitions: usize,
    /// Bytes of pages in memory, from socket to sink, over all shards. Default 64 MiB.
    pub memory_bytes: u64,
    /// An epoch is cut when it has taken in, or staged, this many bytes. Default 256 MiB.
    pub epoch_bytes: u64,
    /// An epoch is cut when it has taken in this many records. Default 2,000,000.
    pub epoch_records: u64,
    /// An epoch is cut when its first record is this old. Default 60 s.
    pub epoch_age: Duration,
    /// Segments that wait in memory between extract and load, in a shard; at most half of its share of `memory_bytes`
    /// waits: what does not fit is read from the landing again. Default 4.
    pub handoff_segments: u64,
    /// When the load makes no progress for this long, extraction stops waiting for it: the load then reads from the
    /// landing until it has caught up. Default 2 s.
    pub handoff_patience: Duration,
    /// A graceful stop becomes an abort after this time. Default 30 s.
    pub stop_deadline: Duration,
    /// Checkpoints that are kept behind the newest one. Default 16.
    pub kept_checkpoints: u64,
    /// Whether segments that every load has committed are deleted after a run. Default: no, the landing keeps all.
    pub prune_landing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 1,
            parallel_partitions: 4,
            memory_bytes: 64 << 20,
            epoch_bytes: 256 << 20,
            epoch_records: 2_000_000,
            epoch_age: Duration::from_secs(60),
            handoff_segments: 4,
            handoff_patience: Duration::from_secs(2),
            stop_deadline: Duration::from_secs(30),
            kept_checkpoints: 16,
            prune_landing: false,
        }
    }
}
