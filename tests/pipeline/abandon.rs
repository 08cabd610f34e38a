//! The way out for epochs that the destination refuses for good.

use crate::environment::every;
use crate::support::{Once, Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Reject, Rows, ShardKey};
use landfall::pipeline::Pipeline;
use landfall::sink::{
    AtLeastOnce, CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, MemorySink, MemoryStaged,
    MemoryWriter, Quarantine, Sink, StagedOutput, Transactional, Writer, decide_commit, from_fn as sink_fn,
};
use landfall::source::ComponentConfig;
use landfall::stage::{Output, from_fn};
use landfall::testkit::{self, FaultCheckpoints, FaultSink, Faults, Mode, Plan, Schedules, Verdict, test_env};
use landfall::{Error, ErrorKind, Result, async_trait};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A destination with a constraint, which it looks at when it commits: no multiples of five.
#[derive(Clone, Default)]
struct Constraint {
    staged_fives: Arc<Mutex<BTreeSet<MemoryStaged>>>,
    /// The request that it has refused last.
    refused: Arc<Mutex<Option<CommitRequest<MemoryStaged>>>>,
    /// Whether an older instance gets that request through before the next one.
    overtaken: Arc<AtomicBool>,
    away: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Strict {
    memory: MemorySink<Rows<u64>>,
    constraint: Constraint,
}

struct StrictWriter {
    memory: MemoryWriter<Rows<u64>>,
    constraint: Constraint,
    five: bool,
}

#[async_trait]
impl Sink for Strict {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;
    type Promise = Transactional;
    type Writer = StrictWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.memory.config()
    }

    fn demand(&self) -> Demand {
        self.memory.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<StrictWriter> {
        let memory = self.memory.open(epoch).await?;
        Ok(StrictWriter { memory, constraint: self.constraint.clone(), five: false })
    }

    async fn commit(&self, env: &Env, request: CommitRequest<MemoryStaged>) -> Result<CommitOutcome> {
        if self.constraint.away.load(Ordering::SeqCst) {
            return Err(Error::unavailable("commit", "it is away"));
        }
        let held = self.memory.mark(&request.shard).await?;
        let applies = decide_commit(held.as_ref(), &request.mark, request.previous) == CommitDecision::Apply;
        if applies && self.constraint.staged_fives.lock().expect("no panic").contains(&request.staged) {
            *self.constraint.refused.lock().expect("no panic") = Some(request);
            return Err(Error::data("commit", "a multiple of five"));
        }
        if self.constraint.overtaken.swap(false, Ordering::SeqCst) {
            let older = self.constraint.refused.lock().expect("no panic").clone().expect("one was refused");
            assert_eq!(self.memory.commit(env, older).await?, CommitOutcome::Done);
        }
        self.memory.commit(env, request).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.memory.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[MemoryStaged]) -> Result<u64> {
        self.memory.collect(shard, below_generation, keep).await
    }
}

#[async_trait]
impl Writer for StrictWriter {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        self.five |= item.0.iter().any(|n| n % 5 == 0);
        self.memory.write(item).await
    }

    fn staged_bytes(&self) -> u64 {
        self.memory.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<MemoryStaged>>> {
        let output = self.memory.finish().await?;
        if let Some(output) = output.as_ref().filter(|_| self.five) {
            self.constraint.staged_fives.lock().expect("no panic").insert(output.staged.clone());
        }
        Ok(output)
    }
}

/// A world with the constraint; and whether the pipeline knows it.
struct Five {
    world: World,
    constraint: Constraint,
    processes: AtomicU64,
}

impl Five {
    fn new(script: Script) -> Self {
        let mut world = World::new(script);
        (world.settings.epoch_records, world.settings.kept_checkpoints) = (6, 0);
        Self { world, constraint: Constraint::default(), processes: AtomicU64::new(1) }
    }

