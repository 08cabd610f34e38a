//! Source to landing, for one shard: reads partitions side by side, and groups their pages into segments.

use super::erased::{AnySource, BoxItem, Given, ReadContext, into_page};
use super::events::{Event, Events};
use super::handoff::{Handed, HandoffSender};
use super::report::PartitionReport;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::{LandedSegment, LandedState, Landing, LandingWriter, PartitionEnd, SegmentDraft};
use crate::model::{Page, Partition, PartitionId, PositionValue, ShardKey, StopReason};
use crate::source::{Emission, Reservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument;

/// How the read of a partition went.
pub(super) struct ReadEnd {
    pub partition: PartitionId,
    pub result: Result<StopReason>,
    pub given: Given,
}

impl ReadEnd {
    /// Tells everybody of it, and keeps its failure.
    pub(super) fn note(self, shard: &ShardKey, events: &Events, failures: &mut Vec<Error>) -> PartitionEnd {
        let Self { partition, result, given: Given { pages, records } } = self;
        let reason = result.unwrap_or_else(|error| {
            tracing::error!(%shard, %error, "a partition failed");
            metrics::counter!("landfall_partitions_failed_total", "pipeline" => shard.pipeline.to_string())
                .increment(1);
            let reason = StopReason::Failed(error.to_string());
            failures.push(error);
            reason
        });
        let end = PartitionEnd { partition, reason, pages, records };
        events.send(Event::PartitionEnded { shard: shard.clone(), partition: PartitionReport::of(&end) });
        end
    }
}

/// Reads partitions, some of them at the same time, into `out`; one that fails does not stop the others.
pub(super) async fn read_partitions(
    source: &Arc<dyn AnySource>,
    cx: &ReadContext,
    partitions: Vec<Partition>,
    positions: &BTreeMap<PartitionId, PositionValue>,
    parallel: usize,
    out: &mpsc::Sender<Emission<BoxItem>>,
    ended: &mpsc::Sender<ReadEnd>,
) {
    let mut waiting = partitions.into_iter();
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < parallel.max(1) && !*cx.stop.borrow() {
            let Some(partition) = waiting.next() else { break };
            let from = positions.get(&partition.id).cloned();
            reading.push(read_partition(source, cx, partition, from, out.clone()));
        }
        let Some(end) = reading.next().await else { break };
        if ended.send(end).await.is_err() {
            break;
        }
    }
}

async fn read_partition(
    source: &Arc<dyn AnySource>,
    cx: &ReadContext,
    partition: Partition,
    from: Option<PositionValue>,
    out: mpsc::Sender<Emission<BoxItem>>,
) -> ReadEnd {
    let mut given = Given::default();
    let read = AssertUnwindSafe(source.read(cx, &partition, from, out.clone(), &mut given)).catch_unwind().await;
    let result = read.unwrap_or_else(|panic| Err(crate::env::panicked("read source", panic.as_ref())));
    let result = match result {
        // Only who was asked to stop may say so: else the read has ended without proof.
        Err(e) if e.kind() == ErrorKind::Cancelled && (*cx.stop.borrow() || out.is_closed()) => {
            Ok(StopReason::Cancelled)
        }
        other => other.map_err(|e| e.with("partition", &partition.id)),
    };
    ReadEnd { partition: partition.id, result, given }
}

/// Which shard a partition belongs to.
pub(super) fn shard_of(partition: &PartitionId, shards: u32) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(partition.0.as_bytes());
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

/// Extracts one shard to its end, or until the run stops.
pub(super) struct Extract {
    pub shard: ShardKey,
    pub source: Arc<dyn AnySource>,
    pub landing: Landing,
    pub cx: ReadContext,
    pub parallel: usize,
    pub events: Events,
    pub partitions: Vec<Partition>,
}

impl Extract {
    /// Gives the failures of partitions, which do not stop the others; and the landing, or why it had to stop.
    pub(super) async fn run(
        self,
        writer: LandingWriter,
        state: LandedState,
        mut handoff: HandoffSender,
    ) -> (Vec<Error>, Result<LandingWriter>) {
        let (out, emitted) = mpsc::channel(1);
        let (end, ended) = mpsc::channel(1);
        let reading = async {
            // The queues close when the reads are done.
            let (out, end) = (out, end);
            let Self { source, cx, partitions, parallel, .. } = &self;
            read_partitions(source, cx, partitions.clone(), &state.positions, *parallel, &out, &end).await;
        };
        let mut lander =
            Lander { extract: &self, handoff: &mut handoff, draft: Draft::default(), failures: Vec::new() };
        // A landing that fails ends the reads with it: they may be waiting for their server for an hour.
        let landed = tokio::select! {
            landed = lander.run(writer, emitted, ended) => landed,
            never = async { reading.await; std::future::pending::<Infallible>().await } => match never {},
        };
        (lander.failures, landed)
    }
}

/// Pages on their way into the next segment.
#[derive(Default)]
struct Draft {
    segment: SegmentDraft,
    reservations: Vec<Reservation>,
    bytes: u64,
}

type Append = BoxFuture<'static, (LandingWriter, Result<LandedSegment>)>;

struct Lander<'a> {
    extract: &'a Extract,
    handoff: &'a mut HandoffSender,
    draft: Draft,
    failures: Vec<Error>,
}

