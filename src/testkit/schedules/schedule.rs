use crate::testkit::Plan;
use std::fmt;

/// Faults of one history: at an operation of the first process, and perhaps at one of the process that recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The fault of the first process.
    pub first: Plan,
    /// The fault of the second one.
    pub second: Option<Plan>,
}

impl Schedule {
    /// One fault.
    pub fn single(plan: Plan) -> Self {
        Self { first: plan, second: None }
    }

    /// A fault, and one within the recovery from it.
    pub fn pair(first: Plan, second: Plan) -> Self {
        Self { first, second: Some(second) }
    }

    /// As it is written in a test that [replays](super::Schedules::replay) it.
    pub(super) fn as_code(&self) -> String {
        let plan = |plan: Plan| format!("Plan {{ at: {}, mode: Mode::{:?} }}", plan.at, plan.mode);
        match self.second {
            None => format!("Schedule::single({})", plan(self.first)),
            Some(second) => format!("Schedule::pair({}, {})", plan(self.first), plan(second)),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.first.mode, self.first.at)?;
        match self.second {
            None => Ok(()),
            Some(second) => write!(f, ", then {:?} at {}", second.mode, second.at),
        }
    }
}
