//! A world under a fault at every I/O operation.

mod outcome;
mod schedule;
#[cfg(test)]
mod tests;

pub use outcome::{Outcome, Verdict, Wrong};
pub use schedule::Schedule;

use super::{Faults, Mode, Plan, Point, SeededEntropy};
use crate::env::Entropy;
use crate::error::{ErrorKind, Result};
use async_trait::async_trait;
use std::fmt::{self, Debug};
use std::future::{Ready, ready};

/// What outlives the processes of a schedule, and the oracle that looks at it from outside.
///
/// # Requires
/// 1. *Owned*: worlds share nothing, and time and randomness come from [`test_env`](super::test_env) with another seed for each process, so
///    that one schedule is one history, and no process takes another one's writes for its own.
/// 2. *Counted*: every effect of a process passes its [`Faults`]: use [`Faults::store`], [`FaultSink`](super::FaultSink),
///    [`FaultSource`](super::FaultSource), [`FaultCheckpoints`](super::FaultCheckpoints), and [`Faults::point`] for what else there is.
#[async_trait]
pub trait World: Send + Sync {
    /// One process, to its end: a run of a pipeline, or several, one after the other.
    async fn process(&self, faults: &Faults) -> Result<()>;

    /// Compares what is there, after a process that had no faults, with what was served.
    async fn verdict(&self) -> Verdict;

    /// Looks at the destination while processes run, as a reader does, and panics if it sees what none may see: part of an epoch, or a
    /// row twice. Never ends by itself: `std::future::pending().await` looks at nothing.
    async fn watch(&self);
}

/// Runs a world under a fault at every operation, singly and in pairs, and says what was lost, doubled or invented.
///
/// 1. *Single*: each operation that a process without faults does × each [`Mode`]. A process that stands still is overtaken: another
///    one does all of its work, then the first one goes on.
/// 2. *Pairs*: a fault, and a second one within the recovery from it; a sample that is spread by [`seed`](Self::seed).
/// 3. *Recovery*: after the faults, processes without faults run until one ends well (at most three); then the oracle looks.
/// 4. *Deterministic*: the same world and seed give the same histories; [`replay`](Self::replay) repeats one.
/// 5. *Shrinking*: for a pair that goes wrong, the smallest schedule that goes wrong in its place is reported: one of its faults alone, if
///    that is enough, at the first operation where it is.
///
/// ```
/// use landfall::checkpoint::MemoryCheckpoints;
/// use landfall::model::Rows;
/// use landfall::pipeline::Pipeline;
/// use landfall::sink::{MemorySink, MemoryTable};
/// use landfall::source::IterSource;
/// use landfall::testkit::{FaultCheckpoints, FaultSink, Faults, Schedules, Verdict, World, test_env};
/// use landfall::{Result, async_trait};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Numbers {
///     table: MemoryTable<Rows<u64>>,
///     checkpoints: MemoryCheckpoints,
///     processes: AtomicU64,
/// }
///
/// #[async_trait]
/// impl World for Numbers {
///     async fn process(&self, faults: &Faults) -> Result<()> {
///         let pipeline = Pipeline::named("numbers")
///             .source(IterSource::new(1..=5))
///             .sink(FaultSink::new(MemorySink::new(&self.table), faults))
///             .checkpoints(FaultCheckpoints::new(self.checkpoints.clone(), faults))
///             .env(test_env(self.processes.fetch_add(1, Ordering::SeqCst)))
///             .build()?;
///         pipeline.run().await?;
///         Ok(())
///     }
///     async fn verdict(&self) -> Verdict {
///         Verdict::of(1..=5, self.table.rows())
///     }
///     async fn watch(&self) {
///         std::future::pending().await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let outcome = Schedules::of(Numbers::default).pairs(10).run().await;
/// println!("{outcome}");
/// outcome.assert_right();
/// # });
/// ```
pub struct Schedules<F> {
    make: F,
    modes: Vec<Mode>,
    pairs: u64,
    every: u64,
    seed: u64,
    until_wrong: bool,
}

/// Processes that a recovery may need: a fault that a process survives can still end its run.
const RECOVERIES: usize = 3;

/// How far apart the operations begin that two modes take, if not all are taken.
const OTHER: u64 = 31;

impl Schedules<()> {
    /// Of the worlds that `make` makes, all alike: each operation in each mode, and 150 pairs.
    pub fn of<W>(make: impl Fn() -> W + Send + Sync) -> Schedules<impl Fn() -> Ready<W> + Send + Sync> {
        Self::made_by(move || ready(make()))
    }

    /// As [`of`](Self::of), of worlds that take their time to be made: a schema of a database, a bucket.
    pub fn made_by<F: Fn() -> Made + Send + Sync, Made: Future>(make: F) -> Schedules<F> {
        let modes =
            vec![Mode::Before, Mode::AfterLostResponse, Mode::Torn, Mode::Pause, Mode::LostResponse, Mode::Fail];
        Schedules { make, modes, pairs: 150, every: 1, seed: 0, until_wrong: false }
    }
}

