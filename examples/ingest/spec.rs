//! The spec: what a user writes. Unknown fields are refused, so that a slip of the pen is not silently without effect.

use landfall::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// One pipeline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The pipeline's name; under another name it starts over, and needs another dataset.
    pub(crate) name: String,
    /// Where landing, checkpoints and stage state are kept: a folder, `file:///…` or `s3://…`.
    pub(crate) state: String,
    /// `infer`, or columns as text: `id: utf8, amount: decimal(12,2), customer_id from customer.id: utf8`.
    #[serde(default = "infer")]
    pub(crate) schema: String,
    /// What happens to fields that the schema does not have.
    #[serde(default)]
    pub(crate) unknown: Unknown,
    pub(crate) source: Source,
    #[serde(default)]
    pub(crate) validate: Validation,
    /// Without it, `append` must say that the dataset may hold a record as often as the API gives it.
    pub(crate) dedup: Option<Dedup>,
    #[serde(default)]
    pub(crate) append: bool,
    pub(crate) sink: Sink,
    pub(crate) quarantine: Option<Place>,
    #[serde(default)]
    pub(crate) run: Run,
}

fn infer() -> String {
    "infer".to_owned()
}

/// The API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) url: String,
    /// RFC 9535 path of the records; without it the body is an array of records.
    pub(crate) records: Option<String>,
    /// Set if the body is one record per line.
    #[serde(default)]
    pub(crate) ndjson: bool,
    /// Parameters of every request.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) paginate: Option<Paginate>,
    pub(crate) auth: Option<Auth>,
    pub(crate) since: Option<Since>,
}

/// How to get from page to page.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Paginate {
    /// A token in the body, sent back as a parameter; none means the end. `optional` if the API leaves it out of its only page.
    Cursor {
        at: String,
        query: String,
        #[serde(default)]
        optional: bool,
    },
    /// The `Link` header with `rel="next"`.
    Link,
    /// The URL of the next page in the body; none means the end.
    NextUrl {
        at: String,
        #[serde(default)]
        optional: bool,
    },
    /// Page numbers. The total of records, the number of pages, or both prove the end, if the API tells them; else an empty
    /// page does.
    Page {
        query: String,
        #[serde(default = "one")]
        first: u64,
        total: Option<String>,
        total_pages: Option<String>,
    },
    /// Offsets, with as many records on a page as the parameter `limit_query` asks for.
    Offset { query: String, limit_query: String, limit: u64, total: Option<String> },
}

fn one() -> u64 {
    1
}

/// How to log in. Secrets come from the environment, never from the spec.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Auth {
    Bearer { env: String },
    Basic { user: String, password_env: String },
    Header { name: String, env: String },
    Query { name: String, env: String },
}

/// Ask for what changed since the last run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    /// The field that tells when a record changed.
    pub(crate) field: String,
    /// The parameter that asks for records from a time on.
    pub(crate) query: String,
    /// How far to reach back, for records that come late: a time such as `5m`, or a number where the field is one.
    pub(crate) overlap: Option<Overlap>,
    /// What a number in the field counts, since 1970.
    pub(crate) unit: Option<Unit>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a time such as \"5m\", or a whole number")]
pub(crate) enum Overlap {
    Time(String),
    Number(u64),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// What a good record looks like, beyond its types.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Validation {
    pub(crate) required: Vec<String>,
    pub(crate) range: BTreeMap<String, Range>,
    pub(crate) pattern: BTreeMap<String, String>,
    pub(crate) one_of: BTreeMap<String, Vec<toml::Value>>,
}

/// Both ends belong to it: numbers, or text for times, dates and decimals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) min: Option<toml::Value>,
    pub(crate) max: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dedup {
    /// The columns that together name a record.
    pub(crate) key: Vec<String>,
    /// Which records of a key are loaded; with `since` the latest by its field, else the first.
    pub(crate) keep: Option<Keep>,
}

/// Which records of a key are loaded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// The first; a later version is dropped.
    First,
    /// Each that is newer by this column than all before it: the dataset, which only grows, then holds every version.
    Latest(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sink {
    /// The folder of the Parquet dataset: a path, `file:///…` or `s3://…`.
    pub(crate) parquet: String,
    /// Columns whose values become folders.
    #[serde(default)]
    pub(crate) partition_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) to: String,
}

/// How it runs; what is missing stays at the library's defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Run {
    pub(crate) epoch_records: Option<u64>,
    pub(crate) epoch_mib: Option<u64>,
    pub(crate) epoch_age: Option<String>,
    pub(crate) memory_mib: Option<u64>,
}

/// Fields that the schema does not have.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unknown {
    /// Are left out; the landed pages keep them.
    #[default]
    Ignore,
    /// Send their record to the quarantine.
    Quarantine,
}

impl Spec {
    /// Reads a spec.
    ///
    /// # Errors
    /// `Config`, with line and column of what is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::config("read spec", "the file cannot be read").with("file", path.display()).with_source(e)
        })?;
        toml::from_str(&text).map_err(|e| {
            // The parser's text shows the line in question; a spec holds no secrets.
            Error::config("read spec", "the spec is not right").with("file", path.display()).with_source(e)
        })
    }
}

/// Reads a duration such as `10s`, `5m`, `1h 30m`.
pub(crate) fn duration(field: &'static str, text: &str) -> Result<Duration> {
    let refuse = || Error::config("read spec", "not a duration").with("field", field).with("value", text);
    let hint = "durations look like `10s`, `5m` or `1h 30m`";
    let parsed: jiff::SignedDuration = text.parse().map_err(|e| refuse().with_hint(hint).with_source(e))?;
    Duration::try_from(parsed).map_err(|_| refuse().with_hint("durations are not negative"))
}
