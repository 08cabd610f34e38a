//! Several tables of one epoch: what goes into them, and a sink that is made of sinks.

mod erased;
mod set;
#[cfg(test)]
mod tests;

pub use set::{TableSet, TableSetStaged, TableSetWriter};

use crate::model::Item;
use std::sync::Arc;

/// Items for several tables that belong together: the rows of parents and those of their children.
///
/// ```
/// use landfall::model::{Item, Rows};
/// use landfall::sink::Tables;
///
/// let tables = Tables::new().with("orders", Rows(vec!["a"])).with("items", Rows(vec!["a1", "a2"]));
/// assert_eq!(tables.records(), 3);
/// assert_eq!(tables.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["orders", "items"]);
/// ```
#[derive(Clone, Debug)]
pub struct Tables<I> {
    items: Vec<(Arc<str>, I)>,
}

impl<I> Tables<I> {
    /// For no table yet.
    pub fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// The same and an item for table `name`.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, item: I) -> Self {
        self.push(name, item);
        self
    }

    /// Adds an item for table `name`, behind those that it has.
    pub fn push(&mut self, name: impl Into<Arc<str>>, item: I) {
        self.items.push((name.into(), item));
    }

    /// The items, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &I)> {
        self.items.iter().map(|(name, item)| (&**name, item))
    }
}

impl<I> Default for Tables<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I> IntoIterator for Tables<I> {
    type Item = (Arc<str>, I);
    type IntoIter = std::vec::IntoIter<(Arc<str>, I)>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<I: Item> Item for Tables<I> {
    fn records(&self) -> u64 {
        self.items.iter().map(|(_, item)| item.records()).sum()
    }

    fn bytes(&self) -> u64 {
        self.items.iter().map(|(_, item)| item.bytes()).sum()
    }
}
