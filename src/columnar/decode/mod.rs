//! From landed pages to batches.

mod core;
mod cursor;
mod fault;
mod frozen;
mod infer;
mod node;
mod number;
mod object;
mod time;

#[cfg(test)]
mod tests;

pub(crate) use self::core::OneColumn;
pub(crate) use number::floor;
pub(crate) use time::{date, instant};

use self::core::Core;
use self::infer::Inferred;
use super::batch::Batch;
use super::schema::Columns;
use crate::error::{Error, Result};
use crate::model::{Page, Span};
use crate::records::{RecordsPath, TextRecords};
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// What happens to a field that no column is declared for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownFields {
    /// It is left out, and counted in the metric `landfall_decode_unknown_fields_total`. The landed bytes keep it.
    #[default]
    Ignore,
    /// Its record goes to the quarantine.
    Quarantine,
}

/// What happens to a value that its column cannot hold exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnfitValues {
    /// Its record goes to the quarantine.
    #[default]
    Quarantine,
    /// It is null in its row, and counted in the metric `landfall_decode_unfit_values_total`. The landed bytes keep it.
    Null,
}

/// Turns pages of JSON, lines, CSV or XML into batches.
///
/// # Guarantees
/// 1. *Lossless*: a value is held exactly by its column, or its record is refused; with [`UnfitValues::Null`] the value alone is
///    left out. Nothing is rounded, cut or replaced; only a fraction in a column of floats is taken to the nearest float. Where it
///    must be exact, declare a decimal.
/// 2. *Accounted*: each record of a page becomes one row or one refusal; a page with another number of records than the
///    source counted is an error of kind `Data`.
/// 3. *Bad records only*: a record that cannot be decoded is refused with its exact bytes, its code (`json`, `type`,
///    `range`, `scale`, `duplicate_key`, `unknown_field`, `depth`, `size`, `undecided`; `columns`, `csv`, `xml`, `utf8`) and a reason that names field and
///    rule; the others go on.
/// 4. *Frozen types*: inferred columns are decided once, by the first good records of the first page that has any, and
///    kept as the stage's state: the same after every restart. Records that are refused decide nothing. Before that page
///    there is nothing to decode with: objects without a field are refused then (`undecided`), and later are rows of nulls.
///
/// # Texts
/// All values of CSV and XML are texts. Declared columns read from them what their type says, without white space around it: numbers
/// (also with zeros or a plus in front), bools (`true`, `false`, `1`, `0`, in any case of letters), times; a `json` column the JSON
/// in a cell. Inferred columns are numbers and bools only where a text can be nothing else: 00123, +1 and 3e8 are not. An element of
/// XML that comes once is a list of one where the column is a list, and one with text only is the `#text` of a struct.
///
/// # Copies
/// With declared columns it can be forked. An inferring one cannot until its columns are decided, because the first page
/// in landing order decides, and only a single copy sees that order: [`fork`](Stage::fork) gives `None` before, and
/// copies after the first page, or from the start where the state was restored.
///
/// ```
/// use landfall::columnar::{Columns, Decode};
///
/// let decode = Decode::pages()
///     .schema(Columns::new().utf8("id").decimal("total", 18, 2).timestamp("created_at"))
///     .provenance();
/// # drop(decode);
/// ```
#[derive(Debug)]
pub struct Decode {
    name: String,
    /// As it was said; otherwise pages say it.
    records: Option<String>,
    plan: Plan,
    unknown: UnknownFields,
    unfit: UnfitValues,
    provenance: bool,
    max_record_bytes: u32,
    ready: Option<Ready>,
}

/// Where the columns come from.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    Unsaid,
    Declared(Columns),
    Infer { sample: usize, frozen: Option<Columns>, unsaved: bool },
}

/// What the configuration comes to, made at the first page.
#[derive(Debug)]
struct Ready {
    /// The path of the records in the page before.
    path: RecordsPath,
    /// What makes JSON of them.
    texts: Option<TextRecords>,
    /// None while the columns are not decided.
    core: Option<Core>,
}

/// Where records lie if neither the page nor the configuration says it.
const RECORDS: &str = "$[*]";
/// Largest record, unless another limit is set.
const MAX_RECORD_BYTES: u32 = 16 << 20;
/// Records that inferring looks at, unless another number is set.
const SAMPLE: usize = 1000;

impl Decode {
    /// A decoder of pages. What they are written in and where their records lie the pages say themselves, if they come from a
    /// source that knows ([`Page::records_path`]); for others it is a JSON array of records, unless [`records`](Self::records) or
    /// [`ndjson`](Self::ndjson) says something else. Say what the records are with [`schema`](Self::schema) or
    /// [`infer`](Self::infer).
    pub fn pages() -> Self {
        Self {
            name: "decode".to_owned(),
            records: None,
            plan: Plan::Unsaid,
            unknown: UnknownFields::Ignore,
            unfit: UnfitValues::Quarantine,
            provenance: false,
            max_record_bytes: MAX_RECORD_BYTES,
            ready: None,
        }
    }

