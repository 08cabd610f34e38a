use super::archive::Files;
use super::client::Client;
use super::config::RestBuilder;
use super::export::Exports;
use super::incremental::{Bounds, Sent, Since};
use super::limits::Limits;
use super::pagination::{Counts, Paginate, Place};
use super::partitions::{Params, Partitions};
use super::position::RestPosition;
use super::read::read;
use super::request::{Content, Request};
use super::rules::Rules;
use super::template::{Template, changes_path, path_segment};
use super::windows::Slicer;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::model::{Page, Partition, StopReason};
use crate::records::RecordsPath;
use crate::retry::Policy;
use crate::source::{ComponentConfig, Emitter, Listing, Source, Traffic};
use async_trait::async_trait;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The records of an HTTP API, as the pages that it sends.
///
/// ```
/// use landfall::connectors::http::{Bearer, Cursor, Rest, Since};
/// use std::time::Duration;
///
/// let orders = Rest::get("https://api.example.com/v1/orders")
///     .auth(Bearer::new("a token"))
///     .paginate(Cursor::at("$.next_cursor").query("cursor"))
///     .records("$.data[*]")
///     .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(300)))
///     .build()?;
/// # Ok::<(), landfall::Error>(())
/// ```
pub struct Rest {
    pub(super) config: ComponentConfig,
    pub(super) partitions: Partitions,
    pub(super) conditional: bool,
    pub(super) client: Client,
    pub(super) traffic: Traffic,
    pub(super) method: Method,
    pub(super) url: Template,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    /// Whether sending a request twice does no more than sending it once.
    pub(super) idempotent: bool,
    pub(super) paginate: Arc<dyn Paginate>,
    pub(super) records: Arc<RecordsPath>,
    /// What is taken from each page: the values of the pagination, then the total.
    pub(super) places: Arc<[Place]>,
    /// Those that are in the body; of a GraphQL answer, its errors come last.
    pub(super) values: Arc<[ValuePath]>,
    pub(super) has_total: bool,
    pub(super) since: Option<(Since, Arc<ValuePath>)>,
    pub(super) rules: Arc<Rules>,
    pub(super) limits: Limits,
    pub(super) files: Files,
    pub(super) retry: Policy,
    pub(super) max_pages: Option<u64>,
    pub(super) max_records: Option<u64>,
    pub(super) repeated_pages: bool,
    /// The fields that tell records apart.
    pub(super) key: Arc<[ValuePath]>,
    /// Two passes over a listing are always wanted to agree.
    pub(super) confirm: bool,
    /// A listing that moves is taken as it is.
    pub(super) accept_drift: bool,
    /// How long a token for the next page lasts.
    pub(super) token_lives: Option<Duration>,
    /// So many records of a listing, and no more, the API gives.
    pub(super) window_limit: Option<u64>,
    /// Pages that are asked for at the same time.
    pub(super) parallel_pages: usize,
    pub(super) slicer: Option<Slicer>,
    pub(super) parallel_windows: usize,
    pub(super) exports: Option<Exports>,
}

/// The places of the bounds.
pub(super) const SINCE: &str = "since";
pub(super) const UNTIL: &str = "until";

impl Rest {
    /// Begins to describe a source that reads `url`, which may have places `{name}` for values of a partition in its path.
    pub fn get(url: impl Into<String>) -> RestBuilder {
        RestBuilder::new(Method::GET, url.into())
    }

    /// Begins to describe a source that reads with POST requests, for APIs that take their question in the body. Retried only
    /// if it is said to be [`idempotent`](RestBuilder::idempotent).
    pub fn post(url: impl Into<String>) -> RestBuilder {
        RestBuilder::new(Method::POST, url.into())
    }

    /// Begins to describe a source that asks a GraphQL API with `query`, sent by POST as it is: what changes goes into the
    /// [`variables`](RestBuilder::variables). `errors` in an answer are a failure, whatever its status. Retried unless the text
    /// speaks of a mutation.
    ///
    /// ```
    /// use landfall::connectors::http::{Cursor, Rest};
    ///
    /// let query = "query($shop: ID!, $after: String) {
    ///     shop(id: $shop) { orders(first: 100, after: $after) { nodes { id total } pageInfo { hasNextPage endCursor } } }
    /// }";
    /// let orders = Rest::graphql("https://api.example.com/graphql", query)
    ///     .variables(serde_json::json!({"shop": "{shop}"}))
    ///     .partition("north", [("shop", "s-1")])
    ///     .paginate(Cursor::connection("$.data.shop.orders", "after"))
    ///     .records("$.data.shop.orders.nodes[*]")
    ///     .build()?;
    /// # Ok::<(), landfall::Error>(())
    /// ```
    pub fn graphql(url: impl Into<String>, query: impl Into<String>) -> RestBuilder {
        RestBuilder::graphql(url.into(), query.into())
    }

