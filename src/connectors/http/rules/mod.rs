//! What a response is taken for: the rules of the user first, then what its status means.

mod on;
mod predicate;
mod verdict;
mod wait;

pub(super) use on::Action;
pub use on::{On, Rule, Statuses};
pub(super) use predicate::Predicate;
pub(super) use verdict::{Told, Verdict};
pub use wait::WaitFrom;
pub(super) use wait::http_date;

use crate::connectors::http::tree::TooLarge;
use crate::error::Result;
use crate::model::Timestamp;
use crate::retry::rate::Learn;
use on::Compiled;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;
use wait::{Compiled as Wait, LONGEST};

/// The rules of a source, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Compiled>,
    waits: Vec<Wait>,
}

/// What the head of a response says.
#[derive(Debug)]
pub(super) enum ByHead {
    Decided(Verdict),
    /// A rule asks for the body. `may_be_page`: it, or the status, may call this a page.
    AsksForBody {
        may_be_page: bool,
    },
}

impl Rules {
    /// # Errors
    /// `Config` for a rule that cannot be read, or that no page would pass.
    pub(super) fn compile(rules: &[Rule], waits: &[WaitFrom]) -> Result<Self> {
        let rules = rules.iter().map(Rule::compile).collect::<Result<_>>()?;
        // The header of the standard needs no declaration.
        let standard = WaitFrom::header(RETRY_AFTER.as_str());
        let waits = waits.iter().chain([&standard]).map(WaitFrom::compile).collect::<Result<_>>()?;
        Ok(Self { rules, waits })
    }

    /// What is known before the body.
    pub(super) fn by_head(&self, status: u16, headers: &HeaderMap) -> ByHead {
        let (mut open, mut may_be_page) = (false, false);
        for rule in &self.rules {
            match rule.holds_by_head(status, headers) {
                Some(false) => {}
                Some(true) if !open => return ByHead::Decided(rule.verdict()),
                Some(true) => {
                    may_be_page |= rule.is_success();
                    return ByHead::AsksForBody { may_be_page };
                }
                None => {
                    open = true;
                    may_be_page |= rule.is_success();
                }
            }
        }
        let by_status = Verdict::by_status(status, headers);
        if open {
            return ByHead::AsksForBody { may_be_page: may_be_page || by_status.is_success() };
        }
        ByHead::Decided(by_status)
    }

    /// What is known with the body: of the first rule that holds, or of the status; a failure if it is too large for one to tell.
    pub(super) fn with_body(&self, told: &Told<'_>) -> Verdict {
        for rule in &self.rules {
            match rule.holds(told) {
                Ok(true) => return rule.verdict(),
                Ok(false) => {}
                Err(TooLarge) => return Verdict::too_large(),
            }
        }
        Verdict::by_status(told.status, told.headers)
    }

    /// The wait that the response asks for, by the first place that says one; else that until a quota is full again that it says
    /// is used up. A day at most: by then it is asked again, in case that something else was meant.
    pub(super) fn wait(&self, told: &Told<'_>, now: Timestamp) -> Option<Duration> {
        let said = self.waits.iter().find_map(|wait| wait.of(told, now));
        let said = said.or_else(|| Learn::usual().until_full(now, &|name| text(told.headers, name)));
        said.map(|wait| wait.min(LONGEST))
    }
}

/// The value of a header, if it is text.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Whether a refusal is one for the rate, whatever its status: it says when to come back, or that a quota is used up.
fn is_for_rate(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || Learn::usual().is_used_up(&|name| text(headers, name))
}
