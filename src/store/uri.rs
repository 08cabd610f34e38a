use crate::error::{Error, Result};
use std::path::PathBuf;

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Memory,
}

impl Place {
    pub(super) fn parse(uri: &str) -> Result<Self> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return match uri {
                "" => Err(refused("the place is empty", None)),
                path => Ok(Self::Folder(path.into())),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.is_empty() || rest == "/" => Ok(Self::Memory),
            "memory" => Err(refused("`memory://` takes no path", None)),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                let path = if path.starts_with('/') { decode(path) } else { None };
                // A query would be read as part of the name, so it is refused as well.
                let path = path.filter(|_| !rest.contains(['?', '#']));
                path.map(Self::Folder).ok_or_else(|| refused("not a `file:///path`", Some(scheme)))
            }
            // Not the whole text: it may hold a key.
            _ => Err(refused("no store for this scheme", Some(scheme))),
        }
    }
}

fn refused(message: &'static str, scheme: Option<&str>) -> Error {
    let error = Error::config("open store", message).with_hint(
        "give the path of a folder, `file:///path` or `memory://`; for s3, az and gs build a store of the crate `object_store` \
         and pass it to `Store::from_object_store` (feature `object-store`)",
    );
    match scheme {
        Some(scheme) => error.with("scheme", scheme.escape_debug()),
        None => error,
    }
}

fn decode(path: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).filter(|(hex, _)| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn reads_paths_and_file_uris() {
        let cases = [
            ("data/raw", "data/raw"),
            ("/srv/a b%20c", "/srv/a b%20c"),
            ("file:///srv/a%20b/c%3D1", "/srv/a b/c=1"),
            ("FILE://localhost/srv", "/srv"),
        ];
        for (uri, folder) in cases {
            assert_eq!(Place::parse(uri).expect(uri), Place::Folder(folder.into()), "{uri}");
        }
        assert_eq!(Place::parse("memory://").expect("memory"), Place::Memory);
    }

    #[test]
    fn refuses_other_places_and_says_which_there_are() {
        let bad = [
            "",
            "s3://key:secret@bucket/x",
            "file://host/x",
            "file://x",
            "file:///a%2",
            "file:///a%zz",
            "file:///a%+1",
            "file:///a?b",
            "memory://x",
            "http://x",
        ];
        for uri in bad {
            let error = Place::parse(uri).expect_err(uri);
            assert_eq!(error.kind(), ErrorKind::Config, "{uri}");
            let text = error.to_string();
            assert!(
                text.contains("memory://") && text.contains("from_object_store") && !text.contains("secret"),
                "{text}"
            );
        }
    }
}
