use super::decimal::Decimal;
use crate::error::{Error, Result};
use crate::model::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

/// A value of the cursor field, as the API wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum CursorValue {
    /// The text of a JSON number.
    Number(String),
    /// A time: of RFC 3339, a date, or a time without an offset.
    Time(String),
    /// Any other string.
    Text(String),
}

/// A value in the form in which it is compared.
#[derive(Clone, Debug)]
pub(super) enum Key<'a> {
    Number(Decimal<'a>),
    Time(jiff::Timestamp),
    Text,
}

impl CursorValue {
    /// The value that `raw`, a JSON value, is. `None` if it cannot be compared: `null`, for example.
    pub(super) fn read(raw: &[u8]) -> Option<(Key<'_>, Cow<'_, str>)> {
        let raw = std::str::from_utf8(raw).ok()?;
        match raw.as_bytes() {
            [b'"', ..] => {
                let inner = raw.get(1..raw.len().checked_sub(1)?)?;
                let text = if inner.contains('\\') { serde_json::from_str(raw).ok()? } else { Cow::Borrowed(inner) };
                if text.is_empty() {
                    return None;
                }
                let key = Style::read(&text).map_or(Key::Text, |(time, _)| Key::Time(time));
                Some((key, text))
            }
            [b'-' | b'0'..=b'9', ..] => Some((Key::Number(Decimal::parse(raw)?), Cow::Borrowed(raw))),
            _ => None,
        }
    }

    /// The value that a configured text is.
    pub(super) fn of(text: &str) -> Self {
        if Style::read(text).is_some() {
            Self::Time(text.to_owned())
        } else if Decimal::parse(text).is_some() {
            Self::Number(text.to_owned())
        } else {
            Self::Text(text.to_owned())
        }
    }

    pub(super) fn new(key: &Key<'_>, text: String) -> Self {
        match key {
            Key::Number(_) => Self::Number(text),
            Key::Time(_) => Self::Time(text),
            Key::Text => Self::Text(text),
        }
    }

    /// The value as the API wrote it.
    pub(in super::super) fn text(&self) -> &str {
        match self {
            Self::Number(text) | Self::Time(text) | Self::Text(text) => text,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Time(_) => "time",
            Self::Text(_) => "text",
        }
    }

    pub(super) fn key(&self) -> Option<Key<'_>> {
        Some(match self {
            Self::Number(text) => Key::Number(Decimal::parse(text)?),
            Self::Time(text) => Key::Time(Style::read(text)?.0),
            Self::Text(_) => Key::Text,
        })
    }

    /// The later of the two. Of text and another type the other counts: a bad record has set the text.
    ///
    /// # Errors
    /// `Config` if they are of other different types.
    pub(in super::super) fn later(self, other: Self) -> Result<Self> {
        match self.order(&other) {
            Some(Ordering::Less) => Ok(other),
            Some(_) => Ok(self),
            None if matches!(other, Self::Text(_)) => Ok(self),
            None if matches!(self, Self::Text(_)) => Ok(other),
            None => Err(self.changed_type().with("came", other.kind())),
        }
    }

    /// Whether this value is later than the other. `None` if they do not compare.
    pub(in super::super) fn is_after(&self, other: &Self) -> Option<bool> {
        self.order(other).map(Ordering::is_gt)
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        let (key, other_key) = (self.key()?, other.key()?);
        key.compare(self.text(), &other_key, other.text())
    }

    /// The bound is of a type that the cursor field does not have any more.
    pub(in super::super) fn changed_type(&self) -> Error {
        Error::config("read partition", "the cursor field changed its type since the last read")
            .with("kept", self.kind())
            .with_hint("start over under a new pipeline name with an empty destination")
    }

    /// A time, less `overlap`, in the form in which it is written.
    pub(super) fn less_time(&self, overlap: Duration) -> Option<Self> {
        let Self::Time(text) = self else { return None };
        let (time, style) = Style::read(text)?;
        Some(Self::Time(style.write(time.checked_sub(overlap).ok()?)))
    }

    /// A number, less `n`.
    pub(super) fn less_number(&self, n: u128) -> Option<Self> {
        match self {
            Self::Number(text) => Some(Self::Number(Decimal::parse(text)?.less(n)?)),
            Self::Text(text) => Some(Self::Text(Decimal::parse(text)?.less(n)?)),
            Self::Time(_) => None,
        }
    }
}

