use super::ends::{Ends, Stop};
use super::setters::ends_by;
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, Result};
use crate::model::Proof;

/// The `Link` header of each page (RFC 8288) names the next one; that of the last page does not.
///
/// The next request carries the parameters of the link only. The link must lead to the configured origin. A first page with
/// records and without any `Link` header is an error unless [`optional`](Self::optional): a header that a proxy takes out
/// looks the same.
#[derive(Clone, Debug)]
#[must_use]
pub struct LinkHeader {
    rel: String,
    optional: bool,
    ends: Ends,
}

impl LinkHeader {
    ends_by!(until_empty, stop_when);

    /// Follows the link with the relation `next`.
    pub fn new() -> Self {
        Self::rel("next")
    }

    /// Follows the link with another relation.
    pub fn rel(rel: impl Into<String>) -> Self {
        Self { rel: rel.into(), optional: false, ends: Ends::default() }
    }

    /// Takes a first page without a `Link` header for the only one.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl Default for LinkHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl Paginate for LinkHeader {
    fn check(&self) -> Result<()> {
        if self.rel.is_empty() || self.rel.contains(char::is_whitespace) {
            return Err(Error::config("build source", "this is not one relation of a link").with("rel", &self.rel));
        }
        self.ends.check_stop()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "link_header", "rel": self.rel, "optional": self.optional, "ends": self.ends})
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn values(&self) -> Vec<Place> {
        self.ends.values()
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(0, answer)
    }

    fn ahead(&self, _at: &At, _size: u64, _claims: Claims) -> Option<At> {
        None
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        match at {
            At::Link(link) => request.go_to(link),
            _ => Ok(()),
        }
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        if let Some(end) = self.ends.reached(0, 0, answer)? {
            return Ok(end);
        }
        let headers = answer.headers("link")?;
        if headers.is_empty() && answer.is_first && answer.records > 0 && !self.optional {
            return Err(Error::data("read page", "the first page has no Link header").with_hint(
                "if the API leaves it out of its only page, say so with .optional(); else it pages otherwise",
            ));
        }
        let target = target(&headers, &self.rel)?;
        Ok(target.map_or(Step::End(Proof::NoNextPage), |target| Step::Next(At::Link(target.to_owned()))))
    }
}

/// Where the link with the relation `rel` leads to, if there is one in the `Link` headers.
///
/// # Errors
/// `Data` if one is malformed, or if there are several that lead to different places.
pub(in super::super) fn target<'a>(headers: &[&'a str], rel: &str) -> Result<Option<&'a str>> {
    let mut found = None;
    for header in headers {
        let links = parse(header).ok_or_else(|| Error::data("read page", "the Link header is malformed"))?;
        for (target, _) in links.into_iter().filter(|(_, rels)| rels.iter().any(|r| r.eq_ignore_ascii_case(rel))) {
            if found.replace(target).is_some_and(|other| other != target) {
                let what = "several links of one relation lead to different pages";
                return Err(Error::data("read page", what).with("rel", rel));
            }
        }
    }
    Ok(found)
}

/// The targets of a `Link` header, each with its relations. `None` if it is malformed.
fn parse(header: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let mut links = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        let mut rels: Option<Vec<&str>> = None;
        rest = after.trim_start();
        while let Some(parameter) = rest.strip_prefix(';') {
            let (name, value, after) = self::parameter(parameter.trim_start())?;
            // The first `rel` counts.
            if name.eq_ignore_ascii_case("rel") && rels.is_none() {
                rels = Some(value.split_ascii_whitespace().collect());
            }
            rest = after.trim_start();
        }
        links.push((target.trim(), rels.unwrap_or_default()));
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Some(links)
}

/// Name and value of the parameter at the start of `text`, and what follows.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let Some(value) = rest.strip_prefix('=') else { return Some((name.trim(), "", rest)) };
    let value = value.trim_start();
    if let Some(quoted) = value.strip_prefix('"') {
        let mut escaped = false;
        let close = quoted.char_indices().find(|(_, c)| {
            let end = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            end
        });
        let (content, rest) = quoted.split_at_checked(close?.0)?;
        return Some((name.trim(), content, rest.strip_prefix('"')?));
    }
    let (value, rest) = value.split_at_checked(value.find([';', ',']).unwrap_or(value.len()))?;
    // Some quote as if it were a shell.
    Some((name.trim(), value.trim().trim_matches('\''), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets_and_relations() {
        let parse = |header| parse(header).expect("well formed");
        assert_eq!(
            parse("<https://h/a?page=3>;rel=next,<https://h/a?page=2>;rel=back"),
            [("https://h/a?page=3", vec!["next"]), ("https://h/a?page=2", vec!["back"])]
        );
        assert_eq!(
            parse("</a,b;c>; title=\"x, \\\"y\\\"; rel=z\"; REL = \"prev Next\" , <d>"),
            [("/a,b;c", vec!["prev", "Next"]), ("d", vec![])]
        );
        assert_eq!(parse("<a>; rel=\"next\"; rel=last; crossorigin"), [("a", vec!["next"])]);
        assert_eq!(parse("<a>; rel='next last'; title='b'"), [("a", vec!["next", "last"])]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn tells_a_malformed_header() {
        for header in ["a; rel=next", "<a; rel=next", "<a> rel=next", "<a>; rel=\"next"] {
            assert_eq!(parse(header), None, "{header}");
        }
    }
}