    fn pipeline(&self, validates: bool, faults: &Faults) -> Pipeline {
        let (world, store) = (&self.world, faults.store(&self.world.store));
        let sink = Strict { memory: MemorySink::new(&world.table), constraint: self.constraint.clone() };
        let valid = from_fn("valid", |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
            let (fives, right): (Vec<u64>, Vec<u64>) = rows.0.into_iter().partition(|n| n % 5 == 0);
            fives.iter().for_each(|n| out.reject(Reject::new("five", "a multiple of five", n.to_string())));
            out.emit(Rows(right));
            Ok(())
        });
        let builder = Pipeline::named("numbers")
            .source(world.script.clone())
            .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(world.segment_bytes))
            .stage(parse())
            .stage(Once::default());
        let builder = if validates { builder.stage(valid) } else { builder };
        builder
            .sink(FaultSink::new(sink, faults))
            .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
            .checkpoints(FaultCheckpoints::new(
                StoreCheckpoints::new(&self.world.store, "state").expect("a name"),
                faults,
            ))
            .settings(world.settings.clone())
            .env(test_env(self.processes.fetch_add(1, Ordering::SeqCst)))
            .build()
            .expect("complete")
    }

    fn plain(&self) -> Pipeline {
        self.pipeline(false, &Faults::none())
    }

    /// Runs into the constraint.
    async fn refused(&self) {
        let failure = self.plain().run().await.expect_err("5 is refused");
        assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    }

    async fn validating_run(&self) {
        self.pipeline(true, &Faults::none()).run().await.expect("the fives are refused before");
    }

    async fn verdict(&self) -> Verdict {
        let (fives, right): (Vec<u64>, Vec<u64>) = self.world.script.expected().into_iter().partition(|n| n % 5 == 0);
        let refused = self.world.script.bad().into_iter().chain(fives.iter().map(ToString::to_string));
        Verdict::of(right, self.world.rows()).and(Verdict::of(refused, self.world.quarantined().await))
    }
}

fn script() -> Script {
    Script::new(1, 4, 6)
}

#[tokio::test]
async fn an_epoch_that_is_refused_is_given_up_on_record_and_its_records_come_again() {
    let five = Five::new(script());
    five.refused().await;
    five.refused().await;
    let abandoned = five.plain().abandon_refused("ana", "no fives since May").await.expect("gives up");
    let [epoch] = abandoned.as_slice() else { panic!("one epoch: {abandoned:?}") };
    assert!(epoch.refusal.contains("a multiple of five") && epoch.ledger.staged > 0, "{epoch:?}");
    assert_eq!(five.world.rows(), Vec::<u64>::new(), "nothing of it is visible");
    assert_eq!((epoch.by.as_str(), epoch.why.as_str()), ("ana", "no fives since May"));
    assert_eq!(five.plain().abandoned().await.expect("reads"), abandoned);
    five.validating_run().await;
    assert_eq!(five.plain().abandoned().await.expect("reads"), abandoned, "also once its checkpoints are collected");
    assert!(five.verdict().await.is_right(), "{}", five.verdict().await);
    let mut accounts = five.plain().accounts().await.expect("has a landing");
    while let Some(account) = accounts.next().await.expect("readable") {
        assert_eq!((account.load.read, account.load.balances()), (five.world.script.served(), true), "{account}");
    }
}

#[tokio::test]
async fn who_still_holds_the_epoch_that_was_given_up_is_fenced() {
    let five = Five::new(script());
    five.refused().await;
    let older = five.constraint.refused.lock().expect("no panic").clone().expect("it was refused");
    five.plain().abandon_refused("ana", "no fives").await.expect("gives up");
    // The constraint is gone, and an older instance tries once more.
    let memory = MemorySink::new(&five.world.table);
    let outcome = memory.commit(&test_env(99), older).await.expect("answers");
    assert!(matches!(outcome, CommitOutcome::Fenced { .. }), "{outcome:?}");
    five.validating_run().await;
    assert!(five.verdict().await.is_right(), "{}", five.verdict().await);
}

