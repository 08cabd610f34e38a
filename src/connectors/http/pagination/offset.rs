use super::ends::{Ends, Stop};
use super::{Answer, At, Paginate, Place, Request, Step, Target};
use crate::error::Result;

/// Pages asked for by the number of their first record. Say what ends it.
///
/// The offset goes on by the records that came, not by the records that were asked for: a server that gives fewer skips
/// nothing. Rows that move between pages may be missed or come twice, as always with offsets.
#[derive(Clone, Debug)]
#[must_use]
pub struct Offset {
    to: Target,
    limit: Option<(String, u64)>,
    ends: Ends,
}

impl Offset {
    /// The offset goes into the parameter `name` of the query, and begins with 0.
    pub fn query(name: impl Into<String>) -> Self {
        Self::to(Target::Query(name.into()))
    }

    /// The offset goes to `path` of the body, and begins with 0.
    pub fn body(path: impl Into<String>) -> Self {
        Self::to(Target::Body(path.into()))
    }

    /// The offset goes into the header `name`, and begins with 0.
    pub fn header(name: impl Into<String>) -> Self {
        Self::to(Target::Header(name.into()))
    }

    fn to(to: Target) -> Self {
        Self { to, limit: None, ends: Ends::default() }
    }

    /// Asks for `records` to a page at `name`, which is in the same part of the request as the offset.
    pub fn limit(mut self, name: impl Into<String>, records: u64) -> Self {
        self.limit = Some((name.into(), records));
        self
    }

    /// Ends with as many records as the value at `place` says; fewer or more are an error.
    pub fn total(mut self, place: impl Into<Place>) -> Self {
        self.ends.total = Some(place.into());
        self
    }

    /// Goes on while the flag at `place` is true, also after an empty page.
    pub fn has_more(mut self, place: impl Into<Place>) -> Self {
        self.ends.has_more = Some(place.into());
        self
    }

    /// Ends with the page that meets the condition.
    pub fn stop_when(mut self, stop: impl Into<Stop>) -> Self {
        self.ends.stop = Some(stop.into());
        self
    }

    /// Ends with the first page that has no records.
    pub fn until_empty(mut self) -> Self {
        self.ends.on_empty = true;
        self
    }

    /// Asks for no offset at or above `offset`; the read then ends as limited, not as complete.
    pub fn maximum(mut self, offset: u64) -> Self {
        self.ends.maximum = Some(offset);
        self
    }
}

impl Paginate for Offset {
    fn check(&self) -> Result<()> {
        self.ends.check("offset", self.limit.as_ref().map(|(_, records)| *records))
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "offset", "to": self.to, "limit": self.limit, "ends": self.ends})
    }

    fn targets(&self) -> Vec<Target> {
        let size = self.limit.as_ref().map(|(name, _)| self.to.beside(name.clone()));
        [self.to.clone()].into_iter().chain(size).collect()
    }

    fn values(&self) -> Vec<Place> {
        self.ends.values()
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        if let Some((name, records)) = &self.limit {
            self.to.beside(name.clone()).set_number(request, *records)?;
        }
        self.to.set_number(request, offset(at))
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, 0, answer)? {
            return Ok(end);
        }
        let came = match answer.records() {
            // The API says that there is more behind an empty page.
            0 => self.limit.as_ref().map_or(0, |(_, records)| *records),
            came => came,
        };
        let next = offset(at).saturating_add(came);
        Ok(match self.ends.maximum {
            Some(maximum) if next >= maximum => Step::Limit(format!("offset {maximum}")),
            _ => Step::Next(At::Offset(next)),
        })
    }
}

fn offset(at: &At) -> u64 {
    match at {
        At::Offset(offset) => *offset,
        _ => 0,
    }
}
