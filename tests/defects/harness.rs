//! Runs scenarios, each without a defect once and with every defect that it is there for.

use crate::paired::said;
use futures::future::LocalBoxFuture;
use landfall::testkit::Defect;
use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A defect, the invariant that it breaks, what notices it, and what that says then: a scenario that breaks for another reason has not
/// noticed it.
#[derive(Clone, Copy)]
pub struct Pair {
    pub defect: Defect,
    pub rule: u8,
    pub scenario: &'static str,
    pub says: &'static str,
    pub run: fn() -> LocalBoxFuture<'static, ()>,
}

/// Names for each defect its rule, its scenario and what that says: a function `pair`, which covers all of them or does not compile. Those that need a
/// server, or a process of their own, are noticed elsewhere, in the files that are named.
macro_rules! pairs {
    (
        here { $($defect:ident: $rule:literal => $room:ident::$scenario:ident says $says:literal,)+ }
        elsewhere { $($other:ident: $of:literal => $what:literal in [$($file:literal),+],)+ }
    ) => {
        const ELSEWHERE: &[(Defect, u8, &str, &[&str])] =
            &[$((Defect::$other, $of, $what, &[$(include_str!($file)),+]),)+];

        fn pair(defect: Defect) -> Option<Pair> {
            match defect {
                $(Defect::$other => None,)+
                $(Defect::$defect => Some(Pair {
                    defect,
                    rule: $rule,
                    scenario: concat!(stringify!($room), "::", stringify!($scenario)),
                    says: $says,
                    run: || Box::pin($room::$scenario()),
                }),)+
            }
        }
    };
}
pub(crate) use pairs;

/// Beyond this a scenario hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why a scenario does not hold, if it does not.
fn broken(pair: Pair, defect: Option<Defect>) -> Option<String> {
    let (done, ended) = mpsc::channel();
    let work = move || {
        let told = panic::catch_unwind(|| {
            let _on = defect.map(Defect::switch_on);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on((pair.run)());
        });
        drop(done.send(told.err().map(|panic| said(&*panic))));
    };
    thread::Builder::new().spawn(work).expect("a thread");
    match ended.recv_timeout(PATIENCE) {
        Ok(broken) => broken,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some("it does not end".into()),
    }
}

/// Runs all `pairs`, and fails if a scenario does not hold, or does not say with its defect what it should.
pub fn run(mut pairs: Vec<Pair>) {
    let only = std::env::var("LANDFALL_DEFECTS_ONLY").unwrap_or_default();
    pairs.retain(|pair| format!("{:?}", pair.defect).contains(&only));
    let clean: BTreeMap<&str, Pair> = pairs.iter().map(|pair| (pair.scenario, *pair)).collect();
    let mut work: Vec<(Pair, Option<Defect>)> = pairs.iter().map(|pair| (*pair, Some(pair.defect))).collect();
    work.extend(clean.into_values().map(|pair| (pair, None)));
    let (work, wrong, caught) = (Mutex::new(work), Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    // What a scenario panics with is taken up; that is what it is run for.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((pair, defect)) = { work.lock().expect("no panic").pop() } {
                    match (defect, broken(pair, defect)) {
                        (None, None) => {}
                        (None, Some(why)) => {
                            wrong.lock().expect("no panic").push(format!("{} does not hold: {why}", pair.scenario));
                        }
                        (Some(defect), why) => {
                            let why = why.unwrap_or_else(|| "it holds".to_owned());
                            let words: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
                            let told = format!("{}: {}", pair.scenario, words.chars().take(240).collect::<String>());
                            let noticed = why.contains(pair.says);
                            let figure = if noticed { "caught=1" } else { "caught=0 missed=1" };
                            println!("proof suite=defects of={defect:?} rule={} {figure}\n  {told}", pair.rule);
                            if noticed {
                                caught.lock().expect("no panic").insert(defect);
                            } else {
                                let missed = format!("{defect:?} is not noticed: not \"{}\", but {told}", pair.says);
                                wrong.lock().expect("no panic").push(missed);
                            }
                        }
                    }
                }
            });
        }
    });
    panic::set_hook(hook);
    let (wrong, caught) = (wrong.into_inner().expect("no panic"), caught.into_inner().expect("no panic"));
    println!("proof suite=defects defects={} caught={}", pairs.len(), caught.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
