//! Crash enumeration: a small pipeline is run once for every I/O operation × every way in which it can go wrong there, and
//! again with a second crash inside of the recovery. After each, destination, quarantine and landing must hold what was
//! served: nothing lost, nothing doubled. `scripts/prove --only single,answers,pairs` prints the figures, with those over servers.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

#[path = "../worlds/environment.rs"]
mod environment;
mod reader;
mod source;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
mod watched;
mod world;
#[path = "../worlds/mod.rs"]
mod worlds;

use environment::{every, modes, pairs, seed};
use landfall::testkit::{Mode, Schedules};
use world::{SHAPES, Shape, World};
use worlds::Destination;

/// Every operation, and 150 pairs of faults for each shape, or fewer by what one costs, unless `LANDFALL_SCHEDULES_EVERY` and
/// `LANDFALL_SCHEDULES_PAIRS` say otherwise.
async fn enumerate(shape: Shape) {
    let costs = if (shape.into == Destination::Delta && shape.together) || shape.evolves { 5 } else { 1 };
    enumerate_with(&Mode::ANY, shape, shape.name, costs).await;
}

async fn enumerate_with(all: &[Mode], shape: Shape, name: &str, costs: u64) {
    let (every, pairs) = (every(costs), pairs(150) / costs);
    let schedules = Schedules::of(|| World::new(shape)).modes(modes(all)).every(every).pairs(pairs).seed(seed());
    let outcome = schedules.run().await;
    println!("{}", outcome.proof(name));
    outcome.assert_right();
}

macro_rules! shapes {
    ($($name:ident: $index:literal),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                enumerate(SHAPES[$index]).await;
            }
        )*
    };
}

// Each sink and store, in one way.
shapes! {
    one_shard_survives_a_fault_at_every_operation: 0,
    parquet_survives_a_fault_at_every_operation: 4,
    delta_survives_a_fault_at_every_operation: 6,
    tables_survive_a_fault_at_every_operation: 8,
    a_replayable_source_survives_a_fault_at_every_operation: 13,
}

/// The same sinks and stores in other ways.
mod more {
    use super::*;

    shapes! {
        a_landing_with_two_loads_survives_a_fault_at_every_operation: 14,
        all_three_shards_survive_a_fault_at_every_operation: 1,
        a_response_in_parts_survives_a_fault_at_every_operation: 2,
        collection_survives_a_fault_at_every_operation: 3,
        delta_upsert_survives_a_fault_at_every_operation: 7,
        parquet_in_two_shards_survives_a_fault_at_every_operation: 5,
        parquet_put_together_survives_a_fault_at_every_operation: 9,
    }
}

/// What is there in another shape too, or compacts and vacuums twice in every run: at each n-th operation.
mod sampled {
    use super::*;

    // Stores answer in odd ways: a create meets its own earlier try, or nobody; requests arrive after others; they are refused for good.
    #[tokio::test]
    async fn one_shard_survives_all_that_an_object_store_can_do() {
        enumerate_with(&Mode::OBJECT_STORE, SHAPES[0], "one shard, odd answers", 5).await;
    }

    #[tokio::test]
    async fn parquet_survives_all_that_an_object_store_can_do() {
        enumerate_with(&Mode::OBJECT_STORE, SHAPES[4], "parquet, odd answers", 11).await;
    }

    #[tokio::test]
    async fn delta_survives_all_that_an_object_store_can_do() {
        enumerate_with(&Mode::OBJECT_STORE, SHAPES[6], "delta, odd answers", 11).await;
    }

    shapes! {
        delta_put_together_survives_a_fault_at_every_operation: 10,
        a_new_column_in_parquet_survives_a_fault_at_every_operation: 11,
        a_new_column_in_delta_survives_a_fault_at_every_operation: 12,
    }
}
