//! Steps through JSON text, value by value.

use super::MAX_DEPTH;
use super::path::Step;
use super::skip::{container, ends_early, string, too_deep};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// A place in JSON text, inside of `depth` arrays and objects.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl<'a> Walk<'a> {
    /// The beginning of a page.
    ///
    /// # Errors
    /// `Data` if it is not UTF-8 or too large.
    pub(super) fn page(body: &'a [u8]) -> Result<Self> {
        if u32::try_from(body.len()).is_err() {
            return Err(Error::data("scan page", "the page is larger than 4 GiB").with("bytes", body.len()));
        }
        if let Err(e) = std::str::from_utf8(body) {
            // A character cut at the end is what a cut page looks like.
            return Err(match e.error_len() {
                None => ends_early(body.len()),
                Some(_) => Error::data("scan page", "the page is not UTF-8").with("at", e.valid_up_to()),
            });
        }
        let mut walk = Self { body, at: 0, depth: 0 };
        walk.after_mark();
        Ok(walk)
    }

    /// Goes over the mark at the beginning of a page.
    pub(super) fn after_mark(&mut self) {
        if self.body.starts_with(MARK) {
            self.at = MARK.len();
        }
    }

    /// Goes to the value below this one, if it is there.
    pub(super) fn enter(&mut self, step: &Step) -> Result<bool> {
        self.blank();
        let mut first = true;
        match (step, self.peek()) {
            (Step::Name(name), Some(b'{')) => {
                self.open()?;
                while self.more(b'}', &mut first)? {
                    if self.key()? == name.as_str() {
                        return Ok(true);
                    }
                    self.skip()?;
                }
            }
            (Step::Index(index), Some(b'[')) => {
                self.open()?;
                let mut left = *index;
                while self.more(b']', &mut first)? {
                    if left == 0 {
                        return Ok(true);
                    }
                    left -= 1;
                    self.skip()?;
                }
            }
            _ => {}
        }
        Ok(false)
    }

    pub(super) fn open(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep(self.at));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Whether another member follows; takes the comma before it, or the closing bracket.
    pub(super) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool> {
        self.blank();
        match self.peek() {
            Some(b) if b == close => {
                self.close();
                Ok(false)
            }
            Some(b',') if !*first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if std::mem::take(first) => Ok(true),
            _ => Err(self.unexpected("a comma or the closing bracket")),
        }
    }

    pub(super) fn key(&mut self) -> Result<Cow<'a, str>> {
        self.blank();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a name in quotes"));
        }
        self.at = string(self.body, start)?;
        let raw = self.body.get(start + 1..self.at - 1).unwrap_or_default();
        self.blank();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("a colon"));
        }
        self.at += 1;
        if raw.contains(&b'\\') {
            let quoted = self.body.get(start..=start + raw.len() + 1).unwrap_or_default();
            let key: String = serde_json::from_slice(quoted).map_err(|e| {
                Error::data("scan page", "a name is not a JSON string").with("at", start).with_source(e)
            })?;
            return Ok(key.into());
        }
        Ok(String::from_utf8_lossy(raw))
    }

    /// Goes to the end of a value of any kind.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.blank();
        self.at = match self.peek() {
            Some(b'{' | b'[') => container(self.body, self.at, self.depth)?,
            Some(b'"') => string(self.body, self.at)?,
            _ => {
                let rest = self.body.get(self.at..).unwrap_or_default();
                let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
                if len == 0 {
                    return Err(self.unexpected("a value"));
                }
                self.at + len
            }
        };
        Ok(())
    }

    pub(super) fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is not blank.
    pub(super) fn after_blank(&mut self) -> Option<u8> {
        self.blank();
        self.peek()
    }

    /// Leaves an array or object, whose closing bracket is next.
    pub(super) fn close(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.after_blank().is_none()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn unexpected(&self, expected: &'static str) -> Error {
        match self.peek() {
            None => ends_early(self.body.len()),
            Some(_) => Error::data("scan page", "not JSON").with("at", self.at).with("expected", expected),
        }
    }
}

/// The mark that some servers put before UTF-8.
pub(crate) const MARK: &[u8] = b"\xEF\xBB\xBF";
