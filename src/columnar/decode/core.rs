//! Pages to batches, with the columns known.

use super::UnknownFields;
use super::cursor::Cursor;
use super::fault::{Checked, Fault};
use super::node::{Node, broken};
use super::object::{Object, Scratch};
use crate::columnar::batch::{Batch, landed, reject_record};
use crate::columnar::schema::{ColumnType, Columns, UTC};
use crate::error::{Error, Result};
use crate::model::{LandingPosition, Page, Reject, Span};
use crate::records::TextRecords;
use crate::stage::Output;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// A batch is given at the latest when it has this many rows ...
const MAX_ROWS: usize = 1 << 16;
/// ... or comes from this many bytes of JSON, so that the offsets of its strings and lists fit into 31 bits.
const MAX_BYTES: u64 = 1 << 30;

/// The names of the columns that say where a row comes from.
const PROVENANCE: [&str; 3] = ["_landfall_segment", "_landfall_record", "_landfall_received_at"];

/// The columns that are being filled.
#[derive(Debug)]
pub(super) struct Core {
    root: Object,
    schema: SchemaRef,
    provenance: bool,
    max_record_bytes: u32,
    scratch: Scratch,
}

impl Core {
    pub(super) fn new(
        columns: &Columns,
        unknown: UnknownFields,
        provenance: bool,
        max_record_bytes: u32,
        inferred: bool,
    ) -> Result<Self> {
        columns.check()?;
        let mut fields = columns.fields();
        if provenance {
            if let Some(taken) = fields.iter().find(|f| PROVENANCE.contains(&f.name().to_lowercase().as_str())) {
                return Err(Error::config("set up decode", "a column has the name of a provenance column")
                    .with("column", taken.name()));
            }
            let [segment, record, received_at] = PROVENANCE;
            fields.push(Field::new(segment, DataType::UInt64, true));
            fields.push(Field::new(record, DataType::UInt64, true));
            fields.push(Field::new(received_at, DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), true));
        }
        let mut scratch = Scratch::default();
        scratch.inferred = inferred;
        scratch.refuse_unknown = unknown == UnknownFields::Quarantine;
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { root: Object::new(columns.iter()), schema, provenance, max_record_bytes, scratch })
    }

    /// Whether a value that its column cannot hold is null, and its record is not refused.
    pub(super) fn null_unfit(&mut self, null: bool) {
        self.scratch.null_unfit = null;
    }

    /// Decodes the records of a page that have not been consumed before.
    /// `texts` makes JSON of them, if they are something else.
    pub(super) fn page(
        &mut self,
        page: Arc<Page>,
        spans: &Arc<[Span]>,
        mut texts: Option<&mut TextRecords>,
        out: &mut Output<Batch>,
    ) -> Result<()> {
        let mut rows: Vec<u32> = Vec::with_capacity(spans.len().min(MAX_ROWS));
        let mut bytes = 0;
        let fields = fields(&page)?;
        let more = fields.map_or(0, |fields| fields.len() as u64);
        for (record, span) in numbered(&page, spans) {
            let taken = match &mut texts {
                None => self.record(&page.body, *span, fields),
                Some(texts) => self.text_record(&page.body, *span, texts, fields),
            };
            match taken {
                Ok(()) => rows.push(record),
                Err(fault) => {
                    self.root.truncate(rows.len());
                    out.reject(reject(&page, spans, record, &fault));
                }
            }
            // Texts that had to be escaped are longer in JSON, but not in the columns.
            bytes += u64::from(span.len) + more;
            if rows.len() >= MAX_ROWS || bytes + more + u64::from(self.max_record_bytes) > MAX_BYTES {
                self.finish(&page, spans, std::mem::take(&mut rows), out)?;
                bytes = 0;
            }
        }
        let unknown = std::mem::take(&mut self.scratch.unknown);
        if unknown > 0 {
            metrics::counter!("landfall_decode_unknown_fields_total").increment(unknown);
        }
        let unfit = std::mem::take(&mut self.scratch.unfit);
        if unfit > 0 {
            metrics::counter!("landfall_decode_unfit_values_total").increment(unfit);
        }
        self.finish(&page, spans, rows, out)
    }

    /// Takes one record. On a fault the columns are left with a part of it.
    fn record(&mut self, body: &[u8], span: Span, fields: Option<&[u8]>) -> Checked<()> {
        let root = &mut self.root;
        let scratch = &mut self.scratch;
        scratch.filled = 0;
        object(body, span, self.max_record_bytes, |cursor| root.take_with(cursor, fields, scratch))
    }

    /// Takes one record that is not JSON, as [`record`](Self::record).
    fn text_record(&mut self, body: &[u8], span: Span, texts: &mut TextRecords, fields: Option<&[u8]>) -> Checked<()> {
        let mut json = std::mem::take(&mut self.scratch.json);
        let taken = as_json(texts, body, span, self.max_record_bytes, &mut json).and_then(|span| {
            self.scratch.texts = Some(texts.texts());
            self.scratch.filled = 0;
            let scratch = &mut self.scratch;
            object(&json, span, u32::MAX, |cursor| self.root.take_with(cursor, fields, scratch))
        });
        self.scratch.texts = None;
        self.scratch.json = json;
        taken
    }

    fn finish(&mut self, page: &Arc<Page>, spans: &Arc<[Span]>, rows: Vec<u32>, out: &mut Output<Batch>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns = self.root.finish()?;
        if self.provenance {
            columns.extend(provenance(page, &rows));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(broken)?;
        out.emit(Batch::from_page(batch, Arc::clone(page), Arc::clone(spans), rows)?);
        Ok(())
    }
}

