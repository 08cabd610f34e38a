use super::decimal::Decimal;
use super::highest::Known;
use super::since::{Edge, Overlap, Since};
use super::value::CursorValue;
use crate::connectors::http::windows::{Bound, Interval, Window};
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// What one listing is to bring.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Bounds {
    /// The highest value that was read completely, or up to where the listing came.
    pub(in super::super) since: Option<CursorValue>,
    /// The window, if the partition is read in windows.
    pub(in super::super) window: Option<Interval>,
    /// The upper bound that was set when the read began, if it is not read in windows.
    pub(in super::super) until: Option<Timestamp>,
}

/// Bounds as the API takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Sent {
    pub(in super::super) lower: Option<String>,
    pub(in super::super) upper: Option<String>,
}

impl Since {
    /// The upper bound of a read without windows that begins at `now`, if it has one.
    pub(in super::super) fn frozen(&self, now: Timestamp) -> Option<Timestamp> {
        self.sends_upper().then(|| self.behind(now))
    }

    /// What a read in windows that begins at `now` wants to be complete. `None` if there is nothing yet.
    pub(in super::super) fn span(&self, now: Timestamp) -> Result<Option<Interval>> {
        let Some(initial) = &self.initial else { return Ok(None) };
        let from = self.bound(initial)?;
        let until = self.until.as_ref().map(|until| self.bound(until)).transpose()?;
        let present = matches!(from, Bound::Time(_)).then(|| Bound::Time(self.floor(self.behind(now))));
        let to = until.into_iter().chain(present).min();
        Ok(to.and_then(|to| Interval::new(from, to)))
    }

    /// How much of the latest end a read in windows looks at again, in the unit of its bounds.
    pub(in super::super) fn window_overlap(&self) -> Result<i64> {
        let numbers = self.window.as_ref().is_some_and(Window::is_of_numbers) && self.unit.is_none();
        match self.overlap {
            None if numbers => Ok(0),
            Some(Overlap::Number(n)) if numbers => Ok(i64::try_from(n).unwrap_or(i64::MAX)),
            Some(Overlap::Time(overlap)) if !numbers => Ok(self.in_steps(overlap)),
            None => Ok(self.in_steps(OVERLAP)),
            Some(_) => Err(self.no_overlap("window")),
        }
    }

    /// The value of the cursor field at the bound of a window.
    pub(in super::super) fn value_at(&self, bound: Bound) -> CursorValue {
        match bound {
            Bound::Number(n) => CursorValue::Number(n.to_string()),
            Bound::Time(time) => self.valued(time),
        }
    }

    /// `time` as a bound that complete reads could have left.
    pub(in super::super) fn at(&self, time: Timestamp) -> CursorValue {
        self.valued(self.floor(time))
    }

    /// The bound of a window at a value of the cursor field; `None` if it is of another type.
    pub(in super::super) fn bound_at(&self, value: &CursorValue) -> Option<Bound> {
        match value {
            CursorValue::Number(n) if self.unit.is_none() => n.parse().ok().map(Bound::Number),
            value => self.instant(value).map(|time| Bound::Time(self.floor(time))),
        }
    }

    /// What a read knows that began then.
    pub(in super::super) fn known(&self, bounds: &Bounds, began: Option<Timestamp>) -> Result<Known> {
        let (lower, upper) = self.values(bounds)?;
        let latest_number = began.zip(self.unit).map(|(began, unit)| unit.count(began).to_string());
        Ok(Known { since: bounds.since.clone(), latest: began, latest_number, lower, upper })
    }

    /// The bounds as they are sent.
    ///
    /// # Errors
    /// `Config` if they cannot be written as declared.
    pub(in super::super) fn sent(&self, bounds: &Bounds) -> Result<Sent> {
        let (lower, upper) = self.values(bounds)?;
        let one_below = self.lower == Edge::Exclusive && !on(Defect::TiesAreCut);
        let lower = lower.map(|value| self.written(value, one_below, true)).transpose()?;
        let upper = upper.filter(|_| self.sends_upper());
        let upper = upper.map(|value| self.written(value, self.upper == Edge::Inclusive, false)).transpose()?;
        Ok(Sent { lower, upper })
    }

