//! `[source.paginate]`: how the listing is cut into pages, and what shows its end.

use crate::value::Text;
use crate::with::With;
use landfall::connectors::http::{self, RestBuilder};
use landfall::{Error, Result};
use serde::Deserialize;

/// How to get from page to page.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(crate) enum Paginate {
    /// One response is all there is, even if it looks as if there were more.
    Single,
    Cursor(Cursor),
    Connection(Connection),
    Keyset(Keyset),
    Link(Link),
    NextUrl(NextUrl),
    Page(Page),
    Offset(Offset),
}

/// Where a value stands in a response: a path of the body, or `{ header = "NAME" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a path of the body such as \"$.meta.total\", or { header = \"NAME\" }"
)]
pub(crate) enum Place {
    Body(String),
    Header { header: String },
}

impl From<&Place> for http::Place {
    fn from(place: &Place) -> Self {
        match place {
            Place::Body(path) => Self::from(path),
            Place::Header { header } => Self::header(header),
        }
    }
}

/// A condition that makes a response the last: a path of RFC 9535 that selects something, or a header with a value.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a condition on the body such as \"$[?@.status == 'done']\", or { header, equals }"
)]
pub(crate) enum Stop {
    Body(String),
    Header { header: String, equals: Text },
}

impl From<&Stop> for http::Stop {
    fn from(stop: &Stop) -> Self {
        match stop {
            Stop::Body(condition) => Self::query(condition),
            Stop::Header { header, equals } => Self::header(header, &equals.0),
        }
    }
}

/// A token that a response gives, sent back with the next request; none means the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// Where the response has it.
    at: Place,
    /// Where the request takes it: a parameter of the query, a header, or a place in the body.
    query: Option<String>,
    header: Option<String>,
    body: Option<String>,
    /// How many records to a page to ask for, in the same part of the request.
    size: Option<Size>,
    has_more: Option<Place>,
    stop_when: Option<Stop>,
    #[serde(default)]
    until_empty: bool,
    /// The API ends by giving the same token again.
    #[serde(default)]
    until_repeated: bool,
    /// The API leaves the token out of its only page.
    #[serde(default)]
    optional: bool,
}

/// The name of a parameter, and its value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    name: String,
    records: u64,
}

/// A connection of GraphQL, with `pageInfo`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    at: String,
    /// The variable that takes the cursor.
    #[serde(default = "after")]
    variable: String,
}

fn after() -> String {
    "after".to_owned()
}

/// Values of the last record say what to ask for next.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyset {
    /// The fields that the listing is sorted by, and where the request takes each of them.
    fields: Vec<KeysetField>,
    size: Option<Size>,
    /// The API gives records from the bound on (`>=`), not after it.
    #[serde(default)]
    inclusive: bool,
    total: Option<Place>,
    has_more: Option<Place>,
    stop_when: Option<Stop>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysetField {
    field: String,
    query: Option<String>,
    header: Option<String>,
    body: Option<String>,
}

/// The `Link` header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// The relation that leads on.
    #[serde(default = "next")]
    rel: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    until_empty: bool,
    stop_when: Option<Stop>,
}

fn next() -> String {
    "next".to_owned()
}

/// The URL of the next page in a response; none means the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NextUrl {
    at: Place,
    #[serde(default)]
    optional: bool,
    has_more: Option<Place>,
    #[serde(default)]
    until_empty: bool,
    stop_when: Option<Stop>,
}

/// Page numbers. Without anything that shows the end, an empty page does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    query: Option<String>,
    header: Option<String>,
    body: Option<String>,
    #[serde(default = "one")]
    first: u64,
    size: Option<Size>,
    total: Option<Place>,
    total_pages: Option<Place>,
    has_more: Option<Place>,
    stop_when: Option<Stop>,
    #[serde(default)]
    until_empty: bool,
    /// The last page to ask for; there may be more.
    maximum: Option<u64>,
}

fn one() -> u64 {
    1
}

/// Offsets, with as many records on a page as the parameter `limit_name` asks for. Without anything that shows the end, an
/// empty page does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offset {
    query: Option<String>,
    header: Option<String>,
    body: Option<String>,
    /// The parameter, or the place in the body, that takes `limit`.
    limit_name: String,
    limit: u64,
    total: Option<Place>,
    has_more: Option<Place>,
    stop_when: Option<Stop>,
    #[serde(default)]
    until_empty: bool,
    /// Asks for so many records again that the page before had, to see whether they moved.
    overlap: Option<u64>,
    /// The highest offset to ask for; there may be more.
    maximum: Option<u64>,
}

impl Paginate {
    pub(super) fn add(&self, source: RestBuilder) -> Result<RestBuilder> {
        Ok(match self {
            Self::Single => source.paginate(http::Single),
            Self::Cursor(table) => source.paginate(table.build()),
            Self::Connection(table) => source.paginate(http::Cursor::connection(&table.at, &table.variable)),
            Self::Keyset(table) => source.paginate(table.build()?),
            Self::Link(table) => source.paginate(table.build()),
            Self::NextUrl(table) => source.paginate(table.build()),
            Self::Page(table) => source.paginate(table.build()?),
            Self::Offset(table) => source.paginate(table.build()?),
        })
    }
}

