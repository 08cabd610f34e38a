use super::oauth2::issued;
use super::{Exchanged, TokenAt};
use crate::error::Result;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The answer of a token endpoint or of a login is read or refused; a refusal does not show it.
pub(in super::super) fn answer(bytes: &[u8]) -> Result<()> {
    const STATUSES: &[u16] = &[200, 201, 400, 401, 403, 503];
    let (head, body) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(0));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(head) {
        headers.insert(SET_COOKIE, value.clone());
        headers.insert("x-token", value);
    }
    let status = STATUSES.get(head.len() % STATUSES.len()).copied().unwrap_or(200);
    let answer = Exchanged::said(status, headers, body);
    let mut read = issued(&answer).map(drop);
    for at in [TokenAt::body("$.token"), TokenAt::header("x-token"), TokenAt::cookie("session")] {
        read = read.or(at.of(&answer).map(drop));
    }
    if let Err(error) = &read {
        let text = String::from_utf8_lossy(body);
        let shown = text.len() > SHORT && error.to_string().contains(&*text);
        assert!(!shown, "{error}");
    }
    read
}

/// What is that short may stand in any error.
const SHORT: usize = 12;
