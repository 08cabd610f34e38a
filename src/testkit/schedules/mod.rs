//! A world under a fault at every I/O operation.

mod history;
mod outcome;
mod recovery;
mod schedule;
#[cfg(test)]
mod tests;

pub use outcome::{Outcome, Verdict, Wrong};
pub use schedule::Schedule;

use super::{Faults, Mode, Plan, Point, SeededEntropy};
use crate::env::Entropy;
use crate::error::Result;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use history::{History, caught, history, watched};
use recovery::Recovery;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::future::{Ready, ready};
use std::pin::pin;

/// What outlives the processes of a schedule, and the oracle that looks at it from outside.
///
/// # Requires
/// 1. *Owned*: worlds share nothing, and time and randomness come from [`test_env`](super::test_env) with another seed for each process, so
///    that one schedule is one history, and no process takes another one's writes for its own.
/// 2. *Counted*: every effect of a process passes its [`Faults`], and two that can happen one without the other pass it apart: use
///    [`Faults::store`], [`FaultProxy`](super::FaultProxy), [`FaultSource`](super::FaultSource), [`FaultSink`](super::FaultSink) and
///    [`FaultCheckpoints`](super::FaultCheckpoints) where a call is one effect, and [`Faults::point`] for what else there is.
/// 3. *Let go*: no process holds a lock that others need while it passes an operation: who stands still there ([`Mode::Pause`]) holds it
///    until they have ended, which is never.
///
/// What panics, in any of these methods, has gone wrong: the schedule is told of.
#[async_trait]
pub trait World: Send + Sync {
    /// One process, to its end: a run of a pipeline, or several, one after the other.
    async fn process(&self, faults: &Faults) -> Result<()>;

    /// Compares what is there, after a process that had no faults, with what was served: once, when all else has ended.
    async fn verdict(&self) -> Verdict;

    /// Looks at the destination while processes run, as a reader does. Ends only when it has seen what none may see, with what that was:
    /// [`Verdict::partial`] for a part of an epoch. `std::future::pending().await` looks at nothing.
    async fn watch(&self) -> Verdict;
}

/// Runs a world under a fault at every operation, singly and in pairs, and says what was lost, doubled, corrupt, invented or seen in part.
///
/// 1. *Single*: each operation that a process without faults does × each [`Mode`] that can happen there; those that cannot differ (a read
///    that is torn, and one before which the process dies) are one. A process that stands still is overtaken: another one does all of its
///    work, then the first one goes on.
/// 2. *Pairs*: a fault, and a second one within the recovery from it; a sample that is spread by [`seed`](Self::seed), half of them drawn
///    from [`Mode::CRASHES`] alone, or [all](Self::all_pairs). Who overtakes a process that stands still has the second fault. Who lives on
///    recovers by itself: it has the second fault too, later ([`Schedule::both`]), or the next process has, if the first did not end well.
/// 3. *Endings*: a process that has not died ends well, or with what its fault [excuses](Mode::excuses): it asks nobody to mend what a
///    fresh start would.
/// 4. *Recovery*: after the faults, a process without any ends well, at its first try; and another one if who stood still, or what was
///    late, has changed something after that. Then the oracle looks.
/// 5. *Met*: only what happened counts. A history whose process never came to the operation of its fault is [unmet](Outcome::unmet), and
///    no schedule; of a world that does not [vary](Self::varies) there must be none.
/// 6. *Deterministic*: the same world and seed give the same histories; [`replay`](Self::replay) repeats one.
/// 7. *Shrinking*: for a pair that goes wrong, the smallest schedule that goes wrong in its place is reported, once: one of its faults
///    alone, if that is enough, else both, each at the first operation where it is enough.
/// 8. *Panics*: a history that panics has gone wrong, as any other.
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
///     async fn watch(&self) -> Verdict {
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
    /// `None` is all that there are.
    pairs: Option<u64>,
    every: u64,
    seed: u64,
    until_wrong: bool,
    varies: bool,
    at_once: usize,
}

/// How far apart the operations begin that two modes take, if not all are taken.
const OTHER: u64 = 31;

/// How often a pair is drawn, at most, for each that is asked for: some come twice.
const DRAWS: u64 = 4;

/// How often a schedule is tried again that did not meet its faults, in a world that varies.
const AGAIN: u32 = 3;

impl Schedules<()> {
    /// Of the worlds that `make` makes, all alike: each operation in each mode of [`Mode::ANY`], and 150 pairs.
    pub fn of<W>(make: impl Fn() -> W + Send + Sync) -> Schedules<impl Fn() -> Ready<W> + Send + Sync> {
        Self::made_by(move || ready(make()))
    }

