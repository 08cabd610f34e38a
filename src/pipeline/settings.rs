use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a pipeline runs: plain data with documented defaults.
///
/// ```
/// use landfall::pipeline::Settings;
/// use std::time::Duration;
///
/// let settings = Settings::default().epoch_records(100_000).epoch_age(Duration::from_secs(10));
/// assert_eq!(settings.shards, 1);
/// ```
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
    /// How long a partition may be parked in a run because its API is rate limited, in total: it gives its place to others
    /// and is read on when the API said. What would take longer is put off to the next run. Default 15 min.
    pub park_budget: Duration,
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
            park_budget: Duration::from_secs(15 * 60),
            stop_deadline: Duration::from_secs(30),
            kept_checkpoints: 16,
            prune_landing: false,
        }
    }
}

impl Settings {
    /// Sets how many chains the partitions are spread over; see [the field](#structfield.shards).
    #[must_use]
    pub fn shards(self, shards: u32) -> Self {
        Self { shards, ..self }
    }

    /// Sets how many partitions are read at the same time, in a shard; see [the field](#structfield.parallel_partitions).
    #[must_use]
    pub fn parallel_partitions(self, parallel_partitions: usize) -> Self {
        Self { parallel_partitions, ..self }
    }

    /// Sets how many bytes of pages there may be in memory; see [the field](#structfield.memory_bytes).
    #[must_use]
    pub fn memory_bytes(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// Sets after how many bytes an epoch is cut; see [the field](#structfield.epoch_bytes).
    #[must_use]
    pub fn epoch_bytes(self, epoch_bytes: u64) -> Self {
        Self { epoch_bytes, ..self }
    }

    /// Sets after how many records an epoch is cut; see [the field](#structfield.epoch_records).
    #[must_use]
    pub fn epoch_records(self, epoch_records: u64) -> Self {
        Self { epoch_records, ..self }
    }

    /// Sets at which age an epoch is cut; see [the field](#structfield.epoch_age).
    #[must_use]
    pub fn epoch_age(self, epoch_age: Duration) -> Self {
        Self { epoch_age, ..self }
    }

    /// Sets how many segments wait in memory between extract and load; see [the field](#structfield.handoff_segments).
    #[must_use]
    pub fn handoff_segments(self, handoff_segments: u64) -> Self {
        Self { handoff_segments, ..self }
    }

    /// Sets how long extraction waits for a load that makes no progress; see [the field](#structfield.handoff_patience).
    #[must_use]
    pub fn handoff_patience(self, handoff_patience: Duration) -> Self {
        Self { handoff_patience, ..self }
    }

    /// Sets how long a partition may be parked; see [the field](#structfield.park_budget).
    #[must_use]
    pub fn park_budget(self, park_budget: Duration) -> Self {
        Self { park_budget, ..self }
    }

    /// Sets after which time a graceful stop becomes an abort; see [the field](#structfield.stop_deadline).
    #[must_use]
    pub fn stop_deadline(self, stop_deadline: Duration) -> Self {
        Self { stop_deadline, ..self }
    }

    /// Sets how many checkpoints are kept behind the newest one; see [the field](#structfield.kept_checkpoints).
    #[must_use]
    pub fn kept_checkpoints(self, kept_checkpoints: u64) -> Self {
        Self { kept_checkpoints, ..self }
    }

    /// Sets whether what every load has committed is deleted from the landing; see [the field](#structfield.prune_landing).
    #[must_use]
    pub fn prune_landing(self, prune_landing: bool) -> Self {
        Self { prune_landing, ..self }
    }
}
