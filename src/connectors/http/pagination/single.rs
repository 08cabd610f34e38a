use super::{Answer, At, Paginate, Request, Step};
use crate::error::Result;
use crate::json::ValuePath;
use crate::model::Proof;

/// No pages: one response holds everything.
#[derive(Clone, Copy, Debug)]
pub struct Single;

impl Paginate for Single {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({"kind": "single"})
    }

    fn parameters(&self) -> Vec<String> {
        Vec::new()
    }

    fn values(&self) -> Result<Vec<ValuePath>> {
        Ok(Vec::new())
    }

    fn request(&self, _at: &At, _request: &mut Request) -> Result<()> {
        Ok(())
    }

    fn next(&self, _at: &At, _answer: &Answer<'_>) -> Result<Step> {
        Ok(Step::End(Proof::WholeResponse))
    }
}
