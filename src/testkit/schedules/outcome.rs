use super::Schedule;
use crate::testkit::{Mode, Point};
use std::collections::BTreeMap;
use std::fmt;

/// How far a destination is from what was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were served and are not there.
    pub lost: u64,
    /// Records that are there more often than they were served.
    pub doubled: u64,
    /// What is damaged, or cannot be read, or is said to be so.
    pub corrupt: u64,
    /// Records that are there and were never served.
    pub invented: u64,
    /// Parts of epochs that a reader has seen.
    pub partial: u64,
    /// What else is wrong, in words, and words for what was counted.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// Compares what was served with what was found, each as often as it occurs.
    pub fn of<T: Ord>(served: impl IntoIterator<Item = T>, found: impl IntoIterator<Item = T>) -> Self {
        let mut counts = BTreeMap::<T, (u64, u64)>::new();
        served.into_iter().for_each(|one| counts.entry(one).or_default().0 += 1);
        found.into_iter().for_each(|one| counts.entry(one).or_default().1 += 1);
        let mut verdict = Self::default();
        for (served, found) in counts.into_values() {
            verdict.lost += served.saturating_sub(found);
            match served {
                0 => verdict.invented += found,
                _ => verdict.doubled += found.saturating_sub(served),
            }
        }
        verdict
    }

    /// Something is wrong that cannot be counted.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self { wrong: vec![what.into()], ..Self::default() }
    }

    /// Something is damaged or cannot be read.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self { corrupt: 1, ..Self::wrong(what) }
    }

    /// A reader has seen a part of an epoch.
    pub fn partial(what: impl Into<String>) -> Self {
        Self { partial: 1, ..Self::wrong(what) }
    }

    /// This and another one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.corrupt += other.corrupt;
        self.invented += other.invented;
        self.partial += other.partial;
        self.wrong.extend(other.wrong);
        self
    }

    /// Whether everything is there once, and nothing else.
    pub fn is_right(&self) -> bool {
        *self == Self::default()
    }

    /// The sums as every suite prints them: `lost=0 doubled=0 corrupt=0 invented=0 partial=0 wrong=0`.
    pub fn sums(&self) -> String {
        let Self { lost, doubled, corrupt, invented, partial, wrong } = self;
        let wrong = wrong.len();
        format!("lost={lost} doubled={doubled} corrupt={corrupt} invented={invented} partial={partial} wrong={wrong}")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sums())?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "; {wrong}"))
    }
}

/// A schedule that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which: [`Schedules::replay`](super::Schedules::replay) repeats it.
    pub schedule: Schedule,
    /// The operation at which its first fault stands.
    pub operation: String,
    /// What was wrong afterwards.
    pub verdict: Verdict,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, operation, verdict } = self;
        write!(f, "{schedule}, {operation}: {verdict}")
    }
}

/// What the schedules of a world came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Operations of a process without faults.
    pub points: u64,
    /// Which they are.
    pub trace: Vec<Point>,
    /// Each how many of them were taken: 1 is all.
    pub every: u64,
    /// Schedules that were run, each once, and whose faults were met.
    pub schedules: u64,
    /// Those of which a fault was not met, as its process never came to that operation. They are no schedules: nothing was tried.
    pub unmet: Vec<Schedule>,
    /// Whether some may be.
    pub(super) varies: bool,
    /// Of the schedules, those of a single fault, by mode.
    pub modes: BTreeMap<String, u64>,
    /// Of the schedules, the pairs.
    pub pairs: u64,
    /// Of the pairs, those in which both processes crash or stand still: [`Mode::CRASHES`].
    pub double_crashes: u64,
    /// Sums over those that went wrong.
    pub total: Verdict,
    /// Those that went wrong; in the place of a pair, the smallest one that does.
    pub wrong: Vec<Wrong>,
}

impl Outcome {
    /// Counts a schedule that was run, if its faults were met.
    pub(super) fn count(&mut self, schedule: Schedule, met: bool) {
        if !met {
            self.unmet.push(schedule);
            return;
        }
        self.schedules += 1;
        match schedule.second {
            None => *self.modes.entry(format!("{:?}", schedule.first.mode)).or_default() += 1,
            Some(second) => {
                let crashes = [schedule.first, second].iter().all(|plan| Mode::CRASHES.contains(&plan.mode));
                self.pairs += 1;
                self.double_crashes += u64::from(crashes);
            }
        }
    }

