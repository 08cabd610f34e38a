//! What a token endpoint answers (RFC 6749, 5).

use crate::connectors::http::auth::Exchanged;
use crate::connectors::http::auth::tokens::Issued;
use crate::error::{Error, ErrorKind, Result, Status};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

#[derive(Deserialize)]
struct Answer {
    access_token: Option<SecretText>,
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Value,
    refresh_token: Option<SecretText>,
    error: Option<String>,
}

/// Text that goes into a [`SecretString`] as soon as it is read.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// The access token in `answer`, and the refresh token that takes the place of the last one.
///
/// # Errors
/// `Auth` if the endpoint refuses the client or the grant; `Config` if it refuses the request; `Data` for what is no answer of a
/// token endpoint; `Unavailable` if it says so.
pub(in super::super) fn issued(answer: &Exchanged) -> Result<(Issued, Option<SecretString>)> {
    let parsed: Result<Answer, _> = serde_json::from_slice(answer.body());
    let said = parsed.as_ref().ok().and_then(|answer| answer.error.as_deref());
    // Some answer with 200 and an error.
    if said.is_some() || !(200..300).contains(&answer.status()) {
        return Err(refused(answer, said));
    }
    let parsed = parsed.map_err(|_| answer.wrong(ErrorKind::Data, "the answer of the token endpoint is not one"))?;
    let other = parsed.token_type.filter(|kind| ["mac", "dpop", "pop"].contains(&kind.to_ascii_lowercase().as_str()));
    if let Some(kind) = other {
        return Err(answer.wrong(ErrorKind::Config, "the token is not a bearer token").with("token_type", kind));
    }
    let token = parsed.access_token.ok_or_else(|| answer.wrong(ErrorKind::Data, "the answer has no access token"))?;
    let lifetime = match &parsed.expires_in {
        Value::Number(seconds) => seconds.as_f64(),
        Value::String(seconds) => seconds.trim().parse().ok(),
        _ => None,
    };
    let lifetime = lifetime.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    Ok((Issued { token: token.0, lifetime }, parsed.refresh_token.map(|token| token.0)))
}

/// What an error of RFC 6749, 5.2 asks for. `said` is shown only if it is one of those that are known.
fn refused(answer: &Exchanged, said: Option<&str>) -> Error {
    let known = said.and_then(|said| KNOWN.iter().find(|(code, _)| *code == said));
    let Some((code, kind)) = known else {
        let kind = match answer.status() {
            401 | 403 | 200..=299 => ErrorKind::Auth,
            _ => ErrorKind::Config,
        };
        return answer.wrong(kind, "the token endpoint refuses the request");
    };
    let error = answer.wrong(*kind, "the token endpoint refuses the request").with("error", code);
    match *code {
        "invalid_grant" => error.with_hint("the refresh token or the assertion is not valid any more: consent again"),
        _ if *kind == ErrorKind::Unavailable => error.with_status(Status::Exhausted),
        _ => error,
    }
}

const KNOWN: [(&str, ErrorKind); 9] = [
    ("invalid_grant", ErrorKind::Auth),
    ("invalid_client", ErrorKind::Auth),
    ("unauthorized_client", ErrorKind::Auth),
    ("access_denied", ErrorKind::Auth),
    ("invalid_scope", ErrorKind::Config),
    ("invalid_request", ErrorKind::Config),
    ("unsupported_grant_type", ErrorKind::Config),
    ("temporarily_unavailable", ErrorKind::Unavailable),
    ("server_error", ErrorKind::Unavailable),
];
