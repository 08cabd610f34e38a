//! A response to its end: one that is large is emitted in parts while it streams.

use super::auth::Signature;
use super::body::{Body, too_large};
use super::client::in_time;
use super::fetch::{Fetched, Fetcher, Head};
use super::incremental::CursorValue;
use super::scanned::{Looked, Scanned};
use super::status::{self, Fault};
use crate::error::{Error, Result};
use crate::model::{Page, Part};
use crate::records::{RecordsPath, Splitter};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// What is known of a response that has come so far.
struct SoFar {
    head: Head,
    /// Names the response within its landing.
    response: u64,
    /// Parts that have been emitted.
    parts: u32,
    records: u64,
    scanned: Scanned,
    /// Where its records lie, once its beginning has come.
    path: Option<Arc<RecordsPath>>,
}

impl Fetcher<'_> {
    /// Reads a body to its end, and emits all parts of it but the last.
    pub(super) async fn receive(
        &mut self,
        mut body: Body,
        head: Head,
        announced: u64,
        mut deadline: Duration,
        before: Option<&CursorValue>,
    ) -> Result<Fetched, Fault> {
        let limits = &self.rest.limits;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        // What a header announces is believed up to a point.
        let believed = size(announced.min(MOST_BELIEVED));
        let mut splitter = Splitter::new(&self.rest.records, &self.rest.values, size(self.part_size()), believed);
        let room = if splitter.cuts() {
            self.part_size()
        } else if announced > limits.wire {
            return Err(too_large(TOO_LARGE_ON_WIRE, limits.wire).into());
        } else {
            announced
        };
        self.out.reserve(announced.min(room)).await?;
        let mut so_far =
            SoFar { head, response: self.env.random(), parts: 0, records: 0, scanned: Scanned::default(), path: None };
        so_far.scanned.highest.value = before.cloned();
        loop {
            let left = deadline.saturating_sub(self.env.monotonic()).min(limits.idle);
            let piece = in_time(self.env, left, "read body", body.piece());
            let piece = self.unless_stopped(piece).await??;
            let has_ended = piece.is_none();
            match piece {
                Some(piece) => splitter.push(piece),
                None => splitter.end(),
            }
            loop {
                let part;
                (splitter, part) = self.cut(splitter).await?;
                let Some(part) = part else { break };
                self.check_size(&part)?;
                if so_far.parts == 0 && self.rest.records.needs_known_end() {
                    // Rules that ask for a body see none of one that is nothing but records.
                    self.judge(&so_far.head, Bytes::new()).await?;
                }
                let page = self.look_at(&mut so_far, part, None, false).await?;
                if let Some(pass) = &mut self.pass {
                    // Who waits for others with its parts must not have others wait for it.
                    pass.answers();
                }
                self.out.emit_part(page).await?;
                self.out.reserve(limits.part).await?;
                deadline = self.env.monotonic().saturating_add(limits.total);
            }
            if has_ended {
                break;
            }
            // Limits on the wire are for what is held as a whole.
            if so_far.parts == 0 && body.came() > limits.wire && !self.rest.records.needs_known_end() {
                return Err(too_large(TOO_LARGE_ON_WIRE, limits.wire).into());
            }
            if splitter.begun() as u64 > limits.body {
                return Err(too_large(TOO_LARGE, limits.body).into());
            }
        }
        let rest = splitter.finish();
        self.check_size(&rest.body)?;
        let around = rest.envelope.clone().unwrap_or_else(|| rest.body.clone());
        if so_far.parts == 0 || rest.envelope.is_some() {
            self.judge(&so_far.head, around.clone()).await?;
        }
        if so_far.parts == 0
            && rest.body.trim_ascii().is_empty()
            && !may_be_empty(&self.rest.records, &so_far.head.headers)
        {
            return Err(status::empty().into());
        }
        self.estimate = rest.body.len() as u64;
        let page = self.look_at(&mut so_far, rest.body, rest.envelope, true).await?;
        let SoFar { head, records, scanned, .. } = so_far;
        Ok(Fetched { page, around, scanned, records, head })
    }

    /// Whether a part has more than what belongs to its last record. Checked by itself, because whatever has come at once is
    /// never seen to be begun.
    fn check_size(&self, part: &Bytes) -> Result<()> {
        let limits = &self.rest.limits;
        if part.len() as u64 > limits.part.saturating_add(limits.body) {
            return Err(too_large(TOO_LARGE, limits.body));
        }
        Ok(())
    }

    /// Whether the columns that a page says can be those of the first one: one of their names is the same. Else its first line
    /// is probably a row.
    fn check_columns(&mut self, path: &RecordsPath) -> Result<()> {
        let said = path.columns().filter(|_| self.rest.records.columns().is_none());
        let mut columns: Vec<u64> = said.unwrap_or_default().iter().map(|name| xxh3_64(name.as_bytes())).collect();
        columns.sort_unstable();
        if self.columns.is_empty() {
            self.columns = columns;
        } else if !columns.iter().any(|column| self.columns.binary_search(column).is_ok()) {
            let what = "the first line has no name of a column that the first page has";
            return Err(Error::data("read page", what)
                .with_hint("if only the first page has a line of names, name the columns with .columns([…])"));
        }
        Ok(())
    }

    /// Cuts off the next part: beside the I/O, if there is much to look at.
    async fn cut(&self, mut splitter: Splitter) -> Result<(Splitter, Option<Bytes>)> {
        let much = splitter.unseen() >= MUCH;
        let cut = move || {
            let part = splitter.take_part()?;
            Ok((splitter, part))
        };
        if much { self.env.blocking("cut page", cut).await? } else { cut() }
    }

    /// The page of the next part, which is the last with `last`. Its records are counted.
    async fn look_at(&mut self, so_far: &mut SoFar, body: Bytes, envelope: Option<Bytes>, last: bool) -> Result<Page> {
        let received_at = self.env.now();
        let path = match &so_far.path {
            Some(path) => Arc::clone(path),
            None => {
                status::check_begin(&body, &self.rest.records)?;
                if self.rest.records.is_ndjson() {
                    status::check_first_line(&body)?;
                }
                let path = self.rest.records.found_in(&body).map(Cow::into_owned);
                let path = path.and_then(|path| self.check_columns(&path).map(|()| path));
                Arc::new(path.map_err(|error| with_first_line(error, &so_far.head.signature, &body))?)
            }
        };
        if last && self.rest.records.is_ndjson() {
            status::check_last_line(&body)?;
        }
        let is_part = !last || so_far.parts > 0;
        let part = is_part.then_some(Part { response: so_far.response, index: so_far.parts, last });
        let looked = Looked { path: Arc::clone(&path), body: body.clone(), envelope, part };
        let scanned = self.look.at(self.env, looked, so_far.scanned.highest.value.take()).await;
        // What is short and has no records is what the API says instead of them.
        let says = |error: Error| match status::excerpt(&so_far.head.signature, &body, true) {
            Some(text) if body.len() <= status::SHOWN && !is_part => error.with("body", text),
            _ => error,
        };
        let mut scanned = scanned.map_err(says)?;
        self.check_cursor(&scanned)?;
        let spans = std::mem::take(&mut scanned.spans);
        let mut page = Page::new(self.partition.id.clone(), body, spans.len() as u64, received_at);
        page.window.clone_from(&self.window);
        page.request.clone_from(&so_far.head.request);
        page.status = so_far.head.status;
        page.headers = kept(&so_far.head.headers);
        page.records_path = Some(path.as_str().into());
        page.spans = Some(spans.into());
        page.part = part;
        page.fields = self.fields.clone();
        so_far.path = Some(path);
        so_far.parts += 1;
        so_far.records += page.records;
        so_far.scanned = std::mem::take(&mut so_far.scanned).followed_by(scanned);
        Ok(page)
    }
}

