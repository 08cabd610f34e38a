//! Records that the destination cannot hold.

use crate::support::{Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Reject, Rows, ShardKey};
use landfall::pipeline::{Pipeline, PipelineBuilder};
use landfall::sink::{
    CommitOutcome, CommitRequest, Demand, EpochContext, Mark, MemorySink, MemoryStaged, MemoryWriter, Quarantine, Sink,
    StagedOutput, Transactional, Writer,
};
use landfall::source::ComponentConfig;
use landfall::stage::from_fn;
use landfall::testkit::{Faults, Mode, Target};
use landfall::{ErrorKind, Result, async_trait};

/// Holds no multiples of five.
#[derive(Debug)]
struct Picky(MemorySink<Rows<u64>>);

struct PickyWriter(MemoryWriter<Rows<u64>>);

#[async_trait]
impl Sink for Picky {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;
    type Promise = Transactional;
    type Writer = PickyWriter;

    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    fn demand(&self) -> Demand {
        self.0.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<PickyWriter> {
        self.0.open(epoch).await.map(PickyWriter)
    }

    async fn commit(&self, env: &Env, request: CommitRequest<MemoryStaged>) -> Result<CommitOutcome> {
        self.0.commit(env, request).await
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.0.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[MemoryStaged]) -> Result<u64> {
        self.0.collect(shard, below_generation, keep).await
    }
}

#[async_trait]
impl Writer for PickyWriter {
    type Item = Rows<u64>;
    type Staged = MemoryStaged;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        let (refused, held): (Vec<u64>, Vec<u64>) = item.0.into_iter().partition(|n| n % 5 == 0);
        let rejects = refused.iter().map(|n| Reject::new("five", "a multiple of five", n.to_string())).collect();
        self.0.write(Rows(held)).await?;
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        self.0.staged_bytes()
    }

    async fn finish(self) -> Result<Option<StagedOutput<MemoryStaged>>> {
        self.0.finish().await
    }
}

fn picky(world: &World) -> PipelineBuilder<Script, Rows<u64>, Picky> {
    Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
        .stage(parse())
        .sink(Picky(MemorySink::new(&world.table)))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .settings(world.settings.clone())
        .env(world.env.clone())
}

#[tokio::test]
async fn what_the_sink_cannot_hold_goes_to_the_quarantine_and_is_accounted_for() {
    let world = World::new(Script::new(2, 4, 9));
    let quarantine = || Quarantine::in_store(&world.store, "quarantine").expect("a name");
    let pipeline = picky(&world).quarantine(quarantine()).build().expect("complete");
    let report = pipeline.run().await.expect("no error");

    let lines = || world.script.partitions.iter().flat_map(|(_, pages)| pages.iter().flatten());
    let numbers = || lines().filter_map(|l| l.parse::<u64>().ok());
    let mut held: Vec<u64> = numbers().filter(|n| n % 5 != 0).collect();
    held.sort_unstable();
    assert_eq!(world.rows(), held);
    let refused = numbers().filter(|n| n % 5 == 0).count();
    let records = quarantine().read_all().await.expect("readable");
    assert_eq!(records.iter().filter(|r| r.stage == "sink" && r.code == "five").count(), refused);
    let sink = report.ledger.stages.last().expect("the sink is among the stages");
    assert_eq!((sink.stage.as_str(), sink.quarantined, sink.output), ("sink", refused as u64, held.len() as u64));
    report.ledger.check().expect("balances");

    let mut accounts = pipeline.accounts().await.expect("has a landing");
    let mut quarantined = 0;
    while let Some(account) = accounts.next().await.expect("readable") {
        assert!(account.load.balances(), "{account}");
        quarantined += account.load.quarantined;
    }
    assert_eq!(quarantined, records.len() as u64);
}

#[tokio::test]
async fn without_a_quarantine_a_record_that_the_sink_cannot_hold_stops_the_run() {
    let world = World::new(Script::new(1, 1, 6));
    let failure = picky(&world).build().expect("complete").run().await.expect_err("5 is refused");
    assert_eq!(failure.error().kind(), ErrorKind::Data);
    assert!(failure.to_string().contains("sink"), "{failure}");
    assert!(world.rows().is_empty());
}

/// Nothing gets into the quarantine, or out of it, for two whole runs.
#[tokio::test]
async fn while_the_quarantine_is_away_nothing_is_committed_past_a_rejected_record_and_then_all_is_there() {
    for mode in [Mode::Fail, Mode::LostResponse, Mode::Refuse(ErrorKind::Auth)] {
        let mut world = World::new(Script::new(1, 12, 9));
        world.settings.epoch_records = 4;
        // What comes before the first bad record needs no quarantine.
        let lines: Vec<_> = world.script.partitions[0].1.iter().flatten().cloned().collect();
        let before: Vec<u64> = lines.iter().map_while(|line| line.parse().ok()).collect();
        assert!(before.len() > 2 * 4 && before.len() < lines.len() / 2);
        let (mut rows, mut landed) = (Vec::new(), 0);
        for _ in 0..2 {
            let away = Faults::at(Target::all(), mode).store(&world.store);
            let quarantine = Quarantine::in_store(&away, "quarantine").expect("a name");
            let failure = world.builder().quarantine(quarantine).build().expect("complete").run().await;
            let failure = failure.expect_err("there is no quarantine");
            let expected = match mode {
                Mode::Refuse(kind) => vec![kind],
                _ => vec![ErrorKind::Unavailable, ErrorKind::Ambiguous],
            };
            assert!(expected.contains(&failure.error().kind()), "{mode:?}: {failure}");
            rows = world.rows();
            assert!(rows.iter().all(|n| before.contains(n)), "{mode:?}: {rows:?}");
            assert!(world.quarantined().await.is_empty(), "{mode:?}");
            let segments = landfall::store::ObjectPath::parse("raw").expect("a name");
            let count = world.raw.list(&segments).await.expect("a list").len();
            assert!(count >= landed, "{mode:?}: the landing stays");
            landed = count;
        }
        assert!(mode == Mode::LostResponse || rows.len() > 4, "what is whole without it is there: {rows:?}");
        world.pipeline().run().await.expect("it is back");
        world.assert_exact().await;
    }
}

#[test]
fn no_stage_may_be_named_as_the_sink_is_in_the_ledger() {
    let world = World::new(Script::new(1, 1, 1));
    let stage = from_fn("sink", |rows: Rows<u64>, out| {
        out.emit(rows);
        Ok(())
    });
    let built = Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name"))
        .stage(parse())
        .stage(stage)
        .sink(MemorySink::new(&world.table))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .build();
    assert_eq!(built.expect_err("the name is taken").kind(), ErrorKind::Config);
}
