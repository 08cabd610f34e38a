//! One run of a pipeline: opens every shard, extracts and loads at the same time, and reports.

use super::Pipeline;
use super::epoch::InputPosition;
use super::erased::ReadContext;
use super::events::{Event, Events, Status};
use super::extract::{Extract, Extracted, ReadEnd, partitions_of, read_partitions};
use super::feed::{Feed, LandingFeed};
use super::handoff::handoff;
use super::load::{Load, Loaded, OpenLoad};
use super::report::{PartitionReport, RunReport};
use super::state::StateObjects;
use super::task::Task;
use crate::checkpoint::chain;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::{Landing, LandingReader, LandingWriter, PartitionEnd, Retention};
use crate::model::{Partition, ShardKey, StopReason};
use crate::source::Gate;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::Instrument;

/// A run that failed: the error, and what was done before.
#[derive(Debug)]
pub struct RunFailure {
    error: Error,
    others: Vec<Error>,
    report: Box<RunReport>,
}

impl RunFailure {
    /// The first and gravest error.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What else failed.
    pub fn others(&self) -> &[Error] {
        &self.others
    }

    /// What was committed all the same.
    pub fn report(&self) -> &RunReport {
        &self.report
    }
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match self.others.len() {
            0 => Ok(()),
            n => write!(f, " (and {n} more errors)"),
        }
    }
}

impl std::error::Error for RunFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl From<RunFailure> for Error {
    fn from(failure: RunFailure) -> Self {
        failure.error
    }
}

/// A run that goes on in the background. Dropping it aborts the run, which is as safe as a crash.
pub struct RunHandle {
    task: Task<Result<RunReport, RunFailure>>,
    control: RunControl,
}

impl RunHandle {
    /// What watches and stops the run, to keep while another task waits for its end.
    pub fn control(&self) -> RunControl {
        self.control.clone()
    }

    /// As [`RunControl::status`].
    pub fn status(&self) -> Status {
        self.control.status()
    }

    /// As [`RunControl::events`].
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.control.events()
    }

    /// As [`RunControl::drain`].
    pub fn drain(&self) {
        self.control.drain();
    }

    /// As [`RunControl::abort`].
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What failed, with the report of what was committed.
    pub async fn wait(self) -> Result<RunReport, RunFailure> {
        let Self { task, control } = self;
        let now = crate::model::Timestamp::default();
        task.await.unwrap_or_else(|error| {
            let report = Box::new(RunReport::aborted(&control.events, now));
            Err(RunFailure { error, others: Vec::new(), report })
        })
    }
}

/// Watches and stops a run. Cheap to clone; it does not keep the run alive.
#[derive(Clone)]
pub struct RunControl {
    stop: watch::Sender<bool>,
    events: Events,
    abort: AbortHandle,
}

impl RunControl {
    /// How far it has come.
    pub fn status(&self) -> Status {
        self.events.status()
    }

    /// Everything that happens from now on. A listener that is slow misses events (see
    /// [`broadcast::Receiver::recv`]); the run never waits for it.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Asks it to stop gracefully: reading ends, what was read is landed, loaded and committed. Safe to repeat. After
    /// the deadline of the settings it becomes an abort.
    pub fn drain(&self) {
        self.stop.send_replace(true);
    }

    /// Stops at once, like a crash: the next run recovers.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

impl fmt::Debug for RunControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunControl").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHandle").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl RunReport {
    fn aborted(events: &Events, at: crate::model::Timestamp) -> Self {
        let status = events.status();
        Self {
            pipeline: events.pipeline().clone(),
            promise: String::new(),
            started_at: at,
            ended_at: at,
            stopped: true,
            landed: status.landed,
            epochs: status.epochs,
            ledger: status.committed,
            partitions: Vec::new(),
        }
    }
}

impl Pipeline {
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
        let (stop, stopped) = watch::channel(false);
        let events = Events::new(&self.name);
        let run = Run { pipeline: self.clone(), stop: stopped, events: events.clone() };
        let task = Task::spawn("run pipeline", run.run().instrument(tracing::info_span!("run", pipeline = %self.name)));
        let control = RunControl { stop, events, abort: task.abort_handle() };
        RunHandle { task, control }
    }
}

struct Run {
    pipeline: Pipeline,
    stop: watch::Receiver<bool>,
    events: Events,
}

/// What one shard gave.
#[derive(Default)]
struct ShardEnd {
    extracted: Extracted,
    loaded: Option<Loaded>,
    errors: Vec<Error>,
}