impl<F, Made, W> Schedules<F>
where
    F: Fn() -> Made + Send + Sync,
    Made: Future<Output = W> + Send,
    W: World,
{
    /// Only these modes.
    #[must_use]
    pub fn modes(self, modes: impl IntoIterator<Item = Mode>) -> Self {
        Self { modes: modes.into_iter().collect(), ..self }
    }

    /// How many pairs are tried.
    #[must_use]
    pub fn pairs(self, pairs: u64) -> Self {
        Self { pairs, ..self }
    }

    /// Only each `n`-th operation, for worlds that take long: others for each mode and each [`seed`](Self::seed).
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n.max(1), ..self }
    }

    /// Chooses other pairs, and other operations if not all are taken.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Stops at the first schedule that goes wrong: where that is all that is asked.
    #[must_use]
    pub fn until_wrong(self) -> Self {
        Self { until_wrong: true, ..self }
    }

    /// Runs all schedules.
    ///
    /// # Panics
    /// If a world goes wrong without any fault: then nothing can be said of faults.
    pub async fn run(&self) -> Outcome {
        let trace = self.trace().await;
        let points = trace.len() as u64;
        let mut outcome = Outcome { points, trace, ..Outcome::default() };
        for (n, mode) in (0..).zip(&self.modes) {
            let mut at = (self.seed + n * OTHER) % self.every;
            while at < points {
                let schedule = Schedule::single(Plan { at, mode: *mode });
                outcome.add(schedule, self.replay(schedule).await);
                if self.until_wrong && !outcome.wrong.is_empty() {
                    return outcome;
                }
                at += self.every;
            }
        }
        let crashes: Vec<Mode> = self.modes.iter().copied().filter(|mode| *mode != Mode::Pause).collect();
        let chance = SeededEntropy::new(self.seed);
        for _ in 0..self.pairs {
            let draw = |below: usize| usize::try_from(chance.next_u64() % below.max(1) as u64).unwrap_or(0);
            let modes = [draw(crashes.len()), draw(crashes.len())].map(|n| crashes.get(n).copied());
            let [Some(first), Some(second)] = modes else { break };
            let first = Plan { at: chance.next_u64() % points.max(1), mode: first };
            let recovery = self.recovery(first).await;
            let second = Plan { at: chance.next_u64() % recovery.max(1), mode: second };
            let schedule = Schedule::pair(first, second);
            match self.replay(schedule).await {
                right if right.is_right() => outcome.add(schedule, right),
                wrong => {
                    let (schedule, wrong) = self.shrink(schedule, wrong).await;
                    outcome.add(schedule, wrong);
                    if self.until_wrong {
                        return outcome;
                    }
                }
            }
        }
        outcome
    }

    /// Runs one schedule in a new world.
    pub async fn replay(&self, schedule: Schedule) -> Verdict {
        let world = (self.make)().await;
        let history = history(&world, schedule);
        tokio::select! {
            biased;
            verdict = history => verdict,
            () = world.watch() => Verdict::wrong("the reader stopped watching"),
        }
    }

    /// The operations of a process without faults.
    async fn trace(&self) -> Vec<Point> {
        let (world, faults) = ((self.make)().await, Faults::none());
        let ended = world.process(&faults).await;
        assert!(ended.is_ok(), "without any fault, the process ended with {ended:?}");
        let verdict = world.verdict().await;
        assert!(verdict.is_right(), "without any fault: {verdict}");
        faults.trace()
    }

    /// How many operations the process does that recovers from `plan`.
    async fn recovery(&self, plan: Plan) -> u64 {
        let (world, recovery) = ((self.make)().await, Faults::none());
        drop(world.process(&Faults::of([plan])).await);
        drop(world.process(&recovery).await);
        recovery.count()
    }

    /// The smallest schedule that goes wrong in the place of a pair that does.
    async fn shrink(&self, schedule: Schedule, wrong: Verdict) -> (Schedule, Verdict) {
        let alone = [Some(schedule.first), schedule.second];
        for plan in alone.into_iter().flatten() {
            for at in 0..=plan.at {
                let smaller = Schedule::single(Plan { at, ..plan });
                let verdict = self.replay(smaller).await;
                if !verdict.is_right() {
                    return (smaller, verdict);
                }
            }
        }
        // Neither alone: the earliest second fault that is enough.
        let second = schedule.second.unwrap_or(schedule.first);
        for at in 0..second.at {
            let smaller = Schedule::pair(schedule.first, Plan { at, ..second });
            let verdict = self.replay(smaller).await;
            if !verdict.is_right() {
                return (smaller, verdict);
            }
        }
        (schedule, wrong)
    }
}

/// The processes of a schedule, and what the oracle says then.
async fn history(world: &impl World, Schedule { first, second }: Schedule) -> Verdict {
    let mut wrong = Vec::new();
    let faults = Faults::of([first]);
    if first.mode == Mode::Pause {
        overtake(world, &faults, &mut wrong).await;
    } else {
        // How it ends is its own affair; what it leaves behind is not.
        drop(world.process(&faults).await);
    }
    if let Some(second) = second {
        drop(world.process(&Faults::of([second])).await);
    }
    recover(world, &mut wrong).await;
    let mut verdict = world.verdict().await;
    verdict.wrong.append(&mut wrong);
    verdict
}

/// A process stands still, another one does its work, and then the first one goes on.
async fn overtake(world: &impl World, faults: &Faults, wrong: &mut Vec<String>) {
    let mut zombie = std::pin::pin!(world.process(faults));
    let ended = tokio::select! {
        biased;
        ended = &mut zombie => Some(ended),
        () = faults.until_paused() => None,
    };
    if ended.is_some() {
        return;
    }
    recover(world, wrong).await;
    faults.resume();
    if let Err(error) = zombie.await {
        if !matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Ambiguous | ErrorKind::Unavailable) {
            wrong.push(format!("the process that was overtaken ended with {error}"));
        }
    }
}

async fn recover(world: &impl World, wrong: &mut Vec<String>) {
    for _ in 0..RECOVERIES {
        match world.process(&Faults::none()).await {
            Ok(()) => return,
            Err(error) => wrong.push(format!("the recovery failed: {error}")),
        }
    }
}

impl<F> Debug for Schedules<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules")
            .field("modes", &self.modes)
            .field("pairs", &self.pairs)
            .field("every", &self.every)
            .field("seed", &self.seed)
            .field("until_wrong", &self.until_wrong)
            .finish_non_exhaustive()
    }
}
