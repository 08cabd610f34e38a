//! `[[source.partitions]]`, `[source.lists]` and `[source.parent]`: parts of the source that are read independently of each other.

use super::Source;
use super::request::Texts;
use crate::value::Text;
use crate::with::With;
use landfall::Result;
use landfall::connectors::http::{self, RestBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;

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

/// For each place of the request, its values. Several make a part for each combination.
pub(crate) type Lists = BTreeMap<String, Vec<Text>>;

/// Each record of another source is a part of this one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parent {
    source: Box<Source>,
    /// For places of the request, where the parent's record has the value.
    bind: BTreeMap<String, String>,
    /// For fields that each record gets, where the parent's record has the value.
    #[serde(default)]
    include: BTreeMap<String, String>,
    /// Passes over records of the parent that have no value to bind.
    #[serde(default)]
    skip_without_value: bool,
}

impl Parent {
    pub(super) fn build(&self) -> Result<http::Parent> {
        Ok(http::Parent::of(self.source.build()?)
            .with_all(&self.bind, |parent, (place, path)| parent.bind(place, path))
            .with_all(&self.include, |parent, (name, path)| parent.include(path, name))
            .with_flag(self.skip_without_value, http::Parent::skip_without_value))
    }
}
