//! One run of a pipeline: opens every shard, extracts and loads at the same time, and reports.

use super::Pipeline;
use super::beside::Beside;
use super::epoch::InputPosition;
use super::erased::ReadContext;
use super::events::{Event, Events};
use super::extract::Extract;
use super::feed::{Feed, LandingFeed};
use super::fences::Fences;
use super::handle::{RunControl, RunFailure, RunHandle};
use super::handoff::{HandoffReceiver, Window, handoff};
use super::listing::{Assigned, Landed, Lister, ShardPositions};
use super::load::{Load, Loaded, OpenLoad};
use super::reads::{ReadEnd, Reads};
use super::report::RunReport;
use super::state::StateObjects;
use super::task::Task;
use crate::checkpoint::chain;
use crate::defects::{Defect, on};
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::{Accounts, Landing, LandingReader, LandingWriter, Retention};
use crate::model::{Incarnation, ShardKey, Timestamp};
use crate::sink::Demand;
use crate::source::{Emission, Gate, PositionLookup};
use futures::future::{Either, join, select};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

impl Pipeline {
    /// The shard whose landing shard `number` loads.
    pub(super) fn landing_key(&self, number: u32) -> ShardKey {
        ShardKey { pipeline: self.landed_by.as_ref().unwrap_or(&self.name).clone(), shard: number }
    }

    /// What the load of `shard` is made of.
    pub(super) fn load_of(&self, shard: &ShardKey, events: &Events) -> Result<Load> {
        let (landed, env) = (self.landing_key(shard.shard), &self.env);
        let state = self.state.as_ref().map(|(store, prefix)| StateObjects::new(store, prefix, shard));
        Ok(Load {
            shard: shard.clone(),
            env: env.clone(),
            settings: self.settings.clone(),
            sink: Arc::clone(&self.sink),
            quarantine: self.quarantine.clone(),
            checkpoints: Arc::clone(&self.checkpoints),
            state: state.transpose()?,
            retention: self.landing.as_ref().map(|l| Retention::new(l, &landed, env)),
            accounts: self.landing.as_ref().map(|l| Accounts::new(l, &landed, &self.name)).transpose()?,
            stages: self.stages.iter().map(|s| s.make()).collect(),
            config: self.config.clone(),
            landing: self.landing.as_ref().map(|l| LandingReader::new(l, &landed, env)),
            events: events.clone(),
            accept_quarantined: self.accept_quarantined,
        })
    }

    /// Runs once: reads every partition from where it stands to its end, and commits everything.
    ///
    /// # Errors
    /// What failed first, with the report of what was committed all the same. Nothing that was landed is lost; run
    /// again to go on.
    ///
    /// # Cancellation
    /// Dropping the future is as safe as a crash: the next run recovers.
    pub async fn run(&self) -> Result<RunReport, RunFailure> {
        self.start().wait().await
    }

    /// Starts a run in the background. Must be called within a tokio runtime.
    pub fn start(&self) -> RunHandle {
        self.start_beside(Beside::default())
    }

    pub(super) fn start_beside(&self, beside: Beside) -> RunHandle {
        let beside = Arc::new(beside);
        let (stop, stopped) = watch::channel(false);
        let events = Events::new(&self.name);
        let (env, started_at, promise) = (self.env.clone(), self.env.now(), self.sink.promise());
        let run = Run { pipeline: self.clone(), beside, stop: stopped, events: events.clone(), started_at };
        let task = Task::spawn("run pipeline", run.run().instrument(tracing::info_span!("run", pipeline = %self.name)));
        let control = RunControl { stop, events, abort: task.abort_handle(), env, promise, started_at };
        RunHandle { task, control }
    }
}

struct Run {
    pipeline: Pipeline,
    beside: Arc<Beside>,
    stop: watch::Receiver<bool>,
    events: Events,
    started_at: Timestamp,
}

impl Run {
    async fn run(self) -> Result<RunReport, RunFailure> {
        // Past the deadline a graceful stop becomes an abort, wherever the run is: what it does ends when it is dropped.
        let mut errors = tokio::select! {
            biased;
            done = self.shards() => done.unwrap_or_else(|error| vec![error]),
            () = self.deadline(), if !on(Defect::StopHasNoDeadline) => vec![Error::cancelled("run pipeline")
                .with_hint("the deadline of the graceful stop has passed; the next run recovers")],
        };
        let (promise, now, stopped) = (self.pipeline.sink.promise(), self.pipeline.env.now(), *self.stop.borrow());
        let report = RunReport::of(&self.events, promise, self.started_at, now, stopped);
        // A take-over explains every other error of the run.
        errors.sort_by_key(|e| e.kind() != ErrorKind::Fenced);
        self.events.send(Event::RunEnded { failed: errors.first().map(Error::kind) });
        let mut errors = errors.into_iter();
        match errors.next() {
            None => Ok(report),
            Some(error) => Err(RunFailure { error, others: errors.collect(), report: Box::new(report) }),
        }
    }

