//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::Postgres;
use super::name::{self, TableName};
use crate::error::Result;

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