    /// Where the records of a page lie: see [`RecordsPath`]. Needed only where the source does not say it; a
    /// page that says another path is an error of kind `Config`.
    #[must_use]
    pub fn records(mut self, path: impl Into<String>) -> Self {
        self.records = Some(path.into());
        self
    }

    /// Pages have one record per line.
    #[must_use]
    pub fn ndjson(self) -> Self {
        self.records("ndjson")
    }

    /// Declares the columns.
    #[must_use]
    pub fn schema(mut self, columns: Columns) -> Self {
        self.plan = Plan::Declared(columns);
        self
    }

    /// Infers the columns from the first 1,000 good records of the first page that has any, and freezes them.
    ///
    /// Numbers become `int64`, `uint64`, `float64` or, where these cannot hold them, `utf8(text)`; strings become
    /// `timestamp` or `date` if all are one, else `utf8`; numbers, bools and strings in one field `utf8(text)`; objects
    /// `struct`, arrays `list`; everything else, fields that were always null, and what lies more than 8 levels deep,
    /// `json`.
    #[must_use]
    pub fn infer(self) -> Self {
        self.infer_from(SAMPLE)
    }

    /// As [`infer`](Self::infer), from the first `records` good records of that page.
    #[must_use]
    pub fn infer_from(mut self, records: usize) -> Self {
        self.plan = Plan::Infer { sample: records, frozen: None, unsaved: false };
        self
    }

    /// What happens to fields that no column is declared for; ignored and counted unless set.
    #[must_use]
    pub fn unknown_fields(mut self, policy: UnknownFields) -> Self {
        self.unknown = policy;
        self
    }

    /// What happens to values that their column cannot hold, of another type or beyond its range; their records are refused unless
    /// set. Of a nested record the innermost field is left out, of a list the whole list.
    #[must_use]
    pub fn unfit_values(mut self, policy: UnfitValues) -> Self {
        self.unfit = policy;
        self
    }

    /// Adds the columns `_landfall_segment`, `_landfall_record` (where the record was landed) and
    /// `_landfall_received_at` (when its page was received, in UTC microseconds).
    #[must_use]
    pub fn provenance(mut self) -> Self {
        self.provenance = true;
        self
    }

    /// Refuses records of more than `bytes`; 16 MiB unless set, at most 512 MiB.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: u32) -> Self {
        self.max_record_bytes = bytes.min(512 << 20);
        self
    }

    /// Names the stage; `decode` unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The columns: declared, or decided by now.
    pub fn columns(&self) -> Option<&Columns> {
        match &self.plan {
            Plan::Declared(columns) => Some(columns),
            Plan::Infer { frozen, .. } => frozen.as_ref(),
            Plan::Unsaid => None,
        }
    }

    fn prepare(&self) -> Result<Ready> {
        if self.plan == Plan::Unsaid {
            return Err(Error::config("set up decode", "nothing is said about the columns")
                .with_hint("declare them with `schema`, or let them be decided with `infer`"));
        }
        let core = self.columns().map(|columns| self.core(columns)).transpose()?;
        Ok(Ready::at(RecordsPath::parse(self.records.as_deref().unwrap_or(RECORDS))?, core))
    }

    fn core(&self, columns: &Columns) -> Result<Core> {
        let inferred = !matches!(self.plan, Plan::Declared(_));
        let mut core = Core::new(columns, self.unknown, self.provenance, self.max_record_bytes, inferred)?;
        core.null_unfit(self.unfit == UnfitValues::Null);
        Ok(core)
    }
}

impl Ready {
    fn at(path: RecordsPath, core: Option<Core>) -> Self {
        Self { texts: path.text_records(), path, core }
    }
}

/// A clone sets itself up anew.
impl Clone for Decode {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            records: self.records.clone(),
            plan: self.plan.clone(),
            unknown: self.unknown,
            unfit: self.unfit,
            provenance: self.provenance,
            max_record_bytes: self.max_record_bytes,
            ready: None,
        }
    }
}

