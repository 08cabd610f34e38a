//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::ObjectPath;
use super::uri::Place;
use crate::error::Result;

/// A place is read, or refused without a word of what it may hold.
pub(crate) fn uri(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    // Whoever puts a key into an address does not find it in a log.
    let key = "s3cr3t-k3y";
    for address in [format!("s3://{key}@{text}"), format!("az://{text}?sig={key}"), format!("{text}://u:{key}@h")] {
        if let Err(error) = Place::parse(&address) {
            assert!(!error.to_string().contains(key), "{error}");
        }
    }
    Place::parse(&text).map(drop)
}

/// A name stays below its folder, and any text becomes one segment that tells it from others.
pub(crate) fn object_path(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let folder = ObjectPath::parse("a/b")?;
    let segment = ObjectPath::encode(&text);
    let object = folder.join(&segment).expect("one segment");
    assert!(object.is_below(&folder) && object.file_name() == segment);
    assert_eq!(unescape(&ObjectPath::escape(&text)), text.as_bytes());
    let parsed = ObjectPath::parse(&text)?;
    assert_eq!(ObjectPath::parse(parsed.as_str())?, parsed);
    assert!(
        parsed.as_str().split('/').all(|part| !matches!(part, "." | "..")) && !parsed.as_str().contains(['\\', '\0'])
    );
    let below = folder.join(&text)?;
    assert!(below == folder || below.is_below(&folder));
    Ok(())
}

/// Reads percent-encoding back.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
