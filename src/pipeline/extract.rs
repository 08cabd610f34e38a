//! Source to landing, for one shard: reads partitions side by side, and groups their pages into segments.

use super::erased::{BoxItem, into_page};
use super::events::{Event, Events};
use super::fences::Fences;
use super::handoff::{Handed, HandoffSender};
use super::listing::Assigned;
use super::reads::{ReadEnd, Reads};
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::landing::{LandedSegment, Landing, LandingWriter, SegmentDraft};
use crate::model::{Coverage, Page, PartitionId, ShardKey};
use crate::source::{Emission, Reservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument;

/// Which shard a partition belongs to.
pub(super) fn shard_of(partition: &PartitionId, shards: u32) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(partition.0.as_bytes());
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

/// Extracts one shard to its end, or until the run stops.
pub(super) struct Extract {
    pub shard: ShardKey,
    pub landing: Landing,
    pub reads: Reads,
    pub fences: Arc<Fences>,
    pub events: Events,
    /// Whether it reads everything from the beginning, and says so in the landing when it has.
    pub enumerates: bool,
}

impl Extract {
    /// Gives the failures of partitions, which do not stop the others; and the landing, or why it had to stop.
    pub(super) async fn run(
        self,
        writer: LandingWriter,
        partitions: mpsc::Receiver<Assigned>,
        mut handoff: HandoffSender,
    ) -> (Vec<Error>, Result<LandingWriter>) {
        let (out, emitted) = mpsc::channel(1);
        let (end, ended) = mpsc::channel(1);
        let reading = async {
            // The queues close when the reads are done.
            let (out, end) = (out, end);
            self.reads.run(partitions, &out, &end).await;
        };
        let mut lander =
            Lander { extract: &self, handoff: &mut handoff, draft: Draft::default(), failures: Vec::new() };
        // A landing that fails ends the reads with it: they may be waiting for their server for an hour.
        let landed = tokio::select! {
            biased;
            landed = lander.run(writer, emitted, ended) => landed,
            never = async { reading.await; std::future::pending::<Infallible>().await } => match never {},
        };
        if landed.is_err() {
            // Fences must not wait for what will never end.
            self.fences.give_up();
        }
        (lander.failures, landed)
    }
}

/// Pages on their way into the next segment.
#[derive(Default)]
struct Draft {
    segment: SegmentDraft,
    reservations: Vec<Reservation>,
    bytes: u64,
    /// The numbers of the partitions that ended, and whether with proof.
    ends: Vec<(u64, bool)>,
}

/// Positions and ends of partitions that fill a segment, whether there are pages or not.
const MOST_MOVES: usize = 4_096;

/// A segment on its way into the landing.
struct Writing {
    append: BoxFuture<'static, (LandingWriter, Result<LandedSegment>)>,
    reservations: Vec<Reservation>,
    ended: Vec<PartitionId>,
    ends: Vec<(u64, bool)>,
    coverage: Vec<Coverage>,
    whole: bool,
}

struct Lander<'a> {
    extract: &'a Extract,
    handoff: &'a mut HandoffSender,
    draft: Draft,
    failures: Vec<Error>,
}

