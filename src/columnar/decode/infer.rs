//! Decides columns by a sample of records.

use super::core::{as_json, fields, numbered, object};
use super::cursor::{Cursor, Number};
use super::fault::{Checked, Fault};
use super::{number, time};
use crate::columnar::schema::{Coerce, ColumnType, Columns, TimeUnit};
use crate::error::{Error, Result};
use crate::model::{Page, Span};
use crate::records::{TextRecords, Texts};
use std::collections::{HashMap, HashSet};

/// Objects with more keys than this are maps rather than records: they become `json`.
const MOST_FIELDS: usize = 256;
/// A record with more keys than this is none: whoever puts data into keys would make a column of each.
const MOST_COLUMNS: usize = 4096;
/// Objects and lists below this many others become `json`.
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

/// What the records of a page say about the columns.
pub(super) enum Inferred {
    Columns(Columns),
    /// Nothing, and why each of them says nothing.
    Nothing(Vec<(u32, Box<Fault>)>),
}

/// The columns that fit the first `sample` records of `page` that say what columns there are.
/// `texts` makes JSON of the records, if they are something else.
pub(super) fn columns(
    page: &Page,
    spans: &[Span],
    texts: &mut Option<TextRecords>,
    sample: usize,
    max_record_bytes: u32,
) -> Result<Inferred> {
    let mut seen = Seen::default();
    let mut wanted = sample.max(1);
    let mut refused = Vec::new();
    let more = fields(page)?;
    let kind = texts.as_ref().map(TextRecords::texts);
    let mut json = Vec::new();
    for (record, span) in numbered(page, spans) {
        let made = texts.as_mut().map(|texts| as_json(texts, &page.body, *span, max_record_bytes, &mut json));
        let (body, span, max_bytes) = match made.transpose() {
            Ok(None) => (page.body.as_ref(), *span, max_record_bytes),
            Ok(Some(span)) => (json.as_slice(), span, u32::MAX),
            Err(fault) => {
                refused.push((record, fault));
                continue;
            }
        };
        // What will be refused must not shape the columns, so it is looked at by itself first.
        let decides = |cursor: &mut Cursor<'_>| Seen::default().take_decisive(cursor, kind, more);
        if let Err(fault) = object(body, span, max_bytes, decides) {
            refused.push((record, fault));
            continue;
        }
        object(body, span, max_bytes, |cursor| {
            seen.take(cursor, kind)?;
            seen.take_more(more, HashSet::new())
        })
        .map_err(|_| Error::bug("infer columns", "a record reads differently twice"))?;
        wanted -= 1;
        if wanted == 0 {
            break;
        }
    }
    if kind == Some(Texts::Elements) {
        seen.settle();
    }
    let Some(fields) = seen.fields else { return Ok(Inferred::Nothing(refused)) };
    if fields.order.len() > MOST_COLUMNS {
        return Err(Error::data("infer columns", "the first records have too many different fields to be columns")
            .with("at_most", MOST_COLUMNS)
            .with_hint("declare the columns with `schema`; what is keyed by data can be a `json` column"));
    }
    let columns = fields.columns(0, kind);
    columns.check().map_err(|e| {
        Error::data("infer columns", "the fields of the first records cannot be columns")
            .with_hint("declare the columns with `schema`, and rename fields with `Column::at`")
            .with_source(e)
    })?;
    Ok(Inferred::Columns(columns))
}

impl Seen {
    /// Takes a first record, which must have a field of its own that can be a column, and the fields `more` of its page.
    fn take_decisive(&mut self, cursor: &mut Cursor<'_>, texts: Option<Texts>, more: Option<&[u8]>) -> Checked<()> {
        self.take(cursor, texts)?;
        let own = self.fields.as_ref().filter(|fields| fields.named().next().is_some());
        let Some(own) = own else {
            return Err(Fault::new("undecided", "it has no field, and no record so far says what columns there are"));
        };
        if own.order.len() > MOST_COLUMNS {
            return Err(Fault::new(
                "size",
                format!("it has more than {MOST_COLUMNS} fields, and no columns are declared"),
            ));
        }
        let met = (0..own.order.len()).collect();
        self.take_more(more, met)
    }

    /// Takes the fields that a page gives to its records. `met` are the places of the keys that the record has.
    fn take_more(&mut self, more: Option<&[u8]>, mut met: HashSet<usize>) -> Checked<()> {
        let (Some(more), Some(fields)) = (more, &mut self.fields) else { return Ok(()) };
        let taken = Cursor::new(more, 0).sequence(b'}', |cursor| fields.take(cursor, None, &mut met));
        taken.map_err(Fault::of_page_fields)
    }