    /// Runs all shards to their end; gives what failed.
    async fn shards(&self) -> Result<Vec<Error>> {
        let pipeline = &self.pipeline;
        let env = &pipeline.env;
        chain::probe(pipeline.checkpoints.as_ref(), env).await?;
        if let Some(landing) = &pipeline.landing {
            landing.probe(env).await?;
            if pipeline.landed_by.is_some() {
                self.check_shards(landing).await?;
            }
            self.announce_loads(landing).await?;
        }
        let capacity = pipeline.settings.memory_bytes;
        let budget =
            Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)));
        let fences = Arc::new(Fences::new(pipeline.settings.shards));
        let mut loads = Vec::new();
        for number in 0..pipeline.settings.shards {
            let cx = ReadContext {
                env: env.clone(),
                budget: Arc::clone(&budget),
                capacity,
                stop: self.stop.clone(),
                gate: Gate::default(),
                traffic: self.events.traffic(),
            };
            let shard = Shard {
                key: ShardKey { pipeline: pipeline.name.clone(), shard: number },
                pipeline: pipeline.clone(),
                beside: Arc::clone(&self.beside),
                cx,
                fences: Arc::clone(&fences),
                events: self.events.clone(),
            };
            // All shards are opened before any of them works: what one refuses must not be half done by others.
            let span = tracing::info_span!("shard", shard = %shard.key);
            let load = pipeline.load_of(&shard.key, &self.events)?.open().instrument(span.clone()).await?;
            loads.push((span, shard, load));
        }
        let mut opened = Vec::new();
        for (span, shard, load) in loads {
            let (input, positions) = shard.input(&load).instrument(span.clone()).await?;
            opened.push((span, shard, load, input, positions));
        }
        let mut queues = Vec::new();
        let mut positions = Vec::new();
        let mut tasks = Vec::new();
        for (span, shard, load, input, stood) in opened {
            // Two rounds of partitions: one that is slow to be listed does not leave readers idle.
            let (queue, partitions) = mpsc::channel(pipeline.settings.parallel_partitions);
            queues.push(queue);
            positions.push(Arc::clone(&stood));
            let running = shard.run(load, input, stood, partitions).instrument(span);
            tasks.push(Task::spawn("run shard", running));
        }
        let lister = Lister {
            source: Arc::clone(&pipeline.source),
            env: env.clone(),
            stop: self.stop.clone(),
            queues,
            positions: Arc::new(ShardPositions(positions)),
            fences,
            may_fence: pipeline.landing.is_some() || pipeline.settings.shards == 1,
            events: self.events.clone(),
        };
        let listing = Task::spawn("list partitions", lister.run());
        let mut errors = Vec::new();
        for task in tasks {
            errors.extend(task.await.unwrap_or_else(|error| vec![error]));
        }
        // No shard takes partitions any more.
        errors.extend(listing.await.and_then(|listed| listed).err());
        Ok(errors)
    }

    /// What this run lands is kept for those that load it beside, before the first of them has read anything.
    async fn announce_loads(&self, landing: &Landing) -> Result<()> {
        for number in 0..self.pipeline.settings.shards {
            let retention = Retention::new(landing, &self.pipeline.landing_key(number), &self.pipeline.env);
            for load in &self.beside.loads {
                match retention.announce(load).await {
                    // Its beginning is gone: it finds out itself, and nobody else is stopped by that.
                    Err(e) if e.kind() == ErrorKind::Corrupt => {}
                    announced => announced?,
                }
            }
        }
        Ok(())
    }

    /// A landing of another pipeline with more shards than this one would be loaded in part only.
    async fn check_shards(&self, landing: &Landing) -> Result<()> {
        let Pipeline { settings, env, .. } = &self.pipeline;
        let beyond = self.pipeline.landing_key(settings.shards);
        if LandingReader::new(landing, &beyond, env).newest().await? == 0 {
            return Ok(());
        }
        Err(Error::config("open pipeline", "the landing has more shards than the pipeline that loads it")
            .with("landed", beyond)
            .with("shards", settings.shards)
            .with_hint("give it as many shards as the pipeline that landed"))
    }

    async fn deadline(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            // The handle is gone, and with it the task that runs this.
            std::future::pending::<()>().await;
        }
        self.pipeline.env.sleep(self.pipeline.settings.stop_deadline).await;
    }
}

struct Shard {
    key: ShardKey,
    pipeline: Pipeline,
    beside: Arc<Beside>,
    cx: ReadContext,
    fences: Arc<Fences>,
    events: Events,
}