    /// Where a read begins that follows complete ones up to `since`.
    ///
    /// # Errors
    /// `Config` if the overlap is not for values of this type.
    pub(in super::super) fn begin_at(&self, since: &CursorValue) -> Result<CursorValue> {
        let counts_time = match since {
            CursorValue::Time(_) => true,
            CursorValue::Number(_) => self.unit.is_some(),
            // Some write the number as a string.
            CursorValue::Text(text) => self.unit.is_some() && Decimal::parse(text).is_some(),
        };
        let overlap = match self.overlap {
            _ if on(Defect::LateRowsAreMissed) => return Ok(self.floored(since.clone())),
            None if counts_time => Overlap::Time(OVERLAP),
            None | Some(Overlap::Time(Duration::ZERO) | Overlap::Number(0)) => return Ok(self.floored(since.clone())),
            Some(overlap) => overlap,
        };
        let less = match (overlap, self.unit) {
            (Overlap::Number(n), _) => since.less_number(u128::from(n)),
            (Overlap::Time(time), None) => since.less_time(time),
            (Overlap::Time(time), Some(_)) if matches!(since, CursorValue::Time(_)) => since.less_time(time),
            // Rounded up: rather too much than too little.
            (Overlap::Time(time), Some(unit)) => {
                since.less_number(time.as_micros().div_ceil(u128::from(unit.micros().unsigned_abs())))
            }
        };
        less.map(|less| self.floored(less)).ok_or_else(|| self.no_overlap(since.kind()))
    }

    /// A bound of windows as it is configured.
    pub(super) fn bound(&self, text: &str) -> Result<Bound> {
        let value = CursorValue::of(text);
        let number = self.window.as_ref().is_some_and(Window::is_of_numbers) && self.unit.is_none();
        self.bound_at(&value).filter(|bound| matches!(bound, Bound::Number(_)) == number).ok_or_else(|| {
            Error::config("build source", "a bound does not fit the windows")
                .with("bound", text)
                .with_hint("windows of time have times or, with a unit, numbers; windows of numbers have whole numbers")
        })
    }

    /// Whether a read from `initial` to `until` is over before it begins. Texts are in an order that only the API knows.
    pub(super) fn ends_before(&self, initial: &str, until: &str) -> bool {
        let (from, to) = (CursorValue::of(initial), CursorValue::of(until));
        match self.instant(&from).zip(self.instant(&to)) {
            Some((from, to)) => from > to,
            None if matches!(to, CursorValue::Text(_)) => false,
            None => from.is_after(&to) == Some(true),
        }
    }

    fn sends_upper(&self) -> bool {
        self.until_query.is_some() || self.until_place
    }

    fn behind(&self, now: Timestamp) -> Timestamp {
        now.saturating_sub(self.lag)
    }

    /// The bounds as values of the cursor field.
    fn values(&self, bounds: &Bounds) -> Result<(Option<CursorValue>, Option<CursorValue>)> {
        let lower = match (&bounds.since, bounds.window, &self.initial) {
            (Some(since), ..) => Some(self.begin_at(since)?),
            (None, Some(window), _) => Some(self.value_at(window.from)),
            (None, None, None) if on(Defect::NullsAreLeftOut) => Some(CursorValue::of("0")),
            (None, None, initial) => initial.as_deref().map(CursorValue::of),
        };
        let until = self.until.as_deref().map(CursorValue::of);
        let upper = match bounds.window {
            Some(window) => Some(self.value_at(window.to)),
            None => match (bounds.until.map(|until| self.valued(self.floor(until))), until) {
                (Some(frozen), Some(until)) => {
                    Some(if frozen.is_after(&until) != Some(false) { until } else { frozen })
                }
                (frozen, until) => frozen.or(until),
            },
        };
        Ok((lower, upper))
    }