    /// Takes a value. Of `texts` each is taken as the value that stands in it.
    fn take(&mut self, cursor: &mut Cursor<'_>, texts: Option<Texts>) -> Checked<()> {
        match cursor.peek() {
            b'n' => cursor.literal("null"),
            b't' | b'f' => {
                self.bools = true;
                cursor.value()
            }
            b'"' => {
                let mut text = Vec::new();
                cursor.string()?.unescape(&mut text)?;
                if texts.is_some() && self.take_text(&text) {
                    return Ok(());
                }
                self.strings = true;
                self.not_times |= time::instant(&text, TimeUnit::Microsecond).is_err();
                self.not_dates |= time::date(&text).is_err();
                Ok(())
            }
            b'[' => {
                let elements = self.elements.get_or_insert_default();
                cursor.sequence(b']', |cursor| elements.take(cursor, texts))
            }
            b'{' => {
                let fields = self.fields.get_or_insert_default();
                let mut met = HashSet::new();
                cursor.sequence(b'}', |cursor| fields.take(cursor, texts, &mut met))
            }
            _ => {
                self.number_is(&cursor.number()?);
                Ok(())
            }
        }
    }

    fn number_is(&mut self, number: &Number<'_>) {
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
    }

    /// Takes the value that stands in a text, if it is one whatever the text means: 00123 and 3e8 are names as well.
    fn take_text(&mut self, text: &[u8]) -> bool {
        if matches!(text, b"true" | b"false") {
            self.bools = true;
            return true;
        }
        let is_plain = number::is_plain(text);
        if is_plain {
            self.number_is(&Number { text, integer: !text.contains(&b'.') });
        }
        is_plain
    }

    /// What elements of XML come to: where one is repeated in some record it is a list in all, and where it has attributes or
    /// children in some, it is an object with its text in all.
    fn settle(&mut self) {
        if let Some(mut elements) = self.elements.take() {
            elements.merge(std::mem::take(self));
            elements.settle();
            self.elements = Some(elements);
        } else if let Some(mut fields) = self.fields.take() {
            let text = std::mem::take(self);
            if text.is_scalar() {
                fields.seen("#text").merge(text);
            }
            fields.order.iter_mut().for_each(|(_, seen)| seen.settle());
            self.fields = Some(fields);
        }
    }

    fn is_scalar(&self) -> bool {
        self.bools || self.integers.is_some() || self.fractions || self.long_numbers || self.strings
    }

    fn merge(&mut self, other: Self) {
        self.bools |= other.bools;
        self.integers = match (self.integers, other.integers) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.fractions |= other.fractions;
        self.long_numbers |= other.long_numbers;
        self.strings |= other.strings;
        self.not_times |= other.not_times;
        self.not_dates |= other.not_dates;
        if let Some(elements) = other.elements {
            self.elements.get_or_insert_default().merge(*elements);
        }
        if let Some(fields) = other.fields {
            let own = self.fields.get_or_insert_default();
            fields.order.into_iter().for_each(|(name, seen)| own.seen(&name).merge(seen));
        }
    }

