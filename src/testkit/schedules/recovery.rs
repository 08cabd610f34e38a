use super::history::{caught, until_paused};
use super::{Schedule, World};
use crate::testkit::{Faults, Mode, Plan, Point};

/// What is done within the recovery from a fault: at each of these operations a second one may stand.
pub(super) struct Recovery {
    first: Plan,
    /// All operations of the process itself, if it lives through its fault: those after it are of the recovery.
    own: Vec<Point>,
    /// Of the process that comes then, or overtakes who stands still. None if there was nothing to recover from.
    next: Vec<Point>,
}

impl Recovery {
    /// Runs what recovers from `first`.
    pub(super) async fn of(world: &impl World, first: Plan) -> Self {
        let (faults, recovery) = (Faults::of([first]), Faults::none());
        let mut process = world.process(&faults);
        let ended = caught(until_paused(&faults, &mut process)).await;
        let lives = !Mode::CRASHES.contains(&first.mode);
        let own = if lives { faults.trace() } else { Vec::new() };
        // Who has lived on and ended well has recovered, unless something of it is still on its way.
        if !lives || matches!(first.mode, Mode::Late(_)) || !matches!(ended, Ok(Some(Ok(())))) {
            drop(caught(world.process(&recovery)).await);
        }
        Self { first, own, next: recovery.trace() }
    }

    /// All pairs with a second fault of this mode.
    pub(super) fn pairs(&self, mode: Mode) -> impl Iterator<Item = Schedule> {
        let own = self.later().filter_map(move |at| self.both(at, mode));
        own.chain((0..self.next.len() as u64).filter_map(move |at| self.pair(at, mode)))
    }

    /// One of these pairs, as `draw` chooses numbers below another one: half of them are of one process, if both ways can be.
    pub(super) fn drawn(&self, mode: Mode, draw: impl Fn(u64) -> u64) -> Option<Schedule> {
        let (later, next) = (self.later(), self.next.len() as u64);
        let is_own = !later.is_empty() && (next == 0 || draw(2) == 0);
        if is_own { self.both(later.start + draw(later.end - later.start), mode) } else { self.pair(draw(next), mode) }
    }

    fn later(&self) -> std::ops::Range<u64> {
        self.first.at.saturating_add(1)..self.own.len() as u64
    }

    fn both(&self, at: u64, mode: Mode) -> Option<Schedule> {
        Some(Schedule::both(self.first, Plan { at, mode }.on(&self.own)?))
    }

    fn pair(&self, at: u64, mode: Mode) -> Option<Schedule> {
        Some(Schedule::pair(self.first, Plan { at, mode }.on(&self.next)?))
    }
}
