//! From a first response to the code to write.

use super::config::RestBuilder;
use super::fetch::{Fetcher, Outcome};
use super::pagination::{At, Single};
use super::position::RestPosition;
use super::read::Scope;
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, Result};
use crate::model::Partition;
use crate::source::{Emitter, list_partitions};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// What a first response shows of its listing: where the records are, and how one gets to the next page. As text it is the code to
/// write, in Rust and for the specification of the example `ingest`; what is guessed is marked.
///
/// ```
/// use landfall::connectors::http::Detected;
///
/// let body = br#"{"orders": [{"id": 1}, {"id": 2}], "meta": {"next_cursor": "b2", "total": 40}}"#;
/// let text = Detected::from_response([("content-type", "application/json")], body)?.to_string();
/// assert!(text.contains(r#".paginate(Cursor::at("$.meta.next_cursor").query("cursor"))"#));
/// assert!(text.contains(r#".records("$.orders[*]")"#));
/// assert!(text.contains(r#".total("$.meta.total")"#));
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    records: Option<(String, usize)>,
    way: Way,
    /// Where the API claims how many records there are.
    total: Option<Spot>,
}

/// How one gets to the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Link,
    NextUrl(Spot),
    Cursor { at: Spot, query: &'static str, has_more: Option<Spot> },
    Keyset { query: &'static str, has_more: Spot },
    Pages { query: &'static str, size: Option<(&'static str, u64)>, pages: Option<Spot>, first: u64 },
    Offset { query: &'static str, limit: (&'static str, u64) },
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Spot {
    Body(String),
    Header(&'static str),
}

impl Detected {
    /// Looks at the headers and the body of a first response.
    ///
    /// # Errors
    /// `Data` if the body is not JSON.
    pub fn from_response<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Result<Self> {
        let headers: Vec<(String, &str)> =
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let body: Value = serde_json::from_slice(body).map_err(|e| {
            Error::data("look at response", "the response is not JSON").with_source(e).with_hint(
                "only JSON is looked into: say that the records are `csv`, `ndjson`, or the elements at a path of XML",
            )
        })?;
        let mut values = Vec::new();
        flatten(&body, "$", 0, &mut values);
        let seen = Seen { header: &header, values: &values };
        Ok(Self { records: records(&body), way: seen.way(), total: seen.total() })
    }
}

impl RestBuilder {
    /// Sends the first request, as it is described so far with credentials and all, and tells by the response what is still to
    /// write. Nothing is kept.
    ///
    /// ```no_run
    /// # use landfall::connectors::http::{Bearer, Rest};
    /// # async fn look() -> landfall::Result<()> {
    /// let orders = Rest::get("https://api.example.com/v1/orders").auth(Bearer::from_env("ORDERS_TOKEN"));
    /// let code = orders.detect(&landfall::env::Env::system()).await?.to_string();
    /// # drop(code); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As a read of the source; `Data` if the response is not JSON.
    ///
    /// # Cancellation
    /// Cancel-safe: nothing is kept.
    pub async fn detect(self, env: &Env) -> Result<Detected> {
        // Of an array as of an object; and whole, however large.
        let limits = self.limits.with_part(self.limits.body);
        let rest = self.paginate(Single).records("$.*").limits(limits).build()?;
        let partitions = list_partitions(&rest, env).await?;
        let partition = partitions.into_iter().next().unwrap_or_else(|| Partition::new("all"));
        let (queue, _emitted) = mpsc::channel(1);
        let (_stop, stopped) = watch::channel(false);
        let budget = Arc::new(Semaphore::new(MEMORY as usize));
        let out = Emitter::new(partition.clone(), budget, MEMORY, queue, stopped);
        let scope = Scope::new(&rest, env, &partition, &out, RestPosition::default());
        let mut request = rest.request(&partition, &super::incremental::Bounds::default())?;
        rest.paginate.request(&At::First, &mut request)?;
        match Fetcher::new(&scope)?.fetch(&request, None).await? {
            Outcome::Whole(fetched) => Detected::from_response(texts(&fetched.head.headers), &fetched.page.body),
            Outcome::Refused(error) | Outcome::PageExpired(error) | Outcome::CursorTooOld(error) => Err(error),
            _ => Err(Error::unavailable("look at response", "the API gave no page")),
        }
    }
}

fn texts(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

/// Where a response shows that there is more than its own `records`, if it does: a link or a token that leads on, a flag, or a
/// higher total. A body that is large is not looked into.
pub(super) fn more(headers: &HeaderMap, body: &[u8], records: u64) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let body =
        if body.len() <= LOOKED_INTO { serde_json::from_slice(body).unwrap_or(Value::Null) } else { Value::Null };
    let mut values = Vec::new();
    flatten(&body, "$", DEEPEST - ENVELOPE, &mut values);
    let seen = Seen { header: &header, values: &values };
    let link = header("link").is_some_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"));
    let tokens = || TOKENS.iter().filter(|(names, _)| names.iter().all(|name| name.to_lowercase().contains("next")));
    let in_body = || {
        let url = seen.find(NEXT_URLS, |value| value.as_str().is_some_and(is_url));
        let flag = || seen.find(FLAGS, |value| value == &Value::Bool(true));
        url.or_else(flag).or_else(|| tokens().find_map(|(names, _)| seen.find(names, is_text)))
    };
    let token = || TOKEN_HEADERS.iter().find(|(name, _)| header(name).is_some_and(|value| !value.is_empty()));
    let claims = |text: Option<&str>| text.and_then(|text| text.parse().ok()).is_some_and(|total: u64| total > records);
    let total = || TOTAL_HEADERS.iter().find(|name| claims(header(name)));
    let shown = match link {
        true => Some(Spot::Header("link")),
        false => in_body().or_else(|| token().map(|(name, _)| Spot::Header(name))),
    };
    let shown = shown.or_else(|| total().map(|name| Spot::Header(name)));
    match shown.or_else(|| seen.claims_more_than(records))? {
        Spot::Body(path) => Some(path),
        Spot::Header(name) => Some(format!("the header {name}")),
    }
}

/// What stands in the response beside the records.
struct Seen<'a> {
    header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Path, name and value.
    values: &'a [(String, String, &'a Value)],
}