/// How a text writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// With an offset: RFC 3339.
    Instant,
    /// A date and a time with this between them, taken for UTC.
    Civil(char),
    /// A date alone: its first instant in UTC.
    Date,
}

impl Style {
    fn read(text: &str) -> Option<(jiff::Timestamp, Self)> {
        // Years of more or fewer digits, and dates without dashes, are rather numbers.
        if text.as_bytes().get(4) != Some(&b'-') {
            return text.parse().ok().map(|time| (time, Self::Instant));
        }
        if let Ok(time) = text.parse() {
            return Some((time, Self::Instant));
        }
        let (civil, style): (DateTime, Self) = match text.as_bytes().get(10) {
            None => (text.parse::<Date>().ok()?.into(), Self::Date),
            Some(b'T') => (text.parse().ok()?, Self::Civil('T')),
            Some(b' ') => (text.parse().ok()?, Self::Civil(' ')),
            Some(_) => return None,
        };
        Some((civil.to_zoned(TimeZone::UTC).ok()?.timestamp(), style))
    }

    /// `time` in this style; a date holds no more than its day.
    fn write(self, time: jiff::Timestamp) -> String {
        let civil = time.to_zoned(TimeZone::UTC).datetime();
        match self {
            Self::Instant => time.to_string(),
            Self::Civil('T') => civil.to_string(),
            Self::Civil(_) => civil.to_string().replace('T', " "),
            Self::Date => civil.date().to_string(),
        }
    }
}

/// The time that a text of a [`CursorValue::Time`] names, in whole microseconds, rounded down.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let nanos = Style::read(text)?.0.as_nanosecond().div_euclid(1_000);
    i64::try_from(nanos).ok().map(Timestamp::from_micros)
}

/// `time` as `text` writes its own.
pub(super) fn rewritten(text: &str, time: Timestamp) -> String {
    match (Style::read(text), jiff::Timestamp::from_microsecond(time.as_micros())) {
        (Some((_, style)), Ok(time)) => style.write(time),
        _ => time.to_string(),
    }
}

impl Key<'_> {
    /// How the value with this key and `text` stands to another. `None` if they are of different types.
    pub(super) fn compare(&self, text: &str, other: &Self, other_text: &str) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Text, Self::Text) => Some(text.cmp(other_text)),
            _ => None,
        }
    }

    /// The number of its type, from 0; of types that as many records have, the lower one is preferred.
    pub(super) fn rank(&self) -> usize {
        match self {
            Self::Time(_) => TIME,
            Self::Number(_) => 1,
            Self::Text => TEXT,
        }
    }
}

/// A value of a record is no later than itself, and later than less of it.
#[cfg(any(test, feature = "testkit"))]
pub(in super::super) fn fuzzed(bytes: &[u8]) -> Result<()> {
    let (key, text) = CursorValue::read(bytes)
        .ok_or_else(|| Error::data("read cursor field", "the value cannot be compared with others"))?;
    let value = CursorValue::new(&key, text.into_owned());
    assert_eq!(value.is_after(&value), Some(false), "{value:?}");
    let less = [value.less_time(Duration::from_secs(1)), value.less_number(1)];
    // Text of digits has another order.
    for less in less.into_iter().flatten().filter(|less| !matches!(less, CursorValue::Text(_))) {
        assert_ne!(less.is_after(&value), Some(true), "{less:?} {value:?}");
    }
    Ok(())
}

/// [`Key::rank`] of times.
pub(super) const TIME: usize = 0;
/// [`Key::rank`] of other text.
pub(super) const TEXT: usize = 2;
