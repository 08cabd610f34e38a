use super::Place;
use crate::connectors::http::rules::Predicate;
use crate::connectors::http::status::quoted;
use crate::connectors::http::tree;
use crate::error::{Error, Result};
use crate::json::{ValuePath, field, names_near};
use reqwest::header::HeaderMap;

/// What a page says about the listing.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Where the values are that the pagination has asked for.
    pub(crate) places: &'a [Place],
    /// The raw JSON text of each that is in the body, if it is there.
    pub(crate) values: &'a [Option<String>],
    /// The body; of one that came in parts, what is around its records.
    pub(crate) around: &'a [u8],
    /// The last record.
    pub(crate) last: Option<&'a [u8]>,
    pub(crate) headers: &'a HeaderMap,
    /// No earlier page led to this one.
    pub(crate) is_first: bool,
    /// Records in this page that have not come before.
    pub(crate) records: u64,
    /// Records at its start that the page before brought.
    pub(crate) again: u64,
    /// Records of the largest page before this one.
    pub(crate) largest: u64,
    /// Records of the listing up to and with this page, as it is now.
    pub(crate) so_far: u64,
}

/// A value as it stands in the response.
enum Raw<'a> {
    Json(&'a str),
    Text(&'a str),
}

impl Raw<'_> {
    /// What a string holds, or the text of another value.
    fn content(&self) -> &str {
        match self {
            Self::Json(text) => text.trim_matches('"'),
            Self::Text(text) => text,
        }
        .trim()
    }
}

