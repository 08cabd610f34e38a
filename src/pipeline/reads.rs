//! The reads of one shard: some partitions at the same time, the next one when a reader is free. One whose API is rate
//! limited is parked, and gives its place to another.

use super::erased::{AnySource, BoxItem, Given, ReadContext};
use super::events::{Event, Events};
use super::listing::Assigned;
use super::report::PartitionReport;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::PartitionEnd;
use crate::model::{Coverage, PartitionId, PositionValue, ShardKey, StopReason};
use crate::source::{Emission, PositionLookup};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Partitions that are parked at the same time, in a shard. When there are more, no new ones are begun.
const MOST_PARKED: usize = 1_024;

/// What a parked partition is charged at least: an API that says "now" again and again is not asked for ever.
const LEAST_PARKED: Duration = Duration::from_secs(1);

/// How the read of a partition went.
pub(super) struct ReadEnd {
    /// The partition's number in this run.
    pub number: u64,
    pub partition: PartitionId,
    pub result: Result<StopReason>,
    pub given: Given,
    /// Whether it is read on in this run.
    pub parked: bool,
}

impl ReadEnd {
    /// The position anew, if the end proves it, or does not, other than it says.
    pub(super) fn position(&self) -> Option<PositionValue> {
        let unproven = !self.result.as_ref().is_ok_and(StopReason::is_complete);
        let at = self.given.position.as_ref().filter(|at| at.unproven != unproven)?;
        let said = self.parked || self.given.covered;
        (!said).then(|| PositionValue { unproven, ..at.clone() })
    }

    /// What the end says of the partition's coverage: what its source said last; or, if it said nothing, that it was read as
    /// a whole. A partition that is parked has more to say.
    pub(super) fn coverage(&mut self) -> Vec<Coverage> {
        let mut coverage = std::mem::take(&mut self.given.coverage);
        if !self.parked && !self.given.covered {
            let reason = match &self.result {
                Ok(reason) => reason.clone(),
                Err(error) => StopReason::Failed(error.to_string()),
            };
            coverage.push(Coverage::of(self.partition.clone(), reason).tally(self.given.tally));
        }
        coverage
    }

    /// Tells everybody of it, and keeps its failure.
    pub(super) fn note(self, shard: &ShardKey, events: &Events, failures: &mut Vec<Error>) -> PartitionEnd {
        let Self { partition, result, given: Given { pages, records, .. }, parked, .. } = self;
        let reason = result.unwrap_or_else(|error| {
            tracing::error!(%shard, %error, "a partition failed");
            metrics::counter!("landfall_partitions_failed_total", "pipeline" => shard.pipeline.to_string())
                .increment(1);
            let reason = StopReason::Failed(error.to_string());
            failures.push(error);
            reason
        });
        let end = PartitionEnd { partition, reason, pages, records };
        let (shard, partition) = (shard.clone(), PartitionReport::of(&end));
        events.send(if parked {
            Event::PartitionParked { shard, partition }
        } else {
            Event::PartitionEnded { shard, partition }
        });
        end
    }
}

/// What reads the partitions of a shard.
pub(super) struct Reads {
    pub source: Arc<dyn AnySource>,
    pub cx: ReadContext,
    pub positions: Arc<dyn PositionLookup>,
    pub parallel: usize,
    pub park_budget: Duration,
}

/// A partition that is read, or will be read on.
struct Reading {
    assigned: Assigned,
    given: Given,
    /// How long it has been parked in this run.
    parked: Duration,
}

