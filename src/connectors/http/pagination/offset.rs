use super::ends::{Ends, Stop};
use super::page_size::PageSize;
use super::setters::{counts_in, ends_by};
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, Result};

/// Pages asked for by the number of their first record. Say what ends it.
///
/// The offset goes on by the records that came, not by the records that were asked for: a server that gives fewer skips
/// nothing.
///
/// *Records that come and go meanwhile.* Each page is asked for from [one record](Self::overlap) of the page before on. If it
/// does not begin with that one, records were added or taken before: the read goes on behind the one that came last, where
/// that stands now, further back if need be, and at last from the beginning. So records that are there all the time are never
/// missed. What comes again is cut off exactly, where `records` ends with `[*]`; other records cannot be cut off, and are
/// watched as [`PageNumber`](super::PageNumber)s are. The API must give records in a fixed order, and take any offset;
/// records must differ (see [`key`](super::super::RestBuilder::key)).
#[derive(Clone, Debug)]
#[must_use]
pub struct Offset {
    to: Target,
    limit: PageSize,
    overlap: u64,
    ends: Ends,
}

impl Offset {
    counts_in!("offset", from 0);
    ends_by!(total, has_more, until_empty, stop_when);

    fn to(to: Target) -> Self {
        Self { to, limit: PageSize::default(), overlap: 1, ends: Ends::default() }
    }

    /// Asks for `records` to a page at `name`, which is in the same part of the request as the offset.
    pub fn limit(mut self, name: impl Into<String>, records: u64) -> Self {
        self.limit = PageSize::of(name, records);
        self
    }

    /// Asks for this many records of the page before again: 1 unless set. More of them find the place again in fewer requests
    /// where records are often taken from the listing; 0 is for APIs that do not take any offset, such as those that round it
    /// down to a whole page.
    pub fn overlap(mut self, records: u64) -> Self {
        self.overlap = records;
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
        if let Some(limit) = self.limit.records().filter(|limit| (2..=self.overlap).contains(limit)) {
            return Err(Error::config("build source", "pages that overlap must be larger than what they overlap by")
                .with("limit", limit)
                .with("overlap", self.overlap));
        }
        if self.ends.maximum == Some(0) {
            return Err(Error::config("build source", "no offset lies below a maximum of 0"));
        }
        self.ends.check("offset", self.limit.records())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "offset", "to": self.to, "limit": self.limit, "overlap": self.overlap, "ends": self.ends})
    }

    fn targets(&self) -> Vec<Target> {
        [self.to.clone()].into_iter().chain(self.limit.target(&self.to)).collect()
    }

    fn values(&self) -> Vec<Place> {
        self.ends.values()
    }

    fn counts(&self) -> Counts {
        match self.overlap {
            0 => Counts::Pages,
            overlap => Counts::Records { overlap },
        }
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(0, answer)
    }

    fn ahead(&self, at: &At, size: u64, claims: Claims) -> Option<At> {
        let next = offset(at).saturating_add(size);
        let is_there = size > 0 && claims.records.is_some_and(|records| next < records);
        (is_there && self.ends.maximum.is_none_or(|maximum| next < maximum)).then_some(At::Offset(next))
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        self.limit.set(&self.to, request)?;
        self.to.set_number(request, offset(at))
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, 0, answer)? {
            return Ok(end);
        }
        let came = if answer.is_empty() {
            // The API says that there is more behind an empty page.
            self.limit.records().unwrap_or_default()
        } else {
            answer.again().saturating_add(answer.records())
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
