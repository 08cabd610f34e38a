//! A spec as a file: errors name the line and the key that they are about.

use crate::pipeline;
use crate::source::Source;
use crate::spec::Spec;
use crate::value::NEVER_HERE;
use crate::words;
use landfall::connectors::http::RestBuilder;
use landfall::pipeline::Pipeline;
use landfall::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a spec, and where it came from.
#[derive(Debug)]
pub(crate) struct SpecFile {
    path: PathBuf,
    text: String,
}

/// A spec of which only the source is looked at.
#[derive(Deserialize)]
struct Begun {
    source: Source,
}

/// A value in the text.
struct Entry {
    /// Such as `source.paginate.at`.
    key: String,
    /// Bytes of the text, of the key and of the value.
    from: usize,
    to: usize,
    value: Option<String>,
}

impl SpecFile {
    /// # Errors
    /// `Config` if it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::config("read spec", "the file cannot be read").with("file", path.display()).with_source(e)
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self { path: "spec.toml".into(), text: text.to_owned() }
    }

    /// What the spec says.
    ///
    /// # Errors
    /// `Config`, with line and key of what is wrong.
    pub(crate) fn spec(&self) -> Result<Spec> {
        self.parse()
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|e| {
            // Not the parser's own text, which repeats the line: it may hold a secret, where none should be.
            let error = Error::config("read spec", words::of_the_parser(e.message()));
            let span = e.span().unwrap_or_default();
            let inside = |entry: &Entry| entry.from <= span.start && span.start < span.end && span.end <= entry.to;
            let key = self.entries().into_iter().rev().find(inside).map(|entry| entry.key).unwrap_or_default();
            let error = self.place(error, span.start, &key);
            let is_elsewhere = e.message().starts_with("unknown field") && error.hint().is_none();
            if is_elsewhere { error.with_hint("a key belongs to the last [table] above it") } else { error }
        })
    }

    /// The source alone: the rest of the spec may be missing.
    ///
    /// # Errors
    /// `Config`, with line and key of what is wrong.
    pub(crate) fn source(&self) -> Result<RestBuilder> {
        let Begun { source } = self.parse()?;
        source.build().map_err(|error| self.find(error))
    }

    /// What the spec says, and the pipeline that it describes.
    ///
    /// # Errors
    /// `Config`, with line and key of what is wrong.
    pub(crate) fn pipeline(&self) -> Result<(Spec, Pipeline)> {
        let spec = self.spec()?;
        let pipeline = pipeline::pipeline(&spec).map_err(|error| self.find(error))?;
        Ok((spec, pipeline))
    }

    /// Says which line an error of the library is about: the only one that has a value which the error names.
    pub(crate) fn find(&self, error: Error) -> Error {
        let entries = self.entries();
        let names = |(of, named): &(_, String), entry: &Entry| {
            !NOT_OF_THE_SPEC.contains(of) && entry.value.as_ref() == Some(named)
        };
        let named = |entry: &&Entry| error.context().iter().any(|pair| names(pair, entry));
        let mut about = entries.iter().filter(named);
        match (about.next(), about.next()) {
            (Some(entry), None) => self.place(error, entry.from, &entry.key),
            _ => error.with("file", self.path.display()),
        }
    }

    fn place(&self, error: Error, at: usize, key: &str) -> Error {
        let line = self.text.get(..at).unwrap_or(&self.text).matches('\n').count() + 1;
        let error = error.with("file", self.path.display()).with("line", line);
        let error = if key.is_empty() { error } else { error.with("key", key) };
        if key.contains("source.auth") && error.hint().is_none() { error.with_hint(NEVER_HERE) } else { error }
    }

    /// All values, each table before what is in it.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Ok(table) = DeTable::parse(&self.text) {
            below(table.get_ref(), "", &mut entries);
        }
        entries
    }
}

/// What errors say of a run: that a value of the spec is the same is chance.
const NOT_OF_THE_SPEC: &[&str] =
    &["status", "attempts", "used_up", "pages_before", "partition", "body", "api", "value", "file"];

fn below(table: &DeTable<'_>, prefix: &str, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        let dot = if prefix.is_empty() { "" } else { "." };
        enter(name.span().start, value, format!("{prefix}{dot}{}", name.get_ref()), entries);
    }
}

fn enter(from: usize, value: &Spanned<DeValue<'_>>, key: String, entries: &mut Vec<Entry>) {
    let text = match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    entries.push(Entry { key: key.clone(), from: from.min(value.span().start), to: value.span().end, value: text });
    match value.get_ref() {
        DeValue::Table(table) => below(table, &key, entries),
        DeValue::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                enter(item.span().start, item, format!("{key}[{n}]"), entries);
            }
        }
        _ => {}
    }
}
