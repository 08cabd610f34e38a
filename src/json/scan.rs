use super::locate;
use super::path::{Kind, Query, Step, ValuePath};
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::model::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What one pass over a page found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan {
    /// Where each record lies, in the order of the page.
    pub spans: Vec<Span>,
    /// The raw JSON text of each value that was asked for; `None` if it is not there. In the place of an object or array
    /// that would hold it, `null` counts for it too.
    pub values: Vec<Option<String>>,
}

/// Finds the records under `path` and the values at `extract` in one pass over `body`.
///
/// # Errors
/// `Data` if the body is not one whole JSON text (transient if it ends too early), or if nothing that can hold records
/// stands at `path`.
pub fn scan(body: &[u8], path: &Query, extract: &[ValuePath]) -> Result<Scan> {
    let mut plan = Node::default();
    let values = extract.iter().enumerate().filter(|(_, value)| value.element().is_none());
    for (slot, value) in values {
        plan.at(&value.steps).values.push(slot);
    }
    match &path.kind {
        Kind::Simple(steps) => match steps.split_last() {
            Some((Step::Elements, parent)) => plan.at(parent).records = Some(Records::Elements),
            Some((Step::Members, parent)) => plan.at(parent).records = Some(Records::Members),
            _ => plan.at(steps).records = Some(Records::This),
        },
        Kind::General { query, prefix, place } => {
            plan.at(prefix).records = Some(Records::Below);
            let tree = locate::tree(body)?;
            if !locate::plan(&tree, query, &mut plan) && locate::misses(&tree, prefix, place.as_ref()) {
                return Err(selects_nothing(body, path));
            }
        }
    }
    let walk = Walk::page(body)?;
    let mut search = Search { walk, records: Vec::new(), values: vec![None; extract.len()], place_found: false };
    search.page(&plan)?;
    if !search.place_found {
        return Err(selects_nothing(body, path));
    }
    // A general query may name values in any order, and some twice.
    search.records.sort_unstable_by_key(|r| (r.start, std::cmp::Reverse(r.end)));
    search.records.dedup();
    if search.records.windows(2).any(|pair| matches!(pair, [a, b] if b.start < a.end)) {
        return Err(Error::data("scan page", "the path selects records inside of records").with("path", path.as_str()));
    }
    Ok(Scan {
        spans: search.records.iter().map(|r| span(r.start, r.len())).collect(),
        values: search.values.into_iter().map(|v| v.map(|range| text(body, range))).collect(),
    })
}

/// The raw JSON text at `path` of one record, or `None` if it is not there.
///
/// # Errors
/// `Data` if the structure of the record is broken.
pub fn field<'a>(record: &'a [u8], path: &ValuePath) -> Result<Option<&'a [u8]>> {
    if path.element().is_some() {
        return Ok(None);
    }
    let mut walk = Walk { body: record, at: 0, depth: 0 };
    for step in &path.steps {
        if !walk.enter(step)? {
            return Ok(None);
        }
    }
    walk.blank();
    let start = walk.at;
    walk.skip()?;
    Ok(record.get(start..walk.at))
}

/// What to take on the way through a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    names: BTreeMap<String, Self>,
    indices: BTreeMap<usize, Self>,
    /// Slots that take this value.
    values: Vec<usize>,
    records: Option<Records>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Records {
    /// This value is a record.
    This,
    /// The elements of this array are.
    Elements,
    /// The elements of this array or the members of this object are.
    Members,
    /// Values below this one are, which a query has found.
    Below,
    /// A query has found this value to be a record.
    Found,
}

impl Node {
    /// The node at `steps`, made where there is none.
    fn at(&mut self, steps: &[Step]) -> &mut Self {
        steps.iter().fold(self, |node, step| match step {
            Step::Name(name) => node.named(name),
            Step::Index(index) => node.indexed(*index),
            Step::Elements | Step::Members => node,
        })
    }

    pub(super) fn named(&mut self, name: &str) -> &mut Self {
        self.names.entry(name.to_owned()).or_default()
    }

    pub(super) fn indexed(&mut self, index: usize) -> &mut Self {
        self.indices.entry(index).or_default()
    }

    pub(super) fn is_found(&mut self) {
        self.records = Some(Records::Found);
    }

    fn takes_elements(&self) -> bool {
        matches!(self.records, Some(Records::Elements | Records::Members))
    }

    fn below(&self) -> impl Iterator<Item = &Self> {
        self.names.values().chain(self.indices.values())
    }
}

/// The pass over a page.
#[derive(Debug)]
struct Search<'a> {
    walk: Walk<'a>,
    records: Vec<Range<usize>>,
    values: Vec<Option<Range<usize>>>,
    place_found: bool,
}

