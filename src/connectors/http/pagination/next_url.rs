use super::{Answer, At, Paginate, Request, Step};
use crate::error::Result;
use crate::json::ValuePath;
use crate::model::Proof;

/// Each page names the URL of the next one, relative or absolute; the last one names none.
///
/// The next request carries the parameters of the URL only. The URL must lead to the configured origin.
#[derive(Clone, Debug)]
#[must_use]
pub struct NextUrl {
    path: String,
    optional: bool,
}

impl NextUrl {
    /// The URL is at `path` of the body.
    pub fn at(path: impl Into<String>) -> Self {
        Self { path: path.into(), optional: false }
    }

    /// Takes a first page without the URL for the only one. Else that is an error: a slip in the path looks the same.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl Paginate for NextUrl {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "next_url", "at": self.path, "optional": self.optional})
    }

    fn parameters(&self) -> Vec<String> {
        Vec::new()
    }

    fn values(&self) -> Result<Vec<ValuePath>> {
        Ok(vec![ValuePath::parse(&self.path)?])
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        match at {
            At::Link(link) => request.go_to(link),
            _ => Ok(()),
        }
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        let link = answer.token(0, self.optional)?;
        Ok(link.map_or(Step::End(Proof::NoNextPage), |link| Step::Next(At::Link(link))))
    }
}
