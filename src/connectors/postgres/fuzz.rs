//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::Postgres;
use super::control::{Held, TABLES};
use super::name::{self, TableName};
use super::types::ColumnType;
use crate::error::{Error, Result};
use crate::sink::Mark;

/// A connection string is read, or refused; neither shows its password.
pub(crate) fn url(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("sslrootcert") {
        return Ok(()); // it would read a file
    }
    let password = "s3cr3t-passw0rd";
    let host = text.trim_start_matches("postgresql://");
    let url = |host: &str| format!("postgresql://etl:{password}@{host}");
    for text in [url(host), format!("password={password} {text}")] {
        let shown = match Postgres::connect(&text) {
            Ok(database) => format!("{database:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(password) || host.contains(password), "{shown}");
    }
    Postgres::connect(&text).map(drop)
}

/// A quoted name or text is one token, and the same when it is read back.
pub(crate) fn names(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    for (quote, quoted) in [('"', name::quoted(&text)), ('\'', name::literal(&text))] {
        let inside = quoted.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).expect("in quotes");
        let (single, double) = (quote.to_string(), quote.to_string().repeat(2));
        assert!(!inside.replace(&double, "").contains(quote), "{quoted}");
        assert_eq!(inside.replace(&double, &single), text);
    }
    let table = TableName::parse(&text)?;
    assert_eq!(TableName::parse(&table.to_string())?, table);
    Ok(())
}

/// A type of the catalogue is one that we write, or is not; one that we write is the same when it is named and read again.
pub(crate) fn types(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let kind = ColumnType::from_sql(&text)
        .ok_or_else(|| Error::data("read columns of table", "values of this type are not written"))?;
    assert_eq!(ColumnType::from_sql(&kind.to_string()).as_ref(), Some(&kind));
    assert!(kind.holds(&kind), "{kind}");
    assert!(kind.characters().is_none_or(|most| text.contains(&most.to_string())), "{kind}");
    Ok(())
}

/// The version of the control tables is known, or refused; a mark is what its fields say, or it is damage. The first line is the
/// comment that says the version, the others are the fields of the mark.
pub(crate) fn control(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let version = TABLES.check("landfall", lines.next().unwrap_or_default());
    let mut field = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    let number = |field: Option<String>| field.and_then(|text| text.parse::<i64>().ok());
    let (incarnation, generation, epoch, digest) = (field(), number(field()), number(field()), field());
    let (enumeration, rows) = (number(field()), number(field()));
    let held = Held::read(incarnation.clone(), generation, epoch, digest.clone(), enumeration, rows)?;
    assert_eq!(held.enumeration, enumeration.zip(rows));
    let mark = held.mark.as_ref();
    let text = |of: fn(&Mark) -> &str| mark.map(|mark| of(mark).to_owned());
    let number = |of: fn(&Mark) -> u64| mark.and_then(|mark| i64::try_from(of(mark)).ok());
    assert_eq!((text(|mark| &mark.incarnation.0), text(|mark| &mark.digest)), (incarnation, digest));
    assert_eq!((number(|mark| mark.generation), number(|mark| mark.epoch)), (generation, epoch));
    version
}