impl Cursor {
    fn build(&self) -> http::Cursor {
        http::Cursor::at(&self.at)
            .with_some(self.query.as_ref(), |cursor, name| cursor.query(name))
            .with_some(self.header.as_ref(), |cursor, name| cursor.header(name))
            .with_some(self.body.as_ref(), |cursor, path| cursor.body(path))
            .with_some(self.size.as_ref(), |cursor, size| cursor.size(&size.name, size.records))
            .with_some(self.has_more.as_ref(), |cursor, place| cursor.has_more(place))
            .with_some(self.stop_when.as_ref(), |cursor, stop| cursor.stop_when(stop))
            .with_flag(self.until_empty, http::Cursor::until_empty)
            .with_flag(self.until_repeated, http::Cursor::until_repeated)
            .with_flag(self.optional, http::Cursor::optional)
    }
}

impl Keyset {
    fn build(&self) -> Result<http::Keyset> {
        let mut keyset: Option<http::Keyset> = None;
        for field in &self.fields {
            let begun = match keyset {
                None => http::Keyset::of(&field.field),
                Some(keyset) => keyset.and(&field.field),
            };
            keyset = Some(
                begun
                    .with_some(field.query.as_ref(), |keyset, name| keyset.query(name))
                    .with_some(field.header.as_ref(), |keyset, name| keyset.header(name))
                    .with_some(field.body.as_ref(), |keyset, path| keyset.body(path)),
            );
        }
        let keyset = keyset.ok_or_else(|| Error::config("read spec", "a keyset has at least one field"))?;
        Ok(keyset
            .with_some(self.size.as_ref(), |keyset, size| keyset.size(&size.name, size.records))
            .with_flag(self.inclusive, http::Keyset::inclusive)
            .with_some(self.total.as_ref(), |keyset, place| keyset.total(place))
            .with_some(self.has_more.as_ref(), |keyset, place| keyset.has_more(place))
            .with_some(self.stop_when.as_ref(), |keyset, stop| keyset.stop_when(stop)))
    }
}

impl Link {
    fn build(&self) -> http::LinkHeader {
        http::LinkHeader::rel(&self.rel)
            .with_flag(self.optional, http::LinkHeader::optional)
            .with_flag(self.until_empty, http::LinkHeader::until_empty)
            .with_some(self.stop_when.as_ref(), |link, stop| link.stop_when(stop))
    }
}

impl NextUrl {
    fn build(&self) -> http::NextUrl {
        http::NextUrl::at(&self.at)
            .with_flag(self.optional, http::NextUrl::optional)
            .with_some(self.has_more.as_ref(), |link, place| link.has_more(place))
            .with_flag(self.until_empty, http::NextUrl::until_empty)
            .with_some(self.stop_when.as_ref(), |link, stop| link.stop_when(stop))
    }
}

impl Page {
    fn build(&self) -> Result<http::PageNumber> {
        let pages = match (&self.query, &self.header, &self.body) {
            (Some(name), None, None) => http::PageNumber::query(name),
            (None, Some(name), None) => http::PageNumber::header(name),
            (None, None, Some(path)) => http::PageNumber::body(path),
            _ => return Err(one_place("the number of the page")),
        };
        let says_end = self.total.is_some() || self.total_pages.is_some() || self.has_more.is_some();
        let says_end = says_end || self.stop_when.is_some() || self.maximum.is_some();
        Ok(pages
            .starting_at(self.first)
            .with_some(self.size.as_ref(), |pages, size| pages.size(&size.name, size.records))
            .with_some(self.total.as_ref(), |pages, place| pages.total(place))
            .with_some(self.total_pages.as_ref(), |pages, place| pages.total_pages(place))
            .with_some(self.has_more.as_ref(), |pages, place| pages.has_more(place))
            .with_some(self.stop_when.as_ref(), |pages, stop| pages.stop_when(stop))
            .with_some(self.maximum, http::PageNumber::maximum)
            .with_flag(self.until_empty || !says_end, http::PageNumber::until_empty))
    }
}

impl Offset {
    fn build(&self) -> Result<http::Offset> {
        let offsets = match (&self.query, &self.header, &self.body) {
            (Some(name), None, None) => http::Offset::query(name),
            (None, Some(name), None) => http::Offset::header(name),
            (None, None, Some(path)) => http::Offset::body(path),
            _ => return Err(one_place("the offset")),
        };
        let says_end = self.total.is_some() || self.has_more.is_some() || self.stop_when.is_some();
        let says_end = says_end || self.maximum.is_some();
        Ok(offsets
            .limit(&self.limit_name, self.limit)
            .with_some(self.total.as_ref(), |offsets, place| offsets.total(place))
            .with_some(self.has_more.as_ref(), |offsets, place| offsets.has_more(place))
            .with_some(self.stop_when.as_ref(), |offsets, stop| offsets.stop_when(stop))
            .with_some(self.overlap, http::Offset::overlap)
            .with_some(self.maximum, http::Offset::maximum)
            .with_flag(self.until_empty || !says_end, http::Offset::until_empty))
    }
}

fn one_place(what: &'static str) -> Error {
    Error::config("read spec", "the pagination goes into one place of the request")
        .with("what", what)
        .with_hint("say one of `query`, `header` and `body`")
}
