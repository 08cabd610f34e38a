use crate::testkit::{Mode, Plan};
use std::fmt;

/// Faults of one history: at an operation of the first process, and perhaps at another one within the recovery from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The fault of the first process.
    pub first: Plan,
    /// The fault within the recovery from it.
    pub second: Option<Plan>,
    /// Whether the second one is of the first process too, which lives on: else it is of the next process.
    pub same_process: bool,
}

impl Schedule {
    /// One fault.
    pub fn single(plan: Plan) -> Self {
        Self { first: plan, second: None, same_process: false }
    }

    /// A fault, and one of the process that recovers from it, or overtakes who stands still there.
    pub fn pair(first: Plan, second: Plan) -> Self {
        Self { second: Some(second), ..Self::single(first) }
    }

    /// A fault that a process lives through, and a later one of the same process: of what it does then to find its way.
    pub fn both(first: Plan, second: Plan) -> Self {
        Self { same_process: true, ..Self::pair(first, second) }
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = Plan> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// The faults of each process that has any.
    pub(super) fn processes(&self) -> Vec<Vec<Plan>> {
        match self.same_process {
            true => vec![self.plans().collect()],
            false => self.plans().map(|plan| vec![plan]).collect(),
        }
    }

    /// As it is written in a test that [replays](super::Schedules::replay) it.
    pub(super) fn as_code(&self) -> String {
        let plans: Vec<_> =
            self.plans().map(|plan| format!("Plan {{ at: {}, mode: {} }}", plan.at, mode(plan.mode))).collect();
        let made_by = match (self.second, self.same_process) {
            (None, _) => "single",
            (Some(_), false) => "pair",
            (Some(_), true) => "both",
        };
        format!("Schedule::{made_by}({})", plans.join(", "))
    }
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Refuse(kind) => format!("Mode::Refuse(ErrorKind::{kind:?})"),
        mode => format!("Mode::{mode:?}"),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.first.mode, self.first.at)?;
        let Some(second) = self.second else { return Ok(()) };
        let then = if self.same_process { "then in the same process" } else { "then" };
        write!(f, ", {then} {:?} at {}", second.mode, second.at)
    }
}
