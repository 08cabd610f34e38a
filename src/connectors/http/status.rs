//! What a status means, and what an unusable response is told as.

use super::archive::Files;
use super::auth::Signature;
use super::body::Body;
use super::client::{Reply, in_time};
use super::limits::Limits;
use super::rules::{Action, ByHead, Rules, Told, Verdict};
use crate::env::Env;
use crate::error::{Error, Status};
use crate::model::Timestamp;
use crate::records::RecordsPath;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::IgnoredAny;
use std::time::Duration;

/// Why an attempt did not bring a page.
#[derive(Debug)]
pub(super) enum Fault {
    /// Trying again may help if the error is transient.
    Failed(Error),
    /// The API asks to come more slowly, after this time if it says one. It may have acted, if it does not refuse for the rate.
    RateLimited { demanded: Option<Duration>, may_have_acted: bool, error: Error },
    /// The API says that nothing has changed since it was read last.
    NotModified,
    /// The API refuses this very request.
    Refused(Error),
    /// The API refuses the credentials: new ones may help.
    Unauthorized(Error),
    /// The API has forgotten the page.
    PageExpired(Error),
    /// The API does not keep changes back to the bound of the read.
    CursorTooOld(Error),
    /// A rule says that there are no records here, for this reason.
    Ignored(String),
    /// The budget has room after this time only, and that is longer than the read would wait.
    PutOff { wait: Duration },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether the response may hold a page, and whether that hangs on its body: then [`judge`] is to be asked.
///
/// # Errors
/// The fault that its head tells of, with the beginning of its body. `request` names it.
pub(super) async fn check(
    env: &Env,
    rules: &Rules,
    request: &str,
    reply: Reply,
    limits: &Limits,
) -> Result<(Reply, bool), Fault> {
    let status = reply.response.status().as_u16();
    let verdict = match rules.by_head(status, reply.response.headers()) {
        ByHead::AsksForBody { may_be_page: true } => return Ok((reply, true)),
        ByHead::Decided(verdict) if verdict.action == Action::Success => return Ok((reply, false)),
        ByHead::Decided(verdict) => Some(verdict),
        ByHead::AsksForBody { .. } => None,
    };
    let headers = reply.response.headers().clone();
    let (begin, whole) = begin(env, reply.response, limits).await.unwrap_or_default();
    let told = Told::new(status, &headers, &begin);
    let verdict = verdict.unwrap_or_else(|| rules.with_body(&told));
    let demanded = rules.wait(&told, env.now());
    Err(fault(verdict, demanded, status, request, excerpt(&reply.signature, &begin, whole)))
}

/// What a body says that a rule asked for, if that is no page; and the wait that it asks for.
pub(super) fn judge(rules: &Rules, told: &Told<'_>, now: Timestamp) -> Option<(Verdict, Option<Duration>)> {
    let verdict = rules.with_body(told);
    (verdict.action != Action::Success).then(|| (verdict, rules.wait(told, now)))
}

/// What to do about a response that is no page.
pub(super) fn fault(
    verdict: Verdict,
    demanded: Option<Duration>,
    status: u16,
    request: &str,
    body: Option<String>,
) -> Fault {
    let (action, is_refusal) = (verdict.action, verdict.is_refusal());
    if action == Action::Ignore {
        return Fault::Ignored(verdict.why_ignored(status));
    }
    let error = verdict.error(status, request, body);
    match action {
        Action::RateLimited => Fault::RateLimited { demanded, may_have_acted: false, error },
        // It says when it will be better: that costs no attempt.
        Action::Retry if demanded.is_some() => Fault::RateLimited { demanded, may_have_acted: true, error },
        Action::Refresh => Fault::Unauthorized(error),
        Action::PageExpired => Fault::PageExpired(error),
        Action::CursorTooOld => Fault::CursorTooOld(error),
        _ if is_refusal => Fault::Refused(error),
        _ => Fault::Failed(error),
    }
}

/// Whether the content type fits the format of the records. A page without a type, or with a general one, is looked at.
pub(super) fn check_type(headers: &HeaderMap, records: &RecordsPath) -> Result<(), Error> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let value = value.to_str().unwrap_or("not text").to_ascii_lowercase();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let names: &[&str] = match records.format_name() {
        "CSV" => &["csv", "comma-separated-values", "tab-separated-values", "vnd.ms-excel"],
        "XML" => &["xml"],
        _ => &["json", "text/javascript", "application/javascript"],
    };
    let is_general = matches!(essence, "" | "text/plain" | "application/octet-stream" | "binary/octet-stream")
        || matches!(
            essence,
            "application/gzip" | "application/x-gzip" | "application/zip" | "application/x-zip-compressed"
        );
    // Many a server calls its JSON a page for people: a document shows what it is, as lines and rows do not.
    let may_be_called_html = records.format_name() == "JSON" && !records.is_ndjson() && essence == "text/html";
    if is_general || may_be_called_html || names.iter().any(|name| essence.contains(name)) {
        return Ok(());
    }
    let hint =
        if essence == "text/html" { LOOKS_LIKE } else { "say with .records(…) in what the API writes its records" };
    Err(Error::data("read page", format!("the response is not {}", records.format_name()))
        .with("content_type", quoted(essence))
        .with_hint(hint))
}

