use crate::error::{Error, Result};
use std::fmt;

/// A path into XML: names of elements from the root on, each perhaps with the value that an attribute must have, such as
/// `/feed/link[@rel='next']/@href`. With an attribute at the end it names that, else the element.
///
/// Names are compared as they are written, prefix included.
#[derive(Clone, PartialEq, Eq)]
pub struct ElementPath {
    text: String,
    pub(crate) steps: Vec<ElementStep>,
    pub(crate) attribute: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElementStep {
    pub(crate) name: String,
    /// An attribute and its value.
    pub(crate) with: Option<(String, String)>,
}

impl ElementPath {
    /// Reads a path.
    ///
    /// # Errors
    /// `Config` if it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config("read path", "not a path into XML")
                .with("path", text)
                .with_hint("it looks like /feed/entry, or /feed/link[@rel='next']/@href for a value")
        };
        let (mut steps, mut attribute) = (Vec::new(), None);
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.strip_prefix('/').ok_or_else(wrong)?;
            if let Some(name) = rest.strip_prefix('@') {
                attribute = Some(name.to_owned()).filter(|name| is_name(name));
                if attribute.is_none() || steps.is_empty() {
                    return Err(wrong());
                }
                break;
            }
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Self { text: text.to_owned(), steps, attribute }) }
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn step(text: &str) -> Option<(ElementStep, &str)> {
    let end = text.find(['/', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !is_name(name) {
        return None;
    }
    let Some(condition) = rest.strip_prefix("[@") else {
        return (!rest.starts_with('[')).then(|| (ElementStep { name: name.to_owned(), with: None }, rest));
    };
    let (attribute, rest) = condition.split_once('=')?;
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (value, rest) = rest.get(1..)?.split_once(quote)?;
    let rest = rest.strip_prefix(']')?;
    let with = Some((attribute.to_owned(), value.to_owned()));
    is_name(attribute).then(|| (ElementStep { name: name.to_owned(), with }, rest))
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

impl fmt::Debug for ElementPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ElementPath").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_elements_conditions_and_an_attribute() {
        let path = ElementPath::parse("/feed/a:link[@rel='next']/@xml:href").expect("a path");
        let names: Vec<_> = path.steps.iter().map(|s| (s.name.as_str(), s.with.is_some())).collect();
        assert_eq!((names, path.attribute.as_deref()), (vec![("feed", false), ("a:link", true)], Some("xml:href")));
        assert_eq!(ElementPath::parse("/a[@b=\"x/y]\"]/c").expect("a path").steps.len(), 2);
        for text in
            ["", "/", "feed", "/feed/", "//a", "/a[1]", "/a[@b]", "/a[@b=c]", "/a/@", "/@a", "/a/@b/c", "/a b", "/*"]
        {
            assert!(ElementPath::parse(text).is_err(), "{text}");
        }
    }
}
