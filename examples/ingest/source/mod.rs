//! The table `[source]`: the API. One file for each of the tables in it.

mod auth;
mod format;
mod limits;
mod pace;
mod paginate;
mod partitions;
mod request;
mod rules;
mod since;

use crate::with::With;
use auth::Auth;
use format::Csv;
use landfall::connectors::http::{Rest, RestBuilder};
use landfall::{Error, Result};
use limits::{Limits, Retry};
use pace::{Budget, Concurrency, Pace};
use paginate::{Paginate, Place};
use partitions::Partition;
use request::Request;
use rules::{Rule, Wait};
use serde::Deserialize;
use since::Since;

/// The API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// The URL, with places `{name}` for values of the partition in its path.
    pub(crate) url: String,
    #[serde(default)]
    method: request::Method,
    /// Parameters of every request. `{name}` stands for a value of the partition.
    #[serde(default)]
    query: request::Texts,
    /// Headers of every request. Not for secrets.
    #[serde(default)]
    headers: request::Texts,
    /// The body, as JSON.
    json: Option<crate::value::Json>,
    /// The body, as a form.
    form: Option<request::Texts>,
    /// A POST that only asks a question: it may be sent again.
    #[serde(default)]
    idempotent: bool,
    /// RFC 9535 path of the records; without it the body is an array of records.
    records: Option<String>,
    /// The body is one record per line.
    #[serde(default)]
    ndjson: bool,
    auth: Option<Auth>,
    paginate: Option<Paginate>,
    /// Where the API claims how many records there are in all.
    total: Option<Place>,
    pub(crate) since: Option<Since>,
    /// Parts that are read independently of each other.
    #[serde(default)]
    partitions: Vec<Partition>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    waits: Vec<Wait>,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    limits: Limits,
    budget: Option<Budget>,
    concurrency: Option<Concurrency>,
    #[serde(default)]
    priority: Pace,
    /// Ends each read after so many pages; the next run goes on from there.
    max_pages: Option<u64>,
    /// Ends each read after so many records; the next run goes on from there.
    max_records: Option<u64>,
    /// Equal pages are data, not a listing that goes in circles.
    #[serde(default)]
    allow_repeated_pages: bool,
}
