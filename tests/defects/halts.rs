//! A destination that was restored from a backup while a pipeline runs.

use crate::support::{Once, Script, World, parse};
use landfall::checkpoint::StoreCheckpoints;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Rows, ShardKey};
use landfall::pipeline::Pipeline;
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, MemorySink, Quarantine, Sink};
use landfall::source::ComponentConfig;
use landfall::{ErrorKind, Result, async_trait};

type Table = MemorySink<Rows<u64>>;

/// A sink that lacks the epoch before the last one that it is asked to commit.
struct Restored(Table);

#[async_trait]
impl Sink for Restored {
    type Item = <Table as Sink>::Item;
    type Staged = <Table as Sink>::Staged;
    type Promise = <Table as Sink>::Promise;
    type Writer = <Table as Sink>::Writer;

    fn config(&self) -> Result<ComponentConfig> {
        self.0.config()
    }

    fn demand(&self) -> Demand {
        self.0.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<Self::Writer> {
        self.0.open(epoch).await
    }

    async fn commit(&self, env: &Env, request: CommitRequest<Self::Staged>) -> Result<CommitOutcome> {
        match request.previous {
            Some(_) => Ok(CommitOutcome::Gap { found: None }),
            None => self.0.commit(env, request).await,
        }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.0.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Self::Staged]) -> Result<u64> {
        self.0.collect(shard, below_generation, keep).await
    }
}

pub async fn a_destination_that_lacks_an_epoch_halts() {
    let world = World::new(Script::new(1, 6, 10));
    let pipeline = Pipeline::named("numbers")
        .source(world.script.clone())
        .land(Landing::in_store(&world.raw, "raw").expect("a name").segment_bytes(world.segment_bytes))
        .stage(parse())
        .stage(Once::default())
        .sink(Restored(MemorySink::new(&world.table)))
        .quarantine(Quarantine::in_store(&world.store, "quarantine").expect("a name"))
        .checkpoints(StoreCheckpoints::new(&world.store, "state").expect("a name"))
        .settings(world.settings.clone())
        .env(world.env.clone())
        .build()
        .expect("complete");
    let failure = pipeline.run().await.expect_err("it goes on over an epoch that is not there");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
}
