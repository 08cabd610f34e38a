//! Random simulation: days of a pipeline that a seed decides. Up to three owners at a time over an API that changes while it is read; processes die,
//! stand still while others take over, and wake; stages panic; stores fail, refuse, answer late, lose answers, list what was there before, and damage what they
//! hold; clocks jump; somebody deploys what must be refused, puts files together and deletes old ones. Then the faults end, and what was served must be there, once.
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
mod damage;
mod disk;
#[path = "../worlds/environment.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod environment;
mod history;
mod oracle;
#[path = "../pipeline/support.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod support;
mod world;
#[path = "../worlds/mod.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod worlds;

use environment::number;
use history::Told;
use landfall::testkit::{Defect, Verdict};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that went wrong once. They always run.
const REGRESSIONS: &[u64] = &[];
/// Each so many seeds, one is run again and must do the same. It has no divisor in common with the number of destinations, which
/// seeds take in turn: so each of them is run again.
const AGAIN: u64 = 9;

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
        total.denied += told.denied;
        total.behind += told.behind;
        total.set += told.set;
        total.panicked += told.panicked;
        total.damaged += told.damaged;
        told.halted.into_iter().for_each(|(of, times)| *total.halted.entry(of).or_default() += times);
        total.verdict = std::mem::take(&mut total.verdict).and(told.verdict);
    }
    for of in damage::FOLDERS.iter().filter(|of| total.damaged >= 100 && !total.halted.contains_key(*of)) {
        wrong.push(format!("nobody missed what was damaged of {of}"));
    }
    let Told {
        verdict,
        hours,
        points,
        faults,
        processes,
        looks,
        refused,
        denied,
        behind,
        set,
        panicked,
        damaged,
        halted,
        ..
    } = total;
    for (what, times) in [
        ("refused an operation", denied),
        ("listed late", behind),
        ("had a clock that was set", set),
        ("panicked", panicked),
    ] {
        if count >= 100 && times == 0 {
            wrong.push(format!("nobody {what}"));
        }
    }
    println!(
        "proof suite=simulation of={of} seeds={count} again={run_again} hours={hours} processes={processes} points={points} faults={faults} \
         looks={looks} refused={refused} denied={denied} behind={behind} set={set} panicked={panicked} damaged={damaged} halted={} {}",
        halted.values().sum::<u64>(),
        verdict.sums()
    );
    wrong
}

#[test]
fn seeds_lose_and_double_nothing() {
    let first = number("LANDFALL_SIMULATION_FIRST").unwrap_or(0);
    let wrong = simulate("seeds", first..first + number("LANDFALL_SIMULATION_SEEDS").unwrap_or(40));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn seeds_that_went_wrong_once_are_right() {
    let wrong = simulate("regressions", REGRESSIONS.iter().copied());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Bugs that random days meet, each with a seed that has met it: from there on seeds are run until one notices it, which are more when the days
/// have changed. Others need a
/// moment that hardly comes by chance, or have a second guard behind them: `tests/defects` has a scenario for each.
const NOTICED: &[(Defect, u64)] = &[
    (Defect::OwnersWriteNoFence, 0),
    (Defect::NewerOwnerIsSteppedOver, 72),
    (Defect::FencesAreCollected, 76),
    (Defect::DeletesBeforeBoundary, 14),
    (Defect::ExistsIsTakenForOwn, 50),
    (Defect::CommitsBeforeCheckpoint, 4),
    (Defect::PreparedEpochIsDropped, 3),
    (Defect::TwoEpochsAreOpen, 1),
    (Defect::CleansUpInDoubt, 8),
    (Defect::PositionIsAhead, 4),
    (Defect::PositionBeforePages, 106),
    (Defect::StateIsNotSaved, 0),
    (Defect::IdentityIsNotCompared, 2),
    (Defect::CommitsAgain, 0),
    (Defect::CommitsOverwrite, 28),
    (Defect::MarkExpires, 3),
    (Defect::StagedIsVacuumed, 138),
    (Defect::QuarantineIsApart, 43),
    (Defect::QuarantineMayFail, 106),
    (Defect::RejectsVanish, 0),
    (Defect::ChecksumIsNotVerified, 31),
];

#[test]
fn seeds_notice_defects() {
    let most = number("LANDFALL_SIMULATION_TRIES").unwrap_or(400);
    let tried: Vec<(Defect, Option<u64>)> = std::thread::scope(|scope| {
        let of = |half: usize| {
            scope.spawn(move || {
                NOTICED
                    .iter()
                    .skip(half)
                    .step_by(2)
                    .map(|(defect, first)| {
                        let noticing = |seed: &u64| {
                            let _on = defect.switch_on();
                            !run(*seed).verdict.is_right()
                        };
                        let seed = (*first..first + most).find(noticing);
                        // That it is the defect that was noticed.
                        let without = seed.map(|seed| run(seed).verdict).unwrap_or_default();
                        assert!(without.is_right(), "{seed:?} without {defect:?}: {without}");
                        let tries = seed.map(|seed| seed - first + 1);
                        println!("  {defect:?}, from seed {first} on, after so many: {tries:?}");
                        (*defect, tries)
                    })
                    .collect::<Vec<_>>()
            })
        };
        let halves = [of(0), of(1)];
        halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect()
    });
    let missed: Vec<Defect> = tried.iter().filter(|(_, seeds)| seeds.is_none()).map(|(defect, _)| *defect).collect();
    println!(
        "proof suite=simulation of=defects defects={} caught={} tries={}",
        tried.len(),
        tried.len() - missed.len(),
        tried.iter().map(|(_, seeds)| seeds.unwrap_or(most)).sum::<u64>()
    );
    assert!(missed.is_empty(), "no seed notices {missed:?}");
}
