use super::{Answer, At, Paginate, Request, Step};
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::model::Proof;

/// Each page names a token for the next one; the last one names none.
///
/// Tokens are opaque: a number keeps its own text. `null` and an empty string end the listing, and so does the absence of the
/// token on a page without records or one that a token led to. Is it absent from a first page with records, that is an error
/// unless [`optional`](Self::optional): a slip in the path looks the same.
#[derive(Clone, Debug)]
#[must_use]
pub struct Cursor {
    from: From,
    query: Option<String>,
    header: Option<String>,
    has_more: Option<String>,
    on_empty: bool,
    optional: bool,
}

#[derive(Clone, Debug)]
enum From {
    Body(String),
    Header(String),
}

impl Cursor {
    /// The token is at `path` of the body.
    pub fn at(path: impl Into<String>) -> Self {
        Self::new(From::Body(path.into()))
    }

    /// The token is in the header `name`.
    pub fn in_header(name: impl Into<String>) -> Self {
        Self::new(From::Header(name.into()))
    }

    fn new(from: From) -> Self {
        Self { from, query: None, header: None, has_more: None, on_empty: false, optional: false }
    }

    /// Sends the token in the parameter `name` of the query.
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.query = Some(name.into());
        self
    }

    /// Sends the token in the header `name`.
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.header = Some(name.into());
        self
    }

    /// Ends when the flag at `path` is false, also if there is a token.
    pub fn has_more(mut self, path: impl Into<String>) -> Self {
        self.has_more = Some(path.into());
        self
    }

    /// Ends with the first page that has no records, also if there is a token.
    pub fn until_empty(mut self) -> Self {
        self.on_empty = true;
        self
    }

    /// Takes a first page without the token for the only one.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl Paginate for Cursor {
    fn check(&self) -> Result<()> {
        if self.query.is_some() == self.header.is_some() {
            return Err(Error::config(
                "build source",
                "a cursor goes into the query or into a header: exactly one of them",
            )
            .with_hint("add .query(\"name\") or .header(\"name\")"));
        }
        Ok(())
    }

    fn describe(&self) -> serde_json::Value {
        let (body, header) = match &self.from {
            From::Body(path) => (Some(path), None),
            From::Header(name) => (None, Some(name)),
        };
        serde_json::json!({
            "kind": "cursor", "at": body, "in_header": header, "query": self.query, "header": self.header,
            "has_more": self.has_more, "until_empty": self.on_empty, "optional": self.optional,
        })
    }

    fn parameters(&self) -> Vec<String> {
        self.query.iter().cloned().collect()
    }

    fn values(&self) -> Result<Vec<ValuePath>> {
        let token = match &self.from {
            From::Body(path) => Some(path),
            From::Header(_) => None,
        };
        token.into_iter().chain(&self.has_more).map(|p| ValuePath::parse(p)).collect()
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        let At::Token(token) = at else { return Ok(()) };
        if let Some(name) = &self.query {
            request.set_query(name, token);
        }
        if let Some(name) = &self.header {
            request.set_header(name, token)?;
        }
        Ok(())
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        let (token, flag) = match &self.from {
            From::Body(_) => (answer.token(0, self.optional)?, 1),
            From::Header(name) => (answer.token_in_header(name, self.optional)?, 0),
        };
        if self.has_more.is_some() {
            match (answer.flag(flag)?, &token) {
                (false, _) => return Ok(Step::End(Proof::NoNextPage)),
                (true, None) => {
                    return Err(Error::data("read page", "the API says that there is more, but gives no token"));
                }
                (true, Some(_)) => {}
            }
        }
        if self.on_empty && answer.records() == 0 {
            return Ok(Step::End(Proof::EmptyPage));
        }
        Ok(token.map_or(Step::End(Proof::NoNextPage), |token| Step::Next(At::Token(token))))
    }
}
