//! What a status means, and what an unusable response is told as.

use super::body::Body;
use super::client::{Reply, in_time};
use super::limits::Limits;
use super::retry_after;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Status};
use crate::records::RecordsPath;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// Why an attempt did not bring a page.
#[derive(Debug)]
pub(super) enum Fault {
    /// Trying again may help if the error is transient.
    Failed(Error),
    /// The API asks to come more slowly, after this time if it says one.
    RateLimited { demanded: Option<Duration>, error: Error },
    /// The API refuses this very request.
    Refused(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether the response may hold a page.
///
/// # Errors
/// The fault that its status tells of, with the beginning of its body.
/// `request` names it.
pub(super) async fn check(env: &Env, request: &str, reply: Reply, limits: &Limits) -> Result<Reply, Fault> {
    let status = reply.response.status().as_u16();
    if matches!(status, 200 | 203) {
        return Ok(reply);
    }
    let demanded = demanded(env, reply.response.headers());
    let waits = status == 429 || (status == 503 && demanded.is_some());
    let (kind, what) = match status {
        429 => (ErrorKind::Unavailable, "the API refuses so many requests"),
        401..=403 => (ErrorKind::Auth, "the API refuses the credentials"),
        501 | 505 => (ErrorKind::Config, "the API cannot do this"),
        408 | 425 | 500..=599 => (ErrorKind::Unavailable, "the API fails"),
        400..=499 => (ErrorKind::Config, "the API refuses the request"),
        // Never taken for an empty page: nothing says that the listing ends here.
        _ => (ErrorKind::Data, "a status without a page"),
    };
    let mut error = Error::new(kind, "read page", what).with("status", status).with("request", request);
    if let Some(excerpt) = excerpt(env, reply, limits).await {
        error = error.with("body", excerpt);
    }
    Err(match kind {
        _ if waits => Fault::RateLimited { demanded, error },
        ErrorKind::Config => Fault::Refused(error),
        _ => Fault::Failed(error),
    })
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
        || matches!(essence, "application/gzip" | "application/x-gzip" | "application/zip" | "application/x-zip-compressed");
    if is_general || names.iter().any(|name| essence.contains(name)) {
        return Ok(());
    }
    let essence: String = essence.chars().take(60).collect();
    Err(Error::data("read page", format!("the response is not {}", records.format_name()))
        .with("content_type", essence)
        .with_hint("a login page or a proxy's answer looks like this: check the URL and the credentials"))
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
        _ => is_html(begin),
    };
    if is_wrong {
        let what = format!("the response is HTML or XML, not {}", records.format_name());
        return Err(Error::data("read page", what)
            .with_hint("a login page or a proxy's answer looks like this: check the URL and the credentials"));
    }
    Ok(())
}

/// Nothing came where a page should be: that says nothing about records.
pub(super) fn empty() -> Error {
    Error::data("read page", "the response has no body").with_status(Status::Transient)
}

fn demanded(env: &Env, headers: &HeaderMap) -> Option<Duration> {
    retry_after::parse(headers.get(RETRY_AFTER)?.to_str().ok()?, env.now())
}

/// The beginning of the body, without secrets and control characters. Reading it also lets the connection be used again.
async fn excerpt(env: &Env, reply: Reply, limits: &Limits) -> Option<String> {
    let signature = reply.signature;
    let read = async {
        let mut begin = Vec::new();
        let mut body = Body::open(reply.response, limits, READ as u64).await.ok()?;
        while begin.len() < READ {
            match body.piece().await {
                Ok(Some(piece)) => begin.extend_from_slice(&piece),
                Ok(None) => return Some(begin),
                Err(_) => break,
            }
        }
        // What was cut off may be the rest of a secret.
        begin.truncate(begin.len().saturating_sub(signature.longest() * LONGEST_ESCAPE));
        Some(begin)
    };
    let begin = in_time(env, limits.idle, "read body", read).await.ok()??;
    let text: String = String::from_utf8_lossy(&begin).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text = signature.redacted(text.trim())?;
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// Bytes of the body of an error that are read.
const READ: usize = 128 << 10;
/// Bytes that one byte takes as `\u002B`.
const LONGEST_ESCAPE: usize = 6;
/// Bytes of it that are shown.
const SHOWN: usize = 509;
