//! Identifiers: quoted always, and never longer than PostgreSQL keeps them.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// PostgreSQL cuts longer names without an error, and two columns could become one.
const MOST_BYTES: usize = 63;

/// Quotes an identifier (PostgreSQL manual, 4.1.1).
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string constant. `standard_conforming_strings` is on in every session of ours.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Quoted identifiers with commas between them.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Refuses what cannot be the name of a table or a column.
///
/// # Errors
/// `Config`, saying why.
pub(super) fn check(name: &str) -> Result<()> {
    let refuse =
        |message: &'static str| Err(Error::config("name table or column", message).with("name", name.escape_debug()));
    match name {
        "" => refuse("a name is empty"),
        _ if name.contains('\0') => refuse("a name has a zero byte"),
        _ if name.len() > MOST_BYTES => refuse("PostgreSQL would cut the name after 63 bytes"),
        _ => Ok(()),
    }
}

/// A table and its schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TableName {
    pub schema: String,
    pub table: String,
}

impl TableName {
    /// `table`, or `schema.table`; of the schema `public` without one.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        if table.contains('.') {
            return Err(Error::config("name table", "a table is named `table` or `schema.table`").with("name", name));
        }
        Self::new(schema, table)
    }

    pub(super) fn new(schema: &str, table: &str) -> Result<Self> {
        check(schema)?;
        check(table)?;
        Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
    }

    /// Quoted, for a statement.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_it_stays_a_name() {
        assert_eq!(quoted("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(literal("o'clock"), "'o''clock'");
        assert_eq!(TableName::parse("raw.orders").expect("a name").sql(), "\"raw\".\"orders\"");
        assert_eq!(TableName::parse("orders").expect("a name").to_string(), "public.orders");
        for bad in ["", "a.", ".b", "a.b.c", "a\0b", &"ä".repeat(32)] {
            TableName::parse(bad).expect_err(bad);
        }
    }
}
