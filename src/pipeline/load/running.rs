//! The loop of a load: what is fed is worked on beside the I/O, and taken up in its order.

use super::commit::{Pending, settled};
use super::epoch::Epoch;
use super::{Load, Loaded};
use crate::checkpoint::chain::Chain;
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{Incarnation, LoadCounts, PartitionId};
use crate::pipeline::epoch::{Checkpoint, InputPosition, Owner};
use crate::pipeline::events::Event;
use crate::pipeline::feed::{Advance, FedItem, Feed, Input, PageOf, Turn};
use crate::pipeline::program::{Outcome, Program};
use crate::pipeline::task::Task;
use crate::sink::{Demand, Enumeration};
use crate::source::Reservation;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// Where an item stands that is being worked on.
pub(super) struct InFlight {
    pub(super) fed: Fed,
    pub(super) work: Task<Result<(Program, Result<Outcome>)>>,
}

/// What is known of an item besides its content.
pub(super) struct Fed {
    pub(super) pages: Vec<PageOf>,
    /// Whether there is content to work on.
    pub(super) worked: bool,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) superseded: u64,
    pub(super) after: Advance,
    pub(super) may_cut: bool,
    pub(super) reservation: Reservation,
    pub(super) turn: Option<Turn>,
}

pub(super) struct Running {
    pub(super) load: Load,
    pub(super) chain: Chain,
    pub(super) owner: Owner,
    pub(super) newest: (u64, Checkpoint),
    /// Everything before it has been worked on.
    pub(super) position: InputPosition,
    /// The landing that the feed reads.
    pub(super) landing: Option<Incarnation>,
    pub(super) feed: Feed,
    /// The originals of the stages whose copies run side by side; they hold the state.
    pub(super) leading: Program,
    /// Copies that wait for work.
    pub(super) idle: Vec<Program>,
    /// The stages that need the order; `None` only while they run.
    pub(super) ordered: Option<Program>,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) epoch: Epoch,
    /// What the epoch belongs to, if the sink demands enumerations.
    pub(super) enumeration: Option<Enumeration>,
    /// Whether the newest enumeration is whole.
    pub(super) whole: bool,
    /// Why the sink does not take the newest enumeration, though it is whole.
    pub(super) refused: Option<Error>,
    pub(super) pending: Option<Pending>,
    /// The first partitions of this run: what becomes of their records is told one by one.
    pub(super) named: HashSet<PartitionId>,
    /// Times that this owner went back: part of the name of staged files.
    pub(super) attempt: u32,
}

impl Running {
    pub(super) async fn run(mut self) -> Result<Loaded> {
        if let Err(error) = self.load_all().await {
            return Err(self.chain.explain(error).await);
        }
        let Self { mut load, chain, newest, leading, ordered, whole, .. } = self;
        load.stages = leading.stages.into_iter().chain(ordered.into_iter().flat_map(|o| o.stages)).collect();
        Ok(Loaded { chain, load, newest, whole })
    }

