use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use url::form_urlencoded;

/// Text with places for values of a partition: `{name}`. Other braces are ordinary text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(Piece::Value(name.to_owned()));
                    rest = after;
                }
                None => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Self(pieces)
    }

    /// The names of its places.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .filter_map(|piece| match piece {
                Piece::Value(name) => Some(name.as_str()),
                Piece::Text(_) => None,
            })
            .collect()
    }

    /// The text with `values` in their places; `encode` makes each fit for where the text goes.
    pub(super) fn fill(&self, values: &BTreeMap<String, String>, encode: fn(&str) -> String) -> Result<String> {
        self.0.iter().try_fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(name) => {
                    let value = values.get(name).ok_or_else(|| {
                        Error::config("make request", "the partition has no value for a place of the request")
                            .with("place", name)
                    })?;
                    text.push_str(&encode(value));
                }
            }
            Ok(text)
        })
    }
}

/// Whether a value has climbed in the path of the URL `filled`, or has left a segment of it out: it names something else then.
/// `sample` is the same with harmless values.
pub(super) fn changes_path(filled: &str, sample: &str) -> bool {
    let segments = |url: &str| -> Vec<String> {
        url.split(['?', '#']).next().unwrap_or_default().split('/').map(str::to_owned).collect()
    };
    let is_odd = |segment: &str| matches!(segment, "" | "%2E" | "%2E%2E");
    segments(filled).iter().zip(&segments(sample)).any(|(filled, sample)| is_odd(filled) && !is_odd(sample))
}

/// A value as one segment of a path: it never adds segments of its own.
pub(super) fn path_segment(value: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20");
    // Dots alone climb in the path even so: `changes_path` knows them by this.
    if encoded.bytes().all(|b| b == b'.') { encoded.replace('.', "%2E") } else { encoded }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_places_and_leaves_other_braces_alone() {
        let template = Template::parse(r#"a{x}/{"k":{y}}{}{ z }"#);
        assert_eq!(template.names(), BTreeSet::from(["x", "y"]));
        let values = BTreeMap::from([("x".to_owned(), "1 2".to_owned()), ("y".to_owned(), "é/..".to_owned())]);
        assert_eq!(template.fill(&values, str::to_owned).expect("filled"), r#"a1 2/{"k":é/..}{}{ z }"#);
        assert!(template.fill(&BTreeMap::new(), str::to_owned).is_err());
    }

    #[test]
    fn a_value_stays_inside_of_its_path_segment() {
        assert_eq!(path_segment("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
        let changes = |template: &str, value: &str| {
            let template = Template::parse(template);
            let fill = |value: &str| {
                let values = BTreeMap::from([("x".to_owned(), value.to_owned())]);
                template.fill(&values, path_segment).expect("filled")
            };
            changes_path(&fill(value), &fill("x"))
        };
        for value in ["", ".", ".."] {
            assert!(changes("http://h/a/{x}/b", value) && changes("http://h/a/{x}", value), "{value}");
            assert!(!changes("http://h/a/v{x}", value) && !changes("http://h//a?b=/{x}", value), "{value}");
        }
        for value in ["...", "a", "%2E", " ", "/"] {
            assert!(!changes("http://h/a/{x}/b", value), "{value}");
        }
    }
}
