use super::predicate::Predicate;
use super::verdict::{Told, Verdict};
use crate::connectors::http::tree::TooLarge;
use crate::error::{Error, ErrorKind, Result};
use regex::Regex;
use reqwest::header::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// When a [`Rule`] holds. An action makes it one.
///
/// ```
/// use landfall::ErrorKind;
/// use landfall::connectors::http::{On, Rest};
///
/// let orders = Rest::get("https://api.example.com/v1/shops/{shop}/orders")
///     .partition("a", [("shop", "a")])
///     // A shop without orders.
///     .rule(On::status(404).ignore())
///     .rule(On::status(400).and(On::text("try again")).retry())
///     .rule(On::body("@.status == 'ERROR'").fail(ErrorKind::Data).message("the API reports an error"))
///     .build()?;
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct On(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Status(Statuses),
    Header { name: String, test: Test },
    Body(String),
    Text(String),
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equals(String),
    Matches(String),
}

/// Statuses of responses: one such as `404`, a range such as `500..=599`, or some such as `[403, 404]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl From<u16> for Statuses {
    fn from(status: u16) -> Self {
        Self(vec![status..=status])
    }
}

impl From<RangeInclusive<u16>> for Statuses {
    fn from(range: RangeInclusive<u16>) -> Self {
        Self(vec![range])
    }
}

impl<const N: usize> From<[u16; N]> for Statuses {
    fn from(statuses: [u16; N]) -> Self {
        statuses.into_iter().collect()
    }
}

impl FromIterator<u16> for Statuses {
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Self {
        Self(statuses.into_iter().map(|status| status..=status).collect())
    }
}

impl FromIterator<RangeInclusive<u16>> for Statuses {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u16>>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl Statuses {
    fn has(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (one, other) if one == other => write!(f, "{comma}{one}")?,
                (from, to) => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

impl On {
    /// The status is one of these. Redirects are followed before any rule is asked.
    pub fn status(statuses: impl Into<Statuses>) -> Self {
        Self(vec![Condition::Status(statuses.into())])
    }

    /// The response has a header of this name.
    pub fn header(name: impl Into<String>) -> Self {
        Self(vec![Condition::Header { name: name.into(), test: Test::Present }])
    }

    /// A header of this name has this value, upper and lower case alike.
    pub fn header_equals(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(vec![Condition::Header { name: name.into(), test: Test::Equals(value.into()) }])
    }

    /// The value of a header of this name has a match of this regular expression in it.
    pub fn header_matches(name: impl Into<String>, regex: impl Into<String>) -> Self {
        Self(vec![Condition::Header { name: name.into(), test: Test::Matches(regex.into()) }])
    }

    /// The body is JSON, and this holds of it: a path that selects something in it, such as `$.errors[0]`, or a filter such as
    /// `@.status == 'ERROR'`, where `@` is the body (RFC 9535, 2.3.5).
    ///
    /// A page is looked at too, whatever its status: without a condition on the status each one is parsed once more. Of a page so
    /// large that it is landed in parts, what stands around the records is looked at; of lines and rows in parts, nothing. Of the
    /// response to an error, the first 128 KiB are. It is held as a tree for this: one of more than 1,048,576 values is an error.
    pub fn body(condition: impl Into<String>) -> Self {
        Self(vec![Condition::Body(condition.into())])
    }

    /// The body contains this text. What [`body`](Self::body) says of large ones holds here too.
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Condition::Text(text.into())])
    }

    /// Both hold.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The response is a page, whatever its status.
    pub fn success(self) -> Rule {
        self.then(Action::Success)
    }

    /// The request is tried again, as often and as soon as the [`Policy`](crate::retry::Policy) says; where the response asks for
    /// a wait, after that.
    pub fn retry(self) -> Rule {
        self.then(Action::Retry)
    }

    /// There are no records here: the listing ends as [`Ignored`](crate::model::StopReason::Ignored), which counts as complete, and
    /// other partitions go on. The bound of an incremental read does not move, so that what turns up later is read.
    pub fn ignore(self) -> Rule {
        self.then(Action::Ignore)
    }

    /// The API asks to come more slowly: all reads wait as long as the response asks for, or by back-off. Costs no attempt.
    pub fn rate_limited(self) -> Rule {
        self.then(Action::RateLimited)
    }

    /// The credentials have expired: they are renewed, and the same request is sent once more.
    pub fn refresh(self) -> Rule {
        self.then(Action::Refresh)
    }

    /// The API has forgotten the page that was asked for: the listing begins again.
    pub fn page_expired(self) -> Rule {
        self.then(Action::PageExpired)
    }

    /// The API does not keep changes back to the bound of this read.
    pub fn cursor_too_old(self) -> Rule {
        self.then(Action::CursorTooOld)
    }

    /// The read fails at once, with an error of this kind: `Config`, `Auth`, `Data`, or `Unavailable` for what another run may
    /// bring.
    pub fn fail(self, kind: ErrorKind) -> Rule {
        Rule { kind: Some(kind), ..self.then(Action::Fail) }
    }

