//! Where the records of a page lie: the structure of a JSON body, found in one pass, without decoding the records.
//!
//! The page as a whole must be sound: UTF-8, every bracket and string closed, nothing after the end. What stands inside
//! of a record is not judged here: a record that is not JSON is the decoder's to refuse, one record at a time.
//!
//! ```
//! use landfall::json::{Query, ValuePath, scan};
//!
//! let body = br#"{"data":[{"id":1},{"id":2}],"next":"c3e8"}"#;
//! let page = scan(body, &Query::parse("$.data[*]")?, &[ValuePath::parse("$.next")?])?;
//! assert_eq!(page.spans[1].of(body), Some(&br#"{"id":2}"#[..]));
//! assert_eq!(page.values, [Some("\"c3e8\"".to_owned())]);
//! # Ok::<(), landfall::Error>(())
//! ```

mod element_path;
mod held;
mod lines;
mod locate;
mod part;
mod path;
mod scan;
mod skip;
mod split;
pub(crate) mod values;
mod walk;
mod write;

pub use element_path::ElementPath;
pub(crate) use element_path::ElementStep;
pub(crate) use held::{Held, PIECE};
pub(crate) use lines::{LineSplitter, lines};
pub(crate) use part::part;
#[cfg(feature = "http")]
pub(crate) use path::json_path;
pub use path::{Query, ValuePath};
pub(crate) use scan::span;
pub use scan::{Scan, field, names_near, scan};
pub(crate) use skip::ends_early;
pub(crate) use split::JsonSplitter;
pub use split::Rest;
pub(crate) use walk::MARK;
pub(crate) use write::push_string;

/// How deep a page may be nested.
pub const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests;
