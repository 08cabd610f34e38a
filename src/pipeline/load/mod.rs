//! Landing to sink, for one shard: stages run beside the I/O, epochs are prepared, then committed.

mod enumeration;

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::chain::Chain;
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::landing::{AccountRows, Accounts, LandingReader, Retention};
use crate::model::{EpochLedger, Incarnation, LoadCounts, PartitionId, Reject, ShardKey, StageCounts};
use crate::pipeline::epoch::{Checkpoint, ConfigRecord, FORMAT, InputPosition, Owner, Prepared, digest, roll_forward};
use crate::pipeline::erased::{AnySink, AnyStage, AnyWriter};
use crate::pipeline::events::{Event, Events, MOST_NAMED};
use crate::pipeline::feed::{Advance, FedItem, Feed, Input, PageOf, Turn};
use crate::pipeline::program::{Outcome, Program};
use crate::pipeline::settings::Settings;
use crate::pipeline::state::StateObjects;
use crate::pipeline::task::Task;
use crate::sink::{Demand, Enumeration, EpochContext, Quarantine, QuarantineWriter, StagedOutput};
use crate::source::Reservation;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Segments without records after which the position is recorded all the same.
const FAR_SEGMENTS: u64 = 64;

/// The sink among the stages of a ledger, where it has refused records.
pub(in crate::pipeline) const SINK: &str = "sink";

/// What the load of a shard is made of.
pub(in crate::pipeline) struct Load {
    pub shard: ShardKey,
    pub env: Env,
    pub settings: Settings,
    pub sink: Arc<dyn AnySink>,
    pub quarantine: Option<Quarantine>,
    pub checkpoints: Arc<dyn CheckpointStore>,
    pub state: Option<StateObjects>,
    pub retention: Option<Retention>,
    /// What became of the records of each partition; `None` without a landing.
    pub accounts: Option<Accounts>,
    pub stages: Vec<Box<dyn AnyStage>>,
    pub config: ConfigRecord,
    /// `None` if it reads its source directly.
    pub landing: Option<LandingReader>,
    pub events: Events,
    /// Whether an enumeration is whole although records of it are in the quarantine.
    pub accept_quarantined: bool,
}

/// A load that owns its chain and has finished what an earlier owner prepared.
pub(in crate::pipeline) struct OpenLoad {
    pub load: Load,
    pub chain: Chain,
    pub owner: Owner,
    pub newest: (u64, Checkpoint),
}

/// What is left when a load has ended well.
pub(in crate::pipeline) struct Loaded {
    chain: Chain,
    load: Load,
    newest: (u64, Checkpoint),
    /// Whether the newest enumeration is whole.
    whole: bool,
}

impl OpenLoad {
    /// Where to go on.
    pub(in crate::pipeline) fn position(&self) -> InputPosition {
        self.newest.1.input.clone()
    }

    /// The landing that was read up to there.
    pub(in crate::pipeline) fn landing(&self) -> Option<&Incarnation> {
        self.newest.1.landing.as_ref()
    }

    /// Loads everything that the feed gives, and commits it.
    pub(in crate::pipeline) async fn run(mut self, feed: Feed, landing: Option<Incarnation>) -> Result<Loaded> {
        let mut leading = Program::new(std::mem::take(&mut self.load.stages));
        let copies = leading.fork_leading();
        let ordered = leading.split_off(copies.stages.len());
        let position = self.position();
        if let Some(accounts) = &mut self.load.accounts {
            accounts.restore(self.chain.generation(), &self.newest.1.accounts);
        }
        let Self { load, chain, owner, newest } = self;
        let epoch = Epoch::new(&leading, &ordered);
        let enumeration = newest.1.enumeration_on(load.sink.demand());
        let whole = newest.1.enumeration.is_some_and(|e| e.whole);
        let running = Running {
            load,
            chain,
            owner,
            newest,
            position,
            landing,
            feed,
            leading,
            idle: vec![copies],
            ordered: Some(ordered),
            in_flight: VecDeque::new(),
            epoch,
            enumeration,
            whole,
            refused: None,
            pending: None,
            named: HashSet::new(),
            attempt: 0,
        };
        running.run().await
    }
}

/// Where an item stands that is being worked on.
struct InFlight {
    fed: Fed,
    work: Task<Result<(Program, Result<Outcome>)>>,
}

