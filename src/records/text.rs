use super::csv::Cells;
use crate::json::push_string;

/// Makes objects of JSON of records that are written in something else, and whose values are all texts.
#[derive(Debug)]
pub(crate) enum TextRecords {
    Csv(Cells),
}

/// What the texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Cells of a row: each is a whole value.
    Cells,
}

impl TextRecords {
    pub(crate) fn texts(&self) -> Texts {
        match self {
            Self::Csv(_) => Texts::Cells,
        }
    }

    /// Appends the record `raw` to `out`. On failure `out` is left with a part of it.
    pub(crate) fn to_json(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match self {
            Self::Csv(cells) => cells.to_json(raw, out),
        }
    }
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// A short word for the kind of reason.
    pub(crate) code: &'static str,
    /// A sentence without content of the record.
    pub(crate) reason: String,
}

impl Unreadable {
    #[cold]
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// Appends `text` as a string of JSON.
pub(super) fn push_text(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable::new("utf8", "not UTF-8"))?;
    push_string(text, out);
    Ok(())
}
