//! `[[source.rules]]` and `[[source.waits]]`: what responses are taken for, and where they say how long to wait.

use crate::value::Duration;
use crate::with::With;
use landfall::connectors::http::{On, Statuses, WaitFrom};
use landfall::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::ops::RangeInclusive;

/// What responses are taken for that all conditions hold of. The first rule that holds decides, before the status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// A status such as `404`, a range such as `"500-599"`, or an array of them.
    status: Option<OneOrMany<Status>>,
    header: Option<Header>,
    /// A path that selects something in the JSON body, or a filter of RFC 9535 where `@` is the body.
    body: Option<String>,
    /// A text in the body.
    text: Option<String>,
    then: Action,
    /// Of which kind a failure is.
    kind: Option<Kind>,
    /// What to call it.
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Success,
    Retry,
    Ignore,
    RateLimited,
    Refresh,
    PageExpired,
    CursorTooOld,
    Fail,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Config,
    Auth,
    Transient,
    Data,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a status such as 404, a range such as \"500-599\", or an array of them")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "a status such as 404, or a range such as \"500-599\"")]
enum Status {
    One(u16),
    Range(String),
}

/// The name of a header that is there; or with the value that it has, or a regular expression that matches it.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "the name of a header, or a table with `name` and `equals` or `matches`"
)]
enum Header {
    Present(String),
    Equals { name: String, equals: String },
    Matches { name: String, matches: String },
}

impl Rule {
    pub(super) fn build(&self) -> Result<landfall::connectors::http::Rule> {
        let status = self.status.as_ref().map(statuses).transpose()?.map(On::status);
        let header = self.header.as_ref().map(|header| match header {
            Header::Present(name) => On::header(name),
            Header::Equals { name, equals } => On::header_equals(name, equals),
            Header::Matches { name, matches } => On::header_matches(name, matches),
        });
        let conditions = [status, header, self.body.as_ref().map(On::body), self.text.as_ref().map(On::text)];
        let on = conditions.into_iter().flatten().reduce(On::and).ok_or_else(|| {
            Error::config("read spec", "a rule without a condition")
                .with_hint("say what it is about: `status`, `header`, `body`, `text`, or some of them")
        })?;
        let kind = self.kind.map(|kind| match kind {
            Kind::Config => ErrorKind::Config,
            Kind::Auth => ErrorKind::Auth,
            Kind::Transient => ErrorKind::Unavailable,
            Kind::Data => ErrorKind::Data,
        });
        let rule = match self.then {
            Action::Success => on.success(),
            Action::Retry => on.retry(),
            Action::Ignore => on.ignore(),
            Action::RateLimited => on.rate_limited(),
            Action::Refresh => on.refresh(),
            Action::PageExpired => on.page_expired(),
            Action::CursorTooOld => on.cursor_too_old(),
            Action::Fail => on.fail(ErrorKind::Data),
        };
        Ok(rule
            .with_some(kind, |rule, kind| rule.kind(kind))
            .with_some(self.message.clone(), |r, text| r.message(text)))
    }
}

fn statuses(all: &OneOrMany<Status>) -> Result<Statuses> {
    match all {
        OneOrMany::One(one) => range(one).map(Into::into),
        OneOrMany::Many(many) => many.iter().map(range).collect(),
    }
}

fn range(status: &Status) -> Result<RangeInclusive<u16>> {
    let text = match status {
        Status::One(status) => return Ok(*status..=*status),
        Status::Range(text) => text,
    };
    let ends = text.split_once('-').and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
    ends.map(|(from, to)| from..=to).ok_or_else(|| {
        Error::config("read spec", "not a range of statuses")
            .with("status", text)
            .with_hint("a range looks like \"500-599\"")
    })
}

/// A place where a response says how long to wait: seconds or a date, unless `as` says otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    header: Option<String>,
    body: Option<String>,
    /// Takes what this matches: its first group, if it has one.
    regex: Option<String>,
    r#as: Option<Form>,
    at_least: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Seconds,
    Millis,
    Epoch,
}

impl Wait {
    pub(super) fn build(&self) -> Result<WaitFrom> {
        let from = match (&self.header, &self.body) {
            (Some(name), None) => WaitFrom::header(name),
            (None, Some(path)) => WaitFrom::body(path),
            _ => {
                return Err(Error::config("read spec", "a wait stands in one place")
                    .with_hint("say `header = \"NAME\"` or `body = \"$.path\"`"));
            }
        };
        let from = from.with_some(self.regex.as_ref(), |from, regex| from.regex(regex));
        let from = match self.r#as {
            None | Some(Form::Seconds) => from,
            Some(Form::Millis) => from.millis(),
            Some(Form::Epoch) => from.epoch(),
        };
        Ok(from.with_some(self.at_least, |from, wait| from.at_least(wait.0)))
    }
}
