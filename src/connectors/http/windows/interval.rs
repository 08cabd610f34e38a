use crate::model::{Timestamp, Window};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A bound of a window: a number, or a time in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum Bound {
    Number(i64),
    Time(Timestamp),
}

impl Bound {
    pub(in super::super) fn value(self) -> i64 {
        match self {
            Self::Number(n) => n,
            Self::Time(time) => time.as_micros(),
        }
    }

    /// The bound of the same kind at `value`.
    pub(in super::super) fn at(self, value: i64) -> Self {
        match self {
            Self::Number(_) => Self::Number(value),
            Self::Time(_) => Self::Time(Timestamp::from_micros(value)),
        }
    }

    /// This bound and so much more, or less.
    pub(in super::super) fn plus(self, n: i64) -> Self {
        self.at(self.value().saturating_add(n))
    }

    pub(in super::super) fn is_like(self, other: Self) -> bool {
        matches!((self, other), (Self::Number(_), Self::Number(_)) | (Self::Time(_), Self::Time(_)))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Time(time) => time.fmt(f),
        }
    }
}

/// What lies at or above `from` and below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Interval {
    pub(in super::super) from: Bound,
    pub(in super::super) to: Bound,
}

impl Interval {
    /// The window, for people.
    pub(in super::super) fn told(self) -> Window {
        Window::new(self.from.to_string(), self.to.to_string())
    }

    /// `None` if nothing lies in it.
    pub(in super::super) fn new(from: Bound, to: Bound) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// Whether all of it lies in `other`.
    pub(in super::super) fn is_within(self, other: Self) -> bool {
        other.from <= self.from && self.to <= other.to
    }

    /// What is left of it without `other`: up to two pieces.
    pub(in super::super) fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self::new(self.from, self.to.min(other.from));
        let after = Self::new(self.from.max(other.to), self.to);
        before.into_iter().chain(after)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}
