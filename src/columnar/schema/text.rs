//! Types as text, both ways.

use super::{Coerce, Column, ColumnType, Columns, TimeUnit, Written};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = PLAIN.iter().find(|(_, kind)| kind == self) {
            return f.write_str(name);
        }
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Timestamp { unit, written: Written::Rfc3339 } => write!(f, "timestamp({})", name_of(UNITS, unit)),
            Self::Timestamp { unit, written } => {
                write!(f, "timestamp({}, {})", name_of(UNITS, unit), name_of(EPOCHS, written))
            }
            Self::Datetime { unit } => write!(f, "datetime({})", name_of(UNITS, unit)),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    write_name(f, &field.name)?;
                    if !matches!(field.path.as_slice(), [only] if *only == field.name) {
                        for (at, key) in field.path.iter().enumerate() {
                            f.write_str(if at > 0 { "." } else { " from " })?;
                            write_name(f, key)?;
                        }
                    }
                    write!(f, ": {}", field.kind)?;
                }
                f.write_str(">")
            }
            _ => f.write_str("?"),
        }
    }
}

/// Types that are one word.
const PLAIN: &[(&str, ColumnType)] = &[
    ("bool", ColumnType::Bool),
    ("int8", ColumnType::Int8),
    ("int16", ColumnType::Int16),
    ("int32", ColumnType::Int32),
    ("int64", ColumnType::Int64),
    ("uint8", ColumnType::Uint8),
    ("uint16", ColumnType::Uint16),
    ("uint32", ColumnType::Uint32),
    ("uint64", ColumnType::Uint64),
    ("float32", ColumnType::Float32),
    ("float64", ColumnType::Float64),
    ("utf8", ColumnType::Utf8(Coerce::Strict)),
    ("utf8(text)", ColumnType::Utf8(Coerce::Text)),
    ("json", ColumnType::Json),
    ("date", ColumnType::Date),
    ("timestamp", ColumnType::Timestamp { unit: TimeUnit::Microsecond, written: Written::Rfc3339 }),
    ("datetime", ColumnType::Datetime { unit: TimeUnit::Microsecond }),
];

const UNITS: &[(&str, TimeUnit)] = &[
    ("s", TimeUnit::Second),
    ("ms", TimeUnit::Millisecond),
    ("us", TimeUnit::Microsecond),
    ("ns", TimeUnit::Nanosecond),
];

const EPOCHS: &[(&str, Written)] = &[
    ("epoch_s", Written::EpochSeconds),
    ("epoch_ms", Written::EpochMillis),
    ("epoch_us", Written::EpochMicros),
    ("epoch_ns", Written::EpochNanos),
];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, v)| v == value).map_or("?", |(name, _)| name)
}

fn of_name<T: Copy>(names: &[(&'static str, T)], name: &str) -> Option<T> {
    names.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if is_plain(name) {
        return f.write_str(name);
    }
    f.write_str(&serde_json::to_string(name).map_err(|_| fmt::Error)?)
}

impl FromStr for ColumnType {
    type Err = Error;

    /// Reads the text of a type.
    ///
    /// # Errors
    /// `Config`, with what was expected where.
    fn from_str(text: &str) -> Result<Self> {
        let mut reader = Reader { text, at: 0 };
        let kind = reader.kind(0)?;
        reader.space();
        if reader.rest().is_empty() { Ok(kind) } else { Err(reader.expected("the end of the type")) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let eaten = self.rest().starts_with(token);
        self.at += if eaten { token.len() } else { 0 };
        eaten
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(token)) }
    }

    fn expected(&self, what: &str) -> Error {
        Error::config("read column type", "this is no type of a column")
            .with("type", self.text)
            .with("expected", what)
            .with("at", self.at)
            .with_hint("types look like `int64`, `decimal(18,2)`, `list<utf8>`, `struct<name: utf8>`")
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn number(&mut self) -> Result<u8> {
        let before = self.at;
        self.word().parse().map_err(|_| {
            self.at = before;
            self.expected("a number")
        })
    }

    /// A plain word, or a JSON string.
    fn name(&mut self) -> Result<String> {
        self.space();
        let rest = self.rest();
        if !rest.starts_with('"') {
            let word = self.word();
            return if is_plain(word) { Ok(word.to_owned()) } else { Err(self.expected("a name")) };
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        match values.next() {
            Some(Ok(name)) => {
                self.at += values.byte_offset();
                Ok(name)
            }
            _ => Err(self.expected("a name in quotes")),
        }
    }

    fn kind(&mut self, level: usize) -> Result<ColumnType> {
        if level > 32 {
            return Err(self.expected("less nesting"));
        }
        self.space();
        let before = self.at;
        let word = self.word();
        Ok(match word {
            "list" => {
                self.expect("<")?;
                let element = self.kind(level + 1)?;
                self.expect(">")?;
                ColumnType::List(Box::new(element))
            }
            "struct" => {
                self.expect("<")?;
                let mut fields = Columns::new();
                loop {
                    fields = fields.column(self.field(level + 1)?);
                    if !self.eat(",") {
                        break;
                    }
                }
                self.expect(">")?;
                ColumnType::Struct(fields)
            }
            "decimal" => {
                self.expect("(")?;
                let precision = self.number()?;
                self.expect(",")?;
                let scale = self.number()?;
                self.expect(")")?;
                ColumnType::Decimal { precision, scale }
            }
            "utf8" if self.eat("(") => {
                self.expect("text")?;
                self.expect(")")?;
                ColumnType::Utf8(Coerce::Text)
            }
            "timestamp" if self.eat("(") => {
                let unit = self.one_of(UNITS, "one of s, ms, us, ns")?;
                let written =
                    if self.eat(",") { self.one_of(EPOCHS, "epoch_s, _ms, _us or _ns")? } else { Written::Rfc3339 };
                self.expect(")")?;
                ColumnType::Timestamp { unit, written }
            }
            "datetime" if self.eat("(") => {
                let unit = self.one_of(UNITS, "one of s, ms, us, ns")?;
                self.expect(")")?;
                ColumnType::Datetime { unit }
            }
            _ => match PLAIN.iter().find(|(name, _)| *name == word) {
                Some((_, kind)) => kind.clone(),
                None => {
                    self.at = before;
                    return Err(self.expected("the name of a type"));
                }
            },
        })
    }

    fn one_of<T: Copy>(&mut self, names: &[(&'static str, T)], what: &str) -> Result<T> {
        let word = self.word();
        of_name(names, word).ok_or_else(|| self.expected(what))
    }

    fn field(&mut self, level: usize) -> Result<Column> {
        let name = self.name()?;
        let mut path = Vec::new();
        self.space();
        if self.rest().starts_with("from") {
            self.at += 4;
            loop {
                path.push(self.name()?);
                if !self.eat(".") {
                    break;
                }
            }
        }
        self.expect(":")?;
        let column = Column::new(name, self.kind(level)?);
        Ok(if path.is_empty() { column } else { column.at(path) })
    }
}
