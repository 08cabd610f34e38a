//! The input of a load: landed pages in order, from memory or from the log; or a replayable source directly.

use super::epoch::InputPosition;
use super::erased::BoxItem;
use super::handoff::{Handed, HandoffReceiver};
use super::settings::Settings;
use super::task::Task;
use crate::error::{Error, Result};
use crate::landing::{LandingReader, Segment};
use crate::model::{LandingPosition, Page, PartitionId, PositionValue, Window};
use crate::source::{Emission, Reservation};
use std::collections::{BTreeMap, HashSet, VecDeque};
use tokio::sync::mpsc;

/// What a feed gives.
pub(super) enum Input {
    /// Something to work on, or a position alone.
    Item(FedItem),
    /// Parts of this response were given, and it turned out never to become whole: go back to the last checkpoint.
    Abandoned(u64),
}

/// Items that are worked on together, in their order.
pub(super) struct FedItem {
    pub pages: Vec<Fed>,
    pub records: u64,
    pub bytes: u64,
    /// Records of a superseded response: passed over.
    pub superseded: u64,
    pub after: Advance,
    /// Whether an epoch may end after this: not in the middle of a response.
    pub may_cut: bool,
    pub reservation: Reservation,
    /// What begins or ends with this; such an item is worked on alone.
    pub turn: Option<Turn>,
}

/// What becomes of enumerations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A new owner begins another one, of this number: the segment that is its fence.
    Begins(u64),
    /// It is whole.
    Whole,
}

/// A page, or an item of another kind; `None` if it is passed over.
pub(super) type Fed = (PageOf, Option<BoxItem>);

/// What the records of a page count for.
pub(super) struct PageOf {
    pub partition: PartitionId,
    pub window: Option<Window>,
    pub records: u64,
    pub superseded: u64,
}

impl FedItem {
    fn turn(turn: Turn, after: LandingPosition, may_cut: bool) -> Self {
        let after = Advance::Landing(after);
        let (pages, reservation) = (Vec::new(), Reservation::none());
        Self { pages, records: 0, bytes: 0, superseded: 0, after, may_cut, reservation, turn: Some(turn) }
    }

    fn append(&mut self, next: Self) {
        self.pages.extend(next.pages);
        self.records += next.records;
        self.bytes += next.bytes;
        self.superseded += next.superseded;
        self.after = next.after;
        self.may_cut = next.may_cut;
        self.reservation.merge(next.reservation);
    }
}

/// How much is worked on together: each hand-over to another core costs as much as some of the work, and small epochs
/// must stay possible.
struct Together {
    bytes: u64,
    records: u64,
}

impl Together {
    fn within(settings: &Settings) -> Self {
        Self { bytes: (2 << 20).min(settings.epoch_bytes / 16), records: settings.epoch_records / 16 }
    }

    fn has_room(&self, group: &FedItem, page: &Page) -> bool {
        let (bytes, records) = (group.bytes + page.body.len() as u64, group.records + page.records);
        group.pages.is_empty() || (bytes <= self.bytes && records <= self.records)
    }
}

/// How the input position moves.
#[derive(Clone)]
pub(super) enum Advance {
    Landing(LandingPosition),
    Source(PartitionId, Option<PositionValue>),
}

impl InputPosition {
    pub(super) fn advance(&mut self, by: Advance) {
        match (self, by) {
            (Self::Landing(position), Advance::Landing(to)) => *position = to,
            (Self::Source(positions), Advance::Source(partition, Some(to))) => {
                positions.insert(partition, to);
            }
            (Self::Source(_), Advance::Source(_, None)) => {}
            (position, Advance::Landing(to)) => *position = Self::Landing(to),
            (position, Advance::Source(partition, to)) => {
                *position = Self::Source(to.map(|to| BTreeMap::from([(partition, to)])).unwrap_or_default());
            }
        }
    }
}

/// The input of the load of a shard.
pub(super) enum Feed {
    Landing(Box<LandingFeed>),
    Direct(mpsc::Receiver<Emission<BoxItem>>),
}

