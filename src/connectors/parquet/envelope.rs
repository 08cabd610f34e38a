//! What the objects of a dataset's log have in common: a format, its version, a checksum.

use crate::columnar::files::checksum;
use crate::error::{Error, Result};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Known {
    format: String,
    version: u32,
}

/// `{"format":…,"version":1,"crc32c":…,"<field>":<content>}`.
pub(super) fn encode(format: &str, field: &str, content: &impl Serialize) -> Result<Bytes> {
    let failed = |e| Error::bug("write dataset log", "an object does not serialise").with_source(e);
    let text = serde_json::to_string(content).map_err(failed)?;
    let crc32c = checksum(text.as_bytes());
    let mut bytes = format!(r#"{{"format":"{format}","version":{VERSION},"crc32c":"{crc32c}","{field}":"#).into_bytes();
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'}');
    Ok(bytes.into())
}

/// The content, if the checksum fits.
pub(super) fn decode<T: DeserializeOwned>(format: &str, field: &str, bytes: &[u8]) -> Result<T> {
    let damaged = |message: &'static str| Error::corrupt("read dataset log", message).with("format", format);
    let unreadable = |e| damaged("not such an object").with_source(e);
    let known: Known = serde_json::from_slice(bytes).map_err(unreadable)?;
    if known.format != format {
        return Err(damaged("not such an object").with("has", known.format.escape_debug()));
    }
    if known.version != VERSION {
        return Err(Error::config("read dataset log", "written in a format that this version does not know")
            .with("format", format)
            .with("version", known.version)
            .with_hint("use a newer version of landfall"));
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let (Some(content), Some(crc32c)) = (fields.get(field), fields.get("crc32c")) else {
        return Err(damaged("a field is missing"));
    };
    let crc32c: String = serde_json::from_str(crc32c.get()).map_err(unreadable)?;
    if checksum(content.get().as_bytes()) != crc32c {
        return Err(damaged("the checksum does not fit"));
    }
    serde_json::from_str(content.get()).map_err(unreadable)
}