#[tokio::test]
async fn an_epoch_that_is_committed_while_it_is_given_up_counts() {
    let five = Five::new(script());
    five.refused().await;
    five.constraint.overtaken.store(true, Ordering::SeqCst);
    let abandoned = five.plain().abandon_refused("ana", "no fives").await.expect("finds out");
    assert_eq!(abandoned, []);
    assert_eq!(five.plain().abandoned().await.expect("reads"), [], "it was not given up in the end");
    let first = five.world.rows();
    assert!(first.contains(&5), "an older instance was quicker: {first:?}");
    five.validating_run().await;
    let (rows, quarantined) = (five.world.rows(), five.world.quarantined().await);
    assert_eq!(rows.iter().filter(|n| **n % 5 != 0 || first.contains(*n)).count(), rows.len());
    let mut all: Vec<u64> = quarantined.iter().filter_map(|line| line.parse().ok()).chain(rows).collect();
    all.sort_unstable();
    assert_eq!(all, five.world.script.expected(), "each once");
    assert_eq!(quarantined.iter().filter(|line| line.starts_with("bad")).count(), five.world.script.bad().len());
}

#[tokio::test]
async fn only_what_is_refused_for_good_is_given_up() {
    let five = Five::new(script());
    assert_eq!(five.plain().abandon_refused("ana", "nothing is there").await.expect("nothing to do"), []);
    five.refused().await;
    five.constraint.away.store(true, Ordering::SeqCst);
    let error = five.plain().abandon_refused("ana", "it is away").await.expect_err("perhaps it takes it later");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    five.constraint.away.store(false, Ordering::SeqCst);
    five.constraint.staged_fives.lock().expect("no panic").clear();
    assert_eq!(five.plain().abandon_refused("ana", "it takes it").await.expect("commits it"), []);
    assert!(five.world.rows().contains(&5), "it was committed instead");
    for why in [" ", &"no fives ".repeat(120)] {
        let error = five.plain().abandon_refused("ana", why).await.expect_err("without a reason, or with many");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_sink_that_may_hold_a_part_of_an_epoch_gives_up_none() {
    let world = World::new(script());
    let sink = sink_fn(|_rows: Rows<u64>| async { Ok(()) });
    let pipeline = Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name"))
        .stage(parse())
        .sink(sink)
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .build_at_least_once()
        .expect("complete");
    let error = pipeline.abandon_refused("ana", "no").await.expect_err("it is no transaction");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(<AtLeastOnce as landfall::sink::Promise>::NAME), "{error}");
}

#[async_trait]
impl testkit::World for Five {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let Err(failure) = self.pipeline(false, faults).run().await else { return Ok(()) };
        if failure.error().kind() != ErrorKind::Data {
            return Err(failure.into());
        }
        self.pipeline(false, faults).abandon_refused("ana", "no fives").await?;
        self.pipeline(true, faults).run().await?;
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        Self::verdict(self).await
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

/// At each seventh, or as `LANDFALL_SCHEDULES_EVERY` says.
#[tokio::test]
async fn giving_up_survives_a_fault_at_every_operation() {
    let outcome = Schedules::of(|| Five::new(Script::new(1, 2, 6))).every(every(7)).pairs(20).run().await;
    outcome.assert_right();
    assert!(outcome.points > 100, "{outcome}");
}

/// Only what the destination holds is committed, however the end of the epoch fails that stands in the place of another.
#[tokio::test]
async fn an_epoch_that_is_given_up_is_not_taken_for_committed_while_the_destination_is_away() {
    let give_up = async |five: &Five, faults: &Faults| {
        five.refused().await;
        five.pipeline(false, faults).abandon_refused("ana", "no fives since May").await
    };
    let faults = Faults::none();
    give_up(&Five::new(script()), &faults).await.expect("gives up");
    let last = faults.trace().iter().rfind(|point| point.operation == "commit").map(|point| point.index);

    let five = Five::new(script());
    let dying = Faults::of([Plan { at: last.expect("it commits"), mode: Mode::Before }]);
    give_up(&five, &dying).await.expect_err("it dies");
    five.constraint.away.store(true, Ordering::SeqCst);
    five.plain().run().await.expect_err("the destination is away");
    five.constraint.away.store(false, Ordering::SeqCst);
    five.validating_run().await;
    assert!(five.verdict().await.is_right(), "{}", five.verdict().await);
}
