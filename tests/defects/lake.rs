//! Delta tables, with what goes on in them between a crash and its recovery.

use crate::pipelines::assert_kept;
use crate::world::{SHAPES, Shape, World, much_later};
use crate::worlds::Destination;
use futures::future::{Either, select};
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::connectors::delta::DeltaTable;
use landfall::model::{Incarnation, PipelineName, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, EpochContext, Mark, Sink, Writer};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{self, Faults, Mode, Plan, Schedules, Verdict, World as _, test_env};
use landfall::{ErrorKind, Result, async_trait};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub fn numbers(of: impl Iterator<Item = u64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(of.map(|n| i64::try_from(n).expect("small")).collect::<Int64Array>());
    RecordBatch::try_from_iter([("n", column)]).expect("fits")
}

/// The numbers, sorted.
pub fn ids(batches: &[RecordBatch]) -> Vec<u64> {
    let column = |batch: &RecordBatch| {
        let column = batch.column_by_name("n").expect("the column").as_primitive::<Int64Type>();
        column.values().iter().map(|n| u64::try_from(*n).expect("positive")).collect::<Vec<_>>()
    };
    let mut ids: Vec<u64> = batches.iter().flat_map(column).collect();
    ids.sort_unstable();
    ids
}

fn delta() -> Shape {
    let shape = SHAPES[6];
    assert_eq!(shape.into, Destination::Delta);
    shape
}

fn table(store: &Store) -> DeltaTable {
    DeltaTable::in_store(store, "numbers").expect("a name")
}

pub const HOUR: Duration = Duration::from_secs(3600);

pub async fn the_mark_outlives_the_history_of_the_table() {
    let world = World::new(delta());
    world.process(&Faults::none()).await.expect("no faults");
    let table = table(&world.store);
    table.checkpoint(&much_later()).await.expect("writes");
    let expired = table.expire_log(&much_later(), None, false).await.expect("expires");
    assert!(!expired.objects.is_empty(), "the history is gone");
    world.process(&Faults::none()).await.expect("goes on after the history is gone");
    let verdict = world.verdict().await;
    assert!(verdict.is_right(), "{verdict}");
}

/// A table that is vacuumed before each process, long after the one before.
struct Vacuumed(World);

#[async_trait]
impl testkit::World for Vacuumed {
    async fn process(&self, faults: &Faults) -> Result<()> {
        table(&self.0.store).vacuum(&much_later(), HOUR, false).await?;
        self.0.process(faults).await
    }

    async fn verdict(&self) -> Verdict {
        self.0.verdict().await
    }

    async fn watch(&self) -> Verdict {
        self.0.watch().await
    }
}

pub async fn a_vacuum_between_crash_and_recovery_takes_nothing_that_is_prepared() {
    let crashes = [Mode::Before, Mode::AfterLostResponse];
    let schedules = Schedules::of(|| Vacuumed(World::new(delta()))).modes(crashes).every(5).pairs(0);
    assert_kept(&schedules.until_wrong().run().await);
}

/// A file of somebody else, in a folder that is none of a partition.
pub async fn a_vacuum_leaves_what_is_not_of_the_table() {
    let world = World::new(delta());
    world.process(&Faults::none()).await.expect("no faults");
    let foreign = ObjectPath::parse("numbers/other/a.parquet").expect("a name");
    world.store.put(&foreign, "x".into()).await.expect("in memory");
    table(&world.store).vacuum(&much_later(), HOUR, false).await.expect("vacuums");
    let found = world.store.get(&foreign, None).await.expect("in memory");
    assert!(found.is_some(), "a file of somebody else is deleted");
}

/// What an epoch has staged is deleted by somebody else before it is committed.
pub async fn a_staged_file_that_is_gone_is_not_registered() {
    let (store, env) = (Store::memory(), test_env(1));
    let request = staged(&table(&store), 0, 0..10).await;
    let files = store.list(&ObjectPath::parse("numbers").expect("a name")).await.expect("a list");
    let file = files.into_iter().map(|file| file.path).find(|path| path.as_str().ends_with(".parquet"));
    let file = file.expect("it is staged");
    let bytes = store.get(&file, None).await.expect("in memory").expect("is there");
    store.delete(&file).await.expect("in memory");
    let error = table(&store).commit(&env, request.clone()).await.expect_err("a file that is gone is registered");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    store.put(&file, bytes).await.expect("in memory");
    assert_eq!(table(&store).commit(&env, request).await.expect("it is put back"), CommitOutcome::Done);
    assert_eq!(ids(&table(&store).read_batches().await.expect("readable")), Vec::from_iter(0..10));
}

/// At every operation of its commit, while another shard commits to the same table.
pub async fn one_that_sleeps_in_its_commit_overwrites_nobody() {
    for at in 0.. {
        let store = Store::memory();
        let (first, second) = (staged(&table(&store), 0, 0..10).await, staged(&table(&store), 1, 10..20).await);
        let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
        let sleeper = table(&faults.store(&store));
        let env = test_env(1);
        let mut commit = pin!(sleeper.commit(&env, first));
        let done = match select(&mut commit, pin!(faults.until_paused())).await {
            Either::Left((done, _)) => done,
            Either::Right(((), _)) => {
                let other = table(&store).commit(&test_env(2), second.clone()).await.expect("commits");
                assert_eq!(other, CommitOutcome::Done);
                faults.resume();
                commit.await
            }
        };
        assert_eq!(done.expect("commits"), CommitOutcome::Done);
        if faults.count() <= at {
            assert!(at > 6, "a commit took {at} operations");
            return;
        }
        let rows = ids(&table(&store).read_batches().await.expect("readable"));
        assert_eq!(rows, Vec::from_iter(0..20), "a commit is overwritten, with a pause at {at}");
    }
}

/// A request to commit these numbers as the first epoch of a shard.
async fn staged(table: &DeltaTable, shard: u32, of: Range<u64>) -> CommitRequest<<DeltaTable as Sink>::Staged> {
    let shard = ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard };
    let epoch = EpochContext::new(shard.clone(), 1, 1, test_env(u64::from(shard.shard) + 3));
    let mut writer = table.open(epoch).await.expect("opens");
    writer.write(Batch::new(numbers(of))).await.expect("writes");
    let output = writer.finish().await.expect("finishes").expect("there are rows");
    let mark = Mark { incarnation: Incarnation("life".into()), generation: 1, epoch: 1, digest: "0a".repeat(32) };
    CommitRequest::new(shard, mark, None, output.staged)
}
