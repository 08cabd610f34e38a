//! What happens in a run, for whoever watches: events, status, metrics and log lines from one place.

use super::report::{LandedCounts, Missing, PartitionReport, PartitionTotals};
use crate::error::ErrorKind;
use crate::model::{Coverage, EpochLedger, LoadCounts, PartitionId, PipelineName, ShardKey, StopReason};
use crate::source::{Traffic, TrafficCounts};
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
        /// The epoch that was found prepared and not committed, and was rolled forward, if there is one.
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
    /// It is durable what is covered of a partition, or of a window of it.
    Covered {
        /// The shard.
        shard: ShardKey,
        /// What is covered.
        coverage: Coverage,
    },
    /// A partition gives its place to others until its API takes requests again.
    PartitionParked {
        /// The shard.
        shard: ShardKey,
        /// The partition, until when, and what it gave so far.
        partition: PartitionReport,
    },
    /// An epoch is prepared: it will be committed, whatever happens.
    EpochPrepared {
        /// The shard.
        shard: ShardKey,
        /// The number of its checkpoint.
        epoch: u64,
        /// Records staged in the sink.
        records: u64,
        /// Bytes staged in the sink.
        bytes: u64,
    },
    /// A commit has failed, or its answer was lost, and is tried again.
    CommitRetried {
        /// The shard.
        shard: ShardKey,
        /// The number of its checkpoint.
        epoch: u64,
        /// What came of the last try.
        error: String,
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
    /// A prepared epoch that the destination refuses was [given up](super::Pipeline::abandon_refused): its records are staged anew.
    EpochAbandoned {
        /// The shard.
        shard: ShardKey,
        /// The number of its checkpoint.
        epoch: u64,
        /// Records that were staged in the sink.
        records: u64,
    },
    /// The load has come to its end, for a sink that [demands](crate::sink::Sink::demand) enumerations.
    Enumerated {
        /// The shard.
        shard: ShardKey,
        /// Whether it ends with a whole one; else the sink takes nothing away.
        whole: bool,
    },
    /// The parts of a response that never became whole were given up.
    ResponseSuperseded {
        /// The shard.
        shard: ShardKey,
    },
    /// What no recovery and no reader needs any more was deleted.
    Collected {
        /// The shard.
        shard: ShardKey,
        /// Objects deleted.
        deleted: u64,
    },
    /// Collection failed; the run did not, and the next one tries again.
    CollectionFailed {
        /// The shard.
        shard: ShardKey,
        /// Why.
        error: String,
    },
    /// The run ended: the last event.
    RunEnded {
        /// The kind of the first and gravest error, if it failed.
        failed: Option<ErrorKind>,
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
    /// How the reads of partitions ended.
    pub partitions: PartitionTotals,
    /// Partitions whose read ended: at most 1,000 of them, those without proof first.
    pub ended: Vec<PartitionReport>,
    /// Why the list of partitions is not whole, if it is not.
    pub unlisted: Option<String>,
    /// What is missing so far.
    pub missing: Missing,
    /// Whether the sink was given a whole enumeration, if it [demands](crate::sink::Sink::demand) one; known at the end.
    pub enumerated: Option<bool>,
    /// Requests, retries and waits of the reads so far.
    pub traffic: TrafficCounts,
}

/// Sends events to everybody who listens.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pipeline: PipelineName,
    channel: broadcast::Sender<Event>,
    state: Arc<Mutex<State>>,
    traffic: Traffic,
}

/// A status, and the partitions that it names.
#[derive(Debug, Default)]
struct State {
    status: Status,
    proven: BTreeMap<PartitionId, PartitionReport>,
    unproven: BTreeMap<PartitionId, PartitionReport>,
    loads: BTreeMap<PartitionId, LoadCounts>,
}

/// Partitions that are named one by one, however many there are.
pub(super) const MOST_NAMED: usize = 1_000;

impl State {
    fn ended(&mut self, end: &PartitionReport) {
        self.status.partitions.add(end);
        let named = if end.reason.is_complete() { &mut self.proven } else { &mut self.unproven };
        if named.len() < MOST_NAMED {
            named.insert(end.partition.clone(), end.clone());
        }
    }

    fn status(&self) -> Status {
        let ended = self.unproven.values().chain(self.proven.values()).take(MOST_NAMED).cloned();
        let ended = ended.map(|end| PartitionReport { load: self.loads.get(&end.partition).copied(), ..end }).collect();
        Status { ended, ..self.status.clone() }
    }
}

impl Events {
    pub(super) fn new(pipeline: &PipelineName) -> Self {
        Self {
            pipeline: pipeline.clone(),
            channel: broadcast::Sender::new(1_024),
            state: Arc::default(),
            traffic: Traffic::default(),
        }
    }

    pub(super) fn pipeline(&self) -> &PipelineName {
        &self.pipeline
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.channel.subscribe()
    }

    pub(super) fn status(&self) -> Status {
        Status { traffic: self.traffic.counts(), ..self.lock().status() }
    }

    /// Where the reads of the run count.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// A partition was listed twice in this run.
    pub(super) fn listed_again(&self) {
        self.lock().status.partitions.repeated += 1;
    }

    /// What became of records that are committed now, by partition.
    pub(super) fn loaded(&self, loads: BTreeMap<PartitionId, LoadCounts>) {
        let mut state = self.lock();
        for (partition, load) in loads {
            state.loads.entry(partition).or_default().add(&load);
        }
    }

