use super::CursorValue;
use super::value::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{ValuePath, field};
use crate::model::Span;
use std::borrow::Cow;
use std::cmp::Ordering;

/// What a page tells about the cursor field.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Highest {
    /// The highest value so far, this page included.
    pub(in super::super) value: Option<CursorValue>,
    /// Records without a value that can be compared.
    pub(in super::super) without: u64,
    /// Whether a value was lower than one before it.
    pub(in super::super) descends: bool,
}

/// The highest value of the field at `path` in the records of `body`, and `before`.
///
/// # Errors
/// `Data` if there are values of different types.
pub(in super::super) fn highest(
    body: &[u8],
    spans: &[Span],
    path: &ValuePath,
    before: Option<&CursorValue>,
) -> Result<Highest> {
    let mut found = Highest::default();
    let mut best: Option<(Key<'_>, Cow<'_, str>)> = match before {
        Some(value) => Some((value.key().ok_or_else(|| damaged(value))?, Cow::Borrowed(value.text()))),
        None => None,
    };
    for span in spans {
        let record = span.of(body).unwrap_or_default();
        // A record that is broken inside is the decoder's to refuse.
        let value = field(record, path).ok().flatten().and_then(CursorValue::read);
        let Some((key, text)) = value else {
            found.without += 1;
            continue;
        };
        let order = match &best {
            None => Ordering::Greater,
            Some((high, high_text)) => key.compare(&text, high, high_text).ok_or_else(|| {
                Error::data("read page", "the cursor field holds values of different types")
                    .with("field", path.as_str())
                    .with("one", high.kind())
                    .with("another", key.kind())
            })?,
        };
        match order {
            Ordering::Greater => best = Some((key, text)),
            Ordering::Less => found.descends = true,
            Ordering::Equal => {}
        }
    }
    found.value = best.map(|(key, text)| CursorValue::new(&key, text.into_owned()));
    Ok(found)
}

fn damaged(value: &CursorValue) -> Error {
    Error::new(ErrorKind::Corrupt, "read page", "the kept cursor value is not of its type").with("type", value.kind())
}