impl Lander<'_> {
    /// Lands until the reads have ended and no fence is left to wait for. An error of the landing ends the extract of the
    /// shard.
    async fn run(
        &mut self,
        writer: LandingWriter,
        mut emitted: mpsc::Receiver<Emission<BoxItem>>,
        mut ended: mpsc::Receiver<ReadEnd>,
    ) -> Result<LandingWriter> {
        let env = self.extract.reads.cx.env.clone();
        let fences = Arc::clone(&self.extract.fences);
        let mut passed = fences.changes();
        let mut idle = Some(writer);
        let mut writing: Option<Writing> = None;
        let (mut pages_open, mut ends_open) = (true, true);
        let mut born: Option<Duration> = None;
        let mut given_up = false;
        let mut told = !self.extract.enumerates;
        loop {
            passed.mark_unchanged();
            let due = fences.take_due(self.extract.shard.shard);
            if !due.is_empty() {
                self.draft.segment.positions.extend(due);
                born.get_or_insert(env.monotonic());
            }
            let full = self.draft.is_full(self.extract.landing.segment_bytes);
            let age = born.map(|b| env.monotonic().saturating_sub(b));
            let aged = age.is_some_and(|a| a >= self.extract.landing.segment_age);
            let draining = !pages_open && !ends_open;
            if let Some(writer) = idle.take() {
                if born.is_some() && (full || aged || draining) {
                    born = None;
                    writing = Some(std::mem::take(&mut self.draft).write(writer));
                    // The next draft fills while this one is written.
                    continue;
                }
                if draining && !given_up && *self.extract.reads.cx.stop.borrow() {
                    // What was listed is not all read.
                    fences.give_up();
                    given_up = true;
                }
                if draining && fences.is_settled(self.extract.shard.shard) {
                    let nothing_missing = || self.extract.events.status().missing.total == 0;
                    match fences.whole() {
                        // The partitions of other shards are still read.
                        None if !told => {}
                        Some(true) if !told && (nothing_missing() || on(Defect::FailedReadIsWhole)) => {
                            (told, born) = (true, Some(env.monotonic()));
                            self.draft.segment.whole = true;
                        }
                        _ => return Ok(writer),
                    }
                }
                idle = Some(writer);
            }
            let remaining = age.map(|a| self.extract.landing.segment_age.saturating_sub(a)).unwrap_or_default();
            tokio::select! {
                biased;
                (writer, landed) = written(&mut writing) => {
                    idle = Some(writer);
                    if let Some(written) = writing.take() {
                        self.landed(landed?, written).await?;
                    }
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
                end = ended.recv(), if ends_open && !full && emitted.is_empty() => match end {
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
                _changed = passed.changed() => {}
            }
        }
    }

    fn take(&mut self, emission: Emission<BoxItem>) -> Result<()> {
        let Emission { partition, item, position, coverage, reservation, pass: _pass, .. } = emission;
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
        self.draft.segment.coverage.extend(coverage);
        if let Some(position) = position {
            self.draft.segment.positions.insert(partition.id, position);
        }
        Ok(())
    }

    fn end(&mut self, mut end: ReadEnd) {
        if let Some(position) = end.position() {
            self.draft.segment.positions.insert(end.partition.clone(), position);
        }
        self.draft.segment.coverage.extend(end.coverage());
        let (number, parked) = (end.number, end.parked);
        let end = end.note(&self.extract.shard, &self.extract.events, &mut self.failures);
        if !parked {
            self.draft.ends.push((number, end.reason.is_complete()));
        }
        self.draft.segment.ended.push(end);
    }

    async fn landed(&mut self, landed: LandedSegment, written: Writing) -> Result<()> {
        let Writing { reservations, ended, ends, coverage, whole, .. } = written;
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
        for coverage in coverage {
            self.extract.events.send(Event::Covered { shard: self.extract.shard.clone(), coverage });
        }
        // Who hears that all have ended must know by then what is missing.
        self.extract.fences.ended(ends);
        let pages = landed.pages.into_iter().zip(reservations).collect();
        self.handoff.offer(Handed { number: landed.number, pages, ended, whole }).await;
        Ok(())
    }
}

impl Draft {
    fn is_full(&self, bytes: u64) -> bool {
        let moves = [self.segment.positions.len(), self.segment.ended.len(), self.segment.coverage.len()];
        self.bytes >= bytes || moves.into_iter().any(|moves| moves >= MOST_MOVES)
    }

    fn write(self, mut writer: LandingWriter) -> Writing {
        let Self { segment, reservations, ends, .. } = self;
        let ended = segment.ended.iter().map(|end| end.partition.clone()).collect();
        let (coverage, whole) = (segment.coverage.clone(), segment.whole);
        let append = async move {
            let landed = writer.append(segment).await;
            (writer, landed)
        };
        let append = append.instrument(tracing::debug_span!("append segment")).boxed();
        Writing { append, reservations, ended, ends, coverage, whole }
    }
}

async fn written(writing: &mut Option<Writing>) -> (LandingWriter, Result<LandedSegment>) {
    match writing {
        Some(writing) => (&mut writing.append).await,
        None => std::future::pending().await,
    }
}
