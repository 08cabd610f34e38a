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
    pub(super) fn check(&self, kind: &'static str) -> Result<()> {
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

        if more == Some(false) {
            return Ok(Some(Step::End(Proof::NoNextPage)));
        }
        if pages.is_some_and(|pages| page >= pages) {
            return Ok(Some(Step::End(Proof::NoNextPage)));
        }
        if let Some(total) = total.filter(|total| answer.so_far() >= *total) {
            return Ok(Some(Step::End(Proof::TotalMatched(total))));
        }
        if answer.records() == 0 {
            if let Some(total) = total {
                return Err(short(total, answer.so_far()));
            }
            if self.on_empty {
                return Ok(Some(Step::End(Proof::EmptyPage)));
            }
        }
        Ok(None)
    }
}

/// The API claims more records than came.
pub(crate) fn short(total: u64, came: u64) -> Error {
    Error::new(ErrorKind::Incomplete, "read partition", "the API claims more records than came")
        .with("claimed", total)
        .with("came", came)
}
