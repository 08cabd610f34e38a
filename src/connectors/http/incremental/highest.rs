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
    /// Records below the lower bound, at or above the upper one, and between them.
    pub(in super::super) below: u64,
    pub(in super::super) beyond: u64,
    pub(in super::super) within: u64,
    /// The order of the records of this page.
    pub(in super::super) order: Order,
}

/// In which order values came, those later than the read left out.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Order {
    /// The highest and the lowest value.
    top: Option<CursorValue>,
    low: Option<CursorValue>,
    /// Whether a value was lower than one before it.
    pub(in super::super) descends: bool,
    /// Whether a value was higher than one before it.
    pub(in super::super) ascends: bool,
}

impl Order {
    /// The order of values when `later` ones came after these.
    pub(in super::super) fn followed_by(self, later: Self) -> Self {
        let is_after = |a: &Option<CursorValue>, b: &Option<CursorValue>| {
            a.as_ref().zip(b.as_ref()).and_then(|(a, b)| a.is_after(b)).unwrap_or(false)
        };
        Self {
            descends: self.descends || later.descends || is_after(&self.top, &later.low),
            ascends: self.ascends || later.ascends || is_after(&later.top, &self.low),
            top: if is_after(&self.top, &later.top) { self.top } else { later.top.or(self.top) },
            low: if is_after(&later.low, &self.low) { self.low } else { later.low.or(self.low) },
        }
    }
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
    let limits = known.limits();
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
            types[key.rank()].take(key, text, &limits);
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
        below: chosen.below,
        beyond: chosen.beyond,
        within: chosen.within,
        order: Order {
            top: chosen.top.map(|(key, text)| CursorValue::new(&key, text.into_owned())),
            low: chosen.low.map(|(key, text)| CursorValue::new(&key, text.into_owned())),
            descends: chosen.descends,
            ascends: chosen.ascends,
        },
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
    /// Where the read begins.
    pub(super) lower: Option<CursorValue>,
    /// Where it ends: a value there does not belong to it.
    pub(super) upper: Option<CursorValue>,
}

impl Known {
    fn limits(&self) -> Limits<'_> {
        let time = self.latest.and_then(|time| jiff::Timestamp::from_microsecond(time.as_micros()).ok());
        Limits {
            latest: [time.map(Key::Time), self.latest_number.as_deref().and_then(Decimal::parse).map(Key::Number)],
            lower: self.lower.as_ref().and_then(|v| Some((v.key()?, v.text()))),
            upper: self.upper.as_ref().and_then(|v| Some((v.key()?, v.text()))),
        }
    }
}

/// What the values of records are compared with.
struct Limits<'a> {
    latest: [Option<Key<'a>>; 2],
    lower: Option<(Key<'a>, &'a str)>,
    upper: Option<(Key<'a>, &'a str)>,
}

/// What the values of one type come to.
#[derive(Default)]
struct Type<'a> {
    records: u64,
    future: u64,
    below: u64,
    beyond: u64,
    within: u64,
    /// The highest value within the bounds.
    best: Option<(Key<'a>, Cow<'a, str>)>,
    top: Option<(Key<'a>, Cow<'a, str>)>,
    low: Option<(Key<'a>, Cow<'a, str>)>,
    descends: bool,
    ascends: bool,
}

impl<'a> Type<'a> {
    fn take(&mut self, key: Key<'a>, text: Cow<'a, str>, limits: &Limits<'_>) {
        self.records += 1;
        if limits.latest.iter().flatten().any(|latest| key.compare("", latest, "") == Some(Ordering::Greater)) {
            self.future += 1;
            return;
        }
        let to = |bound: &Option<(Key<'_>, &str)>| bound.as_ref().and_then(|(b, of)| key.compare(&text, b, of));
        let is_beyond = matches!(to(&limits.upper), Some(Ordering::Equal | Ordering::Greater));
        if is_beyond {
            self.beyond += 1;
        } else if to(&limits.lower) == Some(Ordering::Less) {
            self.below += 1;
        } else {
            self.within += 1;
        }
        let to = |value: &Option<(Key<'_>, Cow<'_, str>)>| value.as_ref().and_then(|(v, of)| key.compare(&text, v, of));
        match (to(&self.top), to(&self.low)) {
            (None, _) | (_, None) => {
                self.top = Some((key.clone(), text.clone()));
                self.low = Some((key.clone(), text.clone()));
            }
            (top, low) => {
                self.descends |= top == Some(Ordering::Less);
                self.ascends |= low == Some(Ordering::Greater);
                if top == Some(Ordering::Greater) {
                    self.top = Some((key.clone(), text.clone()));
                }
                if low == Some(Ordering::Less) {
                    self.low = Some((key.clone(), text.clone()));
                }
            }
        }
        if !is_beyond && matches!(to_best(&self.best, &key, &text), None | Some(Ordering::Greater)) {
            self.best = Some((key, text));
        }
    }
}

fn to_best(best: &Option<(Key<'_>, Cow<'_, str>)>, key: &Key<'_>, text: &str) -> Option<Ordering> {
    best.as_ref().and_then(|(best, of)| key.compare(text, best, of))
}

fn damaged(value: &CursorValue) -> Error {
    Error::new(ErrorKind::Corrupt, "read page", "the kept cursor value is not of its type").with("type", value.kind())
}