impl Feed {
    /// The next input; `None` at the end of the run. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Input>> {
        match self {
            Self::Landing(feed) => feed.next().await,
            Self::Direct(emitted) => {
                let Some(emission) = emitted.recv().await else { return Ok(None) };
                let Emission { partition, item, position, reservation, .. } = emission;
                if item.is_some() && position.is_none() {
                    return Err(Error::config("read source", "a part of a response came, and there is no landing")
                        .with("partition", &partition.id)
                        .with_hint("a response in parts needs a landing: add `.land(…)`"));
                }
                let records = item.as_ref().map_or(0, |i| i.records());
                let of = PageOf { partition: partition.id.clone(), window: None, records, superseded: 0 };
                Ok(Some(Input::Item(FedItem {
                    records,
                    bytes: reservation.bytes(),
                    pages: item.map(|item| (of, Some(item))).into_iter().collect(),
                    superseded: 0,
                    after: Advance::Source(partition.id, position),
                    may_cut: true,
                    reservation,
                    turn: None,
                })))
            }
        }
    }

    /// Never gives `response` again.
    pub(super) fn supersede(&mut self, response: u64) {
        if let Self::Landing(feed) = self {
            feed.superseded.insert(response);
        }
    }

    /// Gives nothing from `end` on.
    pub(super) fn end_at(&mut self, end: LandingPosition) {
        if let Self::Landing(feed) = self {
            feed.end_at = Some(end);
        }
    }

    /// Goes back to `position`.
    pub(super) fn rewind(&mut self, position: &InputPosition) -> Result<()> {
        match (self, position) {
            (Self::Landing(feed), InputPosition::Landing(position)) => {
                feed.seek(*position);
                Ok(())
            }
            _ => Err(Error::bug("rewind input", "only a landing can be read again")),
        }
    }
}

/// Reads the landing of a shard from a position on, up to its tail.
pub(super) struct LandingFeed {
    handoff: HandoffReceiver,
    reader: LandingReader,
    /// The segment to read next.
    segment: u64,
    /// Records of it to pass over.
    skip: u64,
    handed: Option<Handed>,
    /// A segment that is being read from the log: what else happens meanwhile must not begin it anew.
    reading: Option<(u64, Task<Result<Option<Segment>>>)>,
    queue: VecDeque<Queued>,
    together: Together,
    /// Records of the segment that were given or passed over.
    passed: u64,
    open: Option<OpenResponse>,
    superseded: HashSet<u64>,
    /// Nothing is given from here on.
    end_at: Option<LandingPosition>,
}

struct OpenResponse {
    response: u64,
    partition: PartitionId,
}

enum Queued {
    Page(Box<Page>, Reservation),
    /// A new owner begins: it goes on with no response of an older one.
    Fence,
    Ended(PartitionId),
    /// An enumeration begins or ends here.
    Turn(Turn, LandingPosition),
    /// The segment is done, and had so many records.
    Next(u64, u64),
}

impl LandingFeed {
    pub(super) fn new(
        handoff: HandoffReceiver,
        reader: LandingReader,
        from: LandingPosition,
        settings: &Settings,
    ) -> Self {
        let mut feed = Self {
            handoff,
            reader,
            segment: 1,
            skip: 0,
            handed: None,
            reading: None,
            queue: VecDeque::new(),
            together: Together::within(settings),
            passed: 0,
            open: None,
            superseded: HashSet::new(),
            end_at: None,
        };
        feed.seek(from);
        feed
    }

    fn seek(&mut self, to: LandingPosition) {
        self.segment = to.segment.max(1);
        self.skip = to.record;
        self.reading = None;
        self.queue.clear();
        self.passed = to.record;
        self.open = None;
        self.handoff.want(self.segment);
    }