/// Reads single values of one type, as the decoder reads the values of a column.
pub(crate) struct OneColumn {
    node: Node,
    scratch: Scratch,
}

impl OneColumn {
    pub(crate) fn new(kind: &ColumnType) -> Self {
        Self { node: Node::new("value", kind), scratch: Scratch::default() }
    }

    /// Whether `value` is the text of one: as it would stand in JSON, with or without quotes.
    pub(crate) fn reads(&mut self, value: &str) -> bool {
        self.reads_json(value.as_bytes()) || serde_json::to_vec(value).is_ok_and(|quoted| self.reads_json(&quoted))
    }

    fn reads_json(&mut self, value: &[u8]) -> bool {
        let Ok(len) = u32::try_from(value.len()) else { return false };
        let edges = [value.first(), value.last()];
        if edges.iter().any(|edge| edge.is_none_or(u8::is_ascii_whitespace)) || value == b"null" {
            return false;
        }
        self.scratch.filled = 0;
        let read = whole(value, Span { start: 0, len }, |cursor| self.node.take(cursor, &mut self.scratch));
        self.node.truncate(0);
        read.is_ok()
    }
}

/// The records that have not been consumed before, with their numbers.
pub(super) fn numbered<'a>(page: &Page, spans: &'a [Span]) -> impl Iterator<Item = (u32, &'a Span)> + use<'a> {
    let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
    (0u32..).zip(spans).skip(skip)
}

/// The fields of every record of `page`: the text of an object.
pub(super) fn fields(page: &Page) -> Result<Option<&[u8]>> {
    let fields = page.fields.as_ref().map(|fields| fields.get().as_bytes());
    if fields.is_some_and(|text| text.first() != Some(&b'{')) {
        return Err(
            Error::bug("decode page", "the fields of a page are no JSON object").with("partition", &page.partition)
        );
    }
    Ok(fields)
}

/// Lets `take` have the value at `span`, and checks that it is the whole of it.
pub(super) fn whole<T>(body: &[u8], span: Span, take: impl FnOnce(&mut Cursor<'_>) -> Checked<T>) -> Checked<T> {
    let mut cursor = Cursor::new(body, span.start as usize);
    let end = span.start as usize + span.len as usize;
    cursor.space();
    let taken = take(&mut cursor);
    // What was read there belongs to the page around, so it must not decide what is said.
    if cursor.at() > end {
        return Err(Fault::json("not JSON: the record ends too early"));
    }
    let value = taken?;
    let rest = body.get(cursor.at()..end).unwrap_or_default();
    if !rest.iter().all(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')) {
        return Err(Fault::json("not JSON: something follows the record"));
    }
    Ok(value)
}

/// Makes an object of JSON of the record at `span`, of at most `max_bytes`. Gives where in `json` it is.
pub(super) fn as_json(
    texts: &mut TextRecords,
    body: &[u8],
    span: Span,
    max_bytes: u32,
    json: &mut Vec<u8>,
) -> Checked<Span> {
    if span.len > max_bytes {
        return Err(too_large(max_bytes));
    }
    json.clear();
    texts.write_json(span.of(body).unwrap_or_default(), json).map_err(|why| Fault::new(why.code, why.reason))?;
    // As JSON it is larger, but in proportion.
    let len = u32::try_from(json.len()).map_err(|_| too_large(max_bytes))?;
    Ok(Span { start: 0, len })
}

#[cold]
fn too_large(max_bytes: u32) -> Box<Fault> {
    Fault::new("size", format!("larger than {max_bytes} bytes"))
}

/// Lets `take` have the record at `span`: an object of at most `max_bytes`.
pub(super) fn object<T>(
    body: &[u8],
    span: Span,
    max_bytes: u32,
    take: impl FnOnce(&mut Cursor<'_>) -> Checked<T>,
) -> Checked<T> {
    if span.len > max_bytes {
        return Err(too_large(max_bytes));
    }
    whole(body, span, |cursor| match cursor.peek() {
        b'{' => take(cursor),
        first => cursor.value().and_then(|()| Err(Fault::expected("an object", first))),
    })
}

pub(super) fn reject(page: &Page, spans: &[Span], record: u32, fault: &Fault) -> Reject {
    reject_record(page, spans, record, fault.code, fault.reason())
}

fn provenance(page: &Page, rows: &[u32]) -> [ArrayRef; 3] {
    let places: Vec<Option<LandingPosition>> = rows.iter().map(|record| landed(page, *record)).collect();
    let column = |of: fn(&LandingPosition) -> u64| UInt64Array::from_iter(places.iter().map(|p| p.as_ref().map(of)));
    let received_at = TimestampMicrosecondArray::from_value(page.received_at.as_micros(), rows.len());
    [Arc::new(column(|p| p.segment)), Arc::new(column(|p| p.record)), Arc::new(received_at.with_timezone(UTC))]
}
