//! The protocol as a model, explored exhaustively within bounds: owners, collectors, loads and a sink that make one request at a
//! time, in every order, with every answer that a store may give and with crashes at any point. The decisions are those of
//! production ([`Rules`]); only the requests between them are written here again. Each [`Mutation`] bends one decision, and must be
//! caught.
//!
//! `LANDFALL_MODEL=long` explores larger worlds too.
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod owner;
mod process;
mod rules;
mod search;
mod state;
mod world;

use rules::{Mutation, Rules};
use search::{Explored, explore};
use std::collections::BTreeSet;
use world::{Bounds, Restored, World};

/// Two owners and a collector of a chain of checkpoints with a sink: two epochs, and one answer that goes wrong.
const CHECKPOINTS: Bounds = Bounds {
    writers: 2,
    collectors: 1,
    loads: 0,
    lives: 1,
    runs: 1,
    items: 2,
    numbers: 5,
    faults: 1,
    owners_collect: false,
    restored: Restored::Nothing,
};
/// Three owners that race, and collect themselves.
const RACE: Bounds = Bounds { writers: 3, collectors: 0, items: 1, faults: 0, owners_collect: true, ..CHECKPOINTS };
/// A store whose answers go wrong again and again.
const STORM: Bounds = Bounds { writers: 2, collectors: 0, items: 1, faults: 3, ..CHECKPOINTS };
/// One owner, and two collectors that get in each other's way.
const COLLECTORS: Bounds = Bounds { writers: 1, collectors: 2, faults: 0, ..CHECKPOINTS };
/// Owners that collect beside a collector, which comes back.
const COLLECTION: Bounds = Bounds { runs: 2, faults: 0, ..CHECKPOINTS };
/// A landing with two loads, of which one has not published yet how far it is.
const LANDING: Bounds = Bounds { writers: 1, loads: 2, lives: 2, faults: 0, ..CHECKPOINTS };
/// A destination that is restored from a backup at any time.
const OLD_SINK: Bounds =
    Bounds { writers: 1, collectors: 0, lives: 3, numbers: 6, restored: Restored::Sink, ..CHECKPOINTS };
/// Checkpoints that are restored from a backup while nobody runs.
const OLD_CHECKPOINTS: Bounds = Bounds { restored: Restored::Checkpoints, ..OLD_SINK };

const WORLDS: [(&str, Bounds); 9] = [
    ("old_sink", OLD_SINK),
    ("old_checkpoints", OLD_CHECKPOINTS),
    ("collectors", COLLECTORS),
    ("storm", STORM),
    ("collection", COLLECTION),
    ("race", RACE),
    ("landing", LANDING),
    ("checkpoints", CHECKPOINTS),
    // One epoch of three owners, beside a collector: every answer is right, but anybody may sleep for any time.
    ("zombies", Bounds { writers: 3, items: 1, faults: 0, ..CHECKPOINTS }),
];

/// What takes minutes.
const LONG: [(&str, Bounds); 6] = [
    ("checkpoints_two_faults", Bounds { faults: 2, ..CHECKPOINTS }),
    ("two_collectors", Bounds { collectors: 2, faults: 0, ..CHECKPOINTS }),
    ("owners_collect", Bounds { owners_collect: true, ..CHECKPOINTS }),
    ("landing_two_owners", Bounds { writers: 2, loads: 1, lives: 1, faults: 1, ..LANDING }),
    ("race_of_two_epochs", Bounds { items: 2, owners_collect: false, ..RACE }),
    ("race_one_fault", Bounds { faults: 1, ..RACE }),
];

/// Mutations of what is no rule of the protocol, by name.
const OF_THE_LANDING: [&str; 5] =
    ["BaseIgnored", "FastestLoadCounts", "LoadsIgnored", "PublishedTooEarly", "UnpublishedIgnored"];

fn run(bounds: Bounds, mutation: Option<Mutation>) -> Explored {
    explore(World::new(bounds, Rules(mutation)))
}

#[test]
fn every_state_keeps_the_promise() {
    let long = std::env::var("LANDFALL_MODEL").is_ok_and(|how| how == "long");
    let mut sum = 0;
    for (name, bounds) in WORLDS.into_iter().chain(LONG.into_iter().take(if long { LONG.len() } else { 0 })) {
        let explored = run(bounds, None);
        let Bounds { writers, collectors, loads, items, faults, .. } = bounds;
        println!(
            "proof suite=model of={name} writers={writers} collectors={collectors} loads={loads} epochs={items} \
             faults={faults} states={} transitions={}",
            explored.states, explored.transitions
        );
        assert_eq!(explored.wrong.as_deref().map(|w| println!("{w}")), None, "{name} {bounds:?}");
        sum += explored.states;
    }
    assert!(sum > 1_000_000, "the worlds are large: {sum} states");
}

/// docs/testing.md says which rule, and which part of it, each takes out.
#[test]
fn the_tables_of_the_documents_name_each_mutation() {
    let text = include_str!("../../../../../docs/testing.md");
    let made: BTreeSet<String> = Mutation::ALL.iter().map(|mutation| format!("{mutation:?}")).collect();
    let told = |after: &str, column| -> BTreeSet<String> {
        let (_, table) = text.split_once(after).expect("it is there");
        let cells = table.lines().take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(column));
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    };
    assert_eq!(told("| rule | mutations of it |\n", 2), made);
    // The parts are those of the protocol; the landing and its loads are beside it.
    let parts = told("| rule | part | defects | mutations |\n", 4);
    assert_eq!(made.difference(&parts).map(String::as_str).collect::<Vec<_>>(), OF_THE_LANDING);
    assert!(parts.is_subset(&made), "no mutations: {:?}", parts.difference(&made));
}

#[test]
fn every_mutation_is_caught() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let caught = WORLDS.iter().find_map(|(name, bounds)| Some((name, run(*bounds, Some(mutation)).wrong?)));
        match caught {
            Some((name, wrong)) => println!("{mutation:?}: {name}: {}", wrong.lines().next().unwrap_or_default()),
            None => missed.push(mutation),
        }
    }
    let (mutations, caught) = (Mutation::ALL.len(), Mutation::ALL.len() - missed.len());
    println!("proof suite=model of=mutations mutations={mutations} caught={caught}");
    assert!(missed.is_empty(), "these go unnoticed: {missed:?}");
}
