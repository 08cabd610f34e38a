use super::Csv;
use crate::error::{Error, Result};
use crate::json::{MARK, ends_early};
use crate::model::Span;
use crate::records::text::{Unreadable, WriteText};
use csv_core::{ReadRecordResult, Reader};
use std::ops::Range;

/// Where each row of `body` lies, without its line end. The line of names is a row here.
///
/// # Errors
/// `Data`, transient, if a quoted cell does not end.
pub(crate) fn rows(csv: &Csv, body: &[u8], is_first: bool) -> Result<Vec<Span>> {
    let mut ends = RowEnds::new(csv);
    let mut spans = Vec::new();
    let mut start = if is_first && body.starts_with(MARK) { MARK.len() } else { 0 };
    while let Some(end) = ends.next(body, start) {
        spans.extend(trimmed(body, start..end));
        start = end;
    }
    // The last row needs no line end, but its quotes must be closed, and it must have all its cells: else it is the beginning of one.
    if let Some(last) = trimmed(body, start..body.len()) {
        let row = last.of(body).unwrap_or_default();
        let is_short = |names: &[String]| Cells::new(csv).take_apart(row).is_some_and(|cells| cells < names.len());
        if ends.next(b"\n", 0).is_none() || csv.names().is_some_and(is_short) {
            return Err(ends_early(body.len()));
        }
        spans.push(last);
    }
    Ok(spans)
}

/// The row without the line ends around it; none if nothing is left.
fn trimmed(body: &[u8], row: Range<usize>) -> Option<Span> {
    let is_end = |b: &u8| matches!(b, b'\n' | b'\r');
    let text = body.get(row.clone())?;
    let from = text.iter().position(|b| !is_end(b))?;
    let to = text.iter().rposition(|b| !is_end(b))? + 1;
    Some(crate::json::span(row.start + from, to - from))
}

/// Finds the ends of rows.
#[derive(Debug)]
pub(super) struct RowEnds {
    reader: Reader,
}

impl RowEnds {
    pub(super) fn new(csv: &Csv) -> Self {
        Self { reader: csv.reader() }
    }

    /// The place behind the next end of a row in `body`, from `at` on. If there is none, all of it has been taken in.
    pub(super) fn next(&mut self, body: &[u8], mut at: usize) -> Option<usize> {
        let (mut text, mut ends) = ([0; 1024], [0; 64]);
        loop {
            let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
            let (result, read, ..) = self.reader.read_record(rest, &mut text, &mut ends);
            at += read;
            match result {
                ReadRecordResult::Record => return Some(at),
                ReadRecordResult::End => return None,
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }
}

/// Takes rows apart.
#[derive(Debug)]
pub(crate) struct Cells {
    csv: Csv,
    reader: Reader,
    /// The names of the columns as they begin a member in JSON.
    keys: Vec<Vec<u8>>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    /// For rows of as many columns as `csv` names.
    pub(crate) fn new(csv: &Csv) -> Self {
        let names = csv.names().unwrap_or_default();
        let key = |(n, name): (usize, &String)| {
            let comma = if n == 0 { "" } else { "," };
            format!("{comma}{}:", serde_json::Value::from(name.as_str())).into_bytes()
        };
        let keys = names.iter().enumerate().map(key).collect();
        Self { csv: csv.clone(), reader: csv.reader(), keys, text: vec![0; 1024], ends: vec![0; 64] }
    }

    /// The cells of `row` as text.
    pub(super) fn texts(&mut self, row: &[u8]) -> Result<Vec<String>> {
        let cells = self.take_apart(row).ok_or_else(|| Error::data("scan page", "a row of CSV cannot be read"))?;
        let text = |cell: &[u8]| String::from_utf8(cell.to_vec());
        (0..cells).map(|n| text(self.cell(n))).collect::<Result<_, _>>().map_err(|e| {
            Error::data("scan page", "the names of the columns are not UTF-8")
                .with_hint("CSV must be in UTF-8")
                .with_source(e)
        })
    }

    /// Appends `row` as an object of JSON.
    pub(crate) fn write_json(&mut self, row: &[u8], write: WriteText, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let cells = self.take_apart(row).ok_or_else(|| Unreadable::new("csv", "the row holds more than one"))?;
        if cells != self.keys.len() {
            let columns = self.keys.len();
            return Err(Unreadable::new("columns", format!("{cells} cells in a row of {columns} columns")));
        }
        out.push(b'{');
        for n in 0..cells {
            out.extend_from_slice(self.keys.get(n).map(Vec::as_slice).unwrap_or_default());
            let cell = self.cell(n);
            if self.csv.is_null(cell) {
                out.extend_from_slice(b"null");
            } else {
                write(cell, out)?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn cell(&self, n: usize) -> &[u8] {
        let end = |n: usize| self.ends.get(n).copied().unwrap_or_default();
        let start = n.checked_sub(1).map_or(0, end);
        self.text.get(start..end(n)).unwrap_or_default()
    }

    /// How many cells there are; none if this is not one row.
    fn take_apart(&mut self, row: &[u8]) -> Option<usize> {
        let (mut read, mut written, mut cells) = (0, 0, 0);
        loop {
            // The line end is not in the span of the row.
            let input = row.get(read..).filter(|rest| !rest.is_empty()).unwrap_or(b"\n");
            let (text, ends) = (self.text.get_mut(written..)?, self.ends.get_mut(cells..)?);
            let (result, taken, new_text, new_ends) = self.reader.read_record(input, text, ends);
            let at_end = read >= row.len();
            read += taken;
            written += new_text;
            cells += new_ends;
            match result {
                ReadRecordResult::Record => return (at_end || read >= row.len()).then_some(cells),
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if at_end => {
                    // A quote is open: begin anew with the next row.
                    self.reader = self.csv.reader();
                    return None;
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::End => return None,
            }
        }
    }
}
