//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::name::{self, TableName};
use crate::error::Result;

/// A quoted name is one token, and the same when it is read back; a table is one name or two.
pub(crate) fn names(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let unquoted = |quoted: &str| {
        let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("in quotes");
        assert!(!inside.replace("\"\"", "").contains('"'), "{quoted}");
        inside.replace("\"\"", "\"")
    };
    assert_eq!(unquoted(&name::quoted(&text)), text);
    let table = TableName::parse(&text)?;
    assert_eq!(unquoted(&table.alias()), table.table);
    let full = table.schema.iter().map(|schema| name::quoted(schema) + ".").collect::<String>() + &table.alias();
    assert_eq!(table.sql(), full);
    assert!(text.ends_with(&table.table) && !table.table.contains(['.', '\0']) && !table.table.is_empty());
    Ok(())
}
