//! What a pipeline makes of stores that answer in odd ways, and of stores that give back something else than what was put there.

#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

use crate::support::{Script, World};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{Damage, DamagedStore, Faults, Mode, Plan, Target};
use landfall::{Error, ErrorKind};
use std::collections::BTreeMap;

fn world() -> World {
    World::new(Script::new(2, 4, 7))
}

/// The same world, with its stores reached through `store`.
fn through(world: &World, store: &Store) -> World {
    World { store: store.clone(), raw: store.clone(), ..world.clone() }
}

async fn run(world: &World) -> Result<(), Error> {
    world.builder().build()?.run().await.map(drop).map_err(Error::from)
}

/// How many operations a run has without faults.
async fn operations() -> u64 {
    let (world, faults) = (world(), Faults::none());
    run(&through(&world, &faults.store(&world.store))).await.expect("no faults");
    faults.count()
}

/// At every operation: either it goes on, or it ends with what the store said or with doubt; and a process after it completes.
#[tokio::test]
async fn every_odd_answer_is_ridden_out_or_ends_the_run() {
    let points = operations().await;
    let kinds = [ErrorKind::Unavailable, ErrorKind::Auth, ErrorKind::Config, ErrorKind::Ambiguous];
    let odd = [Mode::Exists, Mode::Conflict, Mode::Late(0), Mode::Late(7), Mode::Late(1_000)];
    let mut ended = BTreeMap::<String, (u64, u64)>::new();
    for mode in kinds.map(Mode::Refuse).into_iter().chain(odd) {
        for at in 0..points {
            let world = world();
            let faults = Faults::of([Plan { at, mode }]);
            let first = run(&through(&world, &faults.store(&world.store))).await;
            let counts = ended.entry(format!("{mode:?}")).or_default();
            match &first {
                Ok(()) => counts.0 += 1,
                Err(error) => {
                    counts.1 += 1;
                    assert!(mode.excuses(error.kind()), "{mode:?} at {at}: {error}");
                }
            }
            faults.arrive().await;
            if let Err(error) = run(&world).await {
                panic!("{mode:?} at {at}, which ended with {first:?}: {error}");
            }
            world.assert_exact().await;
        }
    }
    println!("of {points} operations, ridden out and ended: {ended:?}");
    assert!(ended.values().all(|(ridden, _)| *ridden > 0), "{ended:?}");
}

/// A process dies in the middle; what it has left, object by object, is damaged when the next one reads it. A store that gives back what was there
/// before is refused at the start (rule 7).
#[tokio::test]
async fn damage_halts_or_is_not_needed() {
    let mut halted = BTreeMap::<String, (u64, u64)>::new();
    let points = operations().await;
    for damage in [Damage::Flip, Damage::Truncate, Damage::Vanished, Damage::LateListing, Damage::Endless] {
        for died_at in (19..points).step_by(13) {
            let left = async || {
                let world = world();
                let faults = Faults::of([Plan { at: died_at, mode: Mode::AfterLostResponse }]);
                run(&through(&world, &faults.store(&world.store))).await.expect_err("it died");
                world
            };
            let objects = left().await.store.list(&ObjectPath::root()).await.expect("list");
            for name in objects.into_iter().map(|object| object.path.to_string()) {
                let world = left().await;
                let damaged = DamagedStore::new(&world.store, damage, Target::all().on(&name));
                let ended = run(&through(&world, &Store::new(damaged))).await;
                let kinds = ["numbers/state", "quarantine", "state", "raw"];
                let kind = kinds.into_iter().find(|kind| name.contains(kind)).unwrap_or(&name);
                let counts = halted.entry(format!("{damage:?} {kind}")).or_default();
                match ended {
                    Ok(()) => {
                        counts.0 += 1;
                        world.assert_exact().await;
                    }
                    Err(error) => {
                        counts.1 += 1;
                        // A store that does not keep what a probe writes is refused.
                        let refused = error.kind() == ErrorKind::Config && name.contains("landfall-probe");
                        assert!(refused || error.kind() == ErrorKind::Corrupt, "{damage:?} of {name}: {error}");
                        assert_ne!(damage, Damage::LateListing, "{name}: {error}");
                        assert!(world.rows().windows(2).all(|pair| pair[0] < pair[1]), "{damage:?} of {name}: doubled");
                    }
                }
                // What was only given back wrong is not made durable.
                if damage != Damage::Vanished {
                    run(&world).await.unwrap_or_else(|error| panic!("{damage:?} of {name} at {died_at}: {error}"));
                    world.assert_exact().await;
                }
            }
        }
    }
    println!("not needed and halted: {halted:?}");
    for damage in [Damage::Flip, Damage::Truncate, Damage::Endless] {
        for kind in ["numbers/state", "quarantine", "state", "raw"] {
            let (_, halts) = halted[&format!("{damage:?} {kind}")];
            assert!(halts > 0, "{damage:?} of {kind}: {halted:?}");
        }
    }
    assert!(halted.iter().any(|(of, (_, halts))| of.starts_with("Vanished") && *halts > 0), "{halted:?}");
}