impl Lander<'_> {
    /// Lands until the reads have ended. An error of the landing ends the extract of the shard.
    async fn run(
        &mut self,
        writer: LandingWriter,
        mut emitted: mpsc::Receiver<Emission<BoxItem>>,
        mut ended: mpsc::Receiver<ReadEnd>,
    ) -> Result<LandingWriter> {
        let env = self.extract.cx.env.clone();
        let mut idle = Some(writer);
        let mut append: Option<(Append, Vec<Reservation>, Vec<PartitionEnd>)> = None;
        let (mut pages_open, mut ends_open) = (true, true);
        let mut born: Option<Duration> = None;
        loop {
            let full = self.draft.bytes >= self.extract.landing.segment_bytes;
            let age = born.map(|b| env.monotonic().saturating_sub(b));
            let aged = age.is_some_and(|a| a >= self.extract.landing.segment_age);
            let draining = !pages_open && !ends_open;
            if let Some(writer) = idle.take() {
                if born.is_some() && (full || aged || draining) {
                    let draft = std::mem::take(&mut self.draft);
                    born = None;
                    let ended = draft.segment.ended.clone();
                    append = Some((append_draft(writer, draft.segment), draft.reservations, ended));
                    // The next draft fills while this one is written.
                    continue;
                } else if draining {
                    return Ok(writer);
                } else {
                    idle = Some(writer);
                }
            }
            let remaining = age.map(|a| self.extract.landing.segment_age.saturating_sub(a)).unwrap_or_default();
            tokio::select! {
                biased;
                (writer, landed) = async { match append.as_mut() { Some((a, ..)) => a.await, None => std::future::pending().await } } => {
                    let (_, reservations, ended) = append.take().unwrap_or_else(|| (std::future::pending().boxed(), Vec::new(), Vec::new()));
                    idle = Some(writer);
                    self.landed(landed?, reservations, ended).await?;
                }
                // A draft that is full waits for its segment: that is the backpressure on the reads.
                emission = emitted.recv(), if pages_open && !full => match emission {
                    Some(emission) => {
                        self.take(emission)?;
                        born.get_or_insert(env.monotonic());
                    }
                    None => pages_open = false,
                },
                // Ends are taken only after all pages before them.
                end = ended.recv(), if ends_open && emitted.is_empty() => match end {
                    Some(end) => {
                        while let Ok(emission) = emitted.try_recv() {
                            self.take(emission)?;
                        }
                        self.end(end);
                        born.get_or_insert(env.monotonic());
                    }
                    None => ends_open = false,
                },
                () = env.sleep(remaining), if born.is_some() && idle.is_some() && !full => {}
            }
        }
    }

    fn take(&mut self, emission: Emission<BoxItem>) -> Result<()> {
        let Emission { partition, item, position, reservation, pass: _pass } = emission;
        if let Some(item) = item {
            let page: Page = into_page(item)?;
            if page.partition != partition.id {
                return Err(Error::bug("land page", "a source emitted a page of another partition")
                    .with("reading", &partition.id)
                    .with("page", &page.partition));
            }
            self.draft.bytes += page.body.len() as u64;
            self.draft.segment.pages.push(page);
            self.draft.reservations.push(reservation);
        }
        if let Some(position) = position {
            self.draft.segment.positions.insert(partition.id, position);
        }
        Ok(())
    }

    fn end(&mut self, end: ReadEnd) {
        let end = end.note(&self.extract.shard, &self.extract.events, &mut self.failures);
        self.draft.segment.ended.push(end);
    }

    async fn landed(
        &mut self,
        landed: LandedSegment,
        reservations: Vec<Reservation>,
        ended: Vec<PartitionEnd>,
    ) -> Result<()> {
        if landed.pages.len() != reservations.len() {
            return Err(Error::bug("land segment", "other pages came back than were landed")
                .with("segment", landed.number)
                .with("landed", reservations.len())
                .with("came_back", landed.pages.len()));
        }
        let records: u64 = landed.pages.iter().map(|p| p.records).sum();
        let bytes: u64 = landed.pages.iter().map(|p| p.body.len() as u64).sum();
        self.extract.events.send(Event::SegmentLanded {
            shard: self.extract.shard.clone(),
            segment: landed.number,
            pages: landed.pages.len() as u64,
            records,
            bytes,
            stored_bytes: landed.stored_bytes,
        });
        let pages = landed.pages.into_iter().zip(reservations).collect();
        let ended = ended.into_iter().map(|e| e.partition).collect();
        self.handoff.offer(Handed { number: landed.number, pages, ended }).await;
        Ok(())
    }
}

fn append_draft(mut writer: LandingWriter, draft: SegmentDraft) -> Append {
    async move {
        let landed = writer.append(draft).await;
        (writer, landed)
    }
    .instrument(tracing::debug_span!("append segment"))
    .boxed()
}

/// Partitions of `shard`; a source that names one twice is wrong.
pub(super) fn partitions_of(all: &[Partition], shard: u32, shards: u32) -> Result<Vec<Partition>> {
    let mut seen = HashSet::new();
    for partition in all {
        if !seen.insert(&partition.id) {
            return Err(Error::bug("list partitions", "the source names a partition twice")
                .with("partition", &partition.id)
                .with_hint("partition ids must be distinct and stable"));
        }
    }
    Ok(all.iter().filter(|p| shard_of(&p.id, shards) == shard).cloned().collect())
}