impl Search<'_> {
    fn page(&mut self, plan: &Node) -> Result<()> {
        self.walk.blank();
        if self.walk.at == self.walk.body.len() {
            return Err(Error::data("scan page", "the page is empty"));
        }
        self.value(plan)?;
        self.walk.blank();
        if self.walk.at < self.walk.body.len() {
            return Err(
                Error::data("scan page", "something follows after the end of the JSON").with("at", self.walk.at)
            );
        }
        Ok(())
    }

    fn value(&mut self, node: &Node) -> Result<()> {
        self.walk.blank();
        let start = self.walk.at;
        self.check_place(node)?;
        let is_record = match node.records {
            Some(Records::This) => !self.is_null(),
            Some(Records::Found) => true,
            _ => false,
        };
        match self.walk.peek() {
            Some(b'{') if !node.names.is_empty() || node.takes_elements() => self.object(node)?,
            Some(b'[') if !node.indices.is_empty() || node.takes_elements() => self.array(node)?,
            Some(b'n') => {
                self.walk.skip()?;
                self.null_below(node, start..self.walk.at);
            }
            _ => self.walk.skip()?,
        }
        if is_record {
            self.records.push(start..self.walk.at);
        }
        for slot in &node.values {
            if let Some(value) = self.values.get_mut(*slot) {
                *value = Some(start..self.walk.at);
            }
        }
        Ok(())
    }

    /// In the place of an object or array, `null` stands for everything in it.
    fn null_below(&mut self, node: &Node, null: Range<usize>) {
        for node in node.below() {
            self.place_found |= node.records.is_some();
            for slot in &node.values {
                if let Some(value) = self.values.get_mut(*slot) {
                    *value = Some(null.clone());
                }
            }
            self.null_below(node, null.clone());
        }
    }

    /// Whether what stands in the place of the records can hold them.
    fn check_place(&mut self, node: &Node) -> Result<()> {
        let (Some(records), Some(first)) = (node.records, self.walk.peek()) else { return Ok(()) };
        self.place_found = true;
        let what = match first {
            _ if matches!(records, Records::Below | Records::Found) || self.is_null() => return Ok(()),
            b'[' if records == Records::This => {
                return Err(Error::data("scan page", "the path names an array, which is not a record")
                    .with_hint("end the path with [*] to take its elements"));
            }
            b'[' => return Ok(()),
            b'{' if records == Records::Elements => {
                let error = Error::data("scan page", "an object is in the place of the array of records");
                return Err(match names(self.walk.body, &[]) {
                    Ok(names) if self.is_at_root() => error
                        .with("names_there", names)
                        .with_hint("say with .records(…) where the records are, as in $.data[*]"),
                    _ => error.with_hint("end the path with .* to take the members of an object"),
                });
            }
            b'{' => return Ok(()),
            b'"' => "a string",
            b't' | b'f' => "a boolean",
            _ => "a number",
        };
        Err(Error::data("scan page", "no records in their place").with("found", what))
    }

    /// Whether this is where the page begins.
    fn is_at_root(&self) -> bool {
        self.walk.body.get(..self.walk.at).is_some_and(|before| before.trim_ascii().is_empty())
    }

    fn is_null(&self) -> bool {
        self.walk.body.get(self.walk.at..).is_some_and(|rest| rest.starts_with(b"null"))
    }

    fn object(&mut self, node: &Node) -> Result<()> {
        self.walk.open()?;
        let mut seen = BTreeSet::new();
        let mut first = true;
        while self.walk.more(b'}', &mut first)? {
            let key = self.walk.key()?;
            let child = node.names.get_key_value(key.as_ref());
            if child.is_some_and(|(name, _)| !seen.insert(name)) {
                return Err(Error::data("scan page", "a name that matters is twice in an object").with("name", key));
            }
            self.member(node, child.map(|(_, child)| child))?;
        }
        Ok(())
    }

    fn array(&mut self, node: &Node) -> Result<()> {
        self.walk.open()?;
        let mut first = true;
        let mut index = 0;
        while self.walk.more(b']', &mut first)? {
            self.member(node, node.indices.get(&index))?;
            index += 1;
        }
        Ok(())
    }

    /// An element of an array or the value of a member.
    fn member(&mut self, node: &Node, child: Option<&Node>) -> Result<()> {
        self.walk.blank();
        let start = self.walk.at;
        match child {
            Some(child) => self.value(child)?,
            None => self.walk.skip()?,
        }
        if node.takes_elements() {
            self.records.push(start..self.walk.at);
        }
        Ok(())
    }
}

pub(super) fn selects_nothing(body: &[u8], path: &Query) -> Error {
    let error = Error::data("scan page", "the path selects nothing").with("path", path.as_str());
    match names(body, &[]) {
        Ok(names) => error.with("names_there", names),
        Err(_) => error.with_hint("the page is not an object"),
    }
}

/// The names that stand where the one at the end of `path` does not, in the deepest object on the way to it: for errors
/// that say what is there instead. At most 20 of them; empty if there is no object.
pub fn names_near(body: &[u8], path: &ValuePath) -> String {
    let ways = (0..path.steps.len()).rev().filter_map(|n| path.steps.get(..n));
    ways.map(|steps| names(body, steps)).find_map(Result::ok).unwrap_or_default()
}

/// The names in the object at `steps`, some at most.
fn names(body: &[u8], steps: &[Step]) -> Result<String> {
    let mut walk = Walk::page(body)?;
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut first = true;
    for step in steps {
        if !walk.enter(step)? {
            return Err(walk.unexpected("the way to the object"));
        }
    }
    walk.blank();
    if walk.peek() != Some(b'{') {
        return Err(walk.unexpected("an object"));
    }
    walk.open()?;
    while walk.more(b'}', &mut first)? {
        names.insert(walk.key()?.chars().take(64).collect());
        walk.skip()?;
    }
    Ok(names.into_iter().take(20).collect::<Vec<_>>().join(", "))
}

pub(crate) fn span(start: usize, len: usize) -> Span {
    let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Span { start: small(start), len: small(len) }
}

fn text(body: &[u8], range: Range<usize>) -> String {
    String::from_utf8_lossy(body.get(range).unwrap_or_default()).into_owned()
}
