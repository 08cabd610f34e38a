//! `csv`: rows, and how they are written.

use crate::with::With;
use landfall::records::Csv;
use landfall::{Error, Result};
use serde::Deserialize;

/// Unless something else is said: cells between commas, quoted by `"`, and a first line that names the columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rows {
    delimiter: Option<char>,
    /// What cells are quoted by; `false` if by nothing.
    quote: Option<Quote>,
    /// The names of the columns, where the first line does not tell them.
    columns: Option<Vec<String>>,
    /// Whether the first line is no row; unless said, it is none where no columns are given.
    header: Option<bool>,
    /// The texts that mean null.
    nulls: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "`quote` is a character, or false")]
enum Quote {
    Mark(char),
    Flag(bool),
}

impl Rows {
    pub(super) fn build(&self) -> Result<Csv> {
        if self.header == Some(false) && self.columns.is_none() {
            return Err(Error::config("read spec", "rows without a line of names")
                .with("key", "source.csv")
                .with_hint("name the `columns`"));
        }
        let delimiter = self.delimiter.map(ascii).transpose()?;
        let quote = match self.quote {
            Some(Quote::Mark(mark)) => Some(ascii(mark)?),
            _ => None,
        };
        Ok(Csv::new()
            .with_some(delimiter, Csv::delimiter)
            .with_some(quote, Csv::quote)
            .with_flag(matches!(self.quote, Some(Quote::Flag(false))), Csv::without_quotes)
            .with_some(self.columns.as_ref(), Csv::columns)
            .with_flag(self.header == Some(true), Csv::with_header)
            .with_some(self.nulls.as_ref(), Csv::nulls))
    }
}

fn ascii(mark: char) -> Result<u8> {
    u8::try_from(mark).ok().filter(u8::is_ascii).ok_or_else(|| {
        Error::config("read spec", "`delimiter` and `quote` are ASCII characters").with("character", mark)
    })
}
