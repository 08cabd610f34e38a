use super::ends::{Ends, Stop};
use super::page_size::PageSize;
use super::setters::{ends_by, sends};
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::json::ValuePath;

/// The last record of each page says what to ask for next: records after it in the order of the listing.
///
/// The listing must be sorted by the fields, and the API must take them as a bound. It ends with the first page without
/// records, or with what else is said to end it. Nothing can move between pages, so no record is missed while others come
/// and go; and a value lasts, so a read goes on after any time.
///
/// *Ties.* Where the API gives records *after* the bound (`>`), the fields together must be unique, or records with equal
/// values on both sides of a page's end are missed: add a field that tells them apart, if the API takes several. Where it
/// gives records *from* the bound on (`>=`), say [`inclusive`](Self::inclusive).
///
/// ```
/// use landfall::connectors::http::Keyset;
///
/// let by_id = Keyset::of("id").query("after");
/// let by_time_then_id = Keyset::of("created").query("after").and("id").query("after_id");
/// // Elasticsearch: the sort values of the last hit, an array, go into the next body.
/// let search_after = Keyset::of("sort").body("$.search_after").size("$.size", 1_000);
/// # drop((by_id, by_time_then_id, search_after));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Keyset {
    fields: Vec<Field>,
    size: PageSize,
    inclusive: bool,
    ends: Ends,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Field {
    field: String,
    to: Vec<Target>,
}

impl Keyset {
    sends!("the field that was named last");
    ends_by!(total, stop_when);

    /// By this field of the last record: the name of a top-level field, or a path such as `$.meta.id`.
    pub fn of(field: impl Into<String>) -> Self {
        let fields = vec![Field { field: field.into(), to: Vec::new() }];
        Self { fields, size: PageSize::default(), inclusive: false, ends: Ends { on_empty: true, ..Ends::default() } }
    }

    /// And by this one.
    pub fn and(mut self, field: impl Into<String>) -> Self {
        self.fields.push(Field { field: field.into(), to: Vec::new() });
        self
    }

    fn to(mut self, target: Target) -> Self {
        if let Some(last) = self.fields.last_mut() {
            last.to.push(target);
        }
        self
    }

    /// Asks for `records` to a page at `name`, which is in the same part of the request as the first field.
    pub fn size(mut self, name: impl Into<String>, records: u64) -> Self {
        self.size = PageSize::of(name, records);
        self
    }

    /// The API gives records from the bound on (`>=`): the last ones of a page come again on the next, and a dedup stage
    /// removes them. It ends where the bound does not move any more on a page that is not full, which needs the
    /// [`size`](Self::size); if it does not move on a full page, that is an error: more records are equal than fit. Full is a page
    /// with as many records as were asked for, or as the largest one before it had if that is more than one. A
    /// [`total`](Self::total) cannot show the end, since records that come again would count twice.
    pub fn inclusive(mut self) -> Self {
        self.inclusive = true;
        self
    }

    /// Ends when the flag at `place` is false. An empty page with a true flag is an error: nothing leads on from it.
    pub fn has_more(mut self, place: impl Into<Place>) -> Self {
        self.ends.has_more = Some(place.into());
        self.ends.on_empty = false;
        self
    }

    fn paths(&self) -> Result<Vec<ValuePath>> {
        self.fields.iter().map(|field| ValuePath::field(&field.field)).collect()
    }
}

impl Paginate for Keyset {
    fn check(&self) -> Result<()> {
        if self.fields.iter().any(|field| field.to.len() != 1) {
            return Err(Error::config(
                "build source",
                "each field of a keyset goes to exactly one place of the request",
            )
            .with_hint("add .query(\"name\"), .header(\"name\") or .body(\"$.path\") after each field"));
        }
        if self.inclusive && self.size.records().is_none() {
            return Err(Error::config("build source", "a keyset from the bound on cannot tell its last page")
                .with_hint("add .size(\"name\", records): a page with fewer is the last one"));
        }
        if self.inclusive && self.ends.total.is_some() {
            return Err(Error::config(
                "build source",
                "records that come again from the bound on would count in a total",
            )
            .with_hint("leave out .total(…): the listing ends where the bound does not move any more"));
        }
        self.paths()?;
        self.ends.check("keyset", self.size.records())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": "keyset", "fields": self.fields, "size": self.size, "inclusive": self.inclusive, "ends": self.ends,
        })
    }

    fn targets(&self) -> Vec<Target> {
        let targets = self.fields.iter().flat_map(|field| &field.to);
        let size = targets.clone().next().and_then(|first| self.size.target(first));
        targets.cloned().chain(size).collect()
    }

    fn values(&self) -> Vec<Place> {
        self.ends.values()
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(0, answer)
    }

    fn ahead(&self, _at: &At, _size: u64, _claims: Claims) -> Option<At> {
        None
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        let targets = self.fields.iter().filter_map(|field| field.to.first());
        if let Some(first) = targets.clone().next() {
            self.size.set(first, request)?;
        }
        let At::Key(values) = at else { return Ok(()) };
        targets.zip(values).try_for_each(|(to, value)| to.set_json(request, value))
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, 0, answer)? {
            return Ok(end);
        }
        let key = self.paths()?.iter().map(|path| Ok(answer.last(path)?.map(str::to_owned))).collect::<Result<_>>()?;
        let Some(key) = key else {
            // An empty page behind which the API says that there is more: nothing to ask with.
            return Err(Error::data("read page", "the API says that there is more behind a page without records"));
        };
        let next = At::Key(key);
        if self.inclusive && next == *at {
            // An API may give smaller pages than it is asked for: one as large as the largest before is full, too.
            let asked = self.size.records().is_some_and(|size| answer.records() >= size);
            // A record by itself is how each listing ends that has only one.
            let full = asked || (answer.records() > 1 && answer.records() >= answer.largest);
            if full {
                return Err(Error::new(ErrorKind::Incomplete, "read partition", "a page is full of equal records")
                    .with("records", answer.records())
                    .with_hint(
                        "ask for larger pages, add a field that tells the records apart, or say what ends the listing",
                    ));
            }
            return self.ends.nothing_leads_on();
        }
        Ok(Step::Next(next))
    }
}
