//! What a person says of a source: the setters; and what is made of it.

mod build;

use crate::connectors::http::auth::{Auth, NoAuth};
use crate::connectors::http::egress::EgressSettings;
use crate::connectors::http::export::Export;
use crate::connectors::http::incremental::Since;
use crate::connectors::http::limits::Limits;
use crate::connectors::http::pace::Pace;
use crate::connectors::http::pagination::{Paginate, Place};
use crate::connectors::http::partitions::{Parent, Products};
use crate::connectors::http::request::Content;
use crate::connectors::http::rest::Rest;
use crate::connectors::http::rules::{Rule, WaitFrom};
use crate::connectors::http::unsaid::Unsaid;
use crate::error::Result;
use crate::retry::rate::RateBudget;
use crate::retry::{AdaptiveLimit, Policy, Priority};
use crate::source::IntoSource;
use reqwest::Method;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Describes a [`Rest`] source. Nothing is checked or sent until [`build`](Self::build); a pipeline takes it as it is.
#[derive(Clone)]
#[must_use]
pub struct RestBuilder {
    method: Method,
    url: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    content: Content,
    /// What it carried was of another kind before.
    carries_two: bool,
    idempotent: bool,
    auth: Arc<dyn Auth>,
    pub(super) egress: EgressSettings,
    paginate: Arc<dyn Paginate>,
    records: String,
    zip_file: Option<Arc<str>>,
    total: Option<Place>,
    variables: Option<serde_json::Value>,
    since: Option<Since>,
    partitions: Vec<(String, BTreeMap<String, String>)>,
    products: Products,
    parent: Option<Parent>,
    conditional: bool,
    rules: Vec<Rule>,
    waits: Vec<WaitFrom>,
    pub(super) limits: Limits,
    retry: Policy,
    pace: Pace,
    export: Option<Export>,
    max_pages: Option<u64>,
    max_records: Option<u64>,
    repeated_pages: bool,
    key: Vec<String>,
    confirm: bool,
    accept_drift: bool,
    parallel_pages: usize,
    token_lives: Option<Duration>,
    window_limit: Option<u64>,
    parallel_windows: usize,
}

