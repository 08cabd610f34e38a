//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::control::{self, Held};
use super::dialect::AdbcDialect;
use super::name::{self, TableName};
use super::session::Row;
use super::table;
use super::types::{Catalogued, ColumnType};
use crate::error::{Error, Result};
use std::collections::HashMap;

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

/// A column of the catalogue is one that we write, or is not; one that we write is the same when it is made and read again. Each
/// line is a field: its name, `=`, and what it says.
pub(crate) fn types(bytes: &[u8]) -> Result<()> {
    const DIALECTS: [AdbcDialect; 4] =
        [AdbcDialect::DuckDb, AdbcDialect::Postgres, AdbcDialect::Sqlite, AdbcDialect::Standard];
    let text = String::from_utf8_lossy(bytes);
    let fields = text.lines().filter_map(|line| line.split_once('='));
    let record: HashMap<String, String> = fields.map(|(name, said)| (name.to_owned(), said.to_owned())).collect();
    let mut read = Err(Error::data("read columns of table", "values of this type are not written"));
    for dialect in DIALECTS {
        let Some(kind) = table::column(dialect, &record).kind else { continue };
        let made = kind.sql(dialect);
        let again = ColumnType::from_sql(dialect, &Catalogued { name: &made, ..Catalogued::default() });
        assert_eq!(again.as_ref(), Some(&kind), "{made}");
        assert!(kind.holds(&kind), "{made}");
        read = Ok(());
    }
    read
}

/// The version of the control tables is known, or refused; a mark is whole and the same when it is entered and read again, or it
/// is damage. The first line is the version, the others are the fields of the mark.
pub(crate) fn control(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let version = control::check_version(lines.next().unwrap_or_default());
    let row: Row = lines.map(|line| Some(line.to_owned()).filter(|line| !line.is_empty())).collect();
    let Held { mark, enumeration } = Held::read(row)?;
    let (number, rows) = enumeration.unzip();
    let entered: Row = vec![
        mark.as_ref().map(|mark| mark.incarnation.0.clone()),
        mark.as_ref().map(|mark| mark.generation.to_string()),
        mark.as_ref().map(|mark| mark.epoch.to_string()),
        mark.as_ref().map(|mark| mark.digest.clone()),
        number.map(|number| number.to_string()),
        rows.map(|rows| rows.to_string()),
    ];
    let again = Held::read(entered)?;
    assert_eq!((again.mark, again.enumeration), (mark, enumeration));
    version
}
