use super::decimal::Decimal;
use crate::error::{Error, Result};
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
    /// An RFC 3339 time.
    Time(String),
    /// Any other string.
    Text(String),
}

/// A value in the form in which it is compared.
#[derive(Debug)]
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
                let key = text.parse().map_or(Key::Text, Key::Time);
                Some((key, text))
            }
            [b'-' | b'0'..=b'9', ..] => Some((Key::Number(Decimal::parse(raw)?), Cow::Borrowed(raw))),
            _ => None,
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
            Self::Time(text) => Key::Time(text.parse().ok()?),
            Self::Text(_) => Key::Text,
        })
    }

    /// The later of the two. Of text and another type the other counts: a bad record has set the text.
    ///
    /// # Errors
    /// `Config` if they are of other different types.
    pub(in super::super) fn later(self, other: Self) -> Result<Self> {
        let order = self.key().zip(other.key()).and_then(|(a, b)| a.compare(self.text(), &b, other.text()));
        match order {
            Some(Ordering::Less) => Ok(other),
            Some(_) => Ok(self),
            None if matches!(other, Self::Text(_)) => Ok(self),
            None if matches!(self, Self::Text(_)) => Ok(other),
            None => Err(self.changed_type().with("came", other.kind())),
        }
    }

    /// The bound is of a type that the cursor field does not have any more.
    pub(in super::super) fn changed_type(&self) -> Error {
        Error::config("read partition", "the cursor field changed its type since the last read")
            .with("kept", self.kind())
            .with_hint("start over under a new pipeline name with an empty destination")
    }

    /// A time, less `overlap`.
    pub(super) fn less_time(&self, overlap: Duration) -> Option<String> {
        let Self::Time(text) = self else { return None };
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(time.checked_sub(overlap).ok()?.to_string())
    }

    /// A number, less `n`.
    pub(super) fn less_number(&self, n: u128) -> Option<String> {
        match self {
            Self::Number(text) | Self::Text(text) => Decimal::parse(text)?.less(n),
            Self::Time(_) => None,
        }
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

/// [`Key::rank`] of times.
pub(super) const TIME: usize = 0;
/// [`Key::rank`] of other text.
pub(super) const TEXT: usize = 2;
