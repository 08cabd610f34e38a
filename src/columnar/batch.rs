use crate::error::{Error, Result};
use crate::model::{Item, LandingPosition, Page, Reject, Span};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// Rows on their way, with where each came from.
///
/// A batch holds its [`Page`], so that the exact bytes of a row can be had until it is written.
#[derive(Clone, Debug)]
pub struct Batch {
    rows: RecordBatch,
    records: Records,
    origin: Option<Provenance>,
}

/// The page that the rows come from, and where its records lie.
#[derive(Clone, Debug)]
struct Provenance {
    page: Arc<Page>,
    spans: Arc<[Span]>,
}

/// The number within the page of the record of each row.
#[derive(Clone, Debug)]
enum Records {
    /// Row 0 is this record, row 1 the next one, and so on.
    From(u32),
    Listed(UInt32Array),
}

impl Records {
    fn of(&self, row: usize) -> Option<u32> {
        match self {
            Self::From(first) => first.checked_add(u32::try_from(row).ok()?),
            Self::Listed(records) => records.values().get(row).copied(),
        }
    }

    fn listed(records: &dyn Array) -> Result<Self> {
        let records = records.as_any().downcast_ref::<UInt32Array>().cloned();
        Ok(Self::Listed(records.ok_or_else(|| Error::bug("number rows", "filtering and taking keep the type"))?))
    }
}

impl Batch {
    /// Rows that come from no page, each a record of its own. A refused row is kept as text made of its values.
    pub fn new(rows: RecordBatch) -> Self {
        Self { rows, records: Records::From(0), origin: None }
    }

    /// Rows that are the records `records` of `page`, which lie at `spans` in its body.
    ///
    /// # Errors
    /// `Bug` if there are not as many records as rows, or one of them is not in the page.
    pub fn from_page(rows: RecordBatch, page: Arc<Page>, spans: Arc<[Span]>, records: Vec<u32>) -> Result<Self> {
        let refuse = |message| Err(Error::bug("make batch", message).with("rows", rows.num_rows()));
        if records.len() != rows.num_rows() {
            return refuse("there are not as many records as rows");
        }
        if records.iter().any(|r| spans.get(*r as usize).is_none_or(|s| s.of(&page.body).is_none())) {
            return refuse("a record is not in the page");
        }
        let dense = |first: &u32| records.iter().zip(*first..).all(|(record, expected)| *record == expected);
        let records = match records.first() {
            None => Records::From(0),
            Some(first) if dense(first) => Records::From(*first),
            Some(_) => Records::Listed(records.into()),
        };
        Ok(Self { rows, records, origin: Some(Provenance { page, spans }) })
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The page that the rows come from, if they come from one.
    pub fn page(&self) -> Option<&Arc<Page>> {
        self.origin.as_ref().map(|o| &o.page)
    }

    /// The column at `path`: a name, or names that lead into nested columns, with dots between them. A nested value is
    /// null where something around it is.
    ///
    /// # Errors
    /// `Config` if there is no such column.
    pub fn column(&self, path: &str) -> Result<ArrayRef> {
        super::path::resolve(&self.rows, path)
    }

    /// The rows for which `keep` is true (neither false nor null), with where they came from.
    ///
    /// # Errors
    /// `Bug` if `keep` has another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let failed = |e| Error::bug("filter batch", "the rows cannot be filtered").with_source(e);
        if keep.len() != self.num_rows() {
            return Err(Error::bug("filter batch", "the answer has another length than the batch")
                .with("answer", keep.len())
                .with("rows", self.num_rows()));
        }
        let rows = filter_record_batch(&self.rows, keep).map_err(failed)?;
        let records = filter(&self.records()?, keep).map_err(failed)?;
        Ok(Self { rows, records: Records::listed(&records)?, origin: self.origin.clone() })
    }

    /// The rows of the given numbers, in that order, with where they came from. A row may be taken twice.
    ///
    /// # Errors
    /// `Bug` if there is no such row.
    pub fn take(&self, numbers: &[u32]) -> Result<Self> {
        if let Some(missing) = numbers.iter().find(|n| **n as usize >= self.num_rows()) {
            return Err(Error::bug("take rows", "there is no such row")
                .with("row", missing)
                .with("rows", self.num_rows()));
        }
        let failed = |e| Error::bug("take rows", "the rows cannot be taken").with_source(e);
        let numbers = UInt32Array::from(numbers.to_vec());
        let rows = take_record_batch(&self.rows, &numbers).map_err(failed)?;
        let records = arrow::compute::take(&self.records()?, &numbers, None).map_err(failed)?;
        Ok(Self { rows, records: Records::listed(&records)?, origin: self.origin.clone() })
    }

