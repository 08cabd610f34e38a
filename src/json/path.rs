use super::ElementPath;
use crate::error::{Error, Result};
use serde_json_path::JsonPath;
use std::fmt;

/// One step of a simple path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
    /// `[*]`: the elements of an array.
    Elements,
    /// `.*`: the elements of an array or the members of an object.
    Members,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Names and indices, and perhaps a final wildcard: found in the pass over the page.
    Simple(Vec<Step>),
    /// Any other RFC 9535 query; `prefix` are the steps before its first other selector. What `place` names, if it can be
    /// told, must be there if anything is at the prefix.
    General { query: JsonPath, prefix: Vec<Step>, place: Option<JsonPath> },
}

/// Where the records of a page of JSON are: an RFC 9535 path.
///
/// `[*]` at the end takes the elements of an array, `.*` those of an array or the member values of an object. A path
/// without a wildcard takes the one value it names as one record. `null` in the place of the array, or of what holds it, is no records; if
/// nothing is in that place, the page is not what was declared. Behind a wildcard, as in `$.data[*].items[*]`, it must be
/// in at least one of the elements, if there are any. A filter or a slice may select nothing.
///
/// Names and a final wildcard cost nothing beyond the pass over the page. Other paths (filters, slices, `..`, a wildcard before
/// the end) build a tree of it: a page of more than 4,194,304 values is an error.
#[derive(Clone, PartialEq)]
pub struct Query {
    text: String,
    pub(super) kind: Kind,
}

impl Query {
    /// Reads an RFC 9535 path.
    ///
    /// # Errors
    /// `Config` if it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let query = query(text)?;
        let (steps, whole) = steps(text);
        let wildcard_before_end =
            steps.iter().rev().skip(1).any(|s| matches!(s, Step::Elements | Step::Members)) || steps.len() > MAX_STEPS;
        let kind = if whole && !wildcard_before_end {
            Kind::Simple(steps)
        } else {
            let prefix = steps.into_iter().take_while(|s| matches!(s, Step::Name(_) | Step::Index(_))).collect();
            Kind::General { query, prefix, place: place(text).map(self::query).transpose()? }
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// The steps of a path that needs no query.
    pub(super) fn simple(&self) -> Option<&[Step]> {
        match &self.kind {
            Kind::Simple(steps) => Some(steps),
            Kind::General { .. } => None,
        }
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Query").field(&self.text).finish()
    }
}

/// Where one value of a page or of a record is: a path of names and indices, or a path into XML.
#[derive(Clone, PartialEq, Eq)]
pub struct ValuePath {
    text: String,
    pub(super) steps: Vec<Step>,
    element: Option<ElementPath>,
}

impl ValuePath {
    /// Reads an RFC 9535 path of names and indices, such as `$.meta.next` or `$['@odata.nextLink']`; or a path into XML,
    /// such as `/feed/link[@rel='next']/@href` (see [`ElementPath`]).
    ///
    /// # Errors
    /// `Config` if it is not one, or may select more than one value.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with('/') {
            let element = Some(ElementPath::parse(text)?);
            return Ok(Self { text: text.to_owned(), steps: Vec::new(), element });
        }
        query(text)?;
        let (steps, whole) = steps(text);
        if !whole || steps.len() > MAX_STEPS || steps.iter().any(|s| matches!(s, Step::Elements | Step::Members)) {
            return Err(Error::config("read path", "the path may name one value only")
                .with("path", text)
                .with_hint("use names and indices, such as $.meta.next"));
        }
        Ok(Self { text: text.to_owned(), steps, element: None })
    }

    /// The path into XML that it is, if it is one.
    pub fn element(&self) -> Option<&ElementPath> {
        self.element.as_ref()
    }

    /// The path of a field of a record: a path that starts with `$`, or else the name of a top-level field.
    ///
    /// # Errors
    /// `Config` as [`parse`](Self::parse).
    pub fn field(name: &str) -> Result<Self> {
        if name.starts_with('$') {
            return Self::parse(name);
        }
        if name.is_empty() {
            return Err(Error::config("read path", "the name of the field is empty"));
        }
        Ok(Self { text: name.to_owned(), steps: vec![Step::Name(name.to_owned())], element: None })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValuePath").field(&self.text).finish()
    }
}

/// Filters in a path: where they lie within each other and one is not closed, the parser takes twice as long with each.
const MOST_FILTERS: usize = 8;
/// Parentheses in a path: where they lie within each other, the parser needs another piece of the stack for each.
const MOST_PARENTHESES: usize = 64;

/// Reads a path of RFC 9535.
#[allow(clippy::disallowed_methods, reason = "here is the guard")]
pub(crate) fn json_path(text: &str) -> std::result::Result<JsonPath, Box<dyn std::error::Error + Send + Sync>> {
    // The parser panics where a text ends within an escape of UTF-16, where no path can end.
    let escapes = ["\\u", "\\ud", "\\uD"];
    if escapes.iter().any(|escape| text.ends_with(escape)) {
        return Err(format!("at position {}, it ends within an escape", text.len()).into());
    }
    for (mark, most, of) in [('?', MOST_FILTERS, "filters"), ('(', MOST_PARENTHESES, "parentheses")] {
        if text.matches(mark).count() > most {
            return Err(format!("it has more than {most} {of}").into());
        }
    }
    Ok(JsonPath::parse(text)?)
}