    async fn next(&mut self) -> Result<Option<Input>> {
        loop {
            if let Some(input) = self.take_together()? {
                return Ok(Some(input));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// What is in the queue, as far as it is worked on together.
    fn take_together(&mut self) -> Result<Option<Input>> {
        let mut group: Option<FedItem> = None;
        while let Some(next) = self.queue.front() {
            match (&group, next) {
                (Some(group), Queued::Page(page, _)) if !self.together.has_room(group, page) => break,
                // An epoch may end before a response that may never become whole.
                (Some(group), Queued::Page(page, _)) if group.may_cut && self.opens(page) => break,
                (Some(_), Queued::Turn(..)) => break,
                (Some(group), _) if group.turn.is_some() => break,
                _ => {}
            }
            let Some(queued) = self.queue.pop_front() else { break };
            match (self.take(queued)?, &mut group) {
                (None, _) => {}
                (Some(Input::Item(item)), Some(group)) => group.append(item),
                (Some(Input::Item(item)), none) => *none = Some(item),
                // What was taken is after the last checkpoint too.
                (Some(abandoned), _) => return Ok(Some(abandoned)),
            }
        }
        Ok(group.map(Input::Item))
    }

    /// Puts the next segment into the queue; `false` at the end of the landing.
    async fn fill(&mut self) -> Result<bool> {
        let number = self.segment;
        if self.end_at.is_some_and(|end| LandingPosition { segment: number, record: self.skip } >= end) {
            return Ok(false);
        }
        let records = loop {
            if self.handed.is_none() {
                self.handed = self.handoff.queue.try_recv().ok();
            }
            match &self.handed {
                Some(handed) if handed.number < number => self.handed = None,
                // A segment that was cut in the middle by the last checkpoint is read from the log.
                Some(handed) if handed.number == number && self.skip == 0 => {
                    let Some(handed) = self.handed.take() else { continue };
                    let records = handed.pages.iter().map(|(page, _)| page.records).sum();
                    self.queue.extend(handed.pages.into_iter().map(|(page, held)| Queued::Page(Box::new(page), held)));
                    self.queue.extend(handed.ended.into_iter().map(Queued::Ended));
                    self.queue_whole(handed.whole, number);
                    break records;
                }
                other => {
                    let tail = *self.handoff.tail.borrow_and_update();
                    if other.is_some() || tail.newest >= number {
                        break self.read(number).await?;
                    }
                    if tail.closed {
                        return self.end(tail.newest).await;
                    }
                    tokio::select! {
                        biased;
                        Some(handed) = self.handoff.queue.recv() => self.handed = Some(handed),
                        // The tail is closed before it is gone.
                        _changed = self.handoff.tail.changed() => {}
                    }
                }
            }
        };
        if let Some(end) = self.end_at.filter(|end| end.segment == number) {
            self.queue.retain(|queued| match queued {
                Queued::Page(page, _) => page.origin.is_some_and(|origin| origin.start < end),
                Queued::Fence | Queued::Turn(Turn::Begins(_), _) => true,
                _ => false,
            });
            self.skip = end.record;
            return Ok(true);
        }
        self.queue.push_back(Queued::Next(number + 1, records));
        self.segment = number + 1;
        self.skip = 0;
        self.handoff.want(self.segment);
        Ok(true)
    }

    /// The landing has come to its end: so must this.
    async fn end(&self, newest: u64) -> Result<bool> {
        // Who lands beside may have been overtaken meanwhile: then a newer owner has landed what this load has read.
        if self.segment == newest + 1 || self.segment <= self.reader.newest().await? + 1 {
            return Ok(false);
        }
        Err(Error::corrupt("read landing", "the load stands after the end of the landing")
            .with("segment", self.segment)
            .with("newest", newest)
            .with_hint("the landing was replaced or restored from an old backup; bring back the one it belongs to"))
    }

    /// Puts a segment of the log into the queue; gives the number of its records.
    async fn read(&mut self, number: u64) -> Result<u64> {
        let reader = self.reader.clone();
        let begin = || (number, Task::spawn("read landing", async move { reader.read(number).await }));
        let segment = match &mut self.reading {
            Some((read, task)) if *read == number => task.await,
            reading => (&mut reading.insert(begin()).1).await,
        };
        self.reading = None;
        let segment = segment??.ok_or_else(|| {
            Error::corrupt("read landing", "a segment that was landed is missing")
                .with("segment", number)
                .with_hint("restore it from a backup; nothing after it is loaded until then")
        })?;
        let segment = segment.after(LandingPosition { segment: number, record: self.skip })?;
        if segment.is_fence {
            self.queue.push_back(Queued::Fence);
            let at = LandingPosition { segment: number, record: 0 };
            self.queue.push_back(Queued::Turn(Turn::Begins(number), at));
        }
        self.queue.extend(segment.pages.into_iter().map(|page| Queued::Page(Box::new(page), Reservation::none())));
        self.queue.extend(segment.ended.into_iter().map(|end| Queued::Ended(end.partition)));
        self.queue_whole(segment.whole, number);
        Ok(segment.records)
    }

    /// An epoch that makes an enumeration whole ends behind the segment that says so: it is not said twice.
    fn queue_whole(&mut self, whole: bool, segment: u64) {
        if whole {
            self.queue.push_back(Queued::Turn(Turn::Whole, LandingPosition { segment: segment + 1, record: 0 }));
        }
    }

    fn take(&mut self, queued: Queued) -> Result<Option<Input>> {
        Ok(match queued {
            Queued::Fence => self.abandon(),
            Queued::Ended(partition) => {
                let open = self.open.as_ref().is_some_and(|open| open.partition == partition);
                if open { self.abandon() } else { None }
            }
            Queued::Turn(turn, after) => Some(Input::Item(FedItem::turn(turn, after, self.open.is_none()))),
            Queued::Next(segment, records) => {
                if self.passed != records {
                    // What is read must be what was landed (I10).
                    return Err(Error::bug("read landing", "other records were given than were landed")
                        .with("segment", segment - 1)
                        .with("landed", records)
                        .with("given", self.passed));
                }
                self.passed = 0;
                let after = LandingPosition { segment, record: 0 };
                Some(Input::Item(FedItem {
                    pages: Vec::new(),
                    records: 0,
                    bytes: 0,
                    superseded: 0,
                    after: Advance::Landing(after),
                    may_cut: self.open.is_none(),
                    reservation: Reservation::none(),
                    turn: None,
                }))
            }
            Queued::Page(page, reservation) => self.take_page(*page, reservation)?,
        })
    }

    fn take_page(&mut self, page: Page, reservation: Reservation) -> Result<Option<Input>> {
        let records = page.records.saturating_sub(page.skip);
        let start = page.origin.map(|o| o.start).unwrap_or_default();
        let after = LandingPosition { segment: start.segment, record: start.record + page.records };
        let mut superseded = 0;
        if let Some(part) = page.part {
            if self.superseded.contains(&part.response) {
                if part.last {
                    // Its position is durable: nobody would ask for it again.
                    return Err(Error::corrupt("read landing", "a response that was given up became whole after all")
                        .with("partition", &page.partition)
                        .with("segment", start.segment)
                        .with_hint("parts of two responses are mixed in the landing: a bug of its writer; report it"));
                }
                superseded = records;
            } else {
                if self.open.as_ref().is_some_and(|open| open.response != part.response) {
                    // Kept for after the rewind, which reads this segment again.
                    return Ok(self.abandon());
                }
                self.open =
                    (!part.last).then(|| OpenResponse { response: part.response, partition: page.partition.clone() });
            }
        }
        let bytes = page.body.len() as u64;
        self.passed += records;
        let records = records - superseded;
        let of = PageOf { partition: page.partition.clone(), window: page.window.clone(), records, superseded };
        let item = (superseded == 0).then(|| Box::new(page) as BoxItem);
        Ok(Some(Input::Item(FedItem {
            pages: vec![(of, item)],
            records,
            bytes,
            superseded,
            after: Advance::Landing(after),
            may_cut: self.open.is_none(),
            reservation,
            turn: None,
        })))
    }

    /// Whether a response begins with this page that is not whole with it.
    fn opens(&self, page: &Page) -> bool {
        self.open.is_none() && page.part.is_some_and(|part| !part.last && !self.superseded.contains(&part.response))
    }

    fn abandon(&mut self) -> Option<Input> {
        self.open.take().map(|open| Input::Abandoned(open.response))
    }
}
