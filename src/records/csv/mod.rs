//! CSV as it is met (RFC 4180 and its relatives): the dialect, where the rows lie, and rows as JSON.

mod rows;
mod splitter;
#[cfg(test)]
mod tests;

pub(super) use rows::Cells;
pub(super) use splitter::CsvSplitter;

use crate::error::{Error, Result};
use crate::model::Span;
use csv_core::{Reader, ReaderBuilder};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How CSV is written, and what its columns are. Unless something else is said: cells between commas, quoted by `"`, and a
/// first line that names the columns.
///
/// A row becomes a record whose fields are the cells, as text: declared columns read numbers, booleans and times from it. A
/// row with more or fewer cells than columns is refused by itself (`columns`); nothing is shifted. Lines without anything are
/// no rows.
///
/// ```
/// use landfall::records::{Csv, RecordsPath};
///
/// let path = RecordsPath::parse(&Csv::new().delimiter(b';').to_string())?;
/// assert_eq!(path.as_str(), r#"csv{"delimiter":";"}"#);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Csv {
    #[serde(skip_serializing_if = "is_comma")]
    delimiter: char,
    #[serde(skip_serializing_if = "is_double")]
    quote: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    /// Whether the first line is no row. Unless said, it is none where no columns are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<bool>,
    #[serde(skip_serializing_if = "is_empty_text")]
    nulls: Vec<String>,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: ',', quote: Some('"'), columns: None, header: None, nulls: vec![String::new()] }
    }
}

impl Csv {
    /// Cells between commas, quoted by `"`, under a line of names; empty cells are null.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands between cells, such as `b';'` or `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter.into();
        self
    }

    /// What a cell is quoted by; inside of it, it is written twice.
    #[must_use]
    pub fn quote(mut self, quote: u8) -> Self {
        self.quote = Some(quote.into());
        self
    }

    /// No cells are quoted.
    #[must_use]
    pub fn without_quotes(mut self) -> Self {
        self.quote = None;
        self
    }

    /// The names of the columns. The first line is a row then, unless [`with_header`](Self::with_header) says that it is not.
    #[must_use]
    pub fn columns(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The first line is no row though the columns are given: their names are used instead of its own.
    #[must_use]
    pub fn with_header(mut self) -> Self {
        self.header = Some(true);
        self
    }

    /// Cells with one of these texts are null; unless set, empty ones. Quotes make no difference.
    #[must_use]
    pub fn nulls(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.nulls = texts.into_iter().map(Into::into).collect();
        self
    }

    /// Reads what follows `csv` in the text of a path: nothing, or options in JSON.
    pub(super) fn parse(options: &str) -> Result<Self> {
        let csv: Self = match options {
            "" => Self::default(),
            options => serde_json::from_str(options).map_err(|e| {
                Error::config("read path", "the options of CSV cannot be read")
                    .with("path", format!("csv{options}"))
                    .with_hint(r#"they look like csv{"delimiter":";","columns":["a","b"]}"#)
                    .with_source(e)
            })?,
        };
        csv.check().map_err(|what| Error::config("read path", what).with("path", format!("csv{options}")))?;
        Ok(csv)
    }

    fn check(&self) -> Result<(), &'static str> {
        let marks = |mark: char| mark.is_ascii() && !matches!(mark, '\n' | '\r' | '\0');
        if !marks(self.delimiter) || !self.quote.is_none_or(marks) || self.quote == Some(self.delimiter) {
            return Err("delimiter and quote must be two ASCII characters, and no line ends");
        }
        if self.columns.is_none() && self.header == Some(false) {
            return Err("without a line of names the columns must be given");
        }
        self.columns.as_deref().map_or(Ok(()), check_names)
    }

    /// Whether the first line of a response is no row.
    pub(super) fn has_header(&self) -> bool {
        self.header.unwrap_or(self.columns.is_none())
    }

    /// The same, with the names that stand in the first line of `body`.
    pub(super) fn found_in(&self, body: &[u8]) -> Result<Self> {
        let first = rows::rows(self, body, true)?.into_iter().next().and_then(|row| row.of(body));
        let line = first.ok_or_else(|| Error::data("scan page", NO_HEADER))?;
        let mut cells = Cells::new(self);
        let names = cells.texts(line)?;
        check_names(&names).map_err(|what| {
            Error::data("scan page", what).with_hint("name the columns with .columns([…]).with_header()")
        })?;
        Ok(Self { columns: Some(names), header: Some(true), ..self.clone() })
    }

    /// Where the rows of `body` lie; of a first part without the line of names.
    pub(super) fn records(&self, body: &[u8], is_first: bool) -> Result<Vec<Span>> {
        let mut spans = rows::rows(self, body, is_first)?;
        if is_first && self.has_header() {
            if spans.is_empty() {
                return Err(Error::data("scan page", NO_HEADER));
            }
            spans.remove(0);
        }
        Ok(spans)
    }

    /// The names of the columns, if they are known.
    pub(super) fn names(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn is_null(&self, cell: &[u8]) -> bool {
        self.nulls.iter().any(|null| null.as_bytes() == cell)
    }

    fn reader(&self) -> Reader {
        let byte = |mark: char| u8::try_from(mark).unwrap_or_default();
        let mut builder = ReaderBuilder::new();
        builder.delimiter(byte(self.delimiter));
        match self.quote {
            Some(quote) => builder.quote(byte(quote)),
            None => builder.quoting(false),
        };
        let mut reader = builder.build();
        // It goes over a mark at the very beginning by itself, which belongs to the first cell anywhere else.
        reader.read_record(b"\n", &mut [], &mut []);
        reader
    }
}

const NO_HEADER: &str = "there is no line of names in the CSV";

fn check_names(names: &[String]) -> Result<(), &'static str> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if names.is_empty() {
        return Err("there are no columns");
    }
    if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err("two columns have the same name");
    }
    Ok(())
}

/// The text of the path.
impl fmt::Display for Csv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("csv");
        }
        let options = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "csv{options}")
    }
}

impl From<Csv> for String {
    fn from(csv: Csv) -> Self {
        csv.to_string()
    }
}

fn is_comma(delimiter: &char) -> bool {
    *delimiter == ','
}

fn is_double(quote: &Option<char>) -> bool {
    *quote == Some('"')
}

fn is_empty_text(nulls: &[String]) -> bool {
    matches!(nulls, [only] if only.is_empty())
}
