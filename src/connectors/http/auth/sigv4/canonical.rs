//! The one way of writing a request that is signed.

use std::fmt::Write;

/// The canonical request, and the names of its headers.
pub(super) fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &mut [(&str, String)],
    payload: &str,
) -> (String, String) {
    headers.sort_unstable_by_key(|(name, _)| *name);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = headers.iter().fold(String::new(), |mut text, (name, value)| {
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(text, "{name}:{value}").expect("a string takes any text");
        text
    });
    (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"), names)
}

/// `path` is percent-encoded. It is encoded once more, but for S3.
pub(super) fn canonical_path(path: &str, is_s3: bool) -> String {
    if is_s3 {
        let segments = path.split('/').map(|segment| encode(&decode(segment)));
        return segments.collect::<Vec<_>>().join("/");
    }
    // Empty segments do not count, but the last one does.
    let ends = if path.len() > 1 && path.ends_with('/') { "/" } else { "" };
    let segments: Vec<_> =
        path.split('/').filter(|segment| !segment.is_empty()).map(|s| encode(s.as_bytes())).collect();
    if segments.is_empty() { "/".to_owned() } else { format!("/{}{ends}", segments.join("/")) }
}

/// The parameters in order, each percent-encoded.
pub(super) fn canonical_query(query: &str) -> String {
    // Bytes need not be UTF-8.
    let text = |part: &str| encode(&decode(&part.replace('+', " ")));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but the unreserved characters of RFC 3986, 2.3.
fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes any text");
        }
        text
    })
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = match (first, after) {
            (b'%', [a, b, ..]) => std::str::from_utf8(&[*a, *b]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}
