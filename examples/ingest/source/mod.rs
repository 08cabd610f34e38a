//! The table `[source]`: the API. One file for each of the tables in it.

mod auth;
mod csv;
mod egress;
mod export;
mod limits;
mod pace;
mod paginate;
mod partitions;
pub(crate) mod request;
mod rules;
mod since;

use crate::value::{Duration, Json};
use crate::with::With;
use auth::Login;
use csv::Rows;
use egress::Egress;
use export::Export;
use landfall::connectors::http::RestBuilder;
use landfall::{Error, Result};
use limits::{Limits, Retry};
use pace::{Budget, Concurrency, Priority};
use paginate::{Paginate, Place};
use partitions::{Lists, Parent, Partition};
use request::{Carries, Graphql, Method, Parameters, Texts, pairs, without_secrets};
use rules::{Rule, Wait};
use serde::Deserialize;
use since::Since;

/// The API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// With places `{name}` for values of the partition in its path.
    url: String,
    /// `GET`, or `POST`; the latter where the request carries something.
    method: Option<Method>,
    /// Parameters of every request. `{name}` stands for a value of the partition.
    #[serde(default)]
    query: Parameters,
    /// Headers of every request. Not for secrets.
    #[serde(default)]
    headers: Texts,
    /// What every request carries. In its texts `{name}` stands for a value of the partition.
    json: Option<Json>,
    form: Option<Parameters>,
    graphql: Option<Graphql>,
    /// A POST that only asks a question: it may be sent again.
    #[serde(default)]
    idempotent: bool,
    /// RFC 9535 path of the records; `/orders/order` in XML. Without it the body is an array of records.
    records: Option<String>,
    /// The body is rows; says how they are written.
    csv: Option<Rows>,
    /// The body is one record per line.
    #[serde(default)]
    ndjson: bool,
    /// Of responses that are zip archives only this file is read.
    zip_file: Option<String>,
    auth: Option<Login>,
    paginate: Option<Paginate>,
    /// Where the API claims how many records there are in all.
    total: Option<Place>,
    pub(crate) since: Option<Since>,
    /// The request makes a job, whose files are read.
    export: Option<Export>,
    /// Parts that are read independently of each other.
    #[serde(default)]
    partitions: Vec<Partition>,
    /// For each place of the request, its values; several make a part for each combination.
    #[serde(default)]
    lists: Lists,
    /// Each record of another source is a part of this one.
    parent: Option<Parent>,
    /// Asks whether anything has changed; lands nothing if not.
    #[serde(default)]
    conditional: bool,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    waits: Vec<Wait>,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    egress: Egress,
    budget: Option<Budget>,
    concurrency: Option<Concurrency>,
    /// What goes first where a budget is shared.
    #[serde(default)]
    priority: Priority,
    /// Pages that are asked for at the same time, where the first says how many there are.
    parallel_pages: Option<usize>,
    /// The API gives no more than so many records of one listing: it is cut by the field of `since`.
    window_limit: Option<u64>,
    /// How long the API knows a token or a link for the next page.
    token_lives: Option<Duration>,
    /// Ends each read after so many pages; the next run goes on from there.
    max_pages: Option<u64>,
    /// Ends each read after so many records; the next run goes on from there.
    max_records: Option<u64>,
    /// The fields that tell records apart, to see a listing that moves while it is read.
    #[serde(default)]
    key: Vec<String>,
    /// Reads each listing until two passes bring the same.
    #[serde(default)]
    confirm: bool,
    /// Takes a listing that moves as it is: records may be missing, and the report says so.
    #[serde(default)]
    accept_drift: bool,
    /// Equal pages are data, not a listing that goes in circles.
    #[serde(default)]
    allow_repeated_pages: bool,
}

impl Source {
    /// The source that the spec describes.
    ///
    /// # Errors
    /// `Config` for what does not go together in the spec. What the library does not allow, it says itself.
    pub(crate) fn build(&self) -> Result<RestBuilder> {
        let carries = Carries { json: self.json.as_ref(), form: self.form.as_ref(), graphql: self.graphql.as_ref() };
        without_secrets(self.query.keys().chain(self.headers.keys()))?;
        let calls = self.concurrency.map(Concurrency::build).transpose()?;
        let mut source = carries
            .begin(&self.url, self.method)?
            .with_all(pairs(&self.query), |source, (name, value)| source.query(name, value))
            .with_all(&self.headers, |source, (name, value)| source.header(name, &value.0))
            .with_flag(self.idempotent, RestBuilder::idempotent)
            .with_some(self.records()?, RestBuilder::records)
            .with_some(self.total.as_ref(), |source, place| source.total(place))
            .with_some(self.since.as_ref(), |source, since| since.add(source))
            .with_some(self.export.as_ref(), |source, export| source.export(export.build()))
            .with_all(&self.partitions, |source, partition| partition.add(source))
            .with_all(&self.lists, |source, (place, values)| {
                source.partition_by(place, values.iter().map(|value| value.0.clone()))
            })
            .with_flag(self.conditional, RestBuilder::conditional)
            .retry(self.retry.build()?)
            .limits(self.limits.build())
            .with_some(calls, RestBuilder::concurrency)
            .priority(self.priority.build())
            .with_some(self.zip_file.as_deref(), RestBuilder::zip_file)
            .with_some(self.parallel_pages, RestBuilder::parallel_pages)
            .with_some(self.window_limit, RestBuilder::window_limit)
            .with_some(self.token_lives, |source, time| source.token_lives(time.0))
            .with_some(self.max_pages, RestBuilder::max_pages)
            .with_some(self.max_records, RestBuilder::max_records)
            .with_some((!self.key.is_empty()).then_some(&self.key), |source, fields| source.key(fields))
            .with_flag(self.confirm, RestBuilder::confirm)
            .with_flag(self.accept_drift, RestBuilder::accept_drift)
            .with_flag(self.allow_repeated_pages, RestBuilder::allow_repeated_pages);
        for rule in &self.rules {
            source = source.rule(rule.build()?);
        }
        for wait in &self.waits {
            source = source.wait(wait.build()?);
        }
        if let Some(parent) = &self.parent {
            source = source.parent(parent.build()?);
        }
        if let Some(auth) = &self.auth {
            source = source.auth(auth.build()?);
        }
        if let Some(paginate) = &self.paginate {
            source = paginate.add(source)?;
        }
        source = self.egress.add(source)?;
        match &self.budget {
            Some(budget) => budget.add(source),
            None => Ok(source),
        }
    }

    fn records(&self) -> Result<Option<String>> {
        match (&self.records, self.ndjson, &self.csv) {
            (records, false, None) => Ok(records.clone()),
            (None, true, None) => Ok(Some("ndjson".to_owned())),
            (None, false, Some(rows)) => Ok(Some(rows.build()?.to_string())),
            _ => Err(Error::config("read spec", "lines and rows are records: there is no path to them")
                .with_hint("say one of `records`, `ndjson = true` and `csv`")),
        }
    }
}
