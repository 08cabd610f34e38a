use super::{Answer, At, Paginate, Request, Step};
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::model::Proof;

/// The `Link` header of each page (RFC 8288) names the next one; that of the last page does not.
///
/// The next request carries the parameters of the link only. The link must lead to the configured origin.
#[derive(Clone, Debug)]
#[must_use]
pub struct LinkHeader {
    rel: String,
}

impl LinkHeader {
    /// Follows the link with the relation `next`.
    pub fn new() -> Self {
        Self { rel: "next".to_owned() }
    }

    /// Follows the link with another relation.
    pub fn rel(rel: impl Into<String>) -> Self {
        Self { rel: rel.into() }
    }
}

impl Default for LinkHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl Paginate for LinkHeader {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "link_header", "rel": self.rel})
    }

    fn parameters(&self) -> Vec<String> {
        Vec::new()
    }

    fn values(&self) -> Result<Vec<ValuePath>> {
        Ok(Vec::new())
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        match at {
            At::Link(link) => request.go_to(link),
            _ => Ok(()),
        }
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        for header in answer.headers("link")? {
            let links = parse(header).ok_or_else(|| Error::data("read page", "the Link header is malformed"))?;
            if let Some((target, _)) = links.into_iter().find(|(_, rels)| rels.iter().any(|r| self.is(r))) {
                return Ok(Step::Next(At::Link(target.to_owned())));
            }
        }
        Ok(Step::End(Proof::NoNextPage))
    }
}

impl LinkHeader {
    fn is(&self, rel: &str) -> bool {
        rel.eq_ignore_ascii_case(&self.rel)
    }
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
    Some((name.trim(), value.trim(), rest))
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
        assert!(parse("").is_empty());
    }

    #[test]
    fn tells_a_malformed_header() {
        for header in ["a; rel=next", "<a; rel=next", "<a> rel=next", "<a>; rel=\"next"] {
            assert_eq!(parse(header), None, "{header}");
        }
    }
}