    /// As [`of`](Self::of), of worlds that take their time to be made: a schema of a database, a bucket.
    pub fn made_by<F: Fn() -> Made + Send + Sync, Made: Future>(make: F) -> Schedules<F> {
        Schedules {
            make,
            modes: Mode::ANY.to_vec(),
            pairs: Some(150),
            every: 1,
            seed: 0,
            until_wrong: false,
            varies: false,
            at_once: 1,
        }
    }
}

impl<F, Made, W> Schedules<F>
where
    F: Fn() -> Made + Send + Sync,
    Made: Future<Output = W> + Send,
    W: World,
{
    /// Only these modes: [`Mode::OBJECT_STORE`] for all that an object store can do. The default, [`Mode::ANY`], can happen to any operation;
    /// the others are odd answers of object stores, and refusals, which end a run as a wrong configuration does. Where a mode cannot
    /// happen, it is no schedule.
    #[must_use]
    pub fn modes(self, modes: impl IntoIterator<Item = Mode>) -> Self {
        Self { modes: modes.into_iter().collect(), ..self }
    }

    /// How many pairs are tried, of these modes: fewer if there are not so many, or if four draws for each do not find them.
    #[must_use]
    pub fn pairs(self, pairs: u64) -> Self {
        Self { pairs: Some(pairs), ..self }
    }

    /// All pairs: each operation in each mode, or those that are asked for, and then each operation within the recovery from that in each
    /// mode. They are as many as the square of the operations, and more: for small worlds.
    #[must_use]
    pub fn all_pairs(self) -> Self {
        Self { pairs: None, ..self }
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

    /// The operations are not the same in each history: messages of a server, threads of a driver. Then a schedule that did not meet its
    /// faults is tried again, up to three times, and up to a tenth of them may remain [unmet](Outcome::unmet).
    #[must_use]
    pub fn varies(self) -> Self {
        Self { varies: true, ..self }
    }

    /// So many histories run at the same time, on one thread: where they wait, as those over a server do. 1 by default.
    #[must_use]
    pub fn at_once(self, n: usize) -> Self {
        Self { at_once: n.max(1), ..self }
    }

    /// Runs all schedules.
    ///
    /// # Panics
    /// If a world goes wrong without any fault, or has no operations: then nothing can be said of faults.
    pub async fn run(&self) -> Outcome {
        let trace = self.trace().await;
        let points = trace.len() as u64;
        let mut outcome = Outcome { points, trace, every: self.every, varies: self.varies, ..Outcome::default() };
        let singles = self.singles(&outcome.trace);
        let histories = singles.iter().enumerate().map(|(n, schedule)| async move { (n, self.tried(*schedule).await) });
        // One that takes long holds up no other one; they are told of in their order.
        let (mut histories, mut ended) =
            (pin!(stream::iter(histories).buffer_unordered(self.at_once)), BTreeMap::new());
        let mut told = 0;
        while let Some((n, history)) = histories.next().await {
            ended.insert(n, history);
            while let Some(History { verdict, met }) = ended.remove(&told) {
                let schedule = singles[told];
                told += 1;
                outcome.count(schedule, met);
                outcome.tell(schedule, verdict);
                if self.until_wrong && !outcome.wrong.is_empty() {
                    return outcome;
                }
            }
        }
        match self.pairs {
            Some(pairs) => self.drawn_pairs(pairs, &mut outcome).await,
            None => self.each_pair(&singles, &mut outcome).await,
        }
        outcome
    }

    async fn each_pair(&self, singles: &[Schedule], outcome: &mut Outcome) {
        // Two modes may be one, at some operations.
        let mut ran = HashSet::new();
        for single in singles {
            let recovery = self.recovery(single.first).await;
            for schedule in self.modes.iter().flat_map(|mode| recovery.pairs(*mode)) {
                if ran.insert(schedule) && self.ends_with(schedule, outcome).await {
                    return;
                }
            }
        }
    }

    async fn drawn_pairs(&self, pairs: u64, outcome: &mut Outcome) {
        let (chance, mut ran, mut recoveries) = (SeededEntropy::new(self.seed), HashSet::new(), HashMap::new());
        for _ in 0..pairs.saturating_mul(DRAWS) {
            if outcome.pairs == pairs {
                break;
            }
            let Some(schedule) = self.draw(&chance, &outcome.trace, &mut recoveries).await else { continue };
            if ran.insert(schedule) && self.ends_with(schedule, outcome).await {
                break;
            }
        }
    }

    /// Runs a pair. Whether nothing more is asked after it.
    async fn ends_with(&self, pair: Schedule, outcome: &mut Outcome) -> bool {
        let History { verdict, met } = self.tried(pair).await;
        outcome.count(pair, met);
        if verdict.is_right() || outcome.is_told(pair) {
            return false;
        }
        let (schedule, verdict) = self.shrink(pair, verdict).await;
        outcome.tell(schedule, verdict);
        self.until_wrong
    }

    /// Runs one schedule in a new world. That a fault of it was not met is told as wrong: then the world is another one.
    pub async fn replay(&self, schedule: Schedule) -> Verdict {
        let History { verdict, met } = self.history(schedule).await;
        if met { verdict } else { verdict.and(Verdict::wrong(format!("a fault was not met: {schedule}"))) }
    }

    /// A history that met its faults, if one of a few does in a world that varies. What goes wrong is told, met or not.
    async fn tried(&self, schedule: Schedule) -> History {
        let mut history = self.history(schedule).await;
        let mut again = if self.varies { AGAIN } else { 0 };
        while again > 0 && !history.met && history.verdict.is_right() {
            history = self.history(schedule).await;
            again -= 1;
        }
        history
    }

    async fn history(&self, schedule: Schedule) -> History {
        // A world may demand something as it is made or dropped, too.
        let told = caught(async {
            let world = (self.make)().await;
            history(&world, schedule).await
        });
        told.await.unwrap_or_else(|words| History { verdict: Verdict::wrong(words), met: true })
    }

    /// Each operation in each mode, or those that are asked for: each history once.
    fn singles(&self, trace: &[Point]) -> Vec<Schedule> {
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (mut singles, mut known) = (Vec::new(), HashSet::new());
        for (n, mode) in (0..).zip(&self.modes) {
            let first = place(self.seed.wrapping_add(n * OTHER) % self.every);
            let points = trace.iter().skip(first).step_by(place(self.every));
            let plans = points.filter_map(|point| Plan { at: point.index, mode: *mode }.on(trace));
            singles.extend(plans.map(Schedule::single).filter(|schedule| known.insert(*schedule)));
        }
        singles
    }

    /// The operations of a process without faults.
    async fn trace(&self) -> Vec<Point> {
        let (world, faults) = ((self.make)().await, Faults::none());
        let history = async {
            let ended = world.process(&faults).await;
            assert!(ended.is_ok(), "without any fault, the process ended with {ended:?}");
            world.verdict().await
        };
        let verdict = watched(&world, history).await;
        assert!(verdict.is_right(), "without any fault: {verdict}");
        let trace = faults.trace();
        assert!(
            !trace.is_empty(),
            "the world passes its faults to nothing: let each effect of `World::process` pass them, by `faults.store(…)`, `FaultSink` and its \
             sisters, or `faults.point(…)`"
        );
        trace
    }

    /// Draws a pair: a fault of a process that passes these points, and one within the recovery from it.
    async fn draw(
        &self,
        chance: &SeededEntropy,
        trace: &[Point],
        recoveries: &mut HashMap<Plan, Recovery>,
    ) -> Option<Schedule> {
        let draw = |below: u64| chance.next_u64() % below.max(1);
        let crashes: Vec<Mode> = self.modes.iter().copied().filter(|mode| Mode::CRASHES.contains(mode)).collect();
        // Of many modes, few pairs would be of two crashes.
        let modes = if draw(2) == 0 || crashes.is_empty() { &self.modes } else { &crashes };
        let mode = || modes.get(usize::try_from(draw(modes.len() as u64)).ok()?).copied();
        let (first, second) = (mode()?, mode()?);
        let first = Plan { at: draw(trace.len() as u64), mode: first }.on(trace)?;
        let recovery = match recoveries.entry(first) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.recovery(first).await),
        };
        recovery.drawn(second, draw)
    }

    async fn recovery(&self, first: Plan) -> Recovery {
        let world = (self.make)().await;
        Recovery::of(&world, first).await
    }

    /// The smallest schedule that goes wrong in the place of a pair that does.
    async fn shrink(&self, schedule: Schedule, wrong: Verdict) -> (Schedule, Verdict) {
        let Schedule { first, second: Some(second), .. } = schedule else { return (schedule, wrong) };
        for alone in [first, second] {
            if let Some(smaller) = self.earliest(alone, Schedule::single).await {
                return smaller;
            }
        }
        let smaller = self.earliest(first, |first| Schedule { first, ..schedule }).await;
        let (schedule, wrong) = smaller.unwrap_or((schedule, wrong));
        let smaller = self.earliest(second, |second| Schedule { second: Some(second), ..schedule }).await;
        smaller.unwrap_or((schedule, wrong))
    }

    /// The schedule with a fault at the first operation, up to its own, where that happens and goes wrong.
    async fn earliest(&self, plan: Plan, with: impl Fn(Plan) -> Schedule + Send) -> Option<(Schedule, Verdict)> {
        for at in 0..=plan.at {
            let smaller = with(Plan { at, ..plan });
            let History { verdict, met } = self.history(smaller).await;
            if met && !verdict.is_right() {
                return Some((smaller, verdict));
            }
        }
        None
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
            .field("varies", &self.varies)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}
