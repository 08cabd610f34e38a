//! How a listing is cut into pages, and what shows its end. Each kind is a file of its own.

mod answer;
mod cursor;
mod ends;
mod keyset;
mod link_header;
mod next_url;
mod offset;
mod page_number;
mod page_size;
mod place;
mod setters;
mod single;

pub use answer::Answer;
pub use cursor::Cursor;
pub use ends::Stop;
pub(super) use ends::differs;
pub use keyset::Keyset;
pub use link_header::LinkHeader;
#[cfg(any(test, feature = "testkit"))]
pub(super) use link_header::target;
pub use next_url::NextUrl;
pub use offset::Offset;
pub use page_number::PageNumber;
pub use place::{Place, Target};
pub use single::Single;

use super::request::Request;
use crate::error::Result;
use crate::model::Proof;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Finds the way from page to page.
///
/// # Guarantees (of an implementation)
/// 1. `next` tells [`Step::End`] only if the answer shows that there is no next page.
/// 2. It keeps no state of its own: everything is in [`At`], so reads of several partitions do not disturb each other,
///    and a read goes on where another one stopped.
pub trait Paginate: Debug + Send + Sync + 'static {
    /// Refuses what contradicts itself, or cannot end.
    fn check(&self) -> Result<()>;

    /// What it is configured to do, for the record.
    fn describe(&self) -> serde_json::Value;

    /// What it sets of a request.
    fn targets(&self) -> Vec<Target>;

    /// The values that it needs of each page; [`Answer`] gives them by their number in this list.
    fn values(&self) -> Vec<Place>;

    /// What the place of a page counts.
    fn counts(&self) -> Counts;

    /// What the API claims of the whole listing, as far as it was declared where.
    ///
    /// # Errors
    /// `Data` if the claim is not there, or not a number.
    fn claims(&self, answer: &Answer<'_>) -> Result<Claims>;

    /// Where the page after the one at `at` will probably be, if that can be told before it has come, and there is one by what
    /// the API `claims`: pages have had up to `size` records so far. For requests that are made ahead; `next` decides.
    fn ahead(&self, at: &At, size: u64, claims: Claims) -> Option<At>;

    /// Makes `request` ask for the page at `at`.
    fn request(&self, at: &At, request: &mut Request) -> Result<()>;

    /// Where the page after the one at `at` is, which gave `answer`.
    fn next(&self, at: &At, answer: &Answer<'_>) -> Result<Step>;
}

/// Which page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum At {
    /// The first.
    #[default]
    First,
    /// The one with this number.
    Number(u64),
    /// The one that begins with the record of this number.
    Offset(u64),
    /// The one that this token names, as the API wrote it.
    Token(String),
    /// The one that this token names, given as its JSON text.
    Json(String),
    /// The one behind the record with these values, given as their JSON text.
    Key(Vec<String>),
    /// The one at this link.
    Link(String),
}

impl At {
    /// What the API wrote of it.
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::Token(text) | Self::Json(text) | Self::Link(text) => std::slice::from_ref(text),
            Self::Key(texts) => texts,
            Self::First | Self::Number(_) | Self::Offset(_) => &[],
        }
    }
}

/// What the place of a page counts: when records come or go, everything that is counted moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counts {
    /// Nothing: a token or a key keeps its place.
    Nothing,
    /// Pages.
    Pages,
    /// Records. Each page is asked to begin with some of the one before, by which the place is found again.
    Records {
        /// So many, at least one.
        overlap: u64,
    },
}

/// What an API claims of a whole listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Claims {
    /// How many records there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// How many pages there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
}

impl Claims {
    /// Whether one of the claims is a smaller number.
    pub(super) fn is_less_than(self, before: Self) -> bool {
        let less = |now: Option<u64>, before: Option<u64>| now.zip(before).is_some_and(|(now, before)| now < before);
        less(self.records, before.records) || less(self.pages, before.pages)
    }
}

/// What follows a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Another page.
    Next(At),
    /// Nothing, and this shows it.
    End(Proof),
    /// A configured limit; there may be more.
    Limit(String),
}