    /// Takes what came of a schedule, unless it was told of before.
    pub(super) fn tell(&mut self, schedule: Schedule, verdict: Verdict) {
        if verdict.is_right() || self.wrong.iter().any(|wrong| wrong.schedule == schedule) {
            return;
        }
        self.total = std::mem::take(&mut self.total).and(verdict.clone());
        let point = usize::try_from(schedule.first.at).ok().and_then(|at| self.trace.get(at));
        let operation = point.map(|p| format!("{} `{}`", p.operation, p.name)).unwrap_or_default();
        self.wrong.push(Wrong { schedule, operation, verdict });
    }

    /// Whether one of the faults of a pair that goes wrong is known to be enough.
    pub(super) fn is_told(&self, pair: Schedule) -> bool {
        let plans = [Some(pair.first), pair.second];
        self.wrong.iter().filter(|wrong| wrong.schedule.second.is_none()).any(|wrong| {
            let known = wrong.schedule.first;
            plans.into_iter().flatten().any(|plan| plan.mode == known.mode && known.at <= plan.at)
        })
    }

    /// The lines that a suite of `scripts/prove` prints: one for single faults, one for pairs.
    pub fn proof(&self, of: impl fmt::Display) -> String {
        let Self { points, every, pairs, double_crashes, .. } = self;
        let singles = self.schedules - pairs;
        let told = |pairs: bool| {
            let wrong = self.wrong.iter().filter(|wrong| wrong.schedule.second.is_some() == pairs);
            wrong.fold(Verdict::default(), |sum, wrong| sum.and(wrong.verdict.clone())).sums()
        };
        let modes: String = self.modes.iter().map(|(mode, schedules)| format!(" {mode}={schedules}")).collect();
        let unmet = |pairs: bool| self.unmet.iter().filter(|schedule| schedule.second.is_some() == pairs).count();
        let mut lines = Vec::new();
        if (singles, unmet(false)) != (0, 0) {
            let (unmet, sums) = (unmet(false), told(false));
            lines.push(format!(
                "proof suite=single of=\"{of}\" every={every} points={points} schedules={singles} unmet={unmet} {sums}{modes}"
            ));
        }
        if (*pairs, unmet(true)) != (0, 0) {
            let (unmet, sums) = (unmet(true), told(true));
            lines.push(format!(
                "proof suite=pairs of=\"{of}\" schedules={pairs} double_crashes={double_crashes} unmet={unmet} {sums}"
            ));
        }
        lines.join("\n")
    }

    /// # Panics
    /// If a schedule went wrong, with the first twenty of them and how to repeat the first; if none was run; if faults were
    /// [not met](Self::unmet), or, in a world that [varies](super::Schedules::varies), more than a tenth of them.
    pub fn assert_right(&self) {
        let Some(first) = self.wrong.first() else { return self.assert_met() };
        let told: Vec<_> = self.wrong.iter().take(TOLD).map(Wrong::to_string).collect();
        let (told, count, again) = (told.join("\n"), self.wrong.len(), first.schedule.as_code());
        panic!(
            "{self}\n{count} went wrong (fault, operation, what was found):\n{told}\nrepeat the first: .replay({again})"
        );
    }

    fn assert_met(&self) {
        assert!(
            self.schedules > 0 || !self.unmet.is_empty(),
            "{self}\nno schedule was run: take more modes, or more operations"
        );
        let (unmet, tried) = (self.unmet.len() as u64, self.schedules + self.unmet.len() as u64);
        let allowed = if self.varies { tried / UNMET } else { 0 };
        let Some(first) = self.unmet.first().filter(|_| unmet > allowed) else { return };
        let hint = match self.varies {
            true => "look whether its processes do the same work each time",
            false => "let one schedule be one history (`World`), or say `varies()` of a world over a server",
        };
        panic!(
            "{self}\nof {tried} schedules, {unmet} did not meet their faults, {allowed} may; the first: {first}\n{hint}"
        );
    }
}

/// Schedules that a failure shows.
const TOLD: usize = 20;

/// In a world that varies, one in so many may not meet its fault.
const UNMET: u64 = 10;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, schedules, modes, pairs, total, .. } = self;
        let (unmet, sums) = (self.unmet.len(), total.sums());
        write!(f, "points={points} schedules={schedules} unmet={unmet} {sums} {modes:?} pairs={pairs}")
    }
}
