//! The partitions of a source: named ones, products of lists, and children of the records of another source.

mod parent;
mod products;

pub(super) use parent::Family;
pub use parent::Parent;
pub(super) use products::Products;

use super::position::RestPosition;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::Partition;
use crate::source::Listing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a request needs to know of its partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Values for the places of the request.
    #[serde(default)]
    pub(super) values: BTreeMap<String, String>,
    /// Fields for all records, as the text of a JSON object: numbers in it keep their digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fields: Option<String>,
}

impl Params {
    pub(super) fn of(partition: &Partition) -> Result<Self> {
        if partition.params.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(&partition.params).map_err(|e| {
            Error::config("make request", "the partition is not one of this source")
                .with("partition", &partition.id)
                .with_source(e)
        })
    }

    fn partition(&self, id: String) -> Result<Partition> {
        let params = serde_json::to_value(self)
            .map_err(|e| Error::bug("list partitions", "the values of a partition cannot be kept").with_source(e))?;
        Ok(Partition::new(id).with_params(params))
    }
}

/// The partitions that a source is configured to have.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    pub(super) named: Vec<(String, BTreeMap<String, String>)>,
    pub(super) products: Products,
    pub(super) parent: Option<Family>,
}

impl Partitions {
    /// The places that have values.
    pub(super) fn places(&self) -> BTreeSet<&str> {
        let named = self.named.iter().flat_map(|(_, values)| values.keys().map(String::as_str));
        let parent = self.parent.iter().flat_map(|parent| parent.bound().into_iter().chain(parent.inherited()));
        named.chain(self.products.places()).chain(parent).collect()
    }

    /// Checks that the `places` of the request, and only they, have values.
    pub(super) fn check(&self, places: &BTreeSet<&str>) -> Result<()> {
        let wrong = |what| Error::config("build source", what);
        if !(self.named.is_empty() || self.products.is_empty() && self.parent.is_none()) {
            return Err(wrong("partitions are named one by one, and as a product or as children too"));
        }
        let check = |id: &str, bound: BTreeSet<&str>, inherited: BTreeSet<&str>| {
            if let Some(place) = places.iter().find(|place| !bound.contains(*place) && !inherited.contains(*place)) {
                return Err(wrong("a partition has no value for a place of the request")
                    .with("partition", id)
                    .with("place", place)
                    .with_hint("give it one with .partition(…), .partition_by(…) or .parent(…)"));
            }
            match bound.difference(places).next() {
                None => Ok(()),
                Some(value) => Err(wrong("a partition has a value that no place of the request takes")
                    .with("partition", id)
                    .with("value", value)),
            }
        };
        let mut ids = BTreeSet::new();
        for (id, values) in &self.named {
            if id.is_empty() || !ids.insert(id) {
                return Err(wrong("the id of a partition is empty, or occurs twice").with("partition", id));
            }
            check(id, values.keys().map(String::as_str).collect(), BTreeSet::new())?;
        }
        self.products.check()?;
        if !self.named.is_empty() {
            return Ok(());
        }
        let of_products = self.products.places();
        let of_parent = self.parent.as_ref().map(Family::bound).unwrap_or_default();
        if let Some(place) = of_products.intersection(&of_parent).next() {
            return Err(wrong("a place takes values of the parent and of a list").with("place", place));
        }
        let inherited = self.parent.as_ref().map(Family::inherited).unwrap_or_default();
        check(if self.parent.is_some() { "of each parent" } else { ALL }, &of_products | &of_parent, inherited)
    }

    /// Lists them one by one.
    pub(super) async fn list(&self, env: &Env, out: &mut Listing<RestPosition>) -> Result<()> {
        if let Some(parent) = &self.parent {
            return parent.list(env, &self.products, out).await;
        }
        for (id, values) in &self.named {
            out.add(Params { values: values.clone(), fields: None }.partition(id.clone())?).await?;
        }
        if self.named.is_empty() {
            for partition in self.products.with(None, Params::default()) {
                out.add(partition?).await?;
            }
        }
        Ok(())
    }
}

/// The only partition of a source that is not divided.
pub(super) const ALL: &str = "all";