/// What a shard loads from.
enum ShardInput {
    /// Its own landing, which it owns.
    Landing(Box<LandingWriter>, Landing, u64),
    /// What another pipeline has landed.
    Landed(Landing),
    /// The source itself.
    Source,
}

impl Shard {
    /// Takes over what the shard loads from, and finds out where its partitions stand.
    async fn input(&self, load: &OpenLoad) -> Result<(ShardInput, Arc<dyn PositionLookup>)> {
        let Some(landing) = self.pipeline.landing.clone() else {
            let InputPosition::Source(positions) = load.position() else {
                return Err(Error::bug("run shard", "a load of a landing was let through"));
            };
            return Ok((ShardInput::Source, Arc::new(positions)));
        };
        if self.pipeline.landed_by.is_some() {
            return Ok((ShardInput::Landed(landing), Arc::new(BTreeMap::new())));
        }
        let (writer, state) = LandingWriter::open(&landing, &self.key, &self.cx.env).await?;
        if load.landing().is_some_and(|read| read != writer.incarnation()) {
            return Err(Error::corrupt("run shard", "the landing was replaced since the load was opened")
                .with("shard", &self.key)
                .with_hint("bring back the one that the load has read"));
        }
        let positions: Arc<dyn PositionLookup> = match self.pipeline.from_the_beginning {
            true => Arc::new(BTreeMap::new()),
            false => Arc::new(Landed(state.positions)),
        };
        Ok((ShardInput::Landing(Box::new(writer), landing, state.newest), positions))
    }

    /// Runs the shard to its end; gives what failed, causes before consequences.
    async fn run(
        self,
        load: OpenLoad,
        input: ShardInput,
        positions: Arc<dyn PositionLookup>,
        partitions: mpsc::Receiver<Assigned>,
    ) -> Vec<Error> {
        let mut errors = Vec::new();
        let reads = Reads {
            source: Arc::clone(&self.pipeline.source),
            cx: self.cx.clone(),
            positions,
            parallel: self.pipeline.settings.parallel_partitions,
            park_budget: self.pipeline.settings.park_budget,
        };
        let (loaded, writer) = match input {
            ShardInput::Landing(writer, landing, newest) => {
                self.land_and_load(landing, *writer, newest, load, reads, partitions, &mut errors).await
            }
            ShardInput::Landed(landing) => (self.load_landed(&landing, load, &mut errors).await, None),
            ShardInput::Source => (self.load_directly(load, reads, partitions, &mut errors).await, None),
        };
        // Also beside partitions that failed, which may do so in each run: what nobody needs any more is none of theirs.
        if let Some(mut loaded) = loaded {
            let collecting = self.collect(&mut loaded, writer).instrument(tracing::debug_span!("collect"));
            if let Err(error) = collecting.await {
                self.events.send(Event::CollectionFailed { shard: self.key.clone(), error: error.to_string() });
            }
        }
        errors
    }

    #[expect(clippy::too_many_arguments, reason = "these are the parts of a shard, each used once")]
    async fn land_and_load(
        &self,
        landing: Landing,
        writer: LandingWriter,
        newest: u64,
        load: OpenLoad,
        reads: Reads,
        partitions: mpsc::Receiver<Assigned>,
        errors: &mut Vec<Error>,
    ) -> (Option<Loaded>, Option<LandingWriter>) {
        let env = &self.cx.env;
        let settings = &self.pipeline.settings;
        let InputPosition::Landing(from) = load.position() else {
            errors.push(Error::bug("run shard", "a load without a landing was let through"));
            return (None, None);
        };
        let incarnation = writer.incarnation().clone();
        let window = Window {
            segments: settings.handoff_segments,
            bytes: settings.memory_bytes / (2 * u64::from(settings.shards)),
        };
        let (sender, receiver) = handoff(env, newest, window, settings.handoff_patience);
        self.beside.tell(self.key.shard, &receiver.tail);
        let reader = LandingReader::new(&landing, &self.key, env);
        let feed = Feed::Landing(Box::new(LandingFeed::new(receiver, reader, from, settings)));
        let extract = Extract {
            shard: self.key.clone(),
            landing,
            reads,
            fences: Arc::clone(&self.fences),
            events: self.events.clone(),
            enumerates: self.pipeline.from_the_beginning,
        };
        let loading = self.loading(load, feed, Some(incarnation));
        let extracting = Task::spawn("extract", extract.run(writer, partitions, sender));
        let (extracted, loaded) = tokio::join!(extracting, loading);
        let (failures, landed) = extracted.unwrap_or_else(|error| {
            // It has not told so itself, and others wait for what it has begun.
            self.fences.give_up();
            (Vec::new(), Err(error))
        });
        let writer = landed.map_err(|error| errors.push(error)).ok();
        errors.extend(failures);
        let loaded = loaded.and_then(|r| r).map_err(|error| errors.push(error)).ok();
        self.enumerated(loaded.as_ref());
        (loaded, writer)
    }