/// What is known of an item besides its content.
struct Fed {
    pages: Vec<PageOf>,
    /// Whether there is content to work on.
    worked: bool,
    records: u64,
    bytes: u64,
    superseded: u64,
    after: Advance,
    may_cut: bool,
    reservation: Reservation,
    turn: Option<Turn>,
}

/// The epoch that is being filled.
struct Epoch {
    ledger: EpochLedger,
    /// The sum of what was added to the accounts of partitions.
    accounted: LoadCounts,
    /// The same by partition, of those that the report may name.
    named: BTreeMap<PartitionId, LoadCounts>,
    /// Records that the sink refused.
    refused: u64,
    bytes: u64,
    /// When its first input came; `None` while there was none.
    since: Option<Duration>,
    may_cut: bool,
    writer: Option<Box<dyn AnyWriter>>,
    /// What is staged already, in the place of a writer.
    output: Option<StagedOutput<serde_json::Value>>,
    rejects: Option<QuarantineWriter>,
}

impl Epoch {
    fn new(leading: &Program, ordered: &Program) -> Self {
        let stages = leading.stages.iter().chain(&ordered.stages);
        let stages = stages.map(|s| StageCounts { stage: s.name().to_owned(), ..StageCounts::default() }).collect();
        let ledger = EpochLedger { stages, ..EpochLedger::default() };
        let (accounted, named) = Default::default();
        let (writer, output, rejects) = (None, None, None);
        Self { ledger, accounted, named, refused: 0, bytes: 0, since: None, may_cut: true, writer, output, rejects }
    }
}

/// An epoch whose checkpoint exists, on its way into the sink.
struct Pending {
    number: u64,
    ledger: EpochLedger,
    named: BTreeMap<PartitionId, LoadCounts>,
    position: InputPosition,
    commit: Task<Result<()>>,
}

struct Running {
    load: Load,
    chain: Chain,
    owner: Owner,
    newest: (u64, Checkpoint),
    /// Everything before it has been worked on.
    position: InputPosition,
    /// The landing that the feed reads.
    landing: Option<Incarnation>,
    feed: Feed,
    /// The originals of the stages whose copies run side by side; they hold the state.
    leading: Program,
    /// Copies that wait for work.
    idle: Vec<Program>,
    /// The stages that need the order; `None` only while they run.
    ordered: Option<Program>,
    in_flight: VecDeque<InFlight>,
    epoch: Epoch,
    /// What the epoch belongs to, if the sink demands enumerations.
    enumeration: Option<Enumeration>,
    /// Whether the newest enumeration is whole.
    whole: bool,
    /// Why the sink does not take the newest enumeration, though it is whole.
    refused: Option<Error>,
    pending: Option<Pending>,
    /// The first partitions of this run: what becomes of their records is told one by one.
    named: HashSet<PartitionId>,
    /// Times that this owner went back: part of the name of staged files.
    attempt: u32,
}

impl Running {
    async fn run(mut self) -> Result<Loaded> {
        if let Err(error) = self.load_all().await {
            return Err(self.chain.explain(error).await);
        }
        let Self { mut load, chain, newest, leading, ordered, whole, .. } = self;
        load.stages = leading.stages.into_iter().chain(ordered.into_iter().flat_map(|o| o.stages)).collect();
        Ok(Loaded { chain, load, newest, whole })
    }