/// The error about names that stand in the first line of `body`, with its beginning, without secrets.
fn with_first_line(error: Error, signature: &Signature, body: &[u8]) -> Error {
    let line = body.split(|b| *b == b'\n').next().unwrap_or_default();
    match status::excerpt(signature, line, true) {
        Some(text) => error.with("first_line", text),
        None => error,
    }
}

/// Lines and rows that say so of themselves may be none: there is no other way to write that.
fn may_be_empty(path: &RecordsPath, headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let kinds = ["ndjson", "jsonl", "json-lines", "jsonlines", "json-seq", "text/csv"];
    path.needs_known_end() && kinds.iter().any(|name| text.contains(name))
}

/// The headers that are landed with a page. None of these carries credentials or links.
fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let names = ["content-type", "date", "etag", "last-modified", "x-request-id", "x-total-count"];
    let header = |name: &str| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
    names.into_iter().filter_map(header).collect()
}

const TOO_LARGE: &str = "the body, or a line or record of it, is larger than its limit";
const TOO_LARGE_ON_WIRE: &str = "the body is larger than its limit on the wire";
/// Bytes of a body that are made room for before they come.
const MOST_BELIEVED: u64 = 16 << 20;
/// Looking at this many bytes takes as long as handing them over to another core.
const MUCH: usize = 1 << 20;
