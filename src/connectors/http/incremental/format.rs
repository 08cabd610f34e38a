use crate::error::{Error, Result};
use crate::model::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::time::Duration;

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

impl Unit {
    pub(super) fn micros(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1,
        }
    }

    /// So many whole units, rounded down.
    pub(super) fn count(self, time: Timestamp) -> i64 {
        time.as_micros().div_euclid(self.micros())
    }
}

/// How a time is written where the API takes the bounds, if not as it writes its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CursorFormat {
    /// RFC 3339 in UTC: `2024-05-01T12:00:00Z`, with as many digits of a second as there are.
    Rfc3339,
    /// The date alone, `2024-05-01`: bounds are then whole days.
    Date,
    /// A number since 1970.
    Epoch(Unit),
    /// A pattern of `strftime`, such as `%Y/%m/%d %H:%M:%S`. Without seconds it needs a
    /// [`granularity`](super::Since::granularity).
    Pattern(String),
}

impl CursorFormat {
    /// The steps in which it can tell times apart, if that is known.
    pub(super) fn granularity(&self) -> Option<Duration> {
        match self {
            Self::Rfc3339 => None,
            Self::Date => Some(DAY),
            Self::Epoch(unit) => Some(Duration::from_micros(unit.micros().unsigned_abs())),
            Self::Pattern(pattern) if has_fraction(pattern) => None,
            Self::Pattern(pattern) => ["%S", "%T", "%s", "%c"].iter().any(|s| pattern.contains(s)).then_some(SECOND),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.write(Timestamp::from_micros(0), &TimeZone::UTC).map(drop)
    }

    /// `time` as the API takes it; dates and patterns by the clock of `zone`.
    pub(super) fn write(&self, time: Timestamp, zone: &TimeZone) -> Result<String> {
        let wrong = || Error::config("make request", "the cursor value is outside of the times that can be written");
        let instant = jiff::Timestamp::from_microsecond(time.as_micros()).map_err(|e| wrong().with_source(e))?;
        Ok(match self {
            Self::Rfc3339 => time.to_string(),
            Self::Date => instant.to_zoned(zone.clone()).date().to_string(),
            Self::Epoch(unit) => unit.count(time).to_string(),
            Self::Pattern(pattern) => {
                jiff::fmt::strtime::format(pattern, &instant.to_zoned(zone.clone())).map_err(|e| {
                    Error::config("make request", "the pattern of the cursor format cannot be followed")
                        .with("pattern", pattern)
                        .with_source(e)
                })?
            }
        })
    }
}

pub(super) fn has_fraction(pattern: &str) -> bool {
    ["%f", "%.f", "%N", "%.N"].iter().any(|fraction| pattern.contains(fraction))
        || (1..=9).any(|n| [format!("%{n}f"), format!("%.{n}f"), format!("%{n}N")].iter().any(|f| pattern.contains(f)))
}

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
