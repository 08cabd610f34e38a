use super::csv::Cells;
use super::xml;
use crate::json::push_string;

/// Makes objects of JSON of records that are written in something else, and whose values are all texts.
#[derive(Debug)]
pub(crate) struct TextRecords {
    format: TextFormat,
    write: WriteText,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each page")]
pub(super) enum TextFormat {
    Csv(Cells),
    Xml,
}

/// What the texts are.
#[cfg(feature = "arrow")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Cells of a row: each is a whole value.
    Cells,
    /// Elements and attributes: some may be repeated, or have attributes, where others are plain text.
    Elements,
}

/// How a text becomes a value of JSON.
pub(super) type WriteText = fn(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>;

impl TextRecords {
    pub(super) fn new(format: TextFormat) -> Self {
        Self { format, write: push_text }
    }

    /// Texts that are numbers become numbers of JSON.
    #[cfg(feature = "http")]
    pub(super) fn with_bare_numbers(mut self) -> Self {
        self.write = push_bare_number;
        self
    }

    #[cfg(feature = "arrow")]
    pub(crate) fn texts(&self) -> Texts {
        match self.format {
            TextFormat::Csv(_) => Texts::Cells,
            TextFormat::Xml => Texts::Elements,
        }
    }

    /// Appends the record `raw` to `out`. On failure `out` is left with a part of it.
    pub(crate) fn write_json(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match &mut self.format {
            TextFormat::Csv(cells) => cells.write_json(raw, self.write, out),
            TextFormat::Xml => xml::to_json(raw, self.write, out),
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

#[cfg(feature = "http")]
fn push_bare_number(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let is_number = text.first().is_some_and(|b| matches!(b, b'-' | b'0'..=b'9'))
        && serde_json::from_slice::<serde_json::Number>(text).is_ok();
    if !is_number {
        return push_text(text, out);
    }
    out.extend_from_slice(text);
    Ok(())
}
