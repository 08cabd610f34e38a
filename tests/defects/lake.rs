//! Delta tables, with what goes on in them between a crash and its recovery.

use crate::world::{Destination, SHAPES, Shape, World, much_later};
use landfall::columnar::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::connectors::delta::DeltaTable;
use landfall::store::Store;
use landfall::testkit::{self, Faults, Mode, Schedules, Verdict, World as _};
use landfall::{Result, async_trait};
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

const HOUR: Duration = Duration::from_secs(3600);

pub async fn the_mark_outlives_the_history_of_the_table() {
    let world = World::new(delta());
    world.process(&Faults::none()).await.expect("no faults");
    let table = table(world.store());
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
        table(self.0.store()).vacuum(&much_later(), HOUR, false).await?;
        self.0.process(faults).await
    }

    async fn verdict(&self) -> Verdict {
        self.0.verdict().await
    }

    async fn watch(&self) {
        self.0.watch().await;
    }
}

pub async fn a_vacuum_between_crash_and_recovery_takes_nothing_that_is_prepared() {
    let crashes = [Mode::Before, Mode::AfterLostResponse];
    let outcome = Schedules::of(|| Vacuumed(World::new(delta()))).modes(crashes).pairs(0).run().await;
    outcome.assert_right();
}

/// Two shards write one table, so that what is overwritten is missed.
pub async fn one_that_sleeps_in_its_commit_overwrites_nobody() {
    let shape = Shape { partitions: 3, shards: 2, prune: false, ..delta() };
    Schedules::of(|| World::new(shape)).modes([Mode::Pause]).pairs(0).run().await.assert_right();
}