    fn written(&self, value: CursorValue, one_below: bool, must: bool) -> Result<String> {
        let value = match one_below.then(|| self.one_below(&value)) {
            Some(None) if must => {
                return Err(Error::config("make request", "what lies just below the cursor value is not known")
                    .with("field", &self.field)
                    .with("type", value.kind())
                    .with_hint("an exclusive lower bound needs numbers, or times and a granularity"));
            }
            below => below.flatten().unwrap_or(value),
        };
        let Some(format) = &self.format else { return Ok(value.text().to_owned()) };
        let time = self.instant(&value).ok_or_else(|| {
            Error::config("make request", "the cursor value is no time, and cannot be written as one")
                .with("field", &self.field)
                .with("type", value.kind())
                .with_hint("leave out .format(…), or say with .unit(…) what the numbers count")
        })?;
        format.write(time, &self.zone())
    }

    /// The value one granule below.
    fn one_below(&self, value: &CursorValue) -> Option<CursorValue> {
        match value {
            CursorValue::Time(_) => value.less_time(self.granule()?),
            CursorValue::Number(_) => {
                let unit = self.unit.map_or(1, |unit| u128::from(unit.micros().unsigned_abs()));
                value.less_number(self.unit.and(self.granule()).map_or(1, |g| g.as_micros().div_ceil(unit)))
            }
            CursorValue::Text(_) => None,
        }
    }

    fn floored(&self, value: CursorValue) -> CursorValue {
        // A unit alone rounds nothing: its numbers are whole.
        if self.granularity.is_none() && self.format.is_none() {
            return value;
        }
        let Some(time) = self.instant(&value) else { return value };
        let floor = self.floor(time);
        match value {
            _ if floor == time => value,
            CursorValue::Time(text) => CursorValue::Time(super::value::rewritten(&text, floor)),
            _ => self.valued(floor),
        }
    }

    fn floor(&self, time: Timestamp) -> Timestamp {
        let Some(granularity) = self.granule() else { return time };
        if self.is_by_day() {
            let midnight = || {
                let date = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?.to_zoned(self.zone()).date();
                date.to_zoned(self.zone()).ok().map(|zoned| zoned.timestamp().as_microsecond())
            };
            return midnight().map_or(time, Timestamp::from_micros);
        }
        let step = i64::try_from(granularity.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(time.as_micros().div_euclid(step).saturating_mul(step))
    }

    /// The overlap in microseconds, rounded up to whole granules.
    fn in_steps(&self, overlap: Duration) -> i64 {
        let step = self.granule().map_or(1, |g| g.as_micros());
        i64::try_from(overlap.as_micros().div_ceil(step).saturating_mul(step)).unwrap_or(i64::MAX)
    }

    fn instant(&self, value: &CursorValue) -> Option<Timestamp> {
        match value {
            CursorValue::Time(text) => super::value::time(text),
            CursorValue::Number(text) => {
                let n: i64 = text.parse().ok()?;
                Some(Timestamp::from_micros(n.checked_mul(self.unit?.micros())?))
            }
            CursorValue::Text(_) => None,
        }
    }

    /// `time` as a value of the cursor field.
    fn valued(&self, time: Timestamp) -> CursorValue {
        match self.unit {
            None => CursorValue::Time(time.to_string()),
            Some(unit) => CursorValue::Number(unit.count(time).to_string()),
        }
    }

    fn zone(&self) -> TimeZone {
        self.window.as_ref().map_or(TimeZone::UTC, Window::time_zone)
    }

    fn no_overlap(&self, kind: &'static str) -> Error {
        Error::config("make request", "the overlap cannot be taken from the cursor value")
            .with("field", &self.field)
            .with("type", kind)
            .with_hint("overlap is for times, or with a unit for numbers; overlap_number is for numbers")
    }
}

/// The overlap of times, unless another one is set.
const OVERLAP: Duration = Duration::from_secs(300);
