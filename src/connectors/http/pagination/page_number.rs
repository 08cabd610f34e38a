use super::ends::{Ends, Stop};
use super::page_size::PageSize;
use super::setters::{counts_in, ends_by};
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, Result};

/// Pages asked for by their number. Say what ends it.
#[derive(Clone, Debug)]
#[must_use]
pub struct PageNumber {
    to: Target,
    first: u64,
    size: PageSize,
    ends: Ends,
}

impl PageNumber {
    counts_in!("number", from 1);
    ends_by!(total, has_more, until_empty, stop_when);

    fn to(to: Target) -> Self {
        Self { to, first: 1, size: PageSize::default(), ends: Ends::default() }
    }

    /// Sets the number of the first page, such as 0.
    pub fn starting_at(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// Asks for `records` to a page at `name`, which is in the same part of the request as the number.
    pub fn size(mut self, name: impl Into<String>, records: u64) -> Self {
        self.size = PageSize::of(name, records);
        self
    }

    /// Ends with as many pages as the value at `place` says; fewer are an error.
    pub fn total_pages(mut self, place: impl Into<Place>) -> Self {
        self.ends.total_pages = Some(place.into());
        self
    }

    /// Asks for no page with a number above `last`; the read then ends as limited, not as complete.
    pub fn maximum(mut self, last: u64) -> Self {
        self.ends.maximum = Some(last);
        self
    }
}

impl Paginate for PageNumber {
    fn check(&self) -> Result<()> {
        if let Some(maximum) = self.ends.maximum.filter(|maximum| *maximum < self.first) {
            return Err(Error::config("build source", "the last page comes before the first one")
                .with("first", self.first)
                .with("maximum", maximum));
        }
        self.ends.check("page number", self.size.records())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "page_number", "to": self.to, "first": self.first, "size": self.size, "ends": self.ends})
    }

    fn targets(&self) -> Vec<Target> {
        [self.to.clone()].into_iter().chain(self.size.target(&self.to)).collect()
    }

    fn values(&self) -> Vec<Place> {
        self.ends.values()
    }

    fn counts(&self) -> Counts {
        Counts::Pages
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(0, answer)
    }

    fn ahead(&self, at: &At, size: u64, claims: Claims) -> Option<At> {
        let next = self.number(at).saturating_add(1);
        let before = next.saturating_sub(self.first);
        let is_there = match claims {
            Claims { pages: Some(pages), .. } => before < pages,
            Claims { records: Some(records), .. } => size > 0 && before.saturating_mul(size) < records,
            _ => false,
        };
        (is_there && self.ends.maximum.is_none_or(|maximum| next <= maximum)).then_some(At::Number(next))
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        self.size.set(&self.to, request)?;
        self.to.set_number(request, self.number(at))
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        let number = self.number(at);
        if let Some(end) = self.ends.reached(number.saturating_sub(self.first) + 1, 0, answer)? {
            return Ok(end);
        }
        let next = number.saturating_add(1);
        Ok(match self.ends.maximum {
            Some(maximum) if next > maximum => Step::Limit(format!("page {maximum}")),
            _ => Step::Next(At::Number(next)),
        })
    }
}

impl PageNumber {
    fn number(&self, at: &At) -> u64 {
        match at {
            At::Number(number) => *number,
            _ => self.first,
        }
    }
}