    /// The type that holds everything that was seen.
    fn kind(&self, level: usize, texts: Option<Texts>) -> ColumnType {
        let numbers = self.fractions || self.long_numbers || self.integers.is_some();
        let scalars = [self.bools, numbers, self.strings];
        let containers = [self.elements.is_some(), self.fields.is_some()];
        match (scalars, containers) {
            ([true, false, false], [false, false]) => ColumnType::Bool,
            ([false, true, false], [false, false]) => self.number(),
            ([false, false, true], [false, false]) if !self.not_times => ColumnType::timestamp(),
            ([false, false, true], [false, false]) if !self.not_dates => ColumnType::Date,
            ([false, false, true], [false, false]) => ColumnType::utf8(),
            ([false, false, false], [true, false]) if level < DEEPEST => {
                let element = self.elements.as_ref().map_or(ColumnType::Json, |e| e.kind(level + 1, texts));
                ColumnType::List(Box::new(element))
            }
            ([false, false, false], [false, true]) => match &self.fields {
                Some(fields) if level < DEEPEST && fields.fit() => ColumnType::Struct(fields.columns(level + 1, texts)),
                _ => ColumnType::Json,
            },
            (_, [false, false]) if scalars.contains(&true) => ColumnType::Utf8(Coerce::Text),
            // There was no text, but there may be one.
            (_, [false, false]) if texts.is_some() => ColumnType::utf8(),
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
    /// Takes a key and its value. `met` are the places of the keys that this object has had.
    fn take(&mut self, cursor: &mut Cursor<'_>, texts: Option<Texts>, met: &mut HashSet<usize>) -> Checked<()> {
        if cursor.peek() != b'"' {
            return Err(cursor.broken("a key"));
        }
        let mut key = Vec::new();
        cursor.string()?.unescape(&mut key)?;
        cursor.space();
        cursor.expect(b':', "a colon")?;
        cursor.space();
        let key = String::from_utf8_lossy(&key);
        if self.order.len() > MOST_COLUMNS && !self.places.contains_key(key.as_ref()) {
            // These are too many already, whatever else there is.
            return cursor.value();
        }
        let place = self.place(&key);
        if !met.insert(place) {
            return Err(Fault::new("duplicate_key", "a key comes twice"));
        }
        match self.order.get_mut(place) {
            Some((_, seen)) => seen.take(cursor, texts),
            None => cursor.value(),
        }
    }

    /// The place of a key, which is a new one if it has not been met.
    fn place(&mut self, key: &str) -> usize {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        self.places.insert(key.to_owned(), self.order.len());
        self.order.push((key.to_owned(), Seen::default()));
        self.order.len() - 1
    }

    fn seen(&mut self, key: &str) -> &mut Seen {
        let place = self.place(key);
        let (_, seen) = &mut self.order[place];
        seen
    }

    /// Whether these can be the fields of a nested column.
    fn fit(&self) -> bool {
        let mut names = HashSet::new();
        (1..=MOST_FIELDS).contains(&self.order.len())
            && self.order.iter().all(|(name, _)| !name.is_empty() && names.insert(name.to_lowercase()))
    }

    fn columns(&self, level: usize, texts: Option<Texts>) -> Columns {
        self.named().fold(Columns::new(), |columns, (name, seen)| columns.typed(name, seen.kind(level, texts)))
    }

    /// The fields that can be columns: those with a name.
    fn named(&self) -> impl Iterator<Item = &(String, Seen)> {
        self.order.iter().filter(|(name, _)| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apply, page, rows};
    use crate::columnar::Decode;
    use crate::error::ErrorKind;
    use crate::stage::{Output, Stage, StageState};
    use arrow::array::Array;
    use bytes::Bytes;

    #[test]
    fn inferred_columns_are_frozen_and_restored() {
        let mut decode = Decode::pages().infer_from(1);
        assert!(decode.fork().is_none());
        // Nothing in this page says what the columns are.
        let (batches, rejects) = apply(&mut decode, page(&["1", "[]"]));
        assert_eq!((batches.len(), rejects.len()), (0, 2));
        assert_eq!(rejects[0].reason, "expected an object, found a number");
        assert_eq!(decode.delta().expect("writes"), None);

        let (_, rejects) = apply(&mut decode, page(&[r#"{"id":1}"#, r#"{"id":"x","late":1}"#]));
        assert_eq!(rejects.len(), 1);
        let kept = decode.delta().expect("writes").expect("decided");
        assert_eq!(
            kept.as_ref(),
            include_bytes!("../../../tests/fixtures/columns-v1.json").trim_ascii_end(),
            "the persisted form is fixed"
        );
        assert_eq!(decode.delta().expect("writes"), None);
        assert_eq!(decode.base().expect("writes"), kept);

        // Another first page, and yet the same columns; and copies from the start.
        let mut again = Decode::pages().infer_from(1);
        again.restore(vec![kept.clone()]).expect("restores");
        let mut copy = again.fork().expect("decided");
        for decode in [&mut again, &mut copy] {
            let (batches, rejects) = apply(decode, page(&[r#"{"id":"text"}"#, r#"{"id":7,"other":1}"#]));
            assert_eq!((rows(&batches).schema().fields().len(), rejects.len()), (1, 1));
        }
        let newer = String::from_utf8_lossy(&kept).replace("\"version\":1", "\"version\":2");
        assert_eq!(again.restore(vec![newer.into()]).expect_err("newer").kind(), ErrorKind::Config);
        assert_eq!(again.restore(vec![Bytes::from_static(b"{")]).expect_err("cut").kind(), ErrorKind::Corrupt);
    }

    /// The columns that a page of these records is inferred to have, and the codes of what is refused.
    fn inferred(decode: &mut Decode, records: &[&str]) -> (Vec<String>, Vec<&'static str>) {
        let (_, rejects) = apply(decode, page(records));
        let columns = decode.columns().map(|all| all.iter().map(|c| format!("{}: {}", c.name(), c.kind())).collect());
        (columns.unwrap_or_default(), rejects.iter().map(|r| r.code).collect())
    }

    #[test]
    fn only_records_that_can_be_decoded_decide_the_columns() {
        // The sample is full of what says nothing; one good record follows it.
        let (columns, codes) = inferred(&mut Decode::pages().infer_from(1), &["1", "[2]", "{}", r#"{"id":1}"#]);
        assert_eq!((columns, codes), (vec!["id: int64".to_owned()], vec!["type", "type"]));
        let (columns, codes) = inferred(&mut Decode::pages().infer(), &[r#"{"":1}"#, r#"{"":1,"id":2}"#]);
        assert_eq!((columns, codes.len()), (vec!["id: int64".to_owned()], 0));

        let large = format!(r#"{{"id":"{}"}}"#, "x".repeat(100));
        let nested = r#"{"id":1,"o":[{"a":1},{"a":1,"a":2}]}"#;
        let records = [r#"{"id":7,"id":"b"}"#, nested, &large, r#"{"id":1,"o":[{"a":1},{"a":2}]}"#];
        let (columns, codes) = inferred(&mut Decode::pages().infer().max_record_bytes(50), &records);
        assert_eq!(columns, ["id: int64", "o: list<struct<a: int64>>"]);
        assert_eq!(codes, ["duplicate_key", "duplicate_key", "size"]);
    }

    #[test]
    fn records_without_fields_wait_for_one_that_decides() {
        let mut decode = Decode::pages().infer();
        let (columns, codes) = inferred(&mut decode, &["{}", "1", "{ }"]);
        assert_eq!((columns.len(), codes), (0, vec!["undecided", "type", "undecided"]));
        assert!(decode.delta().expect("writes").is_none() && decode.fork().is_none());
        let (batches, rejects) = apply(&mut decode, page(&["{}", r#"{"id":1}"#]));
        assert_eq!((rows(&batches).num_rows(), rejects.len()), (2, 0));
        assert!(rows(&batches).column(0).is_null(0));
    }

    #[test]
    fn keys_that_are_data_do_not_become_columns() {
        let record = |keys: std::ops::Range<usize>| {
            let fields: Vec<_> = keys.map(|n| format!("\"k{n}\":1")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let mut decode = Decode::pages().infer();
        let (batches, rejects) = apply(&mut decode, page(&[&record(0..100_000), r#"{"id":1}"#]));
        // It says nothing about columns, and is a row without any of them.
        assert_eq!((rows(&batches).num_columns(), rows(&batches).num_rows(), rejects.len()), (1, 2, 0));
        let (batches, rejects) = apply(&mut Decode::pages().infer(), page(&[&record(0..100_000)]));
        assert_eq!((batches.len(), rejects[0].code), (0, "size"));
        let nested = format!(r#"{{"id":1,"map":{}}}"#, record(0..100_000));
        assert_eq!(inferred(&mut Decode::pages().infer(), &[&nested]).0, ["id: int64", "map: json"]);
        // Each of them is small, and all together are not.
        let many: Vec<_> = (0..10).map(|n| record(n * 500..(n + 1) * 500)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = Decode::pages().infer().apply(page(&many), &mut Output::new()).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("declare the columns"), "{error}");
    }

    #[test]
    fn what_is_nested_deeply_is_inferred_as_json() {
        for deep in [40, 120] {
            let lists = format!(r#"{{"v":{}1{}}}"#, "[".repeat(deep), "]".repeat(deep));
            let objects = format!(r#"{{"v":{}1{}}}"#, r#"{"a":"#.repeat(deep), "}".repeat(deep));
            for record in [lists, objects] {
                let mut decode = Decode::pages().infer();
                let (columns, codes) = inferred(&mut decode, &[&record]);
                assert!(columns.len() == 1 && columns[0].contains("json") && codes.is_empty(), "{columns:?} {codes:?}");
            }
        }
    }

    #[test]
    fn fields_that_differ_in_case_only_are_not_inferred() {
        let error =
            Decode::pages().infer().apply(page(&[r#"{"id":1,"ID":2}"#]), &mut Output::new()).expect_err("one name");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}
