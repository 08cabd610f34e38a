use super::Request;
use crate::connectors::http::incremental::Decimal;
use crate::connectors::http::request::Content;
use crate::connectors::http::tree;
use crate::error::{Error, Result};
use reqwest::header::HeaderName;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// Where a value stands in a response. Text is a path of its body: `"$.meta.total"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Place {
    /// At this RFC 9535 path of names and indices in the body.
    Body(String),
    /// In the header of this name.
    Header(String),
}

impl Place {
    /// In the header `name`, such as `X-Total-Count`.
    pub fn header(name: impl Into<String>) -> Self {
        Self::Header(name.into())
    }

    /// Whether there can be such a place: a header of a name that none can have is never there, which looks like an end.
    ///
    /// # Errors
    /// `Config` if not.
    pub(in super::super) fn check(&self) -> Result<()> {
        match self {
            Self::Header(name) => check_header(name),
            Self::Body(_) => Ok(()),
        }
    }

    /// What to call it in errors.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Body(name) | Self::Header(name) => name,
        }
    }
}

impl<T: Into<String>> From<T> for Place {
    fn from(path: T) -> Self {
        Self::Body(path.into())
    }
}

/// Whether all numbers of `json` can be held without change. They may be written in another way, such as `1.5E10`.
fn is_held(json: &str) -> bool {
    let all =
        |held: serde_json::Result<Vec<&RawValue>>| held.is_ok_and(|held| held.iter().all(|raw| is_held(raw.get())));
    match json.as_bytes() {
        [b'[', ..] => all(serde_json::from_str(json)),
        [b'{', ..] => {
            let fields: serde_json::Result<BTreeMap<String, &RawValue>> = serde_json::from_str(json);
            all(fields.map(|fields| fields.into_values().collect()))
        }
        [b'-' | b'0'..=b'9', ..] => {
            let held = serde_json::from_str(json).map(|number: Number| number.to_string());
            held.is_ok_and(|held| Decimal::parse(json).is_some_and(|value| Some(value) == Decimal::parse(&held)))
        }
        _ => true,
    }
}

fn check_header(name: &str) -> Result<()> {
    HeaderName::from_bytes(name.as_bytes())
        .map(drop)
        .map_err(|_| Error::config("build source", "this cannot be the name of a header").with("header", name))
}

/// Where a value goes in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// Into the parameter of this name of the query.
    Query(String),
    /// Into the header of this name.
    Header(String),
    /// Into the body: a place such as `$.page.after` of JSON, or the field of this name of a form.
    Body(String),
}

impl Target {
    /// Its name or path.
    pub fn name(&self) -> &str {
        match self {
            Self::Query(name) | Self::Header(name) | Self::Body(name) => name,
        }
    }

    /// Whether a request with this `content` has such a place.
    ///
    /// # Errors
    /// `Config` if not.
    pub(in super::super) fn check(&self, content: &Content) -> Result<()> {
        match self {
            Self::Query(_) => Ok(()),
            Self::Header(name) => check_header(name),
            Self::Body(path) => content.clone().set(path, Value::Null),
        }
    }

    /// A target of the same kind.
    pub(super) fn beside(&self, name: String) -> Self {
        match self {
            Self::Query(_) => Self::Query(name),
            Self::Header(_) => Self::Header(name),
            Self::Body(_) => Self::Body(name),
        }
    }

    /// Puts text there; in a body it is a string.
    pub(super) fn set_text(&self, request: &mut Request, text: &str) -> Result<()> {
        self.set(request, text, || Ok(Value::from(text)))
    }

    /// Puts a number there.
    pub(super) fn set_number(&self, request: &mut Request, number: u64) -> Result<()> {
        self.set(request, &number.to_string(), || Ok(Value::from(number)))
    }

    /// Puts a value there, given as its JSON text: in a body as it is, else the content of a string or a number's own text.
    ///
    /// # Errors
    /// `Data` if that would change it: a number in a body that has more digits than can be held, an array in a query.
    pub(super) fn set_json(&self, request: &mut Request, raw: &str) -> Result<()> {
        let wrong = |what| Error::data("make request", what).with("target", self.name());
        let value = tree::of(raw.as_bytes())?
            .map_err(|e| wrong("the value for the next page is not valid JSON").with_source(e))?;
        let text = match &value {
            Value::String(text) => text.as_str(),
            Value::Number(_) => raw,
            _ if matches!(self, Self::Body(_)) => "",
            _ => return Err(wrong("only strings and numbers go outside of a body")),
        };
        self.set(request, text, || {
            if is_held(raw) {
                return Ok(value.clone());
            }
            Err(wrong("a number for the next page would change on its way"))
        })
    }

    fn set(&self, request: &mut Request, text: &str, value: impl FnOnce() -> Result<Value>) -> Result<()> {
        match self {
            Self::Query(name) => request.set_query(name, text),
            Self::Header(name) => request.set_header(name, text)?,
            Self::Body(path) => request.set_body(path, value()?)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_held;

    #[test]
    fn a_number_is_held_whatever_way_it_is_written_but_with_all_of_its_digits() {
        for json in
            ["[1.5E10,\"x\"]", "1.10", "-0", "0.0", "1e2", "1.0E+2", "{\"a\":[0.1,18446744073709551615]}", "12e-1"]
        {
            assert!(is_held(json), "{json}");
        }
        for json in ["18446744073709551617", "[0.1234567890123456789]", "1e-400", "1e400", "{\"a\":9007199254740993.0}"]
        {
            assert!(!is_held(json), "{json}");
        }
    }
}