    fn then(self, action: Action) -> Rule {
        Rule { on: self, action, kind: None, message: None }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, condition) in self.0.iter().enumerate() {
            f.write_str(if n > 0 { " and " } else { "" })?;
            match condition {
                Condition::Status(statuses) => write!(f, "status {statuses}")?,
                Condition::Header { name, test: Test::Present } => write!(f, "header {name}")?,
                Condition::Header { name, test: Test::Equals(value) } => write!(f, "header {name} equals {value:?}")?,
                Condition::Header { name, test: Test::Matches(regex) } => write!(f, "header {name} matches {regex:?}")?,
                Condition::Body(condition) => write!(f, "body {condition}")?,
                Condition::Text(text) => write!(f, "text {text:?}")?,
            }
        }
        Ok(())
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Action {
    Success,
    Retry,
    Ignore,
    RateLimited,
    Refresh,
    PageExpired,
    CursorTooOld,
    Fail,
}

/// What a response is taken for that an [`On`] holds of. The first rule that holds decides, before what its status means.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    on: On,
    action: Action,
    kind: Option<ErrorKind>,
    message: Option<Cow<'static, str>>,
}

impl Rule {
    /// Says in your own words what happened, for errors and the report.
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Sets of which kind the error is that a rule other than [`fail`](On::fail) may lead to, as when the attempts of a retry are
    /// used up.
    pub fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// For the record of the configuration.
    pub(in super::super) fn recorded(&self) -> String {
        format!("{}: {:?}", self.on, self.action)
    }

    pub(super) fn compile(&self) -> Result<Compiled> {
        let wrong = |what: &'static str| Error::config("build source", what).with("rule", &self.on);
        let conditions = self.on.0.iter().map(Check::compile).collect::<Result<Vec<_>>>()?;
        let takes_all = conditions.iter().all(|check| matches!(check, Check::Status(statuses) if statuses.has(200)));
        if takes_all && self.action != Action::Success {
            return Err(wrong("the rule holds of every page, so there would never be one")
                .with_hint("narrow it down by a header or by something in the body"));
        }
        Ok(Compiled { rule: self.clone(), conditions })
    }
}

/// A rule that can be asked.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    rule: Rule,
    conditions: Vec<Check>,
}

#[derive(Clone, Debug)]
enum Check {
    Status(Statuses),
    Present(HeaderName),
    Equals(HeaderName, String),
    Matches(HeaderName, Regex),
    Body(Predicate),
    Text(String),
}

impl Check {
    fn compile(condition: &Condition) -> Result<Self> {
        let wrong = |what| Error::config("build source", what);
        Ok(match condition {
            Condition::Status(statuses) => {
                let sound = |range: &RangeInclusive<u16>| !range.is_empty() && (100..=999).contains(range.start());
                if statuses.0.is_empty() || !statuses.0.iter().all(sound) {
                    return Err(wrong("a rule is about no status that there is").with("statuses", statuses));
                }
                Self::Status(statuses.clone())
            }
            Condition::Header { name, test } => {
                let header = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| wrong("a rule is about a header that cannot be").with("header", name))?;
                match test {
                    Test::Present => Self::Present(header),
                    Test::Equals(value) => Self::Equals(header, value.clone()),
                    Test::Matches(text) => Self::Matches(header, regex(text)?),
                }
            }
            Condition::Body(text) => Self::Body(Predicate::parse(text)?),
            Condition::Text(text) if text.is_empty() => {
                return Err(wrong("every body contains the empty text of a rule"));
            }
            Condition::Text(text) => Self::Text(text.clone()),
        })
    }

    /// `None` if only the body can tell.
    fn holds_by_head(&self, status: u16, headers: &HeaderMap) -> Option<bool> {
        let any = |name: &HeaderName, test: &dyn Fn(&str) -> bool| {
            headers.get_all(name).iter().any(|value| test(&String::from_utf8_lossy(value.as_bytes())))
        };
        Some(match self {
            Self::Status(statuses) => statuses.has(status),
            Self::Present(name) => headers.contains_key(name),
            Self::Equals(name, wanted) => any(name, &|value| value.trim().eq_ignore_ascii_case(wanted.trim())),
            Self::Matches(name, regex) => any(name, &|value| regex.is_match(value)),
            Self::Body(_) | Self::Text(_) => return None,
        })
    }
}

impl Compiled {
    pub(super) fn is_success(&self) -> bool {
        self.rule.action == Action::Success
    }

    /// `None` if only the body can tell.
    pub(super) fn holds_by_head(&self, status: u16, headers: &HeaderMap) -> Option<bool> {
        let mut open = false;
        for check in &self.conditions {
            match check.holds_by_head(status, headers) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => open = true,
            }
        }
        (!open).then_some(true)
    }

    /// # Errors
    /// If the body, which would tell, is too large for that.
    pub(super) fn holds(&self, told: &Told<'_>) -> Result<bool, TooLarge> {
        // The head first: a body may be too large for a rule that is about other responses.
        if self.holds_by_head(told.status, told.headers) == Some(false) {
            return Ok(false);
        }
        for check in &self.conditions {
            let holds = match check {
                Check::Body(predicate) => told.json()?.is_some_and(|json| predicate.holds(json)),
                Check::Text(text) => told.has_text(text),
                Check::Status(_) | Check::Present(_) | Check::Equals(..) | Check::Matches(..) => true,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Rule { on, action, kind, message } = &self.rule;
        Verdict::by_rule(*action, *kind, message.clone(), on.to_string())
    }
}

/// Reads a regular expression.
///
/// # Errors
/// `Config` if it is not one.
pub(super) fn regex(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|e| {
        Error::config("build source", "the regular expression cannot be read").with("regex", text).with_source(e)
    })
}
