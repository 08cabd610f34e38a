//! What the answers of the API say about a job.

use super::describe::Exports;
use super::words::State;
use crate::connectors::http::tree;
use crate::error::{Error, Result};
use crate::json::{ValuePath, field};
use serde_json::Value;

/// What the answer to a poll says.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) state: State,
    /// Links or names of the files, if it is done and they are told.
    pub(super) files: Vec<String>,
    pub(super) rows: Option<u64>,
}

impl Exports {
    /// The id of the job that was created.
    pub(super) fn id(&self, body: &[u8]) -> Result<String> {
        text(body, &self.id)?.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).ok_or_else(|| {
            Error::data("create job", "the answer names no job")
                .with("path", self.id.as_str())
                .with_hint("say with .id_at(…) where the id is, or use Export::at_location()")
        })
    }

    pub(super) fn report(&self, status: u16, body: &[u8]) -> Result<Report> {
        let state = match &self.status {
            None if status == 202 => State::Running,
            None => State::Done,
            Some(path) => {
                let word = text(body, path)?.ok_or_else(|| {
                    Error::data("poll job", "the answer does not say how the job stands").with("path", path.as_str())
                })?;
                self.description.words.state(&word)?
            }
        };
        if state != State::Done {
            return Ok(Report { state, files: Vec::new(), rows: None });
        }
        let rows = match &self.rows {
            None => None,
            Some(path) => Some(text(body, path)?.and_then(|rows| rows.parse().ok()).ok_or_else(|| {
                Error::data("poll job", "the finished job does not say how many rows there are")
                    .with("path", path.as_str())
            })?),
        };
        Ok(Report { state, files: self.files(body)?, rows })
    }

    fn files(&self, body: &[u8]) -> Result<Vec<String>> {
        let Some((path, list)) = &self.files else { return Ok(vec![String::new()]) };
        let answer = tree::of(body)?.map_err(|e| Error::data("poll job", "the answer is not JSON").with_source(e))?;
        let mut files = Vec::new();
        for found in path.query(&answer) {
            for found in found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice) {
                files.push(match found {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return Err(Error::data("poll job", "a file is not named by text").with("path", path)),
                });
            }
        }
        let said_to_be_none =
            || list.query(&answer).exactly_one().is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty));
        if files.is_empty() && !said_to_be_none() {
            // Taken for an empty result, a change of the API would lose all rows.
            return Err(Error::data("poll job", "the finished job names no files").with("path", path));
        }
        Ok(files)
    }
}

/// The text, the number or the truth value at `path`.
fn text(body: &[u8], path: &ValuePath) -> Result<Option<String>> {
    let Some(raw) = field(body, path)? else { return Ok(None) };
    Ok(match tree::of(raw)? {
        Ok(Value::String(text)) => Some(text),
        // As it was written: an id may have more digits than a number holds.
        Ok(Value::Number(_) | Value::Bool(_)) => Some(String::from_utf8_lossy(raw.trim_ascii()).into_owned()),
        _ => None,
    })
}

const LONGEST_ID: usize = 2_048;

/// What an API says of a job is read or refused: a job that is not done has no files, and an id is one that can be asked about.
#[cfg(any(test, feature = "testkit"))]
pub(in super::super) fn fuzzed(bytes: &[u8]) -> Result<()> {
    let told = super::Export::poll("/jobs/{id}").status_at("$.status").rows_at("$.rows").download_at("$.urls[*]");
    let exports = told.build()?;
    let report = exports.report(200, bytes).map(|report| {
        assert!(report.state == State::Done || (report.files.is_empty() && report.rows.is_none()), "{report:?}");
    });
    let id = exports.id(bytes).map(|id| assert!(!id.is_empty() && id.len() <= LONGEST_ID));
    id.or(report)
}
