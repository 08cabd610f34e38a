//! Windows: a partition with bounds on both sides is read slice by slice, some of them at the same time.

mod interval;
mod ledger;
#[cfg(test)]
mod tests;

pub(super) use interval::{Bound, Interval};
pub(super) use ledger::Ledger;

use crate::error::{Error, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use serde::Serialize;
use std::time::Duration;

/// How a read is cut into windows, each a listing with bounds of its own.
///
/// What was read completely is kept window by window: a window that fails, or that a stop cuts short, is a gap, which the next
/// run fills, while the others count. Windows with nothing in them count too, so a source without news does not stand still.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Window {
    step: Step,
    zone: String,
    order: WindowOrder,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Time(Duration),
    Numbers(u64),
    Days,
    Weeks,
    Months,
}

/// Which windows are read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowOrder {
    /// From the oldest on.
    #[default]
    OldestFirst,
    /// From the newest on: what is new first, then backwards through the history, both in one run. The history gives way to
    /// what is new, here and in other sources with the same budget ([`Priority::Backfill`](crate::retry::Priority)).
    NewestFirst,
}

impl Window {
    /// Windows of this length in time.
    pub fn of(length: Duration) -> Self {
        Self::new(Step::Time(length))
    }

    /// Windows of so many numbers.
    pub fn numbers(n: u64) -> Self {
        Self::new(Step::Numbers(n))
    }

    /// Windows that end with the day.
    pub fn days() -> Self {
        Self::new(Step::Days)
    }

    /// Windows that end with the week; it begins on Monday (ISO 8601).
    pub fn weeks() -> Self {
        Self::new(Step::Weeks)
    }

    /// Windows that end with the month, however long it is.
    pub fn months() -> Self {
        Self::new(Step::Months)
    }

    /// The time zone of days, weeks and months, by its IANA name: `Europe/Berlin`. UTC unless set. Days at which the clock
    /// changes are shorter or longer there.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.zone = name.into();
        self
    }

    /// Which windows are read first; the oldest unless set.
    pub fn order(mut self, order: WindowOrder) -> Self {
        self.order = order;
        self
    }

    fn new(step: Step) -> Self {
        Self { step, zone: "UTC".to_owned(), order: WindowOrder::default() }
    }

    pub(super) fn check(&self) -> Result<Slicer> {
        if matches!(self.step, Step::Time(Duration::ZERO) | Step::Numbers(0)) {
            return Err(Error::config("build source", "windows of no length never reach an end"));
        }
        if matches!(self.step, Step::Time(length) if length.subsec_nanos() % 1_000 != 0) {
            return Err(Error::config("build source", "the length of windows is not in whole microseconds"));
        }
        let zone = TimeZone::get(&self.zone).map_err(|e| {
            Error::config("build source", "the time zone is not known").with("zone", &self.zone).with_source(e)
        })?;
        Ok(Slicer { step: self.step, zone, order: self.order })
    }

    /// The zone of days, weeks and months; checked before.
    pub(super) fn time_zone(&self) -> TimeZone {
        TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC)
    }

    pub(super) fn is_of_numbers(&self) -> bool {
        matches!(self.step, Step::Numbers(_))
    }
}

/// Cuts gaps into windows.
#[derive(Clone, Debug)]
pub(super) struct Slicer {
    step: Step,
    zone: TimeZone,
    order: WindowOrder,
}

impl Slicer {
    /// The window to read next, of the `gaps` without what is `taken` already.
    pub(super) fn next(&self, gaps: &[Interval], taken: &[Interval]) -> Option<Interval> {
        let free = taken.iter().fold(gaps.to_vec(), |free: Vec<Interval>, window| {
            free.iter().flat_map(|gap| gap.without(*window)).collect()
        });
        match self.order {
            WindowOrder::OldestFirst => {
                let gap = free.first()?;
                Some(Interval { from: gap.from, to: gap.to.min(self.after(gap.from)) })
            }
            WindowOrder::NewestFirst => {
                let gap = free.last()?;
                Some(Interval { from: gap.from.max(self.before(gap.to)), to: gap.to })
            }
        }
    }

    /// Whether `window` lies in the past of a read up to `end` whose news come first.
    pub(super) fn is_history(&self, window: Interval, end: Bound) -> bool {
        self.order == WindowOrder::NewestFirst && window.to < end
    }

    /// Whether all windows begin and end at whole steps of `granularity`, if one does.
    pub(super) fn is_in_steps_of(&self, granularity: Duration) -> bool {
        match self.step {
            Step::Time(length) => length.as_micros() % granularity.as_micros().max(1) == 0,
            Step::Numbers(_) => true,
            Step::Days | Step::Weeks | Step::Months => DAY.as_micros() % granularity.as_micros().max(1) == 0,
        }
    }

    /// Where a window ends that begins at `from`.
    fn after(&self, from: Bound) -> Bound {
        self.fixed().map_or_else(|| self.calendar(from, 1), |step| from.plus(step))
    }

    /// Where a window begins that ends at `to`.
    fn before(&self, to: Bound) -> Bound {
        // The unit that holds the last instant before `to`.
        self.fixed().map_or_else(|| self.calendar(to.plus(-1), 0), |step| to.plus(-step))
    }

    fn fixed(&self) -> Option<i64> {
        match self.step {
            Step::Time(length) => Some(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)),
            Step::Numbers(n) => Some(i64::try_from(n).unwrap_or(i64::MAX)),
            Step::Days | Step::Weeks | Step::Months => None,
        }
    }

    /// The beginning of the calendar's unit that holds `time`, or of the one `units` later.
    fn calendar(&self, time: Bound, units: i64) -> Bound {
        let begins = || {
            let date = jiff::Timestamp::from_microsecond(time.value()).ok()?.to_zoned(self.zone.clone()).date();
            let date = self.first_day(date)?;
            let date = match self.step {
                Step::Weeks => date.checked_add(units.weeks()),
                Step::Months => date.checked_add(units.months()),
                _ => date.checked_add(units.days()),
            };
            let begin: Zoned = date.ok()?.to_zoned(self.zone.clone()).ok()?;
            Some(begin.timestamp().as_microsecond())
        };
        // At the ends of time there are no more units.
        time.at(begins().unwrap_or(if units > 0 { i64::MAX } else { i64::MIN }))
    }

    fn first_day(&self, date: Date) -> Option<Date> {
        match self.step {
            Step::Weeks => date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok(),
            Step::Months => Some(date.first_of_month()),
            _ => Some(date),
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);
