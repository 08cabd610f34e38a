use super::Schedule;
use crate::testkit::Point;
use std::collections::BTreeMap;
use std::fmt;

/// How far a destination is from what was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were served and are not there.
    pub lost: u64,
    /// Records that are there more often than they were served.
    pub doubled: u64,
    /// Records that are there and were never served.
    pub invented: u64,
    /// What else is wrong, in words.
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

    /// This and another one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.invented += other.invented;
        self.wrong.extend(other.wrong);
        self
    }

    /// Whether everything is there once, and nothing else.
    pub fn is_right(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost={} doubled={} invented={}", self.lost, self.doubled, self.invented)?;
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
    /// Schedules that were run.
    pub schedules: u64,
    /// The same by mode; pairs are `double`.
    pub modes: BTreeMap<String, u64>,
    /// Sums over all schedules.
    pub total: Verdict,
    /// Those that went wrong.
    pub wrong: Vec<Wrong>,
}

impl Outcome {
    pub(super) fn add(&mut self, schedule: Schedule, verdict: Verdict) {
        let mode = match schedule.second {
            None => format!("{:?}", schedule.first.mode),
            Some(_) => "double".to_owned(),
        };
        *self.modes.entry(mode).or_default() += 1;
        self.schedules += 1;
        self.total = std::mem::take(&mut self.total).and(Verdict { wrong: Vec::new(), ..verdict.clone() });
        if !verdict.is_right() {
            let point = usize::try_from(schedule.first.at).ok().and_then(|at| self.trace.get(at));
            let operation = point.map(|p| format!("{} `{}`", p.operation, p.name)).unwrap_or_default();
            self.wrong.push(Wrong { schedule, operation, verdict });
        }
    }

    /// # Panics
    /// If a schedule went wrong, with the first twenty of them and how to repeat the first.
    pub fn assert_right(&self) {
        let Some(first) = self.wrong.first() else { return };
        let told: Vec<_> = self.wrong.iter().take(TOLD).map(Wrong::to_string).collect();
        let (told, count, again) = (told.join("\n"), self.wrong.len(), first.schedule.as_code());
        panic!(
            "{self}\n{count} went wrong (fault, operation, what was found):\n{told}\nrepeat the first: .replay({again})"
        );
    }
}

/// Schedules that a failure shows.
const TOLD: usize = 20;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, schedules, modes, total, .. } = self;
        write!(f, "points={points} schedules={schedules} {total} {modes:?}")
    }
}
