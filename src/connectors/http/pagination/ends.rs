use super::{Answer, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::json::ValuePath;
use crate::model::Proof;
use serde::Serialize;

/// What ends a listing that is asked for by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ends {
    pub(super) total: Option<String>,
    pub(super) total_pages: Option<String>,
    pub(super) has_more: Option<String>,
    pub(super) on_empty: bool,
    pub(super) maximum: Option<u64>,
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
                .with_hint("say what ends it: a total, a flag for more, an empty page, or a maximum"));
        }
        Ok(())
    }

    pub(super) fn values(&self) -> Result<Vec<ValuePath>> {
        [&self.total, &self.total_pages, &self.has_more].into_iter().flatten().map(|p| ValuePath::parse(p)).collect()
    }

    /// The end, if the answer shows one. `page` is the number of pages up to this one.
    pub(super) fn reached(&self, page: u64, answer: &Answer<'_>) -> Result<Option<Step>> {
        let mut slot = 0..;
        let mut slot = || slot.next().unwrap_or_default();
        let total = self.total.as_ref().map(|_| answer.count(slot())).transpose()?;
        let pages = self.total_pages.as_ref().map(|_| answer.count(slot())).transpose()?;
        let more = self.has_more.as_ref().map(|_| answer.flag(slot())).transpose()?;

        let (came, empty) = (answer.so_far(), answer.records() == 0);
        if let Some(total) = total.filter(|total| came > *total) {
            return Err(differs(total, came));
        }
        let last = pages.map(|pages| page >= pages);
        let all = total.map(|total| came == total);
        // A flag outweighs the counts, and pages to come outweigh a total: what is asked too often shows itself.
        let proof = match (more, last, total) {
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
        let path = |name: &str| ends.iter().find(|(n, _)| *n == name).map(|(n, _)| format!("$.{n}"));
        let declared =
            Ends { total: path("total"), total_pages: path("pages"), has_more: path("more"), on_empty, maximum: None };
        let values: Vec<_> = ends.iter().map(|(_, value)| Some((*value).to_owned())).collect();
        let answer = Answer {
            paths: &declared.values()?,
            values: &values,
            body: b"{}",
            headers: &HeaderMap::new(),
            is_first: false,
            records,
            so_far: 10 + records,
        };
        declared.reached(2, &answer)
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