impl Run {
    async fn run(self) -> Result<RunReport, RunFailure> {
        let env = self.pipeline.env.clone();
        let started_at = env.now();
        let mut report = RunReport::aborted(&self.events, started_at);
        report.promise = self.pipeline.sink.promise().to_owned();
        report.stopped = false;
        let mut errors = Vec::new();
        match self.shards().await {
            Err(error) => errors.push(error),
            Ok(ends) => {
                for mut end in ends {
                    report.landed.add_all(&end.extracted.landed);
                    report.partitions.append(&mut end.extracted.partitions);
                    errors.append(&mut end.errors);
                    errors.append(&mut end.extracted.failures);
                    if let Some(loaded) = end.loaded {
                        report.epochs += loaded.epochs;
                        report.ledger.add(&loaded.ledger);
                    }
                }
            }
        }
        report.stopped = *self.stop.borrow();
        report.ended_at = env.now();
        // A take-over explains every other error of the run.
        errors.sort_by_key(|e| e.kind() != ErrorKind::Fenced);
        self.events.send(Event::RunEnded { failed: errors.first().map(Error::kind) });
        let mut errors = errors.into_iter();
        match errors.next() {
            None => Ok(report),
            Some(error) => Err(RunFailure { error, others: errors.collect(), report: Box::new(report) }),
        }
    }

    async fn shards(&self) -> Result<Vec<ShardEnd>> {
        let pipeline = &self.pipeline;
        let env = &pipeline.env;
        chain::probe(pipeline.checkpoints.as_ref(), env).await?;
        if let Some(landing) = &pipeline.landing {
            landing.probe(env).await?;
        }
        let partitions = pipeline.source.partitions(env).await?;
        let capacity = pipeline.settings.memory_bytes;
        let budget =
            Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)));
        let mut opened = Vec::new();
        for number in 0..pipeline.settings.shards {
            let cx = ReadContext {
                env: env.clone(),
                budget: Arc::clone(&budget),
                capacity,
                stop: self.stop.clone(),
                gate: Gate::default(),
            };
            let shard = Shard {
                key: ShardKey { pipeline: pipeline.name.clone(), shard: number },
                pipeline: pipeline.clone(),
                partitions: partitions_of(&partitions, number, pipeline.settings.shards)?,
                cx,
                events: self.events.clone(),
            };
            // All shards are opened before any of them works: what one refuses must not be half done by others.
            let span = tracing::info_span!("shard", shard = %shard.key);
            let load = shard.open().instrument(span.clone()).await?;
            opened.push((span, shard, load));
        }
        let run = |(span, shard, load): (tracing::Span, Shard, OpenLoad)| {
            Task::spawn("run shard", shard.run(load).instrument(span))
        };
        let mut tasks: Vec<_> = opened.into_iter().map(run).collect();
        let mut ends = Vec::new();
        let mut deadline = std::pin::pin!(self.deadline());
        for task in &mut tasks {
            // Past the deadline a graceful stop becomes an abort: the tasks end when they are dropped.
            let end = tokio::select! {
                biased;
                end = task => end,
                () = &mut deadline => {
                    return Err(Error::cancelled("run pipeline")
                        .with_hint("the deadline of the graceful stop has passed; the next run recovers"));
                }
            };
            ends.push(end.unwrap_or_else(|e| ShardEnd { errors: vec![e], ..ShardEnd::default() }));
        }
        Ok(ends)
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
    partitions: Vec<Partition>,
    cx: ReadContext,
    events: Events,
}

impl Shard {
    async fn run(self, load: OpenLoad) -> ShardEnd {
        let mut end = ShardEnd::default();
        let writer = match self.pipeline.landing.clone() {
            Some(landing) => self.land_and_load(landing, load, &mut end).await,
            None => {
                self.load_directly(load, &mut end).await;
                None
            }
        };
        if let (Some(loaded), true) = (&mut end.loaded, end.errors.is_empty()) {
            let collecting = self.collect(loaded, writer).instrument(tracing::debug_span!("collect"));
            if let Err(error) = collecting.await {
                self.events.send(Event::CollectionFailed { shard: self.key.clone(), error: error.to_string() });
            }
        }
        end
    }

    /// Takes the load over, and checks that its input is the one it has read so far.
    async fn open(&self) -> Result<OpenLoad> {
        let load = self.load()?.open().await?;
        let refuse = |message: &'static str, hint: &'static str| {
            Err(Error::config("open pipeline", message).with("shard", &self.key).with_hint(hint))
        };
        match (&self.pipeline.landing, load.position()) {
            (Some(landing), InputPosition::Landing(from)) => {
                LandingReader::new(landing, &self.key, &self.cx.env).check(from, load.landing()).await?;
                Ok(load)
            }
            (None, InputPosition::Source(_)) => Ok(load),
            (Some(_), InputPosition::Source(_)) => {
                refuse("the checkpoints are of a pipeline without a landing", "use a new pipeline name")
            }
            (None, InputPosition::Landing(_)) => refuse(
                "the checkpoints are of a pipeline with a landing",
                "put the landing back, or use a new pipeline name",
            ),
        }
    }

