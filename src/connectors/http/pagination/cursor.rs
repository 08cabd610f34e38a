use super::ends::{Ends, Stop};
use super::page_size::PageSize;
use super::setters::{ends_by, sends};
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, Result};

/// Each page names a token for the next one; the last one names none.
///
/// Tokens are opaque: a number keeps its own text. `null` and an empty string end the listing, and so does the absence of the
/// token on a page without records or one that a token led to. Is it absent from a first page with records, that is an error
/// unless [`optional`](Self::optional): a slip in the path looks the same.
#[derive(Clone, Debug)]
#[must_use]
pub struct Cursor {
    from: Place,
    to: Vec<Target>,
    size: PageSize,
    ends: Ends,
    optional: bool,
    until_repeated: bool,
}

impl Cursor {
    sends!("the token");
    ends_by!(has_more, until_empty, stop_when);

    /// The token is at this path of the body, or in a header.
    pub fn at(place: impl Into<Place>) -> Self {
        Self {
            from: place.into(),
            to: Vec::new(),
            size: PageSize::default(),
            ends: Ends::default(),
            optional: false,
            until_repeated: false,
        }
    }

    /// The token is in the header `name`.
    pub fn in_header(name: impl Into<String>) -> Self {
        Self::at(Place::header(name))
    }

    /// A GraphQL connection at this path of the body, such as `$.data.orders`: `pageInfo` has `hasNextPage` and `endCursor`,
    /// which goes into the variable `after` (GraphQL Cursor Connections Specification).
    ///
    /// ```
    /// use landfall::connectors::http::{Cursor, Rest};
    ///
    /// let query = "query($after: String) {
    ///     orders(first: 100, after: $after) { nodes { id total } pageInfo { hasNextPage endCursor } }
    /// }";
    /// let orders = Rest::graphql("https://api.example.com/graphql", query)
    ///     .paginate(Cursor::connection("$.data.orders", "after"))
    ///     .records("$.data.orders.nodes[*]");
    /// # drop(orders);
    /// ```
    pub fn connection(path: impl AsRef<str>, variable: impl AsRef<str>) -> Self {
        let (path, variable) = (path.as_ref(), variable.as_ref());
        Self::at(format!("{path}.pageInfo.endCursor"))
            .has_more(format!("{path}.pageInfo.hasNextPage"))
            .body(format!("$.variables.{variable}"))
    }

    /// Asks for `records` to a page at `name`, which is in the same part of the request as the token.
    pub fn size(mut self, name: impl Into<String>, records: u64) -> Self {
        self.size = PageSize::of(name, records);
        self
    }

    /// Takes a token that is the one which was sent for the end, as CloudWatch Logs and CouchDB's `_changes` mean it. Else it
    /// is an error: the listing goes in circles.
    pub fn until_repeated(mut self) -> Self {
        self.until_repeated = true;
        self
    }

    /// Takes a first page without the token for the only one.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    fn to(mut self, target: Target) -> Self {
        self.to.push(target);
        self
    }

    fn in_body(&self) -> bool {
        matches!(self.to.first(), Some(Target::Body(_)))
    }
}

impl Paginate for Cursor {
    fn check(&self) -> Result<()> {
        if self.to.len() != 1 {
            return Err(Error::config(
                "build source",
                "a cursor goes into the query, into a header or into the body: exactly one of them",
            )
            .with_hint("add .query(\"name\"), .header(\"name\") or .body(\"$.path\")"));
        }
        if self.size.records() == Some(0) {
            return Err(Error::config("build source", "a page of no records never comes to an end"));
        }
        self.ends.check_stop()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": "cursor", "at": self.from, "to": self.to, "size": self.size, "ends": self.ends,
            "optional": self.optional, "until_repeated": self.until_repeated,
        })
    }

    fn targets(&self) -> Vec<Target> {
        let size = self.to.first().and_then(|to| self.size.target(to));
        self.to.iter().cloned().chain(size).collect()
    }

    fn values(&self) -> Vec<Place> {
        [self.from.clone()].into_iter().chain(self.ends.values()).collect()
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        self.ends.claims(1, answer)
    }

    fn ahead(&self, _at: &At, _size: u64, _claims: Claims) -> Option<At> {
        None
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        let Some(to) = self.to.first() else { return Ok(()) };
        self.size.set(to, request)?;
        match at {
            At::Token(token) => to.set_text(request, token),
            At::Json(token) => to.set_json(request, token),
            _ => Ok(()),
        }
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        // What shows the end of a page outweighs a token, there or not.
        if let Some(end) = self.ends.reached(0, 1, answer)? {
            return Ok(end);
        }
        let next = if self.in_body() {
            answer.token_as_json(0, self.optional)?.map(At::Json)
        } else {
            answer.token(0, self.optional)?.map(At::Token)
        };
        match next {
            Some(next) if self.until_repeated && next == *at => self.ends.nothing_leads_on(),
            Some(next) => Ok(Step::Next(next)),
            None => self.ends.nothing_leads_on(),
        }
    }
}
