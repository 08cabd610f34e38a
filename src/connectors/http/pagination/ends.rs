use super::{Answer, Claims, Place, Step};
use crate::connectors::http::rules::Predicate;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Proof;
use serde::Serialize;

/// What ends a listing, beside the way from page to page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ends {
    pub(super) total: Option<Place>,
    pub(super) total_pages: Option<Place>,
    pub(super) has_more: Option<Place>,
    pub(super) stop: Option<Stop>,
    pub(super) on_empty: bool,
    pub(super) maximum: Option<u64>,
}

/// A condition on a response that makes it the last page: see `stop_when` of each pagination.
///
/// ```
/// use landfall::connectors::http::{Cursor, Stop};
///
/// let by_body = Cursor::at("$.next").query("cursor").stop_when("$[?@.status == 'done']");
/// let by_header = Cursor::at("$.next").query("cursor").stop_when(Stop::header("x-last-page", "true"));
/// # drop((by_body, by_header));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub struct Stop(Condition);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    Query(String),
    Header { name: String, value: String },
}

impl Stop {
    /// This holds of the body: a path that selects something in it, such as `$.meta[?@ == 'done']`, or a filter such as
    /// `@.status == 'done'`, where `@` is the body (RFC 9535, 2.3.5). The body is held as a tree for it: one of more than
    /// 1,048,576 values is an error.
    pub fn query(query: impl Into<String>) -> Self {
        Self(Condition::Query(query.into()))
    }

    /// The header `name` has this value, in any case of letters.
    pub fn header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(Condition::Header { name: name.into(), value: value.into() })
    }

    fn check(&self) -> Result<()> {
        match &self.0 {
            Condition::Query(query) => Predicate::parse(query).map(drop),
            Condition::Header { name, .. } => Place::header(name).check(),
        }
    }

    /// What it takes of the body.
    fn body(&self) -> Option<Place> {
        matches!(self.0, Condition::Query(_)).then(|| Place::Body("$".to_owned()))
    }

    fn is_met(&self, answer: &Answer<'_>) -> Result<bool> {
        match &self.0 {
            Condition::Query(query) => answer.fits(&Predicate::parse(query)?),
            Condition::Header { name, value } => {
                Ok(answer.headers(name)?.iter().any(|there| there.trim().eq_ignore_ascii_case(value)))
            }
        }
    }
}

impl<T: Into<String>> From<T> for Stop {
    fn from(query: T) -> Self {
        Self::query(query)
    }
}

impl Ends {
    /// `size` are the records that a page is asked to have.
    pub(super) fn check(&self, kind: &'static str, size: Option<u64>) -> Result<()> {
        if size == Some(0) {
            return Err(
                Error::config("build source", "a page of no records never comes to an end").with("pagination", kind)
            );
        }
        if *self == Self::default() {
            return Err(Error::config("build source", "this pagination would never end")
                .with("pagination", kind)
                .with_hint("say what ends it: a total, a flag for more, an empty page, an expression, or a maximum"));
        }
        self.check_stop()
    }

    pub(super) fn check_stop(&self) -> Result<()> {
        self.stop.as_ref().map_or(Ok(()), Stop::check)
    }

    /// What follows a page that shows no end, and from which nothing leads on.
    ///
    /// # Errors
    /// `Data` if the API says that there is more.
    pub(super) fn nothing_leads_on(&self) -> Result<Step> {
        // A flag that is false would have shown the end.
        match &self.has_more {
            Some(flag) => Err(Error::data("read page", "the API says that there is more, but nothing leads to it")
                .with("flag", flag.name())
                .with_hint("is what leads to the next page somewhere else?")),
            None => Ok(Step::End(Proof::NoNextPage)),
        }
    }

    /// The values that it needs, in the order in which [`reached`](Self::reached) takes them. A condition on the body comes last:
    /// it takes all of that, so none of it is cut into parts.
    pub(super) fn values(&self) -> Vec<Place> {
        let body = self.stop.as_ref().and_then(Stop::body);
        [&self.total, &self.total_pages, &self.has_more].into_iter().flatten().cloned().chain(body).collect()
    }

    /// What the answer claims; its values begin at slot `first`.
    pub(super) fn claims(&self, first: usize, answer: &Answer<'_>) -> Result<Claims> {
        let mut slot = first..;
        let mut slot = || slot.next().unwrap_or_default();
        let records = self.total.as_ref().map(|_| answer.count(slot())).transpose()?;
        let pages = self.total_pages.as_ref().map(|_| answer.count(slot())).transpose()?;
        Ok(Claims { records, pages })
    }