/// A body that begins like a document for people, where it should be something else.
pub(super) fn check_begin(body: &[u8], records: &RecordsPath) -> Result<(), Error> {
    let begin = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start();
    let is_html = |begin: &[u8]| {
        let begins = |tag: &str| begin.get(..tag.len()).is_some_and(|b| b.eq_ignore_ascii_case(tag.as_bytes()));
        begins("<html") || begins("<!doctype")
    };
    let is_wrong = match records.format_name() {
        "JSON" => begin.first() == Some(&b'<'),
        // An error in JSON would be taken for a line of names without rows.
        "CSV" if !records.may_follow_each_other() && matches!(begin, [b'{' | b'[', ..]) => {
            return Err(Error::data("read page", "the response is JSON, not CSV")
                .with_hint("an answer about an error looks like this: a rule can tell what it means"));
        }
        _ => is_html(begin),
    };
    if is_wrong {
        let what = format!("the response is HTML or XML, not {}", records.format_name());
        return Err(Error::data("read page", what).with_hint(LOOKS_LIKE));
    }
    Ok(())
}

/// Lines whose first one is no text are no lines.
pub(super) fn check_first_line(lines: &[u8]) -> Result<(), Error> {
    let first = lines.split(|b| *b == b'\n').next().unwrap_or_default();
    match std::str::from_utf8(first) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::data("read page", "the response is not UTF-8").with("at", e.valid_up_to())),
    }
}

/// A last line that breaks off in the middle of its record: the rest of the response is missing, whatever its length says.
pub(super) fn check_last_line(lines: &[u8]) -> Result<(), Error> {
    let last = lines.rsplit(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    match serde_json::from_slice::<IgnoredAny>(last) {
        Err(e) if e.is_eof() && !last.is_empty() => {
            Err(Error::data("read page", "the last line breaks off").with_status(Status::Transient))
        }
        _ => Ok(()),
    }
}

/// Nothing came where a page should be: that says nothing about records.
pub(super) fn empty() -> Error {
    Error::data("read page", "the response has no body").with_status(Status::Transient)
}

/// The beginning of the body, and whether it is all of it. Reading it also lets the connection be used again.
async fn begin(env: &Env, response: Response, limits: &Limits) -> Option<(Vec<u8>, bool)> {
    let read = async {
        let mut begin = Vec::new();
        let mut body = Body::open(response, limits, READ as u64, &Files::default()).await.ok()?;
        while begin.len() < READ {
            match body.piece().await {
                Ok(Some(piece)) => begin.extend_from_slice(&piece),
                Ok(None) => return Some((begin, true)),
                Err(_) => break,
            }
        }
        Some((begin, false))
    };
    in_time(env, limits.idle, "read body", read).await.ok()?
}

/// The beginning of the body, without secrets and control characters.
pub(super) fn excerpt(signature: &Signature, begin: &[u8], whole: bool) -> Option<String> {
    let read = begin.get(..READ).unwrap_or(begin);
    // What was cut off may be the rest of a secret.
    let cut = if whole && read.len() == begin.len() { 0 } else { signature.longest() * LONGEST_ESCAPE };
    let begin = read.get(..read.len().saturating_sub(cut)).unwrap_or_default();
    let text: String = String::from_utf8_lossy(begin).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text = signature.redacted(text.trim())?;
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// `text`, which a server has written, for an error: whole or not at all, since a secret that is cut is not found any more.
pub(super) fn quoted(text: &str) -> &str {
    if text.len() <= LONGEST_QUOTED { text } else { "too long to be shown" }
}

const LOOKS_LIKE: &str = "a login page or a proxy's answer looks like this: check the URL and the credentials";
/// Bytes of the body of an error that are read.
const READ: usize = 128 << 10;
/// Bytes that one byte takes as `\u002B`.
const LONGEST_ESCAPE: usize = 6;
/// Bytes of it that are shown.
pub(super) const SHOWN: usize = 509;
/// Bytes of a word that are shown.
const LONGEST_QUOTED: usize = 60;
