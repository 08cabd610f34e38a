use crate::error::{Error, Result};
use crate::json::{ValuePath, names_near};
use reqwest::header::HeaderMap;

/// What a page says about the listing.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub(crate) paths: &'a [ValuePath],
    /// The raw JSON text of each value, if it is there.
    pub(crate) values: &'a [Option<String>],
    pub(crate) body: &'a [u8],
    pub(crate) headers: &'a HeaderMap,
    /// No earlier page led to this one.
    pub(crate) is_first: bool,
    /// Records in this page.
    pub(crate) records: u64,
    /// Records of the listing up to and with this page.
    pub(crate) so_far: u64,
}

impl Answer<'_> {
    /// Records in this page.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records of the listing up to and with this page.
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
        let Some(raw) = self.raw(n) else {
            let absent = || self.wrong(n, ABSENT).with("names_there", self.names_near(n));
            return self.absent(optional, absent);
        };
        match raw.as_bytes().first() {
            Some(b'"') => self.string(n, raw).map(|text| (!text.is_empty()).then_some(text)),
            Some(b'-' | b'0'..=b'9') => Ok(Some(raw.to_owned())),
            _ if matches!(raw, "null" | "false") => Ok(None),
            _ => Err(self.wrong(n, "the value that leads to the next page is not a string or a number")),
        }
    }

    /// The header `name` as a token. `None` if it is empty, or not there, as with [`token`](Self::token).
    ///
    /// # Errors
    /// `Data` if it is not text, or not there on a first page with records.
    pub fn token_in_header(&self, name: &str, optional: bool) -> Result<Option<String>> {
        match self.header(name)? {
            Some(token) => Ok((!token.is_empty()).then(|| token.to_owned())),
            None => self.absent(optional, || Error::data("read page", ABSENT).with("header", name)),
        }
    }

    /// Nothing where a token should be.
    fn absent(&self, optional: bool, error: impl FnOnce() -> Error) -> Result<Option<String>> {
        if optional || !self.is_first || self.records == 0 {
            return Ok(None);
        }
        Err(error()
            .with_hint("if the API leaves it out of its only page, say so with .optional(); else it is somewhere else"))
    }

    fn names_near(&self, n: usize) -> String {
        self.paths.get(n).map_or_else(String::new, |path| names_near(self.body, path))
    }

    /// Value `n` as a count: a whole number, or a string of one.
    ///
    /// # Errors
    /// `Data` if it is not there, or not a count.
    pub fn count(&self, n: usize) -> Result<u64> {
        let raw = self.raw(n).ok_or_else(|| self.wrong(n, "the page has no total where one was declared"))?;
        let text = raw.trim_matches('"');
        text.trim().parse().map_err(|_| self.wrong(n, "the total is not a whole number").with("value", clip(raw)))
    }

    /// Value `n` as a flag: a boolean, or a string of one.
    ///
    /// # Errors
    /// `Data` if it is not there, or not a flag.
    pub fn flag(&self, n: usize) -> Result<bool> {
        let raw = self.raw(n).ok_or_else(|| self.wrong(n, "the page has no flag where one was declared"))?;
        match raw.trim_matches('"').to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong(n, "the flag is neither true nor false").with("value", clip(raw))),
        }
    }

    fn raw(&self, n: usize) -> Option<&str> {
        self.values.get(n)?.as_deref()
    }

    fn string(&self, n: usize, raw: &str) -> Result<String> {
        serde_json::from_str(raw).map_err(|e| self.wrong(n, "the string is not valid JSON").with_source(e))
    }

    fn wrong(&self, n: usize, what: &'static str) -> Error {
        Error::data("read page", what).with("path", self.paths.get(n).map_or("", ValuePath::as_str))
    }
}

const ABSENT: &str = "the page has nothing where the value is said to be that leads to the next page";

fn clip(raw: &str) -> String {
    raw.chars().take(40).collect()
}