    /// The end, if the answer shows one. `page` is the number of pages up to this one; its values begin at slot `first`.
    pub(super) fn reached(&self, page: u64, first: usize, answer: &Answer<'_>) -> Result<Option<Step>> {
        let Claims { records: total, pages } = self.claims(first, answer)?;
        let slot = first + [&self.total, &self.total_pages].into_iter().flatten().count();
        let more = self.has_more.as_ref().map(|_| answer.flag(slot)).transpose()?;
        let stopped = self.stop.as_ref().map_or(Ok(false), |stop| stop.is_met(answer))?;

        let (came, empty) = (answer.so_far(), answer.is_empty());
        if let Some(total) = total.filter(|total| came > *total) {
            return Err(differs(total, came));
        }
        let last = pages.map(|pages| page >= pages);
        let all = total.map(|total| came == total);
        // A flag outweighs the counts, and pages to come outweigh a total: what is asked too often shows itself.
        let proof = match (more, last, total) {
            _ if stopped => Proof::NoNextPage,
            (Some(false), ..) | (None, Some(true), _) => Proof::NoNextPage,
            (None, None, Some(total)) if came == total => Proof::TotalMatched(total),
            _ if empty && self.on_empty => Proof::EmptyPage,
            (None, None, Some(_)) if empty => Proof::EmptyPage,
            _ => return Ok(None),
        };
        match total {
            Some(total) if all == Some(false) => Err(differs(total, came)),
            _ if last == Some(false) => Err(Error::new(
                ErrorKind::Incomplete,
                "read partition",
                "the listing ends before the last page that the API claims",
            )
            .with("claimed", pages.unwrap_or_default())
            .with("came", page)),
            _ => Ok(Some(Step::End(proof))),
        }
    }
}

/// The API claims another number of records than came.
pub(crate) fn differs(total: u64, came: u64) -> Error {
    let error =
        |what| Error::new(ErrorKind::Incomplete, "read partition", what).with("claimed", total).with("came", came);
    if came < total {
        return error("the API claims more records than came");
    }
    error("more records came than the API claims")
        .with_hint("is the total one of pages, or of one page? if records were added meanwhile, the next read is right")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    /// What follows page 2 with `records`, after 10 of page 1, by the values of `total`, `pages` and `more`.
    fn after(records: u64, ends: &[(&str, &str)], on_empty: bool) -> Result<Option<Step>> {
        let path = |name: &str| ends.iter().find(|(n, _)| *n == name).map(|(n, _)| format!("$.{n}").into());
        let declared = Ends {
            total: path("total"),
            total_pages: path("pages"),
            has_more: path("more"),
            on_empty,
            ..Ends::default()
        };
        let values: Vec<_> = ends.iter().map(|(_, value)| Some((*value).to_owned())).collect();
        let answer = Answer {
            places: &declared.values(),
            values: &values,
            around: b"{}",
            last: None,
            headers: &HeaderMap::new(),
            is_first: false,
            records,
            again: 0,
            largest: 0,
            so_far: 10 + records,
        };
        declared.reached(2, 0, &answer)
    }

    #[test]
    fn ends_only_where_no_evidence_speaks_against_it() {
        let ended = |records, ends: &[(&str, &str)], on_empty| match after(records, ends, on_empty) {
            Ok(Some(Step::End(_))) => "end",
            Ok(None) => "more",
            Err(error) if error.kind() == ErrorKind::Incomplete => "conflict",
            other => panic!("{other:?}"),
        };
        let (total, pages, more) = (|n| ("total", n), |n| ("pages", n), |n| ("more", n));
        for (records, ends, outcome) in [
            (10, vec![total("20")], "end"),
            (10, vec![total("25")], "more"),
            (10, vec![total("15")], "conflict"),
            (0, vec![total("20")], "conflict"),
            (10, vec![more("false")], "end"),
            (10, vec![total("20"), more("false")], "end"),
            (10, vec![total("25"), more("false")], "conflict"),
            (10, vec![total("20"), more("true")], "more"),
            (0, vec![total("10"), more("true")], "more"),
            (0, vec![total("20"), more("true")], "more"),
            (10, vec![pages("2")], "end"),
            (10, vec![total("25"), pages("2")], "conflict"),
            (10, vec![total("20"), pages("2")], "end"),
            (10, vec![total("20"), pages("3")], "more"),
            (0, vec![pages("3")], "more"),
            (10, vec![pages("3"), more("false")], "conflict"),
            (10, vec![pages("2"), more("true")], "more"),
        ] {
            assert_eq!(ended(records, &ends, false), outcome, "{records} {ends:?}");
        }
        assert_eq!(ended(0, &[], true), "end");
        assert_eq!(ended(0, &[total("20")], true), "conflict");
        assert_eq!(ended(0, &[pages("3")], true), "conflict");
        assert_eq!(ended(0, &[more("true")], true), "end");
    }
}