    async fn load_all(&mut self) -> Result<()> {
        self.load_given().await?;
        if !self.epoch.may_cut {
            // The run ended inside of a response that is not known to be whole: the next run decides about it. What comes before
            // it does not wait for that.
            if let Some(end) = self.epoch.may_cut_at {
                self.feed.end_at(end);
                self.go_back().await?;
                self.load_given().await?;
                if self.epoch.may_cut {
                    self.cut().await?;
                }
            }
            self.settle().await?;
            return Err(Error::unavailable("load", "the landing ends inside of a response")
                .with("shard", &self.load.shard)
                .with_hint("nothing is lost; run again, once its owner has"));
        }
        if self.epoch.since.is_none() && self.is_far() {
            self.epoch.since = Some(self.load.env.monotonic());
        }
        if !on(Defect::TailIsKept) {
            self.cut().await?;
        }
        self.settle().await?;
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Loads what the feed gives, to its end.
    async fn load_given(&mut self) -> Result<()> {
        let env = self.load.env.clone();
        let ahead = env.cores() + 2;
        let mut open = true;
        while open || !self.in_flight.is_empty() {
            let left = match self.epoch.since {
                Some(since) => self.load.settings.epoch_age.saturating_sub(env.monotonic().saturating_sub(since)),
                None => Duration::MAX,
            };
            tokio::select! {
                biased;
                input = self.feed.next(), if open && self.in_flight.len() < ahead => match input? {
                    Some(Input::Item(fed)) => self.begin(fed)?,
                    Some(Input::Abandoned(response)) => {
                        self.load.events.send(Event::ResponseSuperseded { shard: self.load.shard.clone() });
                        self.feed.supersede(response);
                        self.go_back().await?;
                    }
                    None => open = false,
                },
                done = first(&mut self.in_flight) => {
                    let (program, outcome) = done??;
                    self.idle.push(program);
                    if let Some(InFlight { fed, .. }) = self.in_flight.pop_front() {
                        let turn = fed.turn.filter(|_| self.load.sink.demand() == Demand::Enumerations);
                        if turn.is_some() {
                            // What comes before it ends before it: it is given again until an epoch of its own is cut.
                            self.cut().await?;
                        }
                        self.finish(fed, outcome?).await?;
                        if let Some(turn) = turn {
                            self.turn(turn).await?;
                        }
                    }
                    if self.is_full() {
                        self.cut().await?;
                    }
                }
                committed = settled(&mut self.pending) => {
                    let pending = self.pending.take();
                    self.committed(pending, committed?).await?;
                }
                () = env.sleep(left), if self.epoch.since.is_some() && self.epoch.may_cut && !left.is_zero() => {}
            }
            let aged =
                self.epoch.since.is_some_and(|s| env.monotonic().saturating_sub(s) >= self.load.settings.epoch_age);
            if aged && self.epoch.may_cut {
                self.cut().await?;
            }
        }
        Ok(())
    }

    /// Starts the leading stages on some items, beside everything else.
    fn begin(&mut self, item: FedItem) -> Result<()> {
        let FedItem { pages, records, bytes, superseded, after, may_cut, reservation, turn } = item;
        let (pages, items): (Vec<PageOf>, Vec<_>) = pages.into_iter().unzip();
        let items: Vec<_> = items.into_iter().enumerate().filter_map(|(page, item)| Some((page, item?))).collect();
        let worked = !items.is_empty();
        let outcome = Outcome { items, pages: vec![LoadCounts::default(); pages.len()], ..Outcome::default() };
        let fed = Fed { pages, worked, records, bytes, superseded, after, may_cut, reservation, turn };
        let mut program = match self.idle.pop() {
            Some(program) => program,
            None => self.leading.fork()?,
        };
        let env = self.load.env.clone();
        let work = Task::spawn("run stages", async move {
            if !worked {
                return Ok((program, Ok(outcome)));
            }
            env.cpu("run stages", move || {
                let outcome = program.run(outcome);
                (program, outcome)
            })
            .await
        });
        self.in_flight.push_back(InFlight { fed, work });
        Ok(())
    }

    /// Runs the ordered stages on what the leading ones gave, and writes it.
    async fn finish(&mut self, fed: Fed, outcome: Outcome) -> Result<()> {
        let mut outcome = outcome;
        if fed.worked && self.ordered.as_ref().is_some_and(|o| !o.stages.is_empty()) {
            let mut ordered = self.ordered.take().ok_or_else(|| Error::bug("run stages", "they run already"))?;
            let env = self.load.env.clone();
            // Everything behind waits for it, so it does not queue for a core.
            let (ordered, done) = env
                .blocking("run stages", move || {
                    let done = ordered.run(outcome);
                    (ordered, done)
                })
                .await?;
            self.ordered = Some(ordered);
            outcome = done?;
        }
        let pages = std::mem::take(&mut outcome.pages);
        let loaded = self.write(outcome, pages).await.map_err(|e| e.with("shard", &self.load.shard))?;
        self.account(&fed.pages, loaded).await.map_err(|e| e.with("shard", &self.load.shard))?;
        self.epoch.ledger.read += fed.records;
        self.epoch.ledger.superseded += fed.superseded;
        self.epoch.bytes += fed.bytes;
        self.epoch.may_cut = fed.may_cut || on(Defect::PartsAreCommitted);
        self.position.advance(fed.after);
        let is_far = || fed.turn.is_none() && self.is_far();
        if self.epoch.since.is_none() && (fed.worked || fed.superseded > 0 || is_far()) {
            self.epoch.since = Some(self.load.env.monotonic());
        }
        if let (true, Some(_), InputPosition::Landing(at)) = (self.epoch.may_cut, self.epoch.since, &self.position) {
            self.epoch.may_cut_at = Some(*at);
        }
        drop(fed.reservation);
        Ok(())
    }
}

async fn first(in_flight: &mut VecDeque<InFlight>) -> Result<Result<(Program, Result<Outcome>)>> {
    match in_flight.front_mut() {
        Some(InFlight { work, .. }) => work.await,
        None => std::future::pending().await,
    }
}
