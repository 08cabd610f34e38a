//! Trees of JSON, for questions that no pass over the text answers. One takes up to 80 times the bytes of its text, so that none is
//! made of more values than there is memory for.

use crate::error::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::cell::Cell;
use std::fmt;

/// A text of more values than a tree is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLarge;

impl TooLarge {
    pub(crate) const WHAT: &'static str = "the body has more than 1,048,576 values, too many to hold it as a tree";
    pub(crate) const HINT: &'static str =
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
pub(crate) fn of(json: &[u8]) -> Result<serde_json::Result<Value>, TooLarge> {
    if is_within(json, MOST) { Ok(serde_json::from_slice(json)) } else { Err(TooLarge) }
}

/// Whether `json` has so many values at most, as far as it is JSON.
pub(super) fn is_within(json: &[u8], most: usize) -> bool {
    let left = Cell::new(most);
    // Each value takes a byte at least.
    json.len() <= most
        || Values(&left).deserialize(&mut serde_json::Deserializer::from_slice(json)).is_ok()
        || left.get() > 0
}

/// Takes one from what is left for each value that it passes.
#[derive(Clone, Copy)]
struct Values<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(self)?;
        }
        Ok(())
    }
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