    /// Where the records of a page are: what a decoder of these pages needs to know.
    pub fn records_path(&self) -> &RecordsPath {
        &self.records
    }

    /// What the place of a page counts, as far as records that come and go can be noticed.
    pub(super) fn counts(&self) -> Counts {
        match self.paginate.counts() {
            // Equal records cannot be told from those that come again.
            _ if self.repeated_pages => Counts::Nothing,
            // What cannot be cut off is not asked for again.
            Counts::Records { .. } if !self.records.as_str().ends_with(ELEMENTS) => Counts::Pages,
            counts => counts,
        }
    }

    /// The fields that records are told by, none for all of their bytes; `None` if that is not needed.
    pub(super) fn prints(&self) -> Option<Arc<[ValuePath]>> {
        (self.confirm || self.counts() != Counts::Nothing).then(|| Arc::clone(&self.key))
    }

    /// Where the records of a page are behind the first `n`.
    pub(super) fn records_after(&self, n: u64) -> Arc<str> {
        let path = self.records.as_str();
        match path.strip_suffix(ELEMENTS).filter(|_| n > 0) {
            Some(array) => format!("{array}[{n}:]").into(),
            None => path.into(),
        }
    }

    pub(super) fn is_graphql(&self) -> bool {
        matches!(self.content, Content::Graphql { .. })
    }

    /// What this source has done so far; keep it before the source goes into a pipeline.
    pub fn stats(&self) -> Traffic {
        self.traffic.clone()
    }

    /// The values of `partition` for the places of the request.
    pub(super) fn values_of(&self, partition: &Partition) -> Result<BTreeMap<String, String>> {
        Ok(Params::of(partition)?.values)
    }

    /// The fields that every record of `partition` is given.
    pub(super) fn fields_of(&self, partition: &Partition) -> Result<Option<Arc<RawValue>>> {
        let raw = |text| {
            let raw = RawValue::from_string(text);
            raw.map(Arc::from).map_err(|e| Error::bug("read partition", "the fields are no JSON").with_source(e))
        };
        Params::of(partition)?.fields.map(raw).transpose()
    }

    /// The first request of a listing of `partition` within `bounds`.
    pub(super) fn request(&self, partition: &Partition, bounds: &Bounds) -> Result<Request> {
        let mut values = self.values_of(partition)?;
        let since = self.since.as_ref().map(|(since, _)| since);
        let Sent { lower, upper } = since.map(|since| since.sent(bounds)).transpose()?.unwrap_or_default();
        let places = [(SINCE, &lower), (UNTIL, &upper)];
        values.extend(places.into_iter().filter_map(|(place, value)| Some((place.to_owned(), value.clone()?))));
        let url = self.url.fill(&values, path_segment)?;
        let samples = self.url.names().into_iter().map(|name| (name.to_owned(), "x".to_owned())).collect();
        if changes_path(&url, &self.url.fill(&samples, path_segment)?) {
            return Err(Error::data("make request", "a value of the partition cannot be a segment of the path")
                .with("partition", &partition.id)
                .with_hint("an empty one, or one of dots, would name another resource"));
        }
        let mut url = Url::parse(&url).map_err(|e| Error::config("make request", "not a URL").with_source(e))?;
        url.set_fragment(None);
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &value.fill(&values, str::to_owned)?);
            }
        }
        let fill = |text: &str| Template::parse(text).fill(&values, str::to_owned);
        let content = self.content.filled(&fill)?;
        let mut request = Request::new(self.method.clone(), url, self.headers.clone(), content);
        for (name, value) in since.into_iter().flat_map(|since| since.in_query(&lower, &upper)) {
            request.set_query(name, value);
        }
        Ok(request)
    }
}

const ELEMENTS: &str = "[*]";

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("client", &self.client)
            .field("paginate", &self.paginate)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Rest {
    type Item = Page;
    type Position = RestPosition;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(self.config.clone())
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<RestPosition>) -> Result<()> {
        self.partitions.list(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<RestPosition>,
        out: &mut Emitter<Page, RestPosition>,
    ) -> Result<StopReason> {
        read(self, env, partition, from.unwrap_or_default(), out).await
    }
}
