use super::oauth2::issued;
use super::{Auth, Exchanged, JwtBearer, TokenAt};
use crate::error::Result;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};
use serde_json::Value;

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

/// The key file of a service account, and the key in it, are read or refused; neither shows the key.
pub(in super::super) fn key_file(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    let key = said.get("private_key").and_then(Value::as_str).unwrap_or_default();
    let auth = JwtBearer::service_account(text.as_str());
    let read = auth.check();
    let shown = match &read {
        Ok(()) => format!("{auth:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    // The address is no secret, and its scheme may be shown.
    let elsewhere = said.get("token_uri").and_then(Value::as_str).is_some_and(|address| address.contains(key));
    assert!(key.len() <= SHORT || elsewhere || !shown.contains(key), "{shown}");
    read
}

/// What is that short may stand in any error.
const SHORT: usize = 12;
