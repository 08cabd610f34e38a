//! Reading only what is new: a field of the records whose value grows, sent back as the lower bound of the next read.

mod decimal;
mod highest;
mod value;

pub(super) use highest::{Highest, Known, highest};
pub(super) use value::CursorValue;

use super::request::Request;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::model::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// Reads only records whose cursor field is at or above the highest value that the last complete read has seen.
///
/// The API should take the bound as inclusive (`>=`): records at the boundary come again, and a dedup stage removes them. If
/// it does not, or if records become visible late, an [`overlap`](Self::overlap) helps; for times there is one by default.
///
/// Values are compared by their type: numbers without loss of digits, RFC 3339 times as times, other strings as text. Without
/// an overlap the bound is sent as the API wrote it. A time, or a number with a [`unit`](Self::unit), that is later than the
/// start of the read does not move the bound: a single record dated 2999 would else end all reading.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Since {
    field: String,
    query: Option<String>,
    until: Option<String>,
    initial: Option<String>,
    overlap: Option<Overlap>,
    lag: Duration,
    unit: Option<Unit>,
    without: Without,
    ordered: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum Overlap {
    Time(Duration),
    Number(u64),
}

/// What a number of the cursor field counts, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// What to do with records without a value to compare in the cursor field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Without {
    /// Take them, and count them; they do not move the bound.
    #[default]
    Include,
    /// End the read with an error.
    Fail,
}

impl Since {
    /// The cursor field: the name of a top-level field, or a path such as `$.meta.updated`.
    pub fn field(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            query: None,
            until: None,
            initial: None,
            overlap: None,
            lag: Duration::ZERO,
            unit: None,
            without: Without::default(),
            ordered: false,
        }
    }

    /// Sends the lower bound in the parameter `name` of the query.
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.query = Some(name.into());
        self
    }

    /// Sends an upper bound in the parameter `name` of the query: the time at which the read began, less the
    /// [`lag`](Self::lag). It stays the same for all pages of the read.
    pub fn until_query(mut self, name: impl Into<String>) -> Self {
        self.until = Some(name.into());
        self
    }

    /// How far behind the present the upper bound stays.
    pub fn lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// The lower bound of the first read; without it the first read has none.
    pub fn initial(mut self, value: impl Into<String>) -> Self {
        self.initial = Some(value.into());
        self
    }

    /// Begins each read this much before the bound, for records that become visible late. For times, and for numbers with a
    /// [`unit`](Self::unit); there it is 5 minutes unless set, and zero turns it off.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = Some(Overlap::Time(overlap));
        self
    }

    /// Begins each read this much before the bound. For numbers.
    pub fn overlap_number(mut self, overlap: u64) -> Self {
        self.overlap = Some(Overlap::Number(overlap));
        self
    }

    /// The cursor field holds numbers that count time.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    /// What to do with records without a value to compare.
    pub fn without(mut self, without: Without) -> Self {
        self.without = without;
        self
    }

    /// The API gives the records in ascending order of the cursor field: a read that cannot go on at its page then begins
    /// again at the highest value so far, not at the bound. Records out of order are an error.
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.query.is_none() {
            return Err(Error::config("build source", "the cursor field is sent nowhere")
                .with("field", &self.field)
                .with_hint("add .query(\"name\"), the parameter in which the API takes the lower bound"));
        }
        if self.until.is_none() && !self.lag.is_zero() {
            return Err(Error::config("build source", "a lag without an upper bound has no effect")
                .with_hint("add .until_query(\"name\")"));
        }
        self.path().map(|_| ())
    }

    pub(super) fn path(&self) -> Result<ValuePath> {
        ValuePath::field(&self.field)
    }

    pub(super) fn name(&self) -> &str {
        &self.field
    }

    pub(super) fn fails_without(&self) -> bool {
        self.without == Without::Fail
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.ordered
    }

    pub(super) fn parameters(&self) -> Vec<String> {
        self.query.iter().chain(&self.until).cloned().collect()
    }

    /// The upper bound of a read that begins at `now`.
    pub(super) fn upper(&self, now: Timestamp) -> Option<Timestamp> {
        let lag = i64::try_from(self.lag.as_micros()).unwrap_or(i64::MAX);
        self.until.as_ref().map(|_| Timestamp::from_micros(now.as_micros().saturating_sub(lag)))
    }

    /// What a read knows that began then, with the bound `since`.
    pub(super) fn known(&self, since: Option<&CursorValue>, began: Option<Timestamp>) -> Known {
        let latest_number = began.filter(|_| self.unit.is_some()).map(|began| self.written(began));
        Known { since: since.cloned(), latest: began, latest_number }
    }

    /// Puts the bounds on a request.
    pub(super) fn request(
        &self,
        since: Option<&CursorValue>,
        until: Option<Timestamp>,
        request: &mut Request,
    ) -> Result<()> {
        let lower = match (since, &self.initial) {
            (Some(since), _) => Some(self.lower(since)?),
            (None, initial) => initial.clone(),
        };
        if let (Some(name), Some(lower)) = (&self.query, lower) {
            request.set_query(name, &lower);
        }
        if let (Some(name), Some(until)) = (&self.until, until) {
            request.set_query(name, &self.written(until));
        }
        Ok(())
    }

    fn written(&self, time: Timestamp) -> String {
        match self.unit {
            None => time.to_string(),
            Some(Unit::Seconds) => time.as_micros().div_euclid(1_000_000).to_string(),
            Some(Unit::Milliseconds) => time.as_micros().div_euclid(1_000).to_string(),
            Some(Unit::Microseconds) => time.as_micros().to_string(),
        }
    }

    /// The lower bound that a read with the bound `since` sends.
    ///
    /// # Errors
    /// `Config` if the overlap is not for values of this type.
    pub(super) fn lower(&self, since: &CursorValue) -> Result<String> {
        let counts_time = match since {
            CursorValue::Time(_) => true,
            CursorValue::Number(_) => self.unit.is_some(),
            CursorValue::Text(_) => false,
        };
        let overlap = match self.overlap {
            None if counts_time => Overlap::Time(OVERLAP),
            None | Some(Overlap::Time(Duration::ZERO) | Overlap::Number(0)) => return Ok(since.text().to_owned()),
            Some(overlap) => overlap,
        };
        let less = match (overlap, self.unit) {
            (Overlap::Number(n), _) => since.less_number(u128::from(n)),
            (Overlap::Time(time), None) => since.less_time(time),
            (Overlap::Time(time), Some(_)) if matches!(since, CursorValue::Time(_)) => since.less_time(time),
            (Overlap::Time(time), Some(unit)) => since.less_number(match unit {
                // Rounded up: rather too much than too little.
                Unit::Seconds => time.as_nanos().div_ceil(1_000_000_000),
                Unit::Milliseconds => time.as_nanos().div_ceil(1_000_000),
                Unit::Microseconds => time.as_nanos().div_ceil(1_000),
            }),
        };
        less.ok_or_else(|| {
            Error::config("make request", "the overlap cannot be taken from the cursor value")
                .with("field", &self.field)
                .with("type", since.kind())
                .with_hint("overlap is for RFC 3339 times, or with a unit for numbers; overlap_number is for numbers")
        })
    }
}

/// The overlap of times, unless another one is set.
const OVERLAP: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
