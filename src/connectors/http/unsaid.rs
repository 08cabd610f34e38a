use super::detect;
use super::pagination::{Answer, At, Claims, Counts, Paginate, Place, Single, Step, Target};
use super::request::Request;
use crate::error::{Error, ErrorKind, Result};

/// Nothing is said about pages: one response holds everything, as for [`Single`], unless it shows itself that there is more.
/// Most APIs have pages, and the first of them looks like all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsaid;

impl Paginate for Unsaid {
    fn check(&self) -> Result<()> {
        Single.check()
    }

    fn describe(&self) -> serde_json::Value {
        Single.describe()
    }

    fn targets(&self) -> Vec<Target> {
        Single.targets()
    }

    fn values(&self) -> Vec<Place> {
        Single.values()
    }

    fn counts(&self) -> Counts {
        Single.counts()
    }

    fn claims(&self, answer: &Answer<'_>) -> Result<Claims> {
        Single.claims(answer)
    }

    fn ahead(&self, at: &At, size: u64, claims: Claims) -> Option<At> {
        Single.ahead(at, size, claims)
    }

    fn request(&self, at: &At, request: &mut Request) -> Result<()> {
        Single.request(at, request)
    }

    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step> {
        // A total that is declared shows better whether something is missing.
        let asks = answer.records > 0 && answer.places.is_empty();
        let shown = asks.then(|| detect::more(answer.headers, answer.around, answer.so_far)).flatten();
        match shown {
            None => Single.next(at, answer),
            Some(place) => Err(Error::new(
                ErrorKind::Incomplete,
                "read partition",
                "the response shows that there are more records, and no pagination is described",
            )
            .with("shown_by", place)
            .with_hint(
                "describe the pages with .paginate(…); if this response is all there is, say so with .paginate(Single)",
            )),
        }
    }
}
