//! From a first response to the code to write.

mod names;
mod seen;
mod write;

use crate::connectors::http::config::RestBuilder;
use crate::connectors::http::fetch::{Fetcher, Outcome};
use crate::connectors::http::pagination::{At, Single};
use crate::connectors::http::position::RestPosition;
use crate::connectors::http::read::Scope;
use crate::connectors::http::tree;
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, Result};
use crate::model::Partition;
use crate::source::{Emitter, list_partitions};
use names::{FLAGS, NEXT_URLS, TOKEN_HEADERS, TOKENS, TOTAL_HEADERS};
use reqwest::header::HeaderMap;
use seen::{DEEPEST, Seen, flatten, is_text, is_url, records};
use serde_json::Value;
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
    /// `Data` if the body is not JSON, or has more than 1,048,576 values.
    pub fn from_response<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Result<Self> {
        let headers: Vec<(String, &str)> =
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let body = tree::of(body)?.map_err(|e| {
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
        let mut request = rest.request(&partition, &crate::connectors::http::incremental::Bounds::default())?;
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

/// How many objects deep the envelope of the records is at most.
const ENVELOPE: usize = 2;
/// Bytes of a body in which it is looked for more.
const LOOKED_INTO: usize = 4 << 20;
/// Bytes of memory for one response.
const MEMORY: u64 = 1 << 29;

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
        let many = format!("[{}1]", "1,".repeat(1 << 20));
        let error = Detected::from_response([], many.as_bytes()).expect_err("too many");
        assert!(error.to_string().contains("1,048,576 values"), "{error}");
    }
}
