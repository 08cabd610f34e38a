//! Nested lists become tables of their own.

mod child;
mod list;
#[cfg(test)]
mod tests;
mod without;

pub use child::UnnestChild;

use super::Batch;
use crate::error::{Error, Result};
use crate::sink::Tables;
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Turns lists within records into the rows of child tables: a batch of orders with their items into a batch of orders and one
/// of items, which go into the tables of a set in one epoch (a [`TableSet`](crate::sink::TableSet)).
///
/// 1. *Rows*: each element of a list is a row of the child's table. The fields of a struct become columns; another value becomes
///    the column [`value`](UnnestChild::value). A null within a list is a row too, of nulls.
/// 2. *Parent's columns*: each row has those that are copied, under the names that are given, and its place in the list, counted
///    from 0, as [`index`](UnnestChild::index).
/// 3. *Markers*: a record whose list is missing, null or empty gives one row with a null index, so that the rows which the table
///    has for this parent can go: see [`Children`](crate::sink::Children). For a table that only grows, leave them out:
///    [`without_markers`](UnnestChild::without_markers).
/// 4. *Parent*: the list leaves the rows of the parent's table, also from within a struct; a struct that had nothing else goes too.
/// 5. *Depth*: lists within a child become its own children, in the same way. A marker of the child is a parent without children.
/// 6. *Accounted*: rows of child tables, markers among them, are counted as fanned out. Each knows the record that it comes from: one
///    that is refused later goes to the quarantine with the bytes of that record.
/// 7. *In order*: of the records, then of their lists. All rows of a record are in one batch of a table.
///
/// What is not named stays a list in its table. Two columns of one name, or a column that is not there, are an error of kind
/// `Config` at the first batch.
///
/// ```
/// use landfall::columnar::{Unnest, UnnestChild};
///
/// let taxes = UnnestChild::at("taxes").copy("order_id", "order_id").copy("_index", "item_index");
/// let items = UnnestChild::at("items").copy("id", "order_id").copy("updated_at", "updated_at").child("taxes", taxes);
/// let unnest = Unnest::new("orders").child("items", items);
/// # drop(unnest);
/// ```
#[derive(Clone, Debug)]
pub struct Unnest {
    name: String,
    table: Arc<str>,
    children: Vec<(Arc<str>, UnnestChild)>,
}

impl Unnest {
    /// What is left of the records goes into table `table`.
    pub fn new(table: impl Into<Arc<str>>) -> Self {
        Self { name: "unnest".to_owned(), table: table.into(), children: Vec::new() }
    }

    /// Makes a list of each record the rows of table `table`.
    #[must_use]
    pub fn child(mut self, table: impl Into<Arc<str>>, child: UnnestChild) -> Self {
        self.children.push((table.into(), child));
        self
    }

    /// Names the stage; `unnest` unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Stage for Unnest {
    type In = Batch;
    type Out = Tables<Batch>;

    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Result<ComponentConfig> {
        let mut tables = HashSet::from([&*self.table]);
        check(&self.children, &mut tables)?;
        if self.table.is_empty() {
            return Err(Error::config("configure unnest", "the table of the parents has no name"));
        }
        Ok(ComponentConfig::none()
            .with_settings(json!({ "table": &*self.table, "children": described(&self.children) })))
    }

    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        None
    }

    fn apply(&mut self, batch: Batch, out: &mut Output<Tables<Batch>>) -> Result<()> {
        let before = batch.num_rows();
        let mut tables = Tables::new();
        split(&self.table, batch, &self.children, &mut tables)?;
        let after: usize = tables.iter().map(|(_, batch)| batch.num_rows()).sum();
        out.fanned_out((after - before) as u64);
        out.emit(tables);
        Ok(())
    }
}

/// Adds the rows of a table without its lists, then those of its children.
fn split(
    table: &Arc<str>,
    batch: Batch,
    children: &[(Arc<str>, UnnestChild)],
    tables: &mut Tables<Batch>,
) -> Result<()> {
    let paths: Vec<&str> = children.iter().map(|(_, child)| child.path()).collect();
    let rows = batch.with_rows(without::columns(batch.rows(), &paths).map_err(|e| e.with("table", table))?)?;
    tables.push(Arc::clone(table), rows);
    for (name, child) in children {
        let rows = child.rows(&batch).map_err(|e| e.with("table", name).with("list", child.path()))?;
        split(name, rows, child.children(), tables)?;
    }
    Ok(())
}

fn check<'a>(children: &'a [(Arc<str>, UnnestChild)], tables: &mut HashSet<&'a str>) -> Result<()> {
    let mut paths = HashSet::new();
    for (table, child) in children {
        let refuse = |message| Err(Error::config("configure unnest", message).with("table", table));
        if table.is_empty() || !tables.insert(table) {
            return refuse("a table has no name, or that of another one");
        }
        if !paths.insert(child.path()) {
            return refuse("two tables are made of one list");
        }
        child.check().map_err(|e| e.with("table", table))?;
        check(child.children(), tables)?;
    }
    Ok(())
}

fn described(children: &[(Arc<str>, UnnestChild)]) -> BTreeMap<String, Value> {
    children.iter().map(|(table, child)| (table.to_string(), child.described(described(child.children())))).collect()
}
