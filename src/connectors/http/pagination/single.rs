use super::link_header::target;
use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Proof;

/// No pages: one response holds everything. One whose `Link` header leads to a next page contradicts that.
#[derive(Clone, Copy, Debug)]
pub struct Single;

impl Paginate for Single {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "single"})
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn values(&self) -> Vec<Place> {
        Vec::new()
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn claims(&self, _answer: &Answer<'_>) -> Result<Claims> {
        Ok(Claims::default())
    }

    fn ahead(&self, _at: &At, _size: u64, _claims: Claims) -> Option<At> {
        None
    }

    fn request(&self, _at: &At, _request: &mut Request) -> Result<()> {
        Ok(())
    }

    fn next(&self, _at: &At, answer: &Answer<'_>) -> Result<Step> {
        // Only what is sure counts: nobody has said that there are links.
        let links = answer.headers("link").unwrap_or_default();
        if let Ok(Some(_)) = target(&links, "next") {
            let what = "the listing is said to be one response, but its Link header leads to another page";
            return Err(Error::new(ErrorKind::Incomplete, "read partition", what).with_hint(
                "add .paginate(LinkHeader::new()); if no more than the first page is wanted, .max_pages(1) too",
            ));
        }
        Ok(Step::End(Proof::WholeResponse))
    }
}
