//! Random simulation: days of a pipeline that a seed decides. Up to three owners at a time over an API that changes while it is read; processes die,
//! stand still while others take over, and wake; stores fail, answer late and lose answers; clocks jump; somebody deploys what must be
//! refused, puts files together and deletes old ones. Then the faults end, and what was served must be there, once.
//!
//! And a disk that loses its power after each call, with all that a write-back cache may lose.
//!
//! `LANDFALL_SIMULATION_SEEDS=n` runs that many, from `LANDFALL_SIMULATION_FIRST` on; with `LANDFALL_SIMULATION_TRACE` every operation is
//! printed. `LANDFALL_DISK_IMAGES=n` looks at that many disks after a loss of power.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod acked;
mod api;
mod chance;
mod disk;
mod history;
mod oracle;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
mod world;
#[path = "../worlds/mod.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod worlds;

use history::Told;
use landfall::testkit::Verdict;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that went wrong once. They always run.
const REGRESSIONS: &[u64] = &[];
/// Each so many seeds, one is run again and must do the same.
const AGAIN: u64 = 10;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

fn run(seed: u64) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(history::run(seed)))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default();
        Told { verdict: Verdict::wrong(format!("panicked: {said}")), ..Told::default() }
    })
}

/// Runs seeds; gives what went wrong, in words.
fn simulate(of: &str, seeds: impl Iterator<Item = u64>) -> Vec<String> {
    let (mut total, mut run_again, mut wrong, mut count) = (Told::default(), 0, Vec::new(), 0);
    for seed in seeds {
        let told = run(seed);
        count += 1;
        if !told.verdict.is_right() {
            wrong.push(format!("seed {seed}: {}", told.verdict));
        }
        if seed % AGAIN == 0 {
            run_again += 1;
            let again = run(seed);
            if again != told {
                wrong.push(format!("seed {seed} did something else the second time: {told:?}, {again:?}"));
            }
        }
        total.hours += told.hours;
        total.points += told.points;
        total.faults += told.faults;
        total.processes += told.processes;
        total.looks += told.looks;
        total.refused += told.refused;
        total.verdict = std::mem::take(&mut total.verdict).and(told.verdict);
    }
    let Told { verdict, hours, points, faults, processes, looks, refused, .. } = total;
    println!(
        "proof suite=simulation of={of} seeds={count} again={run_again} hours={hours} processes={processes} points={points} faults={faults} \
         looks={looks} refused={refused} lost={} doubled={} invented={} wrong={}",
        verdict.lost,
        verdict.doubled,
        verdict.invented,
        verdict.wrong.len()
    );
    wrong
}

#[test]
fn seeds_lose_and_double_nothing() {
    let first = number("LANDFALL_SIMULATION_FIRST", 0);
    let wrong = simulate("seeds", first..first + number("LANDFALL_SIMULATION_SEEDS", 40));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn seeds_that_went_wrong_once_are_right() {
    let wrong = simulate("regressions", REGRESSIONS.iter().copied());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
