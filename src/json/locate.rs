//! Queries beyond names and a wildcard: asked of a tree of the page, and mapped back to its bytes.

use super::MAX_DEPTH;
use super::scan::{BOM, Node};
use super::skip::ends_early;
use crate::error::{Error, Result};
use serde_json_path::{JsonPath, PathElement};

/// Adds to `plan` every place of `body` that `query` selects.
pub(super) fn plan(body: &[u8], query: &JsonPath, plan: &mut Node) -> Result<()> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let tree: serde_json::Value = serde_json::from_slice(body).map_err(|e| {
        if e.is_eof() {
            return ends_early(body.len());
        }
        Error::data("scan page", "not JSON").with("levels_allowed", MAX_DEPTH).with_source(e)
    })?;
    for place in query.query_located(&tree).locations() {
        let node = place.iter().fold(&mut *plan, |node, step| match step {
            PathElement::Name(name) => node.named(name),
            PathElement::Index(index) => node.indexed(*index),
        });
        node.is_found();
    }
    Ok(())
}
