use super::RecordsPath;
use super::csv::CsvSplitter;
use super::path::Format;
use crate::error::Result;
use crate::json::{Held, JsonSplitter, LineSplitter, Rest, ValuePath};
use bytes::Bytes;

/// Cuts a response into parts between its records while it streams, or holds it whole where that cannot be done. The parts
/// put together are the response, and depend on it alone, not on the pieces in which it came.
#[derive(Debug)]
pub struct Splitter(Kind);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each response")]
enum Kind {
    Json(JsonSplitter),
    Lines(LineSplitter),
    Csv(CsvSplitter),
    Whole(Held),
}

impl Splitter {
    /// A splitter of a response that is `announced` to have so many bytes, into parts of about `wanted` bytes. `values` are
    /// what will be taken from the response beside the records.
    pub fn new(path: &RecordsPath, values: &[ValuePath], wanted: usize, announced: usize) -> Self {
        Self(match &path.format {
            Format::Json(query) => Kind::Json(JsonSplitter::new(query, values, wanted, announced)),
            Format::Lines => Kind::Lines(LineSplitter::new(wanted)),
            Format::Csv(csv) => Kind::Csv(CsvSplitter::new(csv, wanted)),
            Format::Xml(_) => Kind::Whole(Held::with_capacity(announced)),
        })
    }

    /// Whether it ever cuts.
    pub fn cuts(&self) -> bool {
        match &self.0 {
            Kind::Json(json) => json.cuts(),
            Kind::Lines(_) | Kind::Csv(_) => true,
            Kind::Whole(_) => false,
        }
    }

    /// Takes the next bytes of the response.
    pub fn push(&mut self, piece: Bytes) {
        match &mut self.0 {
            Kind::Json(json) => json.push(piece),
            Kind::Lines(lines) => lines.push(piece),
            Kind::Csv(csv) => csv.push(piece),
            Kind::Whole(held) => held.push(piece),
        }
    }

    /// Says that all of the response has come: now the last parts can be taken.
    pub fn end(&mut self) {
        match &mut self.0 {
            Kind::Json(json) => json.end(),
            // They look at what comes at once.
            Kind::Lines(_) | Kind::Csv(_) | Kind::Whole(_) => {}
        }
    }

    /// Bytes of what has begun and cannot be cut, such as a record.
    pub fn begun(&self) -> usize {
        match &self.0 {
            Kind::Json(json) => json.begun(),
            Kind::Lines(lines) => lines.begun(),
            Kind::Csv(csv) => csv.begun(),
            Kind::Whole(held) => held.len(),
        }
    }

    /// Bytes that the next [`take_part`](Self::take_part) has to look at.
    pub fn unseen(&self) -> usize {
        match &self.0 {
            Kind::Json(json) => json.unseen(),
            Kind::Lines(_) | Kind::Whole(_) => 0,
            Kind::Csv(csv) => csv.unseen(),
        }
    }

    /// Takes the next part, if it is complete. What is left then is never empty in JSON. CPU work.
    ///
    /// # Errors
    /// `Data` if the response is not what it should be.
    pub fn take_part(&mut self) -> Result<Option<Bytes>> {
        match &mut self.0 {
            Kind::Json(json) => json.take_part(),
            Kind::Lines(lines) => Ok(lines.take_part()),
            Kind::Csv(csv) => Ok(csv.take_part()),
            Kind::Whole(_) => Ok(None),
        }
    }

    /// Gives what is left, when all parts have been taken.
    pub fn finish(self) -> Rest {
        match self.0 {
            Kind::Json(json) => json.finish(),
            Kind::Lines(lines) => Rest::of(lines.finish()),
            Kind::Csv(csv) => Rest::of(csv.finish()),
            Kind::Whole(mut held) => Rest::of(held.take_all()),
        }
    }
}
