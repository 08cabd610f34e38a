use super::request::Request;
use crate::error::Result;
use reqwest::header::{ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

/// What tells a response from another one of the same request (RFC 9110, section 8.8), as the API wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Validators {
    /// A hash of the request: other requests have other responses.
    pub(super) plan: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

impl Validators {
    /// Those of a response, if it has any.
    pub(super) fn of(headers: &HeaderMap, plan: u64) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(ETAG), text(LAST_MODIFIED));
        (etag.is_some() || last_modified.is_some()).then_some(Self { plan, etag, last_modified })
    }

    /// Asks for what has changed since. Where there is a tag the server does not look at the time (section 13.1.3).
    pub(super) fn put_on(&self, request: &mut Request) -> Result<()> {
        if let Some(etag) = &self.etag {
            request.set_header("if-none-match", etag)?;
        }
        if let Some(time) = &self.last_modified {
            request.set_header("if-modified-since", time)?;
        }
        Ok(())
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.etag.iter().chain(&self.last_modified).map(String::as_str)
    }
}
