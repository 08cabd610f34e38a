use super::CursorValue;
use super::decimal::Decimal;
use super::value::{Key, TEXT, TIME};
use crate::error::{Error, ErrorKind, Result};
use crate::json::{ValuePath, field};
use crate::model::{Span, Timestamp};
use std::borrow::Cow;
use std::cmp::Ordering;

/// What a page tells about the cursor field.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Highest {
    /// The highest value so far, this page included.
    pub(in super::super) value: Option<CursorValue>,
    /// Records without a value that can be compared with the others.
    pub(in super::super) without: u64,
    /// Records with a value of the type that counts.
    pub(in super::super) of_type: u64,
    /// Records with a value of another type.
    pub(in super::super) of_another: u64,
    /// Records with a value later than the read: they do not count for the highest.
    pub(in super::super) future: u64,
    /// Whether a value was lower than one before it.
    pub(in super::super) descends: bool,
}

/// The highest value of the field at `path` in the records of `body`, and `before`.
///
/// Values of different types cannot be compared. The type of `before` counts, else that of the bound, else that of most records
/// here; a record with another one counts as one without a value. So a bad record does not stop a read, and since it never moves the bound,
/// nothing is passed over. Nor does a value that is later than the read: as the bound, it would hide all that comes before it.
///
/// # Errors
/// `Corrupt` if `before` is not of its type.
pub(in super::super) fn highest(
    body: &[u8],
    spans: &[Span],
    path: &ValuePath,
    before: Option<&CursorValue>,
    known: &Known,
) -> Result<Highest> {
    let latest = known.latest();
    let mut types = [Type::default(), Type::default(), Type::default()];
    let kept = before.or(known.since.as_ref()).map(|value| value.key().ok_or_else(|| damaged(value))).transpose()?;
    let kept_type = kept.as_ref().map(Key::rank);
    if let (Some(value), Some(key)) = (before, kept) {
        let rank = key.rank();
        types[rank].best = Some((key, Cow::Borrowed(value.text())));
    }
    for span in spans {
        let record = span.of(body).unwrap_or_default();
        // A record that is broken inside is the decoder's to refuse.
        if let Some((key, text)) = field(record, path).ok().flatten().and_then(CursorValue::read) {
            types[key.rank()].take(key, text, &latest);
        }
    }
    let most = (0..types.len()).rev().max_by_key(|n| types[*n].records).unwrap_or_default();
    let counts = match kept_type {
        // Text that came before any time was no time: the bound was set by a bad record.
        Some(TEXT) if most == TIME && types[TIME].records > 0 => TIME,
        Some(kept) => kept,
        None => most,
    };
    let comparable: u64 = types.iter().map(|t| t.records).sum();
    let chosen = std::mem::take(&mut types[counts]);
    Ok(Highest {
        value: chosen.best.map(|(key, text)| CursorValue::new(&key, text.into_owned())),
        without: spans.len() as u64 - chosen.records,
        of_type: chosen.records,
        of_another: comparable - chosen.records,
        future: chosen.future,
        descends: chosen.descends,
    })
}

/// What is known of the cursor field when a read begins.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Known {
    /// The bound, whose type counts.
    pub(super) since: Option<CursorValue>,
    /// The latest time that is believed: what a record says of a later time than that of the read is a slip.
    pub(super) latest: Option<Timestamp>,
    /// The same as a number, if numbers count time.
    pub(super) latest_number: Option<String>,
}

impl Known {
    fn latest(&self) -> Keys<'_> {
        let time = self.latest.and_then(|time| jiff::Timestamp::from_microsecond(time.as_micros()).ok());
        [time.map(Key::Time), self.latest_number.as_deref().and_then(Decimal::parse).map(Key::Number)]
    }
}

type Keys<'a> = [Option<Key<'a>>; 2];

/// What the values of one type come to.
#[derive(Default)]
struct Type<'a> {
    records: u64,
    future: u64,
    best: Option<(Key<'a>, Cow<'a, str>)>,
    descends: bool,
}

impl<'a> Type<'a> {
    fn take(&mut self, key: Key<'a>, text: Cow<'a, str>, latest: &Keys<'_>) {
        self.records += 1;
        if latest.iter().flatten().any(|latest| key.compare("", latest, "") == Some(Ordering::Greater)) {
            self.future += 1;
            return;
        }
        let order = self.best.as_ref().and_then(|(high, high_text)| key.compare(&text, high, high_text));
        match order {
            None | Some(Ordering::Greater) => self.best = Some((key, text)),
            Some(Ordering::Less) => self.descends = true,
            Some(Ordering::Equal) => {}
        }
    }
}

fn damaged(value: &CursorValue) -> Error {
    Error::new(ErrorKind::Corrupt, "read page", "the kept cursor value is not of its type").with("type", value.kind())
}
