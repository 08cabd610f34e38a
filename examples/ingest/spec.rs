//! The spec: what a user writes. Unknown fields are refused, so that a slip of the pen is not silently without effect.

use crate::sink::Sink;
use crate::source::Source;
use crate::value::Duration;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One pipeline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The pipeline's name; under another name it starts over, and needs another destination.
    pub(crate) name: String,
    /// Where landing, checkpoints and stage state are kept: a folder, or a bucket (`s3://…`, `az://…`, `gs://…`).
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
    /// Without it, and without a way in which the sink tells rows apart, `append` must say that a record may be held as often as the API gives it.
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
#[serde(untagged, deny_unknown_fields, expecting = "`keep` is \"first\", or { latest = \"column\" }")]
pub(crate) enum Keep {
    /// The first; a later version is dropped.
    First(First),
    /// Each that is newer by this column than all before it: the dataset, which only grows, then holds every version.
    Latest { latest: String },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum First {
    First,
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
    pub(crate) epoch_age: Option<Duration>,
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
