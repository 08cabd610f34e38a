use super::csv::{Cells, Csv};
use super::text::{TextFormat, TextRecords};
use super::xml;
use crate::error::Result;
use crate::json::{self, ElementPath, Query, Scan, ValuePath};
use crate::model::{Part, Span};
use std::borrow::Cow;
use std::fmt;

/// In what a page is written, and where its records lie. Its text is landed with each page, so that the records are found
/// again in a replay.
///
/// | text | records |
/// |---|---|
/// | `$.data[*]`, any path of RFC 9535 | what it selects in a page of JSON, see [`Query`] |
/// | `ndjson` | one JSON text per line (NDJSON, JSON Lines) |
/// | `/feed/entry`, a path into XML | elements, see [`ElementPath`] |
/// | `csv`, or `csv{…}` with options in JSON | rows, see [`Csv`] |
#[derive(Clone, PartialEq)]
pub struct RecordsPath {
    text: String,
    pub(super) format: Format,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    Json(Query),
    Lines,
    Csv(Csv),
    Xml(ElementPath),
}

impl RecordsPath {
    /// Reads the text of a path.
    ///
    /// # Errors
    /// `Config` if it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let format = match text {
            "ndjson" => Format::Lines,
            path if path.starts_with('/') => Format::Xml(ElementPath::parse(path)?),
            path => match path.strip_prefix("csv") {
                Some(options) => return Csv::parse(options).map(Self::csv),
                None => Format::Json(Query::parse(path)?),
            },
        };
        Ok(Self { text: text.to_owned(), format })
    }

    fn csv(csv: Csv) -> Self {
        Self { text: csv.to_string(), format: Format::Csv(csv) }
    }

    /// Whether a page holds one JSON text per line.
    pub fn is_ndjson(&self) -> bool {
        self.format == Format::Lines
    }

    /// Whether `value` can be found in such a page beside the records.
    pub fn has_values_at(&self, value: &ValuePath) -> bool {
        match self.format {
            Format::Json(_) => value.element().is_none(),
            Format::Xml(_) => value.element().is_some(),
            Format::Lines | Format::Csv(_) => false,
        }
    }

    /// Whether two bodies, one after the other, are one: nothing in them is about the whole.
    pub fn may_follow_each_other(&self) -> bool {
        match &self.format {
            Format::Json(_) | Format::Xml(_) => false,
            Format::Lines => true,
            Format::Csv(csv) => !csv.has_header(),
        }
    }

    /// What a page is written in, for people.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            Format::Json(_) | Format::Lines => "JSON",
            Format::Csv(_) => "CSV",
            Format::Xml(_) => "XML",
        }
    }

    /// Whether nothing in a page shows that it is whole: then the transport must.
    pub fn needs_known_end(&self) -> bool {
        matches!(self.format, Format::Lines | Format::Csv(_))
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path that a page says: this one, with what only the beginning of its response tells, such as the names of columns.
    ///
    /// # Errors
    /// `Data` if it does not tell that.
    pub fn found_in(&self, beginning: &[u8]) -> Result<Cow<'_, Self>> {
        Ok(match &self.format {
            Format::Csv(csv) if csv.names().is_none() => Cow::Owned(Self::csv(csv.found_in(beginning)?)),
            _ => Cow::Borrowed(self),
        })
    }

    /// The names of the columns of CSV, if they are known.
    #[cfg(feature = "http")]
    pub(crate) fn columns(&self) -> Option<&[String]> {
        match &self.format {
            Format::Csv(csv) => csv.names(),
            _ => None,
        }
    }

    /// Finds the records of a whole response and the values at `extract` in one pass over `body`.
    ///
    /// # Errors
    /// `Data` if the body is not what it should be (transient if it ends too early), or if nothing that can hold records
    /// is in their place.
    pub fn scan(&self, body: &[u8], extract: &[ValuePath]) -> Result<Scan> {
        match &self.format {
            Format::Json(query) => json::scan(body, query, extract),
            Format::Lines => Ok(Scan { spans: json::lines(body), values: vec![None; extract.len()] }),
            Format::Csv(_) => Ok(Scan { spans: self.spans(body, None)?, values: vec![None; extract.len()] }),
            Format::Xml(path) => xml::scan(body, path, extract),
        }
    }

    /// Where the records lie in a response, or in a part of one.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn spans(&self, body: &[u8], part: Option<Part>) -> Result<Vec<Span>> {
        match (&self.format, part) {
            (Format::Json(query), Some(part)) => json::part(body, query, part),
            (Format::Csv(csv), part) => csv.records(body, part.is_none_or(|part| part.index == 0)),
            _ => Ok(self.scan(body, &[])?.spans),
        }
    }

    /// The records at `spans` of `body` as JSON, and where they lie then; none if they are JSON. Numbers and times stand in them as
    /// they do in JSON. One that cannot be read is an empty object: it is the decoder's to refuse.
    #[cfg(feature = "http")]
    pub(crate) fn as_json(&self, body: &[u8], spans: &[Span]) -> Option<(Vec<u8>, Vec<Span>)> {
        let mut records = self.text_records()?.with_bare_numbers();
        let mut json = Vec::with_capacity(body.len() * 2);
        let places = spans.iter().map(|span| {
            let start = json.len();
            if records.write_json(span.of(body).unwrap_or_default(), &mut json).is_err() {
                json.truncate(start);
                json.extend_from_slice(b"{}");
            }
            json::span(start, json.len() - start)
        });
        let places = places.collect();
        Some((json, places))
    }

    /// What makes JSON of the records, if they are something else.
    pub(crate) fn text_records(&self) -> Option<TextRecords> {
        match &self.format {
            Format::Json(_) | Format::Lines => None,
            Format::Csv(csv) => Some(TextRecords::new(TextFormat::Csv(Cells::new(csv)))),
            Format::Xml(_) => Some(TextRecords::new(TextFormat::Xml)),
        }
    }
}

impl fmt::Debug for RecordsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecordsPath").field(&self.text).finish()
    }
}
