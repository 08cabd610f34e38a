//! Values of a spec: durations, texts, JSON, and places of secrets.

use landfall::connectors::http::Secret;
use landfall::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::fmt;
use std::path::PathBuf;

/// A duration such as `10s`, `5m`, `1h 30m`, `30d`. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) std::time::Duration);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let looks = "a duration looks like \"10s\", \"5m\" or \"1h 30m\"";
        let wrong = |_| D::Error::custom(format!("{text:?} is no duration: {looks}"));
        let span: jiff::Span = text.parse().map_err(wrong)?;
        let parsed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
        std::time::Duration::try_from(parsed).map(Self).map_err(|_| D::Error::custom("a duration is not negative"))
    }
}

/// A text; numbers and booleans are taken as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text)),
            toml::Value::Integer(number) => Ok(Self(number.to_string())),
            toml::Value::Boolean(flag) => Ok(Self(flag.to_string())),
            toml::Value::Datetime(time) => Ok(Self(time.to_string())),
            other => Err(D::Error::custom(format!("{} is no text: put it in quotes", other.type_str()))),
        }
    }
}

/// A text, or an array of them.
#[derive(Clone, Debug)]
pub(crate) struct Several(pub(crate) Vec<Text>);

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(items) => items.into_iter().map(Text::deserialize).collect::<Result<_, _>>(),
            one => Text::deserialize(one).map(|text| vec![text]),
        };
        texts.map(Self).map_err(|e| D::Error::custom(e.message()))
    }
}

/// JSON: a table, or JSON as text where TOML cannot say it (`null`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Json(pub(crate) serde_json::Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => serde_json::from_str(&text)
                .map(Self)
                .map_err(|e| D::Error::custom(format!("the text is not JSON, at column {}", e.column()))),
            value => json(value).map(Self).map_err(D::Error::custom),
        }
    }
}

fn json(value: toml::Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).ok_or("JSON has no infinite numbers, and no NaN")?.into()
        }
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((name, json(value)?)));
            serde_json::Value::Object(fields.collect::<Result<_, &'static str>>()?)
        }
    })
}

/// Where a secret is: `{ env = "NAME" }` or `{ file = "path" }`. Never the secret itself.
#[derive(Clone)]
pub(crate) enum SecretPlace {
    Env(String),
    File(PathBuf),
}

impl SecretPlace {
    /// Of a table that has `env` and `file` beside other keys.
    ///
    /// # Errors
    /// `Config` unless it has one of them.
    pub(crate) fn of(env: Option<String>, file: Option<PathBuf>) -> Result<Self> {
        match (env, file) {
            (Some(name), None) => Ok(Self::Env(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => Err(Error::config("read spec", "a secret is in one place").with_hint(NEVER_HERE)),
        }
    }

    pub(crate) fn secret(&self) -> Secret {
        match self {
            Self::Env(name) => Secret::from_env(name),
            Self::File(path) => Secret::from_file(path),
        }
    }
}

impl fmt::Debug for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            env: Option<String>,
            file: Option<PathBuf>,
        }
        // What stands here instead may be the secret: no error may repeat it.
        let wrong = || D::Error::custom(NEVER_HERE);
        let toml::Value::Table(table) = toml::Value::deserialize(deserializer)? else { return Err(wrong()) };
        let Table { env, file } = toml::Value::Table(table).try_into().map_err(|_| wrong())?;
        Self::of(env, file).map_err(|_| wrong())
    }
}

/// The rule about secrets.
pub(crate) const NEVER_HERE: &str =
    "a secret never stands in the spec: `env = \"NAME\"` or `file = \"path\"` says where it is";
