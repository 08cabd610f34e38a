//! What stands in a response beside its records, and what it is taken for.

use super::names::{
    FLAGS, LIMITS, NEXT_URLS, OFFSETS, PAGE_TOTAL_HEADERS, PAGE_TOTALS, PAGES, SIZES, TOKEN_HEADERS, TOKENS,
    TOTAL_HEADERS, TOTALS,
};
use super::{Spot, Way};
use serde_json::Value;

/// What stands in the response beside the records.
pub(super) struct Seen<'a> {
    pub(super) header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Path, name and value.
    pub(super) values: &'a [(String, String, &'a Value)],
}

impl Seen<'_> {
    pub(super) fn way(&self) -> Way {
        if (self.header)("link").is_some_and(|link| link.contains("next")) {
            return Way::Link;
        }
        if let Some(url) = self.find(NEXT_URLS, |value| value.as_str().is_some_and(is_url)) {
            return Way::NextUrl(url);
        }
        let has_more = self.find(FLAGS, Value::is_boolean);
        for (names, query) in TOKENS {
            if let Some(at) = self.find(names, is_token) {
                return Way::Cursor { at, query, has_more };
            }
        }
        for (name, query) in TOKEN_HEADERS {
            if (self.header)(name).is_some_and(|value| !value.is_empty()) {
                return Way::Cursor { at: Spot::Header(name), query, has_more };
            }
        }
        let number = |names: &[&'static str]| self.number(names);
        let pages = self.find(PAGE_TOTALS, is_count).or_else(|| self.header_of(PAGE_TOTAL_HEADERS));
        if let Some((query, first)) = number(PAGES) {
            return Way::Pages { query, size: number(SIZES), pages, first: first.min(1) };
        }
        if let Some((query, _)) = number(OFFSETS) {
            return Way::Offset { query, limit: number(LIMITS).unwrap_or(("limit", 100)) };
        }
        match (has_more, pages) {
            (Some(has_more), _) => Way::Keyset { query: "starting_after", has_more },
            (None, Some(pages)) => Way::Pages { query: "page", size: number(SIZES), pages: Some(pages), first: 1 },
            (None, None) if self.total().is_some() => Way::Pages { query: "page", size: None, pages: None, first: 1 },
            (None, None) => Way::Unknown,
        }
    }

    /// Where a first page that counts itself claims more records, or more pages.
    pub(super) fn claims_more_than(&self, records: u64) -> Option<Spot> {
        let before = self.number(OFFSETS).map(|(_, offset)| offset);
        let is_first = self.number(PAGES).is_some_and(|(_, page)| page <= 1);
        let above = |value: &Value, so_far: u64| count(value).is_some_and(|claimed| claimed > so_far);
        match before {
            Some(offset) => self.find(TOTALS, |value| above(value, offset.saturating_add(records))),
            None if is_first => {
                let pages = || self.find(PAGE_TOTALS, |value| above(value, 1));
                self.find(TOTALS, |value| above(value, records)).or_else(pages)
            }
            None => None,
        }
    }

    pub(super) fn total(&self) -> Option<Spot> {
        self.find(TOTALS, is_count).or_else(|| self.header_of(TOTAL_HEADERS))
    }

    /// The first of the names that is there, and with a value that fits.
    pub(super) fn find(&self, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<Spot> {
        let found = |wanted: &&str| {
            let is_it = |(path, name, value): &&(String, String, &Value)| {
                let parent_fits = wanted.split_once('/').is_none_or(|(parent, _)| path.contains(parent));
                let last = wanted.rsplit('/').next().unwrap_or(wanted);
                parent_fits && name == last && fits(value)
            };
            self.values.iter().find(is_it).map(|(path, ..)| Spot::Body(path.clone()))
        };
        names.iter().find_map(found)
    }

    fn header_of(&self, names: &[&'static str]) -> Option<Spot> {
        let is_count = |name: &&&'static str| (self.header)(name).is_some_and(|text| text.parse::<u64>().is_ok());
        names.iter().find(is_count).map(|name| Spot::Header(name))
    }

    fn number(&self, names: &[&'static str]) -> Option<(&'static str, u64)> {
        let value = |wanted: &&'static str| {
            let found = self.values.iter().find(|(_, name, value)| name == wanted && value.is_u64());
            Some((*wanted, found?.2.as_u64()?))
        };
        names.iter().find_map(value)
    }
}

/// All values that are no arrays, by their paths.
pub(super) fn flatten<'a>(value: &'a Value, path: &str, depth: usize, values: &mut Vec<(String, String, &'a Value)>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let path = member(path, name);
        if depth < DEEPEST {
            flatten(value, &path, depth + 1, values);
        }
        values.push((path, name.clone(), value));
    }
}

/// The path of the array with the most objects, and their number; the one nearest to the root.
pub(super) fn records(body: &Value) -> Option<(String, usize)> {
    fn look(value: &Value, path: &str, depth: usize, best: &mut Option<(String, usize)>) {
        match value {
            Value::Array(items)
                if items.iter().all(Value::is_object) && best.as_ref().is_none_or(|(_, most)| items.len() > *most) =>
            {
                *best = Some((format!("{path}[*]"), items.len()));
            }
            Value::Object(fields) if depth < DEEPEST => {
                fields.iter().for_each(|(name, value)| look(value, &member(path, name), depth + 1, best));
            }
            _ => {}
        }
    }
    let mut best = None;
    look(body, "$", 0, &mut best);
    best
}

/// The path of a member, in the notation of RFC 9535.
fn member(path: &str, name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain {
        format!("{path}.{name}")
    } else {
        format!("{path}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

pub(super) fn is_url(text: &str) -> bool {
    ["http://", "https://", "/", "?"].iter().any(|start| text.starts_with(start))
}

fn is_token(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty()) || value.is_number()
}

pub(super) fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_count(value: &Value) -> bool {
    count(value).is_some()
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// How deep it is looked.
pub(super) const DEEPEST: usize = 4;
