//! From the description to the source: what is wrong, contradicts itself, or would never end does not build.

use super::RestBuilder;
use crate::connectors::http::archive::Files;
use crate::connectors::http::body;
use crate::connectors::http::client::Client;
use crate::connectors::http::egress::Egress;
use crate::connectors::http::export::Export;
use crate::connectors::http::incremental::{RowOrder, Since};
use crate::connectors::http::origin::{Access, Origins};
use crate::connectors::http::pagination::{At, Claims, Paginate, Place, Single, Target};
use crate::connectors::http::partitions::{Parent, Partitions};
use crate::connectors::http::request::Content;
use crate::connectors::http::rest::{Rest, SINCE, UNTIL};
use crate::connectors::http::rules::{Rule, Rules, WaitFrom};
use crate::connectors::http::template::{Template, path_segment};
use crate::connectors::http::windows::Window;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::records::RecordsPath;
use crate::source::{ComponentConfig, Traffic};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::collections::BTreeSet;
use std::sync::Arc;

impl RestBuilder {
    /// Makes the source.
    ///
    /// # Errors
    /// `Config` for what is wrong, contradicts itself, or would never end.
    pub fn build(mut self) -> Result<Rest> {
        if self.carries_two {
            return Err(wrong("a request carries one of JSON, a form and a GraphQL query"));
        }
        if let Some(variables) = self.variables.take() {
            self.content = self.content.with_variables(variables)?;
        }
        let url = self.check_url()?;
        self.auth.check()?;
        self.paginate.check()?;
        self.limits.check()?;
        let records = RecordsPath::parse(&self.records)?;
        let since = self.bounded()?;
        let slicer = since.as_ref().and_then(|(since, _)| since.windows()).map(Window::check).transpose()?;
        if self.parallel_windows == 0 || (self.parallel_windows > 1 && slicer.is_none()) {
            return Err(wrong("there are no windows to read at the same time").with_hint("add .window(…) to .since(…)"));
        }
        if self.method == Method::GET && self.content != Content::None {
            return Err(wrong("a GET carries no body").with_hint("begin with Rest::post(…)"));
        }
        let (places, values) = self.looked_for(&records)?;
        self.check_single_response()?;
        self.check_extent()?;
        self.check_passes(&records)?;
        self.check_parameters()?;
        let key: Arc<[ValuePath]> = self.key.iter().map(|field| ValuePath::field(field)).collect::<Result<_>>()?;
        let exports = self.export.as_ref().map(Export::build).transpose()?;
        let query: Vec<_> = self.query.iter().map(|(name, value)| (name.clone(), Template::parse(value))).collect();
        let headers = self.request_headers()?;
        let files = Files { named: self.zip_file.clone(), several: records.may_follow_each_other() };
        let config = self.recorded();
        let partitions = self.divided()?;
        let rules = Arc::new(Rules::compile(&self.rules, &self.waits)?);
        let mut ways = self.egress.clone();
        let of_files = exports.iter().flat_map(|exports| &exports.origins);
        ways.allowed.extend(of_files.map(|origin| (origin.to_string(), Access::Named)));
        let origins = Origins::new(url, &ways.allowed, ways.public)?;
        let egress = Egress::new(&ways, &self.limits)?;
        let client = Client::new(origins, egress, Arc::clone(&self.auth), self.retry, self.pace.clone());
        Ok(Rest {
            config,
            partitions,
            conditional: self.conditional,
            client,
            traffic: Traffic::default(),
            url: Template::parse(&self.url),
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
            files,
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

    /// What is looked for in each page: the values of the pagination and the total, and those of them that are in the body.
    fn looked_for(&self, records: &RecordsPath) -> Result<(Vec<Place>, Vec<ValuePath>)> {
        let places: Vec<Place> = self.paginate.values().into_iter().chain(self.total.clone()).collect();
        places.iter().try_for_each(Place::check)?;
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
        Ok((places, values))
    }

    /// What is only for a listing without pages.
    fn check_single_response(&self) -> Result<()> {
        let is_single = self.paginate.describe() == Single.describe();
        if self.conditional && (!is_single || self.export.is_some()) {
            return Err(wrong("only a listing of a single response can say that it has not changed")
                .with_hint("leave out .conditional(), or the pagination"));
        }
        if self.export.is_some() && (self.total.is_some() || !is_single) {
            return Err(wrong("the files of an export are its pages, and their number is its end")
                .with_hint("leave out .paginate(…), and say with Export::rows_at(…) how many rows the API claims"));
        }
        Ok(())
    }

    /// How much of a listing is read.
    fn check_extent(&self) -> Result<()> {
        if self.max_pages == Some(0) || self.max_records == Some(0) {
            return Err(wrong("a limit of no pages or no records reads nothing"));
        }
        if self.token_lives.is_some_and(|lives| lives.is_zero()) {
            return Err(wrong("a token that lives no time leads nowhere"));
        }
        if self.zip_file.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(wrong("the file of an archive has no name"));
        }
        let ascends = self.since.as_ref().is_some_and(|since| since.order() == Some(RowOrder::Ascending));
        if self.window_limit == Some(0) || (self.window_limit.is_some() && !ascends) {
            return Err(wrong("a listing is cut at the API's limit by a cursor field in ascending order").with_hint(
                "name the cursor field with .since(…), and say that its order is ascending; or page by a keyset, which needs no cut",
            ));
        }
        Ok(())
    }

    /// How often a listing is read, and how many pages at the same time.
    fn check_passes(&self, records: &RecordsPath) -> Result<()> {
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
        Ok(())
    }

    /// The URL with something in each place, so that it can be looked at.
    fn check_url(&self) -> Result<Url> {
        let template = Template::parse(&self.url);
        let filled = template.names().into_iter().map(|name| (name.to_owned(), "x".to_owned())).collect();
        let url = Url::parse(&template.fill(&filled, path_segment)?).map_err(|e| {
            wrong("the URL cannot be read").with_source(e).with_hint("it begins with https:// or http://")
        })?;
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
        let url = self.check_url()?;
        let in_url = url.query_pairs().map(|(name, _)| Target::Query(name.into_owned()));
        let mut taken: Vec<Target> = query.chain(headers).chain(in_url).collect();
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
            let is_form = matches!(self.content, Content::Form(_));
            if matches!(target, Target::Body(_)) && !is_form && name.contains(['[', ']']) {
                return Err(wrong("a place in the body is a way of names, without elements of arrays")
                    .with("place", name)
                    .with_hint("such as $.page.after; a value that is an array is set as a whole"));
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
            target.check(&self.content)?;
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

    pub(in crate::connectors::http) fn recorded(&self) -> ComponentConfig {
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

fn names(templates: &[Template]) -> impl Iterator<Item = &str> {
    templates.iter().flat_map(Template::names)
}

fn wrong(what: &'static str) -> Error {
    Error::config("build source", what)
}
