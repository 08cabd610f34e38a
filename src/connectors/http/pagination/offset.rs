use super::ends::Ends;
use super::{Answer, At, Paginate, Request, Step};
use crate::error::Result;
use crate::json::ValuePath;

/// Pages asked for by the number of their first record. Say what ends it.
///
/// The offset goes on by the records that came, not by the records that were asked for: a server that gives fewer skips
/// nothing. Rows that move between pages may be missed or come twice, as always with offsets.
#[derive(Clone, Debug)]
#[must_use]
pub struct Offset {
    query: String,
    limit: Option<(String, u64)>,
    ends: Ends,
}

impl Offset {
    /// The offset goes into the parameter `name` of the query, and begins with 0.
    pub fn query(name: impl Into<String>) -> Self {
        Self { query: name.into(), limit: None, ends: Ends::default() }
    }

    /// Asks for `records` to a page through the parameter `name`.
    pub fn limit(mut self, name: impl Into<String>, records: u64) -> Self {
        self.limit = Some((name.into(), records));
        self
    }

    /// Ends with as many records as the value at `path` says; fewer or more are an error.
    pub fn total(mut self, path: impl Into<String>) -> Self {
        self.ends.total = Some(path.into());
        self
    }

    /// Goes on while the flag at `path` is true, also after an empty page.
    pub fn has_more(mut self, path: impl Into<String>) -> Self {
        self.ends.has_more = Some(path.into());
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
        serde_json::json!({"kind": "offset", "query": self.query, "limit": self.limit, "ends": self.ends})
    }

    fn parameters(&self) -> Vec<String> {
        let limit = self.limit.as_ref().map(|(name, _)| name.clone());
        [self.query.clone()].into_iter().chain(limit).collect()
    }

    fn values(&self) -> Result<Vec<ValuePath>> {
        self.ends.values()
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        if let Some((name, records)) = &self.limit {
            request.set_query(name, &records.to_string());
        }
        request.set_query(&self.query, &offset(at).to_string());
        Ok(())
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, answer)? {
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