impl Answer<'_> {
    /// Records in this page that have not come before.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records at its start that the page before brought, in a listing whose pages overlap.
    pub fn again(&self) -> u64 {
        self.again
    }

    /// Whether there are no records at all in the page.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.again == 0
    }

    /// Records of the listing up to and with this page, as it is now: where records were added or taken before this place,
    /// and that was noticed, it is not the number of those that came.
    pub fn so_far(&self) -> u64 {
        self.so_far
    }

    /// The first header of that name.
    ///
    /// # Errors
    /// `Data` if it is not text: that must not look like its absence.
    pub fn header(&self, name: &str) -> Result<Option<&str>> {
        Ok(self.headers(name)?.first().copied())
    }

    /// All headers of that name.
    ///
    /// # Errors
    /// `Data` if one is not text.
    pub fn headers(&self, name: &str) -> Result<Vec<&str>> {
        let values = self.headers.get_all(name).iter();
        let texts = values.map(|value| std::str::from_utf8(value.as_bytes()));
        texts
            .collect::<Result<_, _>>()
            .map_err(|e| Error::data("read page", "a header is not UTF-8").with("header", name).with_source(e))
    }

    /// Value `n` as a token or a link: a string's content or a number's own text. `None` for `null`, `false` and an empty
    /// string; and if it is not there, where that can mean the end: on a page that an earlier one led to, on one without
    /// records, or where it is declared `optional`.
    ///
    /// # Errors
    /// `Data` if it is of another type; or if it is not there on a first page with records, since then nothing shows that
    /// the path is right.
    pub fn token(&self, n: usize, optional: bool) -> Result<Option<String>> {
        match self.raw(n)? {
            None => self.absent(n, optional),
            Some(Raw::Text(text)) => Ok((!text.is_empty()).then(|| text.to_owned())),
            Some(Raw::Json(raw)) => match raw.as_bytes().first() {
                Some(b'"') => self.string(n, raw).map(|text| (!text.is_empty()).then_some(text)),
                Some(b'-' | b'0'..=b'9') => Ok(Some(raw.to_owned())),
                _ if matches!(raw, "null" | "false") => Ok(None),
                _ => Err(self.wrong(n, "the value that leads to the next page is not a string or a number")),
            },
        }
    }

    /// Value `n` as the JSON text of a token: of any type, for a body that takes it as it is. Else as [`token`](Self::token).
    ///
    /// # Errors
    /// `Data` if it is not there on a first page with records.
    pub fn token_as_json(&self, n: usize, optional: bool) -> Result<Option<String>> {
        match self.raw(n)? {
            None => self.absent(n, optional),
            Some(Raw::Text(text)) => Ok((!text.is_empty()).then(|| serde_json::Value::from(text).to_string())),
            Some(Raw::Json(raw)) => {
                let ends = matches!(raw, "null" | "false" | "\"\"" | "[]" | "{}");
                Ok((!ends).then(|| raw.to_owned()))
            }
        }
    }

    /// The JSON text of a field of the last record; `None` if the page has no records.
    ///
    /// # Errors
    /// `Data` if the record does not have the field, or it is `null`: then nothing leads on.
    pub fn last(&self, path: &ValuePath) -> Result<Option<&str>> {
        let Some(record) = self.last else { return Ok(None) };
        let raw = field(record, path)?.and_then(|raw| std::str::from_utf8(raw).ok()).filter(|raw| *raw != "null");
        raw.map(Some).ok_or_else(|| {
            Error::data("read page", "the last record does not have the field that leads to the next page")
                .with("field", path.as_str())
        })
    }

    /// Nothing where a token should be.
    fn absent<T>(&self, n: usize, optional: bool) -> Result<Option<T>> {
        if optional || !self.is_first || self.records == 0 {
            return Ok(None);
        }
        let what = "the page has nothing where the value is said to be that leads to the next page";
        Err(self
            .missing(n, what)
            .with_hint("if the API leaves it out of its only page, say so with .optional(); else it is somewhere else"))
    }

    /// Whether the condition holds of the body.
    ///
    /// # Errors
    /// `Data` if the body is not JSON, or has too many values for a tree.
    pub(super) fn fits(&self, condition: &Predicate) -> Result<bool> {
        let tree = tree::of(self.around)?
            .map_err(|e| Error::data("read page", "the body is not one JSON text").with_source(e))?;
        Ok(condition.holds(&serde_json::Value::Array(vec![tree])))
    }

    fn names_near(&self, path: &str) -> String {
        let path = ValuePath::parse(path).ok();
        path.map_or_else(String::new, |path| names_near(self.around, &path))
    }

    /// Value `n` as a count: a whole number, or a string of one.
    ///
    /// # Errors
    /// `Data` if it is not there, or not a count.
    pub fn count(&self, n: usize) -> Result<u64> {
        let raw = self.raw(n)?.ok_or_else(|| self.missing(n, "the page has no total where one was declared"))?;
        let text = raw.content();
        text.parse().map_err(|_| self.wrong(n, "the total is not a whole number").with("value", quoted(text)))
    }

    /// Value `n` as a flag: a boolean, or a string of one.
    ///
    /// # Errors
    /// `Data` if it is not there, or not a flag.
    pub fn flag(&self, n: usize) -> Result<bool> {
        let raw = self.raw(n)?.ok_or_else(|| self.missing(n, "the page has no flag where one was declared"))?;
        match raw.content().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            text => Err(self.wrong(n, "the flag is neither true nor false").with("value", quoted(text))),
        }
    }

    fn raw(&self, n: usize) -> Result<Option<Raw<'_>>> {
        match self.places.get(n) {
            Some(Place::Header(name)) => {
                let values = self.headers(name)?;
                if values.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
                    return Err(self.wrong(n, "the page has several headers of one name, which say different things"));
                }
                Ok(values.first().copied().map(Raw::Text))
            }
            _ => {
                // The values are those of the body only.
                let before = self.places.iter().take(n).filter(|place| matches!(place, Place::Body(_))).count();
                Ok(self.values.get(before).and_then(Option::as_deref).map(Raw::Json))
            }
        }
    }

    fn string(&self, n: usize, raw: &str) -> Result<String> {
        serde_json::from_str(raw).map_err(|e| self.wrong(n, "the string is not valid JSON").with_source(e))
    }

    /// Value `n` is not there: what is there instead.
    fn missing(&self, n: usize, what: &'static str) -> Error {
        let error = self.wrong(n, what);
        match self.places.get(n) {
            Some(Place::Body(path)) => error.with("names_there", self.names_near(path)),
            _ => error,
        }
    }

    fn wrong(&self, n: usize, what: &'static str) -> Error {
        let error = Error::data("read page", what);
        match self.places.get(n) {
            Some(Place::Header(name)) => error.with("header", name),
            place => error.with("path", place.map_or("", Place::name)),
        }
    }
}
