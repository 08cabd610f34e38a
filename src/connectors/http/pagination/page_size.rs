use super::{Request, Target};
use crate::error::Result;
use serde::Serialize;

/// How many records to a page are asked for, and by which name: in the same part of the request as what tells the page.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PageSize(Option<(String, u64)>);

impl PageSize {
    pub(super) fn of(name: impl Into<String>, records: u64) -> Self {
        Self(Some((name.into(), records)))
    }

    pub(super) fn records(&self) -> Option<u64> {
        self.0.as_ref().map(|(_, records)| *records)
    }

    /// Where it goes beside `to`, if it goes anywhere.
    pub(super) fn target(&self, to: &Target) -> Option<Target> {
        self.0.as_ref().map(|(name, _)| to.beside(name.clone()))
    }

    pub(super) fn set(&self, to: &Target, request: &mut Request) -> Result<()> {
        match self.target(to).zip(self.records()) {
            Some((target, records)) => target.set_number(request, records),
            None => Ok(()),
        }
    }
}
