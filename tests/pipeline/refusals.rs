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