fn query(text: &str) -> Result<JsonPath> {
    json_path(text).map_err(|e| {
        Error::config("read path", "not an RFC 9535 path")
            .with("path", text)
            .with_hint("a path looks like $.data[*]; names with special characters are written ['like.this']")
            .with_source(e)
    })
}

/// The simple steps at the start of a valid path, and whether they are the whole path.
fn steps(text: &str) -> (Vec<Step>, bool) {
    let mut steps = Vec::new();
    let mut rest = text.trim_start_matches('$');
    while !rest.is_empty() {
        match step(rest) {
            Some((step, after)) => {
                steps.push(step);
                rest = after;
            }
            None => return (steps, false),
        }
    }
    (steps, true)
}

/// The part of a valid path that must select something unless nothing is there at all: without the last selector, since an
/// array may be empty; but with a last name, behind selectors that miss nothing. `None` where a filter or a slice selects.
fn place(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('$');
    let (mut before, mut deep, mut last) = (text, false, None);
    while !rest.is_empty() {
        before = text.get(..text.len() - rest.len())?;
        let descends = rest.starts_with("..");
        deep |= descends;
        let selector = if rest.starts_with("..[") { rest.get(2..)? } else { rest.get(usize::from(descends)..)? };
        let (step, after) = step(selector)?;
        (last, rest) = (Some(step), after);
    }
    Some(if matches!(last, Some(Step::Name(_))) && !deep { text } else { before })
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix("[*]") {
        return Some((Step::Elements, rest));
    }
    if let Some(rest) = text.strip_prefix(".*") {
        return Some((Step::Members, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[', ' ']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), rest));
    }
    let rest = text.strip_prefix('[')?;
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, rest) = rest.get(1..)?.split_once(quote)?;
        // A name with escapes is left to the full parser.
        return rest.strip_prefix(']').filter(|_| !name.contains('\\')).map(|rest| (Step::Name(name.to_owned()), rest));
    }
    let (index, rest) = rest.split_once(']')?;
    index.parse().ok().map(|index| (Step::Index(index), rest))
}

const MAX_STEPS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: &str) -> Step {
        Step::Name(n.to_owned())
    }

    #[test]
    fn takes_names_and_a_final_wildcard_as_simple() {
        let simple = |text| match Query::parse(text).expect("a path").kind {
            Kind::Simple(steps) => steps,
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!(simple("$[*]"), [Step::Elements]);
        assert_eq!(simple("$.data[*]"), [name("data"), Step::Elements]);
        assert_eq!(simple("$.a['x.y'][2].*"), [name("a"), name("x.y"), Step::Index(2), Step::Members]);
        assert_eq!(simple("$"), []);
    }

    #[test]
    fn leaves_other_queries_to_the_full_parser_but_keeps_their_prefix() {
        for text in ["$.data[*].items[*]", "$.data[?@.kind == 'a']", "$.data[0:2]", "$.data..id"] {
            match Query::parse(text).expect("a path").kind {
                Kind::General { prefix, .. } => assert_eq!(prefix, [name("data")], "{text}"),
                other => panic!("{text} is {other:?}"),
            }
        }
    }

    #[test]
    fn knows_what_must_be_there() {
        for (text, place) in [
            ("$.data[*].items[*]", Some("$.data[*].items")),
            ("$.data[*].node", Some("$.data[*].node")),
            ("$.data[*].rows[0]", Some("$.data[*].rows")),
            ("$..items[*]", Some("$..items")),
            ("$.data..id", Some("$.data")),
            ("$.data..[*]", Some("$.data")),
            ("$.data..*", Some("$.data")),
            ("$..a.b", Some("$..a")),
            ("$.data[?@.a].items[*]", None),
            ("$.data[1:]", None),
        ] {
            assert_eq!(super::place(text), place, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_path() {
        for text in ["data", "$.data[", "", "$.@odata.next"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        for text in ["$.data[*]", "$..id", "$.data[-1]", "$.data.*"] {
            assert!(ValuePath::parse(text).is_err(), "{text}");
        }
        assert_eq!(ValuePath::parse("$['@odata.nextLink']").expect("a path").steps, [name("@odata.nextLink")]);
        assert_eq!(ValuePath::field("updated.at").expect("a name").steps, [name("updated.at")]);
    }

    #[test]
    fn filters_within_filters_end() {
        let many = ["$", &"[?@.a".repeat(40)].concat();
        let error = json_path(&many).expect_err("it would take a day");
        assert!(error.to_string().contains("more than 8 filters"), "{error}");
        assert!(Query::parse("$.a[?@.b == 1].c[?@.d]").is_ok());
    }

    #[test]
    fn parentheses_within_parentheses_are_few() {
        let nested = |depth: usize| Query::parse(&format!("$[?{}@.a{}]", "(".repeat(depth), ")".repeat(depth)));
        nested(64).expect("a path");
        let error = nested(20_000).expect_err("the parser would need more stack than there is");
        assert!(error.to_string().contains("more than 64 parentheses"), "{error}");
    }
}