    fn load(&self) -> Result<Load> {
        let pipeline = &self.pipeline;
        let env = &pipeline.env;
        let state = pipeline.state.as_ref().map(|(store, prefix)| StateObjects::new(store, prefix, &self.key));
        Ok(Load {
            shard: self.key.clone(),
            env: env.clone(),
            settings: pipeline.settings.clone(),
            sink: Arc::clone(&pipeline.sink),
            quarantine: pipeline.quarantine.clone(),
            checkpoints: Arc::clone(&pipeline.checkpoints),
            state: state.transpose()?,
            retention: pipeline.landing.as_ref().map(|l| Retention::new(l, &self.key, env)),
            stages: pipeline.stages.iter().map(|s| s.make()).collect(),
            config: pipeline.config.clone(),
            landed: pipeline.landing.is_some(),
            events: self.events.clone(),
        })
    }

    async fn land_and_load(&self, landing: Landing, load: OpenLoad, end: &mut ShardEnd) -> Option<LandingWriter> {
        let env = &self.cx.env;
        let settings = &self.pipeline.settings;
        let InputPosition::Landing(from) = load.position() else {
            end.errors.push(Error::bug("run shard", "a load without a landing was let through"));
            return None;
        };
        let (writer, state) = match LandingWriter::open(&landing, &self.key, env).await {
            Ok(opened) => opened,
            Err(error) => {
                end.errors.push(error);
                return None;
            }
        };
        let incarnation = writer.incarnation().clone();
        let (sender, receiver) = handoff(env, settings.handoff_segments, settings.handoff_patience);
        let reader = LandingReader::new(&landing, &self.key, env);
        let feed = Feed::Landing(Box::new(LandingFeed::new(receiver, reader, from)));
        let extract = Extract {
            shard: self.key.clone(),
            source: Arc::clone(&self.pipeline.source),
            landing,
            cx: self.cx.clone(),
            parallel: settings.parallel_partitions,
            events: self.events.clone(),
            partitions: self.partitions.clone(),
        };
        let loading = Task::spawn("load", load.run(feed, Some(incarnation)));
        let extracting = Task::spawn("extract", extract.run(writer, state, sender));
        let (extracted, loaded) = tokio::join!(extracting, loading);
        match loaded.and_then(|r| r) {
            Ok(loaded) => end.loaded = Some(loaded),
            Err(error) => end.errors.push(error),
        }
        match extracted.and_then(|r| r) {
            Ok((extracted, writer)) => {
                end.extracted = extracted;
                Some(writer)
            }
            Err(error) => {
                end.errors.push(error);
                None
            }
        }
    }

    /// Without a landing: the source is replayable, and its positions go straight into the checkpoints.
    async fn load_directly(&self, load: OpenLoad, end: &mut ShardEnd) {
        let InputPosition::Source(positions) = load.position() else {
            end.errors.push(Error::bug("run shard", "a load of a landing was let through"));
            return;
        };
        let (out, emitted) = mpsc::channel(1);
        let (ended, mut ends) = mpsc::channel::<ReadEnd>(1);
        let loading = Task::spawn("load", load.run(Feed::Direct(emitted), None));
        let reading = async {
            let (out, ended) = (out, ended);
            let parallel = self.pipeline.settings.parallel_partitions;
            let source = &self.pipeline.source;
            read_partitions(source, &self.cx, self.partitions.clone(), &positions, parallel, &out, &ended).await;
        };
        let mut extracted = Extracted::default();
        let noting = async {
            while let Some(ReadEnd { partition, result }) = ends.recv().await {
                let reason = result.unwrap_or_else(|error| {
                    let reason = StopReason::Failed(error.to_string());
                    extracted.failures.push(error);
                    reason
                });
                self.events.send(Event::PartitionEnded {
                    shard: self.key.clone(),
                    partition: partition.clone(),
                    reason: reason.clone(),
                });
                extracted.partitions.push(PartitionReport::of(&PartitionEnd {
                    partition,
                    reason,
                    pages: 0,
                    records: 0,
                }));
            }
        };
        let ((), (), loaded) = tokio::join!(reading, noting, loading);
        end.extracted = extracted;
        match loaded.and_then(|r| r) {
            Ok(loaded) => end.loaded = Some(loaded),
            Err(error) => end.errors.push(error),
        }
    }

    async fn collect(&self, loaded: &mut Loaded, writer: Option<LandingWriter>) -> Result<()> {
        let mut deleted = loaded.collect().await?;
        if let (Some(writer), true) = (writer, self.pipeline.settings.prune_landing) {
            deleted += writer.collect().await?;
        }
        self.events.send(Event::Collected { shard: self.key.clone(), deleted });
        Ok(())
    }
}
