//! Crash enumeration: a small pipeline is run once for every I/O operation × every way in which it can go wrong there, and
//! again with a second crash inside of the recovery. After each, destination, quarantine and landing must hold what was
//! served: nothing lost, nothing doubled. `scripts/crash-enumeration` prints the figures.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod faulty;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
mod world;

use landfall::ErrorKind;
use landfall::testkit::{Faults, Mode, Plan};
use std::collections::BTreeMap;
use world::{SHAPES, Shape, Verdict, World};

const MODES: [Mode; 6] =
    [Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::Pause, Mode::LostResponse, Mode::Fail];

/// Runs that a recovery may need: a fault that a process survives can still end its run.
const RECOVERIES: usize = 3;

/// What the schedules of a shape came to.
#[derive(Default)]
struct Tally {
    schedules: u64,
    verdict: Verdict,
    wrong: Vec<String>,
    modes: BTreeMap<String, u64>,
}

async fn recover(world: &World, what: &str, tally: &mut Tally) {
    for _ in 0..RECOVERIES {
        match world.process(&Faults::none()).await {
            Ok(()) => return,
            Err(failure) => tally.wrong.push(format!("{what}: recovery failed: {failure}")),
        }
    }
}

async fn judge(world: &World, what: &str, tally: &mut Tally) {
    let verdict = world.verdict().await;
    if verdict != Verdict::default() {
        tally.wrong.push(format!("{what}: {verdict:?}"));
    }
    if let Some(wrong) = world.wrong_account().await {
        tally.wrong.push(format!("{what}: {wrong}"));
    }
    tally.verdict.add(verdict);
    tally.schedules += 1;
}

/// One fault, then recovery. A process that stands still is overtaken: another one takes over, loads, collects; then the
/// first one goes on.
async fn single(shape: Shape, plan: Plan, tally: &mut Tally) {
    let world = World::new(shape);
    tokio::select! {
        biased;
        () = schedule(&world, shape, plan, tally) => {}
        () = world.watch() => unreachable!("it watches for ever"),
    }
}

async fn schedule(world: &World, shape: Shape, plan: Plan, tally: &mut Tally) {
    let what = format!("{}, {plan:?}", shape.name);
    let faults = Faults::of([plan]);
    if plan.mode == Mode::Pause {
        let mut zombie = std::pin::pin!(world.process(&faults));
        let ended = tokio::select! {
            ended = &mut zombie => Some(ended),
            () = faults.until_paused() => None,
        };
        if ended.is_none() {
            recover(world, &what, tally).await;
            faults.resume();
            if let Err(failure) = zombie.await {
                let kind = failure.error().kind();
                if !matches!(kind, ErrorKind::Fenced | ErrorKind::Ambiguous | ErrorKind::Unavailable) {
                    tally.wrong.push(format!("{what}: the zombie ended with {failure}"));
                }
            }
        }
    } else {
        // How it ends is its own affair; what it leaves behind is not.
        drop(world.process(&faults).await);
    }
    recover(world, &what, tally).await;
    judge(world, &what, tally).await;
    *tally.modes.entry(format!("{:?}", plan.mode)).or_default() += 1;
}

/// A crash, and a second one inside of the recovery: at point `step` of it, counted around.
async fn double(shape: Shape, first: Plan, step: u64, mode: Mode, tally: &mut Tally) {
    // The same history, to count what the recovery has to do.
    let (dry, recovery) = (World::new(shape), Faults::none());
    drop(dry.process(&Faults::of([first])).await);
    drop(dry.process(&recovery).await);
    let second = Plan { at: step % recovery.count().max(1), mode };

    let what = format!("{}, {first:?} then {second:?}", shape.name);
    let (world, faults) = (World::new(shape), Faults::of([second]));
    drop(world.process(&Faults::of([first])).await);
    drop(world.process(&faults).await);
    let fired = faults.count() > second.at;
    recover(&world, &what, tally).await;
    judge(&world, &what, tally).await;
    *tally.modes.entry(if fired { "double" } else { "single after all" }.to_owned()).or_default() += 1;
}

/// How many I/O points a run of `shape` without faults passes.
async fn points(shape: Shape) -> u64 {
    let world = World::new(shape);
    let faults = Faults::none();
    world.process(&faults).await.expect("no faults");
    assert_eq!(world.verdict().await, Verdict::default(), "{}", shape.name);
    faults.count()
}

fn report(shape: Shape, points: u64, tally: &Tally) {
    let Tally { schedules, verdict: Verdict { lost, doubled, invented }, wrong, modes } = tally;
    println!(
        "{}: points={points} schedules={schedules} lost={lost} doubled={doubled} invented={invented} {modes:?}",
        shape.name
    );
    assert!(
        wrong.is_empty(),
        "{} of {schedules} schedules went wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// With `LANDFALL_CRASH_DOUBLES=n`, n double crashes for each shape; 150 without it.
fn doubles() -> u64 {
    std::env::var("LANDFALL_CRASH_DOUBLES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

async fn enumerate(shape: Shape) {
    let points = points(shape).await;
    let mut tally = Tally::default();
    for mode in MODES {
        for at in 0..points {
            single(shape, Plan { at, mode }, &mut tally).await;
        }
    }
    for n in 0..doubles() {
        // A low-discrepancy walk over all pairs: the same ones each time, spread evenly.
        let at = |step: u64| n * step + step / 3;
        let mode = |k: u64| MODES[usize::try_from((n / k + k) % 3).expect("small")];
        double(shape, Plan { at: at(61) % points, mode: mode(1) }, at(37), mode(3), &mut tally).await;
    }
    report(shape, points, &tally);
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

shapes! {
    one_shard_survives_a_fault_at_every_operation: 0,
    three_shards_survive_a_fault_at_every_operation: 1,
    a_response_in_parts_survives_a_fault_at_every_operation: 2,
    collection_survives_a_fault_at_every_operation: 3,
    parquet_survives_a_fault_at_every_operation: 4,
    parquet_in_two_shards_survives_a_fault_at_every_operation: 5,
    delta_survives_a_fault_at_every_operation: 6,
    delta_upsert_survives_a_fault_at_every_operation: 7,
    tables_survive_a_fault_at_every_operation: 8,
    parquet_put_together_survives_a_fault_at_every_operation: 9,
}