    /// The same records with other columns.
    ///
    /// # Errors
    /// `Bug` if the number of rows is another one.
    pub fn with_rows(&self, rows: RecordBatch) -> Result<Self> {
        if rows.num_rows() != self.num_rows() {
            return Err(Error::bug("replace rows", "there are not as many rows as before")
                .with("before", self.num_rows())
                .with("after", rows.num_rows())
                .with_hint("use `Batch::filter` or `Batch::take` to change which rows there are"));
        }
        Ok(Self { rows, records: self.records.clone(), origin: self.origin.clone() })
    }

    /// The exact bytes of the record of a row: a part of its page, not copied. For rows of no page, a JSON object of
    /// their values as text. Empty if there is no such row.
    pub fn raw(&self, row: usize) -> Bytes {
        match &self.origin {
            None => Bytes::from(self.as_text(row)),
            Some(_) => self.span(row).map_or_else(Bytes::new, |(page, span)| slice(page, span)),
        }
    }

    /// Where the record of a row was landed.
    pub fn origin(&self, row: usize) -> Option<LandingPosition> {
        let origin = self.origin.as_ref()?;
        landed(&origin.page, self.records.of(row)?)
    }

    /// The refusal of a row, with its exact bytes and where they were landed.
    pub fn reject(&self, row: usize, code: &'static str, reason: impl Into<String>) -> Reject {
        let origin = self.origin.as_ref().and_then(|o| Some((o, self.records.of(row)?)));
        match origin {
            Some((origin, record)) => reject_record(&origin.page, &origin.spans, record, code, reason.into()),
            None => Reject::new(code, reason, self.raw(row)),
        }
    }

    fn span(&self, row: usize) -> Option<(&Page, Span)> {
        let origin = self.origin.as_ref()?;
        let record = self.records.of(row)?;
        Some((&origin.page, *origin.spans.get(record as usize)?))
    }

    /// The number of the record that each row comes from: within its page or, of rows from no page, within the batch that they
    /// were first in. Rows of one record have one number, and come in one batch; the same number in another batch is another
    /// record.
    ///
    /// # Errors
    /// `Bug` if there are more than 2^32 rows.
    pub fn records(&self) -> Result<UInt32Array> {
        match &self.records {
            Records::Listed(records) => Ok(records.clone()),
            dense @ Records::From(_) => (0..self.num_rows())
                .map(|row| dense.of(row))
                .collect::<Option<Vec<u32>>>()
                .map(UInt32Array::from)
                .ok_or_else(|| Error::bug("number rows", "more rows than a page has records")),
        }
    }

    fn as_text(&self, row: usize) -> String {
        if row >= self.num_rows() {
            return String::new();
        }
        let options = FormatOptions::new();
        let schema = self.rows.schema();
        let values = schema.fields().iter().zip(self.rows.columns()).map(|(field, column)| {
            let value = match ArrayFormatter::try_new(column, &options) {
                Ok(formatter) if column.is_valid(row) => json!(formatter.value(row).to_string()),
                _ => json!(null),
            };
            format!("{}:{value}", json!(field.name()))
        });
        format!("{{{}}}", values.collect::<Vec<_>>().join(","))
    }
}

impl Item for Batch {
    fn records(&self) -> u64 {
        self.num_rows() as u64
    }

    fn bytes(&self) -> u64 {
        let page = self.origin.as_ref().map_or(0, |o| o.page.body.len() + size_of_val::<[Span]>(&o.spans));
        (self.rows.get_array_memory_size() + page) as u64
    }
}

/// The bytes at `span`, not copied; empty if it does not lie in the body.
fn slice(page: &Page, span: Span) -> Bytes {
    span.of(&page.body).map_or_else(Bytes::new, |bytes| page.body.slice_ref(bytes))
}

/// Where record number `record` of `page` was landed.
pub(super) fn landed(page: &Page, record: u32) -> Option<LandingPosition> {
    let start = page.origin?.start;
    Some(LandingPosition { segment: start.segment, record: start.record.checked_add(u64::from(record))? })
}

/// The refusal of record number `record` of `page`.
pub(super) fn reject_record(page: &Page, spans: &[Span], record: u32, code: &'static str, reason: String) -> Reject {
    let span = spans.get(record as usize).copied();
    Reject {
        code,
        reason,
        raw: span.map_or_else(Bytes::new, |span| slice(page, span)),
        partition: Some(page.partition.clone()),
        origin: landed(page, record),
        span,
        received_at: Some(page.received_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn rows_of_one_record_can_be_told_from_those_of_the_next() {
        let ids = Arc::new(Int64Array::from(vec![7, 8, 9])) as ArrayRef;
        let batch = Batch::new(RecordBatch::try_from_iter([("id", ids)]).expect("fits"));
        let repeated = batch.take(&[0, 0, 2]).expect("takes");
        let kept = repeated.filter(&BooleanArray::from(vec![false, true, true])).expect("filters");
        let records = |batch: &Batch| batch.records().expect("few").values().to_vec();
        assert_eq!((records(&batch), records(&repeated), records(&kept)), (vec![0, 1, 2], vec![0, 0, 2], vec![0, 2]));
    }
}