    async fn load_all(&mut self) -> Result<()> {
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
                    Some(Input::Abandoned(response)) => self.go_back(response).await?,
                    None => open = false,
                },
                done = first(&mut self.in_flight) => {
                    let (program, outcome) = done??;
                    self.idle.push(program);
                    if let Some(InFlight { fed, .. }) = self.in_flight.pop_front() {
                        let turn = fed.turn;
                        self.finish(fed, outcome?).await?;
                        if let (Some(turn), Demand::Enumerations) = (turn, self.load.sink.demand()) {
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
        if !self.epoch.may_cut {
            // The run ended inside of a response that is not known to be whole: the next run decides about it.
            return Err(Error::data("load", "the landing ends inside of a response")
                .with("shard", &self.load.shard)
                .with_hint("nothing is lost; run again"));
        }
        self.cut().await?;
        self.settle().await?;
        self.refused.take().map_or(Ok(()), Err)
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
        if self.epoch.since.is_none() && (fed.worked || fed.superseded > 0 || self.is_far()) {
            self.epoch.since = Some(self.load.env.monotonic());
        }
        drop(fed.reservation);
        Ok(())
    }

    /// Gives what became of the records of each page.
    async fn write(&mut self, outcome: Outcome, mut pages: Vec<LoadCounts>) -> Result<Vec<LoadCounts>> {
        for counts in &outcome.counts {
            self.epoch.ledger.add(&EpochLedger { stages: vec![counts.clone()], ..EpochLedger::default() });
        }
        for (stage, reject) in outcome.rejects {
            self.reject(Some(stage), reject).await?;
        }
        for (page, item) in outcome.items {
            let records = item.records();
            if records == 0 {
                continue;
            }
            if self.epoch.writer.is_none() {
                self.epoch.writer = Some(self.load.sink.open(self.context()).await?);
            }
            let Some(writer) = &mut self.epoch.writer else { continue };
            let rejects = writer.write(item).await?;
            let refused = rejects.len() as u64;
            let written = records.checked_sub(refused).ok_or_else(|| {
                Error::bug("write", "the sink refused more records than it was given")
                    .with("records", records)
                    .with("refused", refused)
            })?;
            self.epoch.ledger.written += written;
            self.epoch.refused += refused;
            if let Some(page) = pages.get_mut(page) {
                page.add(&LoadCounts { loaded: written, quarantined: refused, ..LoadCounts::default() });
            }
            for reject in rejects {
                self.reject(None, reject).await?;
            }
        }
        Ok(pages)
    }

    /// Adds to the accounts of partitions what became of the records of some pages, which must balance one by one.
    async fn account(&mut self, pages: &[PageOf], made: Vec<LoadCounts>) -> Result<()> {
        let Some(accounts) = &mut self.load.accounts else { return Ok(()) };
        for (page, made) in pages.iter().zip(made) {
            let counts = LoadCounts { read: page.records, superseded: page.superseded, ..made };
            if !counts.balances() {
                return Err(Error::bug("load", "records of a page are not accounted for")
                    .with("partition", &page.partition)
                    .with("counts", counts));
            }
            self.epoch.accounted.add(&counts);
            if self.named.len() < MOST_NAMED && !self.named.contains(&page.partition) {
                self.named.insert(page.partition.clone());
            }
            if self.named.contains(&page.partition) {
                self.epoch.named.entry(page.partition.clone()).or_default().add(&counts);
            }
            accounts.add(&page.partition, page.window.as_ref(), &counts)?;
        }
        accounts.make_room(&self.load.env, self.chain.next_number()).await
    }

    /// Takes up a record that stage number `stage` refused; `None` is the sink.
    async fn reject(&mut self, stage: Option<usize>, reject: Reject) -> Result<()> {
        let stage = stage.and_then(|n| self.epoch.ledger.stages.get(n)).map_or(SINK, |s| s.stage.as_str());
        if on(Defect::RejectsVanish) {
            return Ok(());
        }
        let Some(quarantine) = &self.load.quarantine else {
            return Err(Error::data("quarantine record", "a record was rejected, and there is no quarantine")
                .with("stage", stage)
                .with("code", reject.code)
                .with("reason", reject.reason)
                .with_hint("give the pipeline a quarantine; the record is landed and nothing is lost"));
        };
        if self.epoch.rejects.is_none() {
            self.epoch.rejects = Some(quarantine.open(&self.context())?);
        }
        if let Some(rejects) = &mut self.epoch.rejects {
            rejects.add(stage, reject).await?;
        }
        Ok(())
    }

    fn context(&self) -> EpochContext {
        EpochContext {
            shard: self.load.shard.clone(),
            generation: self.owner.generation,
            epoch: self.chain.next_number(),
            attempt: self.attempt,
            enumeration: self.enumeration,
            must_commit: self.enumeration.is_some_and(|e| e.whole),
            env: self.load.env.clone(),
        }
    }

    /// Whether the position alone is worth an epoch: each start reads what lies between, even where it holds no record.
    fn is_far(&self) -> bool {
        match (&self.position, &self.newest.1.input) {
            (InputPosition::Landing(now), InputPosition::Landing(then)) => {
                now.segment.saturating_sub(then.segment) >= FAR_SEGMENTS
            }
            _ => false,
        }
    }

    fn is_full(&self) -> bool {
        let settings = &self.load.settings;
        let staged = self.epoch.writer.as_ref().map_or(0, |w| w.staged_bytes());
        self.epoch.may_cut
            && (self.epoch.bytes.max(staged) >= settings.epoch_bytes
                || self.epoch.ledger.read >= settings.epoch_records)
    }

    /// Ends the epoch: stages its output, writes its checkpoint, and starts its commit (I1).
    async fn cut(&mut self) -> Result<()> {
        if self.epoch.since.is_none() {
            return Ok(());
        }
        let number = self.chain.next_number();
        let Some(mut ordered) = self.ordered.take() else { return Err(Error::bug("cut epoch", "stages still run")) };
        let fresh = Epoch::new(&self.leading, &ordered);
        let Epoch { mut ledger, refused, accounted, named, writer, output, rejects, .. } =
            std::mem::replace(&mut self.epoch, fresh);
        let output = match writer {
            Some(writer) => writer.finish().await?,
            None => output,
        };
        let quarantine = match rejects {
            Some(rejects) => rejects.finish().await?,
            None => None,
        };
        if let (Some(published), Some(rejects), true) =
            (&self.load.quarantine, &quarantine, on(Defect::QuarantineIsApart))
        {
            published.publish(rejects).await?;
        }
        if refused > 0 {
            ledger.stages.push(StageCounts {
                stage: SINK.to_owned(),
                input: ledger.written + refused,
                output: ledger.written,
                quarantined: refused,
                ..StageCounts::default()
            });
        }
        ledger.staged = output.as_ref().map_or(0, |o| o.records);
        let bytes = output.as_ref().map_or(0, |o| o.bytes);
        ledger.quarantined = quarantine.as_ref().map_or(0, |q| q.records);
        if let Some(enumeration) = &mut self.enumeration {
            enumeration.quarantined += ledger.quarantined;
        }
        if !on(Defect::LedgerIsNotChecked) {
            ledger.check().map_err(|e| e.with("shard", &self.load.shard).with("epoch", number))?;
        }
        let accounts = match &mut self.load.accounts {
            Some(accounts) if accounted.agree_with(&ledger) => accounts.save(&self.load.env, number).await?,
            Some(_) => {
                return Err(Error::bug("cut epoch", "the accounts of partitions and the ledger differ")
                    .with("shard", &self.load.shard)
                    .with("epoch", number)
                    .with("accounts", accounted));
            }
            None => AccountRows::default(),
        };
        let refs = self.newest.1.state.as_slice();
        let stages = self.leading.stages.iter_mut().chain(&mut ordered.stages);
        let state = match &self.load.state {
            Some(_) if on(Defect::StateIsNotSaved) => refs.to_vec(),
            Some(state) => state.save(stages, refs, number).await?,
            None => Vec::new(),
        };
        self.ordered = Some(ordered);
        // At most one uncommitted epoch: the one before must be known to be committed.
        if !on(Defect::TwoEpochsAreOpen) {
            self.settle().await?;
        }
        let mut input = self.position.clone();
        if on(Defect::PositionIsAhead) {
            self.in_flight.iter().for_each(|ahead| input.advance(ahead.fed.after.clone()));
        }
        let previous = self.newest.1.marked;
        let prepared = output.map(|o| Prepared { previous, digest: digest(&o.staged), staged: o.staged });
        let checkpoint = Checkpoint {
            format: FORMAT.to_owned(),
            config: self.load.config.clone(),
            input,
            landing: self.landing.clone(),
            state,
            marked: if prepared.is_some() { Some(number) } else { previous },
            prepared,
            quarantine,
            ledger: ledger.clone(),
            accounts,
            enumeration: self.enumeration,
            abandoned: self.newest.1.abandoned.clone(),
        };
        if on(Defect::CommitsBeforeCheckpoint) {
            let (env, sink, quarantine) = (&self.load.env, self.load.sink.as_ref(), self.load.quarantine.as_ref());
            roll_forward(env, sink, quarantine, &self.owner, number, &checkpoint, &self.load.events).await?;
        }
        let span = tracing::debug_span!("append checkpoint", epoch = number);
        let written = self.chain.append(checkpoint.encode()?).instrument(span).await?;
        if written != number {
            return Err(Error::bug("write checkpoint", "another number than announced").with("number", written));
        }
        let (shard, records) = (self.load.shard.clone(), ledger.staged);
        self.load.events.send(Event::EpochPrepared { shard, epoch: number, records, bytes });
        let commit = {
            let (env, sink) = (self.load.env.clone(), Arc::clone(&self.load.sink));
            let (quarantine, owner) = (self.load.quarantine.clone(), self.owner.clone());
            let (checkpoint, events) = (checkpoint.clone(), self.load.events.clone());
            Task::spawn("commit epoch", async move {
                let quarantine = quarantine.as_ref();
                roll_forward(&env, sink.as_ref(), quarantine, &owner, number, &checkpoint, &events).await.map(drop)
            })
        };
        self.pending = Some(Pending { number, ledger, named, position: checkpoint.input.clone(), commit });
        self.newest = (number, checkpoint);
        Ok(())
    }

    /// Waits until the prepared epoch is committed.
    async fn settle(&mut self) -> Result<()> {
        if self.pending.is_none() {
            return Ok(());
        }
        let committed = settled(&mut self.pending).await;
        let pending = self.pending.take();
        self.committed(pending, committed?).await
    }

    async fn committed(&mut self, pending: Option<Pending>, result: Result<()>) -> Result<()> {
        result?;
        let Some(Pending { number, ledger, named, position, .. }) = pending else { return Ok(()) };
        self.load.events.loaded(named);
        self.load.events.send(Event::EpochCommitted { shard: self.load.shard.clone(), epoch: number, ledger });
        self.load.publish(&position).await
    }

    /// Gives up what was staged since the last checkpoint, and goes on from there without `response`.
    async fn go_back(&mut self, response: u64) -> Result<()> {
        self.load.events.send(Event::ResponseSuperseded { shard: self.load.shard.clone() });
        self.in_flight.clear();
        self.attempt += 1;
        let Some(mut ordered) = self.ordered.take() else { return Err(Error::bug("go back", "stages still run")) };
        let Checkpoint { state: refs, input: position, accounts: rows, .. } = self.newest.1.clone();
        if let Some(accounts) = &mut self.load.accounts {
            accounts.restore(self.chain.generation(), &rows);
        }
        self.epoch = Epoch::new(&self.leading, &ordered);
        let stages = self.leading.stages.iter_mut().chain(&mut ordered.stages);
        super::state::restore(self.load.state.as_ref(), stages, &refs).await?;
        self.ordered = Some(ordered);
        self.feed.rewind(&position, response)?;
        self.position = position;
        self.enumeration = self.newest.1.enumeration_on(self.load.sink.demand());
        Ok(())
    }
}

async fn first(in_flight: &mut VecDeque<InFlight>) -> Result<Result<(Program, Result<Outcome>)>> {
    match in_flight.front_mut() {
        Some(InFlight { work, .. }) => work.await,
        None => std::future::pending().await,
    }
}

async fn settled(pending: &mut Option<Pending>) -> Result<Result<()>> {
    match pending {
        Some(Pending { commit, .. }) => commit.await,
        None => std::future::pending().await,
    }
}

impl Loaded {
    /// Whether the newest enumeration of the landing is whole.
    pub(in crate::pipeline) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Deletes what no recovery and no reader needs any more: boundaries first, then objects. Returns how many.
    pub(in crate::pipeline) async fn collect(&mut self) -> Result<u64> {
        let (number, checkpoint) = &self.newest;
        let load = &self.load;
        let mut deleted = self.chain.collect(number.saturating_sub(load.settings.kept_checkpoints)).await?;
        if let Some(state) = &load.state {
            deleted += state.collect(&checkpoint.state, *number).await?;
        }
        if let Some(accounts) = &load.accounts {
            deleted += accounts.collect(&checkpoint.accounts, *number).await?;
        }
        let generation = self.chain.generation();
        let staged: Vec<_> = checkpoint.prepared.iter().map(|p| p.staged.clone()).collect();
        deleted += load.sink.collect(&load.shard, generation, &staged).await?;
        if let Some(quarantine) = &load.quarantine {
            let keep: Vec<_> = checkpoint.quarantine.iter().cloned().collect();
            deleted += quarantine.collect(&load.shard, generation, &keep).await?;
        }
        Ok(deleted)
    }
}
