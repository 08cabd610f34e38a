use super::{ALL, Params};
use crate::error::{Error, Result};
use crate::model::Partition;
use std::collections::BTreeSet;
use url::form_urlencoded;

/// Lists of values for places; each combination is a partition.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Products(pub(in super::super) Vec<(String, Vec<String>)>);

impl Products {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn places(&self) -> BTreeSet<&str> {
        self.0.iter().map(|(place, _)| place.as_str()).collect()
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what| Error::config("build source", what);
        let mut places = BTreeSet::new();
        for (place, values) in &self.0 {
            if !places.insert(place) {
                return Err(wrong("a place takes values of two lists").with("place", place));
            }
            let mut seen = BTreeSet::new();
            if values.is_empty() {
                return Err(wrong("a list of partitions is empty").with("place", place));
            }
            if let Some(value) = values.iter().find(|value| !seen.insert(*value)) {
                return Err(wrong("a list of partitions has a value twice").with("place", place).with("value", value));
            }
        }
        Ok(())
    }

    /// Every combination of what `id` and `params` say and a value of each list. They are made one by one.
    pub(super) fn with(&self, id: Option<String>, params: Params) -> impl Iterator<Item = Result<Partition>> + '_ {
        let combinations = self.0.iter().map(|(_, values)| values.len()).product();
        (0..combinations).map(move |number| self.combination(number, id.as_deref(), params.clone()))
    }

    /// The combination of this number: the last list turns fastest.
    fn combination(&self, number: usize, id: Option<&str>, mut params: Params) -> Result<Partition> {
        let mut left = number;
        for (place, values) in self.0.iter().rev() {
            let value = values.get(left % values.len().max(1)).cloned().unwrap_or_default();
            left /= values.len().max(1);
            params.values.insert(place.clone(), value);
        }
        let mut name = form_urlencoded::Serializer::new(id.unwrap_or_default().to_owned());
        for (place, _) in &self.0 {
            name.append_pair(place, params.values.get(place).map_or("", String::as_str));
        }
        let name = name.finish();
        params.partition(if name.is_empty() { ALL.to_owned() } else { name })
    }
}