impl RestBuilder {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self {
            idempotent: method == Method::GET,
            method,
            content: Content::None,
            carries_two: false,
            url,
            query: Vec::new(),
            headers: Vec::new(),
            auth: Arc::new(NoAuth),
            egress: EgressSettings::default(),
            paginate: Arc::new(Unsaid),
            records: "$[*]".to_owned(),
            zip_file: None,
            total: None,
            variables: None,
            since: None,
            partitions: Vec::new(),
            products: Products::default(),
            parent: None,
            conditional: false,
            rules: Vec::new(),
            waits: Vec::new(),
            limits: Limits::default(),
            retry: Policy::default(),
            pace: Pace::default(),
            export: None,
            max_pages: None,
            max_records: None,
            repeated_pages: false,
            key: Vec::new(),
            confirm: false,
            accept_drift: false,
            parallel_pages: 1,
            token_lives: None,
            window_limit: None,
            parallel_windows: 1,
        }
    }

    pub(super) fn graphql(url: String, query: String) -> Self {
        let mut builder = Self::new(Method::POST, url);
        builder.idempotent = !query.contains("mutation");
        builder.content = Content::Graphql { query, variables: serde_json::json!({}) };
        builder
    }

    /// Adds a parameter to the query. `{name}` stands for a value of the partition. Not for secrets: see [`auth`](Self::auth).
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header. Not for secrets: see [`auth`](Self::auth).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets a JSON body. In its strings `{name}` stands for a value of the partition. Not for secrets.
    pub fn json(mut self, body: serde_json::Value) -> Self {
        self.carries_two |= !matches!(self.content, Content::None | Content::Json(_));
        self.content = Content::Json(body);
        self
    }

    /// Sets a form as the body. In its values `{name}` stands for a value of the partition. Not for secrets.
    pub fn form<N: Into<String>, V: Into<String>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Self {
        self.carries_two |= !matches!(self.content, Content::None | Content::Form(_));
        self.content = Content::Form(fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect());
        self
    }

    /// Sets the variables of a [GraphQL](Rest::graphql) query. In its strings `{name}` stands for a value of the partition.
    /// Not for secrets.
    pub fn variables(mut self, variables: serde_json::Value) -> Self {
        self.variables = Some(variables);
        self
    }

    /// The API does no more for a request that is sent twice than for one that is sent once: a POST that only asks a question
    /// may be retried.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets the credentials: a [`Bearer`](super::Bearer) token, an [`ApiKey`](super::ApiKey), or what else implements [`Auth`]. None
    /// by default.
    pub fn auth(mut self, auth: impl Auth) -> Self {
        self.auth = Arc::new(auth);
        self
    }

    /// Sets how the listing is cut into pages. By default one response holds everything; if it shows that there is more (a link or a token
    /// that leads on, a flag, a total in a header), the read is `Incomplete`, unless [`Single`](super::Single) says that it is all.
    pub fn paginate(mut self, paginate: impl Paginate) -> Self {
        self.paginate = Arc::new(paginate);
        self
    }

    /// Sets in what a page is written and where its records are: an RFC 9535 path into JSON, `ndjson` for one record per line,
    /// `csv` or [`Csv`](crate::records::Csv), or a path into XML such as `/feed/entry`; see
    /// [`RecordsPath`](crate::records::RecordsPath). `$[*]` by default.
    pub fn records(mut self, path: impl Into<String>) -> Self {
        self.records = path.into();
        self
    }

    /// Takes only the file `name` of responses that are zip archives. Unless set, an archive must have one file; if its files
    /// are lines, or rows without a line of names, it may have several.
    pub fn zip_file(mut self, name: impl Into<Arc<str>>) -> Self {
        self.zip_file = Some(name.into());
        self
    }

    /// The API claims at `place`, a path of the body or a header, how many records there are in all: fewer or more are an error.
    pub fn total(mut self, place: impl Into<Place>) -> Self {
        self.total = Some(place.into());
        self
    }

    /// Reads only what is new since the last complete read.
    pub fn since(mut self, since: Since) -> Self {
        self.since = Some(since);
        self
    }

    /// Divides the source by a list of values for the place `{place}`: a partition for each value. Several lists make a product: a
    /// partition for each combination, made one by one as they are read.
    pub fn partition_by<V: Into<String>>(
        mut self,
        place: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.products.0.push((place.into(), values.into_iter().map(Into::into).collect()));
        self
    }

    /// Each record of another source is a partition of this one: see [`Parent`].
    pub fn parent(mut self, parent: Parent) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Asks whether anything has changed since the last complete read (`If-None-Match`, `If-Modified-Since`: RFC 9110, section
    /// 13.1): if not, the read ends with [`NotModified`](crate::model::Proof::NotModified) and lands nothing. For listings of a
    /// single response: that one page is the same says nothing about the others.
    pub fn conditional(mut self) -> Self {
        self.conditional = true;
        self
    }

    /// Reads so many [windows](super::Window) of a partition at the same time; one unless set.
    pub fn parallel_windows(mut self, windows: usize) -> Self {
        self.parallel_windows = windows;
        self
    }

    /// Adds a partition with values for the places `{name}` of the path and the query. Without any there is one, named `all`.
    pub fn partition<N: Into<String>, V: Into<String>>(
        mut self,
        id: impl Into<String>,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.partitions.push((id.into(), values.into_iter().map(|(n, v)| (n.into(), v.into())).collect()));
        self
    }

    /// Adds a rule of what responses are taken for. The first rule that holds decides; where none does, the status does: 200 and 203
    /// are pages; 429 is a rate limit; 408, 425 and 5xx (but 501 and 505) are tried again, after the wait that they ask for, if
    /// they do; 401 to 403 refuse the credentials; the rest fails.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a place where responses say how long to wait, before `Retry-After`. The first that says one decides.
    pub fn wait(mut self, wait: WaitFrom) -> Self {
        self.waits.push(wait);
        self
    }

    /// Sets how long and how large a response may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how often, how soon and how long to try again.
    pub fn retry(mut self, policy: Policy) -> Self {
        self.retry = policy;
        self
    }

    /// The request creates a job, whose files are the pages: see [`Export`].
    pub fn export(mut self, export: Export) -> Self {
        self.export = Some(export);
        self
    }

    /// Takes each call from `budget`: it waits before the API refuses it. That is every call that the source makes: retries and
    /// redirects, those for tokens and logins, those of an export, and those of a parent without a budget of its own; where a
    /// quota is meant for some of them, say which with [`Quota::of`](crate::retry::rate::Quota::of). Clones are the same
    /// budget, for several sources and pipelines. A turn that is longer in coming than [`Policy::wait`] is not waited for: the
    /// read is put off.
    pub fn budget(mut self, budget: &RateBudget) -> Self {
        self.pace.budget = Some(budget.clone());
        self
    }

    /// Takes each call from `budget` if nothing else is set.
    pub(super) fn spends(&mut self, budget: Option<&RateBudget>) {
        if self.pace.budget.is_none() {
            self.pace.budget = budget.cloned();
        }
    }

    /// Sets how many calls may run at the same time: a [`Concurrency`](crate::retry::Concurrency), or an
    /// [`AdaptiveLimit`] that other sources of the same host share. By default it is found out, between 1 and 64.
    pub fn concurrency(mut self, limit: impl Into<AdaptiveLimit>) -> Self {
        self.pace.limit = limit.into();
        self
    }

    /// Sets what goes first where several sources share a budget or a limit. [`Priority::Incremental`] by default.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.pace.priority = priority;
        self
    }

    /// Ends each read after this many pages; the next one goes on from there.
    pub fn max_pages(mut self, pages: u64) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// Ends each read with the page that brings it to this many records; the next one goes on from there.
    pub fn max_records(mut self, records: u64) -> Self {
        self.max_records = Some(records);
        self
    }

    /// Takes pages with the same records as an earlier one for data, not for a listing that goes in circles.
    pub fn allow_repeated_pages(mut self) -> Self {
        self.repeated_pages = true;
        self
    }

    /// The fields that tell records apart: names of top-level fields, or paths. A listing that moves while it is read is watched
    /// by them. By default it is watched by all of the records' bytes, so that a record which changes seems to be another one.
    pub fn key<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.key = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Reads each listing until two passes in a row bring the same records in the same order, whether or not something shows
    /// that it moves: then no record is missing that was there all the time, by whatever the pages are counted. Records that
    /// come twice are for a dedup stage. After 6 passes it is an error of kind `Incomplete`.
    ///
    /// Without it that is done where something does show it: records that come again on the next page, a short page in the
    /// middle, a total that becomes less.
    pub fn confirm(mut self) -> Self {
        self.confirm = true;
        self
    }

    /// Takes a listing that moves as it is, and reads it once: records may be missing. The coverage says so.
    pub fn accept_drift(mut self) -> Self {
        self.accept_drift = true;
        self
    }

    /// Asks for up to `pages` pages of a listing at the same time, where their places are numbers and the first page claims how
    /// many there are (`total`, `total_pages`). They are handed over in their order, and a read goes on at any of them. What a page
    /// shows still decides what follows: what was asked for in vain is dropped. Each holds memory of the pipeline's budget;
    /// there are fewer where that is short. 1 by default.
    pub fn parallel_pages(mut self, pages: usize) -> Self {
        self.parallel_pages = pages;
        self
    }

    /// How long the API knows a token or a link for the next page. A read that would go on at an older one does not ask: it goes on at the
    /// highest cursor value, if the API gives records in ascending order of the cursor field, and else it begins again. So it
    /// does where the API says that it has forgotten the page ([`On::page_expired`](super::On::page_expired)). What comes
    /// twice is for a dedup stage.
    pub fn token_lives(mut self, lives: Duration) -> Self {
        self.token_lives = Some(lives);
        self
    }

    /// The API gives no more than this many records of one listing, such as 10,000 hits of a search. A listing that reaches them is cut
    /// at the highest cursor value, and goes on from there: that needs [`since`](Self::since) with records in ascending order.
    /// Records with that value come twice, and are for a dedup stage. If it cannot be cut, because more records have one value
    /// than the API gives, or lie within the overlap, the read is `Incomplete`.
    pub fn window_limit(mut self, records: u64) -> Self {
        self.window_limit = Some(records);
        self
    }
}

impl IntoSource for RestBuilder {
    type Source = Rest;

    fn into_source(self) -> Result<Rest> {
        self.build()
    }
}

impl fmt::Debug for RestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What may hold a secret by mistake is left out.
        f.debug_struct("RestBuilder")
            .field("records", &self.records)
            .field("paginate", &self.paginate)
            .finish_non_exhaustive()
    }
}
