use super::ends::{Ends, Stop};
use super::setters::ends_by;
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::Result;

/// Each page names the URL of the next one, relative or absolute; the last one names none.
///
/// The next request carries the parameters of the URL only. The URL must lead to the configured origin.
#[derive(Clone, Debug)]
#[must_use]
pub struct NextUrl {
    at: Place,
    optional: bool,
    ends: Ends,
}

impl NextUrl {
    ends_by!(has_more, until_empty, stop_when);

    /// The URL is at this path of the body, or in a header.
    pub fn at(place: impl Into<Place>) -> Self {
        Self { at: place.into(), optional: false, ends: Ends::default() }
    }

    /// Takes a first page without the URL for the only one. Else that is an error: a slip in the path looks the same.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl Paginate for NextUrl {
    fn check(&self) -> Result<()> {
        self.ends.check_stop()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "next_url", "at": self.at, "optional": self.optional, "ends": self.ends})
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn values(&self) -> Vec<Place> {
        [self.at.clone()].into_iter().chain(self.ends.values()).collect()
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(1, answer)
    }

    fn ahead(&self, _at: &At, _size: u64, _claims: Claims) -> Option<At> {
        None
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        match at {
            At::Link(link) => request.go_to(link),
            _ => Ok(()),
        }
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, 1, answer)? {
            return Ok(end);
        }
        match answer.token(0, self.optional)? {
            Some(link) => Ok(Step::Next(At::Link(link))),
            None => self.ends.nothing_leads_on(),
        }
    }
}
