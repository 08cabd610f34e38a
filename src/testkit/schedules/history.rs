use super::{Schedule, Verdict, World};
use crate::env::panicked;
use crate::error::{ErrorKind, Result};
use crate::testkit::{Faults, Plan};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

/// What came of a schedule.
pub(super) struct History {
    pub(super) verdict: Verdict,
    /// Whether its faults happened: each process came to the operations at which its own stand.
    pub(super) met: bool,
}

/// What the processes of a schedule have done.
#[derive(Default)]
struct Course {
    /// How they ended that may not.
    wrong: Verdict,
    /// Whether something was changed after the process without faults had ended, which only the next start may find.
    is_late: bool,
}

/// The processes of a schedule, and what the oracle says then. A panic is what came of it, so that it is told of with its schedule.
pub(super) async fn history(world: &impl World, schedule: Schedule) -> History {
    // Who panics at a fault has met it.
    let (mut met, mut course) = (true, Course::default());
    let told = async {
        met = processes(world, &schedule.processes(), &mut course).await;
        if course.is_late {
            blame(&mut course.wrong, "without faults, a last process", world.process(&Faults::none()).await, &[]);
        }
        world.verdict().await
    };
    let verdict = caught(watched(world, told)).await.unwrap_or_else(Verdict::wrong);
    History { verdict: verdict.and(course.wrong), met }
}

/// What comes of it, or that it panicked, in words.
pub(super) async fn caught<T>(it: impl Future<Output = T> + Send) -> std::result::Result<T, String> {
    let caught = AssertUnwindSafe(it).catch_unwind().await;
    caught.map_err(|panic| panicked("history", panic.as_ref()).to_string())
}

/// What comes of a history, and what a reader has seen meanwhile.
pub(super) async fn watched(world: &impl World, history: impl Future<Output = Verdict> + Send) -> Verdict {
    let mut history = pin!(history);
    let seen = tokio::select! {
        biased;
        verdict = &mut history => return verdict,
        seen = world.watch() => seen,
    };
    let seen = if seen.is_right() { Verdict::wrong("the reader stopped watching") } else { seen };
    history.await.and(seen)
}

/// A process with each of these faults, the next one within the recovery from it, and then one without faults. Who stands still goes on
/// when those who have overtaken it have ended; what was still on its way from a process arrives then. Whether all faults were met.
fn processes<'a>(world: &'a impl World, faulty: &'a [Vec<Plan>], course: &'a mut Course) -> BoxFuture<'a, bool> {
    Box::pin(async move {
        let Some((plans, rest)) = faulty.split_first() else {
            blame(&mut course.wrong, "without faults, a process", world.process(&Faults::none()).await, &[]);
            return true;
        };
        let faults = Faults::of(plans.iter().copied());
        let mut process = world.process(&faults);
        let ended = until_paused(&faults, &mut process).await;
        let changes = faults.changes();
        let others_met = processes(world, rest, course).await;
        let (who, ended) = match ended {
            Some(ended) => ("a process that lived on", ended),
            None => {
                // It may stand still twice.
                let ended = loop {
                    faults.resume();
                    if let Some(ended) = until_paused(&faults, &mut process).await {
                        break ended;
                    }
                };
                ("a process that was overtaken", ended)
            }
        };
        // Nobody hears how one ends that has died.
        if !faults.is_dead() {
            blame(&mut course.wrong, who, ended, plans);
        }
        faults.arrive().await;
        course.is_late |= faults.changes() > changes;
        let trace = faults.trace();
        let each_later = plans.is_sorted_by(|one, other| one.at < other.at);
        each_later && others_met && plans.iter().all(|plan| plan.on(&trace).is_some())
    })
}

/// Runs a process until it ends or stands still.
pub(super) async fn until_paused(faults: &Faults, process: &mut BoxFuture<'_, Result<()>>) -> Option<Result<()>> {
    tokio::select! {
        biased;
        ended = process => Some(ended),
        () = faults.until_paused() => None,
    }
}

/// Says what ended as it may not, after what happened to it.
fn blame(wrong: &mut Verdict, who: &str, ended: Result<()>, happened: &[Plan]) {
    let Err(error) = ended else { return };
    if !happened.iter().any(|plan| plan.mode.excuses(error.kind())) {
        wrong.corrupt += u64::from(error.kind() == ErrorKind::Corrupt);
        wrong.wrong.push(format!("{who} ended with {error}"));
    }
}
