//! What happens in a run, for whoever watches: events, status, metrics and log lines from one place.

use super::report::{LandedCounts, PartitionReport};
use crate::model::{EpochLedger, PartitionId, PipelineName, ShardKey};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Something that happened in a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A shard is owned and recovered.
    ShardOpened {
        /// The shard.
        shard: ShardKey,
        /// This owner's generation.
        generation: u64,
        /// The epoch that was found prepared and was committed now, if there is one.
        recovered: Option<u64>,
    },
    /// The configuration differs from the last epoch's in something that is not identity.
    ConfigChanged {
        /// The shard.
        shard: ShardKey,
    },
    /// A segment is durable.
    SegmentLanded {
        /// The shard.
        shard: ShardKey,
        /// Its number.
        segment: u64,
        /// Pages in it.
        pages: u64,
        /// Records in it.
        records: u64,
        /// Bytes of bodies.
        bytes: u64,
        /// Bytes written.
        stored_bytes: u64,
    },
    /// The read of a partition ended.
    PartitionEnded {
        /// The shard.
        shard: ShardKey,
        /// The partition, why it ended, and what it gave.
        partition: PartitionReport,
    },
    /// An epoch is prepared: it will be committed, whatever happens.
    EpochPrepared {
        /// The shard.
        shard: ShardKey,
        /// The number of its checkpoint.
        epoch: u64,
    },
    /// An epoch is visible in the destination.
    EpochCommitted {
        /// The shard.
        shard: ShardKey,
        /// The number of its checkpoint.
        epoch: u64,
        /// What became of its records.
        ledger: EpochLedger,
    },
    /// The parts of a response that never became whole were given up.
    ResponseSuperseded {
        /// The shard.
        shard: ShardKey,
    },
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What was landed.
    pub landed: LandedCounts,
    /// What was committed.
    pub committed: EpochLedger,
    /// Epochs committed.
    pub epochs: u64,
    /// Partitions whose read ended.
    pub ended: BTreeMap<PartitionId, PartitionReport>,
}

/// Sends events to everybody who listens.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pipeline: PipelineName,
    channel: broadcast::Sender<Event>,
    status: Arc<Mutex<Status>>,
}

impl Events {
    pub(super) fn new(pipeline: &PipelineName) -> Self {
        Self {
            pipeline: pipeline.clone(),
            channel: broadcast::Sender::new(1_024),
            status: Arc::new(Mutex::new(Status::default())),
        }
    }

    pub(super) fn pipeline(&self) -> &PipelineName {
        &self.pipeline
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.channel.subscribe()
    }

    pub(super) fn status(&self) -> Status {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, event: Event) {
        let labels = || [("pipeline", self.pipeline.to_string())];
        match &event {
            Event::ShardOpened { shard, generation, recovered } => {
                tracing::info!(%shard, generation, ?recovered, "shard opened");
            }
            Event::ConfigChanged { shard } => tracing::info!(%shard, "configuration changed since the last epoch"),
            Event::SegmentLanded { shard, segment, pages, records, bytes, stored_bytes } => {
                self.lock().landed.add(*pages, *records, *bytes, *stored_bytes);
                metrics::counter!("landfall_landed_segments_total", &labels()).increment(1);
                metrics::counter!("landfall_landed_pages_total", &labels()).increment(*pages);
                metrics::counter!("landfall_landed_records_total", &labels()).increment(*records);
                metrics::counter!("landfall_landed_bytes_total", &labels()).increment(*bytes);
                tracing::debug!(%shard, segment, pages, records, bytes, "segment landed");
            }
            Event::PartitionEnded { shard, partition: end } => {
                self.lock().ended.insert(end.partition.clone(), end.clone());
                let PartitionReport { partition, reason, pages, records } = end;
                tracing::info!(%shard, %partition, %reason, pages, records, "partition ended");
            }
            Event::EpochPrepared { shard, epoch } => tracing::debug!(%shard, epoch, "epoch prepared"),
            Event::EpochCommitted { shard, epoch, ledger } => {
                {
                    let mut status = self.lock();
                    status.committed.add(ledger);
                    status.epochs += 1;
                }
                metrics::counter!("landfall_epochs_committed_total", &labels()).increment(1);
                metrics::counter!("landfall_records_read_total", &labels()).increment(ledger.read);
                metrics::counter!("landfall_records_committed_total", &labels()).increment(ledger.staged);
                metrics::counter!("landfall_records_quarantined_total", &labels()).increment(ledger.quarantined);
                metrics::counter!("landfall_records_deduplicated_total", &labels()).increment(ledger.deduplicated());
                metrics::counter!("landfall_records_filtered_total", &labels()).increment(ledger.filtered());
                tracing::info!(%shard, epoch, read = ledger.read, committed = ledger.staged, "epoch committed");
            }
            Event::ResponseSuperseded { shard } => {
                metrics::counter!("landfall_responses_superseded_total", &labels()).increment(1);
                tracing::warn!(%shard, "a response that never became whole is passed over");
            }
        }
        // It is no error that nobody listens.
        drop(self.channel.send(event));
    }
}