    /// The listing ended with an error.
    pub(super) fn not_all_listed(&self, error: String) {
        self.lock().status.unlisted = Some(error);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, event: Event) {
        // Names and labels: docs/operations.md.
        let count = |name: &'static str, n: u64| {
            metrics::counter!(name, "pipeline" => self.pipeline.to_string()).increment(n);
        };
        match &event {
            Event::ShardOpened { shard, generation, recovered } => {
                count("landfall_epochs_recovered_total", u64::from(recovered.is_some()));
                tracing::info!(%shard, generation, ?recovered, "shard opened");
            }
            Event::ConfigChanged { shard } => tracing::info!(%shard, "configuration changed since the last epoch"),
            Event::SegmentLanded { shard, segment, pages, records, bytes, stored_bytes } => {
                self.lock().status.landed.add(*pages, *records, *bytes, *stored_bytes);
                count("landfall_landed_segments_total", 1);
                count("landfall_landed_pages_total", *pages);
                count("landfall_landed_records_total", *records);
                count("landfall_landed_bytes_total", *bytes);
                count("landfall_landed_stored_bytes_total", *stored_bytes);
                tracing::debug!(%shard, segment, pages, records, bytes, "segment landed");
            }
            Event::PartitionEnded { shard, partition: end } => {
                self.lock().ended(end);
                let PartitionReport { partition, reason, pages, records, .. } = end;
                if let StopReason::Failed(_) = reason {
                    count("landfall_partitions_failed_total", 1);
                    tracing::error!(%shard, %partition, %reason, pages, records, "partition failed");
                } else {
                    tracing::info!(%shard, %partition, %reason, pages, records, "partition ended");
                }
            }
            Event::Covered { shard, coverage } => {
                let mut state = self.lock();
                let found = state.status.missing.take_up(coverage, MOST_NAMED);
                drop(state);
                if let Some(why) = found {
                    count("landfall_gaps_total", 1);
                    let window = coverage.window.as_ref().map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(%shard, partition = %coverage.partition, window, why, "something is missing");
                }
            }
            Event::PartitionParked { shard, partition: PartitionReport { partition, reason, .. } } => {
                self.lock().status.partitions.parked += 1;
                count("landfall_partitions_parked_total", 1);
                tracing::info!(%shard, %partition, %reason, "partition parked");
            }
            Event::EpochPrepared { shard, epoch, records, bytes } => {
                count("landfall_epochs_prepared_total", 1);
                count("landfall_records_staged_total", *records);
                count("landfall_staged_bytes_total", *bytes);
                tracing::debug!(%shard, epoch, records, bytes, "epoch prepared");
            }
            Event::CommitRetried { shard, epoch, error } => {
                count("landfall_commit_retries_total", 1);
                tracing::warn!(%shard, epoch, %error, "commit is tried again");
            }
            Event::EpochCommitted { shard, epoch, ledger } => {
                {
                    let mut state = self.lock();
                    state.status.committed.add(ledger);
                    state.status.epochs += 1;
                }
                count("landfall_epochs_committed_total", 1);
                count("landfall_records_read_total", ledger.read);
                count("landfall_records_superseded_total", ledger.superseded);
                count("landfall_records_written_total", ledger.written);
                count("landfall_records_committed_total", ledger.staged);
                count("landfall_records_quarantined_total", ledger.quarantined);
                self.count_stages(ledger);
                tracing::info!(%shard, epoch, read = ledger.read, committed = ledger.staged, "epoch committed");
            }
            Event::EpochAbandoned { shard, epoch, records } => {
                count("landfall_epochs_abandoned_total", 1);
                tracing::warn!(%shard, epoch, records, "epoch abandoned");
            }
            Event::Enumerated { shard, whole } => {
                self.lock().status.enumerated = Some(*whole);
                if !whole {
                    tracing::warn!(%shard, "the enumeration is not whole: the sink takes nothing away for it");
                }
            }
            Event::ResponseSuperseded { shard } => {
                count("landfall_responses_superseded_total", 1);
                tracing::warn!(%shard, "a response that never became whole is passed over");
            }
            Event::Collected { shard, deleted } => {
                count("landfall_objects_collected_total", *deleted);
                tracing::debug!(%shard, deleted, "collected");
            }
            Event::CollectionFailed { shard, error } => {
                count("landfall_collections_failed_total", 1);
                tracing::warn!(%shard, %error, "collection failed; the next run tries again");
            }
            Event::RunEnded { failed } => {
                let outcome = failed.map_or("ok", ErrorKind::as_str);
                let pipeline = self.pipeline.to_string();
                metrics::counter!("landfall_runs_total", "pipeline" => pipeline, "outcome" => outcome).increment(1);
                tracing::info!(pipeline = %self.pipeline, outcome, "run ended");
            }
        }
        // It is no error that nobody listens.
        drop(self.channel.send(event));
    }

    /// What became of the records that a stage got, by its name.
    fn count_stages(&self, ledger: &EpochLedger) {
        for counts in &ledger.stages {
            let outcomes = [
                ("input", counts.input),
                ("output", counts.output),
                ("filtered", counts.filtered),
                ("deduplicated", counts.deduplicated),
                ("quarantined", counts.quarantined),
                ("fanned_out", counts.fanned_out),
            ];
            for (count, n) in outcomes {
                let (pipeline, stage) = (self.pipeline.to_string(), counts.stage.clone());
                metrics::counter!("landfall_stage_records_total", "pipeline" => pipeline, "stage" => stage, "count" => count)
                    .increment(n);
            }
        }
    }
}