    /// Loads what another pipeline has landed: up to where its landing stands now, or, if it lands beside, up to where it ends.
    async fn load_landed(&self, landing: &Landing, load: OpenLoad, errors: &mut Vec<Error>) -> Option<Loaded> {
        let env = &self.cx.env;
        let reader = LandingReader::new(landing, &self.pipeline.landing_key(self.key.shard), env);
        let loaded = async {
            let InputPosition::Landing(from) = load.position() else {
                return Err(Error::bug("run shard", "a load without a landing was let through"));
            };
            // Its writer is open then, so that the landing is known.
            let tail = self.beside.tail(self.key.shard).await;
            let (incarnation, newest) = (reader.incarnation().await?, reader.newest().await?);
            let handoff = HandoffReceiver::reading(env, newest, tail);
            let feed = Feed::Landing(Box::new(LandingFeed::new(handoff, reader, from, &self.pipeline.settings)));
            self.loading(load, feed, incarnation).await?
        };
        let loaded = loaded.await.map_err(|error| errors.push(error)).ok();
        self.enumerated(loaded.as_ref());
        loaded
    }

    /// Tells whether the sink was given the whole enumeration that it demands.
    fn enumerated(&self, loaded: Option<&Loaded>) {
        if self.pipeline.sink.demand() == Demand::Enumerations {
            let whole = loaded.is_some_and(Loaded::is_whole);
            self.events.send(Event::Enumerated { shard: self.key.clone(), whole });
        }
    }

    /// Without a landing: the source is replayable, and its positions go straight into the checkpoints.
    async fn load_directly(
        &self,
        load: OpenLoad,
        reads: Reads,
        partitions: mpsc::Receiver<Assigned>,
        errors: &mut Vec<Error>,
    ) -> Option<Loaded> {
        let (out, emitted) = mpsc::channel(1);
        let (ended, mut ends) = mpsc::channel::<ReadEnd>(1);
        let loading = self.loading(load, Feed::Direct(emitted), None);
        let moving = out.clone();
        let reading = async {
            let (out, ended) = (out, ended);
            reads.run(partitions, &out, &ended).await;
        };
        let noting = async {
            let moving = moving;
            let (fences, shard) = (&self.fences, self.key.shard);
            let mut passed = fences.changes();
            let mut open = true;
            loop {
                passed.mark_unchanged();
                // Everything that the partition gave is in the queue before this.
                for (partition, to) in fences.take_due(shard) {
                    if moving.send(Emission::moved(partition, to)).await.is_err() {
                        return;
                    }
                }
                if !open && fences.is_settled(shard) {
                    return;
                }
                tokio::select! {
                    biased;
                    end = ends.recv(), if open => match end {
                        Some(mut end) => {
                            let (number, parked) = (end.number, end.parked);
                            for coverage in end.coverage() {
                                self.events.send(Event::Covered { shard: self.key.clone(), coverage });
                            }
                            let end = end.note(&self.key, &self.events, errors);
                            if !parked {
                                fences.ended([(number, end.reason.is_complete())]);
                            }
                        }
                        None => {
                            open = false;
                            if *self.cx.stop.borrow() {
                                // What was listed is not all read.
                                fences.give_up();
                            }
                        }
                    },
                    _changed = passed.changed() => {}
                }
            }
        };
        let loaded = {
            let reads = std::pin::pin!(join(reading, noting));
            match select(loading, reads).await {
                Either::Left((Ok(Ok(loaded)), reads)) => {
                    reads.await;
                    Ok(loaded)
                }
                // A load that fails ends the reads with it: they may be waiting for their server for an hour.
                Either::Left((loaded, _)) => loaded.and_then(|r| r),
                Either::Right((_, loading)) => loading.await.and_then(|r| r),
            }
        };
        loaded.map_err(|error| errors.push(error)).ok()
    }

    fn loading(&self, load: OpenLoad, feed: Feed, landing: Option<Incarnation>) -> Task<Result<Loaded>> {
        let shard = self.key.clone();
        Task::spawn("load", async move {
            // Told at once: the extract may go on for hours.
            load.run(feed, landing).await.inspect_err(|error| tracing::error!(%shard, %error, "the load has stopped"))
        })
    }

    async fn collect(&self, loaded: &mut Loaded, writer: Option<LandingWriter>) -> Result<()> {
        let mut deleted = loaded.collect().await?;
        if let Some(mut writer) = writer {
            let pruned = if self.pipeline.settings.prune_landing { writer.collect().await? } else { 0 };
            deleted += pruned + writer.collect_merged().await?;
        }
        self.events.send(Event::Collected { shard: self.key.clone(), deleted });
        Ok(())
    }
}
