use crate::error::{Error, Result};
use std::fmt;

/// The name of an object: segments joined by `/`, confined under the root of its store.
///
/// Segments have 1 to 255 bytes of `A-Z a-z 0-9 _ - . = % ,` and are neither `.` nor `..`. Values that come from data go through
/// [`ObjectPath::encode`] first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(String);

impl ObjectPath {
    /// The root.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// # Errors
    /// `Config` if a segment is not allowed.
    pub fn parse(path: &str) -> Result<Self> {
        let trimmed = path.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::root());
        }
        for segment in trimmed.split('/') {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.=%,".contains(&b);
            let dots = segment == "." || segment == "..";
            if segment.is_empty() || segment.len() > 255 || dots || !segment.bytes().all(fits) {
                return Err(Error::config("name object", "a name's segments have 1 to 255 of A-Z a-z 0-9 _ - . = % ,")
                    .with("name", path.escape_debug()));
            }
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The object or folder `child` below this one.
    ///
    /// # Errors
    /// `Config` if a segment is not allowed.
    pub fn join(&self, child: &str) -> Result<Self> {
        let child = Self::parse(child)?;
        Ok(match (self.0.is_empty(), child.0.is_empty()) {
            (true, _) => child,
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, child.0)),
        })
    }

    /// Percent-encodes all bytes but `A-Z a-z 0-9 _ -`, which gives the text back when it is decoded. It may be empty, or
    /// longer than a segment may be.
    pub fn escape(text: &str) -> String {
        use std::fmt::Write;
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
                out.push(char::from(byte));
            } else {
                write!(out, "%{byte:02X}").expect("a string takes any text");
            }
        }
        out
    }

    /// Turns any text into one segment: [escaped](Self::escape); over 128 bytes it is cut, and a hash keeps it distinct. Never
    /// empty.
    pub fn encode(text: &str) -> String {
        use std::fmt::Write;
        let mut out = Self::escape(text);
        if out.is_empty() {
            out.push('%');
        }
        if out.len() > 128 {
            out.truncate(96);
            write!(out, "-{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes())).expect("a string takes any text");
        }
        out
    }

    /// The name as text, without a leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies in the folder `folder`, at any depth. Everything but the root lies in the root.
    pub fn is_below(&self, folder: &Self) -> bool {
        if folder.0.is_empty() {
            return !self.0.is_empty();
        }
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_leave_the_root() {
        for bad in ["..", "a/../b", "a//b", "a/./b", "a\0b", "a\\b", "ä", "a b"] {
            assert!(ObjectPath::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ObjectPath::parse("/a/b/").expect("fine").join("c=1/d.x").expect("fine").as_str(), "a/b/c=1/d.x");
    }

    #[test]
    fn lies_in_its_folders_only() {
        let path = |text| ObjectPath::parse(text).expect("a name");
        assert!(path("a/b/c").is_below(&path("a")) && path("a/b/c").is_below(&path("a/b")));
        assert!(!path("a/b").is_below(&path("a/b")) && !path("ab/c").is_below(&path("a")));
        assert!(path("a").is_below(&ObjectPath::root()) && !ObjectPath::root().is_below(&ObjectPath::root()));
    }

    #[test]
    fn encodes_any_text_into_one_distinct_segment() {
        let long = "x".repeat(2_000);
        let texts = ["", "%", ".", "..", "../../etc/passwd", "a/b", "ä", "\0", "CON", &long, &format!("{long}y")];
        let mut seen = std::collections::HashSet::new();
        for text in texts {
            let segment = ObjectPath::encode(text);
            assert!(ObjectPath::parse(&segment).is_ok_and(|p| p.as_str() == segment), "{text:?} -> {segment}");
            assert!(seen.insert(segment), "{text:?}");
        }
    }
}