impl Seen<'_> {
    fn way(&self) -> Way {
        if (self.header)("link").is_some_and(|link| link.contains("next")) {
            return Way::Link;
        }
        if let Some(url) = self.find(NEXT_URLS, |value| value.as_str().is_some_and(is_url)) {
            return Way::NextUrl(url);
        }
        let has_more = self.find(FLAGS, Value::is_boolean);
        for (names, query) in TOKENS {
            if let Some(at) = self.find(names, is_token) {
                return Way::Cursor { at, query, has_more };
            }
        }
        for (name, query) in TOKEN_HEADERS {
            if (self.header)(name).is_some_and(|value| !value.is_empty()) {
                return Way::Cursor { at: Spot::Header(name), query, has_more };
            }
        }
        let number = |names: &[&'static str]| self.number(names);
        let pages = self.find(PAGE_TOTALS, is_count).or_else(|| self.header_of(PAGE_TOTAL_HEADERS));
        if let Some((query, first)) = number(PAGES) {
            return Way::Pages { query, size: number(SIZES), pages, first: first.min(1) };
        }
        if let Some((query, _)) = number(OFFSETS) {
            return Way::Offset { query, limit: number(LIMITS).unwrap_or(("limit", 100)) };
        }
        match (has_more, pages) {
            (Some(has_more), _) => Way::Keyset { query: "starting_after", has_more },
            (None, Some(pages)) => Way::Pages { query: "page", size: number(SIZES), pages: Some(pages), first: 1 },
            (None, None) if self.total().is_some() => Way::Pages { query: "page", size: None, pages: None, first: 1 },
            (None, None) => Way::Unknown,
        }
    }

    /// Where a first page that counts itself claims more records, or more pages.
    fn claims_more_than(&self, records: u64) -> Option<Spot> {
        let before = self.number(OFFSETS).map(|(_, offset)| offset);
        let is_first = self.number(PAGES).is_some_and(|(_, page)| page <= 1);
        let above = |value: &Value, so_far: u64| count(value).is_some_and(|claimed| claimed > so_far);
        match before {
            Some(offset) => self.find(TOTALS, |value| above(value, offset.saturating_add(records))),
            None if is_first => {
                let pages = || self.find(PAGE_TOTALS, |value| above(value, 1));
                self.find(TOTALS, |value| above(value, records)).or_else(pages)
            }
            None => None,
        }
    }

    fn total(&self) -> Option<Spot> {
        self.find(TOTALS, is_count).or_else(|| self.header_of(TOTAL_HEADERS))
    }

    /// The first of the names that is there, and with a value that fits.
    fn find(&self, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<Spot> {
        let found = |wanted: &&str| {
            let is_it = |(path, name, value): &&(String, String, &Value)| {
                let parent_fits = wanted.split_once('/').is_none_or(|(parent, _)| path.contains(parent));
                let last = wanted.rsplit('/').next().unwrap_or(wanted);
                parent_fits && name == last && fits(value)
            };
            self.values.iter().find(is_it).map(|(path, ..)| Spot::Body(path.clone()))
        };
        names.iter().find_map(found)
    }

    fn header_of(&self, names: &[&'static str]) -> Option<Spot> {
        let is_count = |name: &&&'static str| (self.header)(name).is_some_and(|text| text.parse::<u64>().is_ok());
        names.iter().find(is_count).map(|name| Spot::Header(name))
    }

    fn number(&self, names: &[&'static str]) -> Option<(&'static str, u64)> {
        let value = |wanted: &&'static str| {
            let found = self.values.iter().find(|(_, name, value)| name == wanted && value.is_u64());
            Some((*wanted, found?.2.as_u64()?))
        };
        names.iter().find_map(value)
    }
}

/// All values that are no arrays, by their paths.
fn flatten<'a>(value: &'a Value, path: &str, depth: usize, values: &mut Vec<(String, String, &'a Value)>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let path = member(path, name);
        if depth < DEEPEST {
            flatten(value, &path, depth + 1, values);
        }
        values.push((path, name.clone(), value));
    }
}

/// The path of the array with the most objects, and their number; the one nearest to the root.
fn records(body: &Value) -> Option<(String, usize)> {
    fn look(value: &Value, path: &str, depth: usize, best: &mut Option<(String, usize)>) {
        match value {
            Value::Array(items)
                if items.iter().all(Value::is_object) && best.as_ref().is_none_or(|(_, most)| items.len() > *most) =>
            {
                *best = Some((format!("{path}[*]"), items.len()));
            }
            Value::Object(fields) if depth < DEEPEST => {
                fields.iter().for_each(|(name, value)| look(value, &member(path, name), depth + 1, best));
            }
            _ => {}
        }
    }
    let mut best = None;
    look(body, "$", 0, &mut best);
    best
}

/// The path of a member, in the notation of RFC 9535.
fn member(path: &str, name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain {
        format!("{path}.{name}")
    } else {
        format!("{path}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "/", "?"].iter().any(|start| text.starts_with(start))
}

fn is_token(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty()) || value.is_number()
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_count(value: &Value) -> bool {
    count(value).is_some()
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl Spot {
    fn rust(&self) -> String {
        match self {
            Self::Body(path) => format!("{path:?}"),
            Self::Header(name) => format!("Place::header({name:?})"),
        }
    }

    fn spec(&self) -> String {
        match self {
            Self::Body(path) => format!("{path:?}"),
            Self::Header(name) => format!("{{ header = {name:?} }}"),
        }
    }
}

impl Detected {
    /// The lines of Rust, and those of the table `paginate`, and what is guessed of them.
    fn lines(&self) -> (String, Vec<String>, Option<&'static str>) {
        let total = self.total.as_ref();
        let ends = |pages: Option<&Spot>| match (pages, total) {
            (Some(pages), _) => (format!(".total_pages({})", pages.rust()), format!("total_pages = {}", pages.spec())),
            (None, Some(total)) => (format!(".total({})", total.rust()), format!("total = {}", total.spec())),
            (None, None) => (".until_empty()".to_owned(), "until_empty = true".to_owned()),
        };
        let spec = |by: &str, lines: Vec<String>| [format!("by = {by:?}")].into_iter().chain(lines).collect();
        match &self.way {
            Way::Link => ("LinkHeader::new()".to_owned(), spec("link", Vec::new()), None),
            Way::NextUrl(at) => {
                (format!("NextUrl::at({})", at.rust()), spec("next_url", vec![format!("at = {}", at.spec())]), None)
            }
            Way::Cursor { at, query, has_more } => {
                let mut rust = format!("Cursor::at({}).query({query:?})", at.rust());
                let mut lines = vec![format!("at = {}", at.spec()), format!("query = {query:?}")];
                if let Some(flag) = has_more {
                    rust.push_str(&format!(".has_more({})", flag.rust()));
                    lines.push(format!("has_more = {}", flag.spec()));
                }
                (rust, spec("cursor", lines), Some("the name of the parameter that takes the token"))
            }
            Way::Keyset { query, has_more } => (
                format!("Keyset::of(\"id\").query({query:?}).has_more({})", has_more.rust()),
                spec(
                    "keyset",
                    vec![
                        format!("fields = [{{ field = \"id\", query = {query:?} }}]"),
                        format!("has_more = {}", has_more.spec()),
                    ],
                ),
                Some("the field that the listing is sorted by, and the parameter that takes it"),
            ),
            Way::Pages { query, size, pages, first } => {
                let (end, end_line) = ends(pages.as_ref());
                let mut rust = format!("PageNumber::query({query:?})");
                let mut lines = vec![format!("query = {query:?}")];
                if *first != 1 {
                    rust.push_str(&format!(".starting_at({first})"));
                    lines.push(format!("first = {first}"));
                }
                if let Some((name, records)) = size.filter(|(_, records)| *records > 0) {
                    rust.push_str(&format!(".size({name:?}, {records})"));
                    lines.push(format!("size = {{ name = {name:?}, records = {records} }}"));
                }
                lines.push(end_line);
                (format!("{rust}{end}"), spec("page", lines), Some("the names of the parameters"))
            }
            Way::Offset { query, limit: (name, limit) } => {
                let (end, end_line) = ends(None);
                let limit = (*limit).max(1);
                let lines = vec![
                    format!("query = {query:?}"),
                    format!("limit_name = {name:?}"),
                    format!("limit = {limit}"),
                    end_line,
                ];
                let rust = format!("Offset::query({query:?}).limit({name:?}, {limit}){end}");
                (rust, spec("offset", lines), Some("the names of the parameters"))
            }
            Way::Unknown => (String::new(), Vec::new(), None),
        }
    }
}

impl Detected {
    /// What goes on where the description of the source ends: Rust, with comments on what is guessed.
    #[must_use]
    pub fn code(&self) -> String {
        let (rust, _, _) = self.lines();
        let mut text = self.remarks("// ");
        if !rust.is_empty() {
            text.push_str(&format!("    .paginate({rust})\n"));
        }
        if let Some((path, _)) = &self.records {
            text.push_str(&format!("    .records({path:?})\n"));
        }
        if let Some(total) = self.claimed() {
            text.push_str(&format!("    .total({})\n", total.rust()));
        }
        text
    }

    /// The same for `ingest`: lines of the table `[source]`, and the table `[source.paginate]`. TOML, with comments on what is
    /// guessed.
    #[must_use]
    pub fn spec(&self) -> String {
        let (_, paginate, _) = self.lines();
        let mut text = self.remarks("# ");
        if let Some((path, _)) = &self.records {
            text.push_str(&format!("records = {path:?}\n"));
        }
        if let Some(total) = self.claimed() {
            text.push_str(&format!("total = {}\n", total.spec()));
        }
        if !paginate.is_empty() {
            text.push_str(&format!("\n[source.paginate]\n{}\n", paginate.join("\n")));
        }
        text
    }

    /// What was seen and what is guessed, each a line after `mark`.
    fn remarks(&self, mark: &str) -> String {
        let (rust, _, guess) = self.lines();
        let seen = match &self.records {
            Some((path, n)) => format!("{n} records at {path}"),
            None => "no array of objects: say where the records are".to_owned(),
        };
        let nothing = "nothing leads to another page: one response holds everything, or the API's manual says how";
        let guessed = guess.map(|guess| format!("guessed: {guess}"));
        let remarks = [Some(seen), guessed, rust.is_empty().then(|| nothing.to_owned())];
        remarks.into_iter().flatten().map(|remark| format!("{mark}{remark}\n")).collect()
    }

    /// Where the total is, unless the pagination compares it itself.
    fn claimed(&self) -> Option<&Spot> {
        let compares = matches!(self.way, Way::Pages { pages: None, .. } | Way::Offset { .. });
        self.total.as_ref().filter(|_| !compares)
    }
}

/// Both, one after the other.
impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n# for ingest\n[source]\n{}", self.code(), self.spec())
    }
}

const DEEPEST: usize = 4;
/// How many objects deep the envelope of the records is at most.
const ENVELOPE: usize = 2;
/// Bytes of a body in which it is looked for more.
const LOOKED_INTO: usize = 4 << 20;
/// Bytes of memory for one response.
const MEMORY: u64 = 1 << 29;

/// Names, and a part of the way to some of them before a slash.
const NEXT_URLS: &[&str] = &[
    "@odata.nextLink",
    "odata.nextLink",
    "next_url",
    "nextUrl",
    "next_link",
    "nextLink",
    "next_page_url",
    "nextPageUrl",
    "next_href",
    "_links.next/href",
    "links.next/href",
    "next/url",
    "next/href",
    "next_page/url",
    "next",
    "nextPage",
    "next_page",
];
/// Names of tokens, and of the parameter that usually takes them.
const TOKENS: &[(&[&str], &str)] = &[
    (&["next_cursor", "nextCursor", "cursor_next"], "cursor"),
    (&["nextPageToken"], "pageToken"),
    (&["next_page_token"], "page_token"),
    (&["nextToken"], "nextToken"),
    (&["next_token"], "next_token"),
    (&["continuationToken", "nextContinuationToken"], "continuationToken"),
    (&["continuation_token", "continuation"], "continuation_token"),
    (&["endCursor", "end_cursor", "cursors/after", "paging/after", "after"], "after"),
    (&["bookmark"], "bookmark"),
    (&["last_seq"], "since"),
    (&["scroll_id", "_scroll_id"], "scroll_id"),
    (&["offset/next_offset", "next_offset", "nextOffset"], "offset"),
    (&["next_page", "nextPage", "next"], "page"),
    (&["cursor"], "cursor"),
];
const TOKEN_HEADERS: &[(&str, &str)] = &[
    ("x-next-cursor", "cursor"),
    ("x-next-page", "page"),
    ("x-next-token", "next_token"),
    ("x-continuation-token", "continuationToken"),
    ("x-ms-continuationtoken", "continuationToken"),
];
const FLAGS: &[&str] = &["has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more"];
const TOTALS: &[&str] = &[
    "total",
    "total_count",
    "totalCount",
    "total_results",
    "totalResults",
    "total_records",
    "totalRecords",
    "totalItems",
    "total_items",
    "@odata.count",
    "totalSize",
    "total_rows",
];
const TOTAL_HEADERS: &[&str] = &["x-total-count", "x-total", "x-wp-total", "total-count", "x-pagination-total-count"];
const PAGE_TOTALS: &[&str] =
    &["total_pages", "totalPages", "last_page", "lastPage", "page_count", "pageCount", "pages"];
const PAGE_TOTAL_HEADERS: &[&str] = &["x-total-pages", "x-wp-totalpages", "x-pagination-page-count"];
const PAGES: &[&str] = &["page", "current_page", "currentPage", "page_number", "pageNumber"];
const SIZES: &[&str] = &["per_page", "perPage", "page_size", "pageSize", "size", "limit"];
const OFFSETS: &[&str] = &["offset", "skip", "startAt", "start", "from", "startIndex"];
const LIMITS: &[&str] = &["limit", "maxResults", "max_results", "top", "count", "size", "per_page", "rows"];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &[(&'static str, &'static str)], body: &str) -> String {
        Detected::from_response(headers.iter().copied(), body.as_bytes()).expect("JSON").to_string()
    }

    #[test]
    fn each_way_of_paging_is_recognised_in_the_first_response() {
        for (headers, body, rust, spec) in [
            (&[("Link", "</r?page=2>; rel=\"next\"")][..], r#"[{"id":1}]"#, "LinkHeader::new()", "by = \"link\""),
            (
                &[],
                r#"{"value":[{}],"@odata.nextLink":"http://h/r?$skip=1"}"#,
                "NextUrl::at(\"$['@odata.nextLink']\")",
                "by = \"next_url\"",
            ),
            (
                &[],
                r#"{"items":[{}],"links":{"next":"/r?p=2"}}"#,
                "NextUrl::at(\"$.links.next\")",
                "at = \"$.links.next\"",
            ),
            (
                &[],
                r#"{"items":[{}],"nextPageToken":"x"}"#,
                "Cursor::at(\"$.nextPageToken\").query(\"pageToken\")",
                "query = \"pageToken\"",
            ),
            (
                &[],
                r#"{"data":[{}],"meta":{"next_cursor":"x","has_more":true}}"#,
                "Cursor::at(\"$.meta.next_cursor\").query(\"cursor\").has_more(\"$.meta.has_more\")",
                "has_more = \"$.meta.has_more\"",
            ),
            (
                &[("x-next-page", "2")],
                "[{}]",
                "Cursor::at(Place::header(\"x-next-page\")).query(\"page\")",
                "at = { header = \"x-next-page\" }",
            ),
            (
                &[],
                r#"{"data":[{}],"page":1,"per_page":20,"total_pages":3,"total":55}"#,
                "PageNumber::query(\"page\").size(\"per_page\", 20).total_pages(\"$.total_pages\")",
                "size = { name = \"per_page\", records = 20 }",
            ),
            (
                &[],
                r#"{"data":[{}],"page":0,"total":5}"#,
                "PageNumber::query(\"page\").starting_at(0).total(\"$.total\")",
                "first = 0",
            ),
            (
                &[("X-Total-Count", "9")],
                r#"{"rows":[{}],"offset":0,"limit":5}"#,
                "Offset::query(\"offset\").limit(\"limit\", 5).total(Place::header(\"x-total-count\"))",
                "total = { header = \"x-total-count\" }",
            ),
            (
                &[],
                r#"{"data":[{"id":"a"}],"has_more":true}"#,
                "Keyset::of(\"id\").query(\"starting_after\")",
                "by = \"keyset\"",
            ),
        ] {
            let text = text(headers, body);
            assert!(text.contains(&format!(".paginate({rust}")), "{rust}\n{text}");
            assert!(text.contains(spec), "{spec}\n{text}");
        }
    }

    #[test]
    fn records_are_the_largest_array_of_objects() {
        assert!(text(&[], r#"{"a":[{}],"b":{"hits":[{},{}]},"c":[1,2,3]}"#).contains(".records(\"$.b.hits[*]\")"));
        assert!(text(&[], r#"{"odd name":[{}]}"#).contains(".records(\"$['odd name'][*]\")"));
        let nothing = text(&[], r#"{"status":"ok"}"#);
        assert!(nothing.contains("say where the records are") && nothing.contains("nothing leads"), "{nothing}");
        assert!(Detected::from_response([], b"<html>").is_err());
    }
}
