use super::{Answer, At, Claims, Counts, Paginate, Place, Request, Step, Target};
use crate::error::Result;
use crate::model::Proof;

/// No pages: one response holds everything, whatever it shows. Where nothing is said about pages, a response that leads to more is an
/// error; this says that it is meant so.
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

    fn next(&self, _at: &At, _answer: &Answer<'_>) -> Result<Step> {
        Ok(Step::End(Proof::WholeResponse))
    }
}
