use super::{Action, is_for_rate};
use crate::connectors::http::tree::{self, TooLarge};
use crate::defects::{Defect, on};
use crate::error::{Error, ErrorKind, Result, Status};
use crate::model::Timestamp;
use reqwest::header::{AGE, DATE, HeaderMap};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::time::Duration;

/// What a response says, as far as it has come.
pub(in super::super) struct Told<'a> {
    pub(in super::super) status: u16,
    pub(in super::super) headers: &'a HeaderMap,
    body: &'a [u8],
    json: OnceCell<Result<Option<Value>, TooLarge>>,
}

impl<'a> Told<'a> {
    pub(in super::super) fn new(status: u16, headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { status, headers, body, json: OnceCell::new() }
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(self.body)
    }

    /// An array of the body, if it is JSON; or of its first line, if that is: where lines are expected, an error is one.
    pub(super) fn json(&self) -> Result<Option<&Value>, TooLarge> {
        let read = || -> Result<Option<Value>, TooLarge> {
            let body = self.body();
            let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let tree = match (tree::of(body)?, lines.next()) {
                (Ok(whole), _) => Some(whole),
                (Err(_), Some(line)) => tree::of(line)?.ok(),
                (Err(_), None) => None,
            };
            Ok(tree.map(|body| Value::Array(vec![body])))
        };
        self.json.get_or_init(read).as_ref().map(Option::as_ref).map_err(|too_large| *too_large)
    }

    pub(super) fn has_text(&self, text: &str) -> bool {
        String::from_utf8_lossy(self.body).contains(text)
    }

    /// The time by the clock of the server, which need not be ours (RFC 9110, 6.6.1). A cache tells how old it is (RFC 9111, 5.1).
    pub(super) fn server_now(&self) -> Option<Timestamp> {
        let text = |name| self.headers.get(name)?.to_str().ok();
        let date = super::wait::http_date(text(DATE)?.trim())?;
        let age = text(AGE).and_then(|age| age.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        Some(date.saturating_add(age))
    }
}

/// What a response is taken for.
#[derive(Clone, Debug)]
pub(in super::super) struct Verdict {
    pub(in super::super) action: Action,
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<&'static str>,
    /// The rule that says so, if one does.
    rule: Option<String>,
}

impl Verdict {
    /// What a status means where no rule holds.
    pub(super) fn by_status(status: u16, headers: &HeaderMap) -> Self {
        let (action, kind, message) = match status {
            200 | 203 => (Action::Success, ErrorKind::Data, ""),
            401..=403 if on(Defect::RefusedPagesAreLeftOut) => (Action::Ignore, ErrorKind::Data, ""),
            // GitHub, for one, refuses for the rate with 403.
            403 if is_for_rate(headers) => {
                (Action::RateLimited, ErrorKind::Unavailable, "the API refuses so many requests")
            }
            429 => (Action::RateLimited, ErrorKind::Unavailable, "the API refuses so many requests"),
            401 => (Action::Refresh, ErrorKind::Auth, REFUSES_CREDENTIALS),
            402 | 403 => (Action::Fail, ErrorKind::Auth, REFUSES_CREDENTIALS),
            501 | 505 => (Action::Fail, ErrorKind::Config, "the API cannot do this"),
            408 | 425 | 500..=599 => (Action::Retry, ErrorKind::Unavailable, "the API fails"),
            400..=499 => (Action::Fail, ErrorKind::Config, "the API refuses the request"),
            // Never taken for an empty page: nothing says that the listing ends here.
            _ => (Action::Fail, ErrorKind::Data, "a status without a page"),
        };
        let hint = match status {
            204 | 404 | 410 => {
                Some("if the API means that there are no records, say so with a rule that ignores this status")
            }
            201..=299 => Some("if such a response is a page, say so with a rule that takes this status for a success"),
            _ => None,
        };
        Self { action, kind, message: message.into(), hint, rule: None }
    }

    pub(super) fn by_rule(
        action: Action,
        kind: Option<ErrorKind>,
        message: Option<Cow<'static, str>>,
        rule: String,
    ) -> Self {
        let (usual, says) = match action {
            Action::Success | Action::Ignore => (ErrorKind::Data, ""),
            Action::Retry => (ErrorKind::Unavailable, "the API fails, by a rule"),
            Action::RateLimited => (ErrorKind::Unavailable, "the API refuses so many requests, by a rule"),
            Action::Refresh => (ErrorKind::Auth, "the API refuses the credentials, by a rule"),
            Action::PageExpired => (ErrorKind::Incomplete, "the API has forgotten the page, by a rule"),
            Action::CursorTooOld => {
                (ErrorKind::Incomplete, "the API does not keep changes back to the bound of this read, by a rule")
            }
            Action::Fail => (ErrorKind::Data, "the response is a failure, by a rule"),
        };
        let message = message.unwrap_or(says.into());
        Self { action, kind: kind.unwrap_or(usual), message, hint: None, rule: Some(rule) }
    }

    /// A rule asks for the body, which is too large to be asked.
    pub(super) fn too_large() -> Self {
        let (message, hint) = (TooLarge::WHAT.into(), Some(TooLarge::HINT));
        Self { action: Action::Fail, kind: ErrorKind::Data, message, hint, rule: None }
    }

    pub(super) fn is_success(&self) -> bool {
        self.action == Action::Success
    }

    /// Whether the API refuses this very request, and no rule says it.
    pub(in super::super) fn is_refusal(&self) -> bool {
        self.action == Action::Fail && self.kind == ErrorKind::Config && self.rule.is_none()
    }

    /// Why there are no records.
    pub(in super::super) fn why_ignored(&self, status: u16) -> String {
        let rule = self.rule.as_deref().unwrap_or_default();
        match (&*self.message, rule) {
            ("", rule) => format!("status {status}, by the rule: {rule}"),
            (message, rule) => format!("{message} (status {status}, by the rule: {rule})"),
        }
    }

    /// The error that it may lead to.
    pub(in super::super) fn error(self, status: u16, request: &str, body: Option<String>) -> Error {
        let mut error =
            Error::new(self.kind, "read page", self.message).with("status", status).with("request", request);
        if let Some(rule) = self.rule {
            error = error.with("rule", rule);
        }
        if let Some(body) = body {
            error = error.with("body", body);
        }
        if let Some(hint) = self.hint {
            error = error.with_hint(hint);
        }
        error.with_status(match (self.action, self.kind) {
            (Action::Retry | Action::RateLimited, _) => Status::Transient,
            // Another run may bring it, this one is over.
            (_, ErrorKind::Unavailable) => Status::Exhausted,
            _ => Status::Permanent,
        })
    }
}

const REFUSES_CREDENTIALS: &str = "the API refuses the credentials";
