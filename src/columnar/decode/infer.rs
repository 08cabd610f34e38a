//! Decides columns by a sample of records.

use super::core::{numbered, whole};
use super::cursor::Cursor;
use super::fault::Checked;
use super::{number, time};
use crate::columnar::schema::{Coerce, ColumnType, Columns, TimeUnit};
use crate::error::{Error, Result};
use crate::model::{Page, Span};
use std::collections::{HashMap, HashSet};

/// Objects with more keys than this are maps rather than records: they become `json`.
const MOST_FIELDS: usize = 256;
/// Objects below this many others become `json`.
const DEEPEST: usize = 8;

/// What was seen in one place.
#[derive(Debug, Default)]
struct Seen {
    bools: bool,
    integers: Option<(i128, i128)>,
    fractions: bool,
    /// Numbers that only their text holds.
    long_numbers: bool,
    strings: bool,
    not_times: bool,
    not_dates: bool,
    elements: Option<Box<Self>>,
    fields: Option<Fields>,
}

/// Keys in the order in which they were met first.
#[derive(Debug, Default)]
struct Fields {
    order: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
}

/// The columns that fit the first `sample` records of `page`; `None` if none of them is an object.
pub(super) fn columns(page: &Page, spans: &[Span], sample: usize) -> Result<Option<Columns>> {
    let mut seen = Seen::default();
    for (_, span) in numbered(page, spans).take(sample.max(1)) {
        // A record that is broken says nothing; it is refused when it is decoded. So does one that is no object.
        let mut record = Seen::default();
        if whole(&page.body, *span, |cursor| record.take(cursor)).is_ok() && record.fields.is_some() {
            let mut cursor = Cursor::new(&page.body, span.start as usize);
            cursor.space();
            seen.take(&mut cursor).map_err(|_| Error::bug("infer columns", "a record reads differently twice"))?;
        }
    }
    let Some(fields) = seen.fields else { return Ok(None) };
    let columns = fields.columns(0);
    columns.check().map_err(|e| {
        Error::data("infer columns", "the fields of the first records cannot be columns")
            .with_hint("declare the columns with `schema`, and rename fields with `Column::at`")
            .with_source(e)
    })?;
    Ok(Some(columns))
}

impl Seen {
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Checked<()> {
        match cursor.peek() {
            b'n' => cursor.literal("null"),
            b't' | b'f' => {
                self.bools = true;
                cursor.value()
            }
            b'"' => {
                let mut text = Vec::new();
                cursor.string()?.unescape(&mut text)?;
                self.strings = true;
                self.not_times |= time::instant(&text, TimeUnit::Microsecond).is_err();
                self.not_dates |= time::date(&text).is_err();
                Ok(())
            }
            b'[' => {
                let elements = self.elements.get_or_insert_default();
                cursor.sequence(b']', |cursor| elements.take(cursor))
            }
            b'{' => {
                let fields = self.fields.get_or_insert_default();
                cursor.sequence(b'}', |cursor| fields.take(cursor))
            }
            _ => {
                let number = cursor.number()?;
                if !number.integer {
                    self.fractions = true;
                    let significant = number.text.iter().take_while(|b| !matches!(b, b'e' | b'E'));
                    let digits = significant.filter(|b| b.is_ascii_digit()).skip_while(|b| **b == b'0').count();
                    self.long_numbers |= digits > 17 || number::float64(number.text, false).is_err();
                } else if let Ok(value) = number::integer(number.text, "int64") {
                    let (low, high) = self.integers.unwrap_or((value, value));
                    self.integers = Some((low.min(value), high.max(value)));
                } else {
                    self.long_numbers = true;
                }
                Ok(())
            }
        }
    }

    /// The type that holds everything that was seen.
    fn kind(&self, level: usize) -> ColumnType {
        let numbers = self.fractions || self.long_numbers || self.integers.is_some();
        let scalars = [self.bools, numbers, self.strings];
        let containers = [self.elements.is_some(), self.fields.is_some()];
        match (scalars, containers) {
            ([true, false, false], [false, false]) => ColumnType::Bool,
            ([false, true, false], [false, false]) => self.number(),
            ([false, false, true], [false, false]) if !self.not_times => ColumnType::timestamp(),
            ([false, false, true], [false, false]) if !self.not_dates => ColumnType::Date,
            ([false, false, true], [false, false]) => ColumnType::utf8(),
            ([false, false, false], [true, false]) => {
                let element = self.elements.as_ref().map_or(ColumnType::Json, |e| e.kind(level + 1));
                ColumnType::List(Box::new(element))
            }
            ([false, false, false], [false, true]) => match &self.fields {
                Some(fields) if level < DEEPEST && fields.fit() => ColumnType::Struct(fields.columns(level + 1)),
                _ => ColumnType::Json,
            },
            (_, [false, false]) if scalars.contains(&true) => ColumnType::Utf8(Coerce::Text),
            _ => ColumnType::Json,
        }
    }

    fn number(&self) -> ColumnType {
        let exact = 1 << 53;
        match self.integers {
            _ if self.long_numbers => ColumnType::Utf8(Coerce::Text),
            None => ColumnType::Float64,
            Some((low, high)) if self.fractions && -exact <= low && high <= exact => ColumnType::Float64,
            Some(_) if self.fractions => ColumnType::Utf8(Coerce::Text),
            Some((low, high)) if i64::try_from(low).is_ok() && i64::try_from(high).is_ok() => ColumnType::Int64,
            Some((low, high)) if u64::try_from(low).is_ok() && u64::try_from(high).is_ok() => ColumnType::Uint64,
            Some(_) => ColumnType::Decimal { precision: 38, scale: 0 },
        }
    }
}

impl Fields {
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Checked<()> {
        if cursor.peek() != b'"' {
            return Err(cursor.broken("a key"));
        }
        let mut key = Vec::new();
        cursor.string()?.unescape(&mut key)?;
        cursor.space();
        cursor.expect(b':', "a colon")?;
        cursor.space();
        let key = String::from_utf8_lossy(&key).into_owned();
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                self.places.insert(key.clone(), self.order.len());
                self.order.push((key, Seen::default()));
                self.order.len() - 1
            }
        };
        match self.order.get_mut(place) {
            Some((_, seen)) => seen.take(cursor),
            None => cursor.value(),
        }
    }

    /// Whether these can be the fields of a nested column.
    fn fit(&self) -> bool {
        let mut names = HashSet::new();
        (1..=MOST_FIELDS).contains(&self.order.len())
            && self.order.iter().all(|(name, _)| !name.is_empty() && names.insert(name.to_lowercase()))
    }

    fn columns(&self, level: usize) -> Columns {
        self.order.iter().fold(Columns::new(), |columns, (name, seen)| columns.typed(name, seen.kind(level)))
    }
}
