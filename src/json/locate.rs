//! Queries beyond names and a wildcard: asked of a tree of the page, and mapped back to its bytes.

use super::MAX_DEPTH;
use super::path::Step;
use super::scan::Node;
use super::skip::ends_early;
use super::values::is_within;
use super::walk::MARK;
use crate::error::{Error, Result};
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

/// A page of 16 MiB of usual records, several times. Objects of a single member take most: 1.4 GB in all.
const MOST: usize = 1 << 22;

pub(super) fn tree(body: &[u8]) -> Result<Value> {
    let body = body.strip_prefix(MARK).unwrap_or(body);
    if !is_within(body, MOST) {
        return Err(Error::data("scan page", "the page has more than 4,194,304 values, too many to hold it as a tree")
            .with_hint("names, with a wildcard at their end, need no tree; or ask for smaller pages"));
    }
    serde_json::from_slice(body).map_err(|e| {
        if e.is_eof() {
            return ends_early(body.len());
        }
        Error::data("scan page", "not JSON").with("levels_allowed", MAX_DEPTH).with_source(e)
    })
}

/// Adds to `plan` every place of the page that `query` selects, and says whether there are any.
pub(super) fn plan(tree: &Value, query: &JsonPath, plan: &mut Node) -> bool {
    let mut any = false;
    for place in query.query_located(tree).locations() {
        let node = place.iter().fold(&mut *plan, |node, step| match step {
            PathElement::Name(name) => node.named(name),
            PathElement::Index(index) => node.indexed(*index),
        });
        node.is_found();
        any = true;
    }
    any
}

/// Whether something is at `prefix`, but nothing in the `place` that records would be in.
pub(super) fn misses(tree: &Value, prefix: &[Step], place: Option<&JsonPath>) -> bool {
    let found = prefix.iter().try_fold(tree, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
        Step::Elements | Step::Members => None,
    });
    let is_something = found.is_some_and(|value| match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    });
    is_something && place.is_some_and(|place| place.query(tree).is_empty())
}
