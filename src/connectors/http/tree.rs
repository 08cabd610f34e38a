//! Trees of JSON, for questions that no pass over the text answers.

use crate::error::{Error, Result};
use crate::json::values::is_within;
use serde_json::Value;

/// A text of more values than a tree is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge;

impl TooLarge {
    pub(super) const WHAT: &'static str = "the body has more than 1,048,576 values, too many to hold it as a tree";
    pub(super) const HINT: &'static str =
        "ask for smaller pages; a condition on a header, and a total, a flag or a token at a path, need no tree";
}

impl From<TooLarge> for Error {
    fn from(_: TooLarge) -> Self {
        Self::data("read page", TooLarge::WHAT).with_hint(TooLarge::HINT)
    }
}

/// The tree of `json`, if it is JSON.
///
/// # Errors
/// If it has too many values, wherever it stops to be JSON after them.
pub(super) fn of(json: &[u8]) -> Result<serde_json::Result<Value>, TooLarge> {
    if is_within(json, MOST) { Ok(serde_json::from_slice(json)) } else { Err(TooLarge) }
}

/// A hundred thousand records of ten fields. Objects of a single member take most: 350 MB in all.
const MOST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_bounded_number_of_values() {
        // The array is a value too.
        let array = |values: &str, times: usize| format!("[{}]", vec![values; times].join(","));
        assert!(matches!(of(array("0", MOST - 1).as_bytes()), Ok(Ok(Value::Array(_)))));
        assert!(of(array("0,-1,0.5,null,true,\"\",[],{}", MOST / 8).as_bytes()).is_err());
        assert!(of(array("[0],{\"\":0}", MOST / 4).as_bytes()).is_err());
        // There would have been a tree of what comes before the end.
        assert!(of(format!("{} x", array("0", MOST)).as_bytes()).is_err());
        assert!(of(array("0", MOST).trim_end_matches(']').as_bytes()).is_err());
        for text in ["<html>", "", "[1,"] {
            assert!(matches!(of(text.as_bytes()), Ok(Err(_))), "{text}");
        }
        assert!(matches!(of("x".repeat(2 * MOST).as_bytes()), Ok(Err(_))));
    }
}