impl Stage for Decode {
    type In = Page;
    type Out = Batch;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        self.prepare()?;
        let columns = match &self.plan {
            Plan::Declared(columns) => frozen::columns(columns),
            Plan::Infer { sample, .. } => json!({ "infer_from": sample }),
            Plan::Unsaid => json!(null),
        };
        Ok(ComponentConfig::none().with_settings(json!({
            "records": self.records,
            "columns": columns,
            "unknown_fields": format!("{:?}", self.unknown).to_lowercase(),
            "unfit_values": format!("{:?}", self.unfit).to_lowercase(),
            "provenance": self.provenance,
            "max_record_bytes": self.max_record_bytes,
        })))
    }

    fn fork(&self) -> Option<Self> {
        self.columns()?;
        Some(self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        match self.plan {
            Plan::Infer { .. } => Some(self),
            _ => None,
        }
    }

    fn apply(&mut self, page: Page, out: &mut Output<Batch>) -> Result<()> {
        if self.ready.is_none() {
            self.ready = Some(self.prepare()?);
        }
        let ready = self.ready.as_mut().ok_or_else(|| Error::bug("decode page", "the decoder is not set up"))?;
        let path = records_path(&page, self.records.as_deref())?;
        if path != ready.path.as_str() {
            *ready = Ready::at(RecordsPath::parse(path)?, ready.core.take());
        }
        let spans = locate(&page, &ready.path)?;
        if ready.core.is_none() {
            let sample = if let Plan::Infer { sample, .. } = &self.plan { *sample } else { 0 };
            let columns = match infer::columns(&page, &spans, &mut ready.texts, sample, self.max_record_bytes)? {
                Inferred::Columns(columns) => columns,
                Inferred::Nothing(refused) => {
                    refused.iter().for_each(|(n, fault)| out.reject(core::reject(&page, &spans, *n, fault)));
                    return Ok(());
                }
            };
            let core = self.core(&columns)?;
            self.plan = Plan::Infer { sample, frozen: Some(columns), unsaved: true };
            if let Some(ready) = &mut self.ready {
                ready.core = Some(core);
            }
        }
        let ready = self.ready.as_mut().and_then(|ready| Some((ready.core.as_mut()?, &mut ready.texts)));
        let (core, texts) = ready.ok_or_else(|| Error::bug("decode page", "the decoder is not set up"))?;
        core.page(Arc::new(page), &spans, texts.as_mut(), out)
    }
}

/// The path of the records in `page`: what the page says, or else what was `said`. The same for a page from memory and
/// for one from the landing, because the path is landed.
fn records_path<'a>(page: &'a Page, said: Option<&'a str>) -> Result<&'a str> {
    match (page.records_path.as_deref(), said) {
        (Some(own), Some(said)) if own != said && !is_rest(own, said) => {
            Err(Error::config("decode page", "the records are said to lie elsewhere than the source found them")
                .with("partition", &page.partition)
                .with("source", own)
                .with("decode", said)
                .with_hint("leave out `records` of the decoder: the source says it"))
        }
        (own, said) => Ok(own.or(said).unwrap_or(RECORDS)),
    }
}

/// Whether `own` is `said` without its first records: pages of a listing may overlap.
fn is_rest(own: &str, said: &str) -> bool {
    let rest = said.strip_suffix("[*]").and_then(|array| own.strip_prefix(array));
    let first = rest.and_then(|rest| rest.strip_prefix('[')?.strip_suffix(":]"));
    first.is_some_and(|first| first.bytes().all(|b| b.is_ascii_digit()))
}

/// Where the records lie; as many as the source counted.
fn locate(page: &Page, path: &RecordsPath) -> Result<Arc<[Span]>> {
    let spans = match &page.spans {
        Some(spans) if page.records_path.is_some() => Arc::clone(spans),
        _ if page.records == 0 && page.body.is_empty() => Arc::new([]),
        _ => path.spans(&page.body, page.part)?.into(),
    };
    if spans.len() as u64 != page.records {
        let error = Error::data("decode page", "the page has not as many records as were counted")
            .with("partition", &page.partition)
            .with("counted", page.records)
            .with("found", spans.len())
            .with("records", path.as_str())
            .with_hint("the path of the records is another one than that of the source");
        return Err(match page.origin {
            Some(origin) => error.with("landed", origin.start),
            None => error,
        });
    }
    Ok(spans)
}

/// The decided columns are all there is to remember.
impl StageState for Decode {
    fn delta(&mut self) -> Result<Option<Bytes>> {
        match &mut self.plan {
            Plan::Infer { frozen: Some(columns), unsaved: unsaved @ true, .. } => {
                *unsaved = false;
                frozen::write(columns).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn base(&mut self) -> Result<Bytes> {
        match &mut self.plan {
            Plan::Infer { frozen: Some(columns), unsaved, .. } => {
                *unsaved = false;
                frozen::write(columns)
            }
            _ => frozen::write(&Columns::new()),
        }
    }

    fn restore(&mut self, parts: Vec<Bytes>) -> Result<()> {
        let Plan::Infer { sample, .. } = &self.plan else {
            return Err(Error::bug("restore decode", "declared columns have no state"));
        };
        let sample = *sample;
        let mut frozen = None;
        for part in &parts {
            frozen = Some(frozen::read(part)?).filter(|columns| !columns.is_empty());
        }
        self.plan = Plan::Infer { sample, frozen, unsaved: false };
        self.ready = None;
        Ok(())
    }
}
