//! Identifiers and texts in statements: quoted always.

use crate::error::{Error, Result};
use std::fmt;

/// Quotes an identifier (SQL:2016, 5.2, delimited identifier).
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quoted identifiers with commas between them.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Quoted identifiers of the table or query `of`, with commas between them.
pub(super) fn list_of<'a>(of: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("{of}.{}", quoted(name))).collect::<Vec<_>>().join(", ")
}

/// Refuses what cannot be the name of a table or a column in any database.
///
/// # Errors
/// `Config`, saying why.
pub(super) fn check(name: &str) -> Result<()> {
    let refuse =
        |message: &'static str| Err(Error::config("name table or column", message).with("name", name.escape_debug()));
    match name {
        "" => refuse("a name is empty"),
        _ if name.contains('\0') => refuse("a name has a zero byte"),
        _ => Ok(()),
    }
}

/// A table, and its schema if one is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TableName {
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    /// `table`, or `schema.table`.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, name),
        };
        if table.contains('.') {
            return Err(Error::config("name table", "a table is named `table` or `schema.table`").with("name", name));
        }
        Self::new(schema, table)
    }

    pub(super) fn new(schema: Option<&str>, table: &str) -> Result<Self> {
        schema.map_or(Ok(()), check)?;
        check(table)?;
        Ok(Self { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    /// Another table of the same schema.
    pub(super) fn beside(&self, table: impl Into<String>) -> Self {
        Self { schema: self.schema.clone(), table: table.into() }
    }

    /// Quoted, for a statement.
    pub(super) fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.table)),
            None => quoted(&self.table),
        }
    }

    /// What its columns are named by within a statement on it.
    pub(super) fn alias(&self) -> String {
        quoted(&self.table)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_it_stays_a_name() {
        assert_eq!(quoted("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(TableName::parse("raw.orders").expect("a name").sql(), "\"raw\".\"orders\"");
        assert_eq!(TableName::parse("orders").expect("a name").sql(), "\"orders\"");
        for bad in ["", "a.", ".b", "a.b.c", "a\0b"] {
            TableName::parse(bad).expect_err(bad);
        }
    }
}
