//! `ingest detect`: a spec to begin with, from a first response.

use crate::file::SpecFile;
use landfall::connectors::http::Rest;
use landfall::env::Env;
use landfall::{Error, ErrorKind, Result};
use std::path::Path;

/// Asks `of` once, a URL or a spec, and gives what to write: TOML, with the same as code in comments.
///
/// # Errors
/// `Config` for a URL or a spec that cannot be asked; else as a read of the source.
pub(crate) async fn detect(of: &str) -> Result<String> {
    let asked = if is_url(of) { Rest::get(of) } else { SpecFile::read(Path::new(of))?.source()? };
    let found = asked.detect(&Env::system()).await.map_err(|error| match error.kind() {
        ErrorKind::Auth if is_url(of) => error.with_hint(
            "write a spec of `[source]` with `url` and `auth`, and call `ingest detect spec.toml`: it needs nothing else yet",
        ),
        _ => error,
    })?;
    let code: String = found.code().lines().map(|line| format!("#{line}\n")).collect();
    let spec = found.spec();
    if !is_url(of) {
        return Ok(format!("# for [source] of {of}\n{spec}\n# the same as code:\n{code}"));
    }
    let name = name(of)?;
    Ok(format!(
        "name = {name:?}\n\
         state = \"{name}-state\"\n\
         \n\
         [source]\n\
         url = {of:?}\n\
         {spec}\n\
         [dedup]\n\
         key = [\"id\"] # the fields that name a record\n\
         \n\
         [sink]\n\
         parquet = {name:?}\n\
         \n\
         # the same as code:\n\
         {code}"
    ))
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// What the data are called: the last word of the path.
fn name(url: &str) -> Result<String> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let word = path.rsplit('/').find(|word| !word.is_empty()).unwrap_or_default();
    let stem = word.split('.').next().unwrap_or(word);
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    match plain.trim_matches('-') {
        "" => Err(Error::config("read arguments", "the URL has no name")),
        name => Ok(name.to_owned()),
    }
}