impl Reads {
    /// Reads what comes through `queue` into `out`; a partition that fails does not stop the others.
    pub(super) async fn run(
        &self,
        mut queue: mpsc::Receiver<Assigned>,
        out: &mpsc::Sender<Emission<BoxItem>>,
        ended: &mpsc::Sender<ReadEnd>,
    ) {
        let env = &self.cx.env;
        let mut stop = self.cx.stop.clone();
        let mut stopped = *stop.borrow();
        let mut reading = FuturesUnordered::new();
        let mut parked: BTreeMap<(Duration, u64), (Reading, StopReason)> = BTreeMap::new();
        let mut listed = false;
        loop {
            if stopped {
                // What was listed is not begun, and what is parked is put off.
                listed = true;
                for (read, reason) in std::mem::take(&mut parked).into_values() {
                    if ended.send(read.end(Ok(reason), false)).await.is_err() {
                        return;
                    }
                }
            }
            if listed && reading.is_empty() && parked.is_empty() {
                return;
            }
            let free = reading.len() < self.parallel.max(1);
            let wait = parked.keys().next().map(|(at, _)| at.saturating_sub(env.monotonic()));
            if let (true, Some(Duration::ZERO)) = (free, wait) {
                if let Some((_, (read, _))) = parked.pop_first() {
                    reading.push(self.read(read, out.clone()));
                }
                continue;
            }
            tokio::select! {
                biased;
                Some((read, result)) = reading.next(), if !reading.is_empty() => {
                    let park = if stopped { None } else { self.park(&read, &result) };
                    let end = match (park, result) {
                        (Some(wait), Ok(reason)) => {
                            let end = read.end(Ok(reason.clone()), true);
                            let key = (env.monotonic().saturating_add(wait), read.assigned.number);
                            let parked_for = read.parked.saturating_add(wait.max(LEAST_PARKED));
                            parked.insert(key, (Reading { parked: parked_for, ..read }, reason));
                            end
                        }
                        (_, result) => read.end(result, false),
                    };
                    if ended.send(end).await.is_err() {
                        return;
                    }
                }
                next = queue.recv(), if free && !listed && parked.len() < MOST_PARKED => match next {
                    Some(assigned) => {
                        let read = Reading { assigned, given: Given::default(), parked: Duration::ZERO };
                        reading.push(self.read(read, out.clone()));
                    }
                    None => listed = true,
                },
                () = env.sleep(wait.unwrap_or_default()), if free && wait.is_some() => {}
                () = crate::source::stopped(&mut stop), if !stopped => stopped = true,
            }
        }
    }

    /// How long a read that ended like this is parked, if it is.
    fn park(&self, read: &Reading, result: &Result<StopReason>) -> Option<Duration> {
        let Ok(StopReason::RateLimited { until: Some(until) }) = result else { return None };
        let wait = until.saturating_since(self.cx.env.now());
        (read.parked.saturating_add(wait.max(LEAST_PARKED)) <= self.park_budget).then_some(wait)
    }

    async fn read(&self, mut read: Reading, out: mpsc::Sender<Emission<BoxItem>>) -> (Reading, Result<StopReason>) {
        let partition = &read.assigned.partition;
        let from = match read.given.position.clone() {
            // It was read before in this run: what it gave becomes durable before what is read from there.
            Some(position) => Ok(Some(position)),
            None => self.positions.position(&partition.id).await,
        };
        let result = match from {
            Ok(from) => {
                let given = &mut read.given;
                given.position = from.clone();
                let known = from.as_ref().is_some_and(|from| !from.unproven);
                let reading = self.source.read(&self.cx, partition, from, out.clone(), given);
                let caught = AssertUnwindSafe(reading).catch_unwind().await;
                let ended = caught.unwrap_or_else(|panic| Err(crate::env::panicked("read source", panic.as_ref())));
                // Nothing new leaves what is covered as it is.
                given.covered |= known && given.tally.pages == 0 && ended.as_ref().is_ok_and(StopReason::is_complete);
                ended
            }
            Err(error) => Err(error),
        };
        let result = match result {
            // Only who was asked to stop may say so: else the read has ended without proof.
            Err(e) if e.kind() == ErrorKind::Cancelled && (*self.cx.stop.borrow() || out.is_closed()) => {
                Ok(StopReason::Cancelled)
            }
            other => other.map_err(|e| e.with("partition", &partition.id)),
        };
        (read, result)
    }
}

impl Reading {
    fn end(&self, result: Result<StopReason>, parked: bool) -> ReadEnd {
        let Assigned { number, partition } = &self.assigned;
        ReadEnd { number: *number, partition: partition.id.clone(), result, given: self.given.clone(), parked }
    }
}
