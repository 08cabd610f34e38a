use super::{Schedule, Verdict, World};
use crate::error::{ErrorKind, Result};
use crate::testkit::{Faults, Mode, Plan};
use futures::future::BoxFuture;
use std::pin::pin;

/// What came of a schedule.
pub(super) struct History {
    pub(super) verdict: Verdict,
    /// Whether its faults happened: each process came to the operation at which its own stands.
    pub(super) met: bool,
}

/// The processes of a schedule, and what the oracle says then.
pub(super) async fn history(world: &impl World, schedule: Schedule) -> History {
    let plans: Vec<Plan> = [Some(schedule.first), schedule.second].into_iter().flatten().collect();
    let mut met = true;
    let told = async {
        let mut wrong = Verdict::default();
        met = processes(world, &plans, &mut wrong).await;
        world.verdict().await.and(wrong)
    };
    let verdict = watched(world, told).await;
    History { verdict, met }
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

/// A process for each fault, the next one within the recovery from it, and then one without faults. Who stands still goes on when
/// those who have overtaken it have ended; what was still on its way from a process arrives then. Whether all faults were met.
fn processes<'a>(world: &'a impl World, plans: &'a [Plan], wrong: &'a mut Verdict) -> BoxFuture<'a, bool> {
    Box::pin(async move {
        let Some((plan, rest)) = plans.split_first() else {
            blame(wrong, "without faults, a process", world.process(&Faults::none()).await, None);
            return true;
        };
        let faults = Faults::of([*plan]);
        let mut process = world.process(&faults);
        let ended = until_paused(&faults, &mut process).await;
        let others_met = processes(world, rest, wrong).await;
        let (who, ended) = match ended {
            Some(ended) => ("a process that lived on", ended),
            None => {
                faults.resume();
                ("a process that was overtaken", process.await)
            }
        };
        // Nobody hears how one ends that has died.
        if !faults.is_dead() {
            blame(wrong, who, ended, Some(plan.mode));
        }
        faults.arrive().await;
        plan.on(&faults.trace()).is_some() && others_met
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
fn blame(wrong: &mut Verdict, who: &str, ended: Result<()>, happened: Option<Mode>) {
    let Err(error) = ended else { return };
    if !happened.is_some_and(|mode| mode.excuses(error.kind())) {
        wrong.corrupt += u64::from(error.kind() == ErrorKind::Corrupt);
        wrong.wrong.push(format!("{who} ended with {error}"));
    }
}
