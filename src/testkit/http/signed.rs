//! The other side of signatures, written from their specifications and not from what signs.

use super::Request;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Write;

/// Of RFC 7515, 7.1, with the algorithm HS256.
pub(super) fn jwt_is_right(token: &str, key: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let part = |text: &str| serde_json::from_slice::<serde_json::Value>(&decoded(text)).unwrap_or_default();
    let is_ours =
        signed.split_once('.').is_some_and(|(head, body)| part(head)["alg"] == "HS256" && part(body)["exp"].is_u64());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    is_ours && hmac::verify(&key, signed.as_bytes(), &decoded(signature)).is_ok()
}

/// Of [`Access::Hmac`](super::Access::Hmac).
pub(super) fn hmac_is_right(request: &Request, key: &str) -> bool {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let head = [header("x-timestamp"), request.method.clone(), request.target.clone()].concat();
    header("x-signature") == hex(&sign(key.as_bytes(), &[head.as_bytes(), &request.body].concat()))
}

/// Of AWS Signature Version 4. Paths must have nothing that would be encoded.
pub(super) fn sigv4_is_right(request: &Request, id: &str, key: &str) -> bool {
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let date = header("x-amz-date");
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{REGION}/{SERVICE}/aws4_request");
    let authorization = header("authorization");
    let names =
        authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let mut query: Vec<&str> = request.target.split_once('?').map_or("", |(_, query)| query).split('&').collect();
    query.sort_unstable();
    let (path, query, body) = (request.path(), query.join("&"), hash(&request.body));
    let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{body}", request.method);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let first = sign(format!("AWS4{key}").as_bytes(), day.as_bytes());
    let key = [REGION, SERVICE, "aws4_request"].iter().fold(first, |key, part| sign(&key, part.as_bytes()));
    let signature = hex(&sign(&key, to_sign.as_bytes()));
    let right = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    // Both must be signed, or they could be changed.
    authorization == right && ["host", "x-amz-date"].iter().all(|name| names.split(';').any(|n| n == *name))
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

pub(super) const REGION: &str = "eu-central-1";
pub(super) const SERVICE: &str = "execute-api";
