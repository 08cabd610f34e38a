use super::archive::Files;
use super::auth::{Auth, NoAuth};
use super::body;
use super::client::Client;
use super::egress::{Egress, EgressSettings};
use super::export::Export;
use super::incremental::{RowOrder, Since};
use super::limits::Limits;
use super::origin::{Access, Origins};
use super::pace::Pace;
use super::pagination::{At, Claims, Paginate, Place, Single, Target};
use super::partitions::{Parent, Partitions, Products};
use super::request::Content;
use super::rest::{Rest, SINCE, UNTIL};
use super::rules::{Rule, Rules, WaitFrom};
use super::template::{Template, path_segment};
use super::windows::Window;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::records::RecordsPath;
use crate::retry::rate::RateBudget;
use crate::retry::{AdaptiveLimit, Policy, Priority};
use crate::source::{ComponentConfig, IntoSource, Traffic};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::collections::{BTreeMap, BTreeSet};
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
    limits: Limits,
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
            url,
            query: Vec::new(),
            headers: Vec::new(),
            auth: Arc::new(NoAuth),
            egress: EgressSettings::default(),
            paginate: Arc::new(Single),
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
        self.content = Content::Json(body);
        self
    }

    /// Sets a form as the body. In its values `{name}` stands for a value of the partition. Not for secrets.
    pub fn form<N: Into<String>, V: Into<String>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Self {
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

    /// Sets how the listing is cut into pages. One response holds everything by default.
    pub fn paginate(mut self, paginate: impl Paginate) -> Self {
        self.paginate = Arc::new(paginate);
        self
    }

    /// Sets in what a page is written and where its records are: an RFC 9535 path into JSON, `ndjson` for one record per line,
    /// `csv` or [`Csv`](crate::records::Csv), or a path into XML such as `/feed/entry`; see
    /// [`RecordsPath`]. `$[*]` by default.
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

    /// Makes the source.
    ///
    /// # Errors
    /// `Config` for what is wrong, contradicts itself, or would never end.
    pub fn build(mut self) -> Result<Rest> {
        if let Some(variables) = self.variables.take() {
            self.content = self.content.with_variables(variables)?;
        }
        let parsed = self.check_url()?;
        self.auth.check()?;
        self.paginate.check()?;
        self.limits.check()?;
        let records = RecordsPath::parse(&self.records)?;
        let since = self.bounded()?;
        let slicer = since.as_ref().and_then(|(since, _)| since.windows()).map(Window::check).transpose()?;
        if self.parallel_windows == 0 || (self.parallel_windows > 1 && slicer.is_none()) {
            return Err(wrong("there are no windows to read at the same time").with_hint("add .window(…) to .since(…)"));
        }
        let unpacks = Files { named: self.zip_file.clone(), several: records.may_follow_each_other() };
        let places: Vec<Place> = self.paginate.values().into_iter().chain(self.total.clone()).collect();
        let in_body = places.iter().filter_map(|place| match place {
            Place::Body(path) => Some(ValuePath::parse(path)),
            Place::Header(_) => None,
        });
        let mut values = in_body.collect::<Result<Vec<_>>>()?;
        if matches!(self.content, Content::Graphql { .. }) {
            values.push(ValuePath::parse("$.errors")?);
        }
        if records.needs_known_end() && !values.is_empty() {
            return Err(wrong(
                "lines and rows hold records only: there is no value to find the next page or the total by",
            ));
        }
        if let Some(value) = values.iter().find(|value| !records.has_values_at(value)) {
            return Err(wrong("a value is looked for in another format than that of the records")
                .with("path", value.as_str())
                .with("records", records.as_str())
                .with_hint("$.… is a path into JSON, /… one into XML"));
        }
        if self.max_pages == Some(0) || self.max_records == Some(0) {
            return Err(wrong("a limit of no pages or no records reads nothing"));
        }
        if self.conditional && (self.paginate.describe() != Single.describe() || self.export.is_some()) {
            return Err(wrong("only a listing of a single response can say that it has not changed")
                .with_hint("leave out .conditional(), or the pagination"));
        }
        if self.method == Method::GET && self.content != Content::None {
            return Err(wrong("a GET carries no body").with_hint("begin with Rest::post(…)"));
        }
        let key: Arc<[ValuePath]> = self.key.iter().map(|field| ValuePath::field(field)).collect::<Result<_>>()?;
        let ascends = self.since.as_ref().is_some_and(|since| since.order() == Some(RowOrder::Ascending));
        if self.window_limit == Some(0) || (self.window_limit.is_some() && !ascends) {
            return Err(wrong("a listing is cut at the API's limit by a cursor field in ascending order").with_hint(
                "name the cursor field with .since(…), and say that its order is ascending; or page by a keyset, which needs no cut",
            ));
        }
        if self.parallel_pages == 0 {
            return Err(wrong("no pages at the same time read nothing"));
        }
        let many = Claims { records: Some(u64::MAX), pages: Some(u64::MAX) };
        if self.parallel_pages > 1 && (self.paginate.ahead(&At::First, 1, many).is_none() || records.needs_known_end())
        {
            return Err(wrong("these pages cannot be asked for at the same time")
                .with_hint("that needs pages by number or offset, with records in JSON"));
        }
        if self.confirm && (self.accept_drift || self.repeated_pages) {
            return Err(wrong("a listing cannot be confirmed whose movement is not watched"));
        }
        if self.export.is_some() && (self.total.is_some() || self.paginate.describe() != Single.describe()) {
            return Err(wrong("the files of an export are its pages, and their number is its end")
                .with_hint("leave out .paginate(…), and say with Export::rows_at(…) how many rows the API claims"));
        }
        let exports = self.export.as_ref().map(Export::build).transpose()?;
        self.check_parameters()?;
        let template = Template::parse(&self.url);
        let query: Vec<_> = self.query.iter().map(|(name, value)| (name.clone(), Template::parse(value))).collect();
        let headers = self.request_headers()?;
        let config = self.recorded();
        let partitions = self.divided()?;
        let rules = Arc::new(Rules::compile(&self.rules, &self.waits)?);
        let mut ways = self.egress.clone();
        let files = exports.iter().flat_map(|exports| &exports.origins);
        ways.allowed.extend(files.map(|origin| (origin.to_string(), Access::Named)));
        let origins = Origins::new(parsed, &ways.allowed, ways.public)?;
        let egress = Egress::new(&ways, &self.limits)?;
        let client = Client::new(origins, egress, Arc::clone(&self.auth), self.retry, self.pace.clone());
        Ok(Rest {
            config,
            partitions,
            conditional: self.conditional,
            client,
            traffic: Traffic::default(),
            url: template,
            query,
            headers,
            method: self.method,
            content: self.content,
            idempotent: self.idempotent,
            paginate: self.paginate,
            records: Arc::new(records),
            places: places.into(),
            values: values.into(),
            has_total: self.total.is_some(),
            since,
            rules,
            limits: self.limits,
            files: unpacks,
            retry: self.retry,
            max_pages: self.max_pages,
            max_records: self.max_records,
            repeated_pages: self.repeated_pages,
            key,
            confirm: self.confirm,
            accept_drift: self.accept_drift,
            parallel_pages: self.parallel_pages,
            token_lives: self.token_lives,
            window_limit: self.window_limit,
            slicer,
            parallel_windows: self.parallel_windows,
            exports,
        })
    }

    /// The URL with something in each place, so that it can be looked at.
    fn check_url(&self) -> Result<Url> {
        let template = Template::parse(&self.url);
        let filled = template.names().into_iter().map(|name| (name.to_owned(), "x".to_owned())).collect();
        let url = Url::parse(&template.fill(&filled, path_segment)?)
            .map_err(|e| wrong("the URL cannot be read").with_source(e))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("the URL is not one of http or https").with("scheme", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the URL carries a user or a password").with_hint("set them with .auth(Basic::new(…))"));
        }
        let origin = self.url.split('/').nth(2).unwrap_or_default();
        if !Template::parse(origin).names().is_empty() {
            return Err(wrong("the host and the port of the URL have no places for values"));
        }
        Ok(url)
    }

    /// The cursor field, with what the request has of places for its bounds.
    fn bounded(&self) -> Result<Option<(Since, Arc<ValuePath>)>> {
        let Some(since) = self.since.clone() else { return Ok(None) };
        let (url, query, body) = self.templates();
        let places: BTreeSet<&str> = url.names().into_iter().chain(names(&query)).chain(names(&body)).collect();
        let since = since.with_places(places.contains(SINCE), places.contains(UNTIL));
        since.check()?;
        let path = Arc::new(since.path()?);
        Ok(Some((since, path)))
    }

    /// What of the request may have places.
    fn templates(&self) -> (Template, Vec<Template>, Vec<Template>) {
        let query = self.query.iter().map(|(_, value)| Template::parse(value)).collect();
        let body = self.content.texts().into_iter().map(Template::parse).collect();
        (Template::parse(&self.url), query, body)
    }

    /// Two setters must not fill the same place of the request, and the place must be there.
    fn check_parameters(&self) -> Result<()> {
        let query = self.query.iter().map(|(name, _)| Target::Query(name.clone()));
        let headers = self.headers.iter().map(|(name, _)| Target::Header(name.clone()));
        let mut taken: Vec<Target> = query.chain(headers).collect();
        let since = self.since.as_ref().map(Since::parameters).unwrap_or_default();
        for target in self.paginate.targets().into_iter().chain(since.into_iter().map(Target::Query)) {
            let name = target.name();
            if name.is_empty() {
                return Err(wrong("a parameter of the request has no name"));
            }
            if matches!(target, Target::Body(_)) && self.content == Content::None {
                return Err(wrong("the pagination goes into a body, but the request has none")
                    .with("place", name)
                    .with_hint("begin with Rest::post(…), and give it a body with .json(…) or .form(…)"));
            }
            let is_header = matches!(target, Target::Header(_));
            let same = |other: &Target| match (other, &target) {
                (Target::Header(one), Target::Header(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one == other,
            };
            if taken.iter().any(same) {
                let what = if is_header { "a header is set twice" } else { "a parameter of the request is set twice" };
                return Err(wrong(what).with("parameter", name));
            }
            taken.push(target);
        }
        Ok(())
    }

    /// The partitions, whose values must fit the places of the request.
    fn divided(&mut self) -> Result<Partitions> {
        let (url, query, body) = self.templates();
        let of_export = self.export.as_ref().map(Export::places).unwrap_or_default();
        let mut places: BTreeSet<&str> = url.names().into_iter().chain(names(&query)).chain(names(&body)).collect();
        places.extend(of_export.iter().map(String::as_str));
        if self.since.is_some() {
            places.retain(|place| ![SINCE, UNTIL].contains(place));
        }
        let partitions = Partitions {
            named: std::mem::take(&mut self.partitions),
            products: std::mem::take(&mut self.products),
            parent: self.parent.take().map(|parent| parent.build(self.pace.budget.as_ref())).transpose()?,
        };
        partitions.check(&places)?;
        Ok(partitions)
    }

    fn request_headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/x-ndjson, */*;q=0.5"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(body::ACCEPTED));
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if matches!(lower.as_str(), "authorization" | "proxy-authorization" | "cookie") {
                return Err(wrong("credentials do not belong into a header")
                    .with("header", name)
                    .with_hint("use .auth(…)"));
            }
            let header = HeaderName::from_bytes(name.as_bytes());
            let (Ok(header), Ok(value)) = (header, HeaderValue::from_str(value)) else {
                return Err(wrong("the name or the value of a header is not valid").with("header", name));
            };
            headers.insert(header, value);
        }
        Ok(headers)
    }

    pub(super) fn recorded(&self) -> ComponentConfig {
        let identity = serde_json::json!({
            "url": self.url,
            "records": self.records,
            "zip_file": self.zip_file,
        });
        let settings = serde_json::json!({
            "method": self.method.as_str(),
            "body": self.content.recorded(),
            "query": self.query,
            "headers": self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "pagination": self.paginate.describe(),
            "since": self.since,
            "total": self.total,
            "rules": self.rules.iter().map(Rule::recorded).collect::<Vec<_>>(),
            "waits": self.waits.iter().map(WaitFrom::recorded).collect::<Vec<_>>(),
            "max_pages": self.max_pages,
            "max_records": self.max_records,
            "allow_repeated_pages": self.repeated_pages,
            "key": self.key,
            "confirm": self.confirm,
            "accept_drift": self.accept_drift,
            "window_limit": self.window_limit,
            "parallel_windows": self.parallel_windows,
            "partition_by": self.products.0.iter().map(|(place, _)| place).collect::<Vec<_>>(),
            "parent": self.parent.as_ref().map(Parent::recorded),
            "conditional": self.conditional,
            "export": self.export.as_ref().map(Export::recorded),
        });
        ComponentConfig::none().with_identity(identity).with_settings(settings)
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

fn names(templates: &[Template]) -> impl Iterator<Item = &str> {
    templates.iter().flat_map(Template::names)
}

fn wrong(what: &'static str) -> Error {
    Error::config("build source", what)
}
