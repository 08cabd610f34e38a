//! `[[source.partitions]]`: parts of the source that are read independently of each other.

use super::request::Texts;
use landfall::connectors::http::RestBuilder;
use serde::Deserialize;

/// A part of the source, with values for the places `{name}` of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    id: String,
    #[serde(default)]
    values: Texts,
}

impl Partition {
    pub(super) fn add(&self, source: RestBuilder) -> RestBuilder {
        source.partition(&self.id, self.values.iter().map(|(name, value)| (name.clone(), value.0.clone())))
    }
}
